"""Folds, paired tests and the verdict.

Names are loaded at their first use, so that a command which only checks its arguments does not wait for SciPy.
"""

from typing import Any

from tfopt._names import loaded

_HOMES = {
    "compare": "leaderboard",
    "Comparison": "leaderboard",
    "FoldResult": "fold_result",
    "Objective": "objective",
    "get_objective": "objective",
    "objective_names": "objective",
    "Split": "folds",
    "outer_splits": "folds",
    "inner_splits": "folds",
    "check_split": "folds",
    "Interval": "statistics",
    "PairedDifference": "statistics",
    "corrected_standard_error": "statistics",
    "mean_interval": "statistics",
    "paired_difference": "statistics",
    "holm": "statistics",
    "expected_best_of": "statistics",
    "bootstrap_weights": "bootstrap",
    "bootstrap_scores": "bootstrap",
    "bootstrap_interval": "bootstrap",
    "bootstrap_difference": "bootstrap",
}
__all__ = list(_HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)


def __getattr__(name: str) -> Any:
    return loaded(__name__, _HOMES, name)
