"""The trials of one fold of the nested comparison: fitted on its inner splits, kept in the journal."""

import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from keras_tuner.engine.trial import Trial

from tfopt._files import as_json
from tfopt.search.fitting import Task, batch_size_of
from tfopt.search.journal import Record
from tfopt.search.loop import Fit, Study
from tfopt.search.oracles import fold_oracle
from tfopt.search.plan import Fold
from tfopt.search.tuners.oracle import BatchTrial, Member
from tfopt.search.tuners.states import KeptStates
from tfopt.training.fits import FitResult, State

if TYPE_CHECKING:
    from tfopt.search.nested import NetworkSearch

_log = logging.getLogger("tfopt")


class FoldStudy(Study):
    """One fold's trials; those that the journal holds are told to the oracle and not fitted again.

    Args:
        search: Whose trials they are; told of every one that has ended.
        fold: Where.
        folder: KerasTuner's project folder, where states are kept that a rung above goes on from.
        given: Configurations to be tried beside the oracle's, by trial id.
        max_trials: Most trials of the oracle; None for all that it has.
    """

    def __init__(
        self,
        search: "NetworkSearch",
        fold: Fold,
        folder: Path,
        given: dict[str, dict[str, Any]],
        max_trials: int | None = None,
    ):
        config = search.config
        oracle = fold_oracle(
            config.tuner, search.hyperparameters, max_trials or None, search.problem.epochs, config.seed, folder
        )
        super().__init__(oracle, KeptStates(folder), "tfopt")
        self._search, self.fold, self._max_trials, self._given = search, fold, max_trials, set(given)
        self._fitting, self._journal = search.fitting, search.journal
        self._first = [
            BatchTrial(self._fitting.hyperparameters(values), name, status="RUNNING") for name, values in given.items()
        ]
        self._not_built: dict[str, str] = {}

    def ask(self, limit: int) -> list[Trial]:
        """Return the given configurations, whatever the limit, and then the oracle's."""
        first, self._first = self._first, []
        return first + super().ask(limit)

    def propose(self, name: str) -> Trial:
        """Return the oracle's next trial, unless there were enough."""
        if self._max_trials is not None and len(self.oracle.trials) >= self._max_trials:
            return BatchTrial(self.oracle.get_space(), status="STOPPED")
        return super().propose(name)

    def may_continue(self, trial: Trial) -> bool:
        """Return whether there is a rung above the trial's."""
        return trial.trial_id not in self._given and super().may_continue(trial)

    def fits(self, trial: Trial) -> list[Fit]:
        """Return a fit for each inner split; none if the journal holds the trial, or if its model cannot be built."""
        if self._find(trial) is not None:
            return []
        values = _values(trial)
        try:
            return [
                self._fitting.fit(values, self._task(trial, index), Member(self._seed_of(index), index), patient=True)
                for index in range(len(self.fold.inner))
            ]
        except Exception as error:
            _log.info("trial %s of fold %s could not be built", trial.trial_id, self.fold.key, exc_info=True)
            self._not_built[trial.trial_id] = f"{type(error).__name__}: {error}"
            return []

    def note(self, trial: Trial, fit: Fit, result: FitResult) -> State | None:
        """Score a fit by what it predicts for its inner test rows."""
        member = fit.member
        task = self._task(trial, member.fold or 0)
        prediction = self._fitting.prediction(_values(trial), task, result)
        if prediction is not None:
            member.score = self._search.score(prediction, task.split.test)
            if not math.isfinite(member.score):
                member.failure = "The score is not a number: the network predicts infinite values."
        return None

    def ended(self, trial: Trial, members: list[Member], best: State | None) -> None:
        """Write the trial's line, and tell the oracle."""
        record, steps = self._find(trial), 0
        if record is None:
            record = self._journal.append(self._record(trial, members))
            batches = -(-len(self.fold.inner[0].train) // batch_size_of(record["values"]))
            steps = batches * sum(len(member.history.get("loss", ())) for member in members)
        if trial.trial_id not in self._given:
            self._tell(self.oracle.get_trial(trial.trial_id), record)
        self._search.told(self.fold, record, steps)

    def batch_ended(self) -> None:
        """Write the oracle's file, and delete the states that no rung goes on from."""
        self.oracle.save()
        self.states.prune((), self.oracle.continued())

    def _task(self, trial: Trial, index: int) -> Task:
        epochs = int(trial.hyperparameters.values.get("tuner/epochs", self._search.problem.epochs))
        return Task(self.fold.inner[index], self._seed_of(index), epochs)

    def _seed_of(self, index: int) -> int:
        return seed_of(self._search.config.seed, "inner", index)

    def _find(self, trial: Trial) -> Record | None:
        return self._journal.find("trial", fold=self.fold.key, trial_id=trial.trial_id, values=_values(trial))

    def _record(self, trial: Trial, members: list[Member]) -> Record:
        failures = [member.failure for member in members if member.failure is not None]
        message = self._not_built.pop(trial.trial_id, None) or (failures[0] if failures else None)
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
        }

    def _tell(self, trial: Any, record: Record) -> None:
        # The lengths are what the rung above goes on from; the curves are in the journal.
        trial.members = [
            Member(self._seed_of(index), index, first_epoch=length, score=score)
            for index, (length, score) in enumerate(zip(record["epochs"], record["inner_scores"], strict=False))
        ]
        trial.status, trial.message = record["status"], record["message"]
        if record["score"] is not None:
            self.oracle.update_trial(trial.trial_id, {"score": record["score"]})
        self.oracle.end_trial(trial)


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
