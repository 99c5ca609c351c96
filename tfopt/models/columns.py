"""What a network for tables is told of the columns of its input, and its first layers."""

import numbers
from collections.abc import Sequence
from typing import Any

import keras

from tfopt._arguments import is_list
from tfopt.layers import CategoryEmbedding, OneHotCategories, RobustScaling, SelectColumns

KINDS = ("number", "flag")


class ColumnKinds:
    """The columns of a matrix by their kinds.

    Args:
        columns: For each column of the matrix `"number"`; an int, the levels of a category, given as codes
            0 … levels - 1 (anything else is missing); or `"flag"`, a 0 or 1 that is passed on without an embedding.
        max_one_hot: Categories of more levels get a trained vector for each level.
    """

    def __init__(self, columns: Sequence[str | int], max_one_hot: int | None):
        given, columns = columns, [*columns] if is_list(columns) else []
        self.numbers = [place for place, kind in enumerate(columns) if kind == "number"]
        self.flags = [place for place, kind in enumerate(columns) if kind == "flag"]
        levels = {place: int(kind) for place, kind in enumerate(columns) if _is_count(kind)}
        if not len(columns) or len(self.numbers) + len(self.flags) + len(levels) < len(columns):
            raise ValueError(
                "Argument `columns` must say of each column 'number', 'flag' or the number of a category's levels, at "
                f"least 1. Received: columns={given!r}."
            )
        largest = max_one_hot if max_one_hot is not None else max(levels.values(), default=0)
        self.one_hot = {place: count for place, count in levels.items() if count <= largest}
        self.embedded = {place: count for place, count in levels.items() if count > largest}
        self.input = keras.Input((len(columns),), name="columns")

    def scaled_numbers(self, scaling: bool) -> Any:
        """Return the numbers, scaled if wanted; None where there are none."""
        if not self.numbers:
            return None
        numbers = SelectColumns(self.numbers, name="numbers")(self.input)
        return RobustScaling(name="scaled_numbers")(numbers) if scaling else numbers

    def indicators(self, signs: bool) -> Any:
        """Return flags and one-hots; None where there are none."""
        parts = []
        if self.flags:
            parts.append(SelectColumns(self.flags, name="flags")(self.input))
        if self.one_hot:
            layer = OneHotCategories(list(self.one_hot.values()), signs=signs, name="one_hots")
            parts.append(layer(SelectColumns(list(self.one_hot), name="few_levels")(self.input)))
        return joined(parts, "indicators")

    def category_vectors(self, units: int, **options: Any) -> Any:
        """Return the vectors of categories with many levels; None where there are none."""
        if not self.embedded:
            return None
        codes = SelectColumns(list(self.embedded), name="many_levels")(self.input)
        return CategoryEmbedding(list(self.embedded.values()), units, name="category_vectors", **options)(codes)


def joined(parts: Sequence[Any], name: str) -> Any:
    """Return those parts that are there, beside each other; None where there is none."""
    present = [part for part in parts if part is not None]
    if len(present) < 2:
        return present[0] if present else None
    return keras.layers.Concatenate(name=name)(present)


def _is_count(kind: Any) -> bool:
    return isinstance(kind, numbers.Integral) and not isinstance(kind, bool) and int(kind) >= 1
