"""What a search prints, and what it notes while a fit runs."""

import time
from typing import Any

import keras
from keras_tuner.engine.trial import Trial

from tfopt.errors import one_line
from tfopt.search.loop import engines_in_words
from tfopt.search.tuners.oracle import BatchOracle, has_ended
from tfopt.training.fits import State, state_of


class TrialLines:
    """Prints a line for each trial that ends: its score, the best so far, the time left."""

    def __init__(self, oracle: BatchOracle, verbose: Any):
        self._oracle, self._verbose = oracle, verbose not in (0, "0", False)
        self._started, self._ended = time.monotonic(), 0

    def ended(self, trial: Trial) -> None:
        """Print a trial's line."""
        self._ended += 1
        if not self._verbose or trial.status == "INVALID":
            return
        oracle, count = self._oracle, sum(map(has_ended, self._oracle.trials.values()))
        name = oracle.objective.name
        parts = [f"trial {count}" + (f"/{oracle.max_trials}" if oracle.max_trials else "")]
        own = oracle.get_trial(trial.trial_id)
        parts.append(f"{name} {own.score:.5g}" if own.score is not None else f"failed: {one_line(own.message or '')}")
        if best := oracle.get_best_trials():
            parts.append(f"best {best[0].score:.5g} (trial {best[0].trial_id})")
        elapsed = time.monotonic() - self._started
        if oracle.max_trials:
            parts.append(f"{elapsed / self._ended * (oracle.max_trials - count):.0f} s left")
        print("  ".join(parts), flush=True)

    def finished(self, trained: list[tuple[str, str]]) -> None:
        """Print which engines trained, of the engine and reason of each fit."""
        if self._verbose:
            print(engines_in_words(trained), flush=True)


class BestState(keras.callbacks.Callback):
    """Keeps the state after the best epoch by a sum of objectives, which no single log shows."""

    def __init__(self, oracle: BatchOracle):
        super().__init__()
        self._oracle = oracle
        self._values: list[float] = []
        self.state: State | None = None

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Note the epoch."""
        self._values.append(float(self._oracle.objective.get_value(logs)))
        if self._oracle.best_epoch(self._values) == len(self._values) - 1:
            self.state = state_of(self.model)
