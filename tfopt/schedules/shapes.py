"""Decays of other shapes: REX, hyperbolic tangent, flat-then-anneal, warm-up-stable-decay, a wave, Chebyshev steps."""

import math
from typing import Any

import numpy as np
from keras import ops
from keras.saving import register_keras_serializable

from tfopt._arguments import Number, choice, is_live, num_steps, number, widest_float
from tfopt.schedules._arguments import positive_if_exponential, read
from tfopt.schedules._shapes import FALLS, RISES, fall, rise
from tfopt.schedules.schedule import Schedule


@register_keras_serializable(package="tfopt")
class RexDecay(Schedule):
    """Fall slowly at first and ever faster towards the end: the reflected exponential, made for small budgets.

    Formula: η(t) = η₁ + (η₀ - η₁)·(1 - p) / (½ + ½(1 - p)), p = t/T.

    Args:
        initial_learning_rate: Float ≥ 0: the value η₀ at step 0.
        decay_steps: Int ≥ 1: the number T of optimizer steps.
        end_learning_rate: Float ≥ 0: the value η₁ at the end.
        reach_end: `"decay_steps"` or `"last_step"`: see `tfopt.schedules.LinearDecay`.
        name: String. Optional name.

    Raises:
        ValueError: A rate is negative, or `decay_steps` < 1.

    Example:
        ```python
        print(tfopt.schedules.RexDecay(1.0, decay_steps=4).curve(5).round(3).tolist())
        # [1.0, 0.857, 0.667, 0.4, 0.0]
        ```

    References:
        - Chen, Wolfe, Kyrillidis (2021), "REX: Revisiting Budgeted Training with an Improved Schedule",
          https://arxiv.org/abs/2107.04197
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
        """η₁ + (η₀ - η₁)(1 - p)/(½ + ½(1 - p))."""
        remaining = 1.0 - progress
        return end_learning_rate + (initial_learning_rate - end_learning_rate) * remaining / (0.5 + 0.5 * remaining)


@register_keras_serializable(package="tfopt")
class TanhDecay(Schedule):
    """Stay high, fall along a hyperbolic tangent, stay low.

    Formula: η(t) = η₁ + ½(η₀ - η₁)(1 - tanh(L(1 - p) + U·p)), p = t/T; from step T on exactly η₁, which the formula
    alone would miss by a quarter of a percent of η₀ - η₁ at U = 3.

    Args:
        initial_learning_rate: Float ≥ 0: the value η₀ at step 0.
        decay_steps: Int ≥ 1: the number T of optimizer steps.
        end_learning_rate: Float ≥ 0: the value η₁ from step T on.
        lower: Float: the argument L of tanh at step 0.
        upper: Float: the argument U of tanh at step T.
        reach_end: `"decay_steps"` or `"last_step"`: see `tfopt.schedules.LinearDecay`.
        name: String. Optional name.

    Raises:
        ValueError: A rate is negative, or `decay_steps` < 1.

    Example:
        ```python
        print(tfopt.schedules.TanhDecay(1.0, decay_steps=4).curve(5).round(3).tolist())
        # [1.0, 1.0, 0.982, 0.269, 0.0]
        ```

    References:
        - Hsueh, Li, Wu (2019), "Stochastic Gradient Descent with Hyperbolic-Tangent Decay on Classification",
          https://arxiv.org/abs/1806.01593
    """

    length_argument = "decay_steps"

    def __init__(
        self,
        initial_learning_rate: Number,
        decay_steps: Number,
        end_learning_rate: Number = 0.0,
        lower: Number = -7.0,
        upper: Number = 3.0,
        reach_end: str = "decay_steps",
        name: str | None = None,
    ):
        super().__init__(reach_end, name)
        self.initial_learning_rate = number("initial_learning_rate", initial_learning_rate, minimum=0)
        self.decay_steps = num_steps("decay_steps", decay_steps)
        self.end_learning_rate = number("end_learning_rate", end_learning_rate, minimum=0)
        self.lower = number("lower", lower)
        self.upper = number("upper", upper)
        self._check_reach_end()

    @staticmethod
    def formula(progress, initial_learning_rate, end_learning_rate, lower, upper):
        """η₁ + ½(η₀ - η₁)(1 - tanh(L(1 - p) + U·p)), and η₁ at p = 1."""
        bend = 0.5 * (1.0 - ops.tanh(lower * (1.0 - progress) + upper * progress))
        value = end_learning_rate + (initial_learning_rate - end_learning_rate) * bend
        return ops.where(progress >= 1.0, end_learning_rate, value)


@register_keras_serializable(package="tfopt")
class FlatThenAnneal(Schedule):
    """Keep the learning rate for most of the training, then anneal it.

    Formula: η(t) = η₀ for p < f; then from η₀ to η₁ along `shape` over the rest, p = t/T.

    Args:
        initial_learning_rate: Float ≥ 0: the value η₀ of the flat part.
        decay_steps: Int ≥ 1: the number T of optimizer steps, flat part included.
        flat_fraction: Float in [0, 1): the share f of the flat part.
        end_learning_rate: Float ≥ 0: the value η₁ at the end.
        shape: `"cosine"`, `"linear"`, `"1-sqrt"`, `"1-square"`, `"exponential"` or `"mirror_cosine"`.
        reach_end: `"decay_steps"` or `"last_step"`: see `tfopt.schedules.LinearDecay`.
        name: String. Optional name.

    Raises:
        ValueError: A number is out of bounds, or an exponential anneal ends at 0.

    Example:
        ```python
        print(tfopt.schedules.FlatThenAnneal(1.0, decay_steps=8, flat_fraction=0.5).curve(9).round(3).tolist())
        # [1.0, 1.0, 1.0, 1.0, 1.0, 0.854, 0.5, 0.146, 0.0]
        ```

    References:
        - Howard, Gugger (2020), "fastai: A Layered API for Deep Learning", `fit_flat_cos`,
          https://arxiv.org/abs/2002.04688
    """

    length_argument = "decay_steps"

    def __init__(
        self,
        initial_learning_rate: Number,
        decay_steps: Number,
        flat_fraction: Number = 0.75,
        end_learning_rate: Number = 0.0,
        shape: str = "cosine",
        reach_end: str = "decay_steps",
        name: str | None = None,
    ):
        super().__init__(reach_end, name)
        self.initial_learning_rate = number("initial_learning_rate", initial_learning_rate, minimum=0)
        self.decay_steps = num_steps("decay_steps", decay_steps)
        self.flat_fraction = number("flat_fraction", flat_fraction, minimum=0, below=1)
        self.shape = choice("shape", shape, FALLS)
        self.end_learning_rate = positive_if_exponential("end_learning_rate", end_learning_rate, self.shape)
        self._check_reach_end()

    @staticmethod
    def formula(progress, initial_learning_rate, flat_fraction, end_learning_rate, shape):
        """η₀, then the anneal."""
        position = ops.maximum(progress - flat_fraction, 0.0) / (1.0 - flat_fraction)
        return fall(shape, position, initial_learning_rate, end_learning_rate)


@register_keras_serializable(package="tfopt")
class WarmupStableDecay(Schedule):
    """Warm up, stay at the top, cool down: the middle can be made longer later, and runs can branch off from it.

    As good as a cosine of the same length with a cooldown over about a fifth of the steps, without having to know that
    length at the start (Hägele et al., 2024).

    Formula: t < w: η·f_up(t/w); t < T - d: η; then η₁ + (η - η₁)·f(q), q = (t - T + d)/d; f is 1 - q, ½(1 + cos πq),
    1 - √q, 1 - q², (η₁/η)^q or 2(1 - q) - ½(1 + cos πq) (mirror cosine).

    Args:
        learning_rate: Float ≥ 0: the value η of the middle.
        total_steps: Int ≥ 1: the number T of optimizer steps, all parts together.
        warmup_steps: Int ≥ 0: the steps w of the warm-up from 0.
        cooldown_steps: Int ≥ 0 or None: the steps d of the cooldown; a fifth of `total_steps` by default.
        end_learning_rate: Float ≥ 0: the value η₁ at the end.
        warmup_shape: `"linear"`, `"cosine"`, `"1-sqrt"` or `"polynomial"` (a square).
        cooldown_shape: `"1-sqrt"`, `"linear"`, `"cosine"`, `"1-square"`, `"exponential"` or `"mirror_cosine"`.
        reach_end: `"decay_steps"` or `"last_step"`: see `tfopt.schedules.LinearDecay`.
        name: String. Optional name.

    Raises:
        ValueError: The parts are longer than the whole, a number is out of bounds, or an exponential cooldown ends at
            0.

    Example:
        ```python
        schedule = tfopt.schedules.WarmupStableDecay(1.0, 8, warmup_steps=2, cooldown_steps=4)
        print(schedule.curve(9).round(3).tolist())  # [0.0, 0.5, 1.0, 1.0, 1.0, 0.5, 0.293, 0.134, 0.0]
        ```

    References:
        - Hägele, Bakouch, Kosson, Ben Allal, Von Werra, Jaggi (2024), "Scaling Laws and Compute-Optimal Training Beyond
          Fixed Training Durations", https://arxiv.org/abs/2405.18392
        - Hu et al. (2024), "MiniCPM: Unveiling the Potential of Small Language Models with Scalable Training
          Strategies", https://arxiv.org/abs/2404.06395
    """

    length_argument = "total_steps"

    def __init__(
        self,
        learning_rate: Number,
        total_steps: Number,
        warmup_steps: Number = 0,
        cooldown_steps: Number | None = None,
        end_learning_rate: Number = 0.0,
        warmup_shape: str = "linear",
        cooldown_shape: str = "1-sqrt",
        reach_end: str = "decay_steps",
        name: str | None = None,
    ):
        super().__init__(reach_end, name)
        self.learning_rate = number("learning_rate", learning_rate, minimum=0)
        self.total_steps = num_steps("total_steps", total_steps)
        self.warmup_steps = num_steps("warmup_steps", warmup_steps, minimum=0)
        self.cooldown_steps = None if cooldown_steps is None else num_steps("cooldown_steps", cooldown_steps, minimum=0)
        self.warmup_shape = choice(
            "warmup_shape", warmup_shape, [r for r in RISES if r not in ("exponential", "constant")]
        )
        self.cooldown_shape = choice("cooldown_shape", cooldown_shape, FALLS)
        self.end_learning_rate = positive_if_exponential("end_learning_rate", end_learning_rate, self.cooldown_shape)
        self._check_reach_end()
        parts = [self.total_steps, self.warmup_steps, self.cooldown_steps or 0]
        if not any(map(is_live, parts)) and parts[1] + parts[2] > parts[0]:
            raise ValueError(
                f"Arguments `warmup_steps` and `cooldown_steps` must fit into `total_steps`. Received: warmup_steps="
                f"{warmup_steps}, cooldown_steps={cooldown_steps}, total_steps={total_steps}."
            )

    @staticmethod
    def formula(
        step,
        progress,
        learning_rate,
        warmup_steps,
        cooldown_steps,
        end_learning_rate,
        warmup_shape,
        cooldown_shape,
        end,
    ):
        """The three parts; each is computed and one is taken."""
        cooldown = ops.round(0.2 * end) if cooldown_steps is None else cooldown_steps
        width = ops.maximum(warmup_steps, 1.0)
        warm = rise(warmup_shape, ops.minimum(step / width, 1.0), 0.0, learning_rate, 2.0)
        position = ops.maximum(step - (end - cooldown), 0.0) / ops.maximum(cooldown, 1.0)
        cool = fall(cooldown_shape, position, learning_rate, end_learning_rate)
        value = ops.where(step < warmup_steps, warm, cool)
        return ops.where(ops.logical_and(progress >= 1.0, cooldown > 0.0), end_learning_rate, value)


@register_keras_serializable(package="tfopt")
class CosineWave(Schedule):
    """Swing along a whole number of half cosines: Hugging Face's cosine with `num_cycles`.

    Half a cycle is the cosine decay; one cycle comes back to where it began. At the end it stays.

    Formula: η(t) = η₁ + (η₀ - η₁)·½(1 + cos(2π·n·p)), p = t/T, η₁ = alpha·η₀.

    Args:
        initial_learning_rate: Float ≥ 0: the value η₀ at step 0.
        decay_steps: Int ≥ 1: the number T of optimizer steps.
        num_cycles: Float > 0: the number n of whole waves.
        alpha: Float ≥ 0: the lowest value as a fraction of `initial_learning_rate`.
        reach_end: `"decay_steps"` or `"last_step"`: see `tfopt.schedules.LinearDecay`.
        name: String. Optional name.

    Raises:
        ValueError: A rate is negative, `decay_steps` < 1, or `num_cycles` is not above 0.

    Example:
        ```python
        print(tfopt.schedules.CosineWave(1.0, decay_steps=4, num_cycles=1.5).curve(5).round(3).tolist())
        # [1.0, 0.146, 0.5, 0.854, 0.0]
        ```
    """

    length_argument = "decay_steps"

    def __init__(
        self,
        initial_learning_rate: Number,
        decay_steps: Number,
        num_cycles: Number = 0.5,
        alpha: Number = 0.0,
        reach_end: str = "decay_steps",
        name: str | None = None,
    ):
        super().__init__(reach_end, name)
        self.initial_learning_rate = number("initial_learning_rate", initial_learning_rate, minimum=0)
        self.decay_steps = num_steps("decay_steps", decay_steps)
        self.num_cycles = number("num_cycles", num_cycles, above=0)
        self.alpha = number("alpha", alpha, minimum=0)
        self._check_reach_end()

    @classmethod
    def for_total(cls, learning_rate: Any, total_steps: int, **arguments: Any) -> "CosineWave":
        """One and a half waves, unless told otherwise: it would be the cosine decay once more."""
        return cls(learning_rate, total_steps, **{"num_cycles": 1.5} | arguments)

    @staticmethod
    def formula(progress, initial_learning_rate, num_cycles, alpha):
        """η₀·(α + (1 - α)·½(1 + cos(2πnp)))."""
        wave = 0.5 * (1.0 + ops.cos(2.0 * math.pi * num_cycles * progress))
        return initial_learning_rate * (alpha + (1.0 - alpha) * wave)


@register_keras_serializable(package="tfopt")
class ChebyshevSteps(Schedule):
    """Alternate large and small learning rates (inverse Chebyshev roots) so that training stays stable on average.

    The optimal fixed set of step sizes for gradient descent on a quadratic whose curvatures lie between the inverses
    of the two rates; the fractal order keeps it stable. For full-batch or large-batch gradient descent without
    momentum. After `cycle_steps` steps it begins again.

    Formula: η(t) = η_max / (½(κ + 1) - ½(κ - 1)·cos(π(2σ(t) + 1)/(2n))); σ₁ = (0), σ₂ₙ interleaves σₙ with
    2n - 1 - σₙ.

    Args:
        maximal_learning_rate: Float ≥ 0: the inverse η_max of the smallest curvature; the smallest rate is η_max/κ.
        condition_number: Float ≥ 1: the largest curvature κ as a multiple of the smallest.
        cycle_steps: Int: the number n of step sizes, a power of 2 up to 65536.
        name: String. Optional name.

    Raises:
        ValueError: `cycle_steps` is not a power of 2, or a number is out of bounds.

    Example:
        ```python
        print(tfopt.schedules.ChebyshevSteps(1.0, 10.0, cycle_steps=4).curve(4).round(3).tolist())
        # [0.745, 0.104, 0.265, 0.138]
        ```

    References:
        - Agarwal, Goel, Zhang (2021), "Acceleration via Fractal Learning Rate Schedules",
          https://arxiv.org/abs/2103.01338
    """

    def __init__(
        self,
        maximal_learning_rate: Number,
        condition_number: Number = 20.0,
        cycle_steps: int = 32,
        name: str | None = None,
    ):
        super().__init__(name=name)
        self.maximal_learning_rate = number("maximal_learning_rate", maximal_learning_rate, minimum=0)
        self.condition_number = number("condition_number", condition_number, minimum=1)
        self.cycle_steps = num_steps("cycle_steps", cycle_steps)
        if is_live(cycle_steps) or self.cycle_steps & (self.cycle_steps - 1) or self.cycle_steps > 2**16:
            raise ValueError(
                f"Argument `cycle_steps` must be a power of 2 up to 65536. Received: cycle_steps={cycle_steps!r}."
            )

    @classmethod
    def for_total(cls, learning_rate: Any, total_steps: int, **arguments: Any) -> "ChebyshevSteps":
        """Cycles of at most 32 steps, unless told otherwise."""
        cycle = 2 ** min(5, max(0, int(total_steps).bit_length() - 1))
        return cls(learning_rate, **{"cycle_steps": cycle} | arguments)

    def evaluate(self, step: Any) -> Any:
        """Look the root up in the table of one cycle."""
        order = _fractal_order(self.cycle_steps)
        roots = ops.convert_to_tensor(np.cos(np.pi * (order + 0.5) / len(order)), widest_float())
        place = ops.cast(ops.mod(ops.floor(ops.maximum(step, 0.0)), float(len(order))), "int32")
        condition = read(self.condition_number)
        divisor = 0.5 * (condition + 1.0) - 0.5 * (condition - 1.0) * ops.take(roots, place)
        return read(self.maximal_learning_rate) / divisor


def _fractal_order(count: int) -> np.ndarray:
    order = np.zeros(1, dtype="int64")
    while len(order) < count:
        order = np.stack([order, 2 * len(order) - 1 - order], axis=1).ravel()
    return order
