"""Penalties for Keras layers."""

from typing import Any

import keras

from tfopt._arguments import look_up
from tfopt.regularizers.base import Penalty
from tfopt.regularizers.elementwise import L1, L1L2, L2, ElasticNet, TextbookL2

__all__ = [
    "L1",
    "L1L2",
    "L2",
    "ElasticNet",
    "Penalty",
    "TextbookL2",
    "deserialize",
    "get",
    "serialize",
]

_CLASSES: tuple[type, ...] = (L1, L1L2, L2, ElasticNet, TextbookL2)


def get(identifier: Any) -> Any:
    """Return the penalty that a name (`"l1"`, `"group_lasso"`), a config, a class or an instance stands for.

    tfopt's names come first, Keras's own after them; None stays None.
    """
    return look_up(identifier, _CLASSES, keras.regularizers.get, "regularizer")


def serialize(regularizer: Any) -> Any:
    """Return the config from which `deserialize` makes the same penalty."""
    return keras.regularizers.serialize(regularizer)


def deserialize(config: Any) -> Any:
    """Return the penalty that `serialize` described."""
    return keras.regularizers.deserialize(config)
