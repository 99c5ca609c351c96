"""What the layers whose strength can change while training have in common."""

from typing import Any

import keras
import numpy as np
from keras import ops

from tfopt._arguments import Number, integer_seed, value_argument
from tfopt.layers._scheduled import ScheduledLayer, is_schedule, scheduled_argument, scheduled_config


class ChangingLayer(ScheduledLayer):
    """A layer that acts in training only, and whose one strength is a variable that graphs read at each step.

    Keras's own dropout layers bake their rate into the graph at the first batch: changing it later does nothing. Here
    ``layer.rate = 0.3``, `tfopt.callbacks.HyperparameterScheduler` or an assignment to the variable takes effect at
    the next step. The variable is a non-trainable weight: it is saved with the model, whose config keeps the number
    that it began with. A variable or tensor of the caller's is used as it is, without becoming a weight; a stack of
    values acts on inputs stacked along leading axes of the same shape. A schedule is followed without a callback: the
    variable takes its value at every batch of training, which the layer counts.
    """

    def __init__(self, strength: Number, limit: float | None, seed: int | None, strength_name: str, **kwargs: Any):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.seed = integer_seed(seed, type(self).__name__)
        self.seed_generator = keras.random.SeedGenerator(self.seed)
        self.strength_name = strength_name
        self.schedule = None
        strength = keras.saving.deserialize_keras_object(strength) if isinstance(strength, dict) else strength
        if is_schedule(strength):
            self.schedule = scheduled_argument(strength, type(self).__name__, strength_name, limit)
            self.count_steps()
            strength = np.asarray(ops.convert_to_numpy(self.schedule(0)), "float64")
        if isinstance(strength, keras.Variable) or ops.is_tensor(strength):
            self.initial_strength, self.strength = None, strength
            return
        strength = value_argument(strength, type(self).__name__, strength_name, maximum=limit)
        self.initial_strength = np.asarray(strength).tolist()
        self.strength = self.add_weight(
            name=strength_name,
            shape=np.shape(strength),
            initializer=lambda shape, dtype: ops.convert_to_tensor(self.initial_strength, dtype),
            dtype="float32",
            autocast=False,
            trainable=False,
            aggregation="only_first_replica",
        )

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Return the inputs, disturbed in training."""
        if not training:
            return inputs
        if self.schedule is not None:
            self.strength.assign(self.current(self.schedule))
            self.advance()
        strength = ops.cast(self.strength, "float32")
        rank = len(strength.shape)
        if rank:
            strength = ops.reshape(strength, tuple(strength.shape) + (1,) * (len(inputs.shape) - rank))
        return ops.cast(self.disturb(inputs, strength), inputs.dtype)

    def disturb(self, inputs: Any, strength: Any) -> Any:
        """Return `inputs` as the layer changes them in training, at float32 `strength` that broadcasts to them."""
        raise NotImplementedError

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the inputs."""
        return input_shape

    def _change(self, value: Any) -> None:
        if self.schedule is not None:
            raise AttributeError(
                f"The {self.strength_name} of layer {self.name!r} follows a schedule; it cannot be set."
            )
        if not hasattr(self.strength, "assign"):
            raise AttributeError(
                f"Layer {self.name!r} was given a tensor as its {self.strength_name}; it cannot change."
            )
        self.strength.assign(value)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments; the strength is the one that the layer was made with."""
        strength = self.initial_strength
        if self.schedule is not None:
            strength = scheduled_config(self.schedule, type(self).__name__, self.strength_name)
        elif strength is None:
            strength = ops.convert_to_numpy(ops.convert_to_tensor(self.strength)).tolist()
        return {**super().get_config(), self.strength_name: strength, "seed": self.seed}
