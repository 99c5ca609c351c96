"""Decay by a factor: smoothly, in steps, at milestones, or hyperbolically."""

from collections.abc import Sequence
from typing import Any

from keras import ops
from keras.saving import register_keras_serializable

from tfopt._arguments import Number, flag, num_steps, number
from tfopt.schedules._arguments import increasing_steps
from tfopt.schedules.schedule import Schedule


@register_keras_serializable(package="tfopt")
class ExponentialDecay(Schedule):
    """Multiply the learning rate by `decay_rate` every `decay_steps` steps, smoothly or in jumps.

    Formula: η(t) = max(η_end, η₀·r^(t/n)); with `staircase` the exponent is ⌊t/n⌋. The floor becomes a ceiling where
    r > 1.

    Args:
        initial_learning_rate: Float ≥ 0: the value η₀ at step 0.
        decay_steps: Int ≥ 1: the steps n in which the rate changes by one factor, not the length of the training.
        decay_rate: Float > 0: the factor r.
        staircase: Bool: change only every `decay_steps` steps.
        end_learning_rate: Float ≥ 0 or None: where the decay stops.
        name: String. Optional name.

    Raises:
        ValueError: A rate is negative, `decay_steps` < 1, or `decay_rate` is not above 0.

    Example:
        ```python
        schedule = tfopt.schedules.ExponentialDecay(1.0, decay_steps=2, decay_rate=0.25)
        print(schedule.curve(4).round(3).tolist())  # [1.0, 0.5, 0.25, 0.125]
        ```
    """

    def __init__(
        self,
        initial_learning_rate: Number,
        decay_steps: Number,
        decay_rate: Number,
        staircase: bool = False,
        end_learning_rate: Number | None = None,
        name: str | None = None,
    ):
        super().__init__(name=name)
        self.initial_learning_rate = number("initial_learning_rate", initial_learning_rate, minimum=0)
        self.decay_steps = num_steps("decay_steps", decay_steps)
        self.decay_rate = number("decay_rate", decay_rate, above=0)
        self.staircase = flag("staircase", staircase)
        self.end_learning_rate = end_learning_rate
        if end_learning_rate is not None:
            self.end_learning_rate = number("end_learning_rate", end_learning_rate, minimum=0)

    @classmethod
    def for_total(cls, learning_rate: Any, total_steps: int, **arguments: Any) -> "ExponentialDecay":
        """Fall to a hundredth over the whole training, unless told otherwise."""
        return cls(learning_rate, **{"decay_steps": total_steps, "decay_rate": 0.01} | arguments)

    @staticmethod
    def formula(step, initial_learning_rate, decay_steps, decay_rate, staircase, end_learning_rate):
        """η₀·r^(t/n), kept on the near side of the end value."""
        exponent = step / decay_steps
        value = initial_learning_rate * ops.power(decay_rate, ops.floor(exponent) if staircase else exponent)
        if end_learning_rate is None:
            return value
        return ops.where(decay_rate > 1.0, ops.minimum(value, end_learning_rate), ops.maximum(value, end_learning_rate))


