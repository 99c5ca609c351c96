"""Numbers of a layer that may follow a schedule, without a callback."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from tfopt._arguments import as_tensor, plain, value_argument
from tfopt.schedules.schedule import Schedule


def is_schedule(value: Any) -> bool:
    """True for the learning-rate schedules of Keras and tfopt."""
    return isinstance(value, keras.optimizers.schedules.LearningRateSchedule)


def scheduled_argument(value: Any, owner: str, name: str, maximum: float | None = None) -> Any:
    """Check a hyperparameter >= 0: a number, a stack, a tensor, a variable, a schedule, or the config of a schedule."""
    if isinstance(value, Mapping):
        value = keras.saving.deserialize_keras_object(dict(value))
    if not is_schedule(value):
        return value_argument(value, owner, name, maximum=maximum)
    if isinstance(value, Schedule):
        curve = value.curve(np.linspace(0, value.length or 10_000, 101).round())
        if curve.min() < 0 or (maximum is not None and curve.max() > maximum):
            bounds = ">= 0" if maximum is None else f"between 0 and {maximum:g}"
            raise ValueError(
                f"Argument `{name}` of {owner} must be {bounds} at every step. Received: {name}={value!r}, which goes "
                f"from {curve.min():g} to {curve.max():g}."
            )
    return value


def scheduled_config(value: Any, owner: str, name: str) -> Any:
    """Return what `scheduled_argument` makes the same hyperparameter of."""
    return keras.saving.serialize_keras_object(value) if is_schedule(value) else plain(value, owner, name)


class ScheduledLayer(keras.layers.Layer):
    """A layer that counts the batches that it is trained on, where a number of its follows a schedule.

    The count is a weight: it is saved with the model, and goes on where a training is resumed. A batch is an optimizer
    step, unless gradients are accumulated (`tfopt.schedules.AccumulatedSteps` slows a schedule down for that) or the
    layer is called more than once in a step.
    """

    steps: Any = None

    def count_steps(self) -> None:
        """Make the count, if it is not there."""
        if self.steps is None:
            self.steps = self.add_weight(
                name="steps",
                shape=(),
                initializer="zeros",
                dtype="int32",
                trainable=False,
                aggregation="only_first_replica",
            )

    def current(self, value: Any) -> Any:
        """Return a number, or what a schedule says of this batch, as a float32 tensor."""
        return ops.cast(value(self.steps), "float32") if is_schedule(value) else as_tensor(value, "float32")

    def advance(self) -> None:
        """Count a batch."""
        if self.steps is not None:
            self.steps.assign_add(1)
