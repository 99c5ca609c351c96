"""LightGBM, XGBoost and CatBoost as scikit-learn's models, and their grids: categories and gaps go to them as they are.

Each grid is a list of settings that do well on many tables (the library's own default among them), trained to the end:
a stop that looks at rows would have to be told which ones. The number of trees goes with the learning rate. All of them
use one thread, as the workers train side by side.
"""

import importlib
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone

from tfopt.baselines.setting import AS_TREES, Grid, Setting, Tunable, each_target, under

_MANY_CLASSES = 3  # beyond, a tree for each class in every step is left out of long grids


class BoostedTrees(BaseEstimator):
    """What the two estimators share; see `BoostedRegressor` for the arguments."""

    def __init__(self, model: Any, num_levels: dict[int, int] | None = None):
        self.model = model
        self.num_levels = num_levels

    def _fit(self, x: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None) -> Self:
        self.model_ = clone(self.model)
        self.model_.fit(self._frame(x), y, sample_weight=sample_weight)
        return self

    def _frame(self, x: np.ndarray) -> pd.DataFrame:
        """Return the rows as a data frame in which columns of codes are categorical."""
        names = [f"x{place}" for place in range(np.shape(x)[1])]
        columns: dict[str, Any] = dict(zip(names, np.asarray(x, np.float64).T, strict=True))
        for place, number in (self.num_levels or {}).items():
            codes = columns[names[place]].astype(np.int64)
            columns[names[place]] = pd.Categorical.from_codes(codes, categories=pd.RangeIndex(number))
        return pd.DataFrame(columns)


class BoostedRegressor(RegressorMixin, BoostedTrees):
    """A regressor of LightGBM, XGBoost or CatBoost that takes the matrix of a `TreeEncoder`.

    Args:
        model: The library's own model.
        num_levels: For each column of the matrix that holds categories, by its place, how many codes there are.
    """

    def fit(self, x: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None = None) -> Self:
        """Fit the model."""
        return self._fit(x, y, sample_weight)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return values (rows,)."""
        return np.asarray(self.model_.predict(self._frame(x)), np.float64)


class BoostedClassifier(ClassifierMixin, BoostedTrees):
    """A classifier of LightGBM, XGBoost or CatBoost that takes the matrix of a `TreeEncoder`, and any class codes.

    Args:
        model: The library's own model.
        num_levels: For each column of the matrix that holds categories, by its place, how many codes there are.

    Attributes:
        classes_: The class codes that were learned.
    """

    def fit(self, x: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None = None) -> Self:
        """Fit the model on the classes that there are, which XGBoost wants counted from 0."""
        self.classes_, counted = np.unique(y, return_inverse=True)
        return self._fit(x, counted, sample_weight)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return class codes (rows,)."""
        return self.classes_[self.predict_proba(x).argmax(axis=1)]

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        """Return (rows, classes) probabilities."""
        return np.asarray(self.model_.predict_proba(self._frame(x)), np.float64)


