"""Decide what a column is, once, on the training table; read new rows the same way afterwards."""

import re

import numpy as np
import pandas as pd

from tfopt.data.column import Column
from tfopt.data.delimited import RawTable
from tfopt.data.spelling import BOOLEAN_PAIRS, MISSING_TEXT, level_text
from tfopt.data.values import to_categories, to_truth
from tfopt.errors import UserError

# Of the values of a column of numbers (or dates), this share must read as such; the others then count as missing.
ENOUGH = 0.95
ISO = "ISO8601"
EMPTY, CONSTANT, IDENTIFIER = "empty", "constant", "an identifier, another value in each row"
_DATE_FORMATS = {
    ISO: r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?",
    "%Y/%m/%d": r"\d{4}/\d{1,2}/\d{1,2}",
    "%Y/%m/%d %H:%M": r"\d{4}/\d{1,2}/\d{1,2} \d{1,2}:\d{2}",
    "%Y/%m/%d %H:%M:%S": r"\d{4}/\d{1,2}/\d{1,2} \d{1,2}:\d{2}:\d{2}",
    "%Y年%m月%d日": r"\d{4}年\d{1,2}月\d{1,2}日",
    "%d.%m.%Y": r"\d{1,2}\.\d{1,2}\.\d{4}",
    "%d.%m.%Y %H:%M": r"\d{1,2}\.\d{1,2}\.\d{4} \d{1,2}:\d{2}",
    "%d.%m.%Y %H:%M:%S": r"\d{1,2}\.\d{1,2}\.\d{4} \d{1,2}:\d{2}:\d{2}",
    **{
        f"{day_and_month}{time}": rf"\d{{1,2}}/\d{{1,2}}/\d{{4}}{pattern}"
        for day_and_month in ("%m/%d/%Y", "%d/%m/%Y")
        for time, pattern in (
            ("", ""),
            (" %H:%M", r" \d{1,2}:\d{2}"),
            (" %H:%M:%S", r" \d{1,2}:\d{2}:\d{2}"),
            (" %I:%M %p", r" \d{1,2}:\d{2} [AaPp][Mm]"),
        )
    },
    "%m-%d-%Y": r"\d{1,2}-\d{1,2}-\d{4}",
    "%d-%m-%Y": r"\d{1,2}-\d{1,2}-\d{4}",
    "%d-%b-%Y": r"\d{1,2}-[A-Za-z]{3}-\d{4}",
    "%d %b %Y": r"\d{1,2} [A-Za-z]{3} \d{4}",
    "%b %d, %Y": r"[A-Za-z]{3} \d{1,2}, \d{4}",
    "%B %d, %Y": r"[A-Za-z]+ \d{1,2}, \d{4}",
}
_ID_NAME = re.compile(r"(.*[^A-Za-z])?(id|uuid|guid|index|key|no|nr)|.*Id|.*ID|Unnamed.*", re.IGNORECASE)


