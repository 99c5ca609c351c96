"""What tfopt needs of the inside of Keras, KerasTuner and TensorFlow, each with a check and what serves without it.

A private name may be gone, or mean something else, in the next release. Whoever rests on one asks here first; the
answer is found by trying, once a process, and a no is said once as a warning, and by `tfopt doctor`.
"""

import functools
import importlib
import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import keras
import tensorflow as tf

from tfopt._private.streams import random_streams_kept

_MODULES = ("keras_models", "keras_names", "keras_optimizers", "keras_random", "tensorflow_graphs", "keras_tuner")
_log = logging.getLogger("tfopt")


@dataclass(frozen=True)
class Need:
    """One thing that is done with private names.

    Args:
        name: What it is called where it is asked for.
        names: The private names, as `module:name` or `module:Class.name`.
        used_by: What rests on it, as a user would call it.
        instead: What happens without it.
        check: Does the thing with objects of its own, and raises if a name is missing or behaves otherwise.
    """

    name: str
    names: tuple[str, ...]
    used_by: str
    instead: str
    check: Callable[[], None]


@functools.cache
def needs() -> dict[str, Need]:
    """Return every need by its name."""
    modules = [importlib.import_module(f"tfopt._private.{name}") for name in _MODULES]
    return {need.name: need for module in modules for need in module.NEEDS}


@functools.cache
def problem(name: str) -> str | None:
    """Return why a need is not met here, in one line; None if it is."""
    try:
        with random_streams_kept(), tf.init_scope():
            needs()[name].check()
    except Exception as error:
        _log.debug("%s does not work here", name, exc_info=True)
        return " ".join(f"{type(error).__name__}: {error}".split())
    return None


@functools.cache
def available(name: str) -> bool:
    """Return whether a need is met here; warn, once a process, if it is not."""
    reason = problem(name)
    if reason is not None:
        need = needs()[name]
        warnings.warn(
            f"Keras {keras.__version__} and TensorFlow {tf.__version__} have another inside than {need.used_by} were "
            f"made for ({name}: {reason}). {need.instead}. `tfopt doctor` lists all such differences.",
            UserWarning,
            stacklevel=2,
        )
    return reason is None


def missing(*names: str) -> str | None:
    """Return that one of these needs is not met here, as a reason; None if all are. Warns as `available` does."""
    lacking = next((name for name in names if not available(name)), None)
    return lacking and f"the inside of Keras or TensorFlow ({lacking}) is another than was known"


def expect(holds: bool, what: str) -> None:
    """Raise `RuntimeError` unless a private name does what it did."""
    if not holds:
        raise RuntimeError(f"{what} does something else than it did")
