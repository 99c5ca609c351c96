"""Half a cosine, once or again and again."""

import math
from typing import Any

from keras import ops
from keras.saving import register_keras_serializable

from tfopt._arguments import Number, num_steps, number, plain
from tfopt.schedules.schedule import Schedule


@register_keras_serializable(package="tfopt")
class CosineDecay(Schedule):
    """Go from one learning rate to another along half a cosine: slow, fast, slow.

    The most used decay of vision models and language models. Unlike PyTorch's and most of Hugging Face's it stays at
    the end value instead of rising again. A warm-up goes around it: `tfopt.schedules.Warmup`.

    Formula: η(t) = η₁ + (η₀ - η₁)·[½(1 + cos πp)]^exponent, p = (t/T)^k, η₁ = alpha·η₀.

    Args:
        initial_learning_rate: Float ≥ 0: the value η₀ at step 0.
        decay_steps: Int ≥ 1: the number T of optimizer steps.
        alpha: Float ≥ 0: the end value as a fraction of `initial_learning_rate`, as in Keras.
        exponent: Float > 0: power of the cosine; above 1 it falls earlier.
        k: Float > 0: exponent of k-decay (Zhang and Li, 2020); above 1 it falls later.
        reach_end: `"decay_steps"` or `"last_step"`: see `tfopt.schedules.LinearDecay`.
        name: String. Optional name.

    Raises:
        ValueError: A rate is negative, `decay_steps` < 1, or `exponent` or `k` is not above 0.

    Example:
        ```python
        schedule = tfopt.schedules.CosineDecay(1.0, decay_steps=4, alpha=0.1)
        print(schedule.curve(6).round(3).tolist())  # [1.0, 0.868, 0.55, 0.232, 0.1, 0.1]
        ```

    References:
        - Loshchilov, Hutter (2017), "SGDR: Stochastic Gradient Descent with Warm Restarts",
          https://arxiv.org/abs/1608.03983
    """

    length_argument = "decay_steps"

    def __init__(
        self,
        initial_learning_rate: Number,
        decay_steps: Number,
        alpha: Number = 0.0,
        exponent: Number = 1.0,
        k: Number = 1.0,
        reach_end: str = "decay_steps",
        name: str | None = None,
    ):
        super().__init__(reach_end, name)
        self.initial_learning_rate = number("initial_learning_rate", initial_learning_rate, minimum=0)
        self.decay_steps = num_steps("decay_steps", decay_steps)
        self.alpha = number("alpha", alpha, minimum=0)
        self.exponent = number("exponent", exponent, above=0)
        self.k = number("k", k, above=0)
        self._check_reach_end()

    @staticmethod
    def formula(progress, initial_learning_rate, alpha, exponent, k):
        """η₀·(α + (1 - α)·[½(1 + cos πpᵏ)]^exponent)."""
        cosine = 0.5 * (1.0 + ops.cos(math.pi * ops.power(progress, k)))
        return initial_learning_rate * (alpha + (1.0 - alpha) * ops.power(cosine, exponent))


