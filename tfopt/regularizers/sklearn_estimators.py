"""Keras penalties and losses as scikit-learn's estimators: `sklearn_map` the other way round."""

import math
from typing import Any

import keras

from tfopt._arguments import count_argument
from tfopt.regularizers.elementwise import L1, L1L2, L2, ElasticNet, TextbookL2
from tfopt.regularizers.group import L21
from tfopt.regularizers.losses import EpsilonInsensitive


def to_sklearn(
    kernel_regularizer: Any,
    n_samples: int,
    loss: Any = "mse",
    n_outputs: int = 1,
    bias_regularizer: Any = None,
    fit_intercept: bool = True,
) -> Any:
    """Return the scikit-learn estimator whose solution a penalised one-layer Keras model approaches.

    Use it to check a Keras model against an exact solver, or to hand a strength found by KerasTuner to scikit-learn.

    Args:
        kernel_regularizer: A penalty of tfopt or Keras (L1, L2, L1L2, ElasticNet, TextbookL2, L21), or None.
        n_samples: Number of training rows.
        loss: Keras loss, by name or as an object.
        n_outputs: Units of the output layer.
        bias_regularizer: The bias's penalty, likewise.
        fit_intercept: Whether the layer has a bias.

    Returns:
        An unfitted estimator: `Ridge`, `Lasso`, `ElasticNet`, `LinearRegression`, `MultiTaskLasso`,
        `MultiTaskElasticNet`, `LogisticRegression`, `PoissonRegressor`, `LinearSVC`, `LinearSVR`, `SGDClassifier` or
        `SGDRegressor`.

    Raises:
        ValueError: No estimator of scikit-learn has this objective.

    Example:
        ```python
        estimator = tfopt.regularizers.to_sklearn(tfopt.regularizers.L1(2.0), n_samples=442)
        print(estimator)  # Lasso()
        ```
    """
    rows = count_argument(n_samples, "to_sklearn", "n_samples")
    outputs = count_argument(n_outputs, "to_sklearn", "n_outputs")
    loss = keras.losses.get(loss)
    kernel, bias = _strengths(kernel_regularizer), _strengths(bias_regularizer)
    name = loss.__name__ if hasattr(loss, "__name__") else type(loss).__name__
    key = name.replace("_", "").lower()  # `mean_squared_error` and `MeanSquaredError` alike
    if key in {"mse", "meansquarederror"}:
        _no_bias_penalty(bias, name)
        return _squared_error(kernel_regularizer, kernel, rows, outputs, fit_intercept)
    if isinstance(kernel_regularizer, L21):
        raise ValueError(f"No estimator of scikit-learn has an L21 penalty with the loss {name}.")
    if key in {"binarycrossentropy", "sparsecategoricalcrossentropy", "categoricalcrossentropy"}:
        return _logistic_regression(kernel, bias, rows, fit_intercept)
    if key == "poisson":
        from sklearn.linear_model import PoissonRegressor  # scikit-learn only where it is asked for

        _no_bias_penalty(bias, name)
        if kernel[0]:
            raise ValueError("No estimator of scikit-learn has an L1 penalty with the Poisson loss.")
        return PoissonRegressor(alpha=2 * kernel[1], fit_intercept=fit_intercept)
    if key in {"hinge", "squaredhinge", "epsiloninsensitive"}:
        return _margin(loss, key, kernel, bias, rows, outputs, fit_intercept)
    raise ValueError(f"to_sklearn has no estimator for the loss {name}.")


def _strengths(regularizer: Any) -> tuple[float, float]:
    """Strength on Σ|w| (or Σ‖w_g‖) and on Σw²."""
    if regularizer is None:
        return 0.0, 0.0
    config = regularizer.get_config() if hasattr(regularizer, "get_config") else {}
    if isinstance(regularizer, ElasticNet):
        strength, ratio = config["strength"], config["l1_ratio"]
        return strength * ratio, strength * (1 - ratio) / 2
    if isinstance(regularizer, TextbookL2):
        return 0.0, config["strength"] / config["num_samples"] / (1 if config["loss"] == "mse" else 2)
    if isinstance(regularizer, L21) and config["groups"] == "rows":
        return config["strength"], config["l2"]
    own = (L1, L2, L1L2, keras.regularizers.L1, keras.regularizers.L2, keras.regularizers.L1L2)
    if isinstance(regularizer, own):
        return config.get("l1", 0.0), config.get("l2", 0.0)
    raise ValueError(f"to_sklearn has no counterpart for the penalty {type(regularizer).__name__}.")


