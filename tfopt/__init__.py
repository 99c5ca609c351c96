"""tfopt: how should this Keras model be optimised, and is it then better than the simple thing?

``import tfopt`` registers every serialisable class, so that ``keras.models.load_model`` finds them. Two kinds of
process are exempt, and import what they need: the command line, which answers ``--help`` without TensorFlow, and the
processes that `tfopt search` starts, with ``TFOPT_LAZY`` set, to fit scikit-learn models.
"""

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

__version__ = "0.1.0"

# What registers classes with Keras on import: what is written in `keras.ops`, for any backend of Keras, and what needs
# TensorFlow. `tfopt.data`'s `*_model` and `table_ensemble` hold the exported models of `tfopt search`.
_ANY_BACKEND = ("schedules", "regularizers", "initializers", "constraints", "losses", "layers", "models")
_TENSORFLOW = ("callbacks", "data.table_model", "data.table_ensemble", "data.example_model")
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
    "sklearn",
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
    """Import every module that registers serialisable classes with Keras, as far as Keras's backend serves it.

    From then on they say what is meant where an argument or a name is misspelt.
    """
    import keras

    from tfopt._names import explain

    for name in _REGISTERING if keras.backend.backend() == "tensorflow" else _ANY_BACKEND:
        module = importlib.import_module(f"tfopt.{name}")
        here = [value for value in map(vars(module).get, module.__all__) if isinstance(value, type)]
        explain(here)
        own = vars(module).get("__getattr__")
        if not isinstance(own, partial):
            module.__getattr__ = partial(_missing, module.__name__, module.__all__, own)  # type: ignore[method-assign]


def _missing(module: str, names: Sequence[str], own: Callable[[str], Any] | None, name: str) -> Any:
    if own is not None and name in names:
        return own(name)
    from tfopt._names import missing_attribute

    raise missing_attribute(module, name, names)


def __dir__() -> list[str]:
    names = {*_PACKAGES, *_REGISTERING, *_FUNCTIONS, "__version__"}
    return sorted(name for name in names if "." not in name)


def __getattr__(name: str) -> Any:
    if name in _PACKAGES or name in _REGISTERING:
        return importlib.import_module(f"tfopt.{name}")
    if name in _FUNCTIONS:
        return getattr(importlib.import_module(f"tfopt.{_FUNCTIONS[name]}"), name)
    from tfopt._names import missing_attribute

    pieces = [sys.modules[f"tfopt.{home}"] for home in _REGISTERING if f"tfopt.{home}" in sys.modules]
    here = {known: f"{piece.__name__}.{known}" for piece in pieces for known in piece.__all__}
    if name in here:
        raise AttributeError(f"module 'tfopt' has no attribute {name!r}. It is {here[name]}.")
    raise missing_attribute("tfopt", name, [*here, *__dir__()])


if not _is_command_line() and "TFOPT_LAZY" not in os.environ:
    register()
