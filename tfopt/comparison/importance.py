"""What the columns matter to a fitted model: permutation importance on rows it has not learned, and effect curves.

A column's importance is how much the score falls when the column's cells are shuffled among the rows (Breiman 2001,
"Random forests"; Fisher, Rudin and Dominici 2019), all that the encoder makes of the column moving together. Where two
columns tell the same, either may be shuffled at little cost, so both look unimportant. An effect curve (partial
dependence, Friedman 2001) is the mean prediction with the column's cells all set to one value.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfopt.comparison.bootstrap import bootstrap_difference, bootstrap_scores, bootstrap_weights
from tfopt.comparison.objective import Objective
from tfopt.comparison.statistics import mean_interval
from tfopt.data.encoder import TableEncoder
from tfopt.data.table import Column, Table

Predict = Callable[[np.ndarray], np.ndarray]

# What one fold may cost: rows that are predicted. Wider tables get fewer rows a column, and then none.
EVALUATIONS = 20_000
FEWEST_ROWS, MOST_ROWS, MOST_REPEATS = 50, 1000, 5
MOST_COLUMNS = EVALUATIONS // FEWEST_ROWS
NUM_EFFECTS = 6
_GRID, _EFFECT_ROWS = 9, 100
_NUM_SAMPLES = 200  # of the bootstrap
_NUMBERS_AT_ONCE = 5_000_000


@dataclass(frozen=True)
class Probe:
    """What of a fold is shuffled: the same for every model.

    Args:
        rows: Test rows that are predicted.
        repeats: Times that each column is shuffled.
        seed: Seed of the shuffling.
        holdout: Whether there is no other fold, so that an interval must come from the rows.
        grid: For each column rows of the table that hold the values of its effect curve.
    """

    rows: np.ndarray
    repeats: int
    seed: tuple[int, int]
    holdout: bool
    grid: dict[str, np.ndarray]

    @classmethod
    def of(cls, table: Table, test: np.ndarray, fold: int, seed: int, holdout: bool) -> "Probe | None":
        """Return the probe of a fold; None for a table of so many columns that it would take long."""
        num_columns = len(table.columns)
        if not 0 < num_columns <= MOST_COLUMNS:
            return None
        num_rows = min(len(test), MOST_ROWS, EVALUATIONS // num_columns)
        random = np.random.default_rng([seed, fold])
        rows = random.permutation(test)[:num_rows]
        if table.task == "classification":  # some metrics have no value where a class is missing
            _, first = np.unique(table.target[test], return_index=True)
            rows = np.union1d(rows, test[first])
        repeats = int(np.clip(EVALUATIONS // (num_columns * len(rows)), 1, MOST_REPEATS))
        grid = {column.name: _grid_rows(table, column) for column in table.columns if column.kind != "text"}
        return cls(np.sort(rows), repeats, (seed, fold), holdout, grid)


def _grid_rows(table: Table, column: Column) -> np.ndarray:
    """Return rows that hold the values of a column between which its effect is drawn: quantiles, or frequent levels."""
    values = table.features[column.name]
    known = np.flatnonzero(values.notna().to_numpy())
    distinct, first, counts = np.unique(
        values.iloc[known].astype(str if column.kind == "categorical" else values.dtype).to_numpy(),
        return_index=True,
        return_counts=True,
    )
    if len(distinct) <= _GRID or column.kind == "categorical":
        frequent = np.sort(np.argsort(-counts, kind="stable")[:_GRID])
        return known[first[frequent]]
    order = known[np.argsort(values.iloc[known].to_numpy(), kind="stable")]
    places = np.linspace(0.05, 0.95, _GRID) * (len(order) - 1)
    return order[np.unique(places.round().astype(int))]


def grid_values(table: Table, column: str, rows: np.ndarray) -> list[Any]:
    """Return the values that rows hold in a column, as JSON has them: dates as text."""
    values = table.features[column].iloc[rows]
    kind = {each.name: each.kind for each in table.columns}[column]
    return values.astype(str).tolist() if kind in ("categorical", "date") else values.astype(float).tolist()


def measure(
    probe: Probe, table: Table, objective: Objective, encoder: TableEncoder, predict: Predict, also: Sequence[str] = ()
) -> dict[str, Any]:
    """Return what the columns matter to a model that was fitted on other rows.

    Args:
        probe: Of the fold.
        table: The data.
        objective: What falls.
        encoder: Fitted on the fold's training rows.
        predict: Takes the encoder's matrix, returns values, probabilities or class codes.
        also: Columns whose effects are wanted, beside those that matter most here.

    Returns:
        By the columns' names `drops`, the mean fall of the score, and `effects`, the mean prediction (values of the
        grid, outputs); with a single hold-out also `low` and `high`, its 95 % bootstrap interval.
    """
    names = [column.name for column in table.columns]
    places = {name: np.flatnonzero(np.array(encoder.sources) == name) for name in names}
    encoded, target = encoder.transform(table.features.iloc[probe.rows]), table.target[probe.rows]
    weights = None if table.weights is None else table.weights[probe.rows]
    base = predict(encoded)
    score = objective.score(target, base, weights)
    counts = bootstrap_weights(len(target), num_samples=_NUM_SAMPLES, seed=probe.seed[0]) if probe.holdout else None
    samples = None if counts is None else bootstrap_scores(objective, target, base, counts, weights)
    random = np.random.default_rng([*probe.seed, 1])
    found: dict[str, Any] = {"drops": {}, "effects": {}, **({"low": {}, "high": {}} if probe.holdout else {})}
    chunk = max(1, _NUMBERS_AT_ONCE // max(1, encoded.size * probe.repeats))
    for start in range(0, len(names), chunk):
        some = names[start : start + chunk]
        blocks = []
        for name in some:
            for _ in range(probe.repeats):
                block = encoded.copy()
                block[:, places[name]] = encoded[random.permutation(len(encoded))][:, places[name]]
                blocks.append(block)
        shuffled = np.split(predict(np.concatenate(blocks)), len(blocks))
        for place, name in enumerate(some):
            outputs = shuffled[place * probe.repeats : (place + 1) * probe.repeats]
            scores = [objective.score(target, each, weights) for each in outputs]
            found["drops"][name] = score - float(np.mean(scores))
            if counts is not None and samples is not None:
                worse = np.mean(
                    [bootstrap_scores(objective, target, each, counts, weights) for each in outputs], axis=0
                )
                difference = bootstrap_difference(score, float(np.mean(scores)), samples, worse, len(target), rope=0.0)
                found["low"][name], found["high"][name] = difference.low, difference.high
    first = sorted(names, key=lambda name: -found["drops"][name])[:NUM_EFFECTS]
    for name in dict.fromkeys([*first, *also]):
        if name in probe.grid:
            found["effects"][name] = _effect(probe.grid[name], table, encoder, encoded, places[name], predict)
    return found


def _effect(
    grid: np.ndarray, table: Table, encoder: TableEncoder, encoded: np.ndarray, places: np.ndarray, predict: Predict
) -> list[list[float]]:
    """Return (values, outputs) mean predictions with a column's cells set to each value of its grid."""
    rows = encoded[:_EFFECT_ROWS]
    values = encoder.transform(table.features.iloc[grid])[:, places]
    stacked = np.tile(rows, (len(grid), 1))
    stacked[:, places] = np.repeat(values, len(rows), axis=0)
    outputs = predict(stacked)
    if table.task == "classification" and outputs.ndim == 1:
        outputs = np.eye(len(table.classes))[outputs]
    return outputs.reshape(len(grid), len(rows), -1).mean(axis=1).tolist()


