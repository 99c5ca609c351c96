"""A network whose hyperparameters are searched when it is fitted, as a scikit-learn estimator."""

import contextlib
import os
import tempfile
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import Tags, check_consistent_length, check_random_state, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from tfopt.search.run_search import run
from tfopt.sklearn.network import checked_weights

_TARGET, _WEIGHTS = "(target {})", "(weights)"


class TunedNetworkEstimator(BaseEstimator):
    """What the two estimators share; see `TunedNetworkClassifier` for the arguments."""

    _task = ""

    def __init__(
        self,
        *,
        space: Any = "default",
        tuner: str = "random",
        max_trials: int | None = 16,
        time_limit: float | str | None = None,
        epochs: int | None = None,
        patience: int = 0,
        objective: str | None = None,
        inner_folds: int = 3,
        holdout: float = 0.2,
        workers: int = 1,
        random_state: int | np.random.RandomState | None = None,
        out: str | os.PathLike[str] | None = None,
    ):
        self.space = space
        self.tuner = tuner
        self.max_trials = max_trials
        self.time_limit = time_limit
        self.epochs = epochs
        self.patience = patience
        self.objective = objective
        self.inner_folds = inner_folds
        self.holdout = holdout
        self.workers = workers
        self.random_state = random_state
        self.out = out

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Search, and train the best configuration on all rows.

        Args:
            X: A data frame with columns of any kind, or numbers (rows, features); gaps are filled.
            y: The targets.
            sample_weight: A weight a row.

        Raises:
            ValueError: A setting, or the table, cannot be used.
            RuntimeError: No configuration could be trained.
        """
        frame = self._frame(X, reset=True)
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None.")
        targets = self._targets(y)
        check_consistent_length(frame, targets)
        if len(frame) < 2:
            raise ValueError(f"{type(self).__name__} needs rows to train on and to choose by. Received: n_samples=1.")
        names = [_TARGET.format(place) for place in range(targets.shape[1])]
        table = pd.concat([frame, pd.DataFrame(targets, columns=names, index=frame.index)], axis=1)
        weights = None
        if sample_weight is not None:
            table[_WEIGHTS], weights = checked_weights(sample_weight, frame), _WEIGHTS
        with contextlib.ExitStack() as stack:
            out = self.out or os.path.join(stack.enter_context(tempfile.TemporaryDirectory()), "run")
            result = run(
                table,
                names,
                task=self._task,
                weights=weights,
                space=self.space,
                tuner=self.tuner,
                max_trials=self.max_trials,
                time_limit=self.time_limit,
                epochs=self.epochs,
                patience=self.patience,
                objective=self.objective,
                inner_folds=self.inner_folds,
                holdout=self.holdout,
                workers=self.workers,
                seed=int(check_random_state(self.random_state).randint(2**31 - 1)),
                seeds=1,
                ensemble=0,
                baselines="none",
                progress=False,
                out=out,
            )
            self.model_ = result.model("network")
            self.best_params_ = result.params("network")
            self.trials_ = result.trials
        return self

    def _targets(self, y: Any) -> np.ndarray:
        """Return the targets as the search takes them, (rows, targets)."""
        raise NotImplementedError

    def _outputs(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        return self.model_.predict(self._frame(X, reset=False), verbose=0)

    def _frame(self, X: Any, reset: bool) -> pd.DataFrame:
        """Return the rows as a table: a data frame as it is, anything else as numbers."""
        if isinstance(X, pd.DataFrame):
            validate_data(self, X, reset=reset, skip_check_array=True)
            return X.reset_index(drop=True).rename(columns=str)
        X = validate_data(self, X, reset=reset, dtype=np.float64, ensure_all_finite="allow-nan")
        return pd.DataFrame(X, columns=[f"x_{place}" for place in range(X.shape[1])])

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


class TunedNetworkClassifier(ClassifierMixin, TunedNetworkEstimator):
    """A classifier that searches for its network's hyperparameters when it is fitted.

    Use it where scikit-learn wants an estimator and a network is to be tuned on each training part, as in
    `cross_val_score`. It takes data frames with categories, dates, texts and gaps. The search is `tfopt.search.run`
    without baselines: configurations are chosen by the inner folds of what `holdout` leaves, and the best is trained
    on all rows.

    Args:
        space: `"default"`, `"small"`, `"mlp"`, `"realmlp"`, `"tabm"`, `"portfolio"`, `"wide"`, a function
            `build(hp)`, or what else `tfopt.search.run` takes.
        tuner: `"random"`, `"grid"`, `"bayesian"` or `"hyperband"`.
        max_trials: Configurations.
        time_limit: For the whole search: seconds, or `"10m"`.
        epochs: Passes over the rows in each fit; None for fewer in larger tables.
        patience: Epochs without a better loss after which a trial's training ends; 0 never.
        objective: Metric that chooses; None for accuracy.
        inner_folds: Folds that choose.
        holdout: Fraction of the rows that no choice looks at; their score is in the run folder.
        workers: Processes that train.
        random_state: Seed of folds, configurations and weights, as scikit-learn has it.
        out: Where the run folder is kept; None for a temporary one.

    Attributes:
        classes_: The class labels.
        model_: The network with its preprocessing, a Keras model.
        best_params_: Its hyperparameters.
        trials_: A data frame of what was tried.

    Example:
        ```python
        from sklearn.datasets import load_iris

        x, y = load_iris(return_X_y=True)
        tuned = tfopt.sklearn.TunedNetworkClassifier(space="small", max_trials=2, epochs=20, random_state=0)
        print(bool(tuned.fit(x, y).score(x, y) > 0.8))  # True
        ```
    """

    _task = "classification"

    def predict(self, X: Any) -> np.ndarray:
        """Return the class of each row."""
        outputs = self._outputs(X)
        return self.classes_[outputs.argmax(axis=1)]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class for each row, in the order of `classes_`."""
        return self._outputs(X)

    def _targets(self, y: Any) -> np.ndarray:
        y = column_or_1d(check_array(y, ensure_2d=False, dtype=None, input_name="y"), warn=True)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        return codes.reshape(-1, 1)


