"""The numbers of a model that is read as a plan: those that differ between members are columns."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfopt.errors import CannotStack
from tfopt.training.model_walk import ModelWalk
from tfopt.training.numpy_stack.schedules import ScheduleValues
from tfopt.training.symbolic import Values

Column = Callable[[], np.ndarray]


class _Placeholder:
    """Stands in the model for a number that differs between members."""

    def __init__(self, name: str):
        self.name = name


class MemberNumbers:
    """What each number of a model is for each member.

    Args:
        varying: Names of the numbers that differ; the model's own are replaced by markers.
        walk: The walk through the model.
        looked_up: Those that are left as they are: they are looked up elsewhere.

    Raises:
        CannotStack: One cannot be replaced.
    """

    def __init__(self, varying: Iterable[str], walk: ModelWalk, looked_up: frozenset[str] = frozenset()):
        self._walk, self._values = walk, dict(walk.numbers)
        self._members: Sequence[Values] = [self._values]
        self._schedules: dict[int, ScheduleValues] = {}  # by the schedule's id; the model keeps it alive
        self._loaded: dict[int, ScheduleValues] = {}
        self._decided: list[tuple[str, Callable[[float], bool]]] = []
        self._varying = frozenset(varying)
        self.unread = set(self._varying - looked_up)
        for name in sorted(self.unread):
            self._put(name, _Placeholder(name))

    def _put(self, name: str, value: Any) -> None:
        setter = self._walk.setters[name]
        if setter is None:
            raise CannotStack(f"{name} cannot be changed from outside")
        setter(value)

    def set(self, members: Sequence[Values]) -> None:
        """Give the members their values."""
        self._members, self._loaded = members, {}

    def column(self, number: Any) -> Column:
        """Return what gives the (members,) values of a number of the model, in double precision."""
        if isinstance(number, _Placeholder):
            self.unread.discard(number.name)
            return lambda: np.array([values[number.name] for values in self._members], "float64")
        constant = _plain(number)
        return lambda: np.full(len(self._members), constant)

    def schedule(self, schedule: Any) -> Callable[[], ScheduleValues]:
        """Return what gives the values of a schedule of the model for the members."""
        if id(schedule) not in self._schedules:
            for name in self._walk.numbers_of(schedule) & self.unread:
                self._put(name, self._values[name])
            values = self._schedules[id(schedule)] = ScheduleValues(schedule, self._walk, self._varying)
            self.unread -= values.numbers
        key = id(schedule)

        def loaded() -> ScheduleValues:
            if key not in self._loaded:  # layers that share a schedule share its values
                self._loaded[key] = self._schedules[key].of(self._members)
            return self._loaded[key]

        return loaded

    def decide(self, number: Any, test: Callable[[float], bool]) -> bool:
        """Return a decision that depends on a number, which every member must then share."""
        if not isinstance(number, _Placeholder):
            return test(_plain(number))
        self._decided.append((number.name, test))
        return test(self._values[number.name])

    def differing_decision(self, values: Values) -> str | None:
        """Return which number of other values would be decided differently; None if none is."""
        for name, test in self._decided:
            if test(values[name]) != test(self._values[name]):
                return f"{name} is {values[name]}"
        return next(filter(None, (schedule.mismatch(values) for schedule in self._schedules.values())), None)


def _plain(number: Any) -> float:
    number = number.numpy() if isinstance(number, tf.Tensor) else number
    if np.ndim(number) or isinstance(number, keras.Variable | tf.Variable):
        raise CannotStack(f"a number of its own is a {type(number).__name__}")
    return float(number)


class Workspace:
    """Uninitialised single-precision arrays by name and shape."""

    def __init__(self) -> None:
        self._arrays: dict[tuple[str, tuple[int, ...]], np.ndarray] = {}

    def __call__(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """Return the array of this name and shape, with whatever it held last."""
        array = self._arrays.get((name, shape))
        if array is None:
            array = self._arrays[name, shape] = np.empty(shape, "float32")
        return array
