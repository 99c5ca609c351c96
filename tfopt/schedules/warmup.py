"""A warm-up around any schedule."""

from typing import Any

from keras import ops
from keras.optimizers.schedules import LearningRateSchedule
from keras.saving import register_keras_serializable

from tfopt._arguments import Number, choice, num_steps, number, plain
from tfopt.schedules._arguments import read
from tfopt.schedules._shapes import RISES, rise
from tfopt.schedules.constant import inner_schedule, inner_value
from tfopt.schedules.schedule import Schedule


@register_keras_serializable(package="tfopt")
class Warmup(Schedule):
    """Rise to a schedule's first value, then follow the schedule from its own step 0.

    For adaptive optimizers, large batches and transformers, whose first steps are too noisy for the full rate. It
    goes around any schedule: tfopt's, Keras's, another composition, or a number. Note that a warm-up from 0 makes the
    first update do nothing.

    Formula: t < w: η_w + (η_s(0) - η_w)·f(t/w); then η_s(t - w). f(q) is q, q^power, ½(1 - cos πq), 1 - √(1 - q),
    0 (constant), or geometric from η_w to η_s(0) (exponential).

    Args:
        schedule: The schedule η_s to warm up to: a schedule or a number.
        warmup_steps: Int ≥ 0: the number w of steps of the warm-up.
        initial_learning_rate: Float ≥ 0: the value η_w at step 0.
        shape: `"linear"`, `"polynomial"`, `"cosine"`, `"exponential"`, `"1-sqrt"` or `"constant"`.
        power: Float > 0: exponent of the polynomial shape.
        name: String. Optional name.

    Raises:
        ValueError: `shape` is unknown, `warmup_steps` < 0, or an exponential warm-up starts at 0.

    Example:
        ```python
        inner = tfopt.schedules.LinearDecay(1.0, decay_steps=4)
        print(tfopt.schedules.Warmup(inner, warmup_steps=2).curve(7).tolist())
        # [0.0, 0.5, 1.0, 0.75, 0.5, 0.25, 0.0]
        ```

    References:
        - Goyal et al. (2017), "Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour",
          https://arxiv.org/abs/1706.02677
    """

    def __init__(
        self,
        schedule: LearningRateSchedule,
        warmup_steps: Number,
        initial_learning_rate: Number = 0.0,
        shape: str = "linear",
        power: Number = 2.0,
        name: str | None = None,
    ):
        super().__init__(name=name)
        self.schedule = inner_schedule("schedule", schedule)
        self.warmup_steps = num_steps("warmup_steps", warmup_steps, minimum=0)
        self.shape = choice("shape", shape, RISES)
        exponential = self.shape == "exponential"
        self.initial_learning_rate = number(
            "initial_learning_rate", initial_learning_rate, minimum=0, above=0 if exponential else None
        )
        self.power = number("power", power, above=0)

    @property
    def length(self) -> int | None:
        """The steps of the warm-up and of the schedule within; None when that has no end."""
        inner = getattr(self.schedule, "length", None)
        return None if inner is None else inner + int(plain(self.warmup_steps))

    def evaluate(self, step: Any) -> Any:
        """Both parts are computed and one is taken, so that arrays of steps work."""
        step = ops.maximum(step, 0.0)
        width = read(self.warmup_steps)
        progress = ops.minimum(step / ops.maximum(width, 1.0), 1.0)
        target = inner_value(self.schedule, ops.zeros_like(step))
        rising = rise(self.shape, progress, read(self.initial_learning_rate), target, read(self.power))
        return ops.where(step < width, rising, inner_value(self.schedule, ops.maximum(step - width, 0.0)))
