"""LSUV on every kind of model, what it leaves alone, and the guard against twin layers."""

import random
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfopt.initializers import He, IdenticalWeightsGuard, find_identical_weights, lsuv

RNG = np.random.default_rng(0)
ROWS = (5 * RNG.normal(size=(400, 12)) + 1).astype("float32")
IMAGES = RNG.normal(size=(64, 10, 10, 3)).astype("float32")


def sums_before_activation(model, x):
    """The spreads again, by another route: the layers' weights in NumPy."""
    spreads = []
    for layer in model.layers:
        kernel, bias = layer.get_weights()
        z = x @ kernel + bias
        spreads.append(np.std(z))
        x = 0.3 * np.sin(z)
    return spreads


@pytest.mark.slow
def test_deep_network_with_an_activation_that_no_rule_knows():
    layers = [keras.layers.Dense(64, lambda z: keras.ops.sin(z) * 0.3, name=f"d{i}") for i in range(12)]
    model = keras.Sequential([keras.Input((12,)), *layers])
    report = lsuv(model, ROWS)
    assert list(report["layer"]) == [f"d{i}" for i in range(12)]
    np.testing.assert_allclose(report["after"], 1.0, rtol=0.02)
    assert report["before"].iloc[-1] < 0.5  # what the rule would have made of a layer that gets LSUV's inputs
    np.testing.assert_allclose(sums_before_activation(model, ROWS), 1.0, rtol=0.02)
    assert lsuv(model, ROWS, orthogonal=False)["iterations"].sum() == 0  # nothing left to do


def test_convolutions_with_normalisation_between():
    inputs = keras.Input((10, 10, 3))
    hidden = keras.layers.Conv2D(8, 3, activation="relu", name="conv")(inputs)
    hidden = keras.layers.BatchNormalization()(hidden)
    hidden = keras.layers.DepthwiseConv2D(3, activation="relu", name="depthwise")(hidden)
    hidden = keras.layers.SeparableConv2D(6, 3, name="separable")(hidden)
    skip = keras.layers.Conv2D(6, 1, name="skip")(hidden)
    hidden = keras.layers.LayerNormalization()(keras.layers.Add()([hidden, skip]))
    hidden = keras.layers.Dropout(0.5)(keras.layers.Flatten()(hidden))
    model = keras.Model(inputs, keras.layers.Dense(2, name="out")(hidden))
    state = [variable.numpy().copy() for variable in model.non_trainable_variables]
    report = lsuv(model, IMAGES)
    assert list(report["layer"]) == ["conv", "depthwise", "separable", "skip", "out"]
    np.testing.assert_allclose(report["after"], 1.0, rtol=0.02)
    for variable, value in zip(model.non_trainable_variables, state, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


class Twin(keras.Model):
    """Runs its layers in another order than it makes them."""

    def __init__(self):
        super().__init__()
        self.late = keras.layers.Dense(4, name="late")
        self.early = keras.layers.Dense(8, "gelu", name="early")
        self.attend = keras.layers.MultiHeadAttention(2, 4, name="attend")
        self.blocks = [keras.layers.Dense(8, "tanh", name=f"block{i}") for i in range(2)]

    def call(self, x, training=False):
        x = self.early(x)
        for block in self.blocks:
            x = x + block(x)
        sequence = keras.ops.expand_dims(x, 1) + keras.ops.reshape(keras.ops.arange(3.0), (1, 3, 1))
        return self.late(self.attend(sequence, sequence)[:, 0])


@pytest.mark.slow
def test_subclassed_model_in_the_order_of_its_forward_pass():
    model = Twin()
    report = lsuv(model, ROWS)
    assert list(report["layer"][:3]) == ["early", "block0", "block1"]
    assert report["layer"].iloc[-1] == "late"
    assert len(report) == 8  # attention has four kernels
    np.testing.assert_allclose(report["after"], 1.0, rtol=0.02)
    chosen = lsuv(model, ROWS, layers=["block1", model.late], target=2.0)
    assert list(chosen["layer"]) == ["block1", "late"]
    np.testing.assert_allclose(chosen["after"], 2.0, rtol=0.02)


class Counting(keras.layers.Layer):
    """Counts its calls, in inference too."""

    def build(self, input_shape):
        self.calls = self.add_weight(initializer="zeros", trainable=False)

    def call(self, x):
        self.calls.assign_add(1.0)
        return x


def test_it_leaves_all_random_states_alone():
    keras.utils.set_random_seed(3)
    hidden = [keras.layers.Dense(8, "relu"), keras.layers.Dropout(0.5), Counting()]
    model = keras.Sequential([keras.Input((12,)), *hidden])

    def draws():
        return random.random(), np.random.random(), float(tf.random.uniform(())), float(keras.random.uniform(()))

    keras.utils.set_random_seed(4)
    expected = draws()
    dropped = np.asarray(model(ROWS, training=True)) == 0
    keras.utils.set_random_seed(4)
    model.layers[1].seed_generator.state.assign(np.array([1, 1], "uint32"))
    first = np.asarray(model.layers[1](np.ones((3, 8), "float32"), training=True))
    model.layers[1].seed_generator.state.assign(np.array([1, 1], "uint32"))
    calls = float(model.layers[2].calls)
    lsuv(model, ROWS)
    assert float(model.layers[2].calls) == calls
    np.testing.assert_array_equal(model.layers[1](np.ones((3, 8), "float32"), training=True), first)
    assert draws() == expected
    assert dropped.any()
    assert model.layers[0].activation is keras.activations.relu


def test_same_seed_same_kernels():
    models = [keras.Sequential([keras.Input((12,)), keras.layers.Dense(8)]) for _ in range(2)]
    for model in models:
        lsuv(model, ROWS, seed=5)
    np.testing.assert_array_equal(models[0].get_weights()[0], models[1].get_weights()[0])
    corners = []
    for seed in range(8):  # a QR decomposition as it comes has the first corner below 0
        lsuv(models[0], ROWS, seed=seed)
        corners.append(models[0].get_weights()[0][0, 0] > 0)
    assert len(set(corners)) == 2


def test_what_cannot_be_scaled():
    model = keras.Sequential([keras.Input((12,)), keras.layers.Dense(3, name="first")])
    with pytest.raises(ValueError, match="Layer 'first' gives a constant on this batch"):
        lsuv(model, np.zeros((10, 12), "float32"))
    assert model.layers[0].activation is keras.activations.linear
    spoiled = ROWS.copy()
    spoiled[0, 0] = np.nan
    with pytest.raises(ValueError, match="non-finite values"):
        lsuv(model, spoiled)
    with pytest.raises(ValueError, match="`target`"):
        lsuv(model, ROWS, target=0)

    class Idle(Twin):
        def build(self, input_shape):
            self.early.build(input_shape)
            self.late.build((None, 8))

        def call(self, x, training=False):
            return self.early(x)

    idle = Idle()
    idle(ROWS)
    with pytest.raises(ValueError, match="does not reach the layers late"):
        lsuv(idle, ROWS)


def dense_pair(first, second, units=(4, 4)):
    return keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(units[0], kernel_initializer=first, name="a"),
            keras.layers.Dense(units[1], kernel_initializer=second, name="b"),
        ]
    )


