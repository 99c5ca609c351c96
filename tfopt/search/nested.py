"""The network's side of the nested comparison: trials inside each outer fold, then refits of what they chose."""

import functools
import hashlib
import json
import logging
import math
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfopt._files import as_json, replace
from tfopt.comparison.fold_result import FoldResult
from tfopt.comparison.folds import Split
from tfopt.data.table import Table
from tfopt.errors import one_line
from tfopt.search.coding import SplitCoder, for_objective
from tfopt.search.fitting import Fitting, Task, batch_size_of, learning_rates, scaling_of
from tfopt.search.journal import Journal, Record
from tfopt.search.oracles import FoldOracle, check_grid, default_values, discover
from tfopt.search.plan import Fold, Plan
from tfopt.search.problem import Problem
from tfopt.search.progress import Progress
from tfopt.search.spaces import Space
from tfopt.training.fits import FitResult

_log = logging.getLogger("tfopt")

Curve = dict[str, list[float]]  # numbers an epoch, by name

NETWORK = "network"
REFITS = "refits"
FINAL = "final network"
DEFAULT = "default"


class NetworkSearch:
    """Runs one oracle a fold, in step, so that folds that propose the same configuration train it together."""

    def __init__(self, plan: Plan, space: Space):
        self._plan, self._space = plan, space
        self._table, self._objective, self._config = plan.table, plan.objective, plan.config
        table, config = plan.table, plan.config
        self.coder = SplitCoder(table, config.target_scaling)
        self.problem = Problem(
            task=table.task,
            num_features=self.coder.num_features,
            num_outputs=table.num_outputs,
            num_rows=table.num_rows,
            epochs=config.epochs or 0,
            table_rows=table.num_rows,
            same_units=same_units(table),
        )
        self.hyperparameters = discover(space, self.problem)
        folds = [*plan.outer, plan.final]
        self._whole = {fold.key: Split(fold.train, fold.test) for fold in folds}
        self._fitting = Fitting(
            table,
            self.coder,
            space,
            self.problem,
            self.hyperparameters,
            [*self._whole.values(), *(split for fold in folds for split in fold.inner)],
            engine=config.engine,
            memory=config.memory,
            patience=config.patience,
        )
        if config.tuner == "grid":
            check_grid(self.hyperparameters, config.max_trials)

    def open(self, journal: Journal, folder: Path, progress: Progress) -> None:
        """Say where results go and who is told."""
        self._journal, self._folder, self._progress = journal, folder, progress

    def search(self, folds: Sequence[Fold]) -> None:
        """Run every fold's trials to the end, the time limit, or the oracle's last word."""
        config = self._config
        started = time.monotonic()
        # The default configuration is the first trial; the oracle proposes the others.
        trials = None if config.max_trials is None else config.max_trials - 1
        names: dict[Any, str] = {fold.key: DEFAULT for fold in folds}
        self._report(names, self._try(default_values(self.hyperparameters), names, folds))
        oracles = {
            fold.key: FoldOracle(
                config.tuner,
                self.hyperparameters,
                trials,
                self.problem.epochs,
                config.seed,
                self._folder / "tuner" / f"fold-{fold.key}",
            )
            for fold in folds
        }
        while True:
            if config.time_limit is not None and time.monotonic() - started > config.time_limit:
                self._progress.note(f"The time limit of {config.time_limit:g} s is reached: no further trial starts.")
                return
            proposed = {}
            for fold in folds:
                trial = oracles[fold.key].propose()
                if trial is not None:
                    proposed[fold.key] = trial
            if not proposed:
                return
            groups: dict[str, list[Fold]] = defaultdict(list)
            for fold in folds:
                if fold.key in proposed:
                    groups[repr(sorted(_shared(proposed[fold.key].hyperparameters.values).items()))].append(fold)
            for group in groups.values():
                values = _shared(proposed[group[0].key].hyperparameters.values)
                names = {fold.key: proposed[fold.key].trial_id for fold in group}
                records = self._try(values, names, group)
                self._report(names, records)
                for fold in group:
                    record = records[fold.key]
                    oracles[fold.key].tell(proposed[fold.key], record["score"], record["message"])

    def _try(self, values: dict[str, Any], trial_ids: dict, folds: Sequence[Fold]) -> dict[Any, Record]:
        """Return one journal record a fold for this configuration, running what the journal does not hold."""
        values = as_json(values, non_finite=float)
        records: dict[Any, Record] = {}
        for fold in folds:
            found = self._journal.find("trial", fold=fold.key, trial_id=trial_ids[fold.key], values=values)
            if found:
                records[fold.key] = found
        todo = [fold for fold in folds if fold.key not in records]
        outcomes: dict[Any, Record] = {
            fold.key: {"inner_scores": [], "epochs": [], "seconds": 0.0, "message": None, "curve": {}} for fold in todo
        }
        if todo:
            self._train_inner(values, todo, outcomes)
        for fold in todo:
            outcome = outcomes[fold.key]
            score = float(np.mean(outcome["inner_scores"])) if outcome["inner_scores"] else math.nan
            if outcome["message"] is None and not math.isfinite(score):
                outcome["message"] = "The score is not a number: the network predicts infinite values."
            failed = outcome["message"] is not None
            records[fold.key] = self._journal.append(
                {
                    "kind": "trial",
                    "fold": fold.key,
                    "trial_id": trial_ids[fold.key],
                    "values": values,
                    "status": "FAILED" if failed else "COMPLETED",
                    "score": None if failed else score,
                    **outcome,
                }
            )
        return records

    def _train_inner(self, values: dict[str, Any], folds: Sequence[Fold], outcomes: dict[Any, Record]) -> None:
        """Train one configuration on every inner split of these folds, and take down what came of it."""
        epochs = int(values.get("tuner/epochs", self.problem.epochs))
        where = [(fold, index) for fold in folds for index in range(len(fold.inner))]
        tasks = [Task(fold.inner[index], seed_of(self._config.seed, "inner", index), epochs) for fold, index in where]
        started = time.perf_counter()
        try:
            trained = self._fitting.fit(values, tasks, patient=True)
        except Exception as error:
            _log.debug("building failed", exc_info=True)
            for fold in folds:
                outcomes[fold.key]["message"] = f"{type(error).__name__}: {error}"
            return
        seconds = (time.perf_counter() - started) / len(tasks)
        for (fold, index), (prediction, result) in zip(where, trained, strict=True):
            outcome = outcomes[fold.key]
            outcome["message"] = outcome["message"] or result.failure
            if prediction is not None:
                outcome["inner_scores"].append(self._score(prediction, fold.inner[index].test))
            outcome["epochs"].append(len(result.history.get("loss", ())))
            outcome["curve"] = outcome["curve"] or _curve(result)
            outcome["seconds"] += seconds

    def _report(self, trial_ids: dict[Any, str], records: dict[Any, Record]) -> None:
        scores = [record["score"] for record in records.values() if record["score"] is not None]
        name = next(iter(trial_ids.values()))
        if scores:
            text = f"trial {name}: {self._objective.name} {np.mean(scores):.4f}"
        else:
            text = f"trial {name} failed: {one_line(next(iter(records.values()))['message'])}"
        self._progress.advance(NETWORK, text, amount=len(records))

    def best_values(self, fold: Fold) -> tuple[dict[str, Any], float] | None:
        """Return the configuration with the best inner score of this fold and that score; None if none completed."""
        completed = [r for r in self.trials(fold.key) if r["status"] == "COMPLETED"]
        if not completed:
            return None
        # Hyperband trains most trials for a few epochs only; only those trained to the end can be chosen.
        longest = max(r["values"].get("tuner/epochs", 0) for r in completed)
        full = [r for r in completed if r["values"].get("tuner/epochs", longest) == longest]
        best = max(full, key=lambda r: r["score"])
        return best["values"], best["score"]

    def trials(self, key: int | str) -> list[Record]:
        """Return the trial records of one fold, in order."""
        return [r for r in self._journal.records if r["kind"] == "trial" and r["fold"] == key]

    def outer_results(self, folds: Sequence[Fold]) -> list[FoldResult]:
        """Refit each fold's choice with several seeds and its default with one; return the scores on the test rows.

        Folds without a completed trial are left out.
        """
        results: list[FoldResult] = []
        for fold in folds:
            best = self.best_values(fold)
            if best is None:
                continue
            values, inner_score = best
            tuned = self._refit(fold, values, self._config.seeds)
            default = self._default_score(fold)
            trials = self.trials(fold.key)
            self._progress.advance(
                REFITS, f"fold {fold.key}: {self._objective.name} {np.mean(list(map(_number, tuned['scores']))):.4f}"
            )
            common: dict[str, Any] = {
                "kind": "keras",
                "fold": fold.key,
                "inner_score": inner_score,
                "chosen": values,
                "num_configurations": len(trials),
                "tune_seconds": sum(r["seconds"] for r in trials),
                "predict_seconds": _number(tuned["predict_seconds"]),
            }
            outputs = np.load(self._folder / tuned["predictions"])
            seeds = [for_objective(p, self._table, self._objective) for p in outputs]
            scores = [_number(score) for score in tuned["scores"]]
            results.append(
                FoldResult(
                    model=NETWORK,
                    score=float(np.mean(scores)),
                    default_score=default,
                    fit_seconds=_number(tuned["fit_seconds"]),
                    prediction=seeds[0],
                    seed_scores=scores,
                    seed_predictions=seeds,
                    **common,
                )
            )
            if len(outputs) > 1:
                ensemble = for_objective(outputs.mean(axis=0), self._table, self._objective)
                results.append(
                    FoldResult(
                        model=f"{NETWORK} (ensemble of {len(outputs)} seeds)",
                        score=self._score(outputs.mean(axis=0), fold.test),
                        fit_seconds=_number(tuned["fit_seconds"]) * len(outputs),
                        prediction=ensemble,
                        num_members=len(outputs),
                        **common,
                    )
                )
        return results

    def _refit(self, fold: Fold, values: dict[str, Any], num_seeds: int) -> Record:
        """Return the record of this configuration trained on the fold's rows with several seeds, scored on its test."""
        found = self._journal.find("refit", fold=fold.key, values=values)
        if found and len(found["scores"]) >= num_seeds:
            return found
        split = self._whole[fold.key]
        epochs = self._epochs_to_refit(fold, values)
        tasks = [Task(split, seed_of(self._config.seed, "refit", index), epochs) for index in range(num_seeds)]
        started = time.perf_counter()
        predictions = np.full((num_seeds, len(fold.test), self._table.num_outputs), np.nan)
        fit_seconds = predict_seconds = math.nan
        try:
            trained = self._fitting.fit(values, tasks)
        except Exception as error:
            self._say_refit_failed(fold, error)
        else:
            fit_seconds = (time.perf_counter() - started) / num_seeds
            for index, (prediction, result) in enumerate(trained):
                if prediction is None:
                    self._say_refit_failed(fold, result.failure or "it predicted nothing")
                else:
                    predictions[index] = prediction
                    predict_seconds = self._seconds_to_predict(values, tasks[index], result)
        scores = [self._score(prediction, fold.test) for prediction in predictions]
        digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:8]
        path = Path("predictions") / f"{NETWORK}-fold-{fold.key}-{digest}.npy"
        replace(self._folder / path, functools.partial(np.save, arr=predictions))
        return self._journal.append(
            {
                "kind": "refit",
                "fold": fold.key,
                "values": values,
                "scores": scores,
                "fit_seconds": fit_seconds,
                "predict_seconds": predict_seconds,
                "predictions": path.as_posix(),
            }
        )

    def _seconds_to_predict(self, values: dict[str, Any], task: Task, result: FitResult) -> float:
        model = self._fitting.trained(values, task, result)
        features = self.coder.features(task.split.train, task.split.test, scaling_of(values))[1]
        started = time.perf_counter()
        model(features, training=False)
        return time.perf_counter() - started

    def _default_score(self, fold: Fold) -> float:
        """Return what the default configuration scores on the test rows; NaN where its trial failed already."""
        values = default_values(self.hyperparameters)
        trial = self._journal.find("trial", fold=fold.key, trial_id=DEFAULT, values=values)
        if trial is None or trial["status"] == "FAILED":
            return math.nan
        return _number(self._refit(fold, values, 1)["scores"][0])

    def _say_refit_failed(self, fold: Fold, error: Exception | str) -> None:
        _log.debug("a refit failed", exc_info=True)
        self._progress.note(f"A refit of the network in fold {fold.key} failed: {one_line(error)}")

    def train_final(
        self, fold: Fold, outer: Sequence[Fold]
    ) -> tuple[keras.Model, dict[str, Any], dict[str, list[float]]] | None:
        """Train on all rows the outer folds' choice that is best on the inner splits of all rows.

        Returns the model, its configuration and its curve; None when no trial completed, or when the training fails.
        """
        choices = [best[0] for best in map(self.best_values, outer) if best is not None]
        distinct = [values for index, values in enumerate(choices) if values not in choices[:index]]
        for index, values in enumerate(distinct):
            self._try(values, {fold.key: f"choice-{index}"}, [fold])
            self._progress.advance(FINAL)
        best = self.best_values(fold)
        if best is None:
            return None
        values, _ = best
        task = Task(self._whole[fold.key], seed_of(self._config.seed, "refit", 0), self._epochs_to_refit(fold, values))
        try:
            [(_, result)] = self._fitting.fit(values, [task])
            if result.failure is not None:
                raise RuntimeError(result.failure)
            curve = _curve(result)
            steps = self.problem.with_rows(len(fold.train)).steps_per_epoch(batch_size_of(values))
            unused = self._fitting.model(values, len(fold.train))
            curve["learning_rate"] = learning_rates(unused, len(curve["loss"]), steps)
            return self._fitting.trained(values, task, result), values, curve
        except Exception as error:
            _log.debug("the last training failed", exc_info=True)
            self._progress.note(f"The network could not be trained on all rows: {one_line(error)}")
            return None

    def _score(self, prediction: np.ndarray, rows: np.ndarray) -> float:
        if not np.isfinite(prediction).all():
            return math.nan
        weights = None if self._table.weights is None else self._table.weights[rows]
        return self._objective.score(
            self._table.target[rows], for_objective(prediction, self._table, self._objective), weights
        )

    def _epochs_to_refit(self, fold: Fold, values: dict[str, Any]) -> int:
        """Return how long to train a chosen configuration: as long as its inner fits where patience stopped those."""
        epochs = int(values.get("tuner/epochs", self.problem.epochs))
        if not self._config.patience:
            return epochs
        lengths = [r["epochs"] for r in self.trials(fold.key) if r["values"] == values and r["epochs"]]
        return round(float(np.median(lengths[0]))) if lengths else epochs