@register_keras_serializable(package="tfopt")
class CosineRestarts(Schedule):
    """Fall along half a cosine, jump back up, and again, each time longer and from lower down.

    Each cycle ends in a model worth keeping (a snapshot ensemble); the last cycle counts when there is only one model.

    Formula: η = η₁ + (m^i·η₀ - η₁)·½(1 + cos πq) in cycle i, q the position in it; cycle i has T₀·T_mul^i steps.
    A cycle begins exactly at its first step: there is none of the float32 logarithm that makes Keras's version miss
    late restarts.

    Args:
        initial_learning_rate: Float ≥ 0: the value η₀ at step 0.
        first_decay_steps: Int ≥ 1: the steps T₀ of the first cycle.
        t_mul: Float ≥ 1: how much longer each cycle is than the one before.
        m_mul: Float ≥ 0: the peak of each cycle as a fraction of the one before.
        alpha: Float ≥ 0: the lowest value η₁ as a fraction of `initial_learning_rate`.
        num_cycles: Int ≥ 1 or None: after so many cycles the rate stays at the lowest value.
        name: String. Optional name.

    Raises:
        ValueError: `first_decay_steps` or `num_cycles` < 1, `t_mul` < 1, or a rate is negative.

    Example:
        ```python
        schedule = tfopt.schedules.CosineRestarts(1.0, first_decay_steps=2, t_mul=2.0, m_mul=0.5)
        print(schedule.curve(7).round(3).tolist())  # [1.0, 0.5, 0.5, 0.427, 0.25, 0.073, 0.25]
        ```

    References:
        - Loshchilov, Hutter (2017), "SGDR: Stochastic Gradient Descent with Warm Restarts",
          https://arxiv.org/abs/1608.03983
    """

    def __init__(
        self,
        initial_learning_rate: Number,
        first_decay_steps: Number,
        t_mul: Number = 2.0,
        m_mul: Number = 1.0,
        alpha: Number = 0.0,
        num_cycles: int | None = None,
        name: str | None = None,
    ):
        super().__init__(name=name)
        self.initial_learning_rate = number("initial_learning_rate", initial_learning_rate, minimum=0)
        self.first_decay_steps = num_steps("first_decay_steps", first_decay_steps)
        self.t_mul = number("t_mul", t_mul, minimum=1)
        self.m_mul = number("m_mul", m_mul, minimum=0)
        self.alpha = number("alpha", alpha, minimum=0)
        self.num_cycles = None if num_cycles is None else num_steps("num_cycles", num_cycles)

    @classmethod
    def for_total(cls, learning_rate: Any, total_steps: int, **arguments: Any) -> "CosineRestarts":
        """Three cycles, each twice as long as the one before, within the training, unless told otherwise."""
        settled: dict[str, Any] = {"t_mul": 2.0, "num_cycles": 3} | arguments
        parts = sum(settled["t_mul"] ** cycle for cycle in range(settled["num_cycles"] or 3))
        return cls(learning_rate, **{"first_decay_steps": max(1, int(total_steps / parts))} | settled)

    @property
    def length(self) -> int | None:
        """The steps of all cycles together, rounded up; None when they never end."""
        if self.num_cycles is None:
            return None
        first, ratio = float(plain(self.first_decay_steps)), float(plain(self.t_mul))
        return math.ceil(sum(first * ratio**cycle for cycle in range(int(plain(self.num_cycles)))))

    @staticmethod
    def formula(step, initial_learning_rate, first_decay_steps, t_mul, m_mul, alpha, num_cycles):
        """Find the cycle by a logarithm, put it right by one where rounding missed, then take the cosine."""
        grows = t_mul > 1.0
        ratio = ops.where(grows, t_mul, 2.0 * ops.ones_like(t_mul))

        def start(cycle):
            return first_decay_steps * ops.where(grows, (ops.power(ratio, cycle) - 1.0) / (ratio - 1.0), cycle)

        guess = ops.where(
            grows,
            ops.log(1.0 + step / first_decay_steps * (ratio - 1.0)) / ops.log(ratio),
            step / first_decay_steps,
        )
        cycle = ops.floor(guess)
        later = step + 1e-9 * first_decay_steps  # 100 (1.1³ − 1) / 0.1 is 331 and a little more
        cycle = ops.where(start(cycle) > later, cycle - 1.0, cycle)
        cycle = ops.where(start(cycle + 1.0) <= later, cycle + 1.0, cycle)
        position = ops.maximum(step - start(cycle), 0.0) / (start(cycle + 1.0) - start(cycle))
        peak = ops.power(m_mul, cycle) - alpha
        wave = alpha + peak * 0.5 * (1.0 + ops.cos(math.pi * position))
        if num_cycles is not None:
            wave = ops.where(cycle >= num_cycles, alpha, wave)
        return initial_learning_rate * wave


@register_keras_serializable(package="tfopt")
class CosLog(Schedule):
    """Rise from 0 and fall back to 0 several times, along cosines that each last twice as long as the one before.

    Early cycles are short tries at a high rate, and the last one covers half of the training; there is nothing to tune
    but the rate. Four cycles are the "coslog4" of RealMLP.

    Formula: η(t) = η₀·½(1 - cos(2π·log₂(1 + (2ⁿ - 1)·p))), p = t/T: cycle i of n ends at p = (2ⁱ - 1)/(2ⁿ - 1).

    Args:
        learning_rate: Float ≥ 0: the value η₀ at the top of every cycle.
        total_steps: Int ≥ 1: the number T of optimizer steps.
        num_cycles: Float > 0: the number n of cycles; a whole one ends at 0.
        name: String. Optional name.

    Raises:
        ValueError: The rate is negative, `total_steps` < 1, or `num_cycles` is not above 0.

    Example:
        ```python
        print(tfopt.schedules.CosLog(1.0, total_steps=7, num_cycles=3).curve(8).round(3).tolist())
        # [0.0, 0.0, 0.93, 0.0, 0.718, 0.93, 0.324, 0.0]
        ```

    References:
        - Holzmüller, Grinsztajn, Steinwart (2024), "Better by Default: Strong Pre-Tuned MLPs and Boosted Trees on
          Tabular Data", https://arxiv.org/abs/2407.04491
    """

    length_argument = "total_steps"

    def __init__(self, learning_rate: Number, total_steps: Number, num_cycles: Number = 4, name: str | None = None):
        super().__init__(name=name)
        self.learning_rate = number("learning_rate", learning_rate, minimum=0)
        self.total_steps = num_steps("total_steps", total_steps)
        self.num_cycles = number("num_cycles", num_cycles, above=0)

    @staticmethod
    def formula(progress, learning_rate, num_cycles):
        """η₀·½(1 - cos(2π·log₂(1 + (2ⁿ - 1)p)))."""
        cycles = ops.log2(1.0 + (ops.power(2.0, num_cycles) - 1.0) * progress)
        return learning_rate * 0.5 * (1.0 - ops.cos(2.0 * math.pi * cycles))
