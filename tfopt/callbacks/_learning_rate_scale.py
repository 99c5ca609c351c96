"""A factor on whatever learning rate a model has, held in a variable that the graph reads."""

import abc
import math
from typing import Any

import keras
from keras import ops

from tfopt._arguments import choice, number, text
from tfopt._layers import innermost_optimizers
from tfopt._logged import LoggedCallback
from tfopt.schedules import Scale, deserialize

_NAME = "tfopt_learning_rate_scale"
_LARGER_IS_BETTER = ("acc", "accuracy", "auc", "f1_score", "precision", "recall", "r2_score", "iou")


class LearningRateScale(LoggedCallback, abc.ABC):
    """Multiply the learning rate by a factor that a metric decides on; the base of two callbacks.

    A float learning rate is multiplied itself, as Keras's own callback does. A schedule goes on running inside a
    `tfopt.schedules.Scale` whose factor is a variable. That scale stays after the training and is saved with the model,
    so that a resumed run has the reduced rate too.
    """

    def __init__(self, monitor: str, mode: str, min_delta: float):
        super().__init__()
        self.monitor = text("monitor", monitor)
        self.mode = choice("mode", mode, ("auto", "min", "max"))
        self.min_delta = number("min_delta", min_delta, minimum=0, stacked=False)
        self.factors: list[float] = []
        self._rates: list[Any] = []
        self._factor = 1.0

    def on_train_begin(self, logs: Any = None) -> None:
        """Put the factor in place where a schedule runs."""
        self.factors, self._rates = [], []
        self._sign = -1.0 if self._larger_is_better() else 1.0
        self._best = math.inf
        wrapped = False
        for optimizer in innermost_optimizers(self.model.optimizer):
            if isinstance(optimizer.learning_rate, keras.Variable):
                self._rates.append(optimizer.learning_rate)
                continue
            schedule = deserialize(optimizer.get_config()["learning_rate"])
            factor = 1.0
            if isinstance(schedule, Scale) and schedule.name == _NAME:
                schedule, factor = schedule.schedule, float(schedule.factor)
            with self.model.distribute_strategy.scope():
                variable = keras.Variable(
                    factor, dtype="float64", trainable=False, name="factor", aggregation="only_first_replica"
                )
            optimizer.learning_rate = Scale(schedule, variable, name=_NAME)
            self._rates.append(variable)
            self._factor = factor
            wrapped = True
        if not wrapped:
            self._factor = 1.0
        else:
            self.model.make_train_function(force=True)
        self.restart()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Look at the metric; change the factor if it says so."""
        logs = {} if logs is None else logs
        value = logs.get(self.monitor)
        if value is None:
            raise ValueError(
                f"{type(self).__name__} monitors {self.monitor!r}, which is not in the logs. There are: "
                f"{', '.join(sorted(logs))}."
            )
        value = self._sign * float(value)
        improved = value < self._best - self.min_delta
        if improved:
            self._best = value
        self._multiply(self.decide(improved))
        self.factors.append(self._factor)
        logs["learning_rate_factor"] = self._factor

    @abc.abstractmethod
    def restart(self) -> None:
        """Forget what was counted."""

    @abc.abstractmethod
    def decide(self, improved: bool) -> float:
        """Return what to multiply the rate by after an epoch."""

    def bounded(self, change: float, minimum: float, maximum: float) -> float:
        """Return `change` such that the whole factor stays between two bounds."""
        return min(max(self._factor * change, minimum), maximum) / self._factor

    def _multiply(self, change: float) -> None:
        if change != 1.0:
            for rate in self._rates:
                rate.assign(rate * ops.cast(change, rate.dtype))
            self._factor *= change

    def _larger_is_better(self) -> bool:
        if self.mode != "auto":
            return self.mode == "max"
        return any(self.monitor.endswith(ending) for ending in _LARGER_IS_BETTER)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "LearningRateScale":
        """Rebuild the callback."""
        return cls(**config)
