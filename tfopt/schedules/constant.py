"""A constant, and what a composition may hold."""

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops
from keras.saving import register_keras_serializable

from tfopt._arguments import Number, is_live, number, widest_float
from tfopt.schedules.schedule import Schedule


@register_keras_serializable(package="tfopt")
class Constant(Schedule):
    """Keep one value for ever: the baseline of every schedule, and the inner schedule of a plain warm-up.

    Formula: η(t) = η₀.

    Args:
        learning_rate: Float ≥ 0, a stack, a tensor or a variable.
        name: String. Optional name.

    Raises:
        ValueError: `learning_rate` is negative or not finite.

    Example:
        ```python
        schedule = tfopt.schedules.Constant(0.1)
        print(f"{float(schedule(1000)):.2f}")  # 0.10
        ```
    """

    def __init__(self, learning_rate: Number, name: str | None = None):
        super().__init__(name=name)
        self.learning_rate = number("learning_rate", learning_rate, minimum=0)

    @classmethod
    def for_total(cls, learning_rate: Any, total_steps: int, **arguments: Any) -> "Constant":
        """Return the constant: it has no use for a length."""
        return cls(learning_rate, **arguments)

    @staticmethod
    def formula(step, learning_rate):
        """Spread the value over the shape of `step`."""
        return learning_rate + ops.zeros_like(step)


def inner_schedule(name: str, value: Any) -> Any:
    """Return what a composition may hold: a schedule of tfopt or of Keras; a number becomes a constant one."""
    made = keras.saving.deserialize_keras_object(dict(value)) if isinstance(value, Mapping) else value
    if isinstance(made, keras.optimizers.schedules.LearningRateSchedule):
        return made
    if isinstance(value, (str, type, Mapping)) or (callable(value) and not is_live(value)):
        raise TypeError(
            f"Argument `{name}` must be a schedule or a number. Received: {name}={value!r} of type "
            f"{type(value).__name__}. A plain function cannot be saved: subclass tfopt.schedules.Schedule."
        )
    return Constant(number(name, value, minimum=0))


def inner_value(schedule: Any, step: Any) -> Any:
    """Return the float64 value of a schedule of tfopt or of Keras at a float64 step; Keras's get whole steps."""
    if isinstance(schedule, Schedule):
        return schedule.evaluate(step)
    return ops.cast(schedule(ops.cast(step, "int64" if widest_float() == "float64" else "int32")), widest_float())
