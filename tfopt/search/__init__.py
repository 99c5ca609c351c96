"""Hyperparameter searches over Keras models, beside scikit-learn models on the same folds.

Names are loaded at their first use: a configuration can be made without importing TensorFlow, a search cannot.
"""

from typing import Any

from tfopt._names import loaded

_HOMES = {
    "BayesianOptimization": "tuners",
    "BayesianOptimizationOracle": "tuners",
    "GridSearch": "tuners",
    "GridSearchOracle": "tuners",
    "Hyperband": "tuners",
    "HyperbandOracle": "tuners",
    "Population": "tfopt.training",
    "PopulationMember": "tfopt.training",
    "PopulationResult": "tfopt.training",
    "Problem": "problem",
    "Progress": "progress",
    "RandomSearch": "tuners",
    "RandomSearchOracle": "tuners",
    "SearchConfig": "config",
    "SearchResult": "result",
    "SklearnTuner": "tuners",
    "Tuner": "tuners",
    "run": "run_search",
}
__all__ = list(_HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)


def __getattr__(name: str) -> Any:
    return loaded(__name__, _HOMES, name)
