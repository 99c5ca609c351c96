"""A straight line and its powers."""

from typing import Any

from keras import ops
from keras.saving import register_keras_serializable

from tfopt._arguments import Number, flag, num_steps, number
from tfopt.schedules.schedule import Schedule


@register_keras_serializable(package="tfopt")
class LinearDecay(Schedule):
    """Go from one learning rate to another in a straight line: the schedule to try first.

    Over ten deep-learning tasks and a suite of convex ones, linear decay to zero was as good as or better than every
    other schedule in common use (Defazio et al., 2023); with a known budget of steps it needs no tuning of its own
    (Li et al., 2020).

    Formula: η(t) = η₀ + (η₁ - η₀)·t/T, t clamped to [0, T].

    Args:
        initial_learning_rate: Float ≥ 0: the value η₀ at step 0.
        decay_steps: Int ≥ 1: the number T of optimizer steps from η₀ to η₁.
        end_learning_rate: Float ≥ 0: the value η₁ from step T on.
        reach_end: `"decay_steps"` (η₁ at step T) or `"last_step"` (η₁ at step T-1, the last of T batches).
        name: String. Optional name.

    Raises:
        ValueError: A rate is negative, or `decay_steps` < 1.

    Example:
        ```python
        schedule = tfopt.schedules.LinearDecay(0.1, decay_steps=4)
        print(schedule.curve(6).round(3).tolist())  # [0.1, 0.075, 0.05, 0.025, 0.0, 0.0]
        ```

    References:
        - Defazio, Cutkosky, Mehta, Mishchenko (2023), "When, Why and How Much? Adaptive Learning Rate Scheduling by
          Refinement", https://arxiv.org/abs/2310.07831
        - Li, Yumer, Ramanan (2020), "Budgeted Training: Rethinking Deep Neural Network Training Under Resource
          Constraints", https://arxiv.org/abs/1905.04753
    """

    length_argument = "decay_steps"

    def __init__(
        self,
        initial_learning_rate: Number,
        decay_steps: Number,
        end_learning_rate: Number = 0.0,
        reach_end: str = "decay_steps",
        name: str | None = None,
    ):
        super().__init__(reach_end, name)
        self.initial_learning_rate = number("initial_learning_rate", initial_learning_rate, minimum=0)
        self.decay_steps = num_steps("decay_steps", decay_steps)
        self.end_learning_rate = number("end_learning_rate", end_learning_rate, minimum=0)
        self._check_reach_end()

    @staticmethod
    def formula(progress, initial_learning_rate, end_learning_rate):
        """η₁ + (η₀ - η₁)(1 - p)."""
        return end_learning_rate + (initial_learning_rate - end_learning_rate) * (1.0 - progress)


@register_keras_serializable(package="tfopt")
class PolynomialDecay(Schedule):
    """Go from one learning rate to another along a power of the remaining time.

    Powers above 1 drop fast at first and touch the end gently (0.9 and 2 are usual in segmentation), powers below 1
    hold on and drop late. With `cycle`, the decay is stretched to the next multiple of `decay_steps` each time it
    would end, so that the rate jumps up and falls again.

    Formula: η(t) = η₁ + (η₀ - η₁)(1 - p)^power, p = t/T; with k-decay p = (t/T)^k; with `cycle`
    T ← T·max(1, ⌈t/T⌉).

    Args:
        initial_learning_rate: Float ≥ 0: the value η₀ at step 0.
        decay_steps: Int ≥ 1: the number T of optimizer steps.
        end_learning_rate: Float ≥ 0: the value η₁ at the end.
        power: Float > 0.
        k: Float > 0: exponent of k-decay (Zhang and Li, 2020), which keeps the rate up for longer when k > 1.
        cycle: Bool: start again rather than stay at the end.
        reach_end: `"decay_steps"` or `"last_step"`: see `tfopt.schedules.LinearDecay`.
        name: String. Optional name.

    Raises:
        ValueError: A rate is negative, `decay_steps` < 1, or `power` or `k` is not above 0.

    Example:
        ```python
        schedule = tfopt.schedules.PolynomialDecay(1.0, decay_steps=4, power=2.0)
        print(schedule.curve(5).round(4).tolist())  # [1.0, 0.5625, 0.25, 0.0625, 0.0]
        ```

    References:
        - Zhang, Li (2020), "k-decay: A New Method For Learning Rate Schedule", https://arxiv.org/abs/2004.05909
    """

    length_argument = "decay_steps"

    def __init__(
        self,
        initial_learning_rate: Number,
        decay_steps: Number,
        end_learning_rate: Number = 0.0,
        power: Number = 1.0,
        k: Number = 1.0,
        cycle: bool = False,
        reach_end: str = "decay_steps",
        name: str | None = None,
    ):
        super().__init__(reach_end, name)
        self.initial_learning_rate = number("initial_learning_rate", initial_learning_rate, minimum=0)
        self.decay_steps = num_steps("decay_steps", decay_steps)
        self.end_learning_rate = number("end_learning_rate", end_learning_rate, minimum=0)
        self.power = number("power", power, above=0)
        self.k = number("k", k, above=0)
        self.cycle = flag("cycle", cycle)
        self._check_reach_end()

    @classmethod
    def for_total(cls, learning_rate: Any, total_steps: int, **arguments: Any) -> "PolynomialDecay":
        """Fall as a square, unless told otherwise: with power 1 it would be the linear decay once more."""
        return cls(learning_rate, total_steps, **{"power": 2.0} | arguments)

    @property
    def length(self) -> int | None:
        """The number of steps to the end value; None when it starts again."""
        return None if self.cycle else super().length

    def evaluate(self, step: Any) -> Any:
        """Stretch the decay to the next multiple of its length first, where it cycles."""
        if self.cycle:
            step = ops.maximum(step, 0.0)
            step = step / ops.maximum(1.0, ops.ceil(step / self._end()))
        return super().evaluate(step)

    @staticmethod
    def formula(progress, initial_learning_rate, end_learning_rate, power, k):
        """η₁ + (η₀ - η₁)(1 - pᵏ)^power."""
        remaining = ops.power(1.0 - ops.power(progress, k), power)
        return end_learning_rate + (initial_learning_rate - end_learning_rate) * remaining
