"""The scikit-learn model of each family, its untuned default, and the grid it is tuned over.

Scaling is a choice in the grid wherever it matters: standardising helps most tables and harms those whose columns share
a unit, such as pixels. Penalties and kernel widths are relative to standardised features and targets, so that one grid
fits every table.
"""

from typing import Any

import numpy as np
from sklearn import compose, dummy, ensemble, linear_model, neighbors, neural_network, preprocessing, svm

from tfopt.baselines import boosting, example_models, forecasts
from tfopt.baselines.families import Family, OwnFamily
from tfopt.baselines.own import own_tunable
from tfopt.baselines.setting import Grid, Setting, Tunable, each_target, under

_SCALING = "encode__scaling"


def tunable(family: Family, setting: Setting) -> Tunable:
    """Return how `family` is fitted in `setting`."""
    if isinstance(family, OwnFamily):
        return own_tunable(family, setting)
    return _TUNABLES[family.task][family.name](setting)


def _powers(low: float, high: float, steps: int) -> list[float]:
    """Return `steps` values from 10^low to 10^high, evenly spaced in the logarithm."""
    return [float(f"{value:.6g}") for value in np.logspace(low, high, steps)]


def _widths(setting: Setting, factors: tuple[float, ...]) -> list[float]:
    """Return `gamma` of a Gaussian kernel, relative to 1 / (number of columns of unit variance)."""
    return [float(f"{factor / max(1, setting.width):.6g}") for factor in factors]


def _standardised(model: Any) -> Any:
    """Return `model` with the target standardised while fitting, for models whose grid depends on its scale."""
    return compose.TransformedTargetRegressor(model, transformer=preprocessing.StandardScaler())


def _dummy_regressor(setting: Setting) -> Tunable:
    model = dummy.DummyRegressor()
    return Tunable(model, model, [{"model__strategy": ["mean", "median"]}], scaling="none")


def _linear(setting: Setting) -> Tunable:
    return Tunable(linear_model.LinearRegression(), linear_model.LinearRegression(), [])


def _ridge(setting: Setting) -> Tunable:
    grid: dict[str, list[Any]] = {_SCALING: ["standard", "robust", "common"], "model__alpha": _powers(-3, 4, 15)}
    return Tunable(linear_model.Ridge(), linear_model.Ridge(), [grid])


def _lasso(setting: Setting) -> Tunable:
    model = _standardised(linear_model.Lasso(max_iter=20_000))
    grid: dict[str, list[Any]] = {
        _SCALING: ["standard", "robust", "common"],
        **under("regressor__", alpha=_powers(-3.5, 0, 13)),
    }
    return Tunable(model, linear_model.Lasso(max_iter=20_000), [grid])


def _elastic_net(setting: Setting) -> Tunable:
    model = _standardised(linear_model.ElasticNet(max_iter=20_000))
    grid: dict[str, list[Any]] = {
        _SCALING: ["standard", "robust", "common"],
        **under("regressor__", l1_ratio=[0.1, 0.5, 0.9], alpha=_powers(-3.5, 0.5, 10)),
    }
    return Tunable(model, linear_model.ElasticNet(max_iter=20_000), [grid])


def _svr(setting: Setting) -> Tunable:
    single, prefix = each_target(svm.SVR(), setting)
    grid: dict[str, list[Any]] = {
        _SCALING: ["standard", "robust", "common"],
        **under(
            f"regressor__{prefix}", C=_powers(-1, 2, 4), gamma=_widths(setting, (0.03, 0.1, 0.3, 1)), epsilon=[0.1, 0.5]
        ),
    }
    return Tunable(_standardised(single), single, [grid], num_draws=48 if setting.num_rows <= 1000 else 24)


def _knn_regressor(setting: Setting) -> Tunable:
    model = neighbors.KNeighborsRegressor()
    return Tunable(model, model, [_neighbours(setting)], openmp=True)


