"""Decide what each column is, on all its rows; read new rows the same way afterwards."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from tfopt.data.column import Column
from tfopt.data.date_formats import (
    ENOUGH,
    ISO,
    DateGuess,
    guess_dates,
    is_day_first,
    naive,
    order_of_rows,
    other_order,
    parse_dates,
)
from tfopt.data.guesses import Guesses, cells
from tfopt.data.number_formats import Evidence, evidence, is_limit, shapes, starts_as_limit, to_numbers
from tfopt.data.raw import RawTable
from tfopt.data.spelling import BOOLEAN_PAIRS, is_missing_mark, is_missing_text, level_text, quoted
from tfopt.data.values import to_categories, to_truth
from tfopt.errors import UserError

_NUMBER_KINDS = {"number": "", "decimal-comma": ",", "decimal-point": "."}
_DATE_KINDS = ("date", "day-first", "month-first")
# With this share of numbers, a few words or signs that recur are missing values.
_MOSTLY = 0.8
_MOST_MARKS = 5
_EXACT = 2.0**53  # beyond, float64 holds not every whole number
FLOAT32_MAX = float(np.finfo(np.float32).max)
_PLAIN_NUMBER = re.compile(r"[-+]?0+(\.0+)?([eE][-+]?0+)?")
_FEW_LEVELS = 20
_MOST_SPELLINGS = 100
_SEPARATED = re.compile(r"0([,. '_])(?=000)")
_THOUSANDS = {
    ",": "thousands commas",
    ".": "thousands points",
    " ": "blanks between thousands",
    "'": "apostrophes between thousands",
    "_": "underscores between thousands",
}
_WORDS = re.compile(r"[^\W\d_]{2,}")
_CHINESE = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af]")
_TIME_WORD = re.compile(r"(^|[^a-z])(time|timestamp|ts|epoch|date|ns)([^a-z]|$)", re.IGNORECASE)


@dataclass(frozen=True)
class Reading:
    """A column whose kind is decided, with its canonical values as `Table.features` describes them."""

    column: Column
    values: pd.Series


def read_columns(raw: RawTable, frame: pd.DataFrame, told: Mapping[str, str], guesses: Guesses) -> dict[str, Reading]:
    """Decide the kind of every column of `frame` and return its values.

    What a column leaves open (`5.251`, `01/02/2015`) is decided by what the other columns tell.

    Args:
        raw: The table that the columns are of, for messages and for reading them again as text.
        frame: The columns to be read.
        told: The kinds that the user gave, by name.
        guesses: Receives what is guessed.

    Raises:
        UserError: When a column holds an infinite number or one beyond float32, or is not what it is told to be.
    """
    columns = {str(name): values for name, values in frame.items()}
    again = [name for name, values in columns.items() if _wants_text(values, told.get(name, ""), raw)]
    if raw.read_text and again:
        columns |= {str(name): values for name, values in raw.read_text(again).items()}
    drafts = [_Draft(values, told.get(name, "")) for name, values in columns.items()]
    habits = _Habits.of(drafts, raw)
    return {draft.name: _decide(draft, habits, raw, guesses) for draft in drafts}


def read_as(column: Column, values: pd.Series, raw: RawTable) -> pd.Series:
    """Return the canonical values of new rows in a column whose kind was decided in training.

    Raises:
        UserError: When a value is of another kind.
    """
    if column.kind == "categorical":
        return to_categories(values)
    if column.kind == "text":
        return _to_text(values)
    if column.kind == "boolean":
        truth = to_truth(values)
        _complain((truth.isna() & values.notna()).to_numpy(), values, column, raw, "true or false")
        return truth
    if pd.api.types.is_timedelta64_dtype(values.dtype):
        values = values.dt.total_seconds()
    if column.kind == "date" and pd.api.types.is_datetime64_any_dtype(values.dtype):
        return naive(values)
    if column.kind == "numeric" and _is_numeric(values):
        return checked(values, raw, math.inf)
    found = Cells(values)
    if column.kind == "date":
        texts = pd.Series(found.texts, dtype="str")
        read = parse_dates(texts, column.date_format)
        read = read if column.date_format == ISO else read.fillna(parse_dates(texts, ISO))
    else:
        read = pd.Series(to_numbers(found.texts, found.shapes, column.decimal, column.unit))
    bad = read.isna().to_numpy() & ~np.array([_is_gap(text, column) for text in found.texts], dtype=bool)
    _complain(found.where(bad), values, column, raw, "a date" if column.kind == "date" else "a number")
    if column.kind == "date":
        return found.spread(read, np.datetime64("NaT", "s"))
    return checked(found.spread(read, np.nan), raw, math.inf)


def checked(values: pd.Series, raw: RawTable, most: float = FLOAT32_MAX) -> pd.Series:
    """Return the numbers, float64 unless they are of a smaller type, or complain about one above `most`."""
    if values.dtype in (np.uint8, np.float32):  # pictures: eight times smaller than as float64
        numbers = values
    else:
        numbers = values.astype("Float64").astype("float64") if values.dtype != "float64" else values
    array = numbers.to_numpy()
    lowest, highest = extremes(array)
    if -most <= lowest and highest <= most and math.isfinite(lowest) and math.isfinite(highest):
        return numbers
    infinite = np.isinf(array)
    rows = np.flatnonzero(infinite if infinite.any() else np.abs(array) > most)
    place = f"in column {quoted(str(values.name))} ({raw.source}, {raw.where(int(rows[0]))})"
    plural = "s" * (len(rows) > 1)
    if infinite.any():
        raise UserError(f"{len(rows)} infinite value{plural} {place}. Write a number, or leave it empty for missing.")
    raise UserError(
        f"{len(rows)} number{plural} beyond what float32 holds, {array[rows[0]]:g}, {place}. "
        "Correct it, leave it empty for missing, or divide the column."
    )


def examples(values: pd.Series, chosen: np.ndarray, raw: RawTable) -> str:
    """Return `'abc' (line 7), 'x' (line 9) and 3 more` for the chosen rows."""
    rows = np.flatnonzero(chosen)
    shown = ", ".join(f"{quoted(level_text(values.iloc[row]))} ({raw.where(int(row))})" for row in rows[:3])
    return shown + (f" and {len(rows) - 3} more" if len(rows) > 3 else "")


class Cells:
    """The distinct texts of a column, stripped, with how often each occurs."""

    def __init__(self, values: pd.Series):
        if isinstance(values.dtype, pd.CategoricalDtype):
            values = values.astype("object")
        codes, uniques = pd.factorize(values)
        texts = [text.strip() if isinstance(text, str) else level_text(text) for text in uniques]
        gone = np.array([is_missing_text(text) for text in texts], dtype=bool)
        if gone.any():
            codes = np.append(np.where(gone, -1, np.cumsum(~gone) - 1), -1)[codes]
            texts = [text for text, missing in zip(texts, gone, strict=True) if not missing]
        self.index, self.name = values.index, values.name
        self.codes, self.texts = codes, texts
        self.counts = np.bincount(codes[codes >= 0], minlength=len(texts))

    @cached_property
    def shapes(self) -> list[str]:
        """The texts with their digits written as `0`."""
        return shapes(self.texts)

    @cached_property
    def marks(self) -> np.ndarray:
        """Which texts stand for a missing number or date."""
        return np.array([is_missing_mark(text) for text in self.texts], dtype=bool)

    def spread(self, values: pd.Series, missing: object) -> pd.Series:
        """Return a value for each row from a value for each distinct text."""
        array = values.to_numpy()
        filled = np.append(array, np.array([missing], dtype=array.dtype))
        return pd.Series(filled[self.codes], index=self.index, name=self.name)

    def categories(self) -> pd.Series:
        """Return the column as pandas categories of strings (sorted), missing values as missing."""
        levels, places = np.unique([level_text(text) for text in self.texts] or np.zeros(0, "str"), return_inverse=True)
        codes = np.append(places, -1)[self.codes]
        values = pd.Categorical.from_codes(codes, dtype=pd.CategoricalDtype(levels.tolist()))
        return pd.Series(values, index=self.index, name=self.name)

    def where(self, chosen: np.ndarray) -> np.ndarray:
        """Return which rows hold one of the chosen texts."""
        return np.append(chosen, False)[self.codes]


class _Draft:
    """What a column alone tells."""

    def __init__(self, values: pd.Series, told: str):
        self.name, self.values, self.told = str(values.name), values, told
        self.numbers: Evidence | None = None
        self.dates: DateGuess | None = None
        typed = pd.api.types.is_datetime64_any_dtype(values.dtype) or pd.api.types.is_timedelta64_dtype(values.dtype)
        typed = typed or _is_numeric(values) or values.dtype in ("bool", "boolean")
        self.cells = None
        if told in ("category", "text") or (typed and told in ("", "number")):
            return
        if isinstance(values.dtype, pd.CategoricalDtype) and not told:
            return
        cells = self.cells = Cells(values)
        sample = cells.texts[:: max(1, len(cells.texts) // 1000)]
        if not told and sum(any(map(str.isdigit, text)) for text in sample) < 0.3 * len(sample):
            return
        if told not in _DATE_KINDS:
            self.numbers = evidence(cells.texts, cells.shapes, cells.counts)
        if told not in _NUMBER_KINDS and (self.numbers is None or self.numbers.share < _MOSTLY):
            kept = np.flatnonzero(~cells.marks)
            texts, kept_shapes = [cells.texts[k] for k in kept], [cells.shapes[k] for k in kept]
            if cells.counts[kept].sum() * 2 >= cells.counts.sum():
                self.dates = guess_dates(texts, kept_shapes, cells.counts[kept], 0.5 if told else ENOUGH)


@dataclass
class _Habits:
    """How the columns of a file that leave no doubt are written."""

    comma: int = 0
    point: int = 0
    day_first: int = 0
    month_first: int = 0
    separator: str = ","

    @classmethod
    def of(cls, drafts: list[_Draft], raw: RawTable) -> "_Habits":
        habits = cls(separator=raw.separator)
        for draft in drafts:
            decimal = draft.numbers.decimal if draft.numbers and draft.numbers.share >= 0.5 else ""
            if draft.cells is None and draft.values.dtype == "float64" and not is_whole(draft.values.to_numpy()):
                decimal = raw.decimal
            habits.comma += decimal == ","
            habits.point += decimal == "."
            if draft.dates and draft.dates.swapped is None:
                habits.day_first += draft.dates.date_format.startswith(("%d/%m", "%d-%m", "%d.%m"))
                habits.month_first += draft.dates.date_format.startswith(("%m/%d", "%m-%d"))
        return habits

    def decimal(self, unclear: str = "") -> str:
        """Return the decimal sign of a column whose cells leave it open; `unclear` is the sign they hold."""
        if self.comma != self.point:
            return "," if self.comma > self.point else "."
        return "," if unclear == "," and self.separator == ";" else "."


def _wants_text(values: pd.Series, told: str, raw: RawTable) -> bool:
    """Whether a column that was read as plain numbers must be looked at as it is written."""
    if told not in ("", "number") or str(values.name) in raw.unclear:
        return values.dtype != "str"
    if told or not _is_numeric(values):
        return False
    array = values.to_numpy()
    largest = max(map(abs, extremes(array))) if array.dtype.kind in "iuf" else 0.0
    return _EXACT <= largest < 1e25 and is_whole(array)


def _decide(draft: _Draft, habits: _Habits, raw: RawTable, guesses: Guesses) -> Reading:
    name, values = draft.name, draft.values
    if draft.cells is None:
        if draft.told == "text":
            return Reading(Column(name, "text"), _to_text(values))
        if draft.told == "category" or isinstance(values.dtype, pd.CategoricalDtype):
            return Reading(Column(name, "categorical"), to_categories(values))
        if pd.api.types.is_datetime64_any_dtype(values.dtype):
            return Reading(Column(name, "date", date_format=ISO), naive(values))
        if values.dtype in ("bool", "boolean"):
            return Reading(Column(name, "boolean"), values.astype("Float64").astype("float64"))
        if pd.api.types.is_timedelta64_dtype(values.dtype):
            values = values.dt.total_seconds()
        if raw.decimal == "," and values.dtype == "float64" and not is_whole(array := values.to_numpy()):
            some = array[np.flatnonzero(array % 1 > 0)[0]]
            written = quoted(f"{some:.15g}".replace(".", ","))
            detail = f"{cells(int(values.notna().sum()))}, such as {written} as {some:.15g}"
            guesses.add("read as numbers with decimal commas", name, detail, "category")
        if name in raw.padded:
            guesses.add("read as numbers in spite of leading zeros", name, quoted(raw.padded[name]), "category")
        return Reading(Column(name, "numeric", decimal=habits.decimal()), checked(values, raw))
    truth = _as_truth(draft)
    if truth is not None:
        return Reading(Column(name, "boolean"), truth)
    for read in (_as_numbers, _as_dates):
        if (reading := read(draft, habits, raw, guesses)) is not None:
            return reading
    if draft.told:
        what = "date" if draft.told in _DATE_KINDS else "number"
        shown = ", ".join(map(quoted, draft.cells.texts[:3])) or "nothing"
        raise UserError(
            f"no {what} in column {quoted(name)} ({raw.source}: {shown}), though --column {name}={draft.told} "
            "was given. Leave it out, or write category or text."
        )
    if is_text(draft.cells):
        detail = f"{len(draft.cells.texts):,} different texts, such as {quoted(draft.cells.texts[0], 40)}"
        guesses.add("read as text of several words", name, detail, "category")
        return Reading(Column(name, "text"), _to_text(values))
    return Reading(Column(name, "categorical"), draft.cells.categories())


def is_text(found: "Cells") -> bool:
    """Whether most rows differ and most of the texts have several words."""
    texts, num_cells = found.texts, int(found.counts.sum())
    if num_cells < 10 or len(texts) <= 0.5 * num_cells:
        return False
    sample = texts[:: max(1, len(texts) // 1000)]
    several = sum(len(_WORDS.findall(text)) >= 2 or len(_CHINESE.findall(text)) >= 6 for text in sample)
    return several > 0.5 * len(sample)


def _as_truth(draft: _Draft) -> pd.Series | None:
    if draft.told or draft.cells is None or len(draft.cells.texts) > 6:
        return None
    words = {text.lower() for text in draft.cells.texts}
    return to_truth(draft.values) if words in BOOLEAN_PAIRS else None


def _as_numbers(draft: _Draft, habits: _Habits, raw: RawTable, guesses: Guesses) -> Reading | None:
    found, told = draft.cells, draft.told in _NUMBER_KINDS
    if found is None or (known := draft.numbers) is None or not len(found.texts):
        return None
    decimal = _NUMBER_KINDS.get(draft.told) or known.decimal or habits.decimal(known.unclear)
    values = to_numbers(found.texts, found.shapes, decimal, known.unit)
    good = ~np.isnan(values)
    limits = np.zeros(len(good), dtype=bool)
    for place in np.flatnonzero(~good):
        limits[place] = is_limit(found.texts[place], found.shapes[place], decimal, known.unit)
    others = ~good & ~limits & ~found.marks
    if not good.any() or not (told or _enough(found, values, limits, others)):
        share = found.counts[good | limits].sum() / found.counts.sum()
        if max(share, known.share) >= 0.5:
            stray = _counted(found, np.isnan(values))
            guesses.add("not read as numbers, though most cells are", draft.name, f"not {stray}", "number")
        return None
    if not told and _is_code(found, values) and not _TIME_WORD.search(draft.name):
        longest = max(found.texts, key=len)
        detail = f"{cells(int(found.counts.sum()))}, such as {quoted(longest)}"
        guesses.add("whole numbers too long for exact arithmetic, compared as text", draft.name, detail, "number")
        return Reading(Column(draft.name, "categorical"), found.categories())
    _say_how_written(draft, found, values, decimal, known, habits, guesses)
    missing = _say_missing(draft, found, good, limits, "numbers", guesses)
    column = Column(draft.name, "numeric", missing_text=missing, decimal=decimal, unit=known.unit)
    return Reading(column, checked(found.spread(pd.Series(values), np.nan), raw))


def _enough(found: Cells, values: np.ndarray, limits: np.ndarray, others: np.ndarray) -> bool:
    """Whether the cells that are no numbers are few enough, or words and signs that recur, to count as missing."""
    counts, good = found.counts, ~np.isnan(values)
    numbers, stray = counts[good].sum(), counts[others].sum()
    if numbers * 2 < counts.sum():
        return False
    strange = [found.texts[place] for place in np.flatnonzero(others)]
    with_digits = [any(map(str.isdigit, text)) for text in strange]
    if any(with_digits) and (counts[others] > 1).any() and len(np.unique(values[good])) <= _FEW_LEVELS:
        return False  # levels such as 0, 1, 2, 3+
    share = 1.0 - stray / max(numbers + counts[limits].sum() + stray, 1)
    recurring = len(strange) <= _MOST_MARKS and stray >= 2 * len(strange) and not any(with_digits)
    return bool(share >= (_MOSTLY if recurring else ENOUGH))


def _is_code(found: Cells, values: np.ndarray) -> bool:
    """Whether most cells are whole numbers beyond those that float64 tells apart."""
    long = np.array([set(shape) == {"0"} and len(shape) >= 16 for shape in found.shapes]) & (np.abs(values) >= _EXACT)
    return bool(found.counts[long].sum() * 2 > found.counts.sum())


def _say_how_written(
    draft: _Draft, found: Cells, values: np.ndarray, decimal: str, known: Evidence, habits: _Habits, guesses: Guesses
) -> None:
    plain = np.array(
        [
            _PLAIN_NUMBER.fullmatch(shape) is not None and text.isascii()
            for text, shape in zip(found.texts, found.shapes, strict=True)
        ],
        dtype=bool,
    )
    odd = np.flatnonzero(~np.isnan(values) & ~plain)
    if not len(odd):
        if decimal == "." and (habits.comma or (known.unclear and habits.separator == ";")):
            text = max(found.texts, key=len)
            guesses.add("read as numbers with decimal points", draft.name, f"such as {quoted(text)}", "decimal-comma")
        return
    signs = {sign for place in odd for sign in _SEPARATED.findall(found.shapes[place])} - {decimal}
    ways = ["decimal commas"] if decimal == "," and any("," in found.shapes[place] for place in odd) else []
    ways += [_THOUSANDS[sign] for sign in sorted(signs)]
    ways += [f"the unit {known.unit}"] if known.unit else []
    ways += ["brackets for minus"] if any("(" in found.shapes[place] for place in odd) else []
    place = max(odd, key=lambda place: len(found.texts[place]))
    if not ways and any("-" in found.shapes[k] and "-" not in found.texts[k] for k in odd):
        ways = ["other minus signs"]
    what = "read as numbers" + (" with " + " and ".join(ways) if ways else "")
    detail = f"{cells(int(found.counts[odd].sum()))}, such as {quoted(found.texts[place])} as {values[place]:.15g}"
    otherwise = ("decimal-point" if decimal == "," else "decimal-comma") if known.unclear else "category"
    guesses.add(what, draft.name, detail, otherwise)


def _say_missing(
    draft: _Draft, found: Cells, good: np.ndarray, limits: np.ndarray, what: str, guesses: Guesses
) -> tuple[str, ...]:
    """Say which texts count as missing, and return them."""
    if (words := ~good & ~limits).any():
        guesses.add(f"read as missing among {what}", draft.name, _counted(found, words), "category")
    if limits.any():
        guesses.add(
            "bounds read as missing (write a number, such as half the bound, to use them)",
            draft.name,
            _counted(found, limits),
            "category",
        )
    return tuple(sorted(found.texts[place] for place in np.flatnonzero(~good)))[:_MOST_SPELLINGS]


def _counted(found: Cells, chosen: np.ndarray) -> str:
    """Return `12 cells: '-' in 8, 'n.a.' in 4`, the commonest texts first."""
    places = sorted(np.flatnonzero(chosen), key=lambda place: -found.counts[place])
    listed = ", ".join(f"{quoted(found.texts[place], 40)} in {found.counts[place]}" for place in places[:3])
    return f"{cells(int(found.counts[chosen].sum()))}: {listed}" + (", …" if len(places) > 3 else "")


def _as_dates(draft: _Draft, habits: _Habits, raw: RawTable, guesses: Guesses) -> Reading | None:
    found, guess, told = draft.cells, draft.dates, draft.told
    if found is None or guess is None:
        return None
    date_format, why, texts = guess.date_format, "", pd.Series(found.texts, dtype="str")
    if other := other_order(date_format):
        if told in ("day-first", "month-first"):
            date_format = date_format if is_day_first(date_format) == (told == "day-first") else other
        elif guess.swapped is not None:  # the guess is month first, and both fit
            nothing = np.datetime64("NaT", "s")
            order = order_of_rows(found.spread(guess.dates, nothing), found.spread(guess.swapped, nothing))
            order_of_file = habits.day_first - habits.month_first or (habits.decimal() == ",")
            swap = order == "swapped" or (not order and order_of_file > 0)
            date_format = other if swap else date_format
            why = (
                "which makes them a series"
                if order
                else "as elsewhere in the file"
                if order_of_file
                else "though the day may come first"
            )
    dates = parse_dates(texts, date_format)
    if date_format not in (guess.date_format, ISO) and why == "" and not dates.notna().any():
        return None
    good = dates.notna().to_numpy()
    if not told and not date_format.startswith(("%Y", ISO)):
        place = np.flatnonzero(good)[0]
        first = "day" if is_day_first(date_format) else "month"
        detail = f"{quoted(found.texts[place])} as {dates.iloc[place]:%Y-%m-%d}"
        otherwise = ("month-first" if first == "day" else "day-first") if why else "category"
        guesses.add(f"read as dates, {first} first{', ' + why if why else ''}", draft.name, detail, otherwise)
    missing = _say_missing(draft, found, good, np.zeros(len(good), dtype=bool), "dates", guesses)
    column = Column(draft.name, "date", date_format=date_format, missing_text=missing)
    return Reading(column, found.spread(dates, np.datetime64("NaT", "s")))


def _to_text(values: pd.Series) -> pd.Series:
    """Return texts without outer blanks; missing ones as NaN."""
    found = Cells(values)
    return found.spread(pd.Series(found.texts, dtype=object), np.nan)


def _is_gap(text: str, column: Column) -> bool:
    """Whether a text of a new row counts as missing, as it did in training."""
    if is_missing_mark(text) or text in column.missing_text:
        return True
    return starts_as_limit(text) and any(map(starts_as_limit, column.missing_text))


def _is_numeric(values: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(values.dtype) and values.dtype not in ("bool", "boolean")


def is_whole(numbers: np.ndarray) -> bool:
    """Whether no number has decimals; missing ones aside."""
    if numbers.dtype.kind in "iu":
        return True
    parts = (numbers[:100], numbers)  # mostly the first few tell
    return all(not ((part != np.floor(part)) & ~np.isnan(part)).any() for part in parts)


def extremes(numbers: np.ndarray) -> tuple[float, float]:
    """Return the smallest and the largest number, missing ones aside; 0 and 0 where there is none."""
    lowest, highest = float(np.fmin.reduce(numbers)), float(np.fmax.reduce(numbers))
    return (0.0, 0.0) if math.isnan(lowest) else (lowest, highest)


def _complain(bad: np.ndarray, values: pd.Series, column: Column, raw: RawTable, wanted: str) -> None:
    if bad.any():
        allowed = " (or yes and no, 1 and 0)" if column.kind == "boolean" else ""
        raise UserError(
            f"column {quoted(column.name)} holds {examples(values, bad, raw)} where training had {wanted} "
            f"({raw.source}). Write {wanted}{allowed}, or leave it empty for missing."
        )
