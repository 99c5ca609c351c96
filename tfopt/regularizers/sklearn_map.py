"""scikit-learn's estimators as Keras penalties and losses.

scikit-learn sums or halves its data terms where Keras averages, so equal numbers mean unequal penalties: `Ridge(10)` on
442 rows is `L2(10 / 442)`, and `L2(10)` in its place shrinks the weights to a sixth. Each entry below writes down one
estimator's objective and divides it until its data term is Keras's loss.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

from tfopt._arguments import count_argument
from tfopt.errors import nearest
from tfopt.regularizers.base import Penalty
from tfopt.regularizers.elementwise import L1, L1L2, L2
from tfopt.regularizers.group import L21
from tfopt.regularizers.losses import EpsilonInsensitive
from tfopt.regularizers.sklearn_estimators import to_sklearn


@dataclass(frozen=True)
class SklearnPenalty:
    """What makes a Keras layer minimise a scikit-learn estimator's objective.

    Args:
        kernel_regularizer: Penalty on the kernel (every kernel, for the multi-layer perceptrons); None for none.
        bias_regularizer: Penalty on the bias, where scikit-learn penalises its intercept (liblinear); else None.
        loss: The loss to compile with; the classifiers' ones take logits.
        activation: Activation of the output layer.
        units: Units of the output layer.
        use_bias: Whether the estimator fits an intercept.
        kernel_constraint: `NonNeg` for `positive=True`, else None.
        class_weight: The estimator's own, to be passed to `fit` as class or sample weights.
        batch_size: The batch size by which the multi-layer perceptrons divide their penalty; None elsewhere.
        n_samples: Training rows that the strengths are meant for.

    Example:
        ```python
        from sklearn.linear_model import Lasso

        p = tfopt.regularizers.from_sklearn(Lasso(alpha=0.5), n_samples=100)
        print(p.kernel_regularizer, p.bias_regularizer)  # L1(l1=1.0) None
        model = keras.Sequential([keras.Input((10,)), p.dense()])
        ```
    """

    kernel_regularizer: Penalty | None
    bias_regularizer: Penalty | None
    loss: keras.losses.Loss
    activation: str = "linear"
    units: int = 1
    use_bias: bool = True
    kernel_constraint: Any = None
    class_weight: Any = None
    batch_size: int | None = None
    n_samples: int = 1

    def dense(self, **arguments: Any) -> keras.layers.Dense:
        """Return the output layer with all of this set; `arguments` go to `keras.layers.Dense` too."""
        own = {
            "activation": self.activation,
            "use_bias": self.use_bias,
            "kernel_regularizer": self.kernel_regularizer,
            "bias_regularizer": self.bias_regularizer,
            "kernel_constraint": self.kernel_constraint,
        }
        return keras.layers.Dense(self.units, **{**own, **arguments})

    def to_sklearn(self) -> Any:
        """Return an unfitted scikit-learn estimator with this objective; see `tfopt.regularizers.to_sklearn`."""
        return to_sklearn(
            self.kernel_regularizer,
            self.n_samples,
            loss=self.loss,
            n_outputs=self.units,
            bias_regularizer=self.bias_regularizer,
            fit_intercept=self.use_bias,
        )


def from_sklearn(estimator: Any, n_samples: int, n_outputs: int = 1) -> SklearnPenalty:
    """Return the penalties and the loss under which a Keras layer has the solution of a scikit-learn estimator.

    Use it to carry an α or C found by `GridSearchCV` over to a network, or to compare the two on equal terms. The
    estimator need not be fitted. Keras adds the penalty once a batch, whatever the batch's size, so the strengths
    hold for mini-batches as well as for the full batch.

    Args:
        estimator: `Ridge`, `Lasso`, `ElasticNet`, `MultiTaskLasso`, `MultiTaskElasticNet`, `LogisticRegression`,
            `SGDRegressor`, `SGDClassifier`, `PoissonRegressor`, `LinearSVC`, `LinearSVR`, `MLPRegressor` or
            `MLPClassifier`, or a subclass of one.
        n_samples: Number of training rows; scikit-learn sums over rows where Keras averages.
        n_outputs: Targets of a regression; for a classifier 1 for two classes, else the number of classes.

    Returns:
        A `SklearnPenalty`.

    Raises:
        TypeError: The estimator is not in the map.
        ValueError: A parameter of the estimator has no counterpart.

    Example:
        ```python
        from sklearn.linear_model import Ridge

        p = tfopt.regularizers.from_sklearn(Ridge(alpha=10.0), n_samples=442)
        model = keras.Sequential([keras.Input((10,)), keras.layers.Dense(1, kernel_regularizer=p.kernel_regularizer)])
        model.compile("sgd", p.loss)
        ```
    """
    rows = count_argument(n_samples, "from_sklearn", "n_samples")
    outputs = count_argument(n_outputs, "from_sklearn", "n_outputs")
    # By name, so that scikit-learn is only imported by those who use it.
    for cls in type(estimator).__mro__:
        if cls.__module__.startswith("sklearn.") and cls.__name__ in _MAP:
            return _MAP[cls.__name__](estimator.get_params(deep=False), rows, outputs)
    name = type(estimator).__name__
    raise TypeError(
        f"from_sklearn has no counterpart for {name}.{nearest(name, _MAP)} It knows: {', '.join(sorted(_MAP))}."
    )


def _penalty(l1: float, l2: float) -> Penalty | None:
    if l1 and l2:
        return L1L2(l1=l1, l2=l2)
    if l1:
        return L1(l1)
    return L2(l2) if l2 else None


def _alpha(parameters: dict[str, Any]) -> float:
    alpha = parameters["alpha"]
    if getattr(alpha, "ndim", 0) or isinstance(alpha, (list, tuple)):
        raise ValueError("from_sklearn needs one `alpha` for all targets. Convert one estimator a target instead.")
    return float(alpha)


def _linear(parameters: dict[str, Any], kernel: Penalty | None, rows: int, outputs: int) -> SklearnPenalty:
    return SklearnPenalty(
        kernel,
        None,
        keras.losses.MeanSquaredError(),
        units=outputs,
        use_bias=parameters["fit_intercept"],
        kernel_constraint=keras.constraints.NonNeg() if parameters.get("positive") else None,
        n_samples=rows,
    )


def _ridge(parameters: dict[str, Any], rows: int, outputs: int) -> SklearnPenalty:
    # ‖Y − XW‖² + α‖W‖², over n·m
    return _linear(parameters, _penalty(0, _alpha(parameters) / (rows * outputs)), rows, outputs)


def _lasso(parameters: dict[str, Any], rows: int, outputs: int) -> SklearnPenalty:
    # ‖y − Xw‖²/2n + α‖w‖₁ for each target, times 2/m
    return _linear(parameters, _penalty(2 * _alpha(parameters) / outputs, 0), rows, outputs)


def _elastic_net(parameters: dict[str, Any], rows: int, outputs: int) -> SklearnPenalty:
    # ‖y − Xw‖²/2n + αρ‖w‖₁ + ½α(1 − ρ)‖w‖² for each target, times 2/m
    alpha, ratio = _alpha(parameters), parameters["l1_ratio"]
    return _linear(parameters, _penalty(2 * alpha * ratio / outputs, alpha * (1 - ratio) / outputs), rows, outputs)


def _multi_task(parameters: dict[str, Any], rows: int, outputs: int) -> SklearnPenalty:
    # ‖Y − XW‖²/2n + αρ Σ‖w_j‖ + ½α(1 − ρ)‖W‖², times 2/m
    alpha, ratio = _alpha(parameters), parameters.get("l1_ratio", 1.0)
    penalty = L21(2 * alpha * ratio / outputs, l2=alpha * (1 - ratio) / outputs)
    return _linear(parameters, penalty if alpha else None, rows, outputs)


def _poisson(parameters: dict[str, Any], rows: int, outputs: int) -> SklearnPenalty:
    # mean(exp(z) − y z) + ½α‖w‖²
    penalty = _penalty(0, _alpha(parameters) / 2)
    loss = keras.losses.Poisson()
    return SklearnPenalty(penalty, None, loss, "exponential", outputs, parameters["fit_intercept"], n_samples=rows)


def _cross_entropy(outputs: int) -> keras.losses.Loss:
    if outputs == 1:
        return keras.losses.BinaryCrossentropy(from_logits=True)
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def _logistic(parameters: dict[str, Any], rows: int, outputs: int) -> SklearnPenalty:
    # C Σ loss + ρ‖w‖₁ + ½(1 − ρ)‖w‖², over C·n
    ratio = {"l1": 1.0, "l2": 0.0}.get(parameters.get("penalty") or "", parameters["l1_ratio"] or 0.0)
    scale = 0.0 if parameters.get("penalty", "") is None else 1 / (parameters["C"] * rows)
    l1, l2 = ratio * scale, (1 - ratio) * scale / 2
    bias = None
    if parameters["solver"] == "liblinear" and parameters["fit_intercept"]:
        if outputs > 1:
            raise ValueError("LogisticRegression(solver='liblinear') takes two classes only. Received: n_outputs > 1.")
        # liblinear's intercept is the weight of a constant feature, penalised like the others.
        scaling = parameters["intercept_scaling"]
        bias = _penalty(l1 / scaling, l2 / scaling**2)
    return SklearnPenalty(
        _penalty(l1, l2),
        bias,
        _cross_entropy(outputs),
        units=outputs,
        use_bias=parameters["fit_intercept"],
        class_weight=parameters["class_weight"],
        n_samples=rows,
    )


def _support_vectors(
    parameters: dict[str, Any], rows: int, outputs: int, loss: keras.losses.Loss, penalty: str
) -> SklearnPenalty:
    # C Σ loss + ‖(w, b/s)‖₁ or ½‖(w, b/s)‖², over C·n·m: one against the rest for each of m classes
    scale = 1 / (parameters["C"] * rows * outputs)
    l1, l2 = (scale, 0.0) if penalty == "l1" else (0.0, scale / 2)
    scaling = parameters["intercept_scaling"]
    return SklearnPenalty(
        _penalty(l1, l2),
        _penalty(l1 / scaling, l2 / scaling**2) if parameters["fit_intercept"] else None,
        loss,
        units=outputs,
        use_bias=parameters["fit_intercept"],
        class_weight=parameters.get("class_weight"),
        n_samples=rows,
    )


def _linear_svc(parameters: dict[str, Any], rows: int, outputs: int) -> SklearnPenalty:
    if parameters["multi_class"] != "ovr" and outputs > 1:
        raise ValueError("LinearSVC(multi_class='crammer_singer') has no counterpart. Use multi_class='ovr'.")
    loss = {"hinge": keras.losses.Hinge, "squared_hinge": keras.losses.SquaredHinge}[parameters["loss"]]()
    return _support_vectors(parameters, rows, outputs, loss, parameters["penalty"])


def _linear_svr(parameters: dict[str, Any], rows: int, outputs: int) -> SklearnPenalty:
    loss = EpsilonInsensitive(parameters["epsilon"], squared=parameters["loss"].startswith("squared"))
    return _support_vectors(parameters, rows, outputs, loss, "l2")


def _sgd(parameters: dict[str, Any], rows: int, outputs: int) -> SklearnPenalty:
    # mean(loss) + α(ρ‖w‖₁ + ½(1 − ρ)‖w‖²) for each output, times the factor that makes its loss Keras's, over m
    epsilon = parameters["epsilon"]
    losses: dict[str, tuple[Callable[[], keras.losses.Loss], float]] = {
        "squared_error": (keras.losses.MeanSquaredError, 2.0),
        "huber": (lambda: keras.losses.Huber(delta=epsilon), 1.0),
        "epsilon_insensitive": (lambda: EpsilonInsensitive(epsilon), 1.0),
        "squared_epsilon_insensitive": (lambda: EpsilonInsensitive(epsilon, squared=True), 1.0),
        "hinge": (keras.losses.Hinge, 1.0),
        "squared_hinge": (keras.losses.SquaredHinge, 1.0),
        "log_loss": (lambda: keras.losses.BinaryCrossentropy(from_logits=True), 1.0),
    }
    if parameters["loss"] not in losses:
        raise ValueError(f"from_sklearn has no Keras loss for loss={parameters['loss']!r}. It knows: {list(losses)}.")
    make, factor = losses[parameters["loss"]]
    ratio = {"l1": 1.0, "l2": 0.0}.get(parameters["penalty"], parameters["l1_ratio"])
    scale = 0.0 if parameters["penalty"] is None else _alpha(parameters) * factor / outputs
    return SklearnPenalty(
        _penalty(ratio * scale, (1 - ratio) * scale / 2),
        None,
        make(),
        units=outputs,
        use_bias=parameters["fit_intercept"],
        class_weight=parameters.get("class_weight"),
        n_samples=rows,
    )


def _perceptron(parameters: dict[str, Any], rows: int, outputs: int, loss: keras.losses.Loss, factor: float) -> Any:
    # mean over the batch of the loss + α/2b Σ‖W‖², times the factor that makes the loss Keras's; b is the BATCH size
    batch = rows if parameters["solver"] == "lbfgs" else parameters["batch_size"]
    batch = min(200, rows) if batch == "auto" else min(int(batch), rows)
    activation = "exponential" if parameters.get("loss") == "poisson" else "linear"
    penalty = _penalty(0, _alpha(parameters) * factor / (2 * batch))
    return SklearnPenalty(penalty, None, loss, activation, outputs, batch_size=batch, n_samples=rows)


def _mlp_regressor(parameters: dict[str, Any], rows: int, outputs: int) -> SklearnPenalty:
    if parameters["loss"] == "poisson":
        return _perceptron(parameters, rows, outputs, keras.losses.Poisson(), 1 / outputs)
    return _perceptron(parameters, rows, outputs, keras.losses.MeanSquaredError(), 2.0)


def _mlp_classifier(parameters: dict[str, Any], rows: int, outputs: int) -> SklearnPenalty:
    return _perceptron(parameters, rows, outputs, _cross_entropy(outputs), 1.0)


_MAP: dict[str, Callable[[dict[str, Any], int, int], SklearnPenalty]] = {
    "Ridge": _ridge,
    "Lasso": _lasso,
    "ElasticNet": _elastic_net,
    "MultiTaskLasso": _multi_task,
    "MultiTaskElasticNet": _multi_task,
    "LogisticRegression": _logistic,
    "SGDRegressor": _sgd,
    "SGDClassifier": _sgd,
    "PoissonRegressor": _poisson,
    "LinearSVC": _linear_svc,
    "LinearSVR": _linear_svr,
    "MLPRegressor": _mlp_regressor,
    "MLPClassifier": _mlp_classifier,
}