def _neighbours(setting: Setting) -> dict[str, list[Any]]:
    counts = sorted({min(count, setting.fewest_rows) for count in (1, 3, 7, 15, 30)})
    return {
        _SCALING: ["standard", "robust", "common"],
        "model__n_neighbors": counts,
        "model__weights": ["uniform", "distance"],
    }


def _forest_regressor(setting: Setting) -> Tunable:
    model = ensemble.RandomForestRegressor(random_state=setting.seed, max_samples=_rows_of_a_tree(setting))
    default = ensemble.RandomForestRegressor(random_state=setting.seed)
    grid: dict[str, list[Any]] = {"model__max_features": [0.33, 1.0], "model__min_samples_leaf": [1, 5]}
    return Tunable(model, default, [grid], scaling="none")


def _rows_of_a_tree(setting: Setting) -> int | None:
    """Return how many rows a tree draws: of large tables not all, so that a forest takes seconds and not minutes."""
    return 20_000 if setting.num_rows > 60_000 else None


def _boosting_regressor(setting: Setting) -> Tunable:
    model, prefix = each_target(
        ensemble.HistGradientBoostingRegressor(random_state=setting.seed, early_stopping=_early(setting)), setting
    )
    return Tunable(model, model, _boosting_grid(prefix), scaling="none", openmp=True)


def _boosting_grid(prefix: str) -> Grid:
    """Many small steps with small trees, the usual steps with small trees, and scikit-learn's own default."""
    slow = under(prefix, learning_rate=[0.03], max_iter=[300], max_leaf_nodes=[3, 6])
    usual = under(prefix, learning_rate=[0.1], max_iter=[100], max_leaf_nodes=[3, 6, 31])
    return [slow, usual]


def _mlp_regressor(setting: Setting) -> Tunable:
    model = neural_network.MLPRegressor(max_iter=2000, random_state=setting.seed)
    grid: dict[str, list[Any]] = {_SCALING: ["standard", "robust", "common"], **_perceptron("regressor__", setting)}
    return Tunable(_standardised(model), _plain_perceptron(neural_network.MLPRegressor, setting), [grid], num_draws=12)


def _early(setting: Setting) -> Any:
    """Whether boosting holds out rows to stop by: scikit-learn's own choice, which knows neither groups nor times."""
    return "auto" if setting.exchangeable else False


def _perceptron(prefix: str, setting: Setting) -> dict[str, list[Any]]:
    return under(
        prefix,
        hidden_layer_sizes=[(64,), (100,), (64, 64)],
        alpha=_powers(-4, 1, 6),
        learning_rate_init=[0.001, 0.003, 0.01],
        early_stopping=[False, True] if setting.exchangeable and setting.num_rows >= 100 else [False],
    )


def _plain_perceptron(kind: Any, setting: Setting) -> Any:
    return kind(random_state=setting.seed)


def _dummy_classifier(setting: Setting) -> Tunable:
    model = dummy.DummyClassifier(strategy="prior")
    return Tunable(model, model, [], scaling="none")


def _logistic(setting: Setting) -> Tunable:
    """L2 by newton-cg and L1 by saga: no solver but saga knows both, and on digits it is twenty times slower for L2.

    liblinear is out: at a weak L1 penalty it can run for half a minute where saga stops after 70 ms.
    """
    model = linear_model.LogisticRegression(random_state=setting.seed)
    ridge = {
        _SCALING: ["standard", "robust", "common"],
        **under("", solver=["newton-cg"], l1_ratio=[0.0], max_iter=[1000], C=_powers(-3, 3, 7)),
    }
    costly = setting.num_rows * setting.num_classes > 5000
    lasso = {
        _SCALING: ["standard"] if costly else ["standard", "robust"],
        **under(
            "", solver=["saga"], l1_ratio=[1.0], max_iter=[2000], tol=[0.01], C=_powers(-1.5, 1.5, 3 if costly else 4)
        ),
    }
    default = linear_model.LogisticRegression(max_iter=1000, random_state=setting.seed)
    return Tunable(model, default, [ridge, lasso])


