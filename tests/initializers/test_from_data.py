"""Starts that look at data: unit variance, biases at the data, bins, and what layers measure, in one pass."""

import keras
import numpy as np
import pandas as pd
import pytest

from tfopt import layers
from tfopt.initializers import HePlusBias, UnitVariance, from_data, lsuv, quantile_bins

RNG = np.random.default_rng(0)
X = (RNG.normal(size=(300, 4)) * [1, 10, 0.1, 5] + [0, 3, 0, -7]).astype("float32")
Y = RNG.normal(size=300) * 20 + 100


def dense(units, activation=None, **options):
    return keras.layers.Dense(
        units, activation, kernel_initializer=UnitVariance(), bias_initializer=HePlusBias(**options)
    )


def test_every_unit_of_every_layer_has_unit_variance():
    tangent = layers.NeuralTangentDense(
        50, "selu", kernel_initializer=UnitVariance(), bias_initializer=HePlusBias(), learning_rate_factor=0.3
    )
    model = keras.Sequential([keras.Input((4,)), dense(40, "relu"), tangent, dense(3)], name="net")
    names = from_data(model, X)
    assert names == [layer.name for layer in model.layers]
    hidden = X.astype("float64")
    for layer, divisor in zip(model.layers, (1, np.sqrt(40), 1), strict=True):
        z = hidden @ layer.kernel.numpy() / divisor
        np.testing.assert_allclose(z.std(axis=0), 1, rtol=1e-4)
        bias = layer.bias.numpy()
        assert np.all((-bias >= z.min(axis=0)) & (-bias <= z.max(axis=0)))
        hidden = z + bias
        if layer is model.layers[0]:
            hidden = np.maximum(hidden, 0)
        elif layer is tangent:
            hidden = 1.0507009873554805 * np.where(hidden > 0, hidden, 1.6732632423543772 * np.expm1(hidden))
    np.testing.assert_allclose(model(X), hidden, rtol=1e-3, atol=1e-4)


def test_one_row_is_where_its_unit_bends():
    layer = dense(30, "relu", num_rows=1)
    from_data(keras.Sequential([keras.Input((4,)), layer]), X)
    outputs = X @ layer.kernel.numpy() + layer.bias.numpy()
    assert np.all(np.abs(outputs).min(axis=0) < 1e-4)


@pytest.mark.slow
def test_a_mean_of_five_rows_spreads_as_its_weights_say():
    # Normalised exponential weights are uniform on the simplex: the expected sum of their squares is 2/(5 + 1).
    biases = HePlusBias(5).of_outputs(RNG.normal(size=(500, 20_000)), np.random.default_rng(1))
    assert biases.std() == pytest.approx(np.sqrt(2 / 6), rel=0.02)
    assert biases.mean() == pytest.approx(0, abs=0.02)


@pytest.mark.slow
def test_layers_measure_what_the_layers_before_pass_on():
    inputs = keras.Input((4,))
    scaled = layers.RobustScaling(name="scaling")(inputs)
    embedded = layers.PiecewiseLinearEmbedding(3, 6, name="embedding")(scaled)
    model = keras.Model(inputs, layers.TargetScaling(name="target")(dense(1)(embedded)))
    names = from_data(model, X, Y)
    assert (names[0], names[1], names[-1]) == ("scaling", "embedding", "target")
    scaling, embedding, target = (model.get_layer(name) for name in ("scaling", "embedding", "target"))
    np.testing.assert_allclose(scaling.center, np.median(X, axis=0), rtol=1e-5)
    seen = np.asarray(scaling(X), "float64")
    np.testing.assert_allclose(embedding.edges, np.quantile(seen, np.linspace(0, 1, 7), axis=0).T, rtol=1e-5)
    np.testing.assert_allclose([target.mean[0], target.scale[0]], [Y.mean(), Y.std()], rtol=1e-5)
    assert np.all((model.predict(X, verbose=0) >= Y.min() - 1e-3) & (model.predict(X, verbose=0) <= Y.max() + 1e-3))


def test_data_frames_and_layers_with_a_learning_rate_of_their_own():
    model = keras.Sequential([keras.Input((4,)), layers.RobustScaling(), layers.TargetScaling()])
    from_data(model, pd.DataFrame(X, columns=list("abcd")), pd.DataFrame(X))
    np.testing.assert_allclose(model.layers[0].center, np.median(X, axis=0), rtol=1e-5)
    tangent = layers.NeuralTangentDense(5, learning_rate_factor=0.1)
    model = keras.Sequential([keras.Input((4,)), tangent])
    lsuv(model, X)
    assert np.std(model(X)) == pytest.approx(1, abs=0.05)


def test_the_seed_decides_and_other_layers_stay():
    def started(seed):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(5), keras.layers.Dropout(0.5), dense(4)])
        before = model.layers[0].get_weights()
        names = from_data(model, X, seed=seed)
        assert names == [model.layers[2].name]
        np.testing.assert_array_equal(model.layers[0].get_weights()[0], before[0])
        return model.layers[2].bias.numpy()

    np.testing.assert_array_equal(started(1), started(1))
    assert np.all(started(1) != started(2))


def test_a_constant_unit_and_a_convolution():
    model = keras.Sequential([keras.Input((4,)), keras.layers.ReLU(), dense(3)])
    from_data(model, -np.ones((10, 4)))
    assert np.all(np.isfinite(model.layers[-1].kernel))
    convolution = keras.layers.Conv1D(6, 2, kernel_initializer=UnitVariance(), bias_initializer=HePlusBias())
    model = keras.Sequential([keras.Input((4,)), keras.layers.Reshape((4, 1)), convolution])
    from_data(model, X)
    np.testing.assert_allclose(np.std(model(X), axis=(0, 1)), 1, rtol=1e-3)


def test_mistakes_are_named():
    depthwise = keras.layers.DepthwiseConv1D(2, depth_multiplier=2, bias_initializer=HePlusBias())
    inside = keras.Sequential([keras.Input((4,)), dense(3)])
    model = keras.Sequential([keras.Input((4,)), keras.layers.Reshape((4, 1)), depthwise])
    from_data(model, X)  # its kernel is not touched, its bias has a number a unit
    unused = dense(2)
    inside.unused = unused
    unused.build((None, 4))
    with pytest.raises(ValueError, match="does not reach the layers"):
        from_data(inside, X)
    assert "call" not in vars(unused)
    ensemble = layers.BatchEnsembleDense(3, 4)
    ensemble.kernel_initializer = UnitVariance()
    with pytest.raises(ValueError, match="cannot be started from data"):
        from_data(keras.Sequential([keras.Input((4,)), ensemble]), X)


def test_quantile_bins():
    rows = np.column_stack([np.arange(101.0), np.repeat([1.0, 2, 3], [60, 40, 1]), np.full(101, np.nan)])
    bins = quantile_bins(rows, 4)
    np.testing.assert_array_equal(bins, [[0, 25, 50, 75, 100], [1, 2, 3, 3, 3], [0] * 5])
    for bad in (np.zeros(3), np.zeros((0, 2)), np.full((2, 2), np.inf)):
        with pytest.raises(ValueError, match="`x` of quantile_bins must be a matrix"):
            quantile_bins(bad)