def _no_bias_penalty(bias: tuple[float, float], name: str) -> None:
    if any(bias):
        raise ValueError(f"No estimator of scikit-learn penalises the intercept under the loss {name}.")


def _squared_error(regularizer: Any, kernel: tuple[float, float], rows: int, outputs: int, intercept: bool) -> Any:
    from sklearn import linear_model  # scikit-learn only where it is asked for

    l1, l2 = kernel[0] * outputs / 2, kernel[1] * outputs  # αρ and α(1 − ρ)
    if isinstance(regularizer, L21):
        if not l2:
            return linear_model.MultiTaskLasso(alpha=l1, fit_intercept=intercept)
        return linear_model.MultiTaskElasticNet(alpha=l1 + l2, l1_ratio=l1 / (l1 + l2), fit_intercept=intercept)
    if not l1 and not l2:
        return linear_model.LinearRegression(fit_intercept=intercept)
    if not l1:
        return linear_model.Ridge(alpha=l2 * rows, fit_intercept=intercept)
    if not l2:
        return linear_model.Lasso(alpha=l1, fit_intercept=intercept)
    return linear_model.ElasticNet(alpha=l1 + l2, l1_ratio=l1 / (l1 + l2), fit_intercept=intercept)


def _logistic_regression(kernel: tuple[float, float], bias: tuple[float, float], rows: int, intercept: bool) -> Any:
    from sklearn.linear_model import LogisticRegression  # scikit-learn only where it is asked for

    total = kernel[0] + 2 * kernel[1]  # 1/(C·n)
    arguments: dict[str, Any] = {"C": 1 / (total * rows) if total else math.inf, "fit_intercept": intercept}
    ratio = kernel[0] / total if total else 0.0
    if any(bias):
        if 0 < ratio < 1 or bool(bias[0]) != bool(kernel[0]):
            raise ValueError("liblinear penalises the intercept as it does the weights: L1 both, or L2 both.")
        scaling = kernel[0] / bias[0] if ratio else math.sqrt(kernel[1] / bias[1])
        return LogisticRegression(solver="liblinear", l1_ratio=ratio, intercept_scaling=scaling, **arguments)
    return LogisticRegression(solver="saga" if ratio else "lbfgs", l1_ratio=ratio, **arguments)


def _margin(
    loss: Any,
    key: str,
    kernel: tuple[float, float],
    bias: tuple[float, float],
    rows: int,
    outputs: int,
    intercept: bool,
) -> Any:
    from sklearn import linear_model, svm  # scikit-learn only where it is asked for

    hinge = {"hinge": "hinge", "squaredhinge": "squared_hinge"}.get(key)
    is_regression = isinstance(loss, EpsilonInsensitive)
    if is_regression:
        hinge = "squared_epsilon_insensitive" if loss.squared else "epsilon_insensitive"
    total = kernel[0] + 2 * kernel[1]
    if not intercept or any(bias):
        if kernel[0] and (kernel[1] or hinge != "squared_hinge"):
            raise ValueError("LinearSVC takes L1 alone, and with the squared hinge only.")
        if not total or (any(bias) and bool(bias[0]) != bool(kernel[0])):
            raise ValueError("liblinear penalises the intercept as it does the weights: L1 both, or L2 both.")
        scaling = 1.0
        if any(bias):
            scaling = kernel[0] / bias[0] if kernel[0] else math.sqrt(kernel[1] / bias[1])
        shared: dict[str, Any] = {"C": 1 / (total * rows * outputs), "fit_intercept": intercept, "loss": hinge}
        if is_regression:
            return svm.LinearSVR(epsilon=loss.epsilon, intercept_scaling=scaling, **shared)
        penalty = "l1" if kernel[0] else "l2"
        return svm.LinearSVC(penalty=penalty, intercept_scaling=scaling, **shared)
    arguments: dict[str, Any] = {"loss": hinge, "alpha": total * outputs, "fit_intercept": True, "penalty": None}
    if total:
        arguments |= {"penalty": "elasticnet", "l1_ratio": kernel[0] / total}
    if is_regression:
        return linear_model.SGDRegressor(epsilon=loss.epsilon, **arguments)
    return linear_model.SGDClassifier(**arguments)
