"""One network with fixed settings as a scikit-learn estimator, trained on tfopt's engines."""

import math
from dataclasses import dataclass
from typing import Any, Self

import keras
import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.model_selection import train_test_split
from sklearn.utils import Tags, check_array, check_consistent_length, check_random_state, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from tfopt._arguments import choice_argument, count_argument, number_argument
from tfopt.initializers import for_activation
from tfopt.schedules import from_name, names
from tfopt.training.fits import Engine, FitRequest, FitResult, Monitor
from tfopt.training.population_engine import PopulationEngine


@dataclass(frozen=True)
class Part:
    """What one fit learns.

    Args:
        x: (rows, features), standardised.
        y: (rows, targets), standardised, or class codes (rows,).
        weights: (rows,), 1 on average, or None.
        request: To an engine that holds these rows alone.
    """

    x: np.ndarray
    y: np.ndarray
    weights: np.ndarray | None
    request: FitRequest


def build(settings: dict[str, Any]) -> keras.Model:
    """Return the compiled network of an estimator's settings: `tfopt.models.mlp` for columns that are scaled already.

    Of dense layers alone, so that many are trained together in NumPy.
    """
    activation, num_outputs = settings["activation"], settings["num_outputs"]
    initializer = for_activation(activation)
    inputs = keras.Input((settings["num_features"],))
    hidden: Any = inputs
    for index in range(settings["num_layers"]):
        name = f"hidden_{index}"
        hidden = keras.layers.Dense(settings["units"], activation, kernel_initializer=initializer, name=name)(hidden)
        if settings["dropout"]:
            hidden = keras.layers.Dropout(settings["dropout"])(hidden)
    outputs = keras.layers.Dense(num_outputs, dtype="float32", name="outputs")(hidden)
    if settings["linear_shortcut"] and settings["num_layers"]:
        shortcut = keras.layers.Dense(num_outputs, use_bias=False, dtype="float32", name="linear_shortcut")(inputs)
        outputs = keras.layers.Add()([outputs, shortcut])
    model = keras.Model(inputs, outputs)
    loss: Any = keras.losses.MeanSquaredError()
    if settings["is_classifier"]:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    rate = from_name(settings["schedule"], settings["learning_rate"], settings["total_steps"])
    model.compile(keras.optimizers.AdamW(rate, weight_decay=settings["weight_decay"]), loss)
    return model


