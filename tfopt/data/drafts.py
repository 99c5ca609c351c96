"""What a column's cells tell about it, and what the other columns of the file add."""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import pandas as pd

from tfopt.data.column import Column
from tfopt.data.date_formats import ENOUGH, DateGuess, guess_dates
from tfopt.data.number_formats import MOSTLY, Evidence, evidence, evidence_of_ending, shapes
from tfopt.data.raw import RawTable
from tfopt.data.spelling import is_missing_mark, is_missing_text, level_text
from tfopt.data.values import is_numeric

NUMBER_KINDS = {"number": "", "decimal-comma": ",", "decimal-point": "."}
DATE_KINDS = ("date", "day-first", "month-first")


@dataclass(frozen=True)
class Reading:
    """A column whose kind is decided, with its canonical values as `Table.features` describes them.

    `amounts` are numbers written with a unit or with thousands separators, as no code is.
    """

    column: Column
    values: pd.Series
    amounts: bool = False


@lru_cache(64)  # in a table of many columns levels recur, and each type takes longer than its column
def _dtype_of(levels: tuple[str, ...]) -> pd.CategoricalDtype:
    return pd.CategoricalDtype(list(levels))


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else level_text(value)


class Cells:
    """The distinct texts of a column, stripped, with how often each occurs."""

    def __init__(self, values: pd.Series):
        if isinstance(values.dtype, pd.CategoricalDtype):
            values = values.astype("object")
        codes, uniques = pd.factorize(values)
        listed = uniques.to_numpy(dtype=object).tolist()
        plain = values.dtype == "str"
        texts = [*map(str.strip, listed)] if plain else [_text(value) for value in listed]
        gone = np.array([*map(is_missing_text, texts)], dtype=bool)
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
        return np.array([*map(is_missing_mark, self.texts)], dtype=bool)

    def spread(self, values: pd.Series, missing: object) -> pd.Series:
        """Return a value for each row from a value for each distinct text."""
        array = values.to_numpy()
        filled = np.append(array, np.array([missing], dtype=array.dtype))
        return pd.Series(filled[self.codes], index=self.index, name=self.name)

    def categories(self) -> pd.Series:
        """Return the column as pandas categories of strings (sorted), missing values as missing."""
        levels, places = np.unique([level_text(text) for text in self.texts] or np.zeros(0, "str"), return_inverse=True)
        codes = np.append(places, -1)[self.codes]
        values = pd.Categorical.from_codes(codes, dtype=_dtype_of(tuple(levels.tolist())), validate=False)
        return pd.Series(values, index=self.index, name=self.name)

    def strings(self) -> pd.Series:
        """Return the column's texts, missing ones as NaN."""
        return self.spread(pd.Series(self.texts, dtype=object), np.nan)

    def where(self, chosen: np.ndarray) -> np.ndarray:
        """Return which rows hold one of the chosen texts."""
        return np.append(chosen, False)[self.codes]


class Draft:
    """What a column alone tells."""

    def __init__(self, values: pd.Series, told: str):
        self.name, self.values, self.told = str(values.name), values, told
        self.numbers: Evidence | None = None
        self.dates: DateGuess | None = None
        typed = pd.api.types.is_datetime64_any_dtype(values.dtype) or pd.api.types.is_timedelta64_dtype(values.dtype)
        typed = typed or is_numeric(values) or values.dtype in ("bool", "boolean")
        self.cells = None
        if told in ("category", "text") or (typed and told in ("", "number")):
            return
        if isinstance(values.dtype, pd.CategoricalDtype) and not told:
            return
        cells = self.cells = Cells(values)
        sample = cells.texts[:: max(1, len(cells.texts) // 1000)]
        if not told and sum(any(map(str.isdigit, text)) for text in sample) < 0.3 * len(sample):
            return
        if told not in DATE_KINDS:
            self.numbers = evidence(cells.texts, cells.shapes, cells.counts)
        if told not in NUMBER_KINDS and (self.numbers is None or self.numbers.share < MOSTLY):
            kept = np.flatnonzero(~cells.marks)
            texts, kept_shapes = [cells.texts[k] for k in kept], [cells.shapes[k] for k in kept]
            if cells.counts[kept].sum() * 2 >= cells.counts.sum():
                self.dates = guess_dates(texts, kept_shapes, cells.counts[kept], 0.5 if told else ENOUGH)
        if self.dates is None and self.numbers is not None and self.numbers.share < MOSTLY:
            self.numbers = evidence_of_ending(cells.texts, cells.counts) or self.numbers


@dataclass
class Habits:
    """How the columns of a file that leave no doubt are written."""

    comma: int = 0
    point: int = 0
    day_first: int = 0
    month_first: int = 0
    separator: str = ","

    @classmethod
    def of(cls, drafts: list[Draft], raw: RawTable, num_plain: int) -> "Habits":
        """Count what the columns without doubt tell; `num_plain` others hold plain numbers with decimals."""
        habits = cls(separator=raw.separator)
        habits.comma, habits.point = (num_plain * (raw.decimal == sign) for sign in ",.")
        for draft in drafts:
            decimal = draft.numbers.decimal if draft.numbers and draft.numbers.share >= 0.5 else ""
            habits.comma += decimal == ","
            habits.point += decimal == "."
            if draft.dates and not draft.dates.in_doubt:
                habits.day_first += draft.dates.date_format.startswith(("%d/%m", "%d-%m", "%d.%m"))
                habits.month_first += draft.dates.date_format.startswith(("%m/%d", "%m-%d"))
        return habits

    def decimal(self, unclear: str = "") -> str:
        """Return the decimal sign of a column whose cells leave it open; `unclear` is the sign they hold."""
        if self.comma != self.point:
            return "," if self.comma > self.point else "."
        return "," if unclear == "," and self.separator == ";" else "."
