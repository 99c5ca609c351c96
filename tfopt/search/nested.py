"""The network's side of the nested comparison: trials inside each outer fold, then refits of what they chose."""

import logging
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfopt.comparison.fold_result import FoldResult
from tfopt.comparison.folds import Split
from tfopt.comparison.importance import Probe, measure
from tfopt.data.examples import MOST_COLUMNS, ExampleSet
from tfopt.data.table import Table
from tfopt.errors import UserError, one_line
from tfopt.search import loop
from tfopt.search.coding import SplitCoder, for_objective
from tfopt.search.config import TABLE_SPACES
from tfopt.search.ensemble import TrialsEnsemble
from tfopt.search.example_coding import ExampleCoder
from tfopt.search.fitting import Fitting, Task, batch_size_of, learning_rates, scaling_of
from tfopt.search.fold_study import CHOSEN, FoldStudy, GivenTrials, Refits, fit_facts, losses, seed_of
from tfopt.search.journal import DEFAULT, Journal, Record, proposed_before, to_choose_from
from tfopt.search.oracles import check_grid, default_values, discover, known_values
from tfopt.search.parallel import ParallelTrainer
from tfopt.search.plan import Fold, Plan
from tfopt.search.problem import Problem
from tfopt.search.progress import Progress, TimeLimit
from tfopt.search.saved import NETWORK
from tfopt.search.spaces import Space
from tfopt.search.tuners.oracle import Member
from tfopt.training.fits import FitResult
from tfopt.training.workers import Workers

_log = logging.getLogger("tfopt")

Curve = dict[str, list[float]]  # numbers an epoch, by name

REFITS = "refits"
FINAL = "final network"
MOST_FAILURES = 3  # configurations that fail in every fold, before any completes, end the search


class NothingCompletes(Exception):
    """Every configuration so far has failed."""


