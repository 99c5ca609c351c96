"""Search over scikit-learn models by cross-validation, with KerasTuner's oracles and interface."""

import logging
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner.engine.base_tuner import BaseTuner
from keras_tuner.engine.trial import Trial
from sklearn.base import is_classifier
from sklearn.metrics import check_scoring, get_scorer
from sklearn.model_selection import KFold, check_cv
from sklearn.pipeline import Pipeline
from sklearn.utils import indexable
from sklearn.utils.validation import has_fit_parameter

_log = logging.getLogger("tfopt")


class SklearnTuner(BaseTuner):
    """Cross-validates scikit-learn models that `build(hp)` returns; stands in for `keras_tuner.SklearnTuner`.

    Where to use it: when models of several families, or pipelines, are tuned by one space. Every trial is scored on
    the same folds.

    Args:
        oracle: Proposes the trials; its objective is `keras_tuner.Objective("score", "max")`.
        hypermodel: `build(hp)` returning a scikit-learn estimator, or a `keras_tuner.HyperModel`.
        scoring: Name of a scorer such as `"accuracy"`, or a scorer; None for the models' own `score`.
        metrics: Further metrics to be kept: functions of targets and predictions, or names of scorers.
        cv: Number of folds, a splitter, or `(train, test)` pairs of indices; None for five shuffled folds.
        **kwargs: `directory`, `project_name` and `overwrite`, as KerasTuner's.

    Raises:
        ValueError: `scoring` or `metrics` name no scorer.

    Example:
        ```python
        import keras_tuner
        import sklearn.datasets
        import sklearn.linear_model

        def build(hp):
            return sklearn.linear_model.Ridge(hp.Float("alpha", 1e-3, 10, sampling="log"))

        x, y = sklearn.datasets.load_diabetes(return_X_y=True)
        oracle = tfopt.search.RandomSearchOracle(keras_tuner.Objective("score", "max"), max_trials=5, seed=1)
        tuner = tfopt.search.SklearnTuner(oracle, build, scoring="r2", cv=5, directory="runs", project_name="ridge")
        tuner.search(x, y)
        print(tuner.get_best_models()[0].predict(x[:3]).shape)  # (3,)
        ```
    """

    def __init__(
        self,
        oracle: keras_tuner.Oracle,
        hypermodel: Any,
        scoring: str | Callable[..., float] | None = None,
        metrics: Any = None,
        cv: Any = None,
        **kwargs: Any,
    ):
        self.scoring = get_scorer(scoring) if isinstance(scoring, str) else scoring
        listed = list(metrics) if isinstance(metrics, list | tuple) else [] if metrics is None else [metrics]
        self.metrics = {
            getattr(one, "__name__", str(one)): get_scorer(one) if isinstance(one, str) else _scorer_of(one)
            for one in listed
        }
        self.cv = KFold(5, shuffle=True, random_state=1) if cv is None else cv
        super().__init__(oracle, hypermodel, **kwargs)
        self._data: tuple[Any, Any, Any] | None = None
        self._folds: list[tuple[np.ndarray, np.ndarray]] = []

    def search(self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None) -> None:
        """Run trials until `max_trials` or the space's end.

        Args:
            X: Inputs, as the models' `fit` takes them: an array, a table, a sparse matrix or a list.
            y: Targets.
            sample_weight: A weight a row, for training (in a pipeline: of its last step) and for scoring.
            groups: A group a row, for splitters that keep groups together.

        Raises:
            ValueError: The arguments differ in rows, or `scoring` is no scorer.
        """
        X, y, sample_weight, groups = indexable(X, y, sample_weight, groups)
        model = self.hypermodel.build(self.oracle.get_space())
        check_scoring(model, scoring=self.scoring)
        if sample_weight is not None:
            sample_weight = np.asarray(sample_weight)
        splitter = check_cv(self.cv, np.asarray(y), classifier=is_classifier(model))
        self._folds = list(splitter.split(X, y, groups))
        self._data = X, y, sample_weight
        super().search(X, y, sample_weight)

    def run_trial(self, trial: Trial, X: Any, y: Any, sample_weight: Any) -> dict[str, float]:
        """Return the mean scores of a configuration over the folds."""
        found: dict[str, list[float]] = defaultdict(list)
        for train, test in self._folds:
            model = self.hypermodel.build(trial.hyperparameters)
            _fit(model, *(_rows(part, train) for part in (X, y, sample_weight)))
            inputs, targets, weights = (_rows(part, test) for part in (X, y, sample_weight))
            weighted = {} if weights is None else {"sample_weight": weights}
            found["score"].append(check_scoring(model, scoring=self.scoring)(model, inputs, targets, **weighted))
            for name, metric in self.metrics.items():
                found[name].append(metric(model, inputs, targets, **weighted))
        return {name: float(np.mean(values)) for name, values in found.items()}

    def load_model(self, trial: Trial) -> Any:
        """Return a trial's model, fitted to all rows of the search.

        Raises:
            RuntimeError: `search` was not called in this process; one that is finished trains nothing more.
        """
        if self._data is None:
            raise RuntimeError("The model must be fitted to the rows of the search. Call `search(X, y)` again first.")
        model = self.hypermodel.build(trial.hyperparameters)
        _fit(model, *self._data)
        return model


def _scorer_of(metric: Callable[..., float]) -> Callable[..., float]:
    return lambda model, X, y, **weights: metric(y, model.predict(X), **weights)


def _fit(model: Any, X: Any, y: Any, weights: np.ndarray | None) -> None:
    arguments = {} if weights is None else _weight_arguments(model, weights)
    if weights is not None and not arguments:
        _log.warning("%s takes no sample weights: it is trained without them.", type(model).__name__)
    model.fit(X, y, **arguments)


def _weight_arguments(model: Any, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Return the arguments by which `fit` takes weights: in a pipeline those of its last step."""
    if isinstance(model, Pipeline):
        name, last = model.steps[-1]
        return {f"{name}__{key}": value for key, value in _weight_arguments(last, weights).items()}
    return {"sample_weight": weights} if has_fit_parameter(model, "sample_weight") else {}


def _rows(data: Any, indices: np.ndarray) -> Any:
    if data is None:
        return None
    if hasattr(data, "iloc"):
        return data.iloc[indices]
    return [data[index] for index in indices] if isinstance(data, list | tuple) else data[indices]
