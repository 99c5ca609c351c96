"""Tune one family inside one outer fold and score it on the fold's test part."""

import logging
import time
import uuid
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, Self

import joblib
import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, ParameterGrid, RandomizedSearchCV
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from tfopt._files import as_json
from tfopt.baselines.families import Family
from tfopt.baselines.models import tunable
from tfopt.baselines.setting import Grid, Setting, Tunable, encoder_of, untuned_scaling
from tfopt.baselines.table_baseline import outputs_of
from tfopt.comparison.fold_result import DUMMY, FoldResult
from tfopt.comparison.folds import Split
from tfopt.comparison.objective import Objective
from tfopt.data.encoder import TableEncoder
from tfopt.data.table import Column, Table

_LOGGER = logging.getLogger("tfopt")
# Below this many encoded numbers, threads inside one fit wait for one another: on two busy cores LogisticRegression's
# lbfgs took 10 ms with one thread and 250 ms with two, and gradient boosting of `digits` 17 s and 571 s.
_NUMBERS_WORTH_THREADS = 2_000_000


def tune(
    family: Family,
    table: Table,
    fold: int,
    split: Split,
    inner: Sequence[Split],
    objective: Objective,
    *,
    jobs: int = 1,
    seed: int = 0,
) -> FoldResult:
    """Choose a family's hyperparameters by its mean score over `inner`, refit on `split.train`, score on `split.test`.

    Fits are weighted by the table's weights where the family can (`Family.weights`), and so are all scores.

    Args:
        family: What to tune.
        table: The data.
        fold: Index of the outer fold, for the result.
        split: The outer split.
        inner: Splits of `split.train` for tuning; the very same are for the network.
        objective: What to choose by and to report.
        jobs: Threads, -1 for one a core: fits side by side, or inside one fit of a large table. Whoever has many
            families and folds had better run several `tune` in processes, each with one thread.
        seed: Seed of the models and of randomly drawn configurations.

    Returns:
        The result, with the untuned default's score, the configurations tried and the seconds spent.

    Raises:
        Exception: Whatever a fit raises: a grid that fails anywhere fails as a whole.

    Example:
        ```python
        table = tfopt.data.load_table("iris")
        objective = tfopt.comparison.get_objective("accuracy", "classification")
        (split,) = tfopt.comparison.outer_splits(table, folds=5, repeats=1, seed=0, holdout=0.2)
        inner = tfopt.comparison.inner_splits(table, split.train, folds=3, seed=0)
        _, family = tfopt.baselines.select_families("ridge_classifier", "classification", objective, table.num_rows)
        result = tfopt.baselines.tune(family, table, 0, split, inner, objective)
        print(f"{result.score:.2f}", list(result.chosen))  # 0.87 ['scaling', 'alpha']
        ```
    """
    features = table.features.set_axis(pd.RangeIndex(table.num_rows), axis=0)  # a row's index names it everywhere
    rows = split.train
    setting = Setting.of(table, len(rows), inner, seed)
    how = tunable(family, setting)
    encoder = RememberingEncoder(table.columns, how.scaling, memory=_Memory())
    fit_options = {}
    if (weights := training_weights(family, table, rows)) is not None:
        fit_options["model__sample_weight"] = weights
    scorer = Scorer(objective, table.weights, setting.num_classes)
    pipeline = Pipeline([("encode", encoder), ("model", how.model)])
    train, target = features.iloc[rows], table.target[rows]
    test = features.iloc[split.test]
    test_weight = None if table.weights is None else table.weights[split.test]
    jobs = joblib.effective_n_jobs(jobs)
    large = len(rows) * setting.width >= _NUMBERS_WORTH_THREADS
    fits_at_once = 1 if large or how.openmp else jobs
    limits = threadpool_limits(jobs if large else 1)
    with warnings.catch_warnings(), limits, joblib.parallel_config("threading"):
        warnings.simplefilter("ignore", ConvergenceWarning)  # counted by `Scorer` instead
        if how.grid:
            search = _search(pipeline, how, _within(rows, inner, table.num_rows), scorer, fits_at_once, seed)
            started = time.perf_counter()
            search.fit(train, target, **fit_options)
            tune_seconds = time.perf_counter() - started - search.refit_time_
            tuned, fit_seconds = search.best_estimator_, search.refit_time_
            short = plain_names(how.grid)
            chosen = {short[name]: as_json(value) for name, value in search.best_params_.items()}
            inner_score = float(search.best_score_)
            num_configurations = len(search.cv_results_["params"])
            num_unconverged = _count_unconverged(search)
        else:
            inner_score = mean_inner_score(pipeline, features, table, inner, family, scorer)
            started = time.perf_counter()
            tuned = pipeline.fit(train, target, **fit_options)
            tune_seconds, fit_seconds = 0.0, time.perf_counter() - started
            chosen, num_configurations, num_unconverged = {}, 1, 0
        num_unconverged += _stopped_early(tuned)
        started = time.perf_counter()
        prediction = scorer.predict(tuned, test)
        predict_seconds = time.perf_counter() - started
        outputs = prediction
        if objective.needs == "labels":
            outputs = outputs_of(tuned, test, table.task, setting.num_classes)
        untuned = clone(encoder).set_params(scaling=untuned_scaling(how.scaling))
        default = Pipeline([("encode", untuned), ("model", how.default)])
        default.fit(train, target, **fit_options)
        default_prediction = scorer.predict(default, test)
    if num_unconverged:
        _LOGGER.info("%s, fold %d: %d fits stopped before they converged", family.name, fold, num_unconverged)
    return FoldResult(
        model=family.name,
        kind="sklearn",
        fold=fold,
        score=objective.score(table.target[split.test], prediction, test_weight),
        inner_score=inner_score,
        default_score=objective.score(table.target[split.test], default_prediction, test_weight),
        chosen=chosen,
        num_configurations=num_configurations,
        tune_seconds=tune_seconds,
        fit_seconds=fit_seconds,
        predict_seconds=predict_seconds,
        prediction=prediction,
        outputs=outputs,
        num_unconverged=num_unconverged,
    )


