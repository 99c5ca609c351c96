"""Values at chosen steps: kept until the next one, or joined up."""

from collections.abc import Sequence
from typing import Any

from keras import ops
from keras.saving import register_keras_serializable

from tfopt._arguments import Number, choice, items, number, plain
from tfopt.schedules._arguments import increasing_steps, read
from tfopt.schedules._shapes import interpolate, rise
from tfopt.schedules.composition import Scale
from tfopt.schedules.schedule import Schedule

_INTERPOLATIONS = ("linear", "cosine")


@register_keras_serializable(package="tfopt")
class PiecewiseConstant(Schedule):
    """Take a list of values, each until its boundary.

    The new value holds from the boundary itself on, as in optax, PyTorch and timm; Keras's `PiecewiseConstantDecay`
    keeps the old one for one more step.

    Formula: η(t) = vᵢ for bᵢ₋₁ ≤ t < bᵢ.

    Args:
        boundaries: List of increasing ints ≥ 1, in optimizer steps.
        values: List of floats ≥ 0, one more than the boundaries.
        name: String. Optional name.

    Raises:
        ValueError: The counts do not fit, the boundaries do not increase, or a value is negative.

    Example:
        ```python
        print(tfopt.schedules.PiecewiseConstant([2, 3], [1.0, 0.5, 0.1]).curve(5).tolist())
        # [1.0, 1.0, 0.5, 0.1, 0.1]
        ```
    """

    def __init__(self, boundaries: Sequence[Number], values: Sequence[Number], name: str | None = None):
        super().__init__(name=name)
        self.boundaries = increasing_steps("boundaries", boundaries, at_least=0)
        self.values = [number("values", value, minimum=0) for value in items("values", values)]
        if len(self.values) != len(self.boundaries) + 1:
            raise ValueError(
                f"Argument `values` must be one longer than `boundaries`. Received: {len(self.values)} values for "
                f"{len(self.boundaries)} boundaries."
            )

    @classmethod
    def for_total(cls, learning_rate: Any, total_steps: int, **arguments: Any) -> Schedule:
        """The whole rate, a tenth after a half and a hundredth after three quarters, unless told otherwise."""
        boundaries = sorted({max(1, total_steps // 2), max(1, total_steps * 3 // 4)})
        values = [0.1**place for place in range(len(boundaries) + 1)]
        given: dict[str, Any] = {"boundaries": boundaries, "values": values} | arguments
        return Scale(cls(**given), learning_rate)

    @property
    def length(self) -> int | None:
        """The last boundary."""
        return int(plain(self.boundaries[-1])) if self.boundaries else 0

    @staticmethod
    def formula(step, boundaries, values):
        """vᵢ for bᵢ₋₁ ≤ t < bᵢ."""
        result = values[0] + ops.zeros_like(step)
        for boundary, value in zip(boundaries, values[1:], strict=True):
            result = ops.where(step >= boundary, value, result)
        return result


@register_keras_serializable(package="tfopt")
class PiecewiseInterpolation(Schedule):
    """Join values at chosen steps by straight lines or half cosines.

    Any shape can be written so; `tfopt.schedules.refine` returns one. Two equal steps make a jump.

    Formula: between knots (sᵢ, vᵢ) and (sᵢ₊₁, vᵢ₊₁): vᵢ + (vᵢ₊₁ - vᵢ)·f(q), f(q) = q or ½(1 - cos πq); level before the
    first and after the last.

    Args:
        steps: List of ints ≥ 0 that do not decrease, in optimizer steps.
        values: List of floats ≥ 0, one for each step.
        interpolation: `"linear"` or `"cosine"`.
        name: String. Optional name.

    Raises:
        ValueError: The counts differ, the steps decrease, a value is negative, or `interpolation` is unknown.

    Example:
        ```python
        print(tfopt.schedules.PiecewiseInterpolation([0, 2, 4], [0.0, 1.0, 0.5]).curve(6).tolist())
        # [0.0, 0.5, 1.0, 0.75, 0.5, 0.5]
        ```
    """

    def __init__(
        self, steps: Sequence[Number], values: Sequence[Number], interpolation: str = "linear", name: str | None = None
    ):
        super().__init__(name=name)
        self.steps = increasing_steps("steps", steps, minimum=0, strictly=False)
        self.values = [number("values", value, minimum=0) for value in items("values", values)]
        if len(self.values) != len(self.steps):
            raise ValueError(
                f"Argument `values` must be as long as `steps`. Received: {len(self.values)} values for "
                f"{len(self.steps)} steps."
            )
        self.interpolation = choice("interpolation", interpolation, _INTERPOLATIONS)

    @classmethod
    def for_total(cls, learning_rate: Any, total_steps: int, **arguments: Any) -> Schedule:
        """A straight line up over a fifth and down to 0 over the rest, unless told otherwise."""
        given: dict[str, Any] = {"steps": [0, total_steps // 5, total_steps], "values": [0.0, 1.0, 0.0]} | arguments
        return Scale(cls(**given), learning_rate)

    @property
    def length(self) -> int | None:
        """The last step."""
        return int(plain(self.steps[-1]))

    def evaluate(self, step: Any) -> Any:
        """Look up the two knots around each step; stacks of values go from knot to knot instead."""
        step = ops.maximum(step, 0.0)
        knots, values = [read(item) for item in self.steps], [read(item) for item in self.values]
        if self.stack_rank():
            return interpolate(self.interpolation, step, knots, values)
        table, heights = ops.stack(knots), ops.stack(values)
        passed = ops.sum(ops.cast(ops.expand_dims(step, -1) >= table, "int32"), axis=-1)
        before, after = ops.maximum(passed - 1, 0), ops.minimum(passed, len(knots) - 1)
        start, low, high = ops.take(table, before), ops.take(heights, before), ops.take(heights, after)
        width = ops.maximum(ops.take(table, after) - start, 1.0)
        return rise(self.interpolation, ops.clip((step - start) / width, 0.0, 1.0), low, high, 1.0)
