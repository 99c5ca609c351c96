"""Schedules made of schedules: one after another, multiplied, moved, scaled, clipped, annealed."""

import math
from collections import abc
from typing import Any

from keras import ops
from keras.optimizers.schedules import LearningRateSchedule
from keras.saving import register_keras_serializable

from tfopt._arguments import Number, choice, num_steps, number, plain
from tfopt.schedules._arguments import increasing_steps, positive_if_exponential, read
from tfopt.schedules._shapes import FALLS, fall
from tfopt.schedules.constant import inner_schedule, inner_value
from tfopt.schedules.schedule import Schedule


def _inner_length(schedule: Any) -> int | None:
    """The length of a schedule of tfopt; a Keras schedule does not tell its own."""
    return getattr(schedule, "length", None)


@register_keras_serializable(package="tfopt")
class Sequence(Schedule):
    """Run schedules one after another, each from its own step 0.

    Formula: η(t) = ηᵢ(t - bᵢ) for bᵢ ≤ t < bᵢ₊₁, b₀ = 0: the switch is at the boundary itself.

    Args:
        schedules: List of schedules or numbers (a constant).
        boundaries: List of increasing ints ≥ 1, one fewer than the schedules: the step at which each next one starts.
        name: String. Optional name.

    Raises:
        ValueError: The counts do not fit, or the boundaries do not increase.

    Example:
        ```python
        parts = [tfopt.schedules.LinearDecay(1.0, 2), tfopt.schedules.LinearDecay(0.5, 5)]
        print(tfopt.schedules.Sequence(parts, boundaries=[2]).curve(6).round(3).tolist())
        # [1.0, 0.5, 0.5, 0.4, 0.3, 0.2]
        ```
    """

    def __init__(
        self, schedules: abc.Sequence[LearningRateSchedule], boundaries: abc.Sequence[Number], name: str | None = None
    ):
        super().__init__(name=name)
        self.schedules = _several(schedules)
        self.boundaries = increasing_steps("boundaries", boundaries, at_least=0)
        if len(self.boundaries) != len(self.schedules) - 1:
            raise ValueError(
                f"Argument `boundaries` must be one shorter than `schedules`. Received: {len(self.boundaries)} "
                f"boundaries for {len(self.schedules)} schedules."
            )

    @property
    def length(self) -> int | None:
        """The last boundary and the length of the last schedule; None when that has no end."""
        last = _inner_length(self.schedules[-1])
        return None if last is None else last + (int(plain(self.boundaries[-1])) if self.boundaries else 0)

    def evaluate(self, step: Any) -> Any:
        """Compute every part and take one."""
        step = ops.maximum(step, 0.0)
        value = inner_value(self.schedules[0], step)
        for boundary, schedule in zip(self.boundaries, self.schedules[1:], strict=True):
            local = step - read(boundary)
            value = ops.where(local >= 0.0, inner_value(schedule, ops.maximum(local, 0.0)), value)
        return value


@register_keras_serializable(package="tfopt")
class Product(Schedule):
    """Multiply schedules: a decay times a cycle, a schedule times a cooldown.

    Formula: η(t) = Π ηᵢ(t).

    Args:
        schedules: List of schedules or numbers.
        name: String. Optional name.

    Raises:
        ValueError: The list is empty.

    Example:
        ```python
        parts = [tfopt.schedules.LinearDecay(1.0, 4), tfopt.schedules.StepDecay(1.0, 2, 0.5)]
        print(tfopt.schedules.Product(parts).curve(5).tolist())  # [1.0, 0.75, 0.25, 0.125, 0.0]
        ```
    """

    def __init__(self, schedules: abc.Sequence[LearningRateSchedule], name: str | None = None):
        super().__init__(name=name)
        self.schedules = _several(schedules)

    @property
    def length(self) -> int | None:
        """The greatest length of a factor; None when one has no end."""
        lengths = [_inner_length(schedule) for schedule in self.schedules]
        known = [length for length in lengths if length is not None]
        return max(known) if len(known) == len(lengths) else None

    def evaluate(self, step: Any) -> Any:
        """Multiply."""
        step = ops.maximum(step, 0.0)
        return math.prod(
            (inner_value(schedule, step) for schedule in self.schedules[1:]), start=inner_value(self.schedules[0], step)
        )