class NetworkEstimator(BaseEstimator):
    """What the two estimators share; see `NetworkClassifier` for the arguments."""

    _is_classifier = False

    def __init__(
        self,
        *,
        units: int = 64,
        num_layers: int = 2,
        activation: str = "relu",
        linear_shortcut: bool = True,
        dropout: float = 0.2,
        learning_rate: float = 0.005,
        schedule: str = "cosine",
        weight_decay: float = 1.0,
        epochs: int = 100,
        batch_size: int = 32,
        patience: int | None = None,
        validation_fraction: float = 0.1,
        random_state: int | np.random.RandomState | None = None,
    ):
        self.units = units
        self.num_layers = num_layers
        self.activation = activation
        self.linear_shortcut = linear_shortcut
        self.dropout = dropout
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.weight_decay = weight_decay
        self.epochs = epochs
        self.batch_size = batch_size
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train the network.

        Args:
            X: Numbers, (rows, features), without gaps; a `ColumnTransformer` makes them of anything else.
            y: The targets.
            sample_weight: A weight a row, relative to the others; rows of weight 0 are left out.

        Raises:
            ValueError: A setting, or the table, cannot be used.
            RuntimeError: The training failed.
        """
        part = self.begin(X, y, sample_weight)
        engine = PopulationEngine(build, part.x, part.y, part.weights, probe=False)
        [result] = engine.fit([part.request])
        return self.end(result, engine, part.request)

    def begin(self, X: Any, y: Any, sample_weight: Any = None) -> Part:
        """Learn the scaling of the columns, and return what is to be trained; `end` takes the result."""
        self._check_settings()
        X, y = validate_data(self, X, y, dtype=np.float64, multi_output=True, y_numeric=not self._is_classifier)
        weights = None if sample_weight is None else checked_weights(sample_weight, X)
        if weights is not None:
            X, y, weights = X[weights > 0], y[weights > 0], weights[weights > 0]
            weights = weights / weights.mean()
        self.mean_, self.scale_ = _mean_and_scale(X, weights)
        targets, num_outputs = self._learn_targets(y, weights)
        rows, held = np.arange(len(X)), None
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        if self.patience is not None:
            classes = targets if self._is_classifier else None
            fraction = self.validation_fraction
            rows, held = train_test_split(rows, test_size=fraction, stratify=classes, random_state=seed)
        self._settings = {
            **{name: value for name, value in self.get_params(deep=False).items() if name != "random_state"},
            "num_features": X.shape[1],
            "num_outputs": num_outputs,
            "total_steps": self.epochs * math.ceil(len(rows) / self.batch_size),
            "is_classifier": self._is_classifier,
        }
        monitor = None if held is None else Monitor("val_loss", "min", self.patience)
        request = FitRequest(self._settings, seed, self.epochs, self.batch_size, rows, held, monitor=monitor)
        return Part((X - self.mean_) / self.scale_, targets, weights, request)

    def end(self, result: FitResult, engine: Engine, request: FitRequest) -> Self:
        """Take what an engine trained: the weights after the last epoch, or after the best one with `patience`."""
        if result.failure is not None:
            raise RuntimeError(f"{type(self).__name__} could not be trained: {result.failure}")
        state = result.state if request.monitor is None else result.best_state
        assert state is not None  # of a fit that did not fail
        layers = engine.model(request, state).layers
        self.weights_ = {layer.name: layer.get_weights() for layer in layers if layer.weights}
        self.history_ = result.history
        self.n_iter_ = len(result.history["loss"])
        return self

    def to_keras(self) -> keras.Model:
        """Return a Keras model of unscaled columns, to save or to serve: targets, or the logits of the classes."""
        check_is_fitted(self)
        network = build(self._settings)
        for name, weights in self.weights_.items():
            network.get_layer(name).set_weights(weights)
        network = keras.Model(network.input, network.output)  # not compiled
        inputs = keras.Input((self.n_features_in_,))
        outputs = network(keras.layers.Normalization(mean=self.mean_, variance=self.scale_**2)(inputs))
        if not self._is_classifier:
            mean, variance = self.target_mean_, self.target_scale_**2
            outputs = keras.layers.Normalization(mean=mean, variance=variance, invert=True)(outputs)
        return keras.Model(inputs, outputs)

    def _outputs(self, X: Any) -> np.ndarray:
        """Return the outputs for each row, computed in float64: they do not depend on the rows beside it."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float64)
        rows = hidden = (X - self.mean_) / self.scale_
        activation = keras.activations.get(self._settings["activation"])
        for index in range(self._settings["num_layers"]):
            kernel, bias = self.weights_[f"hidden_{index}"]
            hidden = keras.ops.convert_to_numpy(activation(keras.ops.convert_to_tensor(hidden @ kernel + bias)))
        kernel, bias = self.weights_["outputs"]
        outputs = hidden @ kernel + bias
        if "linear_shortcut" in self.weights_:
            outputs += rows @ self.weights_["linear_shortcut"][0]
        return outputs

    def _learn_targets(self, y: np.ndarray, weights: np.ndarray | None) -> tuple[np.ndarray, int]:
        """Return the targets as the network learns them, and how many outputs it has."""
        raise NotImplementedError

    def _check_settings(self) -> None:
        owner = type(self).__name__
        for name, least in (("units", 1), ("epochs", 1), ("batch_size", 1), ("num_layers", 0)):
            count_argument(getattr(self, name), owner, name, least)
        if self.patience is not None:
            count_argument(self.patience, owner, "patience")
        number_argument(self.learning_rate, owner, "learning_rate", 0.0, exclusive=True)
        number_argument(self.weight_decay, owner, "weight_decay", 0.0)
        number_argument(self.dropout, owner, "dropout", 0.0, 0.999)
        number_argument(self.validation_fraction, owner, "validation_fraction", 0.0, 1.0, exclusive=True)
        choice_argument(self.schedule, owner, "schedule", names())
        keras.activations.get(self.activation)


