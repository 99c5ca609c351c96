"""A whole search: baselines and networks on the same folds, the comparison, and the best network on all rows."""

import functools
import logging
import math
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import replace as replace_fields
from pathlib import Path
from typing import Any

import numpy as np

from tfopt._files import replace, write_json
from tfopt._private.tensorflow_graphs import kernels_forgotten
from tfopt.comparison import Comparison, compare, conformal
from tfopt.comparison.fold_result import FoldResult
from tfopt.errors import UserError
from tfopt.search import run_folder, saved, streamed
from tfopt.search.baseline_runs import BaselineRuns, prediction_path, workers_of
from tfopt.search.config import SearchConfig, default_run_folder, tracking_uri
from tfopt.search.events import write_events
from tfopt.search.fold_study import fit_facts
from tfopt.search.importances import write_importance
from tfopt.search.journal import Journal, Record, proposed_before
from tfopt.search.loop import engines_in_words
from tfopt.search.nested import FINAL, NetworkSearch
from tfopt.search.plan import Plan, prepare
from tfopt.search.progress import Progress, TimeLimit
from tfopt.search.spaces import Space
from tfopt.search.tracking import MlflowTracker
from tfopt.search.tries import as_text
from tfopt.search.user_space import load_space
from tfopt.training.workers import Workers

_log = logging.getLogger("tfopt")


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


def run(
    config: SearchConfig,
    progress: Progress | None = None,
    plan: Plan | None = None,
    workers: Workers | None = None,
    baselines: BaselineRuns | None = None,
    space: Space | None = None,
) -> SearchOutcome:
    """Search as `config` asks, continuing `config.resume` where it is given.

    Args:
        config: What to do. `tfopt.devices.configure` is called by whoever owns the process, before this.
        progress: Told how far the search is.
        plan: What `tfopt.search.plan.prepare(config)` gave, if it was called already.
        workers: Who trains and tunes; those that `config` asks for if they are not given.
        baselines: Those of this plan, on these workers, if they were begun already.
        space: The networks, where Python holds them; else `config` names them.

    Raises:
        UserError: What was asked cannot be done.
    """
    progress = progress or Progress()
    plan = plan or prepare(config, progress)
    config = plan.config
    if workers is None:
        with workers_of(config) as own:
            return run(config, progress, plan, own, space=space)
    space = space or load_space(config.space)
    if plan.stream is not None and space.fit is not None:
        raise UserError(
            f"space {space.name} has a `fit` of its own, which takes arrays, and the data are read in blocks. Give a "
            "space without, or --no-stream."
        )
    search = NetworkSearch(plan, space)
    for note in search.notes:
        plan.table.notes.append(note)
        progress.note(note)
    folder = _checked_folder(plan)
    with run_folder.locked(folder), kernels_forgotten():
        if config.resume is None:
            run_folder.check_new(folder, config.overwrite)  # once more, now that nobody else can write there
            device = {"device": config.device, "precision": config.precision, "deterministic": config.deterministic}
            config = replace_fields(config, tries=tuple(map(as_text, search.known)))
            run_folder.create(folder, config, run_folder.environment(plan.table, device, config))
        return _search(search, folder, progress, workers, baselines or BaselineRuns(plan, workers))


def _search(
    search: NetworkSearch, folder: Path, progress: Progress, workers: Workers, baselines: BaselineRuns
) -> SearchOutcome:
    plan = search.plan
    tracker = None if plan.config.track is None else MlflowTracker(tracking_uri(plan.config.track), plan, folder)
    told: list[Callable[[Record], None]] = [functools.partial(write_events, folder)]
    if tracker is not None:
        told.append(tracker.told)
    journal = Journal(folder / "trials.jsonl", told, functools.partial(_has_predictions, folder))
    limit = TimeLimit(plan.config.time_limit, plan.started, workers.number)
    search.open(journal, folder, progress, limit, workers)
    progress.follow(lambda: _seconds_left(search, baselines, workers), workers.at_work)
    baselines.open(journal, folder, progress, limit)
    search.search()
    search.refit()
    networks = streamed.networks(search)
    if networks is None:
        progress.start(FINAL, None)
        _export(search)
        _export_ensemble(search)
        progress.finish(FINAL)
        networks = search.outer_results()
    results = baselines.results() + networks
    comparison = streamed.said_of(_compare(plan, results), search)
    if comparison is not None:
        oof = saved.write_oof(folder, plan, results)
        intervals = conformal.of_models(oof, conformal.DEFAULT_CONFIDENCE, plan.table.task == "classification")
        for name in ("coverage", "size"):
            column = [intervals.get(model, {}).get(name, math.nan) for model in comparison.leaderboard["model"]]
            comparison.leaderboard[f"interval_{name}"] = column
        _keep_best(folder, comparison.best_baseline)
        write_importance(search, comparison, workers)
    outcome = _outcome(search, comparison)
    write_json(folder / "result.json", outcome.result)
    if comparison is not None:
        replace(folder / "leaderboard.csv", lambda beside: comparison.leaderboard.to_csv(beside, index=False))
    if tracker is not None:
        tracker.ended(outcome.result, folder)
    return outcome