@register_keras_serializable(package="tfopt")
class Offset(Schedule):
    """Start a schedule later, or in its middle.

    Formula: η(t) = η_s(t - o); up to step o its start value.

    Args:
        schedule: The schedule η_s, or a number.
        offset_steps: Int: the step o at which it starts; negative to skip its first steps.
        name: String. Optional name.

    Raises:
        TypeError: `offset_steps` is not whole.

    Example:
        ```python
        print(tfopt.schedules.Offset(tfopt.schedules.LinearDecay(1.0, 4), offset_steps=2).curve(6).tolist())
        # [1.0, 1.0, 1.0, 0.75, 0.5, 0.25]
        ```
    """

    def __init__(self, schedule: LearningRateSchedule, offset_steps: Number, name: str | None = None):
        super().__init__(name=name)
        self.schedule = inner_schedule("schedule", schedule)
        self.offset_steps = num_steps("offset_steps", offset_steps, minimum=-(2**62))

    @property
    def length(self) -> int | None:
        """The length of the schedule within, moved."""
        inner = _inner_length(self.schedule)
        return None if inner is None else max(0, inner + int(plain(self.offset_steps)))

    def evaluate(self, step: Any) -> Any:
        """Move the step."""
        return inner_value(self.schedule, ops.maximum(ops.maximum(step, 0.0) - read(self.offset_steps), 0.0))


@register_keras_serializable(package="tfopt")
class Scale(Schedule):
    """Multiply a schedule by a number.

    Formula: η(t) = factor·η_s(t).

    Args:
        schedule: The schedule η_s.
        factor: Float ≥ 0, a stack, a tensor or a variable.
        name: String. Optional name.

    Raises:
        ValueError: `factor` is negative.

    Example:
        ```python
        print(tfopt.schedules.Scale(tfopt.schedules.LinearDecay(1.0, 4), factor=10.0).curve(3).tolist())
        # [10.0, 7.5, 5.0]
        ```
    """

    def __init__(self, schedule: LearningRateSchedule, factor: Number, name: str | None = None):
        super().__init__(name=name)
        self.schedule = inner_schedule("schedule", schedule)
        self.factor = number("factor", factor, minimum=0)

    @property
    def length(self) -> int | None:
        """The length of the schedule within."""
        return _inner_length(self.schedule)

    def evaluate(self, step: Any) -> Any:
        """Multiply."""
        return read(self.factor) * inner_value(self.schedule, ops.maximum(step, 0.0))


@register_keras_serializable(package="tfopt")
class Clip(Schedule):
    """Keep a schedule between two bounds.

    Formula: η(t) = min(max(η_s(t), minimum), maximum).

    Args:
        schedule: The schedule η_s.
        minimum: Float ≥ 0 or None: the lower bound.
        maximum: Float ≥ 0 or None: the upper bound.
        name: String. Optional name.

    Raises:
        ValueError: A bound is negative, or the lower is above the upper.

    Example:
        ```python
        print(tfopt.schedules.Clip(tfopt.schedules.LinearDecay(1.0, 4), minimum=0.3).curve(5).tolist())
        # [1.0, 0.75, 0.5, 0.3, 0.3]
        ```
    """

    def __init__(
        self,
        schedule: LearningRateSchedule,
        minimum: Number | None = None,
        maximum: Number | None = None,
        name: str | None = None,
    ):
        super().__init__(name=name)
        self.schedule = inner_schedule("schedule", schedule)
        self.minimum = None if minimum is None else number("minimum", minimum, minimum=0)
        self.maximum = None if maximum is None else number("maximum", maximum, minimum=0)
        if isinstance(self.minimum, float) and isinstance(self.maximum, float) and self.minimum > self.maximum:
            raise ValueError(
                f"Argument `minimum` must be <= `maximum`. Received: minimum={minimum}, maximum={maximum}."
            )

    @property
    def length(self) -> int | None:
        """The length of the schedule within."""
        return _inner_length(self.schedule)

    def evaluate(self, step: Any) -> Any:
        """Cut off what is outside."""
        value = inner_value(self.schedule, ops.maximum(step, 0.0))
        value = value if self.minimum is None else ops.maximum(value, read(self.minimum))
        return value if self.maximum is None else ops.minimum(value, read(self.maximum))


