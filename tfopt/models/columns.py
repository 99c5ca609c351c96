"""What a network for tables is told of the columns of its input, and its first layers."""

import numbers
from collections.abc import Sequence
from typing import Any

import keras

from tfopt._arguments import is_list, whole_numbers
from tfopt.layers import CategoryCodes, CategoryEmbedding, OneHotCategories, RobustScaling, SelectColumns

KINDS = ("number", "flag")


class ColumnKinds:
    """The columns of a matrix by their kinds.

    Args:
        columns: For each column of the matrix `"number"`; an int, the levels of a category, given as codes
            0 … levels - 1 (anything else is missing); or `"flag"`, a 0 or 1 that is passed on without an embedding.
        max_one_hot: Categories of more levels get a trained vector for each level.
        one_hots: For each category that is given as flags, the columns of these; more than `max_one_hot` are replaced.

    Attributes:
        embedded: The levels of each category that gets vectors.
    """

    def __init__(self, columns: Sequence[str | int], max_one_hot: int | None, one_hots: Sequence[Sequence[int]] = ()):
        given, columns = columns, [*columns] if is_list(columns) else []
        self.numbers = [place for place, kind in enumerate(columns) if kind == "number"]
        self.flags = [place for place, kind in enumerate(columns) if kind == "flag"]
        levels = {place: int(kind) for place, kind in enumerate(columns) if _is_count(kind)}
        if not len(columns) or len(self.numbers) + len(self.flags) + len(levels) < len(columns):
            raise ValueError(
                "Argument `columns` must say of each column 'number', 'flag' or the number of a category's levels, at "
                f"least 1. Received: columns={given!r}."
            )
        largest = len(columns) + max(levels.values(), default=0) if max_one_hot is None else max_one_hot
        self.one_hot = {place: count for place, count in levels.items() if count <= largest}
        self._many = [place for place in levels if place not in self.one_hot]
        many = [places for places in self._checked(one_hots) if len(places) > largest]
        self._replaced = [place for places in many for place in places]
        self.flags = [place for place in self.flags if place not in self._replaced]
        self._levels_of_flags = [*map(len, many)]
        self.embedded = [levels[place] for place in self._many] + self._levels_of_flags
        self.input = keras.Input((len(columns),), name="columns")

    def _checked(self, one_hots: Any) -> list[list[int]]:
        groups = [whole_numbers("one_hots", places, minimum=0) for places in one_hots] if is_list(one_hots) else None
        places = [place for group in groups or () for place in group]
        if groups is None or len(set(places)) < len(places) or not set(places) <= set(self.flags):
            raise ValueError(
                "Argument `one_hots` must be lists of columns that `columns` calls 'flag', each in one list. Received: "
                f"one_hots={one_hots!r}."
            )
        return groups

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
        parts = []
        if self._many:
            parts.append(SelectColumns(self._many, name="many_levels")(self.input))
        if self._replaced:
            flags = SelectColumns(self._replaced, name="many_flags")(self.input)
            parts.append(CategoryCodes(self._levels_of_flags, name="codes")(flags))
        codes = joined(parts, "categories")
        return CategoryEmbedding(self.embedded, units, name="category_vectors", **options)(codes)


def joined(parts: Sequence[Any], name: str) -> Any:
    """Return those parts that are there, beside each other; None where there is none."""
    present = [part for part in parts if part is not None]
    if len(present) < 2:
        return present[0] if present else None
    return keras.layers.Concatenate(name=name)(present)


def _is_count(kind: Any) -> bool:
    return isinstance(kind, numbers.Integral) and not isinstance(kind, bool) and int(kind) >= 1
