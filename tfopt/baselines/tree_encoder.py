"""Columns to the numbers that boosted trees take: gaps stay gaps, and a category is one number."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from tfopt.data.column import NUM_TOPICS, Column
from tfopt.data.encoder import CYCLES, TableEncoder, _cycles
from tfopt.data.values import to_seconds, to_truth


class TreeEncoder(TableEncoder):
    """Encode a table's columns for trees that know missing values and categories.

    The parts of the matrix, in this order: numeric columns, dates (days since 1970) and the 16 topics of each text
    column, as read; boolean columns as 0 and 1; sine and cosine of each date's cycles; for each categorical column the
    number of its level: 0 for the most frequent one in training, and so on, then one for every other level and one for
    a missing cell. Missing numbers, dates and truth values are NaN.

    Args:
        columns: The table's columns, as in `Table.columns`.
        max_levels: Most levels of one categorical column that are told apart.

    Example:
        ```python
        import pandas as pd
        from tfopt.baselines.tree_encoder import TreeEncoder
        from tfopt.data import Column
        frame = pd.DataFrame({"size": [1.0, None, 3.0], "colour": ["red", "blue", "red"]})
        encoder = TreeEncoder([Column("size", "numeric"), Column("colour", "categorical", num_levels=2)])
        print(encoder.fit_transform(frame).tolist())  # [[1.0, 0.0], [nan, 1.0], [3.0, 0.0]]
        ```
    """

    scaling = "none"

    def __init__(self, columns: Sequence[Column] = (), max_levels: int = 253):
        self.columns = columns
        self.max_levels = max_levels

    @property
    def num_codes(self) -> dict[int, int]:
        """How many codes each column of the matrix has that holds categories, by its place."""
        coded = self._of_kind("categorical")
        first = self.width - len(coded)
        return {first + place: self._slot_width(column) for place, column in enumerate(coded)}

    @property
    def sources(self) -> list[str]:
        """The table's column that each column of the matrix comes from."""
        return [
            *(column.name for column in self._value_columns()),
            *(column.name for column in self._of_kind("text") for _ in range(NUM_TOPICS)),
            *(column.name for column in self._of_kind("boolean")),
            *(column.name for column in self._of_kind("date") for _ in CYCLES),
            *(column.name for column in self._of_kind("categorical")),
        ]

    def transform(self, frame: pd.DataFrame) -> np.ndarray:
        """Return the float64 matrix (rows, width) of any rows that have the columns."""
        check_is_fitted(self, "fill_")
        parts = [
            self._values(frame, self._words(frame)),
            *(to_truth(frame[column.name]).to_numpy() for column in self._of_kind("boolean")),
            *(_cycles(to_seconds(frame[column.name])) for column in self._of_kind("date")),
            *(self._slots(frame[column.name], column) for column in self._of_kind("categorical")),
        ]
        return np.column_stack(parts).astype(np.float64)

    def _layout(self) -> tuple[list[str], dict[str, slice]]:
        sources = self.sources
        return sources, {"values": slice(0, len(sources))}
