"""How to rise from 0 to 1 (warm-ups) and to fall from 1 to 0 (cooldowns), by name."""

import math
from typing import Any

from keras import ops

RISES = ("linear", "polynomial", "cosine", "exponential", "1-sqrt", "constant")
FALLS = ("linear", "cosine", "1-sqrt", "1-square", "exponential", "mirror_cosine")


def rise(shape: str, progress: Any, low: Any, high: Any, power: Any) -> Any:
    """Return the value between `low` (progress 0) and `high` (progress 1); `"constant"` stays low."""
    if shape == "exponential":
        return low * ops.power(high / low, progress)
    if shape == "linear":
        fraction = progress
    elif shape == "polynomial":
        fraction = ops.power(progress, power)
    elif shape == "cosine":
        fraction = 0.5 * (1.0 - ops.cos(math.pi * progress))
    elif shape == "1-sqrt":
        fraction = 1.0 - ops.sqrt(1.0 - progress)
    else:
        fraction = ops.zeros_like(progress)
    return low + (high - low) * fraction


def fall(shape: str, progress: Any, high: Any, low: Any) -> Any:
    """Return the value between `high` (progress 0) and `low` (progress 1)."""
    if shape == "exponential":
        return high * ops.power(low / high, progress)
    cosine = 0.5 * (1.0 + ops.cos(math.pi * progress))
    if shape == "linear":
        fraction = 1.0 - progress
    elif shape == "cosine":
        fraction = cosine
    elif shape == "1-sqrt":
        fraction = 1.0 - ops.sqrt(progress)
    elif shape == "1-square":
        fraction = 1.0 - progress * progress
    else:
        fraction = 2.0 * (1.0 - progress) - cosine
    return low + (high - low) * fraction


def interpolate(shape: str, step: Any, knots: list[Any], values: list[Any]) -> Any:
    """Return the curve through the points (knot, value); level before the first and after the last.

    Two knots at the same step make a jump; the later value holds from that step on.
    """
    result = values[0] + ops.zeros_like(step)
    for start, end, low, high in zip(knots[:-1], knots[1:], values[:-1], values[1:], strict=True):
        width = end - start
        progress = ops.clip((step - start) / ops.where(width > 0.0, width, ops.ones_like(width)), 0.0, 1.0)
        progress = ops.where(width > 0.0, progress, ops.ones_like(progress))
        result = ops.where(step >= start, rise(shape, progress, low, high, 1.0), result)
    return result
