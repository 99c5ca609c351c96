"""The learning rate of every step, as it was used."""

from typing import Any

import keras
import numpy as np
from keras import ops
from keras.saving import register_keras_serializable

from tfopt._layers import innermost_optimizers
from tfopt._logged import LoggedCallback, plot_series
from tfopt.callbacks import _train_step_hooks

_CAPACITY = 256


@register_keras_serializable(package="tfopt")
class LearningRateLogger(LoggedCallback):
    """Write down the learning rate that each step used, and put that of the last one into the logs of each epoch.

    Keras's history has no learning rate where a schedule runs, and ``optimizer.learning_rate`` read after a step is
    that of the next one: after the last batch of a linear decay it says 0, which was never used. Here the rate is
    noted inside the training graph. With a `MultiOptimizer` there is one list for each optimizer.

    Logs:
        learning_rate: The rate that the last step of the epoch used.
        learning_rate_<optimizer>: The same of each of several optimizers.

    Attributes:
        rates: Dict from ``"learning_rate"`` (or ``"learning_rate_<optimizer name>"``) to the list of one rate a batch.

    Example:
        ```python
        model = keras.Sequential([keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(tfopt.schedules.LinearDecay(0.4, 4)), "mse")
        logger = tfopt.callbacks.LearningRateLogger()
        history = model.fit(np.ones((8, 2)), np.ones(8), batch_size=2, verbose=0, callbacks=[logger])
        print([round(rate, 3) for rate in logger.rates["learning_rate"]])  # [0.4, 0.3, 0.2, 0.1]
        print(round(history.history["learning_rate"][0], 3))  # 0.1
        ```
    """

    def __init__(self) -> None:
        super().__init__()
        self.rates: dict[str, list[float]] = {}
        self._ring: keras.Variable | None = None

    def on_train_begin(self, logs: Any = None) -> None:
        """Make room for the rates of some steps and note each before it is used."""
        self._release()  # after a training that crashed
        self._optimizers = innermost_optimizers(self.model.optimizer)
        several = len(self._optimizers) > 1
        self.rates = {f"learning_rate_{one.name}" if several else "learning_rate": [] for one in self._optimizers}
        self._capacity = max(_CAPACITY, 2 * int(self.model.steps_per_execution))
        settings: dict[str, Any] = {"trainable": False, "aggregation": "only_first_replica"}
        with self.model.distribute_strategy.scope():
            self._ring = keras.Variable(np.zeros((self._capacity, len(self.rates))), dtype="float32", **settings)
            self._count = keras.Variable(0, dtype="int64", **settings)
        self._read = self._batches = 0
        _train_step_hooks.install(self.model, self._note, _train_step_hooks.RECORD)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Empty the ring before it is full."""
        self._batches += 1
        if (self._batches + 1) * int(self.model.steps_per_execution) >= self._capacity:
            self._collect()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Publish the rates of the last step."""
        self._collect()
        if logs is not None:
            logs.update({name: rates[-1] for name, rates in self.rates.items() if rates})

    def on_train_end(self, logs: Any = None) -> None:
        """Take the note-taking out of the graph."""
        self._release()

    def plot(self, ax: Any = None) -> Any:
        """Draw the rate of each step; return the axes."""
        if not any(self.rates.values()):
            return super().plot(ax)
        return plot_series({name: dict(enumerate(rates)) for name, rates in self.rates.items()}, ax, unit="step")

    def _note(self) -> None:
        rates = [ops.cast(optimizer.learning_rate, "float32") for optimizer in self._optimizers]
        place = ops.cast(ops.mod(self._count, self._capacity), "int32")
        row = ops.expand_dims(ops.arange(self._capacity) == place, -1)
        ring: Any = self._ring
        ring.assign(ops.where(row, ops.stack(rates), ring))
        self._count.assign(self._count + 1)

    def _collect(self) -> None:
        count = int(ops.convert_to_numpy(ops.convert_to_tensor(self._count)))
        ring = ops.convert_to_numpy(ops.convert_to_tensor(self._ring))
        for step in range(self._read, count):
            for rates, value in zip(self.rates.values(), ring[step % self._capacity], strict=True):
                rates.append(float(value))
        self._read, self._batches = count, 0

    def _release(self) -> None:
        if self._ring is not None:
            _train_step_hooks.remove(self.model, self._note)
            self._ring = None

    def get_config(self) -> dict[str, Any]:
        """Return the arguments: there are none."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "LearningRateLogger":
        """Rebuild the callback."""
        return cls(**config)
