"""Weights with a learning rate and a decay of their own, whatever the optimizer."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tfopt._arguments import Held, number_argument
from tfopt.layers._scheduled import ScheduledLayer, is_schedule, scheduled_argument, scheduled_config


class Weight:
    """A trained weight p whose steps are multiplied by a factor c, and which decays by itself.

    p = c·v - d, with v the variable that the optimizer steps and d what the decay has taken so far. The gradient that
    the optimizer gets is p's own, so it takes the step that it would take for p, and p moves c times as far: this holds
    for every optimizer, Adam's epsilon and clipping included. After a batch, p(1 - decay) + c·(step) is left: decoupled
    weight decay (Loshchilov and Hutter, 2019) at a strength that does not go through the optimizer.

    Args:
        layer: Where the variables belong.
        name: Of the weight.
        shape: Of the weight.
        initializer: Of p.
        factor: c.
        decay: Share of p that a training batch takes, a number or a schedule.
    """

    def __init__(
        self, layer: ScheduledLayer, name: str, shape: Sequence[int], initializer: Any, factor: float, decay: Any
    ):
        self.factor, self._decay, self._layer = factor, Held(decay), Held(layer)
        initializer = keras.initializers.get(initializer)
        self.variable = layer.add_weight(
            name=name,
            shape=tuple(shape),
            initializer=lambda shape, dtype: initializer(shape, dtype=dtype) / factor,
            autocast=False,
        )
        self.taken = None
        if not (isinstance(decay, float) and decay == 0):
            self.taken = layer.add_weight(
                name=f"{name}_decay",
                shape=tuple(shape),
                initializer="zeros",
                autocast=False,
                trainable=False,
                aggregation="only_first_replica",
            )
        if is_schedule(decay):
            layer.count_steps()

    @property
    def decay(self) -> Any:
        """Share of p that a training batch takes, as it was given."""
        return self._decay.value

    @property
    def shape(self) -> tuple[int, ...]:
        """The weight's shape."""
        return tuple(self.variable.shape)

    def value(self) -> Any:
        """Return p."""
        stepped = ops.convert_to_tensor(self.variable)
        if not (isinstance(self.factor, float) and self.factor == 1):
            stepped = stepped + ops.stop_gradient((self.factor - 1.0) * stepped)
        return stepped if self.taken is None else stepped - self.taken

    def read(self, training: bool) -> Any:
        """Return p, and let it decay in training: the next batch finds what is left."""
        value = self.value()
        if training and self.taken is not None:
            rate = self._layer.value.current(self._decay.value)
            self.taken.assign_add(ops.cast(rate, value.dtype) * ops.stop_gradient(value))
        return value

    def numpy(self) -> np.ndarray:
        """Return p as an array."""
        return ops.convert_to_numpy(self.value())

    def assign(self, value: Any) -> None:
        """Set p."""
        taken = 0.0 if self.taken is None else ops.convert_to_tensor(self.taken)
        self.variable.assign((ops.cast(value, self.variable.dtype) + taken) / self.factor)


class FactoredLayer(ScheduledLayer):
    """A layer whose main weight has a learning-rate factor and a decay of its own.

    Args:
        learning_rate_factor: > 0; the optimizer's learning rate is multiplied by it.
        decay: Share of the weight that each training batch takes, >= 0: a number, a variable or a schedule.
    """

    def __init__(self, learning_rate_factor: float = 1.0, decay: Any = 0.0, **kwargs: Any):
        super().__init__(**kwargs)
        owner = type(self).__name__
        self.learning_rate_factor = factor_argument(learning_rate_factor, owner, "learning_rate_factor")
        self._decay = Held(scheduled_argument(decay, owner, "decay", maximum=1.0))

    @property
    def decay(self) -> Any:
        """Share of the weight that each training batch takes, as it was given."""
        return self._decay.value

    def add_factored_weight(
        self, name: str, shape: Sequence[int], initializer: Any, factor: float | None = None, decay: Any = None
    ) -> Weight:
        """Make a weight; factor and decay are the layer's unless they are given."""
        factor = self.learning_rate_factor if factor is None else factor
        return Weight(self, name, shape, initializer, factor, self.decay if decay is None else decay)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments as plain Python values."""
        own = {
            "learning_rate_factor": self.learning_rate_factor,
            "decay": scheduled_config(self.decay, type(self).__name__, "decay"),
        }
        return {**super().get_config(), **own}


def factor_argument(value: Any, owner: str, name: str) -> float:
    """Check a learning-rate factor."""
    return number_argument(value, owner, name, minimum=0, exclusive=True)