def lightgbm(setting: Setting) -> Tunable:
    """Return how LightGBM is fitted: https://lightgbm.readthedocs.io."""
    # A level of fewer rows than this is not split off; the library's 100 leaves small tables without any.
    rows_of_a_level = int(np.clip(setting.num_rows // 50, 5, 100))
    fixed = {"verbosity": -1, "n_jobs": 1, "random_state": setting.seed, "deterministic": True, "force_row_wise": True}
    return _tunable(
        "lightgbm.LGBM",
        setting,
        {**fixed, "min_data_per_group": rows_of_a_level, "subsample_freq": 1},
        [
            {"learning_rate": 0.1, "n_estimators": 100},
            {"learning_rate": 0.1, "n_estimators": 100, "num_leaves": 7},
            {"learning_rate": 0.03, "n_estimators": 300, "num_leaves": 7, "colsample_bytree": 0.5, "subsample": 0.8},
            {"learning_rate": 0.03, "n_estimators": 300, "num_leaves": 4, "min_child_samples": 5},
            {"learning_rate": 0.03, "n_estimators": 300, "num_leaves": 15, "extra_trees": True, "min_child_samples": 5},
            {
                "learning_rate": 0.03,
                "n_estimators": 600,
                "num_leaves": 31,
                "colsample_bytree": 0.5,
                "subsample": 0.8,
                "reg_lambda": 10.0,
            },
        ],
        {"num_leaves": 31, "colsample_bytree": 1.0, "subsample": 1.0, "min_child_samples": 20, "extra_trees": False}
        | {"reg_lambda": 0.0},
    )


def xgboost(setting: Setting) -> Tunable:
    """Return how XGBoost is fitted: https://xgboost.readthedocs.io."""
    return _tunable(
        "xgboost.XGB",
        setting,
        {"verbosity": 0, "n_jobs": 1, "random_state": setting.seed, "enable_categorical": True, "tree_method": "hist"},
        [
            {"learning_rate": 0.3, "n_estimators": 100, "max_depth": 6},
            {"learning_rate": 0.1, "n_estimators": 100, "max_depth": 3},
            {"learning_rate": 0.03, "n_estimators": 300, "max_depth": 3, "colsample_bytree": 0.5, "subsample": 0.8},
            {"learning_rate": 0.03, "n_estimators": 300, "max_depth": 2},
            {
                "learning_rate": 0.03,
                "n_estimators": 300,
                "max_depth": 6,
                "colsample_bytree": 0.5,
                "subsample": 0.8,
                "min_child_weight": 5.0,
            },
            {
                "learning_rate": 0.03,
                "n_estimators": 600,
                "max_depth": 5,
                "colsample_bytree": 0.5,
                "subsample": 0.8,
                "reg_lambda": 10.0,
            },
        ],
        {"colsample_bytree": 1.0, "subsample": 1.0, "min_child_weight": 1.0, "reg_lambda": 1.0},
    )


def catboost(setting: Setting) -> Tunable:
    """Return how CatBoost is fitted: https://catboost.ai. It is the slowest: 300 trees in place of its default 1000."""
    fixed = {"logging_level": "Silent", "thread_count": 1, "random_seed": setting.seed, "allow_writing_files": False}
    return _tunable(
        "catboost.CatBoost",
        setting,
        {**fixed, **({"cat_features": tuple(setting.num_levels)} if setting.num_levels else {})},
        [
            {"learning_rate": 0.1, "iterations": 300, "depth": 6},
            {"learning_rate": 0.1, "iterations": 100, "depth": 4},
            {"learning_rate": 0.03, "iterations": 300, "depth": 4},
            {"learning_rate": 0.05, "iterations": 300, "depth": 6, "l2_leaf_reg": 10.0},
        ],
        {"l2_leaf_reg": 3.0},
    )


def _tunable(
    prefix: str, setting: Setting, fixed: dict[str, Any], points: list[dict[str, Any]], defaults: dict[str, Any]
) -> Tunable:
    """Return the tunable of a library's model, `prefix` being its module and how its classes' names begin.

    Each point of the grid names every parameter, so that what was chosen says all; `defaults` are the library's own.
    """
    module, _, name = prefix.rpartition(".")
    kind = "Classifier" if setting.num_classes else "Regressor"
    single = BoostedClassifier if setting.num_classes else BoostedRegressor
    model = getattr(importlib.import_module(module), f"{name}{kind}")(**fixed)
    boosted, inner = each_target(single(model, dict(setting.num_levels)), setting)
    if setting.num_classes > _MANY_CLASSES:
        points = points[:3]
    grid: Grid = [
        under(f"{inner}model__", **{key: [value] for key, value in (defaults | point).items()}) for point in points
    ]
    return Tunable(boosted, boosted, grid, scaling=AS_TREES)
