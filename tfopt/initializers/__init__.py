"""Initializers for Keras layers."""

from typing import Any

import keras

from tfopt._arguments import look_up
from tfopt.initializers.fans import compute_fans
from tfopt.initializers.gains import gain
from tfopt.initializers.scaling import Glorot, He, LeCun, VarianceScaling, for_activation

__all__ = [
    "Glorot",
    "He",
    "LeCun",
    "VarianceScaling",
    "compute_fans",
    "deserialize",
    "for_activation",
    "gain",
    "get",
    "serialize",
]

_CLASSES: tuple[type, ...] = (Glorot, He, LeCun, VarianceScaling)


def get(identifier: Any) -> Any:
    """Return the initializer that a name (`"he"`, `"delta_orthogonal"`), a config, a class or an instance stands for.

    tfopt's names come first, Keras's own after them; None stays None.
    """
    return look_up(identifier, _CLASSES, keras.initializers.get, "initializer")


def serialize(initializer: Any) -> Any:
    """Return the config from which `deserialize` makes the same initializer."""
    return keras.initializers.serialize(initializer)


def deserialize(config: Any) -> Any:
    """Return the initializer that `serialize` described."""
    return keras.initializers.deserialize(config)