def understand(
    values: pd.Series, raw: RawTable, notes: list[str], dropped: dict[str, list[str]]
) -> tuple[Column | None, pd.Series]:
    """Decide a feature column's kind and return its canonical values.

    Args:
        values: The column as read; its name is the column's name.
        raw: The table it belongs to, for messages.
        notes: Receives one sentence for whatever is guessed.
        dropped: Receives the names of columns that cannot help, by reason.

    Returns:
        The column and its values, or None for a column that cannot help (empty, constant, an identifier).

    Raises:
        UserError: When the column holds an infinite value.
    """
    name = str(values.name)
    num_missing = int(values.isna().sum())
    if num_missing == len(values):
        dropped.setdefault(EMPTY, []).append(name)
        return None, values
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        return _finish(Column(name, "date", date_format=ISO), _naive(values), notes, dropped)
    if values.dtype == bool or isinstance(values.dtype, pd.BooleanDtype):
        return _finish(Column(name, "boolean"), values.astype("Float64").astype("float64"), notes, dropped)
    if pd.api.types.is_timedelta64_dtype(values.dtype):
        values = values.dt.total_seconds()
    if pd.api.types.is_numeric_dtype(values.dtype):
        return _finish(Column(name, "numeric"), finite(values, raw), notes, dropped)
    if not isinstance(values.dtype, pd.CategoricalDtype):
        present = values[values.notna()].map(level_text) if values.dtype == object else values[values.notna()]
        words = {word.lower() for word in present.iloc[:1000].unique()}
        if any(words <= pair for pair in BOOLEAN_PAIRS):
            truth = to_truth(values)
            if truth.isna().sum() == num_missing and {w.lower() for w in present.unique()} in BOOLEAN_PAIRS:
                return _finish(Column(name, "boolean"), truth, notes, dropped)
        numbers = as_numbers(values) if mostly_numbers(values) else pd.Series(np.nan, index=values.index)
        bad = numbers.isna() & values.notna()
        if bad.sum() <= (1 - ENOUGH) * len(present):
            if bad.any():
                notes.append(f"{name!r}: {examples(values, bad, raw)} read as missing in a column of numbers")
            column = Column(name, "numeric", missing_text=_spellings(values[bad]))
            return _finish(column, finite(numbers, raw), notes, dropped)
        date_format, dates = _as_dates(present)
        if date_format:
            dates = dates.reindex(values.index)
            bad = dates.isna() & values.notna()
            if bad.any():
                notes.append(f"{name!r}: {examples(values, bad, raw)} read as missing in a column of dates")
            column = Column(name, "date", date_format=date_format, missing_text=_spellings(values[bad]))
            return _finish(column, dates, notes, dropped)
    return _finish(Column(name, "categorical"), to_categories(values), notes, dropped)


def read_as(column: Column, values: pd.Series, raw: RawTable) -> pd.Series:
    """Return the canonical values of new rows in a column whose kind was decided in training.

    Raises:
        UserError: When a value is of another kind.
    """
    if column.kind == "categorical":
        return to_categories(values)
    if column.kind == "boolean":
        truth = to_truth(values)
        _complain(truth.isna() & values.notna(), values, column, raw, "true or false")
        return truth
    if column.kind == "date":
        if pd.api.types.is_datetime64_any_dtype(values.dtype):
            return _naive(values)
        texts = values.astype("str")
        dates = parse_dates(texts, column.date_format)
        if column.date_format != ISO:
            dates = dates.fillna(parse_dates(texts, ISO))
        bad = dates.isna() & values.notna()
        if bad.any():
            bad &= ~values.map(level_text).isin([*column.missing_text, *MISSING_TEXT])
        _complain(bad, values, column, raw, "a date")
        return dates
    if pd.api.types.is_timedelta64_dtype(values.dtype):
        values = values.dt.total_seconds()
    numbers = as_numbers(values)
    bad = numbers.isna() & values.notna()
    if bad.any():
        bad &= ~values.map(level_text).isin([*column.missing_text, *MISSING_TEXT])
    _complain(bad, values, column, raw, "a number")
    return finite(numbers, raw)


