"""The baselines of a search, tuned by the workers that train its networks too."""

import functools
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from tfopt._files import replace
from tfopt.baselines import Family
from tfopt.baselines.final import train_in_worker
from tfopt.baselines.tuning import tune_in_worker
from tfopt.comparison.fold_result import FoldResult
from tfopt.errors import one_line
from tfopt.search.config import SearchConfig
from tfopt.search.journal import Journal, Record
from tfopt.search.plan import Fold, Plan
from tfopt.search.progress import Progress, TimeLimit
from tfopt.search.saved import model_file
from tfopt.training.worker_process import WorkerDiedError, load_training
from tfopt.training.workers import Call, Shared, Workers

BASELINES = "baselines"
FOR_USE = "for use"  # in place of a fold
_FOR_USE_SHARE = 0.4  # of a fold's tuning: what training a family for use takes, as measured
_SHARE = 0.4  # of a time limit: what the baselines may take of it


def workers_of(config: SearchConfig) -> Workers:
    """Return the workers that a search asks for.

    Raises:
        UserError: There is no such cluster.
    """
    return Workers(config.workers, config.backend, config.address, warm_up=load_training)


class BaselineRuns:
    """Each family on each outer fold is a call to the workers.

    They can begin before it is known where results go, and so before TensorFlow is imported.
    """

    def __init__(self, plan: Plan, workers: Workers):
        self._plan, self._workers = plan, workers
        self._table = Shared(plan.table)
        # With a time limit they are first, as only they can be cut short; alone, this process does one after another.
        self._urgent = plan.config.time_limit is not None or workers.number == 1
        self._begun = self._opened = False
        self._calls: dict[tuple[str, int | str], Call] = {}
        self._ended: list[tuple[Family, Fold, FoldResult | None, Exception | None]] = []
        self._until = float("inf")

    def begin(self, kept: Iterable[tuple[str, int | str]] = ()) -> None:
        """Have them all tuned but for these, given by the names of family and fold."""
        plan, kept = self._plan, set(kept)
        self._begun = True
        for family in plan.families:
            for fold in plan.outer:
                if (family.name, fold.key) not in kept:
                    index, inner = int(fold.key), list(fold.inner)
                    arguments = (family, index, plan.splits[index], inner, plan.objective, plan.config.seed)
                    told = functools.partial(self._told, family, fold)
                    self._submit(family, fold.key, tune_in_worker, arguments, told, kind=family.name)

    def _submit(
        self, family: Family, place: int | str, function: Callable, arguments: tuple, told: Callable, kind: str
    ) -> None:
        call = Call(function, arguments, told, self._table, kind=kind, urgent=self._urgent)
        self._calls[family.name, place] = call
        self._workers.submit(call)

    def open(self, journal: Journal, folder: Path, progress: Progress, limit: TimeLimit) -> None:
        """Say where results go, who is told, and when to end; begin what the journal does not hold."""
        self._folder, self._progress, self._limit = folder, progress, limit
        self._until = limit.deadline - (1 - _SHARE) * (limit.seconds or 0.0)
        progress.start(BASELINES, len(self._plan.families) * len(self._plan.outer))
        places = [(family.name, fold.key) for family in self._plan.families for fold in self._plan.outer]
        kept = [place for place in places if journal.find("baseline", model=place[0], fold=place[1]) is not None]
        for name, key in kept:
            progress.keep(BASELINES, f"{name} fold {key}: kept")
        self._journal, self._opened = journal, True
        if not self._begun:
            self.begin(kept)
        ended, self._ended = self._ended, []
        for each in ended:
            self._take_down(*each)
        for family in self._plan.families:
            self._train_for_use(family)

    def _told(self, family: Family, fold: Fold, result: FoldResult | None, error: Exception | None) -> None:
        if self._opened:
            self._take_down(family, fold, result, error)
        else:
            self._ended.append((family, fold, result, error))

    def _take_down(self, family: Family, fold: Fold, result: FoldResult | None, error: Exception | None) -> None:
        if self._has_result(family.name, fold.key, error, f"tuned on fold {fold.key}"):
            assert result is not None
            replace(
                self._folder / prediction_path(family.name, fold.key),
                functools.partial(np.save, arr=result.outputs),
            )
            fields = asdict(result)
            for name in ("kind", "prediction", "outputs", "seed_scores", "seed_predictions"):
                del fields[name]
            self._journal.append({"kind": "baseline", **fields})
            score = f"{self._plan.objective.name} {result.score:.4f}"
            self._progress.advance(BASELINES, f"{family.name} fold {fold.key}: {score}")
            self._train_for_use(family)
        if time.monotonic() > self._until:
            # The first family, the dummy, is tuned however short the time is, as the default network is trained.
            # Whose folds have all ended is trained for use: that is one short call.
            first = self._plan.families[0].name
            late = [place for place in self._calls if place[0] != first and place[1] != FOR_USE]
            self._workers.drop([self._calls.pop(place) for place in late])

    def _has_result(self, family: str, place: int | str, error: Exception | None, what: str) -> bool:
        """Take a call off the list; return whether it ended well, and say so if its workers died."""
        del self._calls[family, place]
        if error is not None and not isinstance(error, WorkerDiedError):
            raise error
        if error is not None:
            self._progress.note(f"{family} was not {what}: {one_line(error)}")
        return error is None

    def _records(self, family: Family) -> list[Record]:
        """Return a family's lines of the journal, one a fold; none before it was tuned on every fold."""
        found = [self._journal.find("baseline", model=family.name, fold=fold.key) for fold in self._plan.outer]
        return [] if None in found else [record for record in found if record is not None]

    def _train_for_use(self, family: Family) -> None:
        """Have a family fitted on all rows, once it was tuned on every fold, unless its model is there already."""
        choices = [record["chosen"] for record in self._records(family)]
        if not choices or (family.name, FOR_USE) in self._calls:
            return
        kept = self._journal.find("final baseline", model=family.name)
        if kept is not None and (self._folder / model_file(family.name)).exists():
            return
        plan = self._plan
        arguments = (family, choices, list(plan.final.inner), plan.objective, plan.config.seed)
        told = functools.partial(self._trained, family)
        self._submit(family, FOR_USE, train_in_worker, arguments, told, kind=f"{family.name} for use")

    def seconds_ahead(self) -> float:
        """Return how long the fits for use will take that no worker has been asked for yet."""
        if not self._opened:
            return 0.0
        seconds: dict[str, list[float]] = {}
        for record in list(self._journal.records):
            if record["kind"] == "baseline":
                seconds.setdefault(record["model"], []).append(record["tune_seconds"] + record["fit_seconds"])
        waiting = {name for name, key in list(self._calls) if key != FOR_USE}
        of_tuning = sum(float(np.mean(found)) for name, found in seconds.items() if name in waiting)
        return _FOR_USE_SHARE * of_tuning / self._workers.number

    def _trained(
        self, family: Family, value: tuple[bytes, dict[str, Any], float] | None, error: Exception | None
    ) -> None:
        if self._has_result(family.name, FOR_USE, error, "trained for use"):
            assert value is not None
            content, parameters, seconds = value
            replace(self._folder / model_file(family.name), lambda beside: beside.write_bytes(content))
            self._journal.append(
                {"kind": "final baseline", "model": family.name, "parameters": parameters, "seconds": seconds}
            )

    def results(self) -> list[FoldResult]:
        """Return every family's result on every outer fold, once all have ended.

        A family that a time limit did not leave the time for in every fold is left out.
        """
        while self._calls:
            self._workers.wait()
        self._progress.finish(BASELINES)
        found = {family.name: self._records(family) for family in self._plan.families}
        missing = [name for name, records in found.items() if not records]
        if missing and self._limit.seconds is not None:
            self._progress.note(f"The time limit of {self._limit.seconds:g} s leaves out {', '.join(missing)}.")
        needs_labels = self._plan.objective.needs == "labels"
        return [_result(record, self._folder, needs_labels) for records in found.values() for record in records]


def prediction_path(model: str, fold: int | str) -> Path:
    """Return where a family's predictions for a fold's test rows are within the run folder."""
    return Path("predictions") / f"{model}-fold-{fold}.npy"


def _result(record: dict[str, Any], folder: Path, needs_labels: bool) -> FoldResult:
    fields: dict[str, Any] = {
        name: float("nan") if value is None and name.endswith("score") else value
        for name, value in record.items()
        if name != "kind"
    }
    outputs = np.load(folder / prediction_path(record["model"], record["fold"]))
    prediction = outputs.argmax(axis=1) if needs_labels and outputs.ndim == 2 else outputs
    return FoldResult(kind="sklearn", prediction=prediction, outputs=outputs, **fields)
