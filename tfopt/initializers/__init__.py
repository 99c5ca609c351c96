"""Initializers for Keras layers."""

from typing import Any

import keras

from tfopt._arguments import look_up
from tfopt.initializers.architecture import (
    SIREN,
    DeepNorm,
    DepthScaled,
    Fixup,
    MuP,
    Normal,
    PriorBias,
    Sparse,
    mup_learning_rate_factor,
)
from tfopt.initializers.bins import quantile_bins
from tfopt.initializers.fans import compute_fans
from tfopt.initializers.from_data import HePlusBias, UnitVariance, from_data
from tfopt.initializers.gains import gain
from tfopt.initializers.guard import IdenticalWeightsGuard, find_identical_weights
from tfopt.initializers.lsuv import lsuv
from tfopt.initializers.orthogonal import DeltaOrthogonal, Dirac, Orthogonal, ZerO
from tfopt.initializers.scaling import Glorot, He, LeCun, VarianceScaling, for_activation

__all__ = [
    "SIREN",
    "DeepNorm",
    "DeltaOrthogonal",
    "DepthScaled",
    "Dirac",
    "Fixup",
    "Glorot",
    "He",
    "HePlusBias",
    "IdenticalWeightsGuard",
    "LeCun",
    "MuP",
    "Normal",
    "Orthogonal",
    "PriorBias",
    "Sparse",
    "UnitVariance",
    "VarianceScaling",
    "ZerO",
    "compute_fans",
    "deserialize",
    "find_identical_weights",
    "for_activation",
    "from_data",
    "gain",
    "get",
    "lsuv",
    "mup_learning_rate_factor",
    "quantile_bins",
    "serialize",
]

_CLASSES: tuple[type, ...] = (
    DeepNorm,
    DeltaOrthogonal,
    DepthScaled,
    Dirac,
    Fixup,
    Glorot,
    He,
    HePlusBias,
    LeCun,
    MuP,
    Normal,
    Orthogonal,
    PriorBias,
    SIREN,
    Sparse,
    UnitVariance,
    VarianceScaling,
    ZerO,
)


def get(identifier: Any) -> Any:
    """Return the initializer that a name (`"he"`, `"delta_orthogonal"`), a config, a class or an instance stands for.

    tfopt's names come first, Keras's own after them; None stays None.

    Args:
        identifier: The name, config, class or instance; None stays None.

    Raises:
        ValueError: Neither tfopt nor Keras knows the name; the nearest one is named.

    Example:
        ```python
        print(type(tfopt.initializers.get("he")).__name__)  # He
        print(tfopt.initializers.get(None))  # None
        ```
    """
    return look_up(identifier, _CLASSES, keras.initializers.get, "initializer")


def serialize(initializer: Any) -> Any:
    """Return the config from which `deserialize` makes the same initializer.

    Args:
        initializer: An initializer of tfopt's or Keras's.

    Example:
        ```python
        config = tfopt.initializers.serialize(tfopt.initializers.He(seed=3))
        print(config["class_name"])  # He
        ```
    """
    return keras.initializers.serialize(initializer)


def deserialize(config: Any) -> Any:
    """Return the initializer that `serialize` described.

    Args:
        config: What `serialize` returned.

    Example:
        ```python
        config = tfopt.initializers.serialize(tfopt.initializers.He(seed=3))
        print(tfopt.initializers.deserialize(config).seed)  # 3
        ```
    """
    return keras.initializers.deserialize(config)