def as_numbers(values: pd.Series) -> pd.Series:
    """Return float64 values, NaN where a value is no number."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype("object")
    numbers = pd.to_numeric(values, errors="coerce")
    return numbers.astype("Float64").astype("float64") if numbers.dtype != "float64" else numbers


def mostly_numbers(values: pd.Series) -> bool:
    """Whether at least half of a sample of the values are numbers; spares reading a million words as numbers."""
    sample = values.dropna().iloc[:: max(1, len(values) // 1000)]
    return bool(as_numbers(sample).notna().mean() >= 0.5)


def finite(values: pd.Series, raw: RawTable) -> pd.Series:
    """Return the numbers, float64 unless they are of a smaller type, or complain about an infinite one."""
    if values.dtype in (np.uint8, np.float32):  # pictures: eight times smaller than as float64
        numbers = values
    else:
        numbers = values.astype("Float64").astype("float64") if values.dtype != "float64" else values
    infinite = np.isinf(numbers.to_numpy())
    if infinite.any():
        rows = np.flatnonzero(infinite)
        count = f"{len(rows)} infinite value{'s' * (len(rows) > 1)}"
        raise UserError(
            f"{count} in column {str(values.name)!r} ({raw.source}, {raw.where(int(rows[0]))}). "
            "Write a number, or leave it empty for missing."
        )
    return numbers


def examples(values: pd.Series, chosen: pd.Series, raw: RawTable) -> str:
    """Return `'abc' (line 7), 'x' (line 9) and 3 more` for the chosen rows."""
    rows = np.flatnonzero(chosen.to_numpy())
    shown = ", ".join(f"{level_text(values.iloc[row])!r} ({raw.where(int(row))})" for row in rows[:3])
    return shown + (f" and {len(rows) - 3} more" if len(rows) > 3 else "")


def parse_dates(texts: pd.Series, date_format: str) -> pd.Series:
    """Return naive UTC times, NaT where a text does not fit the format."""
    # pandas alone takes more for ISO 8601 than a table's dates should be: 2019 and 2019-1-1, too.
    fitting = texts.where(texts.str.fullmatch(_DATE_FORMATS[date_format]))
    return _naive(pd.to_datetime(fitting, format=date_format, errors="coerce", utc=True))


def _naive(dates: pd.Series) -> pd.Series:
    if dates.dt.tz is not None:
        dates = dates.dt.tz_convert("UTC").dt.tz_localize(None)
    return dates.astype("datetime64[s]")


def _as_dates(present: pd.Series) -> tuple[str, pd.Series]:
    """Return the format and the dates of a column of text, or `""`."""
    texts = present.astype("str")
    sample = texts.iloc[:200]
    for date_format, pattern in _DATE_FORMATS.items():
        if sample.str.fullmatch(pattern).mean() >= ENOUGH:
            dates = parse_dates(texts, date_format)
            if dates.notna().mean() >= ENOUGH:
                return date_format, dates
    return "", texts


def _finish(
    column: Column, values: pd.Series, notes: list[str], dropped: dict[str, list[str]]
) -> tuple[Column | None, pd.Series]:
    """Drop constants and identifiers; count levels and missing values."""
    name, missing = column.name, bool(values.isna().any())
    present = values[values.notna()] if missing else values
    num_levels = int(present.nunique())
    if num_levels == 0:
        dropped.setdefault(EMPTY, []).append(name)
        return None, values
    if num_levels == 1 and not missing:
        dropped.setdefault(CONSTANT, []).append(name)
        return None, values
    if num_levels == len(values) and _is_identifier(column, present):
        dropped.setdefault(IDENTIFIER, []).append(name)
        return None, values
    if column.kind == "numeric" and num_levels >= max(100, 0.9 * len(values)) and _is_long_code(present):
        notes.append(f"{name!r} is nearly unique and may be an identifier; leave it out with --drop if it is")
    levels = num_levels if column.kind == "categorical" else 0
    return Column(name, column.kind, levels, missing, column.date_format, column.missing_text), values


def _spellings(values: pd.Series) -> tuple[str, ...]:
    return tuple(sorted(set(values.map(level_text)))[:100])


def _is_identifier(column: Column, values: pd.Series) -> bool:
    if len(values) < 10:
        return False
    if column.kind == "categorical":
        return True
    if column.kind != "numeric" or not _is_whole(values):
        return False
    consecutive = values.max() - values.min() == len(values) - 1
    return bool(consecutive or _ID_NAME.fullmatch(column.name))


def _is_long_code(values: pd.Series) -> bool:
    return _is_whole(values) and bool(values.min() >= 10_000)


def _is_whole(values: pd.Series) -> bool:
    numbers = values.to_numpy()
    return bool((numbers == np.floor(numbers)).all())


def _complain(bad: pd.Series, values: pd.Series, column: Column, raw: RawTable, wanted: str) -> None:
    if bad.any():
        allowed = " (or yes and no, 1 and 0)" if column.kind == "boolean" else ""
        raise UserError(
            f"column {column.name!r} holds {examples(values, bad, raw)} where training had {wanted} ({raw.source}). "
            f"Write {wanted}{allowed}, or leave it empty for missing."
        )
