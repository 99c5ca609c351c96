"""tfopt: how should this Keras model be optimised, and is it then better than the simple thing?

``import tfopt`` registers every serialisable class, so that ``keras.models.load_model`` finds them. Two kinds of
process are exempt, and import what they need: the command line, which answers ``--help`` without TensorFlow, and the
processes that `tfopt search` starts, with ``TFOPT_LAZY`` set, to fit scikit-learn models.
"""

import importlib
import os
import sys
from typing import Any

__version__ = "0.1.0"

# What registers classes with Keras on import: what is written in `keras.ops`, for any backend of Keras, and what needs
# TensorFlow. `tfopt.data.table_model` holds the exported models of `tfopt search`.
_ANY_BACKEND = ("schedules", "regularizers", "initializers", "constraints", "layers", "models")
_TENSORFLOW = ("callbacks", "data.table_model")
_REGISTERING = (*_ANY_BACKEND, *_TENSORFLOW)
_PACKAGES = (
    "baselines",
    "comparison",
    "data",
    "devices",
    "diagnosis",
    "errors",
    "report",
    "search",
    "training",
    "uncertainty",
)

# Functions of the top level, by the module that holds each.
_FUNCTIONS = {
    "diagnose": "diagnosis",
    "find_learning_rate": "learning_rate_finder",
    "load": "search.result",
    "mc_dropout": "uncertainty",
}


def _is_command_line() -> bool:
    """True while this process is ``tfopt …`` or ``python -m tfopt …``."""
    if os.path.basename(sys.argv[0]) in {"tfopt", "tfopt.exe"}:
        return True
    words = sys.orig_argv
    return "-m" in words and words[words.index("-m") + 1 :][:1] == ["tfopt"]


def register() -> None:
    """Import every module that registers serialisable classes with Keras, as far as Keras's backend serves it."""
    import keras

    for name in _REGISTERING if keras.backend.backend() == "tensorflow" else _ANY_BACKEND:
        importlib.import_module(f"tfopt.{name}")


def __getattr__(name: str) -> Any:
    if name in _PACKAGES or name in _REGISTERING:
        return importlib.import_module(f"tfopt.{name}")
    if name in _FUNCTIONS:
        return getattr(importlib.import_module(f"tfopt.{_FUNCTIONS[name]}"), name)
    raise AttributeError(f"module 'tfopt' has no attribute {name!r}")


if not _is_command_line() and "TFOPT_LAZY" not in os.environ:
    register()
