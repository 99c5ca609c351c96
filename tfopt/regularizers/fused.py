"""Total variation: neighbouring weights that are equal."""

import math
from typing import Any

import keras
from keras import ops

from tfopt._arguments import Number, as_tensor, axis_argument, value_argument
from tfopt.regularizers.base import Penalty
from tfopt.regularizers.elementwise import soft_threshold


@keras.saving.register_keras_serializable(package="tfopt")
class TotalVariation(Penalty):
    """Total-variation (fused lasso) penalty: weights along an axis form few plateaus with jumps between.

    Use it where the inputs have an order: time steps, positions, wavelengths, bins of a histogram.
    `penalty = strength · Σ|w_{i+1} − w_i| + l1 Σ|w|` along `axis`.

    Args:
        strength: Strength on the jumps, >= 0: a number, a tensor or a variable; a stack of N gives N penalties.
        l1: Strength on the weights themselves, likewise; not 0 for the fused lasso proper.
        axis: The axis whose neighbours are compared; 0 is the inputs of a dense layer.

    Raises:
        ValueError: A negative strength, or an axis that the weight does not have.
        TypeError: A strength that is not numeric.

    Example:
        ```python
        penalty = tfopt.regularizers.TotalVariation(0.5)
        print(f"{float(penalty(keras.ops.array([[1.0], [1.0], [4.0]]))):.2f}")  # 1.50
        ```

    References:
        - Tibshirani, Saunders, Rosset, Zhu, Knight (2005), "Sparsity and smoothness via the fused lasso",
          https://doi.org/10.1111/j.1467-9868.2005.00490.x
        - Friedman, Hastie, Höfling, Tibshirani (2007), "Pathwise coordinate optimization", for the path that the
          proximal step follows, https://doi.org/10.1214/07-AOAS131
    """

    def __init__(self, strength: Number = 0.01, l1: Number = 0.0, axis: int = 0):
        self.strength = value_argument(strength, "TotalVariation", "strength")
        self.l1 = value_argument(l1, "TotalVariation", "l1")
        self.axis = axis_argument(axis, "TotalVariation")

    def __call__(self, x: Any) -> Any:
        """Return the penalty of the weight `x`."""
        self._check(x)
        leading = (slice(None),) * (self.axis % len(x.shape))
        jumps = ops.sum(ops.abs(x[(*leading, slice(1, None))] - x[(*leading, slice(None, -1))]))
        return as_tensor(self.strength, x.dtype) * jumps + as_tensor(self.l1, x.dtype) * ops.sum(ops.abs(x))

    def proximal(self, x: Any, step: Any) -> Any:
        """Return the exact minimiser: fuse the neighbours, then soft-threshold, in this order."""
        self._check(x)
        moved = ops.moveaxis(x, self.axis, 0)
        columns = ops.reshape(moved, (moved.shape[0], -1))
        fused = _fuse(columns, step * as_tensor(self.strength, x.dtype)) if moved.shape[0] > 1 else columns
        restored = ops.moveaxis(ops.reshape(fused, moved.shape), 0, self.axis)
        return soft_threshold(restored, step * as_tensor(self.l1, x.dtype))

    def _check(self, x: Any) -> None:
        rank = len(x.shape)
        if not -rank <= self.axis < rank:
            raise ValueError(
                f"Argument `axis` of TotalVariation must be an axis of the weight, whose shape is {tuple(x.shape)}. "
                f"Received: axis={self.axis}."
            )


def _fuse(x: Any, threshold: Any) -> Any:
    """Return argmin ½‖w − x‖² + threshold · Σ|w_{i+1} − w_i| for every column of `x`, exactly.

    Follows the solution as the threshold grows from 0: plateaus move towards their neighbours at rates that stay the
    same until two of them meet, and those that have met never part again. One pass of the loop joins one pair in
    every column, so there are at most as many passes as rows.
    """
    rows, columns = x.shape
    offsets = ops.reshape(ops.arange(columns) * rows, (1, columns))
    signs = ops.sign(ops.diff(x, axis=0))
    edge = ops.zeros((1, columns), dtype=x.dtype)

    def averages(values: Any, plateau: Any) -> Any:
        flat = ops.reshape(plateau, (-1,))
        sums = ops.segment_sum(ops.reshape(values, (-1,)), flat, num_segments=rows * columns)
        sizes = ops.segment_sum(ops.ones((rows * columns,), x.dtype), flat, num_segments=rows * columns)
        return ops.reshape(ops.take(sums / ops.maximum(sizes, 1), flat), (rows, columns))

    def path(joined: Any) -> tuple[Any, Any]:
        """Value at threshold 0 and rate of change of every element's plateau."""
        starts = ops.concatenate([ops.zeros_like(offsets), ops.cast(ops.logical_not(joined), offsets.dtype)], axis=0)
        plateau = ops.cumsum(starts, axis=0) + offsets
        pull = ops.concatenate([ops.where(joined, 0, signs), edge], axis=0)
        pull = pull - ops.concatenate([edge, ops.where(joined, 0, signs)], axis=0)
        return averages(x, plateau), averages(pull, plateau)

    def meeting(joined: Any) -> Any:
        """The threshold at which each pair of neighbours meets."""
        value, rate = path(joined)
        closing = -signs * ops.diff(rate, axis=0)
        gap = ops.diff(value, axis=0) * signs
        meets = ops.logical_and(ops.logical_not(joined), closing > 0)
        return ops.where(meets, gap / ops.where(meets, closing, 1), math.inf)

    def unfinished(joined: Any, when: Any) -> Any:
        return ops.any(when < threshold)

    def join(joined: Any, when: Any) -> tuple[Any, Any]:
        first = ops.min(when, axis=0, keepdims=True)
        joined = ops.logical_or(joined, ops.logical_and(when <= first, when < threshold))
        return joined, meeting(joined)

    equal = signs == 0
    joined, _ = ops.while_loop(unfinished, join, (equal, meeting(equal)), maximum_iterations=rows)
    value, rate = path(joined)
    return value + threshold * rate
