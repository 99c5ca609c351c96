"""What every random initializer has in common: its seed and its gain."""

import math
import random
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tfopt._arguments import Value, as_tensor, choice_argument, config_of, repr_of

DISTRIBUTIONS = ("truncated_normal", "normal", "uniform")
# Standard deviation of N(0, 1) cut at ±2.
_TRUNCATED_STDDEV = math.sqrt(1 - 4 * math.exp(-2) / math.sqrt(2 * math.pi) / math.erf(math.sqrt(2)))


class RandomInitializer(keras.initializers.Initializer):
    """Base of the random initializers: draws with a seed, and scales by a gain that may be a tensor or a variable.

    Unlike Keras's initializers, an unseeded instance draws anew at every call, so that two layers of equal shape that
    share one do not get identical weights; `keras.utils.set_random_seed` still makes the draws repeatable. An integer
    seed gives the same draw at every call, a `keras.random.SeedGenerator` a new one, as in Keras.
    """

    gain: Value
    seed: Any

    def get_config(self) -> dict[str, Any]:
        """Return the arguments as plain Python values."""
        config = config_of(self)
        if "seed" in config:
            config["seed"] = keras.saving.serialize_keras_object(self.seed)
        return config

    def __repr__(self) -> str:
        return repr_of(self)


def drawing_seed(seed: Any) -> Any:
    """The seed of one call: a fresh one, drawn as Keras draws its own, where none was given."""
    return random.randint(1, 2**31 - 1) if seed is None else seed


def float_dtype(dtype: Any) -> str:
    """`dtype` as a name, Keras's own default where none was given."""
    return keras.backend.standardize_dtype(dtype) if dtype is not None else keras.config.floatx()


def draw(shape: Sequence[int], stddev: float, distribution: str, seed: Any, dtype: Any) -> Any:
    """Draw zero-mean values whose standard deviation is `stddev` in every distribution, the truncated one included."""
    choice_argument(distribution, "draw", "distribution", DISTRIBUTIONS)
    if distribution == "uniform":
        limit = math.sqrt(3) * stddev
        return keras.random.uniform(shape, minval=-limit, maxval=limit, dtype=dtype, seed=drawing_seed(seed))
    if distribution == "normal":
        return keras.random.normal(shape, stddev=stddev, dtype=dtype, seed=drawing_seed(seed))
    return keras.random.truncated_normal(shape, stddev=stddev / _TRUNCATED_STDDEV, dtype=dtype, seed=drawing_seed(seed))


def scaled(values: Any, gain: Value) -> Any:
    """`values` times `gain`; a stack of N gains gives N copies of the same draw, each with its own."""
    if isinstance(gain, float):
        return values * gain if gain != 1.0 else values
    factor = as_tensor(gain, values.dtype)
    return ops.reshape(factor, tuple(factor.shape) + (1,) * len(values.shape)) * values
