"""Columns of pandas values in their canonical form."""

import math
from typing import Any

import numpy as np
import pandas as pd

from tfopt.data.column import FLOAT32_MAX
from tfopt.data.raw import RawTable
from tfopt.data.spelling import TRUTH_VALUES, is_missing_text, level_text, quoted
from tfopt.errors import UserError

# Beyond, float64 does not hold every whole number.
EXACT = 2.0**53


def to_categories(values: pd.Series) -> pd.Series:
    """Return the column as pandas categories of strings (sorted), missing values as missing."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        codes = values.cat.codes.to_numpy()
        uniques: Any = values.cat.categories
    else:
        codes, uniques = pd.factorize(values)
    texts = [level_text(value) for value in uniques]
    used = set(np.unique(codes).tolist())
    levels = sorted({text for code, text in enumerate(texts) if code in used and not is_missing_text(text)})
    position = {text: code for code, text in enumerate(levels)}
    renamed = np.array([*(position.get(text, -1) for text in texts), -1])  # the last one answers code -1
    categories = pd.Categorical.from_codes(renamed[codes], dtype=pd.CategoricalDtype(levels))
    return pd.Series(categories, index=values.index, name=values.name)


def to_truth(values: pd.Series) -> pd.Series:
    """Return 1.0, 0.0 or NaN for each value; what is neither true nor false becomes NaN."""
    if values.dtype == bool:
        return values.astype("float64")
    codes, uniques = pd.factorize(values)
    known = np.array([*(TRUTH_VALUES.get(str(value).strip().lower(), np.nan) for value in uniques), np.nan])
    return pd.Series(known[codes], index=values.index, name=values.name)


def to_seconds(values: pd.Series) -> np.ndarray:
    """Return whole seconds since 1970 (int64) of a datetime column; missing dates are the smallest int64."""
    return values.to_numpy(dtype="datetime64[s]").astype("int64")


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


def is_numeric(values: pd.Series) -> bool:
    """Whether a column has a type of numbers; truth values are none."""
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
