"""Columns that alone give the target: copies of it in other words or units, or a place in a sorted file."""

import numpy as np
import pandas as pd

from tfopt.data.column import Column
from tfopt.data.table import Table

# Rows that are looked at: 4000 of an ordinary table, fewer of a wide one.
_MOST_ROWS, _FEWEST_ROWS, _MOST_CELLS = 4000, 500, 4_000_000
# Fewer rows outside the largest class, or fewer rows in all, are put in order by chance.
_FEWEST_OTHERS, _FEWEST_NUMBERS = 10, 20
_UNEXPLAINED = 0.001  # share of a target's variance
_WRONG = 0.02  # share of the rows outside the largest class
_ROWS_PER_LEVEL = 10


def leaks(table: Table) -> list[tuple[Column, list[str]]]:
    """Return the columns that predict a target all but perfectly, each with the names of those targets, on a sample.

    Numbers: the target is a straight line, a monotone or a smooth function of the column, or all but constant within
    each of its values. Classes: each value of the column, or each of a few ranges, holds one class. Missing values are
    a value of their own. A table's only column is not among them.
    """
    if len(table.columns) < 2:
        return []
    num_rows = int(np.clip(_MOST_CELLS // len(table.columns), _FEWEST_ROWS, _MOST_ROWS))
    rows = np.arange(table.num_rows)
    if len(rows) > num_rows:
        rows = np.sort(np.random.default_rng(0).choice(rows, num_rows, replace=False))
    features = table.features.iloc[rows]
    targets = _targets(table, rows)
    found = []
    for column in table.columns:
        if column.kind != "text" and targets:
            values = _as_numbers(column, features[column.name])
            given = [name for name, target in targets.items() if _gives(values, target, table.task == "classification")]
            found += [(column, given)] if given else []
    return found


def _targets(table: Table, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Return each target of these rows by name, where there are enough rows to tell."""
    if table.task == "classification":
        codes = table.target[rows]
        enough = len(codes) - np.bincount(codes).max() >= _FEWEST_OTHERS
        return {table.target_names[0]: codes} if enough else {}
    values = table.target[rows].reshape(len(rows), -1).T
    return dict(zip(table.target_names, values, strict=True)) if len(rows) >= _FEWEST_NUMBERS else {}


def _as_numbers(column: Column, values: pd.Series) -> np.ndarray:
    """Return a column as float64, NaN for missing; categories as codes."""
    if column.kind == "categorical":
        codes = values.cat.codes.to_numpy().astype(np.float64)
        return np.where(codes < 0, np.nan, codes)
    if column.kind == "date":
        seconds = values.to_numpy(dtype="datetime64[s]")
        return np.where(np.isnat(seconds), np.nan, seconds.astype(np.float64))
    return values.to_numpy(dtype=np.float64)


def _gives(values: np.ndarray, target: np.ndarray, classes: bool) -> bool:
    distinct, codes = np.unique(values, return_inverse=True)  # one NaN at most, the last
    if len(distinct) < 2:
        return False
    few = len(distinct) * _ROWS_PER_LEVEL <= len(values)
    if classes:
        return _levels_are_pure(codes, target) if few else _ranges_are_pure(codes, target)
    if not target.std() > 0:
        return False
    target = (target - target.mean()) / target.std()
    if few:
        return _levels_are_constant(codes, target)
    present = ~np.isnan(values)
    if present.mean() < 0.5:
        return False
    return _is_function(values[present], codes[present], target[present])


def _levels_are_pure(codes: np.ndarray, target: np.ndarray) -> bool:
    num_classes = int(target.max()) + 1
    table = np.bincount(codes * num_classes + target, minlength=(codes.max() + 1) * num_classes)
    wrong = len(target) - table.reshape(-1, num_classes).max(axis=1).sum()
    return bool(wrong <= _WRONG * (len(target) - np.bincount(target).max()))


def _ranges_are_pure(codes: np.ndarray, target: np.ndarray) -> bool:
    """Whether the classes stand one after another when the rows are sorted, but for a few rows."""
    counts = np.bincount(target)
    changes = (np.diff(target[np.argsort(codes, kind="stable")]) != 0).sum()
    needed = (counts > 0).sum() - 1
    return bool(changes - needed <= 2 * _WRONG * (len(target) - counts.max()))  # a row out of place changes it twice


def _levels_are_constant(codes: np.ndarray, target: np.ndarray) -> bool:
    means = np.bincount(codes, weights=target) / np.bincount(codes)
    return bool(np.mean((target - means[codes]) ** 2) <= _UNEXPLAINED)


def _is_function(values: np.ndarray, codes: np.ndarray, target: np.ndarray) -> bool:
    least = 1 - _UNEXPLAINED
    spread, variance = np.ptp(target), target.var()
    if spread == 0:
        return False
    if _correlation(values, target) ** 2 >= least:
        return True
    ranks = np.unique(target, return_inverse=True)[1]
    if _correlation(codes, ranks) ** 2 >= least:
        return True
    steps = np.diff(target[np.argsort(codes, kind="stable")])
    return bool(np.mean(steps**2) <= 2 * _UNEXPLAINED * variance)


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    one = one - one.mean()
    one = one / max(np.abs(one).max(), np.finfo(float).tiny)
    other = other - other.mean()
    length = np.sqrt((one**2).sum() * (other**2).sum())
    return float((one * other).sum() / length) if length > 0 else 0.0