def summarize(
    table: Table, folds: Mapping[str, Sequence[dict[str, Any]]], probe: Probe, test_to_train: float, by: str
) -> dict[str, Any]:
    """Return importances with intervals, and effects, of some models side by side, as JSON has them.

    Args:
        table: The data.
        folds: For each model what `measure` found in each fold.
        probe: That of a fold.
        test_to_train: Test rows for each training row, for the corrected interval of Nadeau and Bengio (2003).
        by: The model by which the columns are sorted.
    """

    def interval(model: str, name: str) -> dict[str, float]:
        drops = np.array([found["drops"][name] for found in folds[model]], dtype=float)  # JSON has null for NaN
        if "low" in folds[model][0]:
            return {"mean": drops[0], "low": folds[model][0]["low"][name], "high": folds[model][0]["high"][name]}
        found = mean_interval(drops, test_to_train)
        return {"mean": found.mean, "low": found.low, "high": found.high}

    columns = [
        {"column": column.name, "kind": column.kind, **{model: interval(model, column.name) for model in folds}}
        for column in table.columns
    ]
    columns.sort(key=lambda row: -row[by]["mean"])  # type: ignore[index]
    effects = []
    for name in [str(row["column"]) for row in columns if row["column"] in probe.grid][:NUM_EFFECTS]:
        curves = {model: _mean(found["effects"].get(name) for found in folds[model]) for model in folds}
        effects.append({"column": name, "values": grid_values(table, name, probe.grid[name]), **curves})
    return {"columns": columns, "effects": effects}


def _mean(curves: Iterable[list[list[float]] | None]) -> list[list[float]] | None:
    known = [curve for curve in curves if curve is not None]
    return np.mean(np.array(known, dtype=float), axis=0).tolist() if known else None
