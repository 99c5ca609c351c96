"""The network's side of the nested comparison: trials inside each outer fold, then refits of what they chose."""

import hashlib
import json
import logging
import math
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tfopt.comparison.fold_result import FoldResult
from tfopt.comparison.folds import Split
from tfopt.data.table import Table
from tfopt.errors import one_line
from tfopt.search.coding import SplitCoder, decode, for_objective, output_kind, plain, target_form
from tfopt.search.engine import Curve, PlainTrainer, Trainer, trainer_for
from tfopt.search.journal import Journal, Record
from tfopt.search.oracles import FoldOracle, check_grid, default_values, discover
from tfopt.search.plan import Fold, Plan
from tfopt.search.problem import Problem
from tfopt.search.progress import Progress
from tfopt.search.spaces import Space

_log = logging.getLogger("tfopt")

NETWORK = "network"
REFITS = "refits"
FINAL = "final network"
DEFAULT = "default"


class NetworkSearch:
    """Runs one oracle a fold, in step, so that folds that propose the same configuration train it in one graph."""

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
        values = plain(values)
        records: dict[Any, Record] = {}
        for fold in folds:
            found = self._journal.find("trial", fold=fold.key, trial_id=trial_ids[fold.key], values=values)
            if found:
                records[fold.key] = found
        todo = [fold for fold in folds if fold.key not in records]
        outcomes: dict[Any, Record] = {
            fold.key: {"inner_scores": [], "epochs": [], "seconds": 0.0, "message": None, "curve": {}} for fold in todo
        }
        for group in _by_steps(todo, self.problem, _batch_size(values)):
            self._try_group(values, group, outcomes)
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

    def _try_group(self, values: dict[str, Any], group: list[tuple[Fold, int]], outcomes: dict[Any, Record]) -> None:
        """Train one configuration on inner splits that take the same number of steps."""
        started = time.perf_counter()
        num_rows = len(group[0][0].inner[group[0][1]].train)  # all are of as many steps, which is what counts
        seeds = {index: seed_of(self._config.seed, "inner", index) for _, index in group}
        try:
            trainer = self._trainer(values, num_rows, tuple(seeds.values()), self._config.patience)
        except Exception as error:
            _log.debug("building failed", exc_info=True)
            for fold, _ in group:
                outcomes[fold.key]["message"] = f"{type(error).__name__}: {error}"
            return
        shared_seconds = (time.perf_counter() - started) / len(group)
        for fold, index in group:
            outcome = outcomes[fold.key]
            if outcome["message"] is not None:
                continue
            started = time.perf_counter()
            try:
                split = fold.inner[index]
                prediction, curve = self._fit(trainer, values, split, seeds[index], validate=True)
                score = self._score(prediction, split.test)
            except Exception as error:
                _log.debug("training failed", exc_info=True)
                outcome["message"] = f"{type(error).__name__}: {error}"
                continue
            outcome["inner_scores"].append(score)
            outcome["epochs"].append(len(curve.loss))
            outcome["curve"] = outcome["curve"] or curve.to_dict()
            outcome["seconds"] += shared_seconds + time.perf_counter() - started

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
        seeds = tuple(seed_of(self._config.seed, "refit", index) for index in range(num_seeds))
        split = Split(fold.train, fold.test)
        started = time.perf_counter()
        predictions = np.full((num_seeds, len(fold.test), self._table.num_outputs), np.nan)
        fit_seconds = predict_seconds = math.nan
        try:
            trainer = self._trainer(values, len(fold.train), seeds)
        except Exception as error:
            self._say_refit_failed(fold, error)
        else:
            for index, seed in enumerate(seeds):
                try:
                    predictions[index], _ = self._fit(
                        trainer, values, split, seed, epochs=self._epochs_to_refit(fold, values)
                    )
                except Exception as error:
                    self._say_refit_failed(fold, error)
            fit_seconds = (time.perf_counter() - started) / num_seeds
            started = time.perf_counter()
            trainer.predict(self.coder.features(split.train, split.test, _scaling(values))[1])
            predict_seconds = time.perf_counter() - started
        scores = [self._score(prediction, fold.test) for prediction in predictions]
        digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:8]
        path = Path("predictions") / f"{NETWORK}-fold-{fold.key}-{digest}.npy"
        (self._folder / path).parent.mkdir(exist_ok=True)
        np.save(self._folder / path, predictions)
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

    def _default_score(self, fold: Fold) -> float:
        """Return what the default configuration scores on the test rows; NaN where its trial failed already."""
        values = default_values(self.hyperparameters)
        trial = self._journal.find("trial", fold=fold.key, trial_id=DEFAULT, values=values)
        if trial is None or trial["status"] == "FAILED":
            return math.nan
        return _number(self._refit(fold, values, 1)["scores"][0])

    def _say_refit_failed(self, fold: Fold, error: Exception) -> None:
        _log.debug("a refit failed", exc_info=True)
        self._progress.note(f"A refit of the network in fold {fold.key} failed: {one_line(error)}")

    def train_final(self, fold: Fold, outer: Sequence[Fold]) -> tuple[Trainer, dict[str, Any], Curve] | None:
        """Train on all rows the outer folds' choice that is best on the inner splits of all rows.

        Returns None when no trial completed, or when the training fails.
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
        seed = seed_of(self._config.seed, "refit", 0)
        try:
            trainer = self._trainer(values, len(fold.train), (seed,))
            _, curve = self._fit(
                trainer, values, Split(fold.train, fold.train[:1]), seed, epochs=self._epochs_to_refit(fold, values)
            )
        except Exception as error:
            _log.debug("the last training failed", exc_info=True)
            self._progress.note(f"The network could not be trained on all rows: {one_line(error)}")
            return None
        return trainer, values, curve

    def _trainer(self, values: dict[str, Any], num_rows: int, seeds: tuple[int, ...], patience: int = 0) -> Trainer:
        hp = self.hyperparameters.copy()
        hp.values = dict(values)
        # Rounded, a model does not depend on the splits that it shares its graph with.
        steps = self.problem.with_rows(num_rows).steps_per_epoch(_batch_size(values))
        problem = self.problem.with_rows(steps * _batch_size(values))
        arguments: dict[str, Any] = {
            "build": lambda: self._space.build(hp, problem),
            "width": problem.num_features,
            "batch_size": _batch_size(values),
            "epochs": problem.epochs,
            "patience": patience,
            "seeds": seeds,
        }
        if self._space.fit is not None:
            return PlainTrainer(fit=partial(self._space.fit, hp), **arguments)
        return trainer_for(**arguments)

    def _fit(
        self,
        trainer: Trainer,
        values: dict[str, Any],
        split: Split,
        seed: int,
        *,
        validate: bool = False,
        epochs: int | None = None,
    ) -> tuple[np.ndarray, Curve]:
        """Train on a split's training rows; return the decoded predictions for its test rows and the curve."""
        coder, table = self.coder, self._table
        output = output_kind(trainer.model, trainer.num_outputs, table)
        form, scaler = target_form(trainer.model, output), coder.scaler(split.train)
        train_x, test_x = coder.features(split.train, split.test, _scaling(values))
        curve = trainer.fit(
            coder.rows(train_x, split.train, form, scaler),
            seed,
            validation=coder.rows(test_x, split.test, form, scaler) if validate else None,
            epochs=values.get("tuner/epochs") if epochs is None else epochs,
        )
        return decode(trainer.predict(test_x), output, scaler), curve

    def _score(self, prediction: np.ndarray, rows: np.ndarray) -> float:
        if not np.isfinite(prediction).all():
            return math.nan
        weights = None if self._table.weights is None else self._table.weights[rows]
        return self._objective.score(
            self._table.target[rows], for_objective(prediction, self._table, self._objective), weights
        )

    def _epochs_to_refit(self, fold: Fold, values: dict[str, Any]) -> int | None:
        """Return how long the inner fits of this configuration ran where patience stopped them; None for all epochs."""
        if not self._config.patience:
            return None
        lengths = [r["epochs"] for r in self.trials(fold.key) if r["values"] == values and r["epochs"]]
        return round(float(np.median(lengths[0]))) if lengths else None


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


def _batch_size(values: dict[str, Any]) -> int:
    return int(values.get("batch_size", 32))


def _scaling(values: dict[str, Any]) -> str:
    return str(values.get("scaling", "standard"))


def _shared(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values that train a model: of Hyperband's own, the epochs alone."""
    return {name: value for name, value in values.items() if not name.startswith("tuner/") or name == "tuner/epochs"}


def _by_steps(folds: Sequence[Fold], problem: Problem, batch_size: int) -> Iterable[list[tuple[Fold, int]]]:
    """Yield the (fold, inner split) pairs whose training takes the same number of steps, which one graph can serve."""
    groups: dict[int, list[tuple[Fold, int]]] = defaultdict(list)
    for fold in folds:
        for index, split in enumerate(fold.inner):
            groups[problem.with_rows(len(split.train)).steps_per_epoch(batch_size)].append((fold, index))
    return groups.values()
