"""What the logs of a fit mean: its history, its best epoch, its end."""

import math

import keras
import numpy as np

from tfopt.search.engines.request import FitRequest, FitResult, Monitor, state_of


class Watch(keras.callbacks.Callback):
    """Keeps the history and the best epoch's state; ends a fit that diverges or has stopped getting better."""

    def __init__(self, request: FitRequest, result: FitResult):
        super().__init__()
        self._follow = Follower(request.monitor, result)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Note the epoch."""
        improved, ended = self._follow.epoch({key: float(value) for key, value in (logs or {}).items()})
        if improved:
            self._follow.result.best_state = state_of(self.model)
        if ended:
            self.model.stop_training = True


class Follower:
    """What the logs of one fit mean: its history, its best epoch, its end."""

    def __init__(self, monitor: Monitor | None, result: FitResult):
        self.monitor, self.result = monitor, result
        self._best = math.nan

    def epoch(self, logs: dict[str, float]) -> tuple[bool, bool]:
        """Note an epoch's logs; return whether it is the best so far, and whether the training ends with it.

        Raises:
            KeyError: The monitor names a log that does not exist.
        """
        history = self.result.history
        for key, value in logs.items():
            history.setdefault(key, []).append(value)
        index = len(history["loss"]) - 1
        if not np.isfinite(logs["loss"]):
            self.result.failure = (
                f"The loss became {logs['loss']} in epoch {index + 1}. Lower the learning rate or clip the gradients."
            )
            return False, True
        if self.monitor is None:
            return False, False
        if self.monitor.name not in logs:
            raise KeyError(f"the objective {self.monitor.name!r} is not logged. Logged: {', '.join(sorted(logs))}.")
        improved = self.monitor.better(logs[self.monitor.name], self._best)
        if improved:
            self._best, self.result.best_epoch = logs[self.monitor.name], index
        waited = index - (self.result.best_epoch or 0)
        return improved, self.monitor.patience is not None and waited >= self.monitor.patience
