"""What all oracles here share: trials in batches, whole curves, failures that cost nothing, files that survive."""

import contextlib
import functools
import hashlib
import itertools
import logging
import math
import random
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from types import SimpleNamespace
from typing import Any, Literal

import keras_tuner
import numpy as np
from keras_tuner.engine.trial import Trial

from tfopt._arguments import choice_argument, count_argument
from tfopt._files import as_json
from tfopt._private.keras_tuner import OracleMethods
from tfopt.errors import one_line
from tfopt.search.tuners import space
from tfopt.search.tuners.direction import direction_of, objective_of
from tfopt.search.tuners.files import read_json, write_state

_log = logging.getLogger("tfopt")

ScoreEpoch = Literal["best", "last"]

# What only one kind of KerasTuner's oracles writes into its file; random and grid search write the same.
_THEIR_KINDS = {"brackets": "Hyperband", "alpha": "BayesianOptimization"}


@dataclass
class Member:
    """One fit of a trial: a seed on a fold.

    Args:
        seed: What its weights, row order and random layers were drawn from.
        fold: Index of the fold; None without cross-validation.
        history: A list for each log, what it was in each epoch: as a rule a number.
        first_epoch: Epochs trained before those of `history`.
        best_epoch: Index in `history` of the epoch that scores; None if there is none.
        score: The objective there; None for a failure.
        failure: What went wrong.
        seconds: Wall seconds.
        engine: Name of the engine that trained it.
        reason: Why a faster engine did not; empty if none was tried.
    """

    seed: int
    fold: int | None = None
    history: dict[str, list[Any]] = field(default_factory=dict)
    first_epoch: int = 0
    best_epoch: int | None = None
    score: float | None = None
    failure: str | None = None
    seconds: float = 0.0
    engine: str = ""
    reason: str = ""


class BatchTrial(Trial):
    """KerasTuner's trial with the curves of all its fits (`members`) and the number of its `attempts`."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.members: list[Member] = []
        self.attempts = 0

    def get_state(self) -> dict:
        """Return what KerasTuner reads, and beside it what it ignores."""
        members = [asdict(member) for member in self.members]
        return {**super().get_state(), "attempts": self.attempts, "members": members}

    def set_state(self, state: dict) -> None:
        """Take a state that this class or KerasTuner's wrote."""
        super().set_state(state)
        self.attempts = state.get("attempts", 0)
        self.members = [Member(**member) for member in state.get("members", [])]


def _trial(trial_id: str, state: dict) -> BatchTrial:
    """Return the trial of a file in the folder of this name; a name that leads elsewhere is not written to."""
    trial = BatchTrial.from_state(state)
    scores = [trial.score, *(member.score for member in trial.members)]
    if trial.trial_id != trial_id or not all(score is None or isinstance(score, int | float) for score in scores):
        raise ValueError(f"not the file of trial {trial_id}")
    return trial


def _oracle_state(state: dict) -> dict:
    keras_tuner.HyperParameters.from_config(state.get("hyperparameters", {"space": [], "values": {}}))
    if not isinstance(state.get("end_order", []), list) or not isinstance(state.get("seed", 0), int):
        raise ValueError("not an oracle's file")
    return state


def number_of(trial: Trial) -> int:
    """Return a trial's position in the order of proposals, from 0; one of another name counts as before all."""
    if trial.trial_id.isdecimal():
        return int(trial.trial_id)
    return -1 - int(hashlib.sha256(trial.trial_id.encode()).hexdigest()[:12], 16)


def has_ended(trial: Trial) -> bool:
    """Return whether nothing more is to be done for a trial."""
    return trial.status in {"COMPLETED", "FAILED"}


def was_given(trial: Trial) -> bool:
    """Return whether a trial came with its score from elsewhere, to start the search from."""
    return has_ended(trial) and getattr(trial, "attempts", 0) == 0


def best_epoch(values: Sequence[float], direction: str) -> int | None:
    """Return the index of the best finite value; None if there is none."""
    finite = [index for index, value in enumerate(values) if math.isfinite(value)]
    sign = -1 if direction == "max" else 1
    return min(finite, key=lambda index: sign * values[index], default=None)


def best_trials(oracle: keras_tuner.Oracle, num_trials: int) -> list[Trial]:
    """Return an oracle's best completed trials, the best first."""
    completed = [t for t in oracle.trials.values() if t.status == "COMPLETED" and t.score is not None]
    sign = -1 if oracle.objective.direction == "max" else 1
    return sorted(completed, key=lambda trial: (sign * trial.score, number_of(trial)))[:num_trials]


