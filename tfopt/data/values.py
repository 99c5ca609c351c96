"""Columns of pandas values in their canonical form."""

from typing import Any

import numpy as np
import pandas as pd

from tfopt.data.spelling import TRUTH_VALUES, is_missing_text, level_text


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
