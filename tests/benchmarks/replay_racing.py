"""Would it pay to end trials after a quarter of their epochs? Twenty trials of the default space on each table.

    python tests/benchmarks/replay_racing.py FOLDER      # as of bench_tables.py; about 30 minutes on a quiet core

Every fit of every trial on all inner folds is trained twice: in one go, and to a quarter and then to its end. Rules of
ending a trial by its losses on the inner test rows at the quarter are replayed on these: what they would have saved,
and what would have been chosen otherwise. The processor seconds are measured.
"""

import argparse
import functools
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import bench_tables
import numpy as np
from results import RESULTS, describe, environment, keep, markdown

from tfopt.search.fold_study import FoldStudy
from tfopt.search.journal import Journal
from tfopt.search.nested import NetworkSearch
from tfopt.search.oracles import default_values
from tfopt.search.progress import Progress
from tfopt.training.fits import FitRequest, FitResult

TRIALS, INNER_FOLDS, QUARTER = 20, 3, 0.25
# A trial is ended if its loss is larger than the reference's by so many standard errors of the rows' differences.
RULES = [(reference, errors) for reference in ("the default", "the best at that point") for errors in (1, 2, 3)]


def measure(name: str, folder: Path) -> dict[str, Any]:
    """Return what is kept of a table."""
    with tempfile.TemporaryDirectory() as drawn, tempfile.TemporaryDirectory() as run:
        plan = bench_tables.plan_of(bench_tables.TABLES[name], 0, folder, Path(drawn), INNER_FOLDS)
        search = NetworkSearch(plan, bench_tables.space_of("default"))
        search.open(Journal(Path(run) / "trials.jsonl"), Path(run), Progress())
        given = {"default": default_values(search.hyperparameters)}
        studies = [FoldStudy(search, fold, given, TRIALS - 1) for fold in plan.outer]
        trials = [study.ask(TRIALS) for study in studies]
    fits = [
        (study, trial, fit)
        for study, some in zip(studies, trials, strict=True)
        for trial in some
        for fit in study.fits(trial)
    ]
    train = functools.partial(_train, search, [fit for _, _, fit in fits])
    whole = [fit.request for _, _, fit in fits]
    first = [replace(request, epochs=max(1, round(QUARTER * request.epochs))) for request in whole]
    train(first)  # builds every model, which is done once
    found: dict[str, list[FitResult]] = {}
    seconds: dict[str, float] = {}

    def timed(what: str, requests: list[FitRequest]) -> None:
        begun = time.process_time()
        found[what] = train(requests)
        seconds[what] = time.process_time() - begun

    timed("in one go", whole)
    timed("a quarter", first)
    ended = zip(whole, first, found["a quarter"], strict=True)
    timed("the rest", [replace(one, initial_epoch=part.epochs, state=at.state) for one, part, at in ended])
    return {"seconds": seconds, "rules": _replay(search, studies, trials, fits, found)}


def _train(search: NetworkSearch, fits: list[Any], requests: list[FitRequest]) -> list[FitResult]:
    results: list[Any] = [None] * len(requests)
    for key in dict.fromkeys(fit.engine for fit in fits):
        places = [place for place, _ in enumerate(requests) if fits[place].engine == key]

        def done(index: int, result: FitResult, places: list[int] = places) -> None:
            results[places[index]] = result

        search.fitting.engine(key).fit([requests[place] for place in places], [()] * len(places), done)
    return results


def _replay(
    search: NetworkSearch, studies: list[FoldStudy], trials: list[Any], fits: list[Any], found: dict[str, Any]
) -> list[dict[str, Any]]:
    """Return for each rule and outer fold the share of epochs saved, and the inner score lost by another choice."""
    replayed = []
    for study, some in zip(studies, trials, strict=True):
        at_quarter = []  # of each trial, for each inner test row
        scores = []  # of each trial at its end
        for trial in some:
            values = {k: v for k, v in trial.hyperparameters.values.items() if not k.startswith("tuner/")}
            places = [place for place, (of, one, _) in enumerate(fits) if of is study and one is trial]
            tasks = study.tasks(trial)
            rows = [task.split.test for task in tasks]
            for what in ("a quarter", "the rest"):
                ended = [found[what][place] for place in places]
                predicted = [search.fitting.prediction(values, *both) for both in zip(tasks, ended, strict=True)]
                if what == "a quarter":
                    parts = [_loss(search, *both) for both in zip(predicted, rows, strict=True)]
                    at_quarter.append(np.concatenate(parts))
            scores.append(np.mean([search.score(*both) for both in zip(predicted, rows, strict=True)]))
        losses = np.array(at_quarter)
        for reference, errors in RULES:
            place = 0 if reference == "the default" else int(np.argmin(losses.mean(axis=1)))
            behind = losses - losses[place]
            error = behind.std(axis=1, ddof=1) / np.sqrt(behind.shape[1])
            kept = behind.mean(axis=1) <= errors * error
            chosen = int(np.argmax(np.where(kept, scores, -np.inf)))
            replayed.append(
                {
                    "reference": reference,
                    "errors": errors,
                    "ended": float(1 - kept.mean()),
                    "other": chosen != int(np.argmax(scores)),
                    "lost": float(max(scores) - scores[chosen]),
                }
            )
    return replayed


def _loss(search: NetworkSearch, prediction: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return each row's squared error, or its Brier score."""
    truth = search.table.target[rows]
    if search.table.classes:
        chances = prediction.reshape(len(rows), -1)
        chances = np.hstack([1 - chances, chances]) if chances.shape[1] == 1 else chances
        return ((chances - np.eye(chances.shape[1])[truth]) ** 2).sum(axis=1)
    return ((prediction.reshape(len(rows), -1) - truth.reshape(len(rows), -1)) ** 2).sum(axis=1)


def table(kept: dict[str, Any]) -> str:
    """Return what each rule would save and change, over all tables' outer folds."""
    seconds = {
        what: sum(of["seconds"][what] for of in kept.values()) for what in ("in one go", "a quarter", "the rest")
    }
    rows = []
    for reference, errors in RULES:
        found = [
            each
            for of in kept.values()
            for each in of["rules"]
            if (each["reference"], each["errors"]) == (reference, errors)
        ]
        ended = np.mean([each["ended"] for each in found])
        net = 1 - (seconds["a quarter"] + (1 - ended) * seconds["the rest"]) / seconds["in one go"]
        lost = [each["lost"] for each in found]
        rows.append(
            [
                f"{reference}, {errors}",
                f"{ended:.0%}",
                f"{(1 - QUARTER) * ended:.0%}",
                f"{net:+.0%}",
                f"{sum(each['other'] for each in found)} of {len(found)}",
                f"{np.mean(lost):.4f}, {max(lost):.4f}",
            ]
        )
    heading = ["behind, standard errors", "trials ended", "epochs saved", "processor time saved", "other choices"]
    facts = next(iter(kept.values()))["environment"]
    names = ", ".join(kept)
    return f"{markdown([*heading, 'score lost, mean, most'], rows)}\n\nOn {names}. {describe(facts)}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "folder", type=Path, help=f"folder of the tables that tfopt does not bring; {RESULTS} is written"
    )
    parser.add_argument("--only", nargs="+", choices=bench_tables.TABLES, default=list(bench_tables.TABLES))
    arguments = parser.parse_args()
    for each in arguments.only:
        keep("racing", each, measure(each, arguments.folder) | {"environment": environment()})
        print(each, flush=True)
