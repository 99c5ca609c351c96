"""One fold of the nested comparison: trials on its inner splits, refits of its choice, all kept in the journal."""

import functools
import hashlib
import json
import logging
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from keras_tuner.engine.trial import Trial

from tfopt._files import as_json, replace
from tfopt.errors import one_line
from tfopt.search.ensemble import in_spread
from tfopt.search.fitting import Task, batch_size_of
from tfopt.search.journal import Record
from tfopt.search.loop import Fit, Study, Trainer
from tfopt.search.oracles import fold_oracle
from tfopt.search.plan import Fold
from tfopt.search.spaces import first_of
from tfopt.search.tuners.files import KeptStates
from tfopt.search.tuners.oracle import BatchTrial, Member
from tfopt.training.fits import FitResult, State

if TYPE_CHECKING:
    from tfopt.search.nested import NetworkSearch

_log = logging.getLogger("tfopt")


CHOSEN = "chosen"  # the refits of what a fold chose


class GivenTrials(Study):
    """Configurations known beforehand, fitted on splits of one fold unless the journal holds them."""

    kind = "trial"  # of the journal's lines

    def __init__(self, search: "NetworkSearch", fold: Fold, given: dict[str, dict[str, Any]]):
        folder = search.folder / "tuner" / f"fold-{fold.key}"  # an oracle's, and of the states that rungs go on from
        super().__init__(None, KeptStates(folder), "tfopt")
        self._search, self.fold, self._given = search, fold, set(given)
        self._fitting, self._journal = search.fitting, search.journal
        self._first = [
            BatchTrial(self._fitting.hyperparameters(values), name, status="RUNNING") for name, values in given.items()
        ]
        self._not_built: dict[str, str] = {}
        self._inner: dict[str, dict[int, np.ndarray]] = {}  # what trials predict for the inner test rows

    def ask(self, limit: int) -> list[Trial]:
        """Return the given configurations, whatever the limit."""
        first, self._first = self._first, []
        return first

    def may_continue(self, trial: Trial) -> bool:
        """Return that no rung is above a given configuration."""
        return False

    def tasks(self, trial: Trial) -> list[Task]:
        """Return where, from which seed and for how long a trial is fitted: on each inner split."""
        epochs = int(trial.hyperparameters.values.get("tuner/epochs", self._search.problem.epochs))
        seed = self._search.config.seed
        return [Task(split, seed_of(seed, "inner", index), epochs) for index, split in enumerate(self.fold.inner)]

    def fits(self, trial: Trial) -> list[Fit]:
        """Return a fit for each task; none if the journal holds the trial, or if its model cannot be built."""
        if self._find(trial) is not None:
            return []
        try:
            return [
                self._fitting.fit(_values(trial), task, Member(task.seed, index), of_trial=self.kind == "trial")
                for index, task in enumerate(self.tasks(trial))
            ]
        except Exception as error:
            _log.info("%s %s of fold %s: not built", self.kind, trial.trial_id, self.fold.key, exc_info=True)
            self._not_built[trial.trial_id] = f"{type(error).__name__}: {error}"
            return []

    def note(self, trial: Trial, fit: Fit, result: FitResult) -> State | None:
        """Score a fit by what it predicts for its test rows."""
        member = fit.member
        task = self.tasks(trial)[member.fold or 0]
        prediction = self._fitting.prediction(_values(trial), task, result)
        if prediction is not None:
            self._predicted(trial, member, task, prediction, result)
            member.score = self._search.score(prediction, task.split.test)
            if not math.isfinite(member.score):
                member.failure = "The score is not a number: the network predicts infinite values."
        return None

    def ended(self, trial: Trial, members: list[Member], best: State | None) -> None:
        """Write the trial's line, and report it."""
        record, steps = self._find(trial), None
        if record is None:
            record = self._journal.append(self._record(trial, members))
            batches = -(-len(self.tasks(trial)[0].split.train) // batch_size_of(record["values"]))
            steps = batches * sum(len(member.history.get("loss", ())) for member in members)
        self._tell(trial, record)
        self._search.told(self.fold, record, steps)

    def _predicted(self, trial: Trial, member: Member, task: Task, prediction: np.ndarray, result: FitResult) -> None:
        """Keep what an outer fold's trial predicts, for the ensemble over trials."""
        if self._search.config.ensemble and len(self.fold.test):
            held = self._inner.setdefault(trial.trial_id, {})
            held[member.fold or 0] = in_spread(prediction, self._search.table, self.fold.train)

    def _keep_predictions(self, trial: Trial) -> dict[str, str]:
        """Write what a trial predicted for all inner test rows, one split after another; return its part of a line."""
        held = self._inner.pop(trial.trial_id, {})
        if len(held) < len(self.fold.inner):
            return {}
        predictions = np.concatenate([held[place] for place in range(len(held))]).astype(np.float32)
        path = Path("predictions") / f"trial-{trial.trial_id}-fold-{self.fold.key}.npy"
        replace(self._search.folder / path, functools.partial(np.save, arr=predictions))  # before its line is written
        return {"predictions": path.as_posix()}

    def _tell(self, trial: Trial, record: Record) -> None:
        """Tell an oracle, where there is one."""

    def _find(self, trial: Trial) -> Record | None:
        return self._journal.find("trial", fold=self.fold.key, trial_id=trial.trial_id, values=_values(trial))

    def _failure(self, trial: Trial, members: list[Member]) -> str | None:
        failures = (member.failure for member in members if member.failure is not None)
        return self._not_built.pop(trial.trial_id, None) or next(failures, None)

    def _record(self, trial: Trial, members: list[Member]) -> Record:
        message = self._failure(trial, members)
        scores = [member.score for member in members if member.score is not None]
        return {
            "kind": "trial",
            "fold": self.fold.key,
            "trial_id": trial.trial_id,
            "values": _values(trial),
            "status": "COMPLETED" if message is None else "FAILED",
            "score": float(np.mean(scores)) if message is None else None,
            "inner_scores": scores,
            "epochs": [member.first_epoch + len(member.history.get("loss", ())) for member in members],
            "seconds": sum(member.seconds for member in members),
            "message": message,
            "curve": losses(members[0].history) if members else {},
            "fits": [fit_facts(member) for member in members],
            **(self._keep_predictions(trial) if message is None else {}),
        }


class FoldStudy(GivenTrials):
    """One fold's search: given configurations, and an oracle's, which is told of them."""

    def __init__(self, search: "NetworkSearch", fold: Fold, given: dict[str, dict[str, Any]], max_trials: int | None):
        super().__init__(search, fold, given)
        config, self._max_trials = search.config, max_trials
        # Those of a space are not of the head that it puts on a backbone.
        chooses = config.tuner in {"random", "bayesian"} and config.backbone is None
        first = first_of(config.space) if chooses else []
        self.oracle = fold_oracle(
            config.tuner,
            search.hyperparameters,
            max_trials or None,
            search.problem.epochs,
            config.seed,
            self.states.folder,
            [*search.known, *first],
        )

    def ask(self, limit: int) -> list[Trial]:
        """Return the given configurations, whatever the limit, and then the oracle's."""
        return super().ask(limit) + Study.ask(self, limit)

    def propose(self, name: str) -> Trial:
        """Return the oracle's next trial, unless there were enough."""
        if self._max_trials is not None and len(self.oracle.trials) >= self._max_trials:
            return BatchTrial(self.oracle.get_space(), status="STOPPED")
        return super().propose(name)

    def may_continue(self, trial: Trial) -> bool:
        """Return whether there is a rung above the trial's."""
        return trial.trial_id not in self._given and self.oracle.may_continue(trial)

    def batch_ended(self) -> None:
        """Write the oracle's file, and delete the states that no rung goes on from."""
        self.oracle.save()
        self.states.prune((), self.oracle.continued())

    def _tell(self, trial: Trial, record: Record) -> None:
        if trial.trial_id in self._given:
            return
        own: Any = self.oracle.get_trial(trial.trial_id)
        # The lengths are what the rung above goes on from; the curves are in the journal.
        own.members = [
            Member(task.seed, index, first_epoch=length, score=score)
            for index, (task, length, score) in enumerate(
                zip(self.tasks(trial), record["epochs"], record["inner_scores"], strict=False)
            )
        ]
        own.status, own.message = record["status"], record["message"]
        if record["score"] is not None:
            self.oracle.update_trial(trial.trial_id, {"score": record["score"]})
        self.oracle.end_trial(own)


class Refits(GivenTrials):
    """Fits of a fold's configurations on all its training rows, each from several seeds, scored on its test rows."""

    kind = "refit"

    def __init__(
        self, search: "NetworkSearch", fold: Fold, given: dict[str, dict[str, Any]], num_seeds: dict[str, int]
    ):
        super().__init__(search, fold, given)
        self._num_seeds = num_seeds
        self._predictions: dict[str, np.ndarray] = {
            name: np.full((count, len(fold.test), search.num_outputs), np.nan) for name, count in num_seeds.items()
        }
        self._predict_seconds: dict[str, float] = {}
        self._importance: Record | None = None

    def begin_all(self, trainer: Trainer) -> None:
        """Submit them all, without waiting for any."""
        for trial in self.ask(len(self._given)):
            self.begin(trial, trainer)

    def tasks(self, trial: Trial) -> list[Task]:
        """Return a task for each seed."""
        epochs = self._search.epochs_to_refit(self.fold, _values(trial))
        seed, split = self._search.config.seed, self._search.whole[self.fold.key]
        return [Task(split, seed_of(seed, "refit", n), epochs) for n in range(self._num_seeds[trial.trial_id])]

    def _find(self, trial: Trial) -> Record | None:
        return self._search.refitted(self.fold, _values(trial), self._num_seeds[trial.trial_id])

    def _predicted(self, trial: Trial, member: Member, task: Task, prediction: np.ndarray, result: FitResult) -> None:
        name = trial.trial_id
        self._predictions[name][member.fold or 0] = prediction
        if name == CHOSEN and not member.fold:
            model = self._fitting.trained(_values(trial), task, result)
            features = self._search.coder.features(
                task.split.train, task.split.test, self._fitting.scaling(_values(trial))
            )[1]
            started = time.perf_counter()
            model.predict(features, verbose=0) if self._search.problem.parts else model(features, training=False)
            self._predict_seconds[name] = time.perf_counter() - started
            self._importance = self._search.importance(self.fold, _values(trial), task, model)

    def _record(self, trial: Trial, members: list[Member]) -> Record:
        if failure := self._failure(trial, members):
            self._search.say(f"A refit of the network in fold {self.fold.key} failed: {one_line(failure)}")
        values, predictions = _values(trial), self._predictions.pop(trial.trial_id)
        digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:8]
        path = Path("predictions") / f"network-fold-{self.fold.key}-{digest}.npy"
        replace(self._search.folder / path, functools.partial(np.save, arr=predictions))  # before its line is written
        return {
            "kind": "refit",
            "fold": self.fold.key,
            "values": values,
            "scores": [self._search.score(prediction, self.fold.test) for prediction in predictions],
            "fit_seconds": float(np.mean([member.seconds for member in members])) if members else math.nan,
            "predict_seconds": self._predict_seconds.get(trial.trial_id, math.nan),
            "predictions": path.as_posix(),
            "importance": self._importance if trial.trial_id == CHOSEN else None,
            "fits": [fit_facts(member) for member in members],
        }


def fit_facts(member: Member) -> dict[str, Any]:
    """Return what the journal keeps of how a fit was computed."""
    facts = {"engine": member.engine, "reason": member.reason, "seconds": round(member.seconds, 4)}
    if member.first_epoch:
        facts["first_epoch"] = member.first_epoch
    return facts if member.failure is None else {**facts, "failure": member.failure}


def losses(history: dict[str, list[float]]) -> dict[str, list[float]]:
    """Return the losses of a fit, the validation loss without penalties where the search measured it so."""
    curve = {"loss": history.get("loss", [])}
    unpenalized = history.get("val_unpenalized_loss")
    return curve | ({"val_loss": unpenalized} if unpenalized else {})


def seed_of(seed: int, purpose: str, index: int) -> int:
    """Return the seed of one fit: different for every purpose and index, the same in every process."""
    words = [seed, index, *purpose.encode()]
    return int(np.random.SeedSequence(words).generate_state(1)[0] >> 1)


def _values(trial: Trial) -> dict[str, Any]:
    """Return the values that train a model: of Hyperband's own, the epochs alone."""
    values = as_json(trial.hyperparameters.values, non_finite=float)
    return {name: value for name, value in values.items() if not name.startswith("tuner/") or name == "tuner/epochs"}
