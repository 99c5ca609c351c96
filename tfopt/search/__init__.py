"""Hyperparameter searches over Keras models, beside scikit-learn models on the same folds.

Names are loaded at their first use: a configuration can be made without importing TensorFlow, a search cannot.
"""

from typing import Any

from tfopt._names import loaded

_TUNERS = ("BayesianOptimization", "GridSearch", "Hyperband", "RandomSearch")
_HOMES = {
    **dict.fromkeys((*_TUNERS, *(f"{name}Oracle" for name in _TUNERS), "SklearnTuner", "Tuner"), "tuners"),
    **dict.fromkeys(("Population", "PopulationMember", "PopulationResult"), "tfopt.training"),
    "Problem": "problem",
    "Progress": "progress",
    "SearchConfig": "config",
    "SearchResult": "result",
    "run": "run_search",
}
__all__ = list(_HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)


def __getattr__(name: str) -> Any:
    return loaded(__name__, _HOMES, name)
