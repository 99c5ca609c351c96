"""One spelling for each value: the same level, truth value or date reads the same in training and in new rows."""

import re
from typing import Any

import numpy as np
import pandas as pd

MISSING_TEXT = ("", "?", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NAN", "-nan", "NULL", "null")

TRUTH_VALUES = {
    "true": 1.0,
    "yes": 1.0,
    "t": 1.0,
    "y": 1.0,
    "on": 1.0,
    "1": 1.0,
    "1.0": 1.0,
    "false": 0.0,
    "no": 0.0,
    "f": 0.0,
    "n": 0.0,
    "off": 0.0,
    "0": 0.0,
    "0.0": 0.0,
}
# A text column is boolean when all its values are of one pair; 0/1 columns stay numeric.
BOOLEAN_PAIRS = ({"true", "false"}, {"yes", "no"}, {"t", "f"}, {"y", "n"}, {"on", "off"})

_WHOLE = re.compile(r"([+-]?\d+)\.0+")


def level_text(value: Any) -> str:
    """Return the text of one category: `1`, `1.0`, `"1"` and `"1.0"` are the same level `"1"`."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    text = str(value).strip()
    match = _WHOLE.fullmatch(text)
    return match.group(1) if match else text


def is_missing_text(text: str) -> bool:
    """Whether a category's text stands for a missing value."""
    return text in MISSING_TEXT


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
