"""Tuners with KerasTuner's interface that train many trials at once."""

from tfopt.search.tuners.bayesian import BayesianOptimization, BayesianOptimizationOracle
from tfopt.search.tuners.grid_search import GridSearch, GridSearchOracle
from tfopt.search.tuners.hyperband import Hyperband, HyperbandOracle
from tfopt.search.tuners.random_search import RandomSearch, RandomSearchOracle
from tfopt.search.tuners.sklearn_tuner import SklearnTuner
from tfopt.search.tuners.tuner import Tuner

__all__ = [
    "BayesianOptimization",
    "BayesianOptimizationOracle",
    "GridSearch",
    "GridSearchOracle",
    "Hyperband",
    "HyperbandOracle",
    "RandomSearch",
    "RandomSearchOracle",
    "SklearnTuner",
    "Tuner",
]
