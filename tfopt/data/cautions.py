"""What a table warns of before anything is trained, one sentence each: leaks, rare classes, rows in time."""

import re
import shlex

import numpy as np

from tfopt.data.leaks import leaks
from tfopt.data.spelling import quoted
from tfopt.data.table import Table
from tfopt.errors import with_name

# Shares under which a class counts as rare; of many classes each has little, so it must also have less than its due.
_RARE, _RARE_OF_EVEN = 0.10, 1 / 2
_FEW, _FEW_OF_EVEN = 0.20, 2 / 3
_MOST_OF_SQUARES, _FEWEST_ROWS = 0.5, 50
_MOST_CELLS = 4_000_000
_NEGATIVE = -9.0
_NINES = [float("9" * digits + decimals) for digits in range(2, 11) for decimals in ("", ".9", ".99")]
_TIME_NAME = re.compile(r"(date|time|datetime|timestamp|year|day|t|epoch)s?", re.IGNORECASE)


def cautions(table: Table, objective: str, columns: bool = True) -> list[str]:
    """Return what should be said aloud about a table that is scored by `objective`; if asked for, of its columns."""
    of_columns = [*_about_placeholders(table), *_about_leaks(table), *_about_time(table)] if columns else []
    return [*of_columns, *_about_far_targets(table, objective), *_about_classes(table, objective)]


def _about_placeholders(table: Table) -> list[str]:
    """Name columns where a number recurs that may stand for a missing value.

    It is of nines, such as -999, and far from all others, or it is the one that is negative, such as -200.
    """
    names = [column.name for column in table.columns if column.kind == "numeric"]
    rows = slice(None, None, 1 + table.num_rows * len(names) // _MOST_CELLS)
    values = table.features[names].iloc[rows].to_numpy(dtype=np.float64)
    if table.task == "regression":
        names += table.target_names
        values = np.column_stack([values, table.target[rows]])
    lowest, highest = np.fmin.reduce(values), np.fmax.reduce(values)
    suspect = np.isin(np.abs([lowest, highest]), _NINES).any(axis=0) | (lowest <= _NEGATIVE)
    notes = []
    for place in np.flatnonzero(suspect):
        numbers, counts = np.unique(values[:, place], return_counts=True)
        numbers = numbers[~np.isnan(numbers)]
        for end, others in ((0, numbers[1:]), (len(numbers) - 1, numbers[:-1])):
            number, recurs = numbers[end], counts[end] >= max(2, len(values) // 100)
            if not recurs or len(others) < 3:
                continue
            far = abs(number) in _NINES and min(abs(others - number)) > np.ptp(others)
            if far or (number <= _NEGATIVE and number == np.floor(number) and others[0] >= 0):
                notes.append(
                    f"{quoted(names[place])} is {number:.10g} in several rows and otherwise {others[0]:.6g} to "
                    f"{others[-1]:.6g}. If that stands for a missing value, leave these cells empty"
                )
    return notes


def _about_leaks(table: Table) -> list[str]:
    advice = "If it is not known before the target is, or tells a row's place in a sorted file, leave it out"
    return [
        f"{quoted(column.name)} alone gives {' and '.join(map(quoted, targets))}. {advice}: "
        + with_name("--drop", column.name)
        for column, targets in leaks(table)
    ]


def _about_far_targets(table: Table, objective: str) -> list[str]:
    """Say where a metric of squared errors hangs on a few rows, as of money, durations and counts, or of a slip."""
    if (
        table.num_rows < _FEWEST_ROWS
        or table.task == "classification"
        or objective not in ("r2", "explained_variance", "mse", "rmse")
    ):
        return []
    notes = []
    targets = table.target.reshape(table.num_rows, -1).T
    for name, values in zip(table.target_names, targets, strict=True):
        squares = np.sort((values - values.mean()) ** 2)[::-1]
        few = max(1, len(squares) // 100)
        if (part := squares[:few].sum() / squares.sum()) > _MOST_OF_SQUARES:
            farthest = values[np.argmax(np.abs(values - values.mean()))]
            rows = f"{few} row{'s' * (few > 1)} of {len(squares)}"
            logarithm = "; or write its logarithm in its place" if values.min() > 0 else ""
            notes.append(
                f"{objective} hangs on {rows}, where {quoted(name)} is as far off as {farthest:.6g}: "
                f"{part:.0%} of all squared differences from its mean. Correct them if they are wrong; "
                f"--objective mae counts all rows more alike{logarithm}"
            )
    return notes


def _about_classes(table: Table, objective: str) -> list[str]:
    if table.task == "regression":
        return []
    counts = np.bincount(table.target, minlength=len(table.classes)).tolist()
    shares = [count / sum(counts) for count in counts]
    rarest, commonest = min(shares), max(shares)
    rare, common = (table.classes[shares.index(share)] for share in (rarest, commonest))
    even = 1 / len(shares)
    notes = []
    if rarest < min(_RARE, _RARE_OF_EVEN * even):
        rows = f"{min(counts)} row{'s' * (min(counts) > 1)} of {sum(counts)}"
        weigh = "" if table.class_weight != "none" else "; --class-weight balanced makes every class weigh the same"
        which = f"{quoted(rare)} of {quoted(table.target_names[0])}"
        notes.append(f"rare classes: {which} has {_percent(rarest)}, {rows}{weigh}")
    if objective == "accuracy" and rarest < min(_FEW, _FEW_OF_EVEN * even):
        notes.append(
            f"accuracy: always guessing {quoted(common)} is right in {_percent(commonest)} of the rows; "
            "--objective balanced_accuracy or roc_auc counts every class alike"
        )
    return notes


def _about_time(table: Table) -> list[str]:
    if table.times is not None or not (dated := time_columns(table)):
        return []
    return [
        f"{quoted(dated[0])} tells the time of a row. If later rows are to be predicted from earlier ones, --time "
        f"{shlex.quote(dated[0])} makes every fold learn from the past only"
    ]


def time_columns(table: Table) -> list[str]:
    """Return the columns that seem to tell a row's time: dates, or else numbers under such a name."""
    dated = [c.name for c in table.columns if c.kind == "date" and not c.has_missing]
    named = (c for c in table.columns if c.kind == "numeric" and not c.has_missing and _TIME_NAME.fullmatch(c.name))
    return dated or [column.name for column in named]


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"
