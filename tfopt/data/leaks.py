"""Columns that alone give the target: copies of it in other words or units, or a place in a sorted file."""

import numpy as np
import pandas as pd

from tfopt.data.column import Column
from tfopt.data.table import Table

# Rows that are looked at: 4000 of an ordinary table, fewer of a wide one.
_MOST_ROWS, _FEWEST_ROWS, _MOST_CELLS, _CELLS_AT_ONCE = 4000, 500, 4_000_000, 500_000
# Fewer rows outside the largest class, or fewer rows in all, are put in order by chance.
_FEWEST_OTHERS, _FEWEST_NUMBERS = 10, 20
_UNEXPLAINED = 0.005  # share of a target's variance
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
    classes = table.task == "classification"
    given: dict[str, list[str]] = {column.name: [] for column in table.columns}
    plain = [column.name for column in table.columns if column.kind == "numeric" and not column.has_missing]
    num_columns = max(1, _CELLS_AT_ONCE // len(rows))
    for start in range(0, len(plain) if targets else 0, num_columns):
        names = plain[start : start + num_columns]
        values = features[names].to_numpy(dtype=np.float64)
        for target_name, target in targets.items():
            for place in np.flatnonzero(_give(values, target, classes)):
                given[names[place]].append(target_name)
    for column in table.columns:
        if column.kind != "text" and (column.kind != "numeric" or column.has_missing):
            values = _as_numbers(column, features[column.name])
            given[column.name] += [name for name, target in targets.items() if _gives(values, target, classes)]
    return [(column, given[column.name]) for column in table.columns if given[column.name]]


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


def _give(values: np.ndarray, target: np.ndarray, classes: bool) -> np.ndarray:
    """Return which columns of numbers, none missing, give the target."""
    order = np.argsort(values, axis=0, kind="stable")
    ordered = np.take_along_axis(values, order, axis=0)
    codes = np.zeros(values.shape, dtype=np.int64)
    np.cumsum(np.diff(ordered, axis=0) != 0, axis=0, out=codes[1:])
    distinct = codes[-1] + 1
    few = distinct * _ROWS_PER_LEVEL <= len(values)
    if classes:
        given = _ranges_are_pure(target, order)
    elif target.std() > 0:
        given = _are_functions(ordered, codes, target, order)
    else:
        return np.zeros(len(few), dtype=bool)
    for place in np.flatnonzero(few & (distinct > 1)):
        given[place] = _levels_give(codes[:, place], target[order[:, place]], classes)
    return given & (distinct > 1)


def _gives(values: np.ndarray, target: np.ndarray, classes: bool) -> bool:
    """Whether a column that may have missing values, or codes of levels, gives the target."""
    distinct, codes = np.unique(values, return_inverse=True)  # one NaN at most, the last
    if len(distinct) < 2:
        return False
    if len(distinct) * _ROWS_PER_LEVEL <= len(values):
        return _levels_give(codes, target, classes)
    if classes:
        return bool(_give(codes[:, None].astype(np.float64), target, classes)[0])
    present = ~np.isnan(values)
    return bool(present.mean() >= 0.5 and _give(values[present, None], target[present], classes)[0])


def _levels_give(codes: np.ndarray, target: np.ndarray, classes: bool) -> bool:
    if classes:
        return _levels_are_pure(codes, target)
    return bool(target.std() > 0) and _levels_are_constant(codes, (target - target.mean()) / target.std())


def _levels_are_pure(codes: np.ndarray, target: np.ndarray) -> bool:
    num_classes = int(target.max()) + 1
    table = np.bincount(codes * num_classes + target, minlength=(codes.max() + 1) * num_classes)
    wrong = len(target) - table.reshape(-1, num_classes).max(axis=1).sum()
    return bool(wrong <= _WRONG * (len(target) - np.bincount(target).max()))


def _ranges_are_pure(target: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Whether the classes stand one after another when the rows are sorted, but for a few rows; for each order."""
    counts = np.bincount(target)
    changes = (np.diff(target[order], axis=0) != 0).sum(axis=0)
    needed = (counts > 0).sum() - 1
    return changes - needed <= 2 * _WRONG * (len(target) - counts.max())  # a row out of place changes it twice


def _levels_are_constant(codes: np.ndarray, target: np.ndarray) -> bool:
    means = np.bincount(codes, weights=target) / np.bincount(codes)
    return bool(np.mean((target - means[codes]) ** 2) <= _UNEXPLAINED)


def _are_functions(ordered: np.ndarray, codes: np.ndarray, target: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Whether the target is a straight line, a monotone or a smooth function of each column, all in sorted order."""
    least = 1 - _UNEXPLAINED
    target = (target - target.mean()) / target.std()
    ranks = np.unique(target, return_inverse=True)[1]
    straight = _correlations(ordered, target[order]) ** 2 >= least
    monotone = _correlations(codes.astype(np.float64), ranks[order].astype(np.float64)) ** 2 >= least
    smooth = np.mean(np.diff(target[order], axis=0) ** 2, axis=0) <= 2 * _UNEXPLAINED
    return straight | monotone | smooth


def _correlations(ones: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the correlation of each column with the same column of the others."""
    ones = ones - ones.mean(axis=0)
    ones = ones / np.maximum(np.abs(ones).max(axis=0), np.finfo(float).tiny)
    others = others - others.mean(axis=0)
    lengths = np.sqrt((ones**2).sum(axis=0) * (others**2).sum(axis=0))
    return (ones * others).sum(axis=0) / np.where(lengths > 0, lengths, 1.0)
