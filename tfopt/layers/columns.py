"""Columns of a table inside a network: some of them, categories as one-hots, as codes, as trained vectors."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tfopt._arguments import count_argument, flag, whole_numbers
from tfopt.layers._factored import FactoredLayer


@keras.saving.register_keras_serializable(package="tfopt")
class SelectColumns(keras.layers.Layer):
    """Return some columns of a matrix, so that a network can treat kinds of columns differently.

    Use it after one input that holds all columns: numbers to an embedding, codes to `OneHotCategories`.

    Args:
        columns: Sequence of ints: which columns, in which order.
        **kwargs: Arguments of `keras.layers.Layer`.

    Raises:
        ValueError: There are no columns, or one is negative.

    Example:
        ```python
        print(np.asarray(tfopt.layers.SelectColumns([2, 0])(np.array([[1.0, 2.0, 3.0]]))).tolist())  # [[3.0, 1.0]]
        ```
    """

    def __init__(self, columns: Sequence[int], **kwargs: Any):
        super().__init__(autocast=False, **kwargs)  # codes of categories are not exact in half precision
        self.columns = whole_numbers("columns", columns, minimum=0, owner="SelectColumns")

    def call(self, inputs: Any) -> Any:
        """Return the columns."""
        return ops.take(inputs, np.array(self.columns, "int32"), axis=-1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the outputs."""
        return (*input_shape[:-1], len(self.columns))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments as plain Python values."""
        return {**super().get_config(), "columns": list(self.columns)}


@keras.saving.register_keras_serializable(package="tfopt")
class OneHotCategories(keras.layers.Layer):
    """Turn columns of category codes into one column for each level; a code that is no level gives zeros.

    Use it for categories of few levels; `CategoryEmbedding` for those of many.

    Args:
        levels: Sequence of ints ≥ 1: the number of levels of each column, whose codes are 0 … levels - 1. Anything else
            (-1, NaN) is missing or unknown.
        signs: Bool: whether a column of two levels gives one column, -1 and 1 with 0 for missing, as RealMLP has it.
        **kwargs: Arguments of `keras.layers.Layer`.

    Raises:
        ValueError: There are no columns, or one has no level.

    Example:
        ```python
        layer = tfopt.layers.OneHotCategories([3, 2], signs=True)
        print(np.asarray(layer(np.array([[2.0, 0.0], [-1.0, 1.0]]))).tolist())
        # [[0.0, 0.0, 1.0, -1.0], [0.0, 0.0, 0.0, 1.0]]
        ```
    """

    def __init__(self, levels: Sequence[int], signs: bool = False, **kwargs: Any):
        super().__init__(autocast=False, **kwargs)
        self.levels = whole_numbers("levels", levels, minimum=1, owner="OneHotCategories")
        self.signs = flag("signs", signs, "OneHotCategories")

    def call(self, inputs: Any) -> Any:
        """Return the encoded columns."""
        codes = ops.cast(inputs, "float32")
        parts = []
        for column, levels in enumerate(self.levels):
            hot = ops.cast(ops.equal(codes[..., column : column + 1], np.arange(levels, dtype="float32")), "float32")
            parts.append(hot[..., 1:] - hot[..., :1] if self.signs and levels == 2 else hot)
        return ops.cast(ops.concatenate(parts, axis=-1), self.compute_dtype)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the outputs."""
        widths = [1 if self.signs and levels == 2 else levels for levels in self.levels]
        return (*input_shape[:-1], sum(widths))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments as plain Python values."""
        return {**super().get_config(), "levels": list(self.levels), "signs": self.signs}


@keras.saving.register_keras_serializable(package="tfopt")
class CategoryCodes(keras.layers.Layer):
    """Turn the one-hots of categories back into codes, for `CategoryEmbedding`; a row of zeros gives -1.

    Use it where rows come as one-hots and a category has too many levels for them.

    Args:
        levels: Sequence of ints ≥ 1: how many of the columns, from left to right, are the one-hots of each category.
        **kwargs: Arguments of `keras.layers.Layer`.

    Raises:
        ValueError: There are no categories, one has no level, or the levels do not add up to the columns.

    Example:
        ```python
        one_hots = np.array([[0.0, 0.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0, 1.0]])
        print(np.asarray(tfopt.layers.CategoryCodes([3, 2])(one_hots)).tolist())  # [[2.0, 0.0], [-1.0, 1.0]]
        ```
    """

    def __init__(self, levels: Sequence[int], **kwargs: Any):
        super().__init__(autocast=False, **kwargs)  # codes are not exact in half precision
        self.levels = whole_numbers("levels", levels, minimum=1, owner="CategoryCodes")

    def build(self, input_shape: Any) -> None:
        """Check the number of columns."""
        if sum(self.levels) != input_shape[-1]:
            raise ValueError(
                f"Argument `levels` of CategoryCodes must add up to the number of columns, {input_shape[-1]}. "
                f"Received: levels={self.levels}."
            )
        super().build(input_shape)

    def call(self, inputs: Any) -> Any:
        """Return a column of codes for each category."""
        one_hots, ends = ops.cast(inputs, "float32"), np.cumsum(self.levels)
        sums = [
            ops.sum(one_hots[..., end - levels : end] * np.arange(1, levels + 1, dtype="float32"), axis=-1)
            for end, levels in zip(ends, self.levels, strict=True)
        ]
        return ops.stack(sums, axis=-1) - 1.0

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the outputs."""
        return (*input_shape[:-1], len(self.levels))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments as plain Python values."""
        return {**super().get_config(), "levels": list(self.levels)}


@keras.saving.register_keras_serializable(package="tfopt")
class CategoryEmbedding(FactoredLayer):
    """Turn each column of category codes into a trained vector for each level.

    Use it where a column has too many levels for one-hots. Every column has one more vector, zero at the start, for
    missing and unknown levels.

    Args:
        levels: Sequence of ints ≥ 1: the number of levels of each column, whose codes are 0 … levels - 1. Anything else
            (-1, NaN) is missing or unknown.
        units: Int ≥ 1: length of a vector.
        learning_rate_factor: Float > 0: what the learning rate is multiplied by, whatever the optimizer.
        decay: Share of the vectors that each training batch takes (AdamW's is learning rate × weight decay), ≥ 0: a
            number, a variable or a schedule of the batch.
        **kwargs: Arguments of `keras.layers.Layer`.

    Raises:
        ValueError: A count or a number is out of bounds.
        TypeError: An argument is not numeric.

    Example:
        ```python
        layer = tfopt.layers.CategoryEmbedding([1000, 50], units=8)
        print(tuple(layer(np.array([[999.0, 7.0], [-1.0, 3.0]])).shape))  # (2, 16)
        ```

    References:
        - Guo, Berkhahn (2016), "Entity Embeddings of Categorical Variables", https://arxiv.org/abs/1604.06737
    """

    def __init__(
        self,
        levels: Sequence[int],
        units: int = 8,
        learning_rate_factor: float = 1.0,
        decay: Any = 0.0,
        **kwargs: Any,
    ):
        super().__init__(learning_rate_factor, decay, autocast=False, **kwargs)
        self.levels = whole_numbers("levels", levels, minimum=1, owner="CategoryEmbedding")
        self.units = count_argument(units, "CategoryEmbedding", "units")

    def build(self, input_shape: Any) -> None:
        """Create the vectors: of all columns in one table, each column's levels and then its vector for the others."""
        ends = np.cumsum([levels + 1 for levels in self.levels])
        self._unknown = (ends - 1).astype("int32")
        self._first = (ends - 1 - np.array(self.levels)).astype("int32")

        def start(shape: Sequence[int], dtype: Any) -> Any:
            known = np.ones((shape[0], 1), "float32")
            known[self._unknown] = 0
            return keras.initializers.RandomNormal(0.0, 1.0)(shape, dtype=dtype) * ops.cast(known, dtype)

        self.table = self.add_factored_weight("table", (int(ends[-1]), self.units), start)
        super().build(input_shape)

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Return the vectors of one row's categories beside each other."""
        codes, levels = ops.cast(inputs, "float32"), np.array(self.levels, "float32")
        known = ops.logical_and(codes >= 0, codes < levels)
        places = ops.where(known, ops.cast(ops.where(known, codes, 0.0), "int32") + self._first, self._unknown)
        # Multiplied so that the gradient is dense: of a sparse one Adam squares the rows' parts before adding them up.
        vectors = ops.take(self.table.read(training) * 1.0, places, axis=0)
        if training:
            self.advance()
        vectors = ops.reshape(vectors, (*ops.shape(inputs)[:-1], len(self.levels) * self.units))
        return ops.cast(vectors, self.compute_dtype)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the outputs."""
        return (*input_shape[:-1], len(self.levels) * self.units)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments as plain Python values."""
        return {**super().get_config(), "levels": list(self.levels), "units": self.units}
