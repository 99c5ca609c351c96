"""One cycle up and down, for the learning rate and for the momentum that goes against it."""

from typing import Any

from keras import ops
from keras.saving import register_keras_serializable

from tfopt._arguments import Number, choice, num_steps, number, whole_number
from tfopt.schedules._arguments import read
from tfopt.schedules._shapes import interpolate
from tfopt.schedules.schedule import Schedule

_SHAPES = ("cosine", "linear")


class _Cycle(Schedule):
    """What the two cycles share: the arguments that place the knots."""

    length_argument = "total_steps"

    def _place(self, total_steps: Any, warmup_fraction: Any, shape: str, num_phases: int) -> None:
        self.total_steps = num_steps("total_steps", total_steps)
        self.num_phases = whole_number("num_phases", num_phases, minimum=2)
        if self.num_phases > 3:
            raise ValueError(f"Argument `num_phases` must be 2 or 3. Received: num_phases={num_phases!r}.")
        most = 0.5 if num_phases == 3 else 1.0
        self.warmup_fraction = number("warmup_fraction", warmup_fraction, minimum=0, maximum=most)
        self.shape = choice("shape", shape, _SHAPES)
        self._check_reach_end()

    def _between(self, step: Any, low: Any, peak: Any, last: Any) -> Any:
        """Return the curve from low to peak, back to low where there are three phases, and to last."""
        end = self._end()
        early = read(self.total_steps) - end
        rise = read(self.warmup_fraction) * read(self.total_steps)
        knots = [ops.zeros_like(end), ops.maximum(rise - early, 0.0)]
        if self.num_phases == 3:
            knots.append(ops.maximum(2.0 * (rise - early), 0.0))
        values = [low, peak, low, last] if self.num_phases == 3 else [low, peak, last]
        return interpolate(self.shape, step, [ops.minimum(knot, end) for knot in knots] + [end], values)


@register_keras_serializable(package="tfopt")
class OneCycle(_Cycle):
    """Rise from a low learning rate to a very high one, then fall far below the start: fast training in one cycle.

    Find `maximal_learning_rate` with `tfopt.find_learning_rate`; let the momentum go the other way with
    `tfopt.schedules.OneCycleMomentum`.

    Formula, two phases: η_max/d at 0, η_max at f·T, η_max/(d·d_end) at T, cosine or linear between. Three phases:
    η_max/d at 0, η_max at f·T, η_max/d at 2f·T, η_max/(d·d_end) at T. With `reach_end="last_step"` the knots are those
    of PyTorch: f·T - 1, 2f·T - 2 and T - 1.

    Args:
        maximal_learning_rate: Float ≥ 0: the peak η_max.
        total_steps: Int ≥ 1: the number T of optimizer steps.
        warmup_fraction: Float in [0, 1]: the share f of the rise; at most 0.5 with three phases.
        initial_divisor: Float > 0: d; the cycle begins at ``maximal_learning_rate / initial_divisor``.
        final_divisor: Float > 0: d_end; the cycle ends at the initial rate divided by it.
        shape: `"cosine"` or `"linear"`.
        num_phases: 2 or 3.
        reach_end: `"decay_steps"` or `"last_step"`: see `tfopt.schedules.LinearDecay`.
        name: String. Optional name.

    Raises:
        ValueError: A number is out of bounds, or `shape` or `num_phases` is unknown.

    Example:
        ```python
        schedule = tfopt.schedules.OneCycle(1.0, total_steps=10, shape="linear")
        print([f"{value:.6f}" for value in schedule.curve([0, 3, 10])])  # ['0.040000', '1.000000', '0.000004']
        ```

    References:
        - Smith, Topin (2018), "Super-Convergence: Very Fast Training of Neural Networks Using Large Learning Rates",
          https://arxiv.org/abs/1708.07120
        - Smith (2018), "A disciplined approach to neural network hyper-parameters: Part 1",
          https://arxiv.org/abs/1803.09820
    """

    def __init__(
        self,
        maximal_learning_rate: Number,
        total_steps: Number,
        warmup_fraction: Number = 0.3,
        initial_divisor: Number = 25.0,
        final_divisor: Number = 1e4,
        shape: str = "cosine",
        num_phases: int = 2,
        reach_end: str = "decay_steps",
        name: str | None = None,
    ):
        super().__init__(reach_end, name)
        self.maximal_learning_rate = number("maximal_learning_rate", maximal_learning_rate, minimum=0)
        self.initial_divisor = number("initial_divisor", initial_divisor, above=0)
        self.final_divisor = number("final_divisor", final_divisor, above=0)
        self._place(total_steps, warmup_fraction, shape, num_phases)

    def evaluate(self, step: Any) -> Any:
        """Interpolate between the knots."""
        peak = read(self.maximal_learning_rate)
        low = peak / read(self.initial_divisor)
        return self._between(step, low, peak, low / read(self.final_divisor))


@register_keras_serializable(package="tfopt")
class OneCycleMomentum(_Cycle):
    """Lower the momentum while the learning rate of a `tfopt.schedules.OneCycle` rises, and bring it back after.

    Give it to `tfopt.callbacks.HyperparameterScheduler` as the schedule of ``momentum`` (SGD) or ``beta_1`` (Adam).

    Formula: m_high at 0, m_low at f·T, m_high at T (three phases: m_high from 2f·T on), cosine or linear between.

    Args:
        total_steps: Int ≥ 1: the number T of optimizer steps.
        maximal_momentum: Float in [0, 1): the value m_high at both ends.
        minimal_momentum: Float in [0, 1): the value m_low at the peak of the learning rate.
        warmup_fraction: Float in [0, 1]: the share f until the lowest momentum; at most 0.5 with three phases.
        shape: `"cosine"` or `"linear"`.
        num_phases: 2 or 3.
        reach_end: `"decay_steps"` or `"last_step"`: see `tfopt.schedules.LinearDecay`.
        name: String. Optional name.

    Raises:
        ValueError: A number is out of bounds, or `shape` or `num_phases` is unknown.

    Example:
        ```python
        schedule = tfopt.schedules.OneCycleMomentum(total_steps=10, shape="linear")
        print(schedule.curve([0, 3, 10]).round(3).tolist())  # [0.95, 0.85, 0.95]
        ```

    References:
        - Smith (2018), "A disciplined approach to neural network hyper-parameters: Part 1",
          https://arxiv.org/abs/1803.09820
    """

    def __init__(
        self,
        total_steps: Number,
        maximal_momentum: Number = 0.95,
        minimal_momentum: Number = 0.85,
        warmup_fraction: Number = 0.3,
        shape: str = "cosine",
        num_phases: int = 2,
        reach_end: str = "decay_steps",
        name: str | None = None,
    ):
        super().__init__(reach_end, name)
        self.maximal_momentum = number("maximal_momentum", maximal_momentum, minimum=0, below=1)
        self.minimal_momentum = number("minimal_momentum", minimal_momentum, minimum=0, below=1)
        self._place(total_steps, warmup_fraction, shape, num_phases)

    @classmethod
    def for_total(cls, learning_rate: Any, total_steps: int, **arguments: Any) -> "OneCycleMomentum":
        """Take `learning_rate` for the highest momentum."""
        return cls(total_steps, **{"maximal_momentum": learning_rate} | arguments)

    def evaluate(self, step: Any) -> Any:
        """Interpolate between the knots."""
        high = read(self.maximal_momentum)
        return self._between(step, high, read(self.minimal_momentum), high)
