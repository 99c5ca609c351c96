"""What schedules give a stack's members, step by step, and factors of learning rates, weight by weight."""

import copy
from collections.abc import Iterable, Sequence
from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf

from tfopt.callbacks.learning_rate_multipliers import LearningRateMultipliers
from tfopt.errors import CannotStack
from tfopt.schedules.constant import Constant, inner_value
from tfopt.training.epoch_graph import concrete
from tfopt.training.model_walk import ModelWalk
from tfopt.training.symbolic import NumberTable, Values, kept_symbolic

_AHEAD = 1024  # steps whose values are looked up at once


class ScheduleValues:
    """What a schedule gives each member at each step.

    The schedule is called with many steps at once, or, where it takes one at a time, in a loop that is traced once.

    Attributes:
        numbers: Those of them that the schedule uses.

    Raises:
        CannotStack: The schedule cannot be changed from outside, or not be traced.
    """

    def __init__(self, schedule: Any, walk: ModelWalk, varying: Iterable[str]):
        self._schedule = schedule
        self.numbers = walk.numbers_of(schedule) & frozenset(varying)
        self._setters = {name: setter for name in self.numbers if (setter := walk.setters[name]) is not None}
        if len(self._setters) < len(self.numbers):
            raise CannotStack("its schedule cannot be changed from outside")
        self._known: dict[int, np.ndarray] = {}
        self._members: Sequence[Values] = []
        self._traced: Any = None
        if not self._takes_many():
            self._trace(walk)

    def mismatch(self, numbers: Values) -> str | None:
        """Return what the traced schedule would decide differently for these numbers; None if nothing."""
        return None if self._traced is None else self._table.broken_guard(numbers)

    def _takes_many(self) -> bool:
        """Return whether the schedule gives for many steps at once what it gives for each."""
        steps = np.array([0, 1, 7, 100, 1023], "int32")
        try:
            together = self._of_schedule(tf.constant(steps))
        except (ValueError, TypeError, tf.errors.OpError):
            return False
        singly = [self._of_schedule(tf.constant(step)) for step in steps]
        return together.shape == (len(steps),) and np.allclose(together, singly, rtol=1e-6, atol=0)

    def _of_schedule(self, steps: tf.Tensor) -> np.ndarray:
        return np.asarray(keras.ops.convert_to_numpy(self._schedule(steps)), "float32")

    def _trace(self, walk: ModelWalk) -> None:
        self._table = NumberTable(walk.numbers)
        for name, setter in self._setters.items():
            setter(self._table.number(name))

        def rates(steps: tf.Tensor) -> tf.Tensor:
            # No `tf.map_fn`: where it raises, the process's variable scope stays changed, and no strategy starts again.
            number = tf.shape(steps)[0]

            def body(place: tf.Tensor, found: tf.TensorArray) -> tuple:
                return place + 1, found.write(place, tf.cast(self._schedule(steps[place]), "float32"))

            found = tf.TensorArray("float32", number, element_shape=())
            return tf.while_loop(lambda place, _: place < number, body, (0, found))[1].stack()

        try:
            with kept_symbolic():
                self._traced = concrete(rates, [tf.TensorSpec((None,), tf.int32)])
        except (ValueError, TypeError, tf.errors.OpError) as error:
            raise CannotStack("its schedule decides on the step in Python") from error

    def of(self, members: Sequence[Values]) -> Self:
        """Return the same for these members."""
        other = copy.copy(self)
        other._members, other._known = members, {}
        return other

    def at(self, step: int) -> np.ndarray:
        """Return the (members, 1) values of a step, from 0."""
        block, offset = divmod(step, _AHEAD)
        if block not in self._known:
            before = {known: values for known, values in self._known.items() if known == block - 1}
            self._known = before | {block: self._values(tf.range(block * _AHEAD, (block + 1) * _AHEAD))}
        return self._known[block][:, offset, None]

    def over(self, steps: range) -> np.ndarray:
        """Return the (steps, members) values of some steps."""
        return np.stack([self.at(step)[:, 0] for step in steps])

    def _values(self, steps: tf.Tensor) -> np.ndarray:
        found: dict[tuple, np.ndarray] = {}  # members of equal numbers share one
        for values in self._members:
            own = tuple(values[name] for name in self._setters)
            if own not in found:
                found[own] = self._values_of(values, steps)
        return np.stack([found[tuple(values[name] for name in self._setters)] for values in self._members])

    def _values_of(self, values: Values, steps: tf.Tensor) -> np.ndarray:
        if self._traced is not None:
            self._table.set(values)
            return self._traced(steps).numpy()
        for name, setter in self._setters.items():
            setter(values[name])
        return self._of_schedule(steps)


class RateFactors:
    """What the learning rate of each weight is multiplied by."""

    def __init__(self, multipliers: LearningRateMultipliers | None, weights: Sequence[keras.Variable]):
        self._schedules = [] if multipliers is None else multipliers.factors(weights)
        self._sizes = [int(np.prod(variable.shape)) for variable in weights]
        constant = all(isinstance(schedule, Constant) for schedules in self._schedules for schedule in schedules)
        self._rows = self._at(0) if constant else None

    def apply(self, rates: np.ndarray, step: int) -> np.ndarray:
        """Return rates (members, 1) as they are, or times the factors of a step, from 0: (members, size)."""
        for row in self._at(step) if self._rows is None else self._rows:
            rates = rates * row
        return rates

    def _at(self, step: int) -> list[np.ndarray]:
        now = tf.constant(step, tf.float64)
        values = [[np.float32(inner_value(schedule, now)) for schedule in own] for own in self._schedules]
        return [
            np.repeat(np.array([own[place] if place < len(own) else 1 for own in values], "float32"), self._sizes)
            for place in range(max(map(len, values), default=0))
        ]
