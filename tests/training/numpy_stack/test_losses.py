"""Losses, metrics and weights of rows: against Keras's fits, and each gradient against TensorFlow's own."""

import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfopt.errors import CannotStack
from tfopt.losses import QuantileLoss
from tfopt.training.fits import UnpenalizedLoss
from tfopt.training.numpy_stack.activations import ACTIVATIONS, softmax
from tfopt.training.numpy_stack.losses import Loss
from tfopt.training.numpy_stack.numbers import MemberNumbers

losses, layers = keras.losses, keras.layers
RATES = [{"lr": 0.1}, {"lr": 0.03}]
SMOOTH = [{"lr": 0.1, "smoothing": smoothing} for smoothing in (0.1, 0.0, 0.3)]


def dense(hp):
    return layers.Dense(8, "tanh")


def classes(x, y):
    return y


def column(x, y):
    return y[:, None]


def one_hot(x, y):
    return np.eye(4, dtype="float32")[y]


def several(x, y):
    return (x[:, :4] > 0).astype("float32")


def yes_or_no(x, y):
    return (y > 1).astype("float32")


def number(x, y):
    return x[:, 0] * x[:, 1]


def numbers(x, y):
    return x[:, :4] * x[:, 4:8]


# The loss, its targets, the width and activation of the output, metrics.
LOSSES = {
    "sparse, logits": (lambda hp: losses.SparseCategoricalCrossentropy(from_logits=True), classes, 4, None),
    "sparse, logits, column": (lambda hp: losses.SparseCategoricalCrossentropy(from_logits=True), column, 4, None),
    "sparse, softmax": (lambda hp: "sparse_categorical_crossentropy", classes, 4, "softmax"),
    "categorical, logits": (lambda hp: losses.CategoricalCrossentropy(from_logits=True), one_hot, 4, None),
    "categorical, softmax": (lambda hp: "categorical_crossentropy", one_hot, 4, "softmax"),
    "binary, logits": (lambda hp: losses.BinaryCrossentropy(from_logits=True), yes_or_no, 1, None),
    "binary, sigmoid": (lambda hp: "binary_crossentropy", yes_or_no, 1, "sigmoid"),
    "binary, four sigmoids": (lambda hp: losses.BinaryCrossentropy(), several, 4, "sigmoid"),
    "mse": (lambda hp: "mse", number, 1, None),
    "mse, column": (lambda hp: losses.MeanSquaredError(), lambda x, y: number(x, y)[:, None], 1, None),
    "mse, four numbers": (lambda hp: "mse", numbers, 4, None),
    "mse behind sigmoid": (lambda hp: "mse", several, 4, "sigmoid"),
    "mae": (lambda hp: losses.MeanAbsoluteError(), number, 1, None),
    "mae, four numbers": (lambda hp: "mae", numbers, 4, None),
    "quantiles": (lambda hp: QuantileLoss([0.1, 0.5, 0.75, 0.9]), number, 4, None),
}


@pytest.mark.long("sparse, logits, column", "categorical, softmax", "mse, column", "mae", "mse")
@pytest.mark.slow
@pytest.mark.parametrize("name", LOSSES)
def test_losses(name, network, check, rows):
    loss, targets, units, last = LOSSES[name]
    regression = name.startswith("m")
    metrics = ["mae", "mse"] if regression else [] if name == "quantiles" else ["accuracy"]
    build = network(dense, loss=loss, units=units, last=last, metrics=metrics)
    _, [result, _] = check(build, RATES, epochs=1, engine={"y": targets(*rows)}, predict=np.arange(9))
    assert set(result.history) == {prefix + log for prefix in ("", "val_") for log in ("loss", *metrics)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("loss", "targets", "units"),
    [
        (lambda **a: losses.CategoricalCrossentropy(from_logits=True, **a), one_hot, 4),
        (lambda **a: losses.BinaryCrossentropy(from_logits=True, **a), several, 4),
    ],
    ids=["categorical", "binary"],
)
def test_label_smoothing_of_each_member(loss, targets, units, network, check, rows):
    build = network(dense, loss=lambda hp: loss(label_smoothing=hp["smoothing"]), units=units)
    check(build, SMOOTH, epochs=1, engine={"y": targets(*rows)})


@pytest.mark.slow
@pytest.mark.parametrize("function", ["softmax", "tanh"])
def test_an_activation_layer_at_the_output(function, check, rows):
    def build(hp):
        model = keras.Sequential([keras.Input((16,)), layers.Dense(4), layers.Activation(function)])
        loss = "categorical_crossentropy" if function == "softmax" else "mse"
        model.compile(keras.optimizers.SGD(hp["lr"]), loss, metrics=["mae"])
        return model

    check(build, RATES, epochs=1, engine={"y": one_hot(*rows)}, predict=np.arange(9))


def test_the_loss_without_penalties(check, rows):
    """What the searches compare: the loss that is trained on contains what is being tuned."""

    def build(hp):
        penalty = keras.regularizers.L2(0.1)
        model = keras.Sequential([keras.Input((16,)), layers.Dense(4, kernel_regularizer=penalty)])
        loss = losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(hp["lr"]), loss, weighted_metrics=[UnpenalizedLoss(loss, "bare")])
        return model

    weights = np.random.default_rng(1).uniform(0, 2, len(rows[1])).astype("float32")
    _, [result, _] = check(build, RATES, engine={"sample_weight": weights, "validation": (*rows, weights)})
    assert result.history["bare"][0] < result.history["loss"][0] - 0.1


