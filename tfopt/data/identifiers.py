"""Columns that only tell rows apart: recognised by their values and their place, not by their spelling alone."""

import math
import re
from collections.abc import Iterable

import numpy as np
import pandas as pd

from tfopt.data.drafts import Reading
from tfopt.data.values import is_whole

_LEAST_ROWS = 10
# In fewer rows a weak relation of a code is not seen.
_ENOUGH_ROWS = 100
_MOST_ROWS = 2000
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_A-Za-z]+|#|№")
_ID_WORDS = frozenset(("id", "ids", "uuid", "guid", "oid", "pk", "rowid"))
_ID_ENDINGS = ("key", "nr", "no", "num", "number", "numero", "número", "numéro", "#", "№", "编号", "序号", "号", "番号")
_COMPOUNDS = ("nr", "nummer")  # kundennr, ordernummer
_INDEX_WORDS = frozenset(("index", "idx", "row", "rows", "rownum", "rownames", "unnamed"))
_ROW_WORDS = _INDEX_WORDS | frozenset(("sample", "record", "obs", "observation", "case", "level", "names"))
_TIMES = """time times t timestamp ts date year yr month day week quarter hour minute second seconds epoch step tick
period age jahr monat tag woche zeit datum annee année mois jour ano año mes fecha 年 月 日 时间 日期 时刻"""
_TIME_WORDS = frozenset(_TIMES.split())


def is_identifier(reading: Reading, others: Iterable[Reading], nameless: bool) -> bool:
    """Whether a column only tells rows apart.

    Texts that all differ do. So do whole numbers that all differ, under a name such as `customer_id`, or counted up
    from row to row, or of one length, as codes are and amounts are not, without relation to any other column. A column
    without a name is the row index of the tool that wrote the file if its whole numbers mostly differ, or count up.

    Args:
        reading: The column.
        others: The other columns, the targets among them.
        nameless: Whether the column is the first and has no name.
    """
    values, kind = reading.values, reading.column.kind
    if len(values) < _LEAST_ROWS:
        return False
    words = [word.lower() for word in _WORD.findall(reading.column.name)]
    nameless = nameless or words[:1] == ["unnamed"]
    if kind in ("categorical", "text"):
        levels = len(values.cat.categories) if kind == "categorical" else values.nunique()
        differ = levels == len(values)  # so none is missing
        return bool(differ and (kind == "categorical" or nameless or _is_id_name(words)))
    if kind != "numeric" or not is_whole(numbers := values.to_numpy(dtype=np.float64)) or np.isnan(numbers).any():
        return False
    if nameless:
        levels, steps = len(np.unique(numbers)), np.diff(numbers)
        return bool(numbers.min() >= 0 and (3 * levels >= len(numbers) or 2 * (steps == 1).sum() >= len(numbers)))
    if _is_id_name(words):
        return values.is_unique
    lowest, highest = numbers.min(), numbers.max()
    consecutive = highest - lowest == len(numbers) - 1
    in_order = consecutive and bool((np.diff(numbers) == 1).all())
    code = not consecutive and lowest >= 1000 and len(str(int(lowest))) == len(str(int(highest)))
    code = code and len(numbers) >= _ENOUGH_ROWS and not reading.amounts
    if _TIME_WORDS.intersection(words) or not (in_order or (code and values.is_unique)):
        return False
    return not any(_are_related(numbers, other) for other in others)


def _is_id_name(words: list[str]) -> bool:
    if not words:
        return False
    ends = _ID_WORDS.intersection((words[0], words[-1])) or words[-1] in _ID_ENDINGS or words[-1].endswith(_COMPOUNDS)
    return bool(ends) or (_ROW_WORDS.issuperset(words) and not _INDEX_WORDS.isdisjoint(words))


def _are_related(numbers: np.ndarray, other: Reading) -> bool:
    """Whether a test of ranks finds the other column to rise, fall or bend with the numbers (level 0.01)."""
    if other.column.kind == "text":
        return False
    chosen = np.linspace(0, len(numbers) - 1, min(len(numbers), _MOST_ROWS)).astype(int)
    values = other.values.iloc[chosen]
    known = values.notna().to_numpy()
    ranks = _ranks(numbers[chosen][known])
    if len(ranks) < _LEAST_ROWS:
        return False
    bends = _ranks(np.abs(ranks - ranks.mean()))
    if isinstance(values.dtype, pd.CategoricalDtype):
        codes = values.cat.codes.to_numpy()[known]
        return any(_differ_by_level(some, codes) for some in (ranks, bends))
    array = values.to_numpy()[known]
    second = _ranks(array)
    if second.min() == second.max():
        return False
    strongest = max(abs(float(np.corrcoef(some, second)[0, 1])) for some in (ranks, bends))
    return math.erfc(strongest * math.sqrt((len(ranks) - 1) / 2)) < 0.005


def _ranks(values: np.ndarray) -> np.ndarray:
    return pd.Series(values).rank().to_numpy()


def _differ_by_level(ranks: np.ndarray, codes: np.ndarray) -> bool:
    """Whether the ranks differ between levels (Kruskal and Wallis 1952; its tail by Wilson and Hilferty 1931)."""
    counts = np.bincount(codes)
    sums = np.bincount(codes, weights=ranks)
    num_levels, size = int((counts > 0).sum()), len(ranks)
    if num_levels < 2 or 2 * num_levels > size:
        return False
    statistic = 12.0 / (size * (size + 1)) * (sums[counts > 0] ** 2 / counts[counts > 0]).sum() - 3.0 * (size + 1)
    spread = 2.0 / (9.0 * (num_levels - 1))
    score = ((max(statistic, 0.0) / (num_levels - 1)) ** (1 / 3) - (1.0 - spread)) / math.sqrt(spread)
    return math.erfc(score / math.sqrt(2)) / 2 < 0.005
