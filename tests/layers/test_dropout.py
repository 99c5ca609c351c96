"""Layers that change while training: Keras's masks, exact statistics, one graph for every rate."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfopt
from tfopt import layers
from tfopt.layers._changing import ChangingLayer

SHAPES = {"SpatialDropout1D": (3, 4, 5), "SpatialDropout2D": (3, 2, 4, 5), "SpatialDropout3D": (2, 2, 2, 4, 5)}
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras on saving
NAMES = sorted(name for name in layers.__all__ if issubclass(getattr(layers, name), ChangingLayer))


def _inputs(name, batch=None):
    shape = SHAPES.get(name, (4, 6))
    return np.random.default_rng(0).normal(size=(batch or shape[0], *shape[1:])).astype("float32")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rate", [0.2, 0.7])
def test_same_numbers_as_keras_for_the_same_seed(name, rate):
    ours, theirs = (getattr(package, name)(rate, seed=7) for package in (layers, keras.layers))
    x = _inputs(name)
    for _ in range(3):
        np.testing.assert_allclose(ours(x, training=True), theirs(x, training=True), rtol=2e-6, atol=1e-6)
    np.testing.assert_array_equal(ours(x), x)


def test_noise_shape_as_keras():
    ours, theirs = (package.Dropout(0.4, noise_shape=(None, 1), seed=3) for package in (layers, keras.layers))
    np.testing.assert_allclose(ours(_inputs("Dropout"), training=True), theirs(_inputs("Dropout"), training=True))


@pytest.mark.parametrize("name", ["Dropout", "AlphaDropout"])
@pytest.mark.parametrize("noise_shape", [(-1, 5), (0, 5), ("a", 5), (1.0, 5), (True, 5), "ab", 5, [None, -2]])
def test_what_keras_refuses_as_noise_shape_is_refused_at_construction(name, noise_shape):
    if noise_shape != (True, 5):  # which Keras takes for 1
        with pytest.raises(ValueError, match="noise_shape"):
            keras.layers.Dropout(0.5, noise_shape=noise_shape)
    with pytest.raises(ValueError, match=r"Argument `noise_shape` must be .*Received: noise_shape="):
        getattr(layers, name)(0.5, noise_shape=noise_shape)


def test_noise_shape_of_another_rank_says_so():
    with pytest.raises(ValueError, match="an entry for each of the inputs' 2 axes"):
        layers.Dropout(0.5, noise_shape=(1, None, 1))(np.ones((4, 5), "float32"), training=True)


def test_alpha_dropout_takes_a_noise_shape_as_keras():
    ours, theirs = (package.AlphaDropout(0.4, noise_shape=(None, 1), seed=3) for package in (layers, keras.layers))
    x = _inputs("AlphaDropout")
    np.testing.assert_allclose(ours(x, training=True), theirs(x, training=True), rtol=2e-6, atol=1e-6)
    assert layers.AlphaDropout.from_config(ours.get_config()).noise_shape == (None, 1)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rate", ["a", None, True, float("nan"), -0.1])
def test_a_rate_that_is_no_number_is_refused_by_name(name, rate):
    with pytest.raises((TypeError, ValueError), match=f"of {name} must be"):
        getattr(layers, name)(rate)


def test_channels_first_drops_channels():
    y = np.asarray(
        layers.SpatialDropout2D(0.5, data_format="channels_first", seed=1)(np.ones((8, 6, 3, 3)), training=True)
    )
    assert set(np.unique(y)) == {0.0, 2.0}
    assert np.all(y == y[:, :, :1, :1])


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("jit_compile", [False, True])
def test_one_graph_serves_every_rate(name, jit_compile):
    layer = getattr(layers, name)(0.5, seed=1)
    traces = []

    @tf.function(jit_compile=jit_compile)
    def run(x):
        traces.append(1)
        return layer(x, training=True)

    x = _inputs(name, 64)
    assert not np.allclose(run(x), x)
    setattr(layer, layer.strength_name, 0.0)
    np.testing.assert_allclose(run(x), x, atol=1e-6)
    setattr(layer, layer.strength_name, 0.9)
    assert np.std(run(x) - x) > 0.5
    assert len(traces) == 1


@pytest.mark.parametrize("rate", [0.0, 0.3, 0.9])
def test_share_and_mean(rate):
    x = np.ones((400, 500), "float32")
    y = np.asarray(layers.Dropout(rate, seed=2)(x, training=True))
    assert np.mean(y == 0) == pytest.approx(rate, abs=5 * 0.5 / np.sqrt(x.size))
    assert y.mean() == pytest.approx(1.0, abs=0.03)
    noisy = np.asarray(layers.GaussianDropout(rate, seed=2)(x, training=True))
    assert noisy.std() == pytest.approx(np.sqrt(rate / (1 - rate)), abs=0.02)


def test_alpha_dropout_keeps_mean_and_variance():
    x = np.random.default_rng(1).normal(size=(600, 500)).astype("float32")
    y = np.asarray(layers.AlphaDropout(0.3, seed=2)(x, training=True))
    assert y.mean() == pytest.approx(0, abs=0.01)
    assert y.std() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("GaussianDropout", "GaussianNoise")])
def test_rate_one_is_zero_with_finite_gradients(name):
    x = tf.constant(_inputs(name))
    layer = getattr(layers, name)(1.0)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True)
    np.testing.assert_array_equal(y, np.zeros_like(x))
    assert np.all(np.isfinite(tape.gradient(y, x)))


def test_a_stack_of_rates_acts_on_stacked_inputs():
    rates = keras.Variable([0.0, 0.5, 1.0], trainable=False)
    layer = layers.Dropout(rates, seed=1)
    y = np.asarray(layer(np.ones((3, 200, 10), "float32"), training=True))
    np.testing.assert_array_equal(y[0], 1)
    assert np.mean(y[1] == 0) == pytest.approx(0.5, abs=0.05)
    np.testing.assert_array_equal(y[2], 0)
    assert layer.get_config()["rate"] == [0.0, 0.5, 1.0]


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float64"])
def test_precision(policy):
    layer = layers.Dropout(0.5, dtype=policy)
    assert layer(np.ones((4, 4)), training=True).dtype == layer.compute_dtype
    assert layer.rate.dtype == "float32"


@pytest.mark.parametrize("name", NAMES)
def test_config_keeps_the_first_rate_through_json_and_the_weights_the_last(name):
    layer = getattr(layers, name)(0.25, seed=3)
    setattr(layer, layer.strength_name, 0.75)
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
    again = keras.saving.deserialize_keras_object(config)
    assert again.get_config() == layer.get_config()
    assert config["config"][layer.strength_name] == 0.25
    assert float(getattr(again, layer.strength_name)) == 0.25
    again.set_weights(layer.get_weights())
    assert float(getattr(again, layer.strength_name)) == 0.75


@pytest.mark.parametrize("name", ["Dropout", "GaussianNoise"])
@pytest.mark.parametrize("value", [-0.1, float("nan")])
def test_bad_strengths(name, value):
    with pytest.raises(ValueError, match="must be"):
        getattr(layers, name)(value)
    if name == "Dropout":
        with pytest.raises(ValueError, match=">= 0 and <= 1"):
            layers.Dropout(1.1)


def test_a_tensor_cannot_change():
    layer = layers.Dropout(tf.constant(0.5))
    with pytest.raises(AttributeError, match="cannot change"):
        layer.rate = 0.1


def test_every_layer_in_fit_save_and_load_in_a_fresh_process(tmp_path, fresh_keras):
    x = keras.Input((6,))
    y = keras.layers.Reshape((6, 1, 1, 1))(x)
    y = layers.SpatialDropout3D(0.1)(y)
    y = keras.layers.Reshape((6, 1, 1))(y)
    y = layers.SpatialDropout2D(0.1)(y)
    y = keras.layers.Reshape((6, 1))(y)
    y = layers.SpatialDropout1D(0.1)(y)
    y = keras.layers.Flatten()(y)
    for name in ("Dropout", "AlphaDropout", "GaussianDropout", "GaussianNoise"):
        y = getattr(layers, name)(0.1)(y)
    model = keras.Model(x, keras.layers.Dense(1)(y))
    model.compile("sgd", "mse", run_eagerly=True)
    data = np.random.default_rng(0).normal(size=(16, 6)).astype("float32")
    model.fit(data, data[:, 0], verbose=0)
    model.save(tmp_path / "model.keras")
    code = (
        "import sys, numpy, keras, tfopt; m = keras.models.load_model(sys.argv[1]); "
        "x = numpy.random.default_rng(0).normal(size=(16, 6)).astype('float32'); "
        "m.run_eagerly = True; m.fit(x, x[:, 0], verbose=0); print(len(m.layers))"
    )
    done = fresh_keras(code, tmp_path / "model.keras")
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == len(model.layers)
    assert tfopt.layers is layers
