"""Reproducible noise on a schedule."""

import math
from typing import Any

import keras
from keras import ops
from keras.optimizers.schedules import LearningRateSchedule
from keras.saving import register_keras_serializable

from tfopt._arguments import Number, choice, num_steps, number, plain, widest_float
from tfopt.schedules._arguments import read
from tfopt.schedules.constant import inner_schedule, inner_value
from tfopt.schedules.schedule import Schedule

_DISTRIBUTIONS = ("uniform", "normal")


@register_keras_serializable(package="tfopt")
class Noise(Schedule):
    """Multiply a schedule by a random factor at each step; the same seed gives the same factors everywhere.

    The factor is a hash of the seed and the step, so that a resumed run meets the same noise and nothing is drawn from
    the training's random stream.

    Formula: η(t) = η_s(t)·(1 + n(t)), b ≤ t < e; n uniform in (-amount, amount), or normal with that standard
    deviation, cut at ± 2 of them. Never below 0.

    Args:
        schedule: The schedule η_s, or a number.
        amount: Float in [0, 0.5] for `"normal"`, in [0, 1] for `"uniform"`: the size of the noise.
        distribution: `"uniform"` or `"normal"`.
        seed: Int in [0, 2**31): another seed, another noise.
        start_step: Int ≥ 0: the first step b with noise.
        end_step: Int ≥ 1 or None: the first step e without noise again.
        hold_steps: Int ≥ 1: steps for which one draw is kept, such as those of an epoch.
        name: String. Optional name.

    Raises:
        ValueError: A number is out of bounds, or `distribution` is unknown.

    Example:
        ```python
        schedule = tfopt.schedules.Noise(1.0, amount=0.1, seed=7)
        print(bool(abs(schedule.curve(1000) - 1.0).max() < 0.1))  # True
        ```

    References:
        - Wightman (2019), "PyTorch Image Models", `noise_range_t` of `timm/scheduler/scheduler.py`,
          https://github.com/huggingface/pytorch-image-models
        - Neelakantan et al. (2015), "Adding Gradient Noise Improves Learning for Very Deep Networks", for noise on
          gradients, https://arxiv.org/abs/1511.06807
    """

    def __init__(
        self,
        schedule: LearningRateSchedule,
        amount: Number = 0.1,
        distribution: str = "uniform",
        seed: int = 0,
        start_step: Number = 0,
        end_step: Number | None = None,
        hold_steps: Number = 1,
        name: str | None = None,
    ):
        super().__init__(name=name)
        self.schedule = inner_schedule("schedule", schedule)
        self.distribution = choice("distribution", distribution, _DISTRIBUTIONS)
        self.amount = number("amount", amount, minimum=0, maximum=0.5 if distribution == "normal" else 1.0)
        self.seed = num_steps("seed", seed, minimum=0)
        if self.seed >= 2**31:
            raise ValueError(f"Argument `seed` must be < 2**31. Received: seed={seed}.")
        self.start_step = num_steps("start_step", start_step, minimum=0)
        self.end_step = None if end_step is None else num_steps("end_step", end_step)
        self.hold_steps = num_steps("hold_steps", hold_steps)

    @property
    def length(self) -> int | None:
        """The later of the end of the schedule within and the end of the noise; None when one has no end."""
        inner = getattr(self.schedule, "length", None)
        return None if inner is None or self.end_step is None else max(inner, int(plain(self.end_step)))

    def evaluate(self, step: Any) -> Any:
        """Multiply by 1 + n within the range."""
        step = ops.maximum(step, 0.0)
        value = inner_value(self.schedule, step)
        draw = ops.floor(step / read(self.hold_steps))
        if self.distribution == "uniform":
            noise = 2.0 * _uniform(draw, self.seed, 0) - 1.0
        else:
            radius = ops.sqrt(-2.0 * ops.log(_uniform(draw, self.seed, 0)))
            noise = ops.clip(radius * ops.cos(2.0 * math.pi * _uniform(draw, self.seed, 1)), -2.0, 2.0)
        noisy = ops.maximum(value * (1.0 + read(self.amount) * noise), 0.0)
        inside = step >= read(self.start_step)
        if self.end_step is not None:
            inside = ops.logical_and(inside, step < read(self.end_step))
        return ops.where(inside, noisy, value)


def _uniform(count: Any, seed: int, stream: int) -> Any:
    """Return numbers in (0, 1) as a hash of whole float64 counts: Mueller's 32-bit mixer, twice, in int64.

    A product of 32 by 27 bits stays below 2**63, so nothing overflows on any device. JAX has no int64 by default; there
    the products wrap around in uint32, which leaves the same 32 bits.
    """
    dtype = "uint32" if keras.backend.backend() == "jax" else "int64"
    low = ops.cast(ops.mod(count, 2.0**31), dtype)
    high = ops.cast(ops.mod(ops.floor(count / 2.0**31), 2.0**20), dtype)
    begin = _mix(low + 1) + high + seed
    mixed = _mix(_mix(begin) + ops.convert_to_tensor(2654435769 * (stream + 1) % 2**32, dtype))
    return (ops.cast(mixed, widest_float()) + 0.5) / 2.0**32


def _mix(bits: Any) -> Any:
    mask = ops.convert_to_tensor(0xFFFFFFFF, bits.dtype)
    bits = ops.bitwise_and(bits, mask)
    for _ in range(2):
        bits = ops.bitwise_and(ops.bitwise_xor(bits, ops.right_shift(bits, 16)) * 0x45D9F3B, mask)
    return ops.bitwise_xor(bits, ops.right_shift(bits, 16))
