"""Rows of inputs, targets and example weights, as `model.fit` takes them, picked by index."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

Nest = Any  # an array, or a list, tuple or dict of arrays


class Table:
    """Inputs, targets and weights of as many rows each.

    Args:
        x: An array, or a list, tuple or dict of arrays; the first axis counts the rows.
        y: Likewise.
        sample_weight: (rows,) or None.

    Raises:
        ValueError: The arrays differ in rows, or hold none.
    """

    def __init__(self, x: Nest, y: Nest, sample_weight: np.ndarray | None = None):
        self.x, self.y = _each(as_array, x), _each(as_array, y)
        self.sample_weight = None if sample_weight is None else np.asarray(sample_weight, keras.config.floatx())
        lengths = {len(array) for array in flat(self.parts())}
        if len(lengths) != 1 or 0 in lengths:
            raise ValueError(
                f"Inputs, targets and weights must have as many rows, at least one. Received: {sorted(lengths)} rows."
            )
        self.num_rows = lengths.pop()

    def __len__(self) -> int:
        return self.num_rows

    def parts(self) -> tuple:
        """Return `(x, y)` or `(x, y, sample_weight)`."""
        return (self.x, self.y) if self.sample_weight is None else (self.x, self.y, self.sample_weight)

    def take(self, rows: np.ndarray | None) -> tuple:
        """Return `parts()` at these rows; all of them for None."""
        return self.parts() if rows is None else _each(lambda array: array[rows], self.parts())


def as_array(array: Any) -> np.ndarray:
    """Return an array whose floats have Keras's float type, as `fit` casts them."""
    array = np.asarray(array)
    return array.astype(keras.config.floatx()) if np.issubdtype(array.dtype, np.floating) else array


def flat(nest: Nest) -> list[np.ndarray]:
    """Return the arrays of a nest, in a fixed order."""
    return keras.tree.flatten(nest)


def _each(function: Callable[[Any], Any], nest: Nest) -> Nest:
    return keras.tree.map_structure(function, nest)
