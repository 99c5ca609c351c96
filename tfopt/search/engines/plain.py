"""The plain engine: every fit is a fresh build and `model.fit`. What all others are measured against."""

import math
import time
from collections.abc import Callable, Sequence

import keras
import numpy as np

from tfopt.errors import one_line
from tfopt.search.engines.request import (
    Engine,
    FitRequest,
    FitResult,
    Monitor,
    built,
    checked,
    complete,
    set_state,
    state_of,
)  # fmt: skip


class PlainEngine(Engine):
    """Builds a model for each fit and trains it with Keras.

    Args:
        fit: Called as `fit(model, x, y, sample_weight=…, batch_size=…, epochs=…, …)`; `keras.Model.fit` unless a
            `HyperModel` brings its own.
    """

    name = "plain"

    def __init__(self, *args, fit: Callable[..., keras.callbacks.History] = keras.Model.fit, **kwargs):
        super().__init__(*args, **kwargs)
        self._fit = fit

    def fit(
        self,
        requests: Sequence[FitRequest],
        callbacks: Sequence[Sequence[keras.callbacks.Callback]] | None = None,
        done: Callable[[int, FitResult], None] | None = None,
    ) -> list[FitResult]:
        """Train every request, one after another."""
        results = []
        for index, request in enumerate(requests):
            results.append(self._one(request, callbacks[index] if callbacks else ()))
            if done is not None:
                done(index, results[-1])
        return results

    def _one(self, request: FitRequest, callbacks: Sequence[keras.callbacks.Callback]) -> FitResult:
        started = time.perf_counter()
        result = FitResult(engine=self.name)
        try:
            model = self._ready(request)
            watch = Watch(request, result)
            table = self.validation if request.validation is None else self.train
            validation = None if table is None else table.take(request.validation)
            x, y, *weight = self.train.take(request.rows)
            self._fit(
                model, x, y, sample_weight=weight[0] if weight else None, batch_size=request.batch_size,
                epochs=request.epochs, initial_epoch=request.initial_epoch, shuffle=self.shuffle,
                validation_data=validation, validation_batch_size=request.batch_size, verbose=0,
                callbacks=[watch, *callbacks],
            )  # fmt: skip
            result.state = state_of(model)
        except Exception as error:
            result.failure = f"{type(error).__name__}: {one_line(error)}"
        result.seconds = time.perf_counter() - started
        return result

    def _ready(self, request: FitRequest) -> keras.Model:
        if request.state is not None:
            model = built(self.build, request, self.train)
            set_state(model, request.state)
            return model
        # A fresh fit is left to Keras whole: it makes the optimizer's variables at its first batch.
        keras.utils.set_random_seed(request.seed)
        model = checked(self.build(request.hyperparameters))
        complete(model, self.train)
        return model


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