def _has_predictions(folder: Path, record: Record) -> bool:
    """Whether the predictions that a record of the journal speaks of can be read; warns if not."""
    if record["kind"] == "baseline":
        path = folder / prediction_path(record["model"], record["fold"])
    elif "predictions" in record:
        path = folder / record["predictions"]
    else:
        return True
    try:
        with path.open("rb") as file:
            return np.load(file).ndim > 0
    except (OSError, EOFError, ValueError):
        _log.warning("%s is missing or damaged, so what it came from is done again.", path)
        return False


def _seconds_left(search: NetworkSearch, baselines: BaselineRuns, workers: Workers) -> float | None:
    """Return how long calls that wait, and those that will follow, will still take; None if that is unknown."""
    at_hand, ahead = workers.seconds_left(), search.seconds_ahead()
    return None if at_hand is None or ahead is None else at_hand + ahead + baselines.seconds_ahead()


def _checked_folder(plan: Plan) -> Path:
    config = plan.config
    if config.resume is None:
        return run_folder.check_new(config.out or default_run_folder(config), config.overwrite)
    folder = run_folder.check_existing(config.resume, "environment.json")
    run_folder.refuse_links(folder)
    run_folder.check_same_data(folder, plan.table.sha256)
    run_folder.check_same_sources(folder, config)
    return folder


def _export(search: NetworkSearch) -> None:
    """Train the best of the folds' networks on all rows; save it with its preprocessing, and its seeds' ensemble."""
    folder, journal = search.folder, search.journal
    values, done = search.choose_final(), journal.find("final")
    if values is None or (done is not None and done["values"] == values and _is_exported(folder, done)):
        return
    trained = search.train_final(values)
    if trained is None:
        return
    networks, curve, facts = trained
    for name, members in ((saved.NETWORK_FILE, networks[:1]), (saved.ENSEMBLE_FILE, networks)):
        if name == saved.NETWORK_FILE or len(members) > 1:
            model = search.coder.exported(members, search.plan.final.train, search.fitting.scaling(values))
            replace(folder / name, model.save)
    journal.append({"kind": "final", "values": values, "curve": curve, "fits": facts})


def _export_ensemble(search: NetworkSearch) -> None:
    """Train the networks of the ensemble over trials on all rows, and save them as one model."""
    members = search.ensemble.for_use()
    wanted = [{"weight": member.weight, "values": member.values} for member in members]
    done, path = search.journal.find("final ensemble"), search.folder / saved.TRIALS_FILE
    if not members or (done is not None and done["members"] == wanted and path.exists()):
        return
    model, fits = search.ensemble.train(members)
    if model is not None:
        replace(path, model.save)
        facts = [fit_facts(member) for member in fits]
        search.journal.append({"kind": "final ensemble", "members": wanted, "fits": facts})


def _is_exported(folder: Path, done: Record) -> bool:
    ensemble = len(done["fits"]) == 1 or (folder / saved.ENSEMBLE_FILE).exists()
    return ensemble and (folder / saved.NETWORK_FILE).exists()


def _keep_best(folder: Path, baseline: str | None) -> None:
    """Have `best.skops` be the best baseline's model."""
    if baseline is not None and (source := folder / saved.model_file(baseline)).exists():
        replace(folder / saved.BASELINE_FILE, lambda beside: shutil.copyfile(source, beside))


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


def _outcome(search: NetworkSearch, comparison: Comparison | None) -> SearchOutcome:
    plan, folder, journal = search.plan, search.folder, search.journal
    trials = [record for record in journal.records if record["kind"] == "trial"]
    failed = [record for record in trials if record["status"] == "FAILED"]
    first_failure = min(failed, key=proposed_before)["message"] if failed else None
    fits = [(fit["engine"], fit["reason"]) for record in journal.records for fit in record.get("fits", ())]
    done = journal.find("final") if (folder / saved.NETWORK_FILE).exists() else None
    ensemble = journal.find("final ensemble") if (folder / saved.TRIALS_FILE).exists() else None
    result: dict[str, Any] = {
        "data": plan.table.name,
        "task": plan.table.task,
        "rows": plan.table.num_rows if plan.stream is None else plan.stream.blocks.num_rows,
        "stream": None if plan.stream is None else plan.stream.counts,
        "objective": plan.objective.name,
        "leaderboard": [],
        "verdict": None,
        **(comparison.to_dict() if comparison is not None else {}),
        "trials": {"completed": len(trials) - len(failed), "failed": len(failed), "first_failure": first_failure},
        "best_network": None if done is None else done["values"],
        "ensemble": [] if ensemble is None else ensemble["members"],
        "chosen": {r["model"]: r["parameters"] for r in journal.records if r["kind"] == "final baseline"},
        "final_failure": search.final_failure,
        "engines": engines_in_words(fits),
        "notes": plan.table.notes,
        "run_folder": str(folder),
        "seconds": round(time.monotonic() - plan.started, 1),
    }
    return SearchOutcome(comparison, folder, len(trials) - len(failed), len(failed), first_failure, result)