def test_the_guard_finds_twins():
    shared = keras.initializers.HeNormal()
    with pytest.warns(UserWarning, match="The weights a/kernel, b/kernel hold identical random numbers"):
        groups = find_identical_weights(dense_pair(shared, shared))
    assert len(groups) == 1
    with pytest.warns(UserWarning, match="identical random numbers"):
        find_identical_weights(dense_pair(keras.initializers.HeNormal(seed=1), keras.initializers.HeNormal(seed=1)))


def test_the_guard_is_silent_where_all_is_well():
    shared, ours = keras.initializers.HeNormal(), He()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert find_identical_weights(dense_pair(shared, shared, (4, 5))) == []
        assert find_identical_weights(dense_pair("he_normal", "he_normal")) == []
        assert find_identical_weights(dense_pair("zeros", "zeros")) == []
        assert find_identical_weights(dense_pair("identity", "identity")) == []
        assert find_identical_weights(dense_pair(ours, ours)) == []  # tfopt's draw anew
        drawing = keras.initializers.HeNormal(seed=keras.random.SeedGenerator(1))
        assert find_identical_weights(dense_pair(drawing, drawing)) == []


def test_the_guard_as_a_callback():
    shared = keras.initializers.HeNormal()
    model = dense_pair(shared, shared)
    model.compile("sgd", "mse")
    data = np.ones((8, 4), "float32")
    with pytest.warns(UserWarning, match="identical random numbers"):
        model.fit(data, data, verbose=0, callbacks=[IdenticalWeightsGuard()])
    model.layers[1].kernel.assign(model.layers[0].kernel)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(data, data, verbose=0, callbacks=[IdenticalWeightsGuard()])  # under way: not its business
