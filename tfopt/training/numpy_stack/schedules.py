"""Learning rates of a stack's members, step by step."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfopt._private.keras_optimizers import learning_rate_of
from tfopt.errors import CannotStack
from tfopt.training.model_walk import ModelWalk
from tfopt.training.symbolic import Values

_OF_THE_RATE = "model.optimizer._learning_rate"
_AHEAD = 1024  # steps whose rates are looked up at once


class LearningRates:
    """The learning rate of each member: a constant kept in its state, or its schedule's.

    Args:
        optimizer: The model's.
        walk: The walk through the model.
        varying: Names of the numbers that differ between members.

    Attributes:
        constant: Whether there is no schedule.
        numbers: Those of them that the schedule uses.

    Raises:
        CannotStack: The schedule takes one step at a time.
    """

    def __init__(self, optimizer: keras.optimizers.Optimizer, walk: ModelWalk, varying: frozenset[str]):
        rate = learning_rate_of(optimizer)
        self._schedule: Any = None if isinstance(rate, keras.Variable) else rate
        self.constant = self._schedule is None
        self.numbers = (
            frozenset(name for name in varying if name.startswith(_OF_THE_RATE)) if self._schedule else frozenset()
        )
        self._setters = {name: setter for name in self.numbers if (setter := walk.setters[name]) is not None}
        if len(self._setters) < len(self.numbers):
            raise CannotStack("its schedule cannot be changed from outside")
        self._known: dict[int, np.ndarray] = {}
        self._members: Sequence[Values] = []
        if self._schedule is not None:
            self._check()

    def _check(self) -> None:
        steps = np.array([0, 1, 7, 100, 1023], "int32")
        try:
            together = self._of_schedule(tf.constant(steps))
        except (ValueError, TypeError, tf.errors.OpError) as error:
            raise CannotStack("its schedule takes one step at a time") from error
        singly = [self._of_schedule(tf.constant(step)) for step in steps]
        if together.shape != (len(steps),) or not np.allclose(together, singly, rtol=1e-6, atol=0):
            raise CannotStack("its schedule takes one step at a time")

    def _of_schedule(self, steps: tf.Tensor) -> np.ndarray:
        return np.asarray(keras.ops.convert_to_numpy(self._schedule(steps)), "float32")

    def load(self, members: Sequence[Values]) -> None:
        """Take the members' numbers."""
        self._members = members
        self._known.clear()

    def at(self, step: int, constant: np.ndarray) -> np.ndarray:
        """Return the (members, 1) rates of a step, from 0.

        Args:
            step: Steps taken.
            constant: (members,) rates where there is no schedule.
        """
        if self._schedule is None:
            return constant[:, None].astype("float32")
        block, offset = divmod(step, _AHEAD)
        if block not in self._known:
            self._known = {block: self._block(block)}
        return self._known[block][:, offset, None]

    def _block(self, block: int) -> np.ndarray:
        steps = tf.range(block * _AHEAD, (block + 1) * _AHEAD)
        rates = []
        for values in self._members:
            for name, setter in self._setters.items():
                setter(values[name])
            rates.append(self._of_schedule(steps))
        return np.stack(rates)