def _curve(result: FitResult) -> Curve:
    """Return the losses of a fit, without penalties where the search measured them so."""
    curve = {"loss": result.history.get("loss", [])}
    unpenalized = result.history.get("val_unpenalized_loss")
    return curve | ({"val_loss": unpenalized} if unpenalized else {})


def same_units(table: Table) -> bool:
    """Return whether all columns are numbers and at least half of 16 or more share one range, as pixels do."""
    if len(table.columns) < 16 or any(column.kind != "numeric" or column.has_missing for column in table.columns):
        return False
    ranges = list(zip(table.features.min(), table.features.max(), strict=True))
    return Counter(ranges).most_common(1)[0][1] * 2 >= len(ranges)


def _number(value: float | None) -> float:
    """Return a number as it was before JSON, which has no NaN."""
    return math.nan if value is None else value


def seed_of(seed: int, purpose: str, index: int) -> int:
    """Return the seed of one fit: different for every purpose and index, the same in every process."""
    words = [seed, index, *purpose.encode()]
    return int(np.random.SeedSequence(words).generate_state(1)[0] >> 1)


def _shared(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values that train a model: of Hyperband's own, the epochs alone."""
    return {name: value for name, value in values.items() if not name.startswith("tuner/") or name == "tuner/epochs"}
