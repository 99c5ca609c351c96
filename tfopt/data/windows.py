"""Windows of a time series: some rows in a row are an example, and the target some rows later is what they forecast."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import pandas as pd

from tfopt.data.cautions import time_columns
from tfopt.data.column import Column
from tfopt.data.examples import ExampleSet, columns_of, parts_of
from tfopt.data.formats import with_index
from tfopt.data.guesses import shown
from tfopt.data.rows import canonical, read_new_rows
from tfopt.data.spelling import quoted
from tfopt.data.steps import Steps, texts_of
from tfopt.data.table import Table
from tfopt.errors import UserError, with_name

_CHANNELS = ("numeric", "boolean")


@dataclass(frozen=True)
class Series:
    """What windows are cut out of, so that new ones can be cut alike.

    Args:
        columns: The columns of a window, the targets first.
        time: The column of times, or None where rows are merely in order.
        step: The usual time from one row to the next, as in `Steps`.
        frequency: Its name in pandas, as in `Steps`.
    """

    columns: tuple[Column, ...]
    time: Column | None = None
    step: float = 1.0
    frequency: str = ""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Series":
        """Return the series whose `dataclasses.asdict` this is, read from JSON."""
        columns = tuple(map(_column, values["columns"]))
        time = None if values["time"] is None else _column(values["time"])
        return cls(columns, time, float(values["step"]), values["frequency"])


def _column(values: Mapping[str, Any]) -> Column:
    return Column(**{**values, "missing_text": tuple(values["missing_text"])})


def windows_of(table: Table, window: int, horizon: int) -> ExampleSet:
    """Return the windows of a table whose rows are in order of time, each with the target `horizon` rows after it.

    A window holds the numbers of `window` rows: the targets, then the other numeric columns. `times` are the rows of
    the targets, so that folds go forward in time.

    Args:
        table: The series; of its features only numbers are used.
        window: Rows of a window.
        horizon: Rows from the last one of a window to the target.

    Raises:
        UserError: The rows are too few, not in order, or with missing cells, or most windows reach over a gap in time.
    """
    time, times = _times_of(table)
    steps = Steps() if times is None else Steps.of(times, time.name if time else "", table.source)
    features = [c for c in table.columns if c.kind in _CHANNELS and (time is None or c.name != time.name)]
    channels = (*table.target_columns, *features)
    values = np.column_stack([table.target, _numbers(table.features, features, table.source)])
    rows = len(values)
    if rows - window - horizon + 1 < 2:
        raise UserError(
            f"{rows} rows are too few for windows of {window} rows and the target {horizon} later ({table.source}): "
            f"two examples need {window + horizon + 1}. Use a shorter --window or --horizon."
        )
    ends = np.arange(window - 1, rows - horizon)
    whole = _within_one_part(steps, rows, ends - window + 1, ends + horizon)
    notes = [*table.notes, *_said(table, channels, window, horizon, time)]
    if time is not None and times is not None:
        notes.append(_about_times(time, times, steps, whole, table.source))
    ends = ends[whole]
    x = _cut(values, window)[ends - window + 1]
    own = {each.name: getattr(table, each.name) for each in fields(Table)}
    frame, columns = columns_of(x)
    digest = hashlib.sha256(f"{table.sha256} {window} {horizon} {[asdict(c) for c in channels]}".encode()).hexdigest()
    names = {column.name for column in channels}
    own |= {"features": frame, "columns": columns, "target": table.target[ends + horizon], "notes": notes}
    own |= {"weights": None if table.weights is None else table.weights[ends + horizon], "sha256": digest}
    own |= {"times": (ends + horizon).astype(np.float64), "times_are_dates": False}
    own["ignored"] = tuple(name for name in table.source_columns if name not in names)
    series = Series(channels, time, steps.step, steps.frequency)
    return ExampleSet(
        **own, x=x, kind="sequence", parts=parts_of(x, "sequence"), shape=table.target.shape[1:], series=series
    )


@dataclass(frozen=True)
class NewWindows:
    """The windows of new rows.

    Args:
        x: (windows, rows, columns) numbers.
        targets: For each target what it turned out to be, NaN where that is not known yet; empty if it never is.
        others: What each window forecasts: its time, or the number of its row.
        notes: What is to be said about them.
    """

    x: np.ndarray
    targets: dict[str, pd.Series]
    others: dict[str, list[str]]
    notes: list[str]


def windows_like(given: Any, series: Series, config: Mapping[str, Any], target_names: Sequence[str]) -> NewWindows:
    """Return all windows of new rows, up to the one that ends with the last row, whose target is yet to come.

    Args:
        given: A file, or a data frame.
        series: What the windows of training were cut out of.
        config: The search's settings.
        target_names: Names of the targets.

    Raises:
        UserError: As for `windows_of`, or a column is missing.
    """
    window, horizon, time = config["window"], config["horizon"], series.time
    if isinstance(given, str | os.PathLike):
        source = os.fspath(given)
        reading = {name: config[name] for name in ("header", "encoding", "separator", "max_unpacked") if name in config}
        read = read_new_rows(source, series.columns, targets=[time] if time else [], **reading)
        features, dates = read.features, read.targets.get(time.name) if time else None
    else:
        source, frame = "the given frame", with_index(given)
        features = canonical(frame, series.columns)
        dates = canonical(frame, [time])[time.name] if time and time.name in frame else None
    if dates is not None and dates.isna().any():
        raise UserError(f"{quoted(str(dates.name))} is missing in row {int(dates.isna().argmax()) + 1} ({source}).")
    values = _numbers(features, series.columns, source)
    if len(values) < window:
        raise UserError(f"a window has {window} rows, and there are {len(values)} ({source}). Give the rows before.")
    steps, times = Steps(), None
    if dates is not None and time is not None:
        times = _as_times(dates)
        steps = Steps.of(times, time.name, source)
        if len(times) > 1 and not 0.5 < steps.step / series.step < 1.5:
            trained = Steps(series.step, series.frequency).in_words(time.kind == "date")
            raise UserError(
                f"the rows are {steps.in_words(time.kind == 'date')} apart, and those of training were {trained} "
                f"({source}). Give rows that are as far apart."
            )
    ends = np.arange(window - 1, len(values))
    ends = ends[_within_one_part(steps, len(values), ends - window + 1, ends)]
    if not len(ends):
        raise UserError(f"every window of {window} rows reaches over a gap in time ({source}). Fill the gaps in.")
    later = ends + horizon
    known = later < len(values)
    known[known] = _within_one_part(steps, len(values), ends[known], later[known])
    truth = np.full((len(ends), values.shape[1]), np.nan)
    truth[known] = values[later[known]]
    targets = {name: pd.Series(truth[:, place]) for place, name in enumerate(target_names) if known.any()}
    if times is None:
        name, forecast = "row", (later + 1).tolist()
    else:
        name = time.name if time else ""
        forecast = texts_of(Steps(series.step, series.frequency).later(times[ends], horizon))
    written = list(map(str, forecast))
    what = f"forecasts of {quoted(name)} {written[0]}" + (f" to {written[-1]}" if len(written) > 1 else "")
    notes = [f"{what}, each {_rows(horizon)} after the last row of its window"]
    return NewWindows(_cut(values, window)[ends - window + 1], targets, {name: written}, notes)


def _cut(values: np.ndarray, window: int) -> np.ndarray:
    """Return all windows (windows, rows, columns), as a view."""
    cut = np.lib.stride_tricks.sliding_window_view(values.astype(np.float32), window, axis=0)
    return cut.transpose(0, 2, 1)


def _within_one_part(steps: Steps, rows: int, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Return whether there is no gap in time between the rows `first` and `last`."""
    gaps = np.zeros(rows, dtype=np.int64)
    gaps[steps.gaps] = 1
    before = np.cumsum(gaps)
    return before[first] == before[last]


