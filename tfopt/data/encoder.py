"""Columns to a float32 matrix of fixed width, fitted on training rows only."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from tfopt.data.column import DAYS_PER_YEAR, FLOAT32_MAX, LARGEST, NUM_TOPICS, SECONDS_PER_DAY, Column
from tfopt.data.spelling import level_text
from tfopt.data.text import TopicCoder, as_words
from tfopt.data.values import to_categories, to_seconds, to_truth

SCALINGS = ("none", "standard", "robust", "common")
CYCLES = (
    "sin of the year",
    "cos of the year",
    "sin of the week",
    "cos of the week",
    "sin of the day",
    "cos of the day",
)
_NO_DATE = np.iinfo(np.int64).min
_ROWS_AT_ONCE = 4096


class TableEncoder(TransformerMixin, BaseEstimator):
    """Encode a table's columns as numbers that a network can be trained on.

    The matrix's width depends on `columns` alone, never on the rows seen, so every fold trains the same graph. Its
    parts, in this order:

    - the values of numeric columns, then of date columns (days since 1970), then 16 topics for each text column (the
      main directions of its words, see `TopicCoder`), scaled; missing numbers and dates are the training median;
    - boolean columns as 0 and 1; missing ones are the commoner value of the training rows;
    - for each date column the sine and cosine of the day in the year, the day in the week and the time of the day
      (0 for a missing date);
    - for each categorical column `min(num_levels, max_levels)` slots for the levels most frequent in the training rows,
      one for every other level (rare or never seen), and one for missing values if the column has any;
    - a missing-value indicator for each numeric, date, boolean and text column that has any.

    Slots and indicators are 0 or 1 and are not scaled. A column without spread in the training rows becomes 0.

    Args:
        columns: The table's columns, as in `Table.columns`.
        scaling: `"standard"`: (x − mean) / standard deviation. `"robust"`: z = (x − median) / interquartile range (half
            the range where that is 0), then z / √(1 + (z/3)²), which bends outliers towards ±3 (Holzmüller et al. 2024,
            "Better by Default", RealMLP). `"common"`: means subtracted and all numeric columns divided by one number,
            the root mean square of what is left; right where columns share a unit, as pixels do (others: standard).
            `"none"`: as read.
        max_levels: Most slots of one categorical column, other and missing not counted.

    Raises:
        ValueError: At `fit`, when `scaling` is not one of the four or `max_levels` is negative.

    Example:
        ```python
        import pandas as pd

        frame = pd.DataFrame({"size": [1.0, 2.0, 3.0], "colour": ["red", "blue", "red"]})
        columns = [tfopt.data.Column("size", "numeric"), tfopt.data.Column("colour", "categorical", num_levels=2)]
        encoder = tfopt.data.TableEncoder(columns)
        print(encoder.fit_transform(frame).round(2))
        # [[-1.22  1.    0.    0.  ]
        #  [ 0.    0.    1.    0.  ]
        #  [ 1.22  1.    0.    0.  ]]
        ```
    """

    def __init__(self, columns: Sequence[Column] = (), scaling: str = "standard", max_levels: int = 32):
        self.columns = columns
        self.scaling = scaling
        self.max_levels = max_levels

    @property
    def width(self) -> int:
        """Number of columns of the encoded matrix."""
        return len(self._layout()[0])

    def fit(self, frame: pd.DataFrame, y: Any = None) -> Self:
        """Learn medians, scales and the most frequent levels from training rows."""
        if self.scaling not in SCALINGS:
            raise ValueError(f"Argument `scaling` must be one of {SCALINGS}. Received: scaling={self.scaling!r}.")
        if self.max_levels < 0:
            raise ValueError(f"Argument `max_levels` must be >= 0. Received: max_levels={self.max_levels}.")
        words = self._words(frame)
        self.topics_ = {name: TopicCoder.fit(texts) for name, texts in words.items()}
        values = self._values(frame, words)
        self.fill_ = np.array([_median(column) for column in values.T], dtype=np.float64)
        self.center_, self.factor_ = self._center_and_factor(values)
        booleans = [to_truth(frame[column.name]).to_numpy() for column in self._of_kind("boolean")]
        self.boolean_fill_ = np.array([float(np.nansum(column - 0.5) > 0) for column in booleans], dtype=np.float64)
        self.levels_ = {
            column.name: _frequent_levels(frame[column.name], self._num_slots(column))
            for column in self._of_kind("categorical")
        }
        self.n_features_in_ = len(self.columns)
        return self

    def transform(self, frame: pd.DataFrame) -> np.ndarray:
        """Return the float32 matrix (rows, width) of any rows that have the columns."""
        check_is_fitted(self, "fill_")
        names, blocks = self._layout()
        out = np.zeros((len(frame), len(names)), dtype=np.float32)
        words = self._words(frame)
        values = self._values(frame, words)
        absent = np.isnan(values)
        for start in range(0, len(out), _ROWS_AT_ONCE):
            rows = slice(start, start + _ROWS_AT_ONCE)
            out[rows, blocks["values"]] = self._scale(np.where(absent[rows], self.fill_, values[rows]))
        missing = {column.name: absent[:, place] for place, column in enumerate(self._value_columns())}
        missing |= {name: np.array([text == "" for text in texts]) for name, texts in words.items()}
        for place, column in enumerate(self._of_kind("boolean")):
            truth = to_truth(frame[column.name]).to_numpy()
            missing[column.name] = np.isnan(truth)
            out[:, blocks["booleans"].start + place] = np.where(missing[column.name], self.boolean_fill_[place], truth)
        for place, column in enumerate(self._of_kind("date")):
            start = blocks["cycles"].start + place * len(CYCLES)
            out[:, start : start + len(CYCLES)] = _cycles(to_seconds(frame[column.name]))
        start = blocks["slots"].start
        for column in self._of_kind("categorical"):
            slots = self._slots(frame[column.name], column)
            known = slots >= 0
            out[np.flatnonzero(known), start + slots[known]] = 1.0
            start += self._slot_width(column)
        for place, column in enumerate(self._indicated()):
            out[:, blocks["indicators"].start + place] = missing[column.name]
        return out

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the name of each column of the matrix, such as `age`, `colour=red` or `age is missing`."""
        check_is_fitted(self, "fill_")
        return np.array(self._layout()[0], dtype=object)

    @property
    def sources(self) -> list[str]:
        """The table's column that each column of the matrix comes from."""
        slots = [c.name for c in self._of_kind("categorical") for _ in range(self._slot_width(c))]
        return [
            *(column.name for column in self._value_columns()),
            *(column.name for column in self._of_kind("text") for _ in range(NUM_TOPICS)),
            *(column.name for column in self._of_kind("boolean")),
            *(column.name for column in self._of_kind("date") for _ in CYCLES),
            *slots,
            *(column.name for column in self._indicated()),
        ]

    @property
    def kinds(self) -> tuple[str, ...]:
        """Whether each column of the matrix is a scaled `"number"` or a `"flag"`, as `tfopt.models` is told of it."""
        names, blocks = self._layout()
        return tuple("number" if place < blocks["values"].stop else "flag" for place in range(len(names)))

    @property
    def one_hots(self) -> tuple[tuple[int, ...], ...]:
        """For each categorical column the columns of the matrix that are its levels; not those of other and missing."""
        starts = np.cumsum([self._layout()[1]["slots"].start, *map(self._slot_width, self._of_kind("categorical"))])
        slots = zip(starts.tolist(), map(self._num_slots, self._of_kind("categorical")), strict=False)
        return tuple(tuple(range(start, start + number)) for start, number in slots if number)

    def _of_kind(self, kind: str) -> list[Column]:
        return [column for column in self.columns if column.kind == kind]

    def _value_columns(self) -> list[Column]:
        return self._of_kind("numeric") + self._of_kind("date")

    def _indicated(self) -> list[Column]:
        columns = self._value_columns() + self._of_kind("boolean") + self._of_kind("text")
        return [column for column in columns if column.has_missing]

    def _num_slots(self, column: Column) -> int:
        return min(column.num_levels, self.max_levels)

    def _slot_width(self, column: Column) -> int:
        return self._num_slots(column) + 1 + column.has_missing

    def _layout(self) -> tuple[list[str], dict[str, slice]]:
        """Return the name of each column of the matrix and the place of each block."""
        levels: dict[str, tuple[str, ...]] = getattr(self, "levels_", {})
        slots = []
        for column in self._of_kind("categorical"):
            named = [*levels.get(column.name, ())]
            named += [f"(unused {place})" for place in range(len(named), self._num_slots(column))]
            named += ["(other)", "(missing)"] if column.has_missing else ["(other)"]
            slots += [f"{column.name}={level}" for level in named]
        topics = [f"{column.name}, topic {n + 1}" for column in self._of_kind("text") for n in range(NUM_TOPICS)]
        parts = {
            "values": [column.name for column in self._value_columns()] + topics,
            "booleans": [column.name for column in self._of_kind("boolean")],
            "cycles": [f"{column.name}, {cycle}" for column in self._of_kind("date") for cycle in CYCLES],
            "slots": slots,
            "indicators": [f"{column.name} is missing" for column in self._indicated()],
        }
        names: list[str] = []
        blocks = {}
        for part, part_names in parts.items():
            blocks[part] = slice(len(names), len(names) + len(part_names))
            names += part_names
        return names, blocks

    def _words(self, frame: pd.DataFrame) -> dict[str, list[str]]:
        return {column.name: as_words(frame[column.name]) for column in self._of_kind("text")}

    def _values(self, frame: pd.DataFrame, words: dict[str, list[str]]) -> np.ndarray:
        """Return numeric columns, days since 1970 and topics, float64, NaN for missing."""
        names = [column.name for column in self._of_kind("numeric")]
        values = frame[names].to_numpy(dtype=np.float64, na_value=np.nan)
        others = []
        for column in self._of_kind("date"):
            seconds = to_seconds(frame[column.name])
            others.append(np.where(seconds == _NO_DATE, np.nan, seconds / SECONDS_PER_DAY))
        others += [self.topics_[name].transform(texts) for name, texts in words.items()]
        values = np.column_stack([values, *others]) if others else values
        with np.errstate(invalid="ignore"):
            return values if np.abs(values).max(initial=0.0) <= LARGEST else np.clip(values, -LARGEST, LARGEST)

    def _center_and_factor(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what is subtracted from each value column and what it is then multiplied with."""
        num_values = values.shape[1]
        center, spread = np.zeros(num_values), np.ones(num_values)
        if self.scaling == "none":
            return center, spread
        num_numeric = len(self._of_kind("numeric"))
        squares, count = 0.0, 0
        for place in range(num_values):
            column = values[:, place]
            column = column[~np.isnan(column)]
            if not len(column) or column.min() == column.max():
                center[place], spread[place] = (column[0] if len(column) else 0.0), 0.0
                count += len(column) if place < num_numeric else 0
            elif self.scaling == "robust":
                center[place], spread[place] = _robust(column)
            else:
                center[place], spread[place] = column.mean(), column.std()
                if place < num_numeric:
                    squares += len(column) * spread[place] ** 2
                    count += len(column)
        if self.scaling == "common":
            spread[:num_numeric] = np.sqrt(squares / count) if count else 0.0
        with np.errstate(divide="ignore", over="ignore"):
            factor = 1.0 / spread
        return center, np.where(np.isfinite(factor), factor, 0.0)

    def _scale(self, values: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            scaled = np.clip((values - self.center_) * self.factor_, -FLOAT32_MAX, FLOAT32_MAX)
        return scaled / np.sqrt(1.0 + (scaled / 3.0) ** 2) if self.scaling == "robust" else scaled

    def _slots(self, values: pd.Series, column: Column) -> np.ndarray:
        """Return each row's slot within the column's part, −1 for none."""
        slot_of = {level: slot for slot, level in enumerate(self.levels_[column.name])}
        other = self._num_slots(column)
        missing = other + 1 if column.has_missing else other
        values = values if isinstance(values.dtype, pd.CategoricalDtype) else to_categories(values)
        slots = [slot_of.get(level_text(level), other) for level in values.cat.categories]
        return np.array([*slots, missing])[values.cat.codes.to_numpy()]  # code -1 takes the last


def _median(column: np.ndarray) -> float:
    column = column[~np.isnan(column)]
    return float(np.median(column)) if len(column) else 0.0


def _robust(column: np.ndarray) -> tuple[float, float]:
    lower, middle, upper = np.percentile(column, [25, 50, 75])
    return float(middle), float(upper - lower or (column.max() - column.min()) / 2)


def _frequent_levels(values: pd.Series, num_levels: int) -> tuple[str, ...]:
    """Return the most frequent levels, most frequent first, equals in alphabetical order."""
    if not isinstance(values.dtype, pd.CategoricalDtype):
        values = to_categories(values)
    codes = values.cat.codes.to_numpy()
    counts = np.bincount(codes[codes >= 0], minlength=len(values.cat.categories))
    levels = [level_text(level) for level in values.cat.categories]
    order = sorted(range(len(levels)), key=lambda code: (-counts[code], levels[code]))
    return tuple(levels[code] for code in order[:num_levels] if counts[code])


def _cycles(seconds: np.ndarray) -> np.ndarray:
    """Return (rows, 6) sines and cosines of the day in the year, the day in the week and the time of the day."""
    missing = seconds == _NO_DATE
    seconds = np.where(missing, 0, seconds)
    days = seconds // SECONDS_PER_DAY
    dates = days.astype("datetime64[D]")
    day_of_year = (dates - dates.astype("datetime64[Y]").astype("datetime64[D]")).astype(np.int64)
    day_of_week = (days + 3) % 7  # 1970-01-01 was a Thursday; Monday is 0
    second_of_day = seconds - days * SECONDS_PER_DAY
    turns = np.column_stack([day_of_year / DAYS_PER_YEAR, day_of_week / 7.0, second_of_day / SECONDS_PER_DAY])
    angles = 2.0 * np.pi * turns
    cycles = np.empty((len(seconds), len(CYCLES)))
    cycles[:, 0::2], cycles[:, 1::2] = np.sin(angles), np.cos(angles)
    cycles[missing] = 0.0
    return cycles
