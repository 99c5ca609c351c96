"""Penalties for Keras layers."""

from typing import Any

import keras

from tfopt._arguments import look_up
from tfopt.regularizers.attach import PenaltyMonitor, attach, attach_l2sp, penalties, sparsity
from tfopt.regularizers.base import Penalty
from tfopt.regularizers.concentration import SLOPE, Hoyer, HoyerSquare
from tfopt.regularizers.elementwise import L1, L1L2, L2, ElasticNet, TextbookL2
from tfopt.regularizers.fused import TotalVariation
from tfopt.regularizers.group import L21, GroupLasso, SparseGroupLasso
from tfopt.regularizers.losses import EpsilonInsensitive
from tfopt.regularizers.matrix import Nuclear, Orthogonality, Spectral
from tfopt.regularizers.nonconvex import MCP, SCAD, LHalf, LogSum
from tfopt.regularizers.reference import L2SP
from tfopt.regularizers.sklearn_estimators import to_sklearn
from tfopt.regularizers.sklearn_map import SklearnPenalty, from_sklearn

if keras.backend.backend() == "tensorflow":
    from tfopt.regularizers.jacobian import JacobianModel, jacobian_penalty
    from tfopt.regularizers.proximal import ProximalOptimizer

__all__ = [
    "L1",
    "L1L2",
    "L2",
    "L2SP",
    "L21",
    "MCP",
    "SCAD",
    "SLOPE",
    "ElasticNet",
    "EpsilonInsensitive",
    "GroupLasso",
    "Hoyer",
    "HoyerSquare",
    "JacobianModel",
    "LHalf",
    "LogSum",
    "Nuclear",
    "Orthogonality",
    "Penalty",
    "PenaltyMonitor",
    "ProximalOptimizer",
    "SklearnPenalty",
    "SparseGroupLasso",
    "Spectral",
    "TextbookL2",
    "TotalVariation",
    "attach",
    "attach_l2sp",
    "deserialize",
    "from_sklearn",
    "get",
    "jacobian_penalty",
    "penalties",
    "serialize",
    "sparsity",
    "to_sklearn",
]

_CLASSES: tuple[type, ...] = (
    ElasticNet,
    GroupLasso,
    Hoyer,
    HoyerSquare,
    L1,
    L1L2,
    L2,
    L21,
    L2SP,
    LHalf,
    LogSum,
    MCP,
    Nuclear,
    Orthogonality,
    SCAD,
    SLOPE,
    SparseGroupLasso,
    Spectral,
    TextbookL2,
    TotalVariation,
)


def __getattr__(name: str) -> Any:
    if name in {"JacobianModel", "ProximalOptimizer", "jacobian_penalty"}:
        raise ImportError(
            f"tfopt.regularizers.{name} needs Keras's TensorFlow backend. Received: {keras.backend.backend()}."
        )
    raise AttributeError(f"module 'tfopt.regularizers' has no attribute {name!r}")


def get(identifier: Any) -> Any:
    """Return the penalty that a name (`"l1"`, `"group_lasso"`), a config, a class or an instance stands for.

    tfopt's names come first, Keras's own after them; None stays None.

    Args:
        identifier: The name, config, class or instance; None stays None.

    Raises:
        ValueError: Neither tfopt nor Keras knows the name; the nearest one is named.

    Example:
        ```python
        print(type(tfopt.regularizers.get("l1")).__name__)  # L1
        print(tfopt.regularizers.get(None))  # None
        ```
    """
    return look_up(identifier, _CLASSES, keras.regularizers.get, "regularizer")


def serialize(regularizer: Any) -> Any:
    """Return the config from which `deserialize` makes the same penalty.

    Args:
        regularizer: A penalty of tfopt's or Keras's.

    Example:
        ```python
        config = tfopt.regularizers.serialize(tfopt.regularizers.L1(0.5))
        print(config["class_name"])  # L1
        ```
    """
    return keras.regularizers.serialize(regularizer)


def deserialize(config: Any) -> Any:
    """Return the penalty that `serialize` described.

    Args:
        config: What `serialize` returned.

    Example:
        ```python
        config = tfopt.regularizers.serialize(tfopt.regularizers.L1(0.5))
        print(tfopt.regularizers.deserialize(config).get_config())  # {'l1': 0.5}
        ```
    """
    return keras.regularizers.deserialize(config)
