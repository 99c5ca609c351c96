"""L0 gates, product layers and residual gains: distributions, solutions, saving."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn import datasets, linear_model, preprocessing

from tfopt.layers import L0Gate, ProductDense, ResidualGain

X, Y = datasets.load_diabetes(return_X_y=True)
X, Y = preprocessing.StandardScaler().fit_transform(X), (Y[:, None] - 150) / 50


def test_gates_are_open_as_often_as_they_say():
    gate = L0Gate(0.5, open_probability=0.3, seed=1)
    draws = np.asarray(gate(np.ones((1, 20_000), "float32"), training=True))[0]
    assert np.mean(draws != 0) == pytest.approx(0.3, abs=5 * np.sqrt(0.21 / 20_000))
    assert np.all((draws >= 0) & (draws <= 1))
    assert np.mean(draws == 1) > 0.01
    assert float(sum(gate.losses)) == pytest.approx(0.5 * 0.3 * 20_000, rel=1e-5)
    again = np.asarray(gate(np.ones((1, 20_000), "float32"), training=True))[0]
    assert not np.array_equal(draws, again)


def test_gates_are_fixed_in_inference():
    gate = L0Gate()
    x = np.random.default_rng(0).normal(size=(3, 5)).astype("float32")
    gate.build(x.shape)
    gate.log_alpha.assign([-9.0, -3.0, 0.0, 3.0, 9.0])
    gates = np.asarray(gate.gates())
    expected = np.clip(1.2 / (1 + np.exp([9.0, 3.0, 0.0, -3.0, -9.0])) - 0.1, 0, 1)
    np.testing.assert_allclose(gates, expected, rtol=1e-6)
    assert list(gates == 0) == [True, True, False, False, False]
    np.testing.assert_allclose(gate(x), x * gates, rtol=1e-6)


@pytest.mark.slow
def test_gates_select_the_features_that_matter():
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(512, 8)).astype("float32")
    y = x[:, :2] @ np.array([[2.0], [-1.5]]) + 0.1 * rng.normal(size=(512, 1))
    gate = L0Gate(0.1, seed=1)
    model = keras.Sequential([keras.Input((8,)), gate, keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.05), "mse")
    model.fit(tf.data.Dataset.from_tensor_slices((x, y)).batch(128).repeat(100), shuffle=False, verbose=0)
    assert list(np.asarray(gate.gates()) > 0) == [True, True] + [False] * 6


@pytest.mark.slow
def test_the_product_layer_finds_the_lasso_under_adam():
    lasso = linear_model.Lasso(0.1, tol=1e-12, max_iter=100_000).fit(X, Y[:, 0])
    layer = ProductDense(1, l1=0.2, kernel_initializer="zeros")
    model = keras.Sequential([keras.Input((10,)), layer])
    schedule = keras.optimizers.schedules.PolynomialDecay(0.05, 3000, 0.0)
    model.compile(keras.optimizers.Adam(schedule), "mse", steps_per_execution=250)
    data = tf.data.Dataset.from_tensors((X.astype("float32"), Y.astype("float32"))).repeat(3000)
    model.fit(data, shuffle=False, verbose=0)
    kernel = np.asarray(layer.kernel)[:, 0]
    np.testing.assert_allclose(kernel, lasso.coef_, atol=2e-4)
    np.testing.assert_array_equal(np.abs(kernel) < 1e-3, lasso.coef_ == 0)
    # At its smallest the smooth penalty is the L1 penalty of the product.
    assert float(sum(model.losses)) == pytest.approx(0.2 * np.abs(kernel).sum(), rel=1e-3)


def test_the_product_layer_begins_where_a_dense_layer_would():
    initializer = keras.initializers.GlorotUniform(seed=3)
    layer, dense = ProductDense(4, 0.1, "relu", kernel_initializer=initializer), keras.layers.Dense(4, "relu")
    x = X[:5].astype("float32")
    outputs = layer(x)
    dense.build(x.shape)
    dense.kernel.assign(keras.initializers.GlorotUniform(seed=3)((10, 4)))
    np.testing.assert_allclose(outputs, dense(x), atol=1e-6)
    assert len(ProductDense(2, use_bias=False)(x).shape) == 2


def test_residual_gain_begins_as_the_identity():
    inputs = keras.Input((10,))
    hidden = inputs
    for _ in range(30):
        branch = keras.layers.Dense(10, "relu")(hidden)
        hidden = keras.layers.Add()([hidden, ResidualGain()(branch)])
    model = keras.Model(inputs, hidden)
    np.testing.assert_array_equal(model(X[:4].astype("float32")), X[:4].astype("float32"))
    channels = ResidualGain(0.1, per_channel=True)
    np.testing.assert_allclose(channels(np.ones((2, 3), "float32")), 0.1)
    assert channels.gain.shape == (3,)


LAYERS = [
    L0Gate(0.3, 0.6, 0.5, seed=3),
    ProductDense(4, 0.3, "relu", use_bias=False),
    ResidualGain(0.5, per_channel=True),
]


@pytest.mark.slow
@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_save_and_load(layer, tmp_path):
    model = keras.Sequential([keras.Input((10,)), type(layer).from_config(layer.get_config()), keras.layers.Dense(1)])
    model.compile("sgd", "mse", jit_compile=True)
    model.train_on_batch(X, Y)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded(X), model(X), rtol=1e-5, atol=1e-6)
    config, again = model.layers[0].get_config(), loaded.layers[0].get_config()
    assert again == config


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_mixed_precision(layer):
    config = {**layer.get_config(), "dtype": "mixed_float16"}
    assert keras.backend.standardize_dtype(type(layer).from_config(config)(X[:3].astype("float32")).dtype) == "float16"


@pytest.mark.slow
def test_live_strengths():
    strength = keras.Variable(0.0, trainable=False)
    for layer in (L0Gate(strength), ProductDense(1, strength)):
        model = keras.Sequential([keras.Input((10,)), layer])
        model.compile(keras.optimizers.SGD(0.0), "mse")
        losses = []
        for value in (0.0, 1.0):
            strength.assign(value)
            zeros = np.zeros((442, 10 if isinstance(layer, L0Gate) else 1))
            losses.append(model.evaluate(X, zeros, verbose=0))
        assert losses[1] > losses[0] + 0.1


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: L0Gate(-1), "`strength` of L0Gate"),
        (lambda: L0Gate(0.1, open_probability=1.0), "`open_probability` of L0Gate must be > 0 and < 1"),
        (lambda: L0Gate(0.1, temperature=0.0), "`temperature`"),
        (lambda: ProductDense(0), "`units` of ProductDense must be >= 1"),
        (lambda: ProductDense(1, -0.1), "`l1` of ProductDense"),
        (lambda: ResidualGain(float("nan")), "`initial` of ResidualGain"),
    ],
)
def test_bad_arguments(make, text):
    with pytest.raises(ValueError, match=text):
        make()