@register_keras_serializable(package="tfopt")
class Anneal(Schedule):
    """Leave a running schedule at one step, anneal from there to another rate, and stay.

    With `"cosine"` or `"linear"` it brings the rate to the constant one of stochastic weight averaging (Izmailov et
    al., 2018). With `"1-sqrt"` and an end of 0 it branches a cooldown off a long run.

    Formula: η(t) = η_s(t) for t < b; then from η_s(b) to η₁ along `shape` over d steps; then η₁.

    Args:
        schedule: The schedule η_s, or a number.
        start_step: Int ≥ 0: the step b.
        anneal_steps: Int ≥ 1: the steps d of the anneal.
        end_learning_rate: Float ≥ 0: the value η₁.
        shape: `"cosine"`, `"linear"`, `"1-sqrt"`, `"1-square"`, `"exponential"` or `"mirror_cosine"`.
        name: String. Optional name.

    Raises:
        ValueError: A number is out of bounds, or an exponential anneal ends at 0.

    Example:
        ```python
        schedule = tfopt.schedules.Anneal(1.0, start_step=2, anneal_steps=2, end_learning_rate=0.2)
        print(schedule.curve(6).round(3).tolist())  # [1.0, 1.0, 1.0, 0.6, 0.2, 0.2]
        ```

    References:
        - Izmailov, Podoprikhin, Garipov, Vetrov, Wilson (2018), "Averaging Weights Leads to Wider Optima and Better
          Generalization", https://arxiv.org/abs/1803.05407
    """

    def __init__(
        self,
        schedule: LearningRateSchedule,
        start_step: Number,
        anneal_steps: Number,
        end_learning_rate: Number,
        shape: str = "cosine",
        name: str | None = None,
    ):
        super().__init__(name=name)
        self.schedule = inner_schedule("schedule", schedule)
        self.start_step = num_steps("start_step", start_step, minimum=0)
        self.anneal_steps = num_steps("anneal_steps", anneal_steps)
        self.shape = choice("shape", shape, FALLS)
        self.end_learning_rate = positive_if_exponential("end_learning_rate", end_learning_rate, self.shape)

    @classmethod
    def for_total(cls, learning_rate: Any, total_steps: int, **arguments: Any) -> "Anneal":
        """A cosine over the last quarter, to a twentieth of where it began: the usual for weight averaging."""
        given = {"start_step": total_steps - max(1, total_steps // 4), "anneal_steps": max(1, total_steps // 4)}
        return cls(learning_rate, **given | {"end_learning_rate": 0.0} | arguments)

    @property
    def length(self) -> int | None:
        """The step from which the value is the end value."""
        return int(plain(self.start_step)) + int(plain(self.anneal_steps))

    def evaluate(self, step: Any) -> Any:
        """Compute the schedule and the anneal, and take one."""
        step = ops.maximum(step, 0.0)
        start = read(self.start_step)
        progress = ops.clip((step - start) / read(self.anneal_steps), 0.0, 1.0)
        last = read(self.end_learning_rate)
        begin = inner_value(self.schedule, start + ops.zeros_like(step))
        annealed = ops.where(progress >= 1.0, last, fall(self.shape, progress, begin, last))
        return ops.where(step < start, inner_value(self.schedule, step), annealed)


@register_keras_serializable(package="tfopt")
class AccumulatedSteps(Schedule):
    """Count updates instead of batches, where gradients are accumulated.

    With `gradient_accumulation_steps=k` Keras hands a schedule the number of batches, although it updates the weights
    only at every k-th of them: the schedule runs k times too fast. Wrapped in this one, it counts updates.

    Formula: η(t) = η_s(⌊t/k⌋).

    Args:
        schedule: The schedule η_s, in updates.
        gradient_accumulation_steps: Int ≥ 1: the optimizer's argument k of the same name.
        name: String. Optional name.

    Raises:
        ValueError: `gradient_accumulation_steps` < 1.

    Example:
        ```python
        inner = tfopt.schedules.LinearDecay(1.0, 4)
        print(tfopt.schedules.AccumulatedSteps(inner, gradient_accumulation_steps=2).curve(6).tolist())
        # [1.0, 1.0, 0.75, 0.75, 0.5, 0.5]
        ```
    """

    def __init__(self, schedule: LearningRateSchedule, gradient_accumulation_steps: Number, name: str | None = None):
        super().__init__(name=name)
        self.schedule = inner_schedule("schedule", schedule)
        self.gradient_accumulation_steps = num_steps("gradient_accumulation_steps", gradient_accumulation_steps)

    @property
    def length(self) -> int | None:
        """The length of the schedule within, in batches."""
        inner = _inner_length(self.schedule)
        return None if inner is None else inner * int(plain(self.gradient_accumulation_steps))

    def evaluate(self, step: Any) -> Any:
        """Divide the step."""
        step = ops.floor(ops.maximum(step, 0.0) / read(self.gradient_accumulation_steps))
        return inner_value(self.schedule, step)


def _several(schedules: Any) -> list[Any]:
    if not isinstance(schedules, (list, tuple)) or not schedules:
        raise ValueError(f"Argument `schedules` must be a list of at least one schedule. Received: {schedules!r}.")
    return [inner_schedule("schedules", schedule) for schedule in schedules]
