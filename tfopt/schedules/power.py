"""Powers of the time: inverse square root, Noam, power law."""

from typing import Any

from keras import ops
from keras.saving import register_keras_serializable

from tfopt._arguments import Number, num_steps, number
from tfopt.schedules.composition import Scale
from tfopt.schedules.schedule import Schedule


@register_keras_serializable(package="tfopt")
class InverseSquareRootDecay(Schedule):
    """Fall as one over the square root of the time: a decay for trainings whose length is open.

    With a `tfopt.schedules.Warmup` of `decay_steps` steps around it, it is the schedule of Hugging Face and fairseq;
    add a cooldown before each evaluation (Zhai et al., 2022).

    Formula: η(t) = η₀ / √(1 + t/τ).

    Args:
        initial_learning_rate: Float ≥ 0: the value η₀ at step 0.
        decay_steps: Int ≥ 1: the timescale τ.
        name: String. Optional name.

    Raises:
        ValueError: The rate is negative, or `decay_steps` < 1.

    Example:
        ```python
        print(tfopt.schedules.InverseSquareRootDecay(1.0, decay_steps=1).curve([0, 3, 8]).round(3).tolist())
        # [1.0, 0.5, 0.333]
        ```

    References:
        - Zhai, Kolesnikov, Houlsby, Beyer (2022), "Scaling Vision Transformers", https://arxiv.org/abs/2106.04560
    """

    def __init__(self, initial_learning_rate: Number, decay_steps: Number, name: str | None = None):
        super().__init__(name=name)
        self.initial_learning_rate = number("initial_learning_rate", initial_learning_rate, minimum=0)
        self.decay_steps = num_steps("decay_steps", decay_steps)

    @classmethod
    def for_total(cls, learning_rate: Any, total_steps: int, **arguments: Any) -> "InverseSquareRootDecay":
        """A timescale of a tenth of the training, unless told otherwise."""
        return cls(learning_rate, **{"decay_steps": max(1, total_steps // 10)} | arguments)

    @staticmethod
    def formula(step, initial_learning_rate, decay_steps):
        """η₀/√(1 + t/τ)."""
        return initial_learning_rate / ops.sqrt(1.0 + step / decay_steps)


@register_keras_serializable(package="tfopt")
class NoamDecay(Schedule):
    """Warm up in a straight line, then fall as one over the square root: the first Transformer's schedule.

    Formula: η(t) = factor·d^-½·min((t + 1)^-½, (t + 1)·w^-³ᐟ²). The paper counts steps from 1, Keras from 0.

    Args:
        factor: Float ≥ 0: what the formula is multiplied by.
        warmup_steps: Int ≥ 1: the steps w until the peak, factor/√(d·w).
        model_size: Int ≥ 1: the width d of the model.
        name: String. Optional name.

    Raises:
        ValueError: A number is out of bounds.

    Example:
        ```python
        schedule = tfopt.schedules.NoamDecay(1.0, warmup_steps=4, model_size=1)
        print(schedule.curve([0, 3, 15]).tolist())  # [0.125, 0.5, 0.25]
        ```

    References:
        - Vaswani et al. (2017), "Attention Is All You Need", https://arxiv.org/abs/1706.03762
    """

    def __init__(self, factor: Number, warmup_steps: Number, model_size: Number = 512, name: str | None = None):
        super().__init__(name=name)
        self.factor = number("factor", factor, minimum=0)
        self.warmup_steps = num_steps("warmup_steps", warmup_steps)
        self.model_size = num_steps("model_size", model_size)

    @classmethod
    def for_total(cls, learning_rate: Any, total_steps: int, **arguments: Any) -> Schedule:
        """Peak at `learning_rate` after a tenth of the training, unless told otherwise."""
        given = {"warmup_steps": max(1, total_steps // 10), "model_size": 1} | arguments
        unit = cls(**{"factor": (float(given["model_size"]) * float(given["warmup_steps"])) ** 0.5} | given)
        return Scale(unit, learning_rate)

    @staticmethod
    def formula(step, factor, warmup_steps, model_size):
        """factor·d^-½·min(n^-½, n·w^-³ᐟ²), n = t + 1."""
        count = step + 1.0
        rising = count * ops.power(warmup_steps, -1.5)
        return factor * ops.rsqrt(model_size) * ops.minimum(ops.rsqrt(count), rising)


@register_keras_serializable(package="tfopt")
class PowerLawDecay(Schedule):
    """Follow a power of the time, with a straight line to 0 over the last part.

    Formula: η(t) = η₀·max(t, 1)^k·min(1, (T - t)/(f·T)); without `decay_steps` the power alone, for ever.

    Args:
        initial_learning_rate: Float ≥ 0: the value η₀ at steps 0 and 1.
        decay_steps: Int ≥ 1 or None: the number T of optimizer steps until 0.
        power: Float ≤ 4: the exponent k, below 0 for a decay.
        cooldown_fraction: Float in (0, 1]: the share f of the straight line at the end.
        reach_end: `"decay_steps"` or `"last_step"`: see `tfopt.schedules.LinearDecay`.
        name: String. Optional name.

    Raises:
        ValueError: A number is out of bounds.

    Example:
        ```python
        schedule = tfopt.schedules.PowerLawDecay(1.0, decay_steps=20, power=-0.5, cooldown_fraction=0.5)
        print(schedule.curve([0, 4, 9, 16, 20]).round(3).tolist())  # [1.0, 0.5, 0.333, 0.1, 0.0]
        ```

    References:
        - Yu et al. (2020), "TensorFlow Model Garden", `PowerAndLinearDecay` in
          `official/modeling/optimization/lr_schedule.py`, https://github.com/tensorflow/models
    """

    length_argument = "decay_steps"

    def __init__(
        self,
        initial_learning_rate: Number,
        decay_steps: Number | None = None,
        power: Number = -0.5,
        cooldown_fraction: Number = 0.1,
        reach_end: str = "decay_steps",
        name: str | None = None,
    ):
        super().__init__(reach_end, name)
        self.initial_learning_rate = number("initial_learning_rate", initial_learning_rate, minimum=0)
        self.decay_steps = None if decay_steps is None else num_steps("decay_steps", decay_steps)
        self.power = number("power", power, maximum=4)  # 10⁹ steps to the fourth are what a float32 still holds
        self.cooldown_fraction = number("cooldown_fraction", cooldown_fraction, above=0, maximum=1)
        if decay_steps is not None:
            self._check_reach_end()

    @staticmethod
    def formula(step, end, initial_learning_rate, power, cooldown_fraction):
        """η₀·max(t, 1)^k·min(1, (T - t)/(f·T))."""
        value = initial_learning_rate * ops.power(ops.maximum(step, 1.0), power)
        return value if end is None else value * ops.minimum(1.0, (end - step) / (cooldown_fraction * end))
