"""The search loop: ask the oracle for a batch of trials, have an engine fit them, tell their whole curves."""

import math
import os
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np
from keras_tuner.engine.trial import Trial

from tfopt.errors import nearest
from tfopt.search.config import ENGINES
from tfopt.search.engines.choice import Kind, engine_for
from tfopt.search.engines.request import Engine, FitRequest, FitResult, Monitor, State, state_of
from tfopt.search.tuners import space
from tfopt.search.tuners.fits import Fits, fits_of
from tfopt.search.tuners.models import KeepsModels
from tfopt.search.tuners.oracle import BatchOracle, Member
from tfopt.search.tuners.progress import BestState, Progress
from tfopt.search.tuners.states import KeptStates

LARGEST_BATCH = 256
_HOOKS = ("on_batch_begin", "on_batch_end", "on_epoch_begin", "on_epoch_end")


class BatchTuner(KeepsModels):
    """Base of the tuners: KerasTuner's interface over an engine that fits many trials at once.

    A search whose `HyperModel.fit`, `run_trial` or hooks are the user's own, or whose data is not arrays, runs trial
    by trial through KerasTuner's `run_trial`.

    Args:
        oracle: Proposes the trials.
        hypermodel: `build(hp)` or a `keras_tuner.HyperModel`.
        engine: `"auto"`, `"population"`, `"shared"` or `"plain"`: how trials are fitted.
        memory: Bytes that the engine is to stay within; None for what is free.
        keep_models: How many of the best trials' trained models are kept.
        executions_per_trial: Fits of a trial, each from its own seed; its score is their mean, every curve is kept.
        **kwargs: `directory`, `project_name`, `overwrite`, `max_model_size`, `optimizer`, `loss`, `metrics`,
            `distribution_strategy`, `tuner_id`, as KerasTuner's.
    """

    oracle: BatchOracle

    def __init__(
        self,
        oracle: BatchOracle,
        hypermodel: Any = None,
        *,
        engine: Kind = "auto",
        memory: int | None = None,
        keep_models: int = 5,
        executions_per_trial: int = 1,
        overwrite: bool = False,
        **kwargs: Any,
    ):
        if engine not in ENGINES:
            known = ", ".join(map(repr, ENGINES))
            hint = nearest(str(engine), ENGINES)
            raise ValueError(f"Argument `engine` must be one of {known}. Received: {engine!r}.{hint}")
        if not isinstance(keep_models, int) or keep_models < 0:
            raise ValueError(f"Argument `keep_models` must be an integer >= 0. Received: {keep_models!r}.")
        if "KERASTUNER_ORACLE_IP" in os.environ:
            raise RuntimeError("This tuner runs in one process. Unset KERASTUNER_ORACLE_IP, or use KerasTuner's own.")
        super().__init__(
            oracle, hypermodel, overwrite=overwrite, executions_per_trial=executions_per_trial, **kwargs
        )  # fmt: skip
        self.constructed = True
        self.engine, self.memory, self.keep_models = engine, memory, keep_models
        self.states = KeptStates(Path(self.project_dir))
        self.raised: dict[space.Key, tuple[Exception, str]] = {}
        self.fitter: Engine | None = None
        if not overwrite:
            self.reload()

    # Search

    def search(self, *fit_args: Any, folds: Any = None, seeds: Any = None, **fit_kwargs: Any) -> None:
        """Run trials until `max_trials` or the space's end.

        Args:
            *fit_args: As `model.fit` takes them: `x`, `y` …
            folds: Number of folds, `(train, validation)` pairs of row indices, or a scikit-learn splitter: each trial
                is cross-validated. Class labels are spread evenly over folds given by number.
            seeds: Fits of a trial and fold: their number, or a list of the seeds themselves; None for
                `executions_per_trial`.
            **fit_kwargs: As `model.fit` takes them: `validation_data`, `epochs`, `batch_size`, `callbacks` …
                `verbose=0` prints nothing, any other value a line for each trial.

        Raises:
            ValueError: Arguments contradict each other, or the objective is not logged.
            RuntimeError: The trials fail one after another.
        """
        verbose = fit_kwargs.get("verbose", 1)
        fits = None if self._fits_itself() else fits_of(fit_args, fit_kwargs, folds, self.oracle.seed)
        if fits is None and (folds is not None or seeds is not None):
            raise ValueError(
                "Arguments `folds` and `seeds` need arrays as data, the arguments of `model.fit`, and a model that "
                "Keras itself fits."
            )
        progress = Progress(self.oracle, verbose)
        self.on_search_begin()
        self.save()
        try:
            if fits is None:
                self._search_one_by_one(fit_args, fit_kwargs, progress)
            else:
                plain = fits.watches_batches() or self._is_multi()
                self.fitter = engine_for(
                    "plain" if plain else self.engine, self.build_for_engine, fits.x, fits.y, fits.sample_weight,
                    fits.validation, memory=self.memory, shuffle=fits.shuffle,
                )  # fmt: skip
                while trials := self._ask(LARGEST_BATCH):
                    self._fit(self.fitter, trials, fits, seeds, progress)
        finally:
            self.save()
            self.one_by_one = False
        self.prune(ended=True)
        if fits is not None:
            self.write_checkpoints()
        self.on_search_end()

    def _ask(self, limit: int) -> list[Trial]:
        """Return the trials that can run now."""
        trials: list[Trial] = []
        while len(trials) < limit:
            self.pre_create_trial()
            trial = self.oracle.create_trial(f"{self.tuner_id}-{len(trials)}")
            if trial.status != "RUNNING":
                break
            self.on_trial_begin(trial)
            trials.append(trial)
        return trials

    def _fit(self, engine: Engine, trials: list[Trial], fits: Fits, seeds: Any, progress: Progress) -> None:
        owners: list[tuple[Trial, int]] = []
        requests: list[FitRequest] = []
        members: dict[str, list[Member]] = {}
        for trial in trials:
            members[trial.trial_id] = []
            for member, request in self._requests(trial, fits, seeds):
                owners.append((trial, len(members[trial.trial_id])))
                members[trial.trial_id].append(member)
                requests.append(request)
        kept = [BestState(self.oracle) for _ in requests] if self._is_multi() else None
        callbacks = [[*self.copies(fits.callbacks), *([kept[i]] if kept else [])] for i in range(len(requests))]
        for i, (trial, position) in enumerate(owners):
            self._configure_tensorboard_dir(callbacks[i], trial, position)
        waiting = {trial_id: len(of_trial) for trial_id, of_trial in members.items()}
        best: dict[str, tuple[float, State]] = {}

        def done(index: int, result: FitResult) -> None:
            trial, position = owners[index]
            member = members[trial.trial_id][position]
            state = self._note(member, result) or (kept[index].state if kept else None)
            if self.raised and isinstance(self.error_of(trial), keras_tuner.errors.FatalError):
                raise self.error_of(trial)  # type: ignore[misc]
            sign = -1 if self.oracle.objective.direction == "max" else 1
            if member.score is not None and state is not None:
                loss = sign * member.score
                if loss < best.get(trial.trial_id, (math.inf, []))[0]:
                    best[trial.trial_id] = (loss, state)
            if member.failure is None and result.state is not None and self.oracle.may_continue(trial):
                self.states.write_last(trial.trial_id, position, result.state)
            result.state = result.best_state = None  # whoever fits thousands would hold them all
            waiting[trial.trial_id] -= 1
            if not waiting[trial.trial_id]:
                self._tell(trial, members[trial.trial_id], best.pop(trial.trial_id, (0.0, None))[1])
                progress.ended(trial)

        engine.fit(requests, callbacks=callbacks, done=done)
        self.save()
        self.prune()

    def _requests(self, trial: Trial, fits: Fits, seeds: Any) -> list[tuple[Member, FitRequest]]:
        values = trial.hyperparameters.values
        epochs, first = values.get("tuner/epochs", fits.epochs), values.get("tuner/initial_epoch", 0)
        past = values.get("tuner/trial_id")
        batch_size = fits.batch_size or values.get("batch_size") or 32
        monitor = None
        if self.oracle.score_epoch == "best" and not self._is_multi():
            monitor = Monitor(self.oracle.objective.name, self.oracle.objective.direction)
        pairs: list[tuple[Member, FitRequest]] = []
        for fold in range(len(fits.folds)) if fits.folds else [None]:
            train, held_out = fits.folds[fold] if fits.folds is not None and fold is not None else (None, None)
            for seed in self._seeds(trial, seeds):
                state = self.states.last(past, len(pairs)) if past is not None else None
                member = Member(seed=seed, fold=fold, first_epoch=first if state is not None else 0)
                request = FitRequest(
                    trial.hyperparameters,
                    seed,
                    epochs,
                    batch_size,
                    rows=train,
                    validation=held_out,
                    monitor=monitor,
                    initial_epoch=member.first_epoch,
                    state=state,
                )
                pairs.append((member, request))
        return pairs

    def _seeds(self, trial: Trial, seeds: Any) -> list[int]:
        """Return a seed for each fit of a trial: its own, drawn from the search's seed, unless they were listed.

        A trial that goes on from another one keeps that one's seeds.
        """
        if seeds is not None and not isinstance(seeds, int | np.integer):
            return [int(seed) for seed in seeds]
        count = self.executions_per_trial if seeds is None else int(seeds)
        first = trial
        while "tuner/trial_id" in first.hyperparameters.values:
            first = self.oracle.get_trial(first.hyperparameters.values["tuner/trial_id"])
        return [_seed(self.oracle.seed, first.number, index, trial.attempts) for index in range(count)]

    def _note(self, member: Member, result: FitResult) -> State | None:
        """Fill in a member from its result; return the state that its score belongs to."""
        objective = self.oracle.objective
        member.history = {name: [float(v) for v in values] for name, values in result.history.items()}
        member.seconds, member.engine, member.failure = result.seconds, result.engine, result.failure
        if self._is_multi() and member.history and all(n in member.history for n in objective.name_to_direction):
            epochs = zip(*member.history.values(), strict=True)
            member.history[objective.name] = [
                float(objective.get_value(dict(zip(member.history, epoch, strict=True)))) for epoch in epochs
            ]
        if member.history and objective.name not in member.history:
            logged = ", ".join(repr(name) for name in sorted(member.history))
            raise ValueError(
                f"Argument `objective` must be logged by `model.fit`. Received: {objective.name!r}, logged: {logged}."
                f"{nearest(objective.name, member.history)} Pass validation data for a name with 'val_'."
            )
        if member.failure is None:
            values = member.history.get(objective.name, [])
            member.best_epoch = self.oracle.best_epoch(values)
            if member.best_epoch is None:
                member.failure = f"The objective {objective.name!r} was {values[-1] if values else 'never logged'}."
            else:
                member.score = values[member.best_epoch]
        return result.best_state if result.best_state is not None else (None if self._is_multi() else result.state)

    def _tell(self, trial: Trial, members: list[Member], best: State | None) -> None:
        """Tell the oracle how a trial went. Its states are written first: an ended trial is whole."""
        failures = [member.failure for member in members if member.failure is not None]
        self.oracle.report(trial.trial_id, members)
        trial.status, trial.message = "COMPLETED", None
        if failures:
            error = self.error_of(trial)
            trial.status = "FAILED" if isinstance(error, keras_tuner.errors.FailedTrialError) else "INVALID"
            trial.message = failures[0]
            if len(members) > 1:
                trial.message = f"{len(failures)} of {len(members)} fits failed. {trial.message}"
            if error is not None:
                trial.message += "\n" + self.raised[space.key(trial.hyperparameters.values)][1]
        elif best is not None and self.keep_models and self._is_among_best(members):
            self.states.write_best(trial.trial_id, best)
        self.on_trial_end(trial)

    def on_trial_end(self, trial: Trial) -> None:
        """End a trial; its own file is written, the oracle's once a batch."""
        self.oracle.end_trial(trial)

    def _is_among_best(self, members: list[Member]) -> bool:
        sign = -1 if self.oracle.objective.direction == "max" else 1
        best = self.oracle.get_best_trials(self.keep_models)
        score = float(np.mean([member.score for member in members]))
        return len(best) < self.keep_models or sign * score < sign * best[-1].score

    def _search_one_by_one(self, args: Sequence[Any], kwargs: dict[str, Any], progress: Progress) -> None:
        self.one_by_one = True
        while trials := self._ask(1):
            trial = trials[0]
            keras.utils.set_random_seed(_seed(self.oracle.seed, trial.number, 0, trial.attempts))
            started = time.perf_counter()
            own = dict(kwargs)
            if "tuner/epochs" in trial.hyperparameters.values:
                own["epochs"] = trial.hyperparameters.values["tuner/epochs"]
                goes_on = self.past_state(trial.hyperparameters) is not None
                own["initial_epoch"] = trial.hyperparameters.values["tuner/initial_epoch"] if goes_on else 0
            try:
                results = self.run_trial(trial, *args, **own)
                if not trial.metrics.exists(self.oracle.objective.name):
                    seed = _seed(self.oracle.seed, trial.number, 0, trial.attempts)
                    members = [Member(seed, history=history) for history in self._histories(results)]
                    seconds = (time.perf_counter() - started) / len(members)
                    for member in members:
                        self._note(member, FitResult(member.history, seconds=seconds, engine="run_trial"))
                    self.oracle.report(trial.trial_id, members)
                    failures = [member.failure for member in members if member.failure]
                    trial.message = failures[0] if failures else None
                trial.status = "COMPLETED"
            except keras_tuner.errors.FatalError:
                raise
            except keras_tuner.errors.FailedTrialError:
                trial.status, trial.message = "FAILED", traceback.format_exc()
            except Exception:
                trial.status, trial.message = "INVALID", traceback.format_exc()
            self.on_trial_end(trial)
            self.save()
            progress.ended(trial)

    def on_epoch_end(self, trial: Trial, model: keras.Model, epoch: int, logs: dict | None = None) -> None:
        """Keep what a trial that KerasTuner fits may go on from."""
        if self.oracle.may_continue(trial) and epoch + 1 == trial.hyperparameters.values["tuner/epochs"]:
            self.states.write_last(trial.trial_id, 0, state_of(model))

    def _histories(self, results: Any) -> list[dict[str, list[float]]]:
        """Return what `run_trial` or `HyperModel.fit` returned as histories, one for each execution."""
        if isinstance(results, list | tuple) and results:
            return [history for result in results for history in self._histories(result)]
        if isinstance(results, keras.callbacks.History):
            return [results.history]
        if isinstance(results, dict):
            return [{name: [float(value)] for name, value in results.items()}]
        if isinstance(results, int | float | np.number):
            return [{self.oracle.objective.name: [float(results)]}]
        raise keras_tuner.errors.FatalTypeError(
            "`run_trial` or `HyperModel.fit` must return a number, a dict, a History, or a list of these. "
            f"Received: {results!r}."
        )

    def _fits_itself(self) -> bool:
        """Return whether the user, not Keras, fits a trial."""
        own = [type(self).run_trial, *(getattr(type(self), hook) for hook in _HOOKS)]
        if any(not function.__module__.startswith(("keras_tuner.", "tfopt.search.tuners")) for function in own):
            return True
        hypermodel = self.hypermodel
        fit = vars(hypermodel).get("fit", type(hypermodel).fit)
        return fit is not keras_tuner.HyperModel.fit or self.distribution_strategy is not None

    def _is_multi(self) -> bool:
        return hasattr(self.oracle.objective, "objectives")


def _seed(*numbers: int) -> int:
    """Return a seed for Keras that depends on all these numbers."""
    return int(np.random.SeedSequence([abs(number) for number in numbers]).generate_state(1)[0] >> 1)