def _ridge_classifier(setting: Setting) -> Tunable:
    grid: dict[str, list[Any]] = {_SCALING: ["standard", "robust", "common"], "model__alpha": _powers(-3, 4, 15)}
    return Tunable(linear_model.RidgeClassifier(), linear_model.RidgeClassifier(), [grid])


def _svc(setting: Setting) -> Tunable:
    grid: dict[str, list[Any]] = {
        _SCALING: ["standard", "robust", "common"] if setting.num_rows <= 1000 else ["standard", "common"],
        **under("", C=_powers(-1, 2, 4), gamma=_widths(setting, (0.1, 0.3, 1, 3))),
    }
    return Tunable(svm.SVC(), svm.SVC(), [grid], num_draws=None if setting.num_rows <= 1000 else 16)


def _knn_classifier(setting: Setting) -> Tunable:
    model = neighbors.KNeighborsClassifier()
    return Tunable(model, model, [_neighbours(setting)], openmp=True)


def _forest_classifier(setting: Setting) -> Tunable:
    model = ensemble.RandomForestClassifier(random_state=setting.seed, max_samples=_rows_of_a_tree(setting))
    default = ensemble.RandomForestClassifier(random_state=setting.seed)
    costly = setting.num_rows * setting.num_classes > 5000
    grid: dict[str, list[Any]] = {
        "model__max_features": ["sqrt", 0.3],
        "model__min_samples_leaf": [1] if costly else [1, 3],
    }
    return Tunable(model, default, [grid], scaling="none")


def _boosting_classifier(setting: Setting) -> Tunable:
    model = ensemble.HistGradientBoostingClassifier(random_state=setting.seed, early_stopping=_early(setting))
    grid = _boosting_grid("")
    if setting.num_classes > 3:  # a tree for each class in every step
        grid = [under("", max_leaf_nodes=[8], learning_rate=[0.1, 0.2], max_iter=[50])]
    return Tunable(model, model, grid, scaling="none", openmp=True)


def _mlp_classifier(setting: Setting) -> Tunable:
    model = neural_network.MLPClassifier(max_iter=2000, random_state=setting.seed)
    grid: dict[str, list[Any]] = {_SCALING: ["standard", "robust", "common"], **_perceptron("", setting)}
    return Tunable(model, _plain_perceptron(neural_network.MLPClassifier, setting), [grid], num_draws=12)


_TUNABLES: dict[str, dict[str, Any]] = {
    "regression": {
        "dummy": _dummy_regressor,
        "linear": _linear,
        "ridge": _ridge,
        "lasso": _lasso,
        "elastic_net": _elastic_net,
        "svm": _svr,
        "knn": _knn_regressor,
        "random_forest": _forest_regressor,
        "hist_gradient_boosting": _boosting_regressor,
        "mlp": _mlp_regressor,
        "lightgbm": boosting.lightgbm,
        "xgboost": boosting.xgboost,
        "catboost": boosting.catboost,
        "pca_linear": example_models.pca_linear,
        "hog_linear": example_models.hog_linear,
        "summary_linear": example_models.summary_linear,
        "summary_forest": example_models.summary_forest,
        "tfidf_linear": example_models.tfidf_linear,
        "naive": forecasts.naive,
        "seasonal_naive": forecasts.seasonal_naive,
    },
    "classification": {
        "dummy": _dummy_classifier,
        "logistic": _logistic,
        "ridge_classifier": _ridge_classifier,
        "svm": _svc,
        "knn": _knn_classifier,
        "random_forest": _forest_classifier,
        "hist_gradient_boosting": _boosting_classifier,
        "mlp": _mlp_classifier,
        "lightgbm": boosting.lightgbm,
        "xgboost": boosting.xgboost,
        "catboost": boosting.catboost,
        "pca_linear": example_models.pca_linear,
        "hog_linear": example_models.hog_linear,
        "summary_linear": example_models.summary_linear,
        "summary_forest": example_models.summary_forest,
        "tfidf_linear": example_models.tfidf_linear,
        "tfidf_naive_bayes": example_models.tfidf_naive_bayes,
    },
}
