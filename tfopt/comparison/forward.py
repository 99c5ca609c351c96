"""Splits of a table whose rows follow one another in time: learn from the past, be scored on what follows."""

import re

import numpy as np

from tfopt.data.table import Table
from tfopt.errors import UserError

Parts = tuple[np.ndarray, np.ndarray]

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}


def gap_of(text: str | None, table: Table) -> float:
    """Return a gap such as `"7d"` or `"2.5"` in the unit of `table.times`: seconds for dates, which count in days.

    Raises:
        UserError: It is not a number that is 0 or more, or has a unit although the times are numbers.
    """
    if text is None:
        return 0.0
    match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*([smhdw]?)", text.strip())
    if match is None:
        raise UserError(f"--gap must be a number, or one with s, m, h, d or w. Received: {text}. Write 7d for a week.")
    number, unit = float(match[1]), match[2]
    if table.times_are_dates:
        return number * _SECONDS[unit or "d"]
    if unit:
        raise UserError(f"--gap {text} has a unit, but the time column holds numbers. Write {match[1]}.")
    return number


def forward_folds(
    table: Table, rows: np.ndarray, folds: int, gap: float, *, what: str, where: str, first: int = 1
) -> list[Parts]:
    """Return `folds` pairs of training and test rows.

    `rows` are cut into folds + 1 parts of about equal size, but of `first` different times at least the first one; part
    k + 1 is tested after learning from parts 0 … k.
    Rows of one time stay in one part. A training row is earlier than all test rows, by `gap` at least; rows whose group
    is in the test part are not learned from.

    Raises:
        UserError: There are too few different times, or a training part is left without rows or with one class only.
    """
    times, place = np.unique(_times(table)[rows], return_inverse=True)
    if len(times) < folds + first:
        most = len(times) - first
        remedy = f"Use at most {most} {what}." if most >= 2 else "Use another time column, or --holdout."
        raise UserError(
            f"{folds} {what} that follow one another need {folds + first} different times, and there are "
            f"{len(times)}{where} ({table.source}). {remedy}"
        )
    before = np.concatenate([[0], np.cumsum(np.bincount(place))])[:-1]  # rows that are earlier than each time
    starts = [0]
    for part in range(1, folds + 1):
        nearest = int(np.abs(before - len(rows) * part / (folds + 1)).argmin())
        starts.append(int(np.clip(nearest, max(starts[-1] + 1, first), len(times) - folds + part - 1)))
    ends = [*starts[2:], len(times)]
    return [
        _forward(table, rows, place < start, (place >= start) & (place < end), gap, what)
        for start, end in zip(starts[1:], ends, strict=True)
    ]


def last_part(table: Table, holdout: float, gap: float) -> Parts:
    """Return training and test rows, the test part being the latest rows, about this fraction of all."""
    times, place = np.unique(_times(table), return_inverse=True)
    if len(times) < 2:
        raise UserError(f"all rows are of one time ({table.source}). Use another time column.")
    before = np.cumsum(np.bincount(place))[:-1]
    start = int(np.abs(before - (1 - holdout) * table.num_rows).argmin()) + 1
    return _forward(table, np.arange(table.num_rows), place < start, place >= start, gap, "parts")


def time_blocks(times: np.ndarray) -> np.ndarray:
    """Return a code for each row of a test part: √n blocks of rows that follow one another, drawn whole in a bootstrap.

    Rows near in time are alike, and drawn one by one they would seem to say more than they do (Künsch 1989, "The
    jackknife and the bootstrap for general stationary observations").
    """
    ranks = np.empty(len(times), dtype=np.int64)
    ranks[np.argsort(times, kind="stable")] = np.arange(len(times))
    return ranks * round(np.sqrt(len(times))) // len(times)


def _times(table: Table) -> np.ndarray:
    assert table.times is not None
    return table.times


def _forward(table: Table, rows: np.ndarray, early: np.ndarray, late: np.ndarray, gap: float, what: str) -> Parts:
    test = rows[late]
    times = _times(table)
    train = rows[early]
    first = times[test].min()
    train = train[times[train] <= first - gap]
    gone, remedy = "The gap leaves", "a smaller gap"
    if table.groups is not None and len(train):
        train = train[~np.isin(table.groups[train], table.groups[test])]
        gone, remedy = "Groups that are also in the test part leave", "no --group, so that a group's own past counts"
    if len(train) == 0:
        raise UserError(f"{gone} no training row before one of the {what}. Use fewer {what}, or {remedy}.")
    if table.task == "classification" and len(np.unique(table.target[train])) < 2:
        raise UserError(
            f"The {len(train)} training rows before one of the {what} are all of class "
            f"{table.classes[table.target[train[0]]]!r}. Use fewer {what}, or --holdout."
        )
    return train, test
