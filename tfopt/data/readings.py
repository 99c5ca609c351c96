"""The columns of a table once they are read: plain numbers together in blocks, all others one by one."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from tfopt.data.column import FLOAT32_MAX, Column
from tfopt.data.drafts import Reading
from tfopt.data.raw import RawTable
from tfopt.data.values import EXACT, checked, extremes, is_whole

# Types that are kept: pictures are eight times smaller than as float64.
_SMALL = (np.dtype(np.uint8), np.dtype(np.float32))
_ROWS_OF_A_LOOK, _CELLS_AT_ONCE = 100, 1_000_000


class NumberBlock:
    """Columns that hold plain numbers of one type, and what their cells tell, an entry for each column.

    Args:
        frame: The columns.

    Attributes:
        names: The columns' names.
        frame: The columns, NaN for missing; float64 unless they are of a smaller type.
        lowest: The smallest number of each, 0 where there is none.
        highest: The largest.
        num_missing: How many cells are missing.
        whole: Whether no number has decimals.
        constant: Whether every cell is the same number.
    """

    def __init__(self, frame: pd.DataFrame):
        self.names = [str(name) for name in frame]
        if frame.size <= _CELLS_AT_ONCE:  # of thousands of short columns pandas makes thousands of blocks
            frame = pd.DataFrame(frame.to_numpy(), columns=self.names, copy=False)
        if frame.iloc[:, 0].dtype not in _SMALL:
            with np.errstate(over="ignore"):
                frame = frame.astype(np.float64)
        self.frame = frame
        width = max(1, _CELLS_AT_ONCE // max(len(frame), 1))
        found = [_look(frame.iloc[:, start : start + width].to_numpy()) for start in range(0, frame.shape[1], width)]
        self.lowest, self.highest, self.num_missing, self.whole = map(np.concatenate, zip(*found, strict=True))
        self.constant = (self.lowest == self.highest) & (self.num_missing == 0)

    @property
    def inexact(self) -> np.ndarray:
        """Whether a column holds whole numbers that float64 does not tell apart."""
        largest = np.maximum(-self.lowest, self.highest)
        return self.whole & (largest >= EXACT) & (largest < 1e25)

    def check(self, places: Sequence[int], raw: RawTable) -> None:
        """Complain about a column with an infinite number, or with one beyond what float32 holds."""
        bad = ~((self.lowest >= -FLOAT32_MAX) & (self.highest <= FLOAT32_MAX))
        for place in places:
            if bad[place]:
                checked(self.frame.iloc[:, place], raw)


def _look(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the smallest and the largest number of each column, its missing cells, and whether all are whole."""
    lowest, highest = (
        np.nan_to_num(find.reduce(values, axis=0).astype(np.float64), posinf=math.inf, neginf=-math.inf)
        for find in (np.fmin, np.fmax)
    )
    num_columns = values.shape[1]
    if values.dtype.kind != "f":
        return lowest, highest, np.zeros(num_columns, dtype=np.int64), np.ones(num_columns, dtype=bool)
    head = values[:_ROWS_OF_A_LOOK]
    whole = ~((head != np.floor(head)) & ~np.isnan(head)).any(axis=0)
    if len(values) > _ROWS_OF_A_LOOK:
        for place in np.flatnonzero(whole):
            whole[place] = is_whole(values[:, place])
    return lowest, highest, np.isnan(values).sum(axis=0), whole


class Readings(Mapping[str, Reading]):
    """The columns of a table by name, each with its kind and values.

    Args:
        names: The columns, in the order of the table.
        others: Those that are in no block.
        blocks: Columns of plain numbers. Of those only the ones among `names` and not in `others` count.
        decimal: Their decimal sign.
    """

    def __init__(
        self, names: Sequence[str], others: Mapping[str, Reading], blocks: Sequence[NumberBlock], decimal: str
    ):
        self._others, self.blocks, self._decimal = others, blocks, decimal
        self._order = {name: place for place, name in enumerate(names)}
        self._places = {
            name: (block, place) for block in blocks for place, name in enumerate(block.names) if name not in others
        }

    def __getitem__(self, name: str) -> Reading:
        if name in self._others:
            return self._others[name]
        block, place = self._places[name]
        return Reading(Column(name, "numeric", decimal=self._decimal), block.frame.iloc[:, place])

    def __iter__(self) -> Iterator[str]:
        return iter(self._order)

    def __len__(self) -> int:
        return len(self._order)

    def facts(self, name: str) -> tuple[Column, bool, bool, int]:
        """Return the finished column, whether all cells are the same or whole numbers, and how many are missing."""
        if name in self._places:
            block, place = self._places[name]
            num_missing = int(block.num_missing[place])
            column = Column(name, "numeric", has_missing=num_missing > 0, decimal=self._decimal)
            return column, bool(block.constant[place]), bool(block.whole[place]), num_missing
        column, values = self._others[name].column, self._others[name].values
        num_missing = int(values.isna().sum())
        levels = len(values.cat.categories) if column.kind == "categorical" else 0
        column = replace(column, num_levels=levels, has_missing=num_missing > 0)
        if column.kind == "numeric":
            numbers = values.to_numpy()
            lowest, highest = extremes(numbers)
            return column, not num_missing and lowest == highest, is_whole(numbers), num_missing
        return column, not num_missing and (levels or values.nunique()) == 1, False, num_missing

    def frame(self, names: Sequence[str]) -> pd.DataFrame:
        """Return the values of these columns, those of a block without copying them."""
        wanted = set(names)
        parts = []
        for block in self.blocks:
            chosen = [name for name in block.names if name in wanted and name not in self._others]
            parts += [block.frame if len(chosen) == block.frame.shape[1] else block.frame[chosen]] if chosen else []
        others = {name: self._others[name].values.array for name in names if name in self._others}
        parts += [pd.DataFrame(others, copy=False)] if others else []
        return parts[0] if len(parts) == 1 and list(parts[0]) == list(names) else pd.concat(parts, axis=1)[list(names)]
