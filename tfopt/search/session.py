"""A whole search: baselines and networks on the same folds, the comparison, and the best network on all rows."""

import functools
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from joblib.externals.loky import get_reusable_executor

from tfopt._files import replace, write_json
from tfopt.baselines import Family, tune, tune_in_worker
from tfopt.comparison import Comparison, compare
from tfopt.comparison.fold_result import FoldResult
from tfopt.search import run_folder
from tfopt.search.config import SearchConfig, default_run_folder
from tfopt.search.fitting import scaling_of
from tfopt.search.journal import Journal, proposed_before
from tfopt.search.loop import engines_in_words
from tfopt.search.nested import FINAL, NetworkSearch
from tfopt.search.plan import Fold, Plan, prepare
from tfopt.search.progress import Progress
from tfopt.search.time_limit import TimeLimit
from tfopt.search.user_space import load_space

_BASELINES_SHARE = 0.4  # of a time limit: what the baselines may take of it


@dataclass
class SearchOutcome:
    """What a search found.

    Args:
        comparison: Leaderboard and verdict; None when neither a network nor a baseline completed.
        run_folder: Where everything was written.
        num_completed: Trials that completed, summed over the folds.
        num_failed: Trials that failed.
        first_failure: What the first failed trial said, or None.
        result: The JSON-safe summary that `result.json` holds.
    """

    comparison: Comparison | None
    run_folder: Path
    num_completed: int
    num_failed: int
    first_failure: str | None
    result: dict[str, Any]


def run(config: SearchConfig, progress: Progress | None = None, plan: Plan | None = None) -> SearchOutcome:
    """Search as `config` asks, continuing `config.resume` where it is given.

    Args:
        config: What to do. `tfopt.devices.configure` is called by whoever owns the process, before this.
        progress: Told how far the search is.
        plan: What `tfopt.search.plan.prepare(config)` gave, if it was called already.

    Raises:
        UserError: What was asked cannot be done.
    """
    progress = progress or Progress()
    plan = plan or prepare(config, progress)
    config = plan.config
    search = NetworkSearch(plan, load_space(config.space))
    folder = _open_folder(plan)
    with run_folder.locked(folder):
        return _search(plan, search, folder, progress)


def _search(plan: Plan, search: NetworkSearch, folder: Path, progress: Progress) -> SearchOutcome:
    journal = Journal(folder / "trials.jsonl")
    limit = TimeLimit(plan.config.time_limit, plan.started)
    search.open(journal, folder, progress, limit)
    results = _baselines(plan, journal, folder, progress, limit)
    search.search(plan.outer)
    search.refit(plan.outer)
    results += search.outer_results(plan.outer)
    progress.start(FINAL, None)
    _export(search, plan, folder, journal)
    progress.finish(FINAL)
    comparison = _compare(plan, results)
    outcome = _outcome(plan, folder, journal, comparison, search.final_failure)
    write_json(folder / "result.json", outcome.result)
    if comparison is not None:
        replace(folder / "leaderboard.csv", lambda beside: comparison.leaderboard.to_csv(beside, index=False))
    return outcome


def _open_folder(plan: Plan) -> Path:
    config = plan.config
    if config.resume is not None:
        folder = run_folder.check_existing(config.resume, "environment.json")
        run_folder.check_same_data(folder, plan.table.sha256)
        run_folder.check_same_space(folder, config.space)
        return folder
    folder = run_folder.check_new(config.out or default_run_folder(config), config.overwrite)
    device = {"device": config.device, "precision": config.precision, "deterministic": config.deterministic}
    run_folder.create(folder, config, run_folder.environment(plan.table, device, config.space))
    return folder


def _baselines(plan: Plan, journal: Journal, folder: Path, progress: Progress, limit: TimeLimit) -> list[FoldResult]:
    """Return every family's result on every outer fold, from the journal where it is there.

    A family that a time limit did not leave the time for in every fold is left out.
    """
    until = limit.deadline - (1 - _BASELINES_SHARE) * (limit.seconds or 0.0)
    progress.start("baselines", len(plan.families) * len(plan.outer))
    todo = []
    for family in plan.families:
        for fold in plan.outer:
            if journal.find("baseline", model=family.name, fold=fold.key) is None:
                todo.append((family, fold))
            else:
                progress.advance("baselines", f"{family.name} fold {fold.key}: kept")
    for result in _tuned(plan, todo, until):
        path = folder / _prediction_path(result.model, result.fold)
        replace(path, functools.partial(np.save, arr=result.prediction))
        fields = asdict(result)
        for name in ("kind", "prediction", "seed_scores", "seed_predictions"):
            del fields[name]
        journal.append({"kind": "baseline", **fields})
        progress.advance("baselines", f"{result.model} fold {result.fold}: {plan.objective.name} {result.score:.4f}")
    progress.finish("baselines")
    found = {
        f.name: [journal.find("baseline", model=f.name, fold=fold.key) for fold in plan.outer] for f in plan.families
    }
    if missing := [name for name, records in found.items() if None in records]:
        progress.note(f"The time limit of {limit.seconds:g} s leaves out the baselines {', '.join(missing)}.")
    whole = [family for family in plan.families if family.name not in missing]
    return [_baseline(family, fold, journal, folder) for family in whole for fold in plan.outer]