class BatchOracle(OracleMethods, keras_tuner.Oracle):
    """Base of the oracles: mixed in before KerasTuner's oracle of the same kind.

    A trial depends on the seed, on its number and on the scores of the trials before its batch, on nothing else: a
    search that is killed and resumed proposes what it would have proposed.

    Args:
        objective: A log's name, a `keras_tuner.Objective`, or a list of these; None if `run_trial` returns the number
            to minimise.
        seed: Integer >= 0; None draws one.
        max_consecutive_failed_trials: Failures of the first trials, in the order of their proposals, that end the
            search with KerasTuner's error if no trial has completed; None never ends it.
        score_epoch: `"best"` scores a fit by its best epoch, as KerasTuner does; `"last"` by its last.
        **kwargs: Those of KerasTuner's oracle.
    """

    allow_new_entries: bool
    kind: str  # of search: its tuner's name

    def __init__(
        self,
        objective: Any = None,
        *,
        seed: int | None = None,
        max_consecutive_failed_trials: int | None = 3,
        score_epoch: ScoreEpoch = "best",
        **kwargs: Any,
    ):
        owner = type(self).__name__.removesuffix("Oracle")
        choice_argument(score_epoch, owner, "score_epoch", ("best", "last"))
        for name, value, minimum in (
            ("max_trials", kwargs.get("max_trials"), 1),
            ("max_retries_per_trial", kwargs.get("max_retries_per_trial"), 0),
            ("max_consecutive_failed_trials", max_consecutive_failed_trials, 1),
            ("seed", seed, 0),
        ):
            if value is not None:
                count_argument(value, owner, name, minimum)
        super().__init__(objective=objective_of(objective), seed=seed, **kwargs)
        self.seed = random.randint(1, 10_000) if seed is None else int(seed)
        self._seed_is_given = seed is not None
        self.max_consecutive_failed_trials = max_consecutive_failed_trials
        self.score_epoch = score_epoch
        self.waiting: list[str] = []  # trials to run before new ones are made
        self.first: Sequence[space.Values] = ()  # of the first trials, which are not proposed; the rest are defaults
        # Of the trials that have ended, whose values stay: their configurations, and their hashes by trial.
        self._ended: set[space.Key] = set()
        self._hashes: dict[str, str] = {}
        self._lock = threading.RLock()

    # Proposals

    def create_trial(self, tuner_id: str) -> Trial:
        """Return a trial to run, or one whose status is `"IDLE"` (ask again) or `"STOPPED"` (the search is over)."""
        with self._lock:
            if tuner_id in self.ongoing_trials:
                return self.ongoing_trials[tuner_id]
            self.tuner_ids.add(tuner_id)
            if self.waiting:
                trial = self.trials[self.waiting.pop(0)]
                trial.status = "RUNNING"
                self.ongoing_trials[tuner_id] = trial
                return trial
            trial_id = f"{{:0{len(str(self.max_trials))}d}}".format(self.next_number())
            if self.max_trials and len(self.trials) >= self.max_trials:
                response: dict[str, Any] = {"status": "STOPPED"}
            elif self.number_for(trial_id) < len(self.first):
                response = {"status": "RUNNING", "values": self.first[self.number_for(trial_id)]}
            else:
                response = self.populate_space(trial_id)
            hp = self.get_space()
            hp.values = dict(response.get("values") or {})
            trial = BatchTrial(hp, trial_id=trial_id, status=response["status"])
            if trial.status == "RUNNING":
                space.complete(hp)
                self.ongoing_trials[tuner_id] = self.trials[trial_id] = trial
                self.start_order.append(trial_id)
                self.save_trial(trial)
            elif trial.status == "STOPPED":
                self.tuner_ids.discard(tuner_id)  # KerasTuner's chief waits for those that are left
            return trial

    def next_number(self) -> int:
        """Return the smallest number that no trial has; a trial whose file was torn gives its own back."""
        taken = {number_of(trial) for trial in self.trials.values()}
        return next(number for number in range(len(taken) + 1) if number not in taken)

    def number_for(self, trial_id: str) -> int:
        """Return the number of a trial that is to be proposed under this name."""
        return int(trial_id) if trial_id.isdecimal() else self.next_number()

    @staticmethod
    def hash_of(values: dict[str, Any]) -> str:
        """Return KerasTuner's hash of a configuration, by which its own oracles know what was tried."""
        skipped = {"tuner/epochs", "tuner/initial_epoch", "tuner/bracket", "tuner/round"}
        text = "".join(f"{name}={values[name]}" for name in sorted(values) if name not in skipped)
        return hashlib.sha256(text.encode("utf-8")).hexdigest()[:32]

    def tried(self) -> set[space.Key]:
        """Return the configurations of all trials."""
        others = self._note_ended()
        return self._ended | {space.key(trial.hyperparameters.values) for trial in others}

    def _note_ended(self) -> list[Trial]:
        """Note the trials that have ended since; return those that have not."""
        others = []
        for trial_id, trial in self.trials.items():
            if trial_id in self._hashes:
                continue
            if has_ended(trial):
                self._ended.add(space.key(trial.hyperparameters.values))
                self._hashes[trial_id] = self.hash_of(trial.hyperparameters.values)
            else:
                others.append(trial)
        return others

    def random_values(self, number: int, tried: set[space.Key] | None = None) -> space.Values | None:
        """Return trial `number`'s random configuration, none of `tried`; None if a finite space holds no other."""
        tried = self.tried() if tried is None else tried
        generator = np.random.default_rng([self.seed, number])
        parameters = self.hyperparameters.space
        for _ in range(20):
            values = space.draw(parameters, generator.random)
            if space.key(values) not in tried:
                return values
        # Draws that keep colliding say that little is left: choose among what is.
        left = space.untried(parameters, tried) if space.finite(parameters) else []
        return left[generator.integers(len(left))] if left else None

    def may_continue(self, trial: Trial) -> bool:
        """Return whether a running trial may be trained on after its last epoch."""
        return False

    def continued(self) -> set[str]:
        """Return the trials that may yet be trained on, or are being: whose last state must be kept."""
        return set()

    # Results

    def update_trial(self, trial_id: str, metrics: dict[str, float], step: int = 0) -> Trial:
        """Note the metrics of one epoch."""
        with self._lock:
            trial = self.trials[trial_id]
            self._note(trial, {name: {step: [float(value)]} for name, value in metrics.items()})
            self.save_trial(trial)
            return trial

    def report(self, trial_id: str, members: list[Member]) -> Trial:
        """Note the whole curves of a trial's fits; a later attempt replaces an earlier one."""
        with self._lock:
            trial = self.trials[trial_id]
            trial.members = members
            trial.metrics = type(trial.metrics)()
            curves: dict[str, dict[int, list[float]]] = {}
            for member in members:
                for name, values in member.history.items():
                    if all(isinstance(value, int | float) for value in values):
                        for epoch, value in enumerate(values, member.first_epoch):
                            curves.setdefault(name, {}).setdefault(epoch, []).append(value)
            self._note(trial, curves)
            return trial

    def _note(self, trial: Trial, curves: dict[str, dict[int, list[float]]]) -> None:
        objectives = {one.name: one.direction for one in getattr(self.objective, "objectives", [self.objective])}
        for name, epochs in curves.items():
            if not trial.metrics.exists(name):
                trial.metrics.register(name, direction=objectives.get(name) or direction_of(name) or "min")
            trial.metrics.set_history(
                name, [SimpleNamespace(value=values, step=step) for step, values in epochs.items()]
            )

    def score_trial(self, trial: Trial) -> None:
        """Score a trial: the mean of its fits' scores, or else the best (or last) mean of what it was updated with."""
        members = getattr(trial, "members", [])
        if members:
            scores = [math.nan if member.score is None else member.score for member in members]
            epochs = [member.first_epoch + (member.best_epoch or 0) for member in members]
            trial.score, trial.best_step = float(np.mean(scores)), int(np.mean(epochs))
            return
        history = trial.metrics.get_history(self.objective.name)
        numbers = [float(np.mean(one.value)) for one in history]
        best = self.best_epoch(numbers)
        trial.score = math.nan if best is None else numbers[best]
        trial.best_step = 0 if best is None else history[best].step

    def best_epoch(self, values: list[float]) -> int | None:
        """Return the index of the epoch that scores; None if its value is not finite, or none is."""
        if self.score_epoch == "last":
            return len(values) - 1 if values and math.isfinite(values[-1]) else None
        return best_epoch(values, self.objective.direction)

    def end_trial(self, trial: Trial) -> None:
        """Note how a trial ended: `status` `"COMPLETED"`, `"INVALID"` (try again if retries are left) or `"FAILED"`."""
        with self._lock:
            own = self.trials[trial.trial_id]
            own.hyperparameters, own.status, own.message = trial.hyperparameters, trial.status, trial.message
            space.complete(own.hyperparameters)
            self.update_space(own.hyperparameters)
            if own.status == "COMPLETED":
                self.score_trial(own)
                own.score = as_json(own.score, non_finite=float)
                if own.score is None or not math.isfinite(own.score):
                    own.message = own.message or f"The objective {self.objective.name!r} was {own.score}."
                    own.status, own.score = "INVALID", None
            own.attempts += 1
            if own.status == "INVALID":
                if own.attempts <= self.max_retries_per_trial:
                    self.waiting.append(own.trial_id)
                else:
                    own.status = "FAILED"
            if has_ended(own):
                self.end_order.append(own.trial_id)
            trial.status = own.status
            self.save_trial(own)
            for tuner_id in [key for key, value in self.ongoing_trials.items() if value is own]:
                del self.ongoing_trials[tuner_id]
            if own.status == "FAILED":
                self._check_failures()

    def _check_failures(self) -> None:
        """Raise `RuntimeError` if so many of the first trials failed that the rest would only waste time.

        Of trials that run together those proposed first count, whichever ended first. Once one has completed the
        search goes on: a region in which the loss diverges is a finding.
        """
        limit = self.max_consecutive_failed_trials
        if limit is None:
            return
        ended = list(itertools.takewhile(has_ended, (self.trials[trial_id] for trial_id in self.start_order)))
        if len(ended) < limit or any(trial.status == "COMPLETED" for trial in self.trials.values()):
            return
        raise RuntimeError(
            f"Number of consecutive failures exceeded the limit of {limit}: no trial has completed. The last failed "
            f"with: {one_line(ended[-1].message or '')} Mend the model, or pass a larger "
            "`max_consecutive_failed_trials`."
        )

    def get_best_trials(self, num_trials: int = 1) -> list[Trial]:
        """Return the best completed trials, the best first: never one that failed or is unfinished."""
        return best_trials(self, num_trials)

    # Files

    def save_trial(self, trial: Trial) -> None:
        """Write a trial's own file."""
        write_state(self.folder / f"trial_{trial.trial_id}" / "trial.json", trial.get_state())

    def save(self) -> None:
        """Write the oracle's file. Everything needed to go on is in the trials' own files as well."""
        write_state(self.folder / "oracle.json", self.get_state())

    def get_state(self) -> dict:
        """Return what KerasTuner's oracle of the same kind reads."""
        others = self._note_ended()
        hashes = self._hashes | {trial.trial_id: self.hash_of(trial.hyperparameters.values) for trial in others}
        return {
            **super().get_state(),
            "kind": self.kind,
            "seed": self.seed,
            "run_times": {trial_id: getattr(trial, "attempts", 0) for trial_id, trial in self.trials.items()},
            "retry_queue": self.waiting,
            "tried_so_far": sorted(set(hashes.values())),
            "id_to_hash": hashes,
        }

    def reload(self) -> None:
        """Take over what the project folder holds, whoever wrote it; unfinished trials will be run first.

        Torn files are set aside. The trials' files are believed over the oracle's.

        Raises:
            RuntimeError: The folder is that of a search of another kind.
        """
        state = read_json(self.folder / "oracle.json", _oracle_state) or {}
        kinds = {state["kind"]} if "kind" in state else {kind for key, kind in _THEIR_KINDS.items() if key in state}
        kinds = kinds or {"RandomSearch", "GridSearch"}
        if state and self.kind not in kinds:
            raise RuntimeError(
                f"The project folder must hold a {self.kind} search. Received: {self.folder}, a {min(kinds)} search's. "
                "Change the `project_name`, or pass `overwrite=True` to the tuner to delete what is there."
            )
        for path in sorted(self.folder.glob("trial_*/trial.json")):
            trial = read_json(path, functools.partial(_trial, path.parent.name.removeprefix("trial_")))
            if trial is not None:
                self.trials[trial.trial_id] = trial
        if "hyperparameters" in state:
            self.update_known(keras_tuner.HyperParameters.from_config(state["hyperparameters"]))
        if not self._seed_is_given:
            self.seed = state.get("seed", self.seed)
        ordered = sorted(self.trials.values(), key=number_of)
        for trial in ordered:
            self.update_known(trial.hyperparameters)
        self.start_order = [trial.trial_id for trial in ordered]
        known = [one for one in state.get("end_order", []) if one in self.trials and has_ended(self.trials[one])]
        self.end_order = known + [one.trial_id for one in ordered if has_ended(one) and one.trial_id not in known]
        self.waiting = [trial.trial_id for trial in ordered if not has_ended(trial)]
        self.ongoing_trials.clear()

    def update_known(self, hp: keras_tuner.HyperParameters) -> None:
        """Add hyperparameters that were found before this process; they are no new entries."""
        with contextlib.ExitStack() as stack:
            stack.callback(setattr, self, "allow_new_entries", self.allow_new_entries)
            self.allow_new_entries = True
            self.update_space(hp)