METRICS = {
    "by name": (["accuracy", "mse"], one_hot),
    "by class": ([keras.metrics.CategoricalAccuracy(name="right"), keras.metrics.MeanAbsoluteError()], one_hot),
    "by function": ([keras.metrics.mean_squared_error], one_hot),
    "binary accuracy": ([keras.metrics.BinaryAccuracy()], several),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", METRICS)
def test_metrics(name, network, check, rows):
    metrics, targets = METRICS[name]
    build = network(dense, loss=lambda hp: "mse", metrics=[], last="sigmoid")

    def measured(hp):
        model = build(hp)
        own = [m if callable(m) and not isinstance(m, keras.metrics.Metric) else _again(m) for m in metrics]
        model.compile(model.optimizer, "mse", metrics=own)
        return model

    check(measured, RATES[:1], engine={"y": targets(*rows)})


def _again(metric):
    return metric if isinstance(metric, str) else type(metric).from_config(metric.get_config())


@pytest.mark.long("sparse, softmax")
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sparse, softmax", "mse, four numbers"])
def test_weights_of_rows(kind, network, check, rows):
    loss, targets, units, last = LOSSES[kind]
    y = targets(*rows)
    weights = np.random.default_rng(1).uniform(0, 2, len(y)).astype("float32")
    build = network(dense, loss=loss, units=units, last=last, metrics=["mae"] if last is None else ["accuracy"])
    engine = {"y": y, "sample_weight": weights, "validation": (rows[0][:20], y[:20], weights[:20])}
    check(build, RATES, engine=engine)
    fold = np.arange(30, 70)
    check(build, RATES[:1], engine=engine | {"validation": None}, rows=np.arange(30), validation=fold)


# Slopes ---------------------------------------------------------------------------------------------------------------


def _numbers():
    return MemberNumbers((), types.SimpleNamespace(numbers={}, setters={}))


GRADIENTS = {
    "mse": (losses.MeanSquaredError(), numbers),
    "mae": (losses.MeanAbsoluteError(), numbers),
    "sparse": (losses.SparseCategoricalCrossentropy(from_logits=True), column),
    "categorical": (losses.CategoricalCrossentropy(from_logits=True), one_hot),
    "categorical, several classes": (losses.CategoricalCrossentropy(from_logits=True), several),
    "categorical, smoothed": (losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.2), one_hot),
    "binary": (losses.BinaryCrossentropy(from_logits=True), several),
    "binary, smoothed": (losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.2), several),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_of_the_rows_losses(name, rows):
    loss, targets = GRADIENTS[name]
    y = targets(*rows)
    z = 3 * np.random.default_rng(0).normal(size=(len(y), 4))
    z[0] = 60 * z[0]  # far out, where a naive formula overflows
    with tf.GradientTape() as tape:
        tensor = tf.constant(z)
        tape.watch(tensor)
        expected = loss.call(tf.constant(y if name == "sparse" else y.astype("float64")), tensor)
    slopes = tape.gradient(expected, tensor)
    ours = Loss(loss, keras.activations.linear, 4, _numbers())
    ours.load()
    with np.errstate(over="ignore"):  # as in training
        own, gradient = ours.rows(z[None], y[None].astype("float64"))
    np.testing.assert_allclose(own[0], expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(gradient[0], slopes, rtol=1e-6, atol=1e-7)


def elementwise_activations():
    """Return Keras's functions of one array that treat each number by itself."""
    z = tf.constant([[-2.0, -0.3, 0.4, 3.0]])
    found = []
    for name, function in sorted(vars(keras.activations).items()):
        if not callable(function) or name in ("get", "serialize", "deserialize"):
            continue
        try:
            together, apart = function(z), tf.concat([function(z[:, :2]), function(z[:, 2:])], axis=1)
        except (TypeError, ValueError, tf.errors.InvalidArgumentError):
            continue  # needs further arguments, or halves its input
        if together.shape == z.shape and np.allclose(together, apart):
            found.append(function)
    return list(dict.fromkeys(found))


@pytest.mark.parametrize("function", elementwise_activations(), ids=lambda function: function.__name__)
def test_every_elementwise_activation_of_keras_and_its_slope(function):
    """At zero as well, where rows without a signal end, and far out; kinks elsewhere are stepped over."""
    z = np.concatenate([[-90, -1e-3, 0, 1e-3, 80], np.linspace(-6.05, 6.15, 48)]).astype("float32")
    with tf.GradientTape() as tape:
        tensor = tf.constant(z.astype("float64"))
        tape.watch(tensor)
        expected = function(tensor)
    slopes = tape.gradient(expected, tensor)
    value, slope, needs_input = ACTIVATIONS[function]
    out = value(z.copy())
    assert out.dtype == "float32"
    np.testing.assert_allclose(out, expected, rtol=2e-6, atol=2e-6)
    found = np.ones_like(z) if slope is None else slope(z if needs_input else None, out)
    np.testing.assert_allclose(found, slopes, rtol=2e-6, atol=6e-7)


def test_softmax_of_large_logits():
    np.testing.assert_allclose(softmax(np.array([[1e4, 1e4, -1e4]], "float32")), [[0.5, 0.5, 0]])


@pytest.mark.parametrize(
    ("loss", "reason"),
    [
        (losses.MeanSquaredError(reduction="sum"), "is not known"),
        (losses.Huber(), "is not known"),
        (losses.SparseCategoricalCrossentropy(), "neither logits nor a softmax"),
        (losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=0), "ignores a class"),
        (losses.CategoricalCrossentropy(from_logits=True, axis=0), "another axis"),
    ],
)
def test_losses_that_are_refused(loss, reason):
    with pytest.raises(CannotStack, match=reason):
        Loss(loss, keras.activations.linear, 4, _numbers())