def _tuned(plan: Plan, todo: list[tuple[Family, Fold]], until: float) -> Iterator[FoldResult]:
    """Tune each family on each fold, several at once in processes of their own, and yield what is finished.

    Ends once the clock passes `until`; the first is always tuned.
    """

    def arguments(family: Family, fold: Fold) -> tuple:
        index = int(fold.key)
        return family, plan.table, index, plan.splits[index], list(fold.inner), plan.objective

    jobs = min(plan.config.jobs or 1, len(todo))
    if jobs <= 1:
        for family, fold in todo:
            yield tune(*arguments(family, fold), jobs=1, seed=plan.config.seed)
            if time.monotonic() > until:
                return
        return
    os.environ["TFOPT_LAZY"] = "1"
    try:
        parallel = joblib.Parallel(jobs, return_as="generator_unordered")
        for result in parallel(
            joblib.delayed(tune_in_worker)(*arguments(family, fold), seed=plan.config.seed) for family, fold in todo
        ):
            yield result
            if time.monotonic() > until:
                return
    finally:
        del os.environ["TFOPT_LAZY"]
        get_reusable_executor().shutdown(wait=False, kill_workers=True)


def _prediction_path(model: str, fold: int | str) -> Path:
    return Path("predictions") / f"{model}-fold-{fold}.npy"


def _baseline(family: Family, fold: Fold, journal: Journal, folder: Path) -> FoldResult:
    record = journal.find("baseline", model=family.name, fold=fold.key)
    assert record is not None
    fields: dict[str, Any] = {
        name: float("nan") if value is None and name.endswith("score") else value
        for name, value in record.items()
        if name != "kind"
    }
    prediction = np.load(folder / _prediction_path(family.name, fold.key))
    return FoldResult(kind="sklearn", prediction=prediction, **fields)


def _export(search: NetworkSearch, plan: Plan, folder: Path, journal: Journal) -> None:
    """Train the best of the folds' networks on all rows, and save it with its preprocessing as `best.keras`."""
    values = search.choose_final(plan.final, plan.outer)
    done = journal.find("final")
    if values is None or ((folder / "best.keras").exists() and done is not None and done["values"] == values):
        return
    trained = search.train_final(plan.final, values)
    if trained is None:
        return
    network, curve, facts = trained
    model = search.coder.exported(network, plan.final.train, scaling_of(values))
    replace(folder / "best.keras", model.save)
    journal.append({"kind": "final", "values": values, "curve": curve, "fits": [facts]})


def _compare(plan: Plan, results: list[FoldResult]) -> Comparison | None:
    if not results:
        return None
    table = plan.table
    return compare(
        results,
        plan.splits,
        plan.objective,
        rope=plan.config.rope,
        target=table.target,
        groups=table.groups,
        weights=table.weights,
        times=table.times,
    )


def _outcome(
    plan: Plan, folder: Path, journal: Journal, comparison: Comparison | None, final_failure: str | None
) -> SearchOutcome:
    trials = [record for record in journal.records if record["kind"] == "trial"]
    failed = [record for record in trials if record["status"] == "FAILED"]
    first_failure = min(failed, key=proposed_before)["message"] if failed else None
    fits = [(fit["engine"], fit["reason"]) for record in journal.records for fit in record.get("fits", ())]
    done = journal.find("final") if (folder / "best.keras").exists() else None
    result: dict[str, Any] = {
        "data": plan.table.name,
        "task": plan.table.task,
        "rows": plan.table.num_rows,
        "objective": plan.objective.name,
        "leaderboard": [],
        "verdict": None,
        **(comparison.to_dict() if comparison is not None else {}),
        "trials": {"completed": len(trials) - len(failed), "failed": len(failed), "first_failure": first_failure},
        "best_network": None if done is None else done["values"],
        "final_failure": final_failure,
        "engines": engines_in_words(fits),
        "notes": plan.table.notes,
        "run_folder": str(folder),
        "seconds": round(time.monotonic() - plan.started, 1),
    }
    return SearchOutcome(comparison, folder, len(trials) - len(failed), len(failed), first_failure, result)
