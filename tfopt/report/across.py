"""Several runs side by side: their networks and best baselines, and the networks' paired differences."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfopt.comparison.statistics import paired_difference
from tfopt.report.board import figure
from tfopt.report.headline import headline
from tfopt.report.run import SearchRun

# Two runs with these in common have the same rows in the same folds.
_FOLDS = (
    *("target", "task", "drop", "group", "time", "gap", "window", "horizon", "duplicates", "folds", "repeats"),
    *("holdout", "seed"),
)


def side_by_side(runs: Sequence[SearchRun]) -> tuple[list[str], list[list[str]], list[str]]:
    """Return headings, a row for each run, and what to know when reading them.

    A network's score is compared with that of the first run's network where both were judged by the same metric on the
    same rows and folds.
    """
    first = runs[0]
    rows, notes = [], []
    for run in runs:
        scores = {row["model"]: row["score"] for row in run.leaderboard}
        network, baseline = run.result.get("network"), run.result.get("best_baseline")
        why = "" if run is first else differs(first, run)
        if why:
            notes.append(f"{run.folder.name} is not compared with {first.folder.name}: {why}.")
        cells = [figure(scores.get(network)), baseline or "–", figure(scores.get(baseline))]
        rows.append([run.folder.name, run.scale, *cells, "" if run is first or why else _difference(first, run)])
        notes.append(f"{run.folder.name}: {headline(run.result)}")
    headings = ["run", "metric", "network", "best baseline", "its score", f"network less that of {first.folder.name}"]
    return headings, rows, notes


def differs(first: SearchRun, second: SearchRun) -> str:
    """Return why two runs cannot be compared fold by fold; empty if they can."""
    if _digest(first) != _digest(second):
        return "the data differ"
    if first.objective != second.objective:
        return f"the metrics differ ({first.objective}, {second.objective})"
    unlike = [name for name in _FOLDS if first.config.get(name) != second.config.get(name)]
    return f"the folds differ ({', '.join('--' + name for name in unlike)})" if unlike else ""


def _digest(run: SearchRun) -> Any:
    return run.environment.get("data", {}).get("sha256")


def _difference(first: SearchRun, second: SearchRun) -> str:
    ours, theirs = second.network_scores(), first.network_scores()
    if not ours or ours.keys() != theirs.keys():
        return "–"
    keys = sorted(ours)
    folds = second.config.get("folds") or 2
    test_to_train = 1 / (folds - 1) if not second.config.get("holdout") else 1.0
    found = paired_difference(
        np.array([ours[key] for key in keys]),
        np.array([theirs[key] for key in keys]),
        test_to_train,
        rope=second.rope or 0.0,
    )
    interval = f" ({found.low:+.3f} … {found.high:+.3f})" if np.isfinite(found.low) else ""
    return f"{found.mean:+.3f}{interval}"