@register_keras_serializable(package="tfopt")
class StepDecay(Schedule):
    """Multiply the learning rate by `decay_rate` at every `decay_steps`-th step: PyTorch's StepLR.

    `decay_steps` is the width of one stair. Given the length of the whole training instead, the rate never changes:
    the usual mistake of the textbook snippet.

    Formula: η(t) = η₀·r^⌊t/n⌋.

    Args:
        initial_learning_rate: Float ≥ 0: the value η₀ before the first drop.
        decay_steps: Int ≥ 1: the steps n between two drops.
        decay_rate: Float > 0: the factor r of a drop.
        name: String. Optional name.

    Raises:
        ValueError: A rate is negative, `decay_steps` < 1, or `decay_rate` is not above 0.

    Example:
        ```python
        schedule = tfopt.schedules.StepDecay(1.0, decay_steps=2, decay_rate=0.1)
        print(schedule.curve(6).round(3).tolist())  # [1.0, 1.0, 0.1, 0.1, 0.01, 0.01]
        ```
    """

    def __init__(
        self, initial_learning_rate: Number, decay_steps: Number, decay_rate: Number = 0.1, name: str | None = None
    ):
        super().__init__(name=name)
        self.initial_learning_rate = number("initial_learning_rate", initial_learning_rate, minimum=0)
        self.decay_steps = num_steps("decay_steps", decay_steps)
        self.decay_rate = number("decay_rate", decay_rate, above=0)

    @classmethod
    def for_total(cls, learning_rate: Any, total_steps: int, **arguments: Any) -> "StepDecay":
        """Drop by ten after a third and again after two thirds of the training, unless told otherwise."""
        return cls(learning_rate, **{"decay_steps": -(-total_steps // 3)} | arguments)

    @staticmethod
    def formula(step, initial_learning_rate, decay_steps, decay_rate):
        """η₀·r^⌊t/n⌋."""
        return initial_learning_rate * ops.power(decay_rate, ops.floor(step / decay_steps))


@register_keras_serializable(package="tfopt")
class MultiStepDecay(Schedule):
    """Multiply the learning rate by a factor at each of a list of milestones.

    Formula: η(t) = η₀·Π rᵢ over all milestones mᵢ ≤ t: the drop takes effect at the milestone itself.

    Args:
        initial_learning_rate: Float ≥ 0: the value η₀ before the first milestone.
        milestones: List of increasing ints ≥ 1, in optimizer steps.
        decay_rate: Float > 0: the factor at every milestone, or a list of one factor for each milestone.
        name: String. Optional name.

    Raises:
        ValueError: The milestones do not increase, or `decay_rate` has another length.

    Example:
        ```python
        schedule = tfopt.schedules.MultiStepDecay(1.0, milestones=[2, 5], decay_rate=0.1)
        print(schedule.curve(7).round(3).tolist())  # [1.0, 1.0, 0.1, 0.1, 0.1, 0.01, 0.01]
        ```
    """

    def __init__(
        self,
        initial_learning_rate: Number,
        milestones: Sequence[Number],
        decay_rate: Number = 0.1,
        name: str | None = None,
    ):
        super().__init__(name=name)
        self.initial_learning_rate = number("initial_learning_rate", initial_learning_rate, minimum=0)
        self.milestones = increasing_steps("milestones", milestones)
        if isinstance(decay_rate, (list, tuple)):
            self.decay_rate = [number("decay_rate", rate, above=0) for rate in decay_rate]
            if len(self.decay_rate) != len(self.milestones):
                raise ValueError(
                    f"Argument `decay_rate` must be one number or one for each milestone. Received: "
                    f"{len(self.decay_rate)} numbers for {len(self.milestones)} milestones."
                )
        else:
            self.decay_rate = number("decay_rate", decay_rate, above=0)

    @classmethod
    def for_total(cls, learning_rate: Any, total_steps: int, **arguments: Any) -> "MultiStepDecay":
        """Drop by ten after a half and again after three quarters of the training, unless told otherwise."""
        milestones = sorted({max(1, total_steps // 2), max(1, total_steps * 3 // 4)})
        return cls(learning_rate, **{"milestones": milestones} | arguments)

    @staticmethod
    def formula(step, initial_learning_rate, milestones, decay_rate):
        """η₀·Π rᵢ [t ≥ mᵢ]."""
        rates = decay_rate if isinstance(decay_rate, list) else [decay_rate] * len(milestones)
        value = initial_learning_rate + ops.zeros_like(step)
        for milestone, rate in zip(milestones, rates, strict=True):
            value = value * ops.where(step >= milestone, rate, ops.ones_like(rate))
        return value


@register_keras_serializable(package="tfopt")
class InverseTimeDecay(Schedule):
    """Divide the learning rate by a number that grows in proportion to the time: the Robbins-Monro classic.

    It falls as 1/t in the long run, which the theory of stochastic gradient descent asks for and practice seldom does.

    Formula: η(t) = max(η_end, η₀ / (1 + r·t/n)); with `staircase` ⌊t/n⌋ in place of t/n.

    Args:
        initial_learning_rate: Float ≥ 0: the value η₀ at step 0.
        decay_steps: Int ≥ 1: the unit n of time, in steps.
        decay_rate: Float ≥ 0: the slope r.
        staircase: Bool: change only every `decay_steps` steps.
        end_learning_rate: Float ≥ 0: the floor.
        name: String. Optional name.

    Raises:
        ValueError: A rate is negative, or `decay_steps` < 1.

    Example:
        ```python
        schedule = tfopt.schedules.InverseTimeDecay(1.0, decay_steps=1, decay_rate=1.0)
        print(schedule.curve(4).round(3).tolist())  # [1.0, 0.5, 0.333, 0.25]
        ```

    References:
        - Robbins, Monro (1951), "A Stochastic Approximation Method", https://doi.org/10.1214/aoms/1177729586
    """

    def __init__(
        self,
        initial_learning_rate: Number,
        decay_steps: Number,
        decay_rate: Number,
        staircase: bool = False,
        end_learning_rate: Number = 0.0,
        name: str | None = None,
    ):
        super().__init__(name=name)
        self.initial_learning_rate = number("initial_learning_rate", initial_learning_rate, minimum=0)
        self.decay_steps = num_steps("decay_steps", decay_steps)
        self.decay_rate = number("decay_rate", decay_rate, minimum=0)
        self.staircase = flag("staircase", staircase)
        self.end_learning_rate = number("end_learning_rate", end_learning_rate, minimum=0)

    @classmethod
    def for_total(cls, learning_rate: Any, total_steps: int, **arguments: Any) -> "InverseTimeDecay":
        """Fall to a tenth over the whole training, unless told otherwise."""
        return cls(learning_rate, **{"decay_steps": total_steps, "decay_rate": 9.0} | arguments)

    @staticmethod
    def formula(step, initial_learning_rate, decay_steps, decay_rate, staircase, end_learning_rate):
        """η₀ / (1 + r·t/n)."""
        time = step / decay_steps
        value = initial_learning_rate / (1.0 + decay_rate * (ops.floor(time) if staircase else time))
        return ops.maximum(value, end_learning_rate)
