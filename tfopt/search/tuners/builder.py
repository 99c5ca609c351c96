"""What builds a tuner's models in other processes."""

import copy
from typing import TYPE_CHECKING, Any

import keras
import keras_tuner

if TYPE_CHECKING:
    from tfopt.search.tuners.models import KeepsModels

# What stays with the search: trials, files, and what is shown.
_LEFT_OUT = ("oracle", "states", "fitter", "logger", "_display")


class Builder:
    """Builds the models of a tuner as it does; can be sent to another process, where the tuner itself cannot.

    Args:
        tuner: The tuner. What its `build_for_engine` notes of errors in this process is noted in the tuner itself.
    """

    def __init__(self, tuner: "KeepsModels"):
        self._tuner = copy.copy(tuner)
        for name in _LEFT_OUT:
            self._tuner.__dict__.pop(name, None)

    def __call__(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        """Return the model of a configuration."""
        return self._tuner.build_for_engine(hp)

    @property
    def errors(self) -> dict[Any, tuple[Exception, str]]:
        """Why models could not be built, by configuration: the exception and its traceback."""
        return self._tuner.raised