class TunedNetworkRegressor(RegressorMixin, TunedNetworkEstimator):
    """A regressor, of one target or several, that searches for its network's hyperparameters when it is fitted.

    Use it where scikit-learn wants an estimator and a network is to be tuned on each training part, as in
    `cross_val_score`. It takes data frames with categories, dates, texts and gaps. The search is `tfopt.search.run`
    without baselines: configurations are chosen by the inner folds of what `holdout` leaves, and the best is trained
    on all rows.

    Args:
        space: `"default"`, `"small"`, `"mlp"`, `"realmlp"`, `"tabm"`, `"portfolio"`, `"wide"`, a function
            `build(hp)`, or what else `tfopt.search.run` takes.
        tuner: `"random"`, `"grid"`, `"bayesian"` or `"hyperband"`.
        max_trials: Configurations.
        time_limit: For the whole search: seconds, or `"10m"`.
        epochs: Passes over the rows in each fit; None for fewer in larger tables.
        patience: Epochs without a better loss after which a trial's training ends; 0 never.
        objective: Metric that chooses; None for R².
        inner_folds: Folds that choose.
        holdout: Fraction of the rows that no choice looks at; their score is in the run folder.
        workers: Processes that train.
        random_state: Seed of folds, configurations and weights, as scikit-learn has it.
        out: Where the run folder is kept; None for a temporary one.

    Attributes:
        model_: The network with its preprocessing, a Keras model.
        best_params_: Its hyperparameters.
        trials_: A data frame of what was tried.

    Example:
        ```python
        from sklearn.datasets import load_diabetes

        x, y = load_diabetes(return_X_y=True)
        tuned = tfopt.sklearn.TunedNetworkRegressor(space="small", max_trials=2, epochs=10, random_state=0)
        print(bool(tuned.fit(x, y).score(x, y) > 0.3))  # True
        ```
    """

    _task = "regression"

    def predict(self, X: Any) -> np.ndarray:
        """Return the targets of each row, (rows,) or (rows, targets)."""
        outputs = self._outputs(X)
        return outputs[:, 0] if self._is_flat else outputs

    def _targets(self, y: Any) -> np.ndarray:
        y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
        self._is_flat = y.ndim == 1
        if y.ndim == 2 and y.shape[1] == 1:
            y, self._is_flat = column_or_1d(y, warn=True), True
        return y.reshape(len(y), -1)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