class NetworkSearch:
    """One oracle a fold, side by side: their fits train together, and so do the refits of what they chose."""

    def __init__(self, plan: Plan, space: Space):
        self.plan, self.config = plan, plan.config
        self.table, self.objective, self.num_outputs = plan.table, plan.objective, plan.table.num_outputs
        self.ensemble = TrialsEnsemble(self)
        self._chosen: dict[int | str, dict[str, Any]] = {}
        table, config = plan.table, plan.config
        of_examples = isinstance(table, ExampleSet) and space.name not in TABLE_SPACES
        self.coder = (ExampleCoder if of_examples else SplitCoder)(table, config.target_scaling)
        if not of_examples and not table.columns:
            raise UserError(
                f"an example of {table.source} has more than {MOST_COLUMNS:,} numbers, too many for --space "
                f"{space.name}. Give a network of your own with --space FILE.py:build."
            )
        self.problem = Problem(
            task=table.task,
            num_outputs=table.num_outputs,
            num_rows=table.num_rows,
            epochs=config.epochs or 0,
            table_rows=table.num_rows,
            same_units=same_units(table),
            classes=table.classes,
            backbone=config.backbone,
            **self.coder.described(),
        )
        self.hyperparameters = discover(space, self.problem, config.trial_timeout or math.inf)
        self.known, self.notes = known_values(self.hyperparameters, config, plan.liked)
        folds = [*plan.outer, plan.final]
        self.whole = {fold.key: Split(fold.train, fold.test) for fold in folds}
        splits = [*self.whole.values(), *(split for fold in folds for split in fold.inner)]
        self.fitting = Fitting(table, self.coder, space, self.problem, self.hyperparameters, splits, config)
        self.final_failure: str | None = None  # why there is no network for use
        if config.tuner == "grid":
            check_grid(self.hyperparameters, config.max_trials)

    def open(
        self,
        journal: Journal,
        folder: Path,
        progress: Progress,
        limit: TimeLimit | None = None,
        workers: Workers | None = None,
    ) -> None:
        """Say where results go, who is told, when to end, and who trains: this process if there are no workers."""
        self.journal, self.folder, self.progress = journal, folder, progress
        self.limit = limit or TimeLimit(None, 0.0)
        engine_of = self.fitting.engine
        self._steps_ahead: Callable[[], float | None] = lambda: None
        self._trainer = loop.Trainer(engine_of) if workers is None else ParallelTrainer(engine_of, workers)

    def say(self, text: str) -> None:
        """Say something once."""
        self.progress.note(text)

    # Trials

    def search(self) -> None:
        """Run every fold's trials to the end, the time limit, or the oracle's last word."""
        config = self.config
        total = None if config.max_trials is None else config.max_trials * len(self.plan.outer)
        self.progress.start(NETWORK, total)
        # The default configuration is the first trial; the oracle proposes the others.
        default = default_values(self.hyperparameters)
        self._told: dict[str, list[Record]] = defaultdict(list)  # of the trials that all folds share, by trial id
        self._num_told = self._num_completed = self._num_failed = 0
        self._searching = True
        given = {DEFAULT: default}
        if config.tuner == "hyperband":  # whose own trials are short for the most part
            given |= {f"known-{place}": values for place, values in enumerate(self.known)}
        others = None if config.max_trials is None else config.max_trials - len(given)
        self._studies = studies = [FoldStudy(self, fold, given, others) for fold in self.plan.outer]
        self._steps_ahead = self._steps_of_search
        try:
            loop.run(studies, self._trainer, self._room)
        except loop.OutOfTime:
            self._say_time_is_up()
        except NothingCompletes as error:
            self._trainer.drop()
            self.say(str(error))
        self._steps_ahead = self._steps_after_trials
        self.progress.finish(NETWORK)

    def told(self, fold: Fold, record: Record, steps: int | None) -> None:
        """Take down a trial or refits that have ended, after `steps` training steps, and report them.

        Without steps an earlier run did them.

        Raises:
            NothingCompletes: So many have failed, and none has completed, that the search is to end.
        """
        if steps:
            self.limit.trained(steps, sum(fit["seconds"] for fit in record["fits"]))
        if record["kind"] == "refit":
            if record["values"] == self._chosen.get(fold.key, record["values"]):
                score = np.mean([_number(score) for score in record["scores"]])
                self.progress.advance(REFITS, f"fold {fold.key}: {self.objective.name} {score:.4f}")
            return
        if fold is self.plan.final:
            self.progress.advance(FINAL)
            return
        self._num_told += 1
        self._num_completed += record["status"] == "COMPLETED"
        name = record["trial_id"]
        first = name == DEFAULT or (name.isdecimal() and int(name) < MOST_FAILURES - 1)
        self._num_failed += first and record["status"] == "FAILED"
        self._report(fold, record, self.progress.advance if steps is not None else self.progress.keep)
        if not self._num_completed and self._num_failed == MOST_FAILURES * len(self.plan.outer):
            raise NothingCompletes(
                f"The first {MOST_FAILURES} configurations failed in every fold, so no further one is tried."
            )

    def _report(self, fold: Fold, record: Record, report: Callable[..., None]) -> None:
        """Report a trial: one that all folds share when it has ended in all of them, another one at once."""
        name = f"trial {record['trial_id']}"
        records = [record]
        if not record["trial_id"].isdecimal() or self.config.tuner in {"random", "grid"}:
            records = self._told[record["trial_id"]]
            records.append(record)
            if len(records) < len(self.plan.outer):
                return
        elif len(self.plan.outer) > 1:
            name = f"fold {fold.key} {name}"
        scores = [each["score"] for each in records if each["score"] is not None]
        if scores:
            text = f"{name}: {self.objective.name} {np.mean(scores):.4f}"
            self.progress.scored(self.objective.name, float(np.mean(scores)))
        else:
            text = f"{name} failed: {one_line(records[0]['message'])}"
        report(NETWORK, text, amount=len(records))

    def _room(self) -> int:
        """Return how many trials each fold may train at once; with a time limit, what half the rest of it may hold."""
        limit = self.limit
        if limit.deadline == math.inf:
            return loop.LARGEST_BATCH
        if not all(self.trials(fold.key) for fold in self.plan.outer):
            return 0  # the default configuration alone is always tried
        after = limit.seconds_for(self._steps_after_trials())
        self._trainer.deadline = limit.deadline - after
        left, a_trial = limit.left() - after, limit.seconds_for(self._steps_of_a_trial() * len(self.plan.outer))
        if left > a_trial:
            return max(1, min(int(left / 2 / a_trial), loop.LARGEST_BATCH)) if a_trial else 1
        self._say_time_is_up()
        return 0

    def _say_time_is_up(self) -> None:
        whole = self.config.max_trials
        if self._searching and (whole is None or self._num_told < whole * len(self.plan.outer)):
            self.say(f"The time limit of {self.limit.seconds:g} s is reached: no further trial starts.")
        self._searching = False

    def _steps_of_a_trial(self) -> float:
        """Return the training steps of the default configuration in a fold."""
        return sum(self._steps(len(split.train)) for split in self.plan.final.inner)

    def _steps_after_trials(self) -> float:
        """Return the training steps that follow the trials: refits, and the final network."""
        refits = self.config.seeds + 1 + self.config.ensemble
        outer = sum(self._steps(len(fold.train)) for fold in self.plan.outer) * refits
        return outer + self._steps_after_refits()

    def _steps_after_refits(self) -> float:
        """Return the training steps that follow the refits: the final network, chosen and trained."""
        choices = self._steps_of_a_trial() * min(len(self.plan.outer), self.config.max_trials or len(self.plan.outer))
        return choices + self._steps(self.table.num_rows) * (1 + self.config.ensemble)

    def _steps_of_search(self) -> float | None:
        """Return the training steps one after another of what is still to be asked for; None if that is not known.

        The trials are divided among the workers; what follows them is little at a time, and waits for one another.
        """
        if self.config.tuner == "hyperband" or self.config.max_trials is None:
            return None
        asked = self._num_told + sum(len(study.running) for study in self._studies)
        trials = max(self.config.max_trials * len(self.plan.outer) - asked, 0)
        return trials * self._steps_of_a_trial() / self.limit.num_workers + self._steps_after_trials()

    def seconds_ahead(self) -> float | None:
        """Return how long the training will take that no worker has been asked for yet; None if that is unknown."""
        steps = self._steps_ahead()
        seconds = None if steps is None else self.limit.seconds_for(steps) * self.limit.num_workers
        return None if steps and not seconds else seconds

    def _steps(self, num_rows: int) -> int:
        batch_size = batch_size_of(default_values(self.hyperparameters))
        return self.problem.epochs * self.problem.with_rows(num_rows).steps_per_epoch(batch_size)

    def best_values(self, fold: Fold) -> tuple[dict[str, Any], float] | None:
        """Return the configuration with the best inner score of this fold and that score; None if none completed."""
        best = max(self.to_choose_from(fold), key=lambda r: r["score"], default=None)
        return None if best is None else (best["values"], best["score"])

    def to_choose_from(self, fold: Fold) -> list[Record]:
        """Return a fold's trials that its choice is among, in the order in which they were proposed."""
        return to_choose_from(self.trials(fold.key))

    def trials(self, key: int | str) -> list[Record]:
        """Return the trial records of one fold in the order in which they were proposed, not in which they ended."""
        trials = [r for r in self.journal.records if r["kind"] == "trial" and r["fold"] == key]
        return sorted(trials, key=proposed_before)

    # Refits

    def refit(self) -> None:
        """Have each fold's choice trained again on all its rows, with several seeds, and its default with one.

        Without a time limit this returns at once: the final network is chosen meanwhile.
        """
        found = {fold.key: self.best_values(fold) for fold in self.plan.outer}
        self._chosen = {key: best[0] for key, best in found.items() if best is not None}
        self.progress.start(REFITS, len(self._chosen))
        self._trainer.deadline = math.inf  # without refits there is no result at all
        in_time = self.limit.left() >= self.limit.seconds_for(self._steps_after_trials()) / 2
        if not in_time:
            self.say("The time limit is near: each chosen network is refitted once, its default not at all.")
        default = default_values(self.hyperparameters)
        self.ensemble.choose(in_time)
        for fold in self.plan.outer:
            if fold.key not in self._chosen:
                continue
            given, seeds = {CHOSEN: self._chosen[fold.key]}, {CHOSEN: self.config.seeds if in_time else 1}
            trial = self.journal.find("trial", fold=fold.key, trial_id=DEFAULT, values=default)
            if in_time and trial is not None and trial["status"] == "COMPLETED" and given[CHOSEN] != default:
                given[DEFAULT], seeds[DEFAULT] = default, 1
            for place, member in enumerate(self.ensemble.members(fold)):
                if member.values not in given.values():
                    given[f"member-{place}"], seeds[f"member-{place}"] = member.values, 1
            Refits(self, fold, given, seeds).begin_all(self._trainer)
        self._steps_ahead = self._steps_after_refits
        if self.limit.deadline < math.inf:
            self._end_refits()  # what follows them is for the time that is left

    def _end_refits(self) -> None:
        loop.run([], self._trainer)
        self.progress.finish(REFITS)

    def scores_of(self, given: dict[str, dict[str, Any]], num_seeds: int) -> np.ndarray:
        """Return (configurations, folds, seeds) scores of training on all rows of each fold; NaN where a fit failed."""
        folds = self.plan.outer
        self.progress.start(REFITS, len(given) * len(folds))
        for fold in folds:
            Refits(self, fold, given, dict.fromkeys(given, num_seeds)).begin_all(self._trainer)
        self._end_refits()
        records = [[self.refitted(fold, values, num_seeds) for fold in folds] for values in given.values()]
        return np.array([[[_number(s) for s in record["scores"]] for record in row if record] for row in records])

    def refitted(self, fold: Fold, values: dict[str, Any], num_seeds: int = 1) -> Record | None:
        """Return the record of a fold's refits of a configuration, if there are as many."""
        found = self.journal.find("refit", fold=fold.key, values=values)
        return found if found is not None and len(found["scores"]) >= num_seeds else None

    def outer_results(self) -> list[FoldResult]:
        """Return what the refits scored on each fold's test rows; folds without a completed trial are left out."""
        self._end_refits()
        results: list[FoldResult] = []
        for fold in self.plan.outer:
            best = self.best_values(fold)
            if best is None:
                continue
            values, inner_score = best
            tuned, default = (self.refitted(fold, each) for each in (values, default_values(self.hyperparameters)))
            assert tuned is not None
            trials = self.trials(fold.key)
            common: dict[str, Any] = {
                "kind": "keras",
                "fold": fold.key,
                "inner_score": inner_score,
                "chosen": values,
                "num_configurations": len(trials),
                "tune_seconds": sum(r["seconds"] for r in trials),
                "predict_seconds": _number(tuned["predict_seconds"]),
            }
            outputs = np.load(self.folder / tuned["predictions"])
            seeds = [for_objective(p, self.table, self.objective) for p in outputs]
            scores = [_number(score) for score in tuned["scores"]]
            results.append(
                FoldResult(
                    model=NETWORK,
                    score=float(np.mean(scores)),
                    default_score=math.nan if default is None else _number(default["scores"][0]),
                    fit_seconds=_number(tuned["fit_seconds"]),
                    prediction=seeds[0],
                    outputs=outputs[0],
                    seed_scores=scores,
                    seed_predictions=seeds,
                    **common,
                )
            )
            if len(outputs) > 1:
                ensemble = for_objective(outputs.mean(axis=0), self.table, self.objective)
                results.append(
                    FoldResult(
                        model=f"{NETWORK} (ensemble of {len(outputs)} seeds)",
                        score=self.score(outputs.mean(axis=0), fold.test),
                        fit_seconds=_number(tuned["fit_seconds"]) * len(outputs),
                        prediction=ensemble,
                        outputs=outputs.mean(axis=0),
                        num_members=len(outputs),
                        **common,
                    )
                )
            if self.ensemble:
                results.append(self.ensemble.outer_result(fold, common))
        return results

    def probe(self, fold: Fold) -> Probe | None:
        """Return what of an outer fold is shuffled to see what the columns matter, the same for every model."""
        if isinstance(self.table, ExampleSet):
            return None
        return Probe.of(self.table, fold.test, int(fold.key), self.config.seed, len(self.plan.outer) == 1)

    def importance(self, fold: Fold, values: dict[str, Any], task: Task, model: keras.Model) -> Record | None:
        """Return what the columns matter to a fold's refitted network; None for a table of very many columns."""
        probe = self.probe(fold)
        if probe is None:
            return None
        encoder = self.coder.encoder(task.split.train, scaling_of(values))
        return measure(probe, self.table, self.objective, encoder, self.fitting.predictor(values, task, model))

    def importances(self) -> list[Record]:
        """Return what the columns matter to the folds' networks; nothing where it was not measured in every fold."""
        found = []
        for fold in self.plan.outer:
            best = self.best_values(fold)
            record = None if best is None else self.refitted(fold, best[0])
            if record is None or not record.get("importance"):
                return []
            found.append(record["importance"])
        return found

    # The network for use

    def choose_final(self) -> dict[str, Any] | None:
        """Return the outer folds' choice that is best on the inner splits of all rows; None if no trial completed."""
        found = [best for best in map(self.best_values, self.plan.outer) if best is not None]
        choices = [values for values, _ in found]
        distinct = [values for index, values in enumerate(choices) if values not in choices[:index]]
        if distinct and self.limit.left() > 0:
            given = {f"choice-{index}": values for index, values in enumerate(distinct)}
            loop.run([GivenTrials(self, self.plan.final, given)], self._trainer)
        self._steps_ahead = lambda: 0.0  # the last fit is with the workers
        best = self.best_values(self.plan.final) or max(found, key=lambda choice: choice[1], default=None)
        return None if best is None else best[0]

    def train_final(self, values: dict[str, Any]) -> tuple[list[keras.Model], Curve, list[Record]] | None:
        """Train a configuration on all rows, from as many seeds as the refits had.

        Returns the models, the curve of the first and how the fits were computed; one model alone where another one's
        training fails or the time is up, None when the first one's does.
        """
        fold, num_seeds = self.plan.final, self.config.seeds if self.limit.left() > 0 else 1
        tasks = [self.task_of_all(fold, values, index) for index in range(num_seeds)]
        try:
            fits = [self.fitting.fit(values, task, Member(task.seed)) for task in tasks]
            results = self.train(fits)
            failures = [result.failure for result in results]
            if failures[0] is not None:
                self.not_trained(failures[0])
                return None
            if failure := next(filter(None, failures), None):
                self.say(f"The ensemble is not kept: one of its networks could not be trained: {one_line(failure)}")
                tasks, fits = tasks[:1], fits[:1]
            curve = losses(fits[0].member.history)
            steps = self.problem.with_rows(len(fold.train)).steps_per_epoch(batch_size_of(values))
            unused = self.fitting.model(values, len(fold.train))
            curve["learning_rate"] = learning_rates(unused, len(curve["loss"]), steps)
            networks = [self.fitting.trained(values, task, results[place]) for place, task in enumerate(tasks)]
            return networks, curve, [fit_facts(fit.member) for fit in fits]
        except Exception as error:
            _log.info("the last training failed", exc_info=True)
            self.not_trained(error)
            return None

    def task_of_all(self, fold: Fold, values: dict[str, Any], seed: int = 0) -> Task:
        """Return the training of a configuration on all rows of a fold, from one of the seeds."""
        epochs = self.epochs_to_refit(fold, values)
        return Task(self.whole[fold.key], seed_of(self.config.seed, "refit", seed), epochs)

    @property
    def time_is_up(self) -> bool:
        """Whether nothing further may be begun."""
        return self.limit.left() <= 0

    def train(self, fits: Sequence[loop.Fit]) -> list[FitResult]:
        """Return the results of fits once all have ended."""
        results: dict[int, FitResult] = {}
        self._trainer.submit(fits, results.__setitem__)
        while self._trainer.busy:
            self._trainer.wait()
        for place, fit in enumerate(fits):
            fit.ended(results[place])
        return [results[place] for place in range(len(fits))]

    def not_trained(self, error: Exception | str) -> None:
        """Say, and remember, why there is no network for use."""
        self.final_failure = one_line(error)
        self.say(f"The network could not be trained on all rows: {one_line(error)}")

    def score(self, prediction: np.ndarray, rows: np.ndarray) -> float:
        """Return the objective of a prediction for these rows; NaN if it is not finite."""
        if not np.isfinite(prediction).all():
            return math.nan
        weights = None if self.table.weights is None else self.table.weights[rows]
        return self.objective.score(
            self.table.target[rows], for_objective(prediction, self.table, self.objective), weights
        )

    def epochs_to_refit(self, fold: Fold, values: dict[str, Any]) -> int:
        """Return how long to train a chosen configuration: as long as its inner fits where patience stopped those."""
        epochs = int(values.get("tuner/epochs", self.problem.epochs))
        if not self.config.patience:
            return epochs
        keys = [fold.key, *(outer.key for outer in self.plan.outer)]  # a member of the ensemble was not tried in all
        lengths = [r["epochs"] for key in keys for r in self.trials(key) if r["values"] == values and r["epochs"]]
        return round(float(np.median(lengths[0]))) if lengths else epochs


def same_units(table: Table) -> bool:
    """Return whether all columns are numbers and at least half of 16 or more share one range, as pixels do."""
    if len(table.columns) < 16 or any(column.kind != "numeric" or column.has_missing for column in table.columns):
        return False
    ranges = list(zip(table.features.min(), table.features.max(), strict=True))
    return Counter(ranges).most_common(1)[0][1] * 2 >= len(ranges)


def _number(value: float | None) -> float:
    """Return a number as it was before JSON, which has no NaN."""
    return math.nan if value is None else value