class NetworkClassifier(ClassifierMixin, NetworkEstimator):
    """A multilayer perceptron as a scikit-learn classifier.

    Use it where scikit-learn wants an estimator: pipelines, `cross_val_score`, `GridSearchCV`, stacking. Columns are
    standardised inside. It is trained on tfopt's engines, small networks in NumPy without a graph to trace, and is
    pickled without Keras. `tfopt.sklearn.cross_validate` trains all folds of one at once; `cross_val_score` fits them
    one after another.

    Args:
        units: Width of the hidden layers.
        num_layers: Number of hidden layers; 0 for a linear model.
        activation: Keras's name.
        linear_shortcut: Whether a linear map of the inputs is added to the outputs.
        dropout: Rate after each hidden layer, in [0, 1).
        learning_rate: AdamW's, at the top of the schedule.
        schedule: A name of `tfopt.schedules.names()`.
        weight_decay: AdamW's.
        epochs: Passes over the rows.
        batch_size: Rows a step.
        patience: Epochs without a better loss on held-out rows after which the training ends, with the weights of the
            best epoch; None trains on all rows to the end.
        validation_fraction: Share of the rows that `patience` looks at.
        random_state: Seed of weights, order of rows, dropout and held-out rows, as scikit-learn has it.

    Attributes:
        classes_: The class labels.
        history_: The losses of each epoch.
        n_iter_: Epochs trained.
        weights_: The weights of each layer, by its name.

    Example:
        ```python
        from sklearn.datasets import load_iris

        x, y = load_iris(return_X_y=True)
        network = tfopt.sklearn.NetworkClassifier(epochs=30, random_state=0)
        print(bool(network.fit(x, y).score(x, y) > 0.9))  # True
        ```
    """

    _is_classifier = True

    def predict(self, X: Any) -> np.ndarray:
        """Return the class of each row."""
        outputs = self._outputs(X)
        return self.classes_[outputs.argmax(axis=1)]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class for each row, in the order of `classes_`."""
        outputs = self._outputs(X)
        shares = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        return shares / shares.sum(axis=1, keepdims=True)

    def _learn_targets(self, y: np.ndarray, weights: np.ndarray | None) -> tuple[np.ndarray, int]:
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"{type(self).__name__} needs rows of at least 2 classes. Received: one class, {self.classes_[0]!r}."
            )
        return codes, len(self.classes_)


class NetworkRegressor(RegressorMixin, NetworkEstimator):
    """A multilayer perceptron as a scikit-learn regressor, of one target or several.

    Use it where scikit-learn wants an estimator: pipelines, `cross_val_score`, `GridSearchCV`, stacking. Columns and
    targets are standardised inside. It is trained on tfopt's engines, small networks in NumPy without a graph to
    trace, and is pickled without Keras. `tfopt.sklearn.cross_validate` trains all folds of one at once;
    `cross_val_score` fits them one after another.

    Args:
        units: Width of the hidden layers.
        num_layers: Number of hidden layers; 0 for a linear model.
        activation: Keras's name.
        linear_shortcut: Whether a linear map of the inputs is added to the outputs.
        dropout: Rate after each hidden layer, in [0, 1).
        learning_rate: AdamW's, at the top of the schedule.
        schedule: A name of `tfopt.schedules.names()`.
        weight_decay: AdamW's.
        epochs: Passes over the rows.
        batch_size: Rows a step.
        patience: Epochs without a better loss on held-out rows after which the training ends, with the weights of the
            best epoch; None trains on all rows to the end.
        validation_fraction: Share of the rows that `patience` looks at.
        random_state: Seed of weights, order of rows, dropout and held-out rows, as scikit-learn has it.

    Attributes:
        history_: The losses of each epoch, of standardised targets.
        n_iter_: Epochs trained.
        weights_: The weights of each layer, by its name.

    Example:
        ```python
        from sklearn.datasets import load_diabetes

        x, y = load_diabetes(return_X_y=True)
        network = tfopt.sklearn.NetworkRegressor(epochs=30, random_state=0)
        print(bool(network.fit(x, y).score(x, y) > 0.4))  # True
        ```
    """

    def predict(self, X: Any) -> np.ndarray:
        """Return the targets of each row, (rows,) or (rows, targets)."""
        outputs = self._outputs(X) * self.target_scale_ + self.target_mean_
        return outputs[:, 0] if self._is_flat else outputs

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _learn_targets(self, y: np.ndarray, weights: np.ndarray | None) -> tuple[np.ndarray, int]:
        self._is_flat = y.ndim == 1
        if y.ndim == 2 and y.shape[1] == 1:
            y, self._is_flat = column_or_1d(y, warn=True), True
        y = y.reshape(len(y), -1).astype(np.float64)
        self.target_mean_, self.target_scale_ = _mean_and_scale(y, weights)
        return (y - self.target_mean_) / self.target_scale_, y.shape[1]


def checked_weights(sample_weight: Any, X: Any) -> np.ndarray:
    """Return weights of the rows of X, or say what they cannot be."""
    weights = check_array(sample_weight, ensure_2d=False, dtype=np.float64, input_name="sample_weight")
    if weights.ndim != 1:
        raise ValueError(f"Argument `sample_weight` must be a weight a row. Received: shape {weights.shape}.")
    check_consistent_length(weights, X)
    if weights.min() < 0 or not weights.any():
        raise ValueError("Argument `sample_weight` must be >= 0, with a weight above zero for at least one row.")
    return weights


def _mean_and_scale(values: np.ndarray, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean of each column and its standard deviation, 1 for a column that is constant."""
    mean = np.average(values, axis=0, weights=weights)
    scale = np.sqrt(np.average((values - mean) ** 2, axis=0, weights=weights))
    return mean, np.where(scale > 1e-12 * np.abs(mean), scale, 1.0)
