"""`Schedule`: all that schedules share, so that a family is a docstring, its arguments and one formula."""

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import keras
import numpy as np
from keras import ops

from tfopt._arguments import choice, is_live, plain, repr_of, text, widest_float
from tfopt.schedules._arguments import read

REACH_END = ("decay_steps", "last_step")
_CHUNK = 2**20
_COMPUTED = ("step", "progress", "end")


class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate (or any hyperparameter) as a function of the optimizer step.

    Keras calls a schedule with the number of batches trained so far, so a run of N batches uses the steps 0 … N-1.
    Calls take an int, an array or a tensor of steps. Steps below 0 give the start, steps beyond the end give exactly
    the end value. The arithmetic is float64 (TensorFlow, PyTorch, NumPy; float32 on JAX), so that steps above 2**24
    are told apart; the result has Keras's float type. Numbers may be floats, tensors, variables or stacks of values: a
    stack of shape S gives learning rates of shape ``step.shape + S``.

    To write one: store the arguments under their own names in `__init__`, and give a static method `formula` whose
    parameters are names of arguments, or `step` (float, clamped), `end` (the step that reaches the end value) or
    `progress` (step ÷ end, in [0, 1]). A schedule that ends names the argument that holds its length in
    `length_argument`.

    Args:
        reach_end: `"decay_steps"`: the end value is that of the first step after the last of `decay_steps` batches,
            as in Keras, optax and most of PyTorch. `"last_step"`: the last batch of such a run gets it.
        name: String. Optional name.

    Example:
        ```python
        @keras.saving.register_keras_serializable(package="mine")
        class Halved(tfopt.schedules.Schedule):
            length_argument = "decay_steps"

            def __init__(self, initial_learning_rate, decay_steps, name=None):
                super().__init__(name=name)
                self.initial_learning_rate, self.decay_steps = initial_learning_rate, decay_steps

            @staticmethod
            def formula(progress, initial_learning_rate):
                return initial_learning_rate * (1 - progress / 2)

        print(Halved(1.0, decay_steps=4).curve(6).tolist())  # [1.0, 0.875, 0.75, 0.625, 0.5, 0.5]
        ```
    """

    length_argument: ClassVar[str] = ""
    _symbols: ClassVar[tuple[str, ...]] = ()

    def __init__(self, reach_end: str = "decay_steps", name: str | None = None):
        self.reach_end = choice("reach_end", reach_end, REACH_END)
        self.name = None if name is None else text("name", name)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        formula = inspect.getattr_static(cls, "formula", None)
        if formula is not None:
            cls._symbols = tuple(inspect.signature(formula.__func__).parameters)

    def __call__(self, step: Any) -> Any:
        """Return the value at `step`, in Keras's float type."""
        return ops.cast(self._at(step), keras.config.floatx())

    def curve(self, steps: Any) -> np.ndarray:
        """Return the values in NumPy float64: at the steps of an array, or at ``0 … steps-1`` for an int."""
        steps = np.arange(steps) if np.ndim(steps) == 0 else np.asarray(steps)
        return np.asarray(ops.convert_to_numpy(self._at(steps)), dtype="float64")

    def mean(self, num_steps: int | None = None) -> Any:
        """Return the mean over the first `num_steps` steps; compare schedules at equal means, not at equal peaks.

        Args:
            num_steps: Int. Defaults to the schedule's own length; a schedule without an end needs it.
        """
        length = self.length if num_steps is None else num_steps
        if length is None:
            raise ValueError(f"{type(self).__name__} has no end: say over how many steps, as in mean(num_steps=1000).")
        total = sum(
            self.curve(np.arange(a, min(a + _CHUNK, length))).sum(axis=0) for a in range(0, int(length), _CHUNK)
        )
        return total / length

    @classmethod
    def for_total(cls, learning_rate: Any, total_steps: int, **arguments: Any) -> Self:
        """Return the schedule that peaks at `learning_rate` and is over after `total_steps` steps.

        Families whose arguments are not a rate and a length say here what they make of the two; an argument given by
        name wins.
        """
        family: Any = cls
        return family(learning_rate, total_steps, **arguments)

    @property
    def length(self) -> int | None:
        """The number of steps after which the value no longer changes; None for a schedule without an end."""
        length = getattr(self, self.length_argument, None)
        return None if length is None else int(plain(length))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments as plain values; a tensor or variable gives its current value."""
        return {name: _to_config(getattr(self, name)) for name in _argument_names(type(self))}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Self:
        """Rebuild the schedule; schedules nested in `config` come back as schedules, not as Keras's plain dicts."""
        return cls(**{name: _from_config(value, custom_objects) for name, value in config.items()})

    def __repr__(self) -> str:
        return repr_of(self, hidden=("name", "reach_end"))

    def _end(self) -> Any:
        """Return the step at which the end value is reached, as a float64 tensor, or None."""
        length = getattr(self, self.length_argument, None)
        return None if length is None else read(length) - (1.0 if self.reach_end == "last_step" else 0.0)

    def _check_reach_end(self) -> None:
        """Refuse a run of one batch that should both start at the start and end at the end."""
        length = getattr(self, self.length_argument)
        if self.reach_end == "last_step" and not is_live(length) and length < 2:
            raise ValueError(
                f"Argument `{self.length_argument}` must be >= 2 when the last step shall reach the end. Received: "
                f"{self.length_argument}={length}, reach_end='last_step'."
            )

    def _at(self, step: Any) -> Any:
        """Return the float64 value at `step`, of shape ``step.shape + stack shape``."""
        if is_live(step):
            step = ops.cast(step, widest_float())
        else:
            array = np.asarray(step)
            if array.dtype.kind not in "iufO" or isinstance(step, bool):
                raise TypeError(f"A step must be a number or an array of numbers. Received: step={step!r}.")
            step = ops.convert_to_tensor(array.astype("float64"), dtype=widest_float())
        rank = self.stack_rank()
        if rank and len(step.shape):
            step = ops.reshape(step, tuple(ops.shape(step)) + (1,) * rank)
        return self.evaluate(step)

    def stack_rank(self) -> int:
        """The number of axes that stacked arguments add to the result."""
        values = (getattr(self, name, None) for name in _argument_names(type(self)))
        return max((_rank(value) for value in values), default=0)

    def evaluate(self, step: Any) -> Any:
        """Return the float64 value at a float64 tensor `step` that broadcasts against the stack."""
        step = ops.maximum(step, 0.0)
        values = {name: _symbol(getattr(self, name)) for name in self._symbols if name not in _COMPUTED}
        end = self._end()
        step = step if end is None else ops.minimum(step, end)
        values |= {"step": step, "end": end, "progress": None if end is None else step / end}
        return self.formula(**{name: values[name] for name in self._symbols})


def _argument_names(cls: type) -> list[str]:
    return list(inspect.signature(cls).parameters)


def _symbol(value: Any) -> Any:
    """What a formula sees: tensors for numbers, everything else as it is."""
    if value is None or isinstance(value, (str, bool, keras.optimizers.schedules.LearningRateSchedule)):
        return value
    return [_symbol(item) for item in value] if isinstance(value, list) else read(value)


def _rank(value: Any) -> int:
    if isinstance(value, list):
        return max((_rank(item) for item in value), default=0)
    if isinstance(value, Schedule):
        return value.stack_rank()
    return len(value.shape) if is_live(value) or isinstance(value, np.ndarray) else 0


def _to_config(value: Any) -> Any:
    if isinstance(value, keras.optimizers.schedules.LearningRateSchedule):
        return keras.saving.serialize_keras_object(value)
    return [_to_config(item) for item in value] if isinstance(value, list) else plain(value)


def _from_config(value: Any, custom_objects: Mapping[str, Any] | None) -> Any:
    if isinstance(value, Mapping):
        return keras.saving.deserialize_keras_object(dict(value), custom_objects=custom_objects)
    if isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        return [_from_config(item, custom_objects) for item in value]
    return value
