"""Oracles of KerasTuner's or of a user's own, completed by what the search loop asks beyond KerasTuner's interface."""

import time
from collections.abc import Sequence
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner.engine.trial import Trial

from tfopt._private.keras_tuner import OracleMethods
from tfopt.search.tuners.oracle import BatchOracle, Member, best_epoch, best_trials

_ASK_AGAIN_SECONDS = 0.05


class CompletedOracle(OracleMethods, keras_tuner.Oracle):
    """Mixed in before the oracle's own class, whose proposals, scores and files stay as they are."""

    score_epoch = "best"
    own: type  # what was completed

    def create_trial(self, tuner_id: str) -> Trial:
        """Return the oracle's trial; one that is idle while nothing runs is asked again, as KerasTuner's tuner does."""
        while True:
            trial = super().create_trial(tuner_id)
            if trial.status != "IDLE" or self.ongoing_trials:
                return trial
            time.sleep(_ASK_AGAIN_SECONDS)

    def end_trial(self, trial: Trial) -> None:
        """Count the attempts, each of which has seeds of its own."""
        trial.attempts = getattr(trial, "attempts", 0) + 1
        super().end_trial(trial)

    def may_continue(self, trial: Trial) -> bool:
        """Return that no trial is trained on after its last epoch."""
        return False

    def continued(self) -> set[str]:
        """Return no trial."""
        return set()

    def best_epoch(self, values: Sequence[float]) -> int | None:
        """Return the index of the best finite value; None if there is none."""
        return best_epoch(values, self.objective.direction)

    def get_best_trials(self, num_trials: int = 1) -> list[Trial]:
        """Return the best completed trials; KerasTuner's own adds failed ones where there are too few."""
        return best_trials(self, num_trials)

    def report(self, trial_id: str, members: list[Member]) -> Trial:
        """Tell the means of the fits' metrics at their best epochs, as KerasTuner's tuner does."""
        trial = self.trials[trial_id]
        trial.members = members
        if any(member.score is None for member in members):
            return trial
        metrics: dict[str, list[float]] = {}
        for member in members:
            for name, values in member.history.items():
                if isinstance(values[member.best_epoch or 0], int | float):
                    metrics.setdefault(name, []).append(values[member.best_epoch or 0])
        step = int(np.mean([member.first_epoch + (member.best_epoch or 0) for member in members]))
        self.update_trial(trial_id, {name: float(np.mean(values)) for name, values in metrics.items()}, step)
        return trial

    def reload(self) -> None:
        """Take over what the project folder holds, if it holds anything."""
        if (self.folder / "oracle.json").exists():
            super().reload()


def completed(oracle: Any) -> Any:
    """Give an oracle that is not one of tfopt's what it lacks; return anything else as it is."""
    if isinstance(oracle, keras_tuner.Oracle) and not isinstance(oracle, BatchOracle | CompletedOracle):
        kind = type(oracle)
        oracle.__class__ = type(kind.__name__, (CompletedOracle, kind), {"own": kind})
        oracle.verbose = 0  # the tuner prints a line for each trial itself
    return oracle


def proposes_at_once(oracle: Any) -> bool:
    """Return whether many trials may be asked for before any has ended, without worse proposals."""
    independent = (keras_tuner.oracles.RandomSearchOracle, keras_tuner.oracles.GridSearchOracle)
    return isinstance(oracle, BatchOracle) or oracle.own in independent