def _times_of(table: Table) -> tuple[Column | None, np.ndarray | None]:
    """Return the column of times, the one that was named or one that is found, and the times."""
    columns = {column.name: column for column in table.columns}
    if table.times is not None:
        kind: Any = "date" if table.times_are_dates else "numeric"
        times = table.times.astype("int64").astype("datetime64[s]") if table.times_are_dates else table.times
        return columns.get(table.time_name, Column(table.time_name, kind)), times
    found = [columns[name] for name in time_columns(table)]
    orders = [column for column in found if (np.diff(_as_times(table.features[column.name]).astype(float)) > 0).all()]
    dates = [column for column in found if column.kind == "date"]
    chosen = next(iter(orders or dates), None)
    return chosen, None if chosen is None else _as_times(table.features[chosen.name])


def _as_times(values: pd.Series) -> np.ndarray:
    if values.dtype.kind == "M":
        return values.to_numpy(dtype="datetime64[s]")
    return values.to_numpy(dtype=np.float64)


def _numbers(features: pd.DataFrame, columns: Any, source: str) -> np.ndarray:
    """Return the numbers (rows, columns) of these columns, or complain about a missing one."""
    values = features[[column.name for column in columns]].to_numpy(dtype=np.float64)
    missing = np.isnan(values)
    if missing.any():
        place = int(missing.any(axis=0).argmax())
        count, row = int(missing[:, place].sum()), int(missing[:, place].argmax()) + 1
        raise UserError(
            f"{count} missing value{'s' * (count > 1)} in column {quoted(columns[place].name)} ({source}: row {row}"
            f"{', …' * (count > 1)}), and windows need every cell. Fill them in, or leave the column out: "
            f"{with_name('--drop', columns[place].name)}."
        )
    return values


def _rows(number: int) -> str:
    return f"{number} row{'s' * (number > 1)}"


def _said(table: Table, channels: Any, window: int, horizon: int, time: Column | None) -> list[str]:
    targets = shown(map(quoted, table.target_names), 3)
    names = shown((quoted(column.name) for column in channels), 6)
    said = [f"windows of {_rows(window)} of {names} forecast {targets} {_rows(horizon)} later"]
    used = {column.name for column in channels} | ({time.name} if time else set())
    if others := [column.name for column in table.columns if column.name not in used]:
        said.append(f"not numbers, and left out: {shown(map(quoted, others), 6)}")
    return said


def _about_times(time: Column, times: np.ndarray, steps: Steps, whole: np.ndarray, source: str) -> str:
    """Return what is said about the times, or complain where most windows reach over a gap."""
    first, last = texts_of(times[[0, -1]])
    words = steps.in_words(time.kind == "date")
    if not len(steps.gaps):
        return f"times of {quoted(time.name)}: {first} to {last}, each {words} after the one before"
    lost, before = int((~whole).sum()), texts_of(times)[steps.gaps[0] - 1]
    gaps = f"{len(steps.gaps)} gap{'s' * (len(steps.gaps) > 1)} in {quoted(time.name)} (the first after {before})"
    if 2 * lost > len(whole):
        raise UserError(
            f"rows are mostly {words} apart, and {lost} of {len(whole)} windows reach over one of the {gaps} "
            f"({source}). Fill the gaps in, use a shorter --window, or, if each row is to count as a step, leave the "
            f"times out: {with_name('--drop', time.name)}."
        )
    return f"{gaps}: rows are {words} apart elsewhere, and {lost} of {len(whole)} windows, which reach over one, go"
