"""A family for use: of what its outer folds chose, the best on inner splits of all rows, fitted on all rows."""

import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from tfopt._files import as_json
from tfopt.baselines.families import Family
from tfopt.baselines.models import tunable
from tfopt.baselines.setting import Setting, Tunable
from tfopt.baselines.table_baseline import TableBaseline, outputs_of
from tfopt.baselines.tuning import RememberingEncoder, Scorer, mean_inner_score, plain_names, training_weights
from tfopt.comparison.folds import Split
from tfopt.comparison.importance import Probe, measure
from tfopt.comparison.objective import Objective
from tfopt.data.table import Table


def train_for_use(
    table: Table,
    family: Family,
    choices: Sequence[dict[str, Any]],
    inner: Sequence[Split],
    objective: Objective,
    seed: int,
) -> TableBaseline:
    """Return a family's model trained on all rows, with the best of what its outer folds chose.

    Args:
        table: The data.
        family: What to fit.
        choices: `FoldResult.chosen` of the outer folds.
        inner: Splits of all rows.
        objective: What to choose by, where the folds disagree.
        seed: Seed of the model.

    Example:
        ```python
        table = tfopt.data.load_table("iris")
        objective = tfopt.comparison.get_objective("accuracy", "classification")
        inner = tfopt.comparison.inner_splits(table, np.arange(table.num_rows), folds=3, seed=0)
        _, family = tfopt.baselines.select_families("ridge_classifier", "classification", objective, table.num_rows)
        model = tfopt.baselines.train_for_use(table, family, [{"alpha": 1.0}], inner, objective, seed=0)
        print(model.predict(table.features)[:2].tolist())  # ['setosa', 'setosa']
        ```
    """
    features = table.features.set_axis(pd.RangeIndex(table.num_rows), axis=0)
    rows = np.arange(table.num_rows)
    setting = Setting.of(table, table.num_rows, inner, seed)
    how = tunable(family, setting)
    distinct = [choice for place, choice in enumerate(choices) if choice not in choices[:place]]
    pipelines = [pipeline_of(table, how, choice) for choice in distinct]
    scorer = Scorer(objective, table.weights, setting.num_classes)
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)  # `tune` counts them
        scores = [0.0]
        if len(pipelines) > 1:
            scores = [mean_inner_score(pipeline, features, table, inner, family, scorer) for pipeline in pipelines]
        pipeline = pipelines[int(np.argmax(scores))]
        weights = training_weights(family, table, rows)
        options = {} if weights is None else {"model__sample_weight": weights}
        pipeline.fit(features, table.target, **options)
    chosen = distinct[int(np.argmax(scores))]
    return TableBaseline.of(
        table, family.name, parameters_of(how, chosen), pipeline["encode"].encoder_, pipeline["model"]
    )


def train_in_worker(
    table: Table,
    family: Family,
    choices: Sequence[dict[str, Any]],
    inner: Sequence[Split],
    objective: Objective,
    seed: int,
) -> tuple[bytes, dict[str, Any], float]:
    """Return what `train_for_use` does as the bytes of its file, its parameters, and the seconds that it took."""
    started = time.perf_counter()
    baseline = train_for_use(table, family, choices, inner, objective, seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.skops"
        baseline.save(path)
        return path.read_bytes(), baseline.parameters, time.perf_counter() - started


def importance_in_worker(
    table: Table,
    family: Family,
    chosen: dict[str, Any],
    rows: np.ndarray,
    inner: Sequence[Split],
    objective: Objective,
    seed: int,
    probe: Probe,
    also: Sequence[str],
) -> dict[str, Any]:
    """Return what `measure` finds of a family, fitted on an outer fold's training rows with what it chose there."""
    setting = Setting.of(table, len(rows), inner, seed)
    pipeline = pipeline_of(table, tunable(family, setting), chosen)
    features = table.features.set_axis(pd.RangeIndex(table.num_rows), axis=0)
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)
        weights = training_weights(family, table, rows)
        options = {} if weights is None else {"model__sample_weight": weights}
        pipeline.fit(features.iloc[rows], table.target[rows], **options)
        encoder, model = pipeline["encode"].encoder_, pipeline["model"]

        def predict(encoded: np.ndarray) -> np.ndarray:
            return outputs_of(model, encoded.astype(np.float64), table.task, setting.num_classes)

        return as_json(measure(probe, table, objective, encoder, predict, also))


def pipeline_of(table: Table, how: Tunable, chosen: dict[str, Any]) -> Pipeline:
    """Return the pipeline, not fitted, of what was chosen in a fold."""
    encoder = RememberingEncoder(table.columns, how.scaling)
    return Pipeline([("encode", encoder), ("model", clone(how.model))]).set_params(**parameters_of(how, chosen))


def parameters_of(how: Tunable, chosen: dict[str, Any]) -> dict[str, Any]:
    """Return what was chosen by the pipeline's own names of it."""
    full = {short: name for name, short in plain_names(how.grid).items()}
    return {full[name]: value for name, value in chosen.items()}