def tune_in_worker(
    table: Table, family: Family, fold: int, split: Split, inner: Sequence[Split], objective: Objective, seed: int
) -> FoldResult:
    """Return what `tune` does with one thread: one of many calls of as many processes as there are cores."""
    return tune(family, table, fold, split, inner, objective, jobs=1, seed=seed)


def _search(
    pipeline: Pipeline, how: Tunable, inner: list[tuple[np.ndarray, np.ndarray]], scorer: Any, jobs: int, seed: int
) -> Any:
    options = {"scoring": scorer, "refit": "score", "cv": inner, "n_jobs": jobs, "error_score": "raise"}
    size = len(ParameterGrid(how.grid))
    if how.num_draws is None or how.num_draws >= size:
        return GridSearchCV(pipeline, how.grid, **options)
    return RandomizedSearchCV(pipeline, how.grid, n_iter=how.num_draws, random_state=seed, **options)


def _within(rows: np.ndarray, inner: Sequence[Split], num_rows: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the inner splits as positions in `rows`."""
    position = np.full(num_rows, -1)
    position[rows] = np.arange(len(rows))
    local = [(position[split.train], position[split.test]) for split in inner]
    if any((part < 0).any() for parts in local for part in parts):
        raise ValueError("An inner split reaches outside the training part of its outer split.")
    return local


def training_weights(family: Family, table: Table, rows: np.ndarray) -> np.ndarray | None:
    """Return the weights that a family's fit on these rows uses."""
    if not family.weights:
        return None
    if family.name == DUMMY:  # it guesses by the classes' own shares, whatever they weigh for the others
        return None if table.weights is None else table.weights[rows]
    return table.training_weights(rows)


def mean_inner_score(
    pipeline: Pipeline, features: pd.DataFrame, table: Table, inner: Sequence[Split], family: Family, scorer: Any
) -> float:
    """Return what a grid of one configuration would report, for a family with nothing to tune."""
    scores = []
    for split in inner:
        options = {}
        if (weights := training_weights(family, table, split.train)) is not None:
            options["model__sample_weight"] = weights
        fitted = clone(pipeline).fit(features.iloc[split.train], table.target[split.train], **options)
        scores.append(scorer(fitted, features.iloc[split.test], table.target[split.test])["score"])
    return float(np.mean(scores))


class Scorer:
    """The objective as scikit-learn calls it; beside the score it reports whether the fit converged.

    Args:
        objective: What to compute.
        weights: (rows,) weights of the whole table, found by the index of the frame that is scored.
        num_classes: Classes of the whole table; a fold may have learned fewer.
    """

    def __init__(self, objective: Objective, weights: np.ndarray | None, num_classes: int):
        self.objective = objective
        self.weights = weights
        self.num_classes = num_classes

    def __call__(self, model: Any, features: pd.DataFrame, target: np.ndarray) -> dict[str, float]:
        """Return the score, and 1 where the fit stopped before it converged."""
        weight = None if self.weights is None else self.weights[features.index]
        score = self.objective.score(target, self.predict(model, features), weight)
        return {"score": score, "unconverged": float(_stopped_early(model))}

    def predict(self, model: Any, features: pd.DataFrame) -> np.ndarray:
        """Return values, class codes or (rows, classes) probabilities, as the objective needs."""
        if self.objective.needs != "probabilities":
            return model.predict(features)
        return outputs_of(model, features, "classification", self.num_classes)


def _count_unconverged(search: Any) -> int:
    results = search.cv_results_
    return int(sum(results[f"split{i}_test_unconverged"].sum() for i in range(search.n_splits_)))


def _stopped_early(pipeline: Pipeline) -> bool:
    """Whether a solver of the pipeline's model used up its `max_iter`."""
    return any(_used_up(model) for model in _solvers(pipeline[-1]))


def _solvers(model: Any) -> Iterator[Any]:
    if hasattr(model, "regressor_"):
        yield from _solvers(model.regressor_)
    elif hasattr(model, "estimators_") and hasattr(model, "estimator") and not hasattr(model, "n_estimators"):
        for single in model.estimators_:
            yield from _solvers(single)
    else:
        yield model


def _used_up(model: Any) -> bool:
    limit, used = getattr(model, "max_iter", None), getattr(model, "n_iter_", None)
    # A boosted model's `max_iter` is its number of trees, which it is meant to use up.
    if limit is None or used is None or limit < 0 or hasattr(model, "max_leaf_nodes"):
        return False
    return bool(np.max(used) >= limit)


def plain_names(grid: Grid) -> dict[str, str]:
    """Return each parameter's name without those of the steps that hold it, unless another one is called so too."""
    full = list(dict.fromkeys(name for part in grid for name in part))
    short = [name.rsplit("__", 1)[-1] for name in full]
    return {
        name: own if short.count(own) == 1 else name.removeprefix("model__")
        for name, own in zip(full, short, strict=True)
    }


class _Memory:
    """Encoded rows, shared by all clones of one encoder in one process; an empty one wherever it is sent."""

    def __init__(self, key: str | None = None):
        self.key = key or uuid.uuid4().hex
        self.fitted: dict[Any, TableEncoder] = {}
        self.encoded: dict[Any, np.ndarray] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return _memory_of, (self.key,)


_LATEST: dict[str, _Memory] = {}


def _memory_of(key: str) -> _Memory:
    """Return this process's memory for `key`, forgetting those of earlier searches."""
    if key not in _LATEST:
        _LATEST.clear()
        _LATEST[key] = _Memory(key)
    return _LATEST[key]


class RememberingEncoder(TransformerMixin, BaseEstimator):
    """An encoder that encodes each part of a fold once, however many hyperparameters are tried on it.

    The frame's index names its rows, so equal indices mean equal rows. Returns float64: closed-form solvers lose half
    their digits in float32.
    """

    def __init__(self, columns: Sequence[Column] = (), scaling: str = "standard", memory: _Memory | None = None):
        self.columns = columns
        self.scaling = scaling
        self.memory = memory

    def fit(self, frame: pd.DataFrame, y: Any = None) -> Self:
        """Fit the encoder on these rows, or take the one that was."""
        memory = self.memory or _Memory()
        self.memory_ = memory
        self.key_ = (self.scaling, frame.index.to_numpy().tobytes())
        if self.key_ not in memory.fitted:
            memory.fitted[self.key_] = encoder_of(self.columns, self.scaling).fit(frame)
        return self

    @property
    def encoder_(self) -> TableEncoder:
        """The encoder that was fitted."""
        return self.memory_.fitted[self.key_]

    def transform(self, frame: pd.DataFrame) -> np.ndarray:
        """Return these rows encoded."""
        key = (*self.key_, frame.index.to_numpy().tobytes())
        if key not in self.memory_.encoded:
            self.memory_.encoded[key] = self.memory_.fitted[self.key_].transform(frame).astype(np.float64)
        return self.memory_.encoded[key]
