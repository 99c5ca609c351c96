"""What a tuner's trials are: fits of the user's arrays, scored by what they log, the best of them kept."""

import time
from functools import partial
from typing import TYPE_CHECKING, Any

import keras
import keras_tuner
import numpy as np
from keras_tuner.engine.trial import Trial

from tfopt.errors import nearest, one_line
from tfopt.search.loop import Fit, Study, engines_in_words
from tfopt.search.tuners import space
from tfopt.search.tuners.fits import Fits
from tfopt.search.tuners.oracle import BatchOracle, Member, has_ended, number_of
from tfopt.training.fits import FitRequest, FitResult, Monitor, State, state_of

if TYPE_CHECKING:
    from tfopt.search.tuners.tuner import Tuner


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


class TunerStudy(Study):
    """The trials of a tuner."""

    def __init__(self, tuner: "Tuner", fits: Fits | None, seeds: Any, progress: TrialLines, slow: str = ""):
        super().__init__(tuner.oracle, tuner.states, tuner.tuner_id)
        self._tuner, self._fits, self._seeds, self.progress = tuner, fits, seeds, progress
        self._slow = slow
        self.trained: list[tuple[str, str]] = []  # engine and reason of each fit
        self._is_multi = hasattr(self.oracle.objective, "objectives")
        self._best_states: dict[int, BestState] = {}  # by the `id` of a member
        self.fatal: Trial | None = None  # the one that ended the search

    def propose(self, name: str) -> Trial:
        """Return a trial, begun as KerasTuner begins it."""
        self._tuner.pre_create_trial()
        trial = super().propose(name)
        if trial.status == "RUNNING":
            self._tuner.on_trial_begin(trial)
        return trial

    def fits(self, trial: Trial) -> list[Fit]:
        """Return a fit for each fold and seed."""
        fits = self._fits
        assert fits is not None
        values = trial.hyperparameters.values
        batch_size = fits.batch_size or values.get("batch_size") or 32
        monitor = None
        if self.oracle.score_epoch == "best" and not self._is_multi:
            monitor = Monitor(self.oracle.objective.name, self.oracle.objective.direction)
        planned: list[Fit] = []
        for fold in range(len(fits.folds)) if fits.folds else [None]:
            train, held_out = fits.folds[fold] if fits.folds is not None and fold is not None else (None, None)
            for seed in self.seeds_of(trial):
                request = FitRequest(
                    trial.hyperparameters,
                    seed,
                    values.get("tuner/epochs", fits.epochs),
                    batch_size,
                    rows=train,
                    validation=held_out,
                    monitor=monitor,
                )
                member = Member(seed=seed, fold=fold)
                if self._is_multi:
                    self._best_states[id(member)] = BestState(self.oracle)
                make = partial(self._callbacks, trial, member, len(planned))
                planned.append(Fit(member, request, callbacks=make if fits.callbacks or self._is_multi else ()))
        return planned

    def _callbacks(self, trial: Trial, member: Member, execution: int) -> list[keras.callbacks.Callback]:
        """Return copies of the user's callbacks for one fit."""
        assert self._fits is not None
        callbacks = self._tuner.copies(self._fits.callbacks)
        if self._is_multi:
            callbacks.append(self._best_states[id(member)])
        self._tuner.place_logs(callbacks, trial, execution)
        return callbacks

    def seeds_of(self, trial: Trial) -> list[int]:
        """Return a seed for each fit of a trial: its own, drawn from the search's seed, unless they were listed.

        A trial that goes on from another one keeps that one's seeds.
        """
        if self._seeds is not None and not isinstance(self._seeds, int | np.integer):
            return [int(seed) for seed in self._seeds]
        count = self._tuner.executions_per_trial if self._seeds is None else int(self._seeds)
        first = trial
        while "tuner/trial_id" in first.hyperparameters.values:
            first = self.oracle.get_trial(first.hyperparameters.values["tuner/trial_id"])
        return [
            seed_of(self.oracle.seed, number_of(first), index, getattr(trial, "attempts", 0)) for index in range(count)
        ]

    def note(self, trial: Trial, fit: Fit, result: FitResult) -> State | None:
        """Score a member by its history; return the state that its score belongs to."""
        error = self._tuner.error_of(trial)
        if isinstance(error, keras_tuner.errors.FatalError):
            self.fatal = trial
            raise error
        self.take_down(fit.member)
        if self._is_multi:
            return self._best_states.pop(id(fit.member)).state
        return result.state if result.best_state is None else result.best_state

    def take_down(self, member: Member) -> None:
        """Note how a member was trained, and find its best epoch and its score there."""
        member.reason = member.reason or self._slow
        self.trained.append((member.engine, member.reason))
        objective, history = self.oracle.objective, member.history
        if self._is_multi and history and all(name in history for name in objective.name_to_direction):
            epochs = zip(*history.values(), strict=True)
            history[objective.name] = [
                float(objective.get_value(dict(zip(history, epoch, strict=True)))) for epoch in epochs
            ]
        if history and objective.name not in history:
            logged = ", ".join(repr(name) for name in sorted(history))
            raise ValueError(
                f"Argument `objective` must be logged by `model.fit`. Received: {objective.name!r}, logged: {logged}."
                f"{nearest(objective.name, history)} Pass validation data for a name with 'val_'."
            )
        values = history.get(objective.name, [])
        if not all(isinstance(value, float) for value in values):
            raise ValueError(
                f"Argument `objective` must name a log of one number. Received: {objective.name!r}, logged: "
                f"{values[0]!r}. A metric with a number for each class takes average='macro'."
            )
        if member.failure is None:
            member.best_epoch = self.oracle.best_epoch(values)
            if member.best_epoch is None:
                member.failure = f"The objective {objective.name!r} was {values[-1] if values else 'never logged'}."
            else:
                member.score = values[member.best_epoch]

    def ended(self, trial: Trial, members: list[Member], best: State | None) -> None:
        """Tell the oracle how a trial went. Its states are written first: an ended trial is whole."""
        tuner = self._tuner
        failures = [member.failure for member in members if member.failure is not None]
        self.oracle.report(trial.trial_id, members)
        trial.status, trial.message = "COMPLETED", None
        if failures:
            error = tuner.error_of(trial)
            trial.status = "FAILED" if isinstance(error, keras_tuner.errors.FailedTrialError) else "INVALID"
            trial.message = failures[0]
            if len(members) > 1:
                trial.message = f"{len(failures)} of {len(members)} fits failed. {trial.message}"
            if error is not None:
                trial.message += "\n" + tuner.raised[space.key(trial.hyperparameters.values)][1]
        elif best is not None and tuner.keep_models and self._is_among_best(members):
            self.states.write(trial.trial_id, best)
        try:
            tuner.on_trial_end(trial)
        finally:  # the last of too many failures is shown too
            self.progress.ended(trial)

    def batch_ended(self) -> None:
        """Write the oracle's file, and delete the states that nobody will ask for."""
        self._tuner.save()
        self._tuner.prune()

    def _is_among_best(self, members: list[Member]) -> bool:
        sign = -1 if self.oracle.objective.direction == "max" else 1
        best = self.oracle.get_best_trials(self._tuner.keep_models)
        score = float(np.mean([member.score for member in members]))
        return len(best) < self._tuner.keep_models or sign * score <= sign * best[-1].score


def seed_of(*numbers: int) -> int:
    """Return a seed for Keras that depends on all these numbers."""
    return int(np.random.SeedSequence([abs(number) for number in numbers]).generate_state(1)[0] >> 1)
