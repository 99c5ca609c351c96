"""Learning-rate factors, decays and scheduled strengths of layers, under stock optimizers and nothing else."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfopt
from tfopt import layers, schedules
from tfopt.callbacks import HyperparameterScheduler

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(64, 3)).astype("float32"), RNG.normal(size=(64, 1)).astype("float32")
K = keras.optimizers
OPTIMIZERS = {
    "sgd": lambda rate: K.SGD(rate),
    "nesterov": lambda rate: K.SGD(rate, momentum=0.9, nesterov=True),
    "adam": lambda rate: K.Adam(rate, epsilon=0.1),  # an epsilon that matters: a gradient of another scale would show
    "rmsprop": lambda rate: K.RMSprop(rate, epsilon=0.1),
    "clipped": lambda rate: K.Adam(rate, clipvalue=0.05),
}
DECAY = schedules.LinearDecay(0.05, 8)


def _expected(make, kernel, bias, factors, decay, steps):
    """A linear model whose kernel and bias have an optimizer each, and a kernel that decays before the step."""
    kernel, bias = keras.Variable(kernel), keras.Variable(bias)
    each = [make(0.05 * factor) for factor in factors]
    for step in range(steps):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((X @ (kernel.value / np.sqrt(3)) + bias.value - Y) ** 2)
        gradients = tape.gradient(loss, [kernel.value, bias.value])
        kernel.assign(kernel * (1 - decay[step]))
        for optimizer, variable, gradient in zip(each, (kernel, bias), gradients, strict=True):
            optimizer.apply([gradient], [variable])
    return kernel.numpy(), bias.numpy()


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("decays", [False, True])
def test_factor_and_decay_are_those_of_an_optimizer_for_each_weight(name, decays):
    steps = 10
    layer = layers.NeuralTangentDense(
        1, learning_rate_factor=3.0, bias_learning_rate_factor=0.1, decay=DECAY if decays else 0.0
    )
    model = keras.Sequential([keras.Input((3,)), layer])
    start = layer.kernel.numpy(), layer.bias.numpy()
    model.compile(OPTIMIZERS[name](0.05), "mse", run_eagerly=not decays)
    for _ in range(steps):
        model.train_on_batch(X, Y)
    decay = DECAY.curve(steps) if decays else np.zeros(steps)
    kernel, bias = _expected(OPTIMIZERS[name], *start, (3.0, 0.1), decay, steps)
    np.testing.assert_allclose(layer.kernel.numpy(), kernel, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(layer.bias.numpy(), bias, rtol=1e-4, atol=1e-6)
    assert np.abs(kernel - start[0]).max() > 0.01


def test_a_weight_starts_as_its_initializer_says_and_can_be_set():
    layer = layers.NeuralTangentDense(2, kernel_initializer="ones", learning_rate_factor=5.0, decay=0.5)
    layer.build((None, 4))
    np.testing.assert_allclose(layer.kernel.numpy(), 1.0)
    layer(np.ones((1, 4)), training=True)
    np.testing.assert_allclose(layer.kernel.numpy(), 0.5, rtol=1e-6)
    layer(np.ones((1, 4)))
    np.testing.assert_allclose(layer.kernel.numpy(), 0.5, rtol=1e-6)
    layer.kernel.assign(np.full((4, 2), 3.0))
    np.testing.assert_allclose(layer.kernel.numpy(), 3.0, rtol=1e-6)


def test_a_decay_may_be_a_variable():
    decay = keras.Variable(0.0, trainable=False)
    layer = layers.FeatureScaling(decay=decay)
    layer(np.ones((1, 2)), training=True)
    decay.assign(0.25)
    layer(np.ones((1, 2)), training=True)
    np.testing.assert_allclose(layer.weight.numpy(), 0.75)
    assert not any(weight is decay for weight in layer.weights)
    assert layer.get_config()["decay"] == 0.25


RATES = schedules.PiecewiseConstant([1, 3], [0.0, 0.5, 1.0])


def test_dropout_follows_a_schedule_without_a_callback():
    layer = layers.Dropout(RATES, seed=1)
    run = tf.function(lambda x: layer(x, training=True))
    kept = [float(np.mean(run(np.ones((50, 40), "float32")) != 0)) for _ in range(5)]
    assert (kept[0], kept[3], kept[4]) == (1, 0, 0)
    assert kept[1:3] == pytest.approx([0.5, 0.5], abs=0.05)
    assert float(layer.rate) == 1.0
    assert int(layer.steps) == 5
    np.testing.assert_array_equal(layer(np.ones((2, 2))), 1)
    assert int(layer.steps) == 5
    with pytest.raises(AttributeError, match="follows a schedule"):
        layer.rate = 0.1


def test_looking_at_a_scheduled_dropout_does_not_move_it():
    model = keras.Sequential([keras.Input((3,)), layers.Dropout(RATES), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(X, Y, batch_size=32, verbose=0)
    layer = model.layers[0]
    spread = tfopt.mc_dropout(model, X, samples=3).std
    assert (float(layer.rate), int(layer.steps)) == (0.5, 2)
    assert np.all(spread.max(axis=1) > 0)
    assert layer.schedule is not None


@pytest.mark.parametrize("name", ["Dropout", "GaussianNoise", "SpatialDropout1D", "AlphaDropout"])
def test_a_scheduled_strength_through_json(name):
    layer = getattr(layers, name)(RATES)
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
    again = keras.saving.deserialize_keras_object(config)
    assert again.get_config() == layer.get_config()
    np.testing.assert_array_equal(again.schedule.curve(5), RATES.curve(5))


@pytest.mark.slow
def test_the_count_goes_on_where_a_training_is_resumed(tmp_path):
    model = keras.Sequential(
        [keras.Input((3,)), layers.Dropout(RATES), layers.NeuralTangentDense(1, decay=schedules.LinearDecay(0.5, 10))]
    )
    model.compile("adam", "mse")
    model.fit(X, Y, batch_size=32, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    loaded.fit(X, Y, batch_size=32, verbose=0)
    assert [int(layer.steps) for layer in loaded.layers] == [4, 4]
    assert float(loaded.layers[0].rate) == 1.0


def test_a_schedule_and_a_callback_cannot_both_drive_a_rate():
    model = keras.Sequential([keras.Input((3,)), layers.Dropout(RATES), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    with pytest.raises(ValueError, match="is a schedule already"):
        model.fit(X, Y, verbose=0, callbacks=[HyperparameterScheduler({"dropout": schedules.LinearDecay(0.5, 10)})])


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: layers.Dropout(schedules.Constant(1.5)), "between 0 and 1 at every step"),
        (lambda: layers.FeatureScaling(0.0), "`learning_rate_factor` of FeatureScaling must be > 0"),
        (lambda: layers.FeatureScaling(decay=-0.1), "`decay` of FeatureScaling must be >= 0"),
        (lambda: layers.FeatureScaling(decay=schedules.LinearDecay(2.0, 5)), "`decay` of FeatureScaling must be betw"),
    ],
)
def test_bad_arguments(make, text):
    with pytest.raises(ValueError, match=text):
        make()
