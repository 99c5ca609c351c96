"""Penalties on built models, the penalties' costs, and the report of zeros."""

import keras
import numpy as np
import pytest

from tfopt.regularizers import (
    L1,
    L2,
    L2SP,
    GroupLasso,
    PenaltyMonitor,
    ProximalOptimizer,
    attach,
    attach_l2sp,
    penalties,
    sparsity,
)

X, Y = np.ones((8, 3), "float32"), np.ones((8, 1), "float32")


def network():
    return keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(4, "relu", name="hidden"), keras.layers.Dense(1, name="out")]
    )


def square(weight):
    return float(np.sum(np.square(weight.numpy(), dtype="float64")))


def test_keras_alone_ignores_a_late_regularizer():
    model = network()
    model.layers[0].kernel_regularizer = L2(0.1)
    assert model.losses == []


def test_it_works_at_once():
    model = network()
    assert attach(model, L2(0.1)) == ["hidden/kernel", "out/kernel"]
    expected = 0.1 * (square(model.layers[0].kernel) + square(model.layers[1].kernel))
    assert float(sum(model.losses)) == pytest.approx(expected, rel=1e-6)
    assert attach(model, L1(0.5), layers=["out"], weights=["kernel", "bias"]) == ["out/kernel", "out/bias"]
    assert attach(model, None, layers=[model.layers[0]]) == ["hidden/kernel"]
    assert float(sum(model.losses)) == pytest.approx(0.5 * np.abs(model.layers[1].kernel.numpy()).sum(), rel=1e-6)


@pytest.mark.slow
def test_it_works_after_training_has_begun():
    model = network()
    model.compile(keras.optimizers.SGD(0.0), "mse")
    before = model.fit(X, Y, verbose=0).history["loss"][0]
    tested = model.evaluate(X, Y, verbose=0)
    attach(model, L2(3.0))
    cost = 3 * (square(model.layers[0].kernel) + square(model.layers[1].kernel))
    assert model.fit(X, Y, verbose=0).history["loss"][0] == pytest.approx(before + cost, rel=1e-5)
    assert model.evaluate(X, Y, verbose=0) == pytest.approx(tested + cost, rel=1e-5)


def test_it_is_saved(tmp_path):
    inputs = keras.Input((6, 6, 2))
    hidden = keras.layers.Conv2D(3, 3, name="conv")(inputs)
    hidden = keras.layers.TimeDistributed(keras.layers.LSTM(2, name="lstm"), name="each")(hidden)
    functional = keras.Model(inputs, keras.layers.Dense(1, name="out")(keras.layers.Flatten()(hidden)))
    nested = keras.Sequential([keras.Input((3,)), network(), keras.layers.Dense(2, name="last")])
    for model, names in ((functional, {"conv", "lstm", "out"}), (nested, {"hidden", "out", "last"})):
        paths = attach(model, GroupLasso(0.1))
        assert len(paths) == len(names)
        model.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        assert float(sum(loaded.losses)) == pytest.approx(float(sum(model.losses)), rel=1e-6)
        assert len(loaded.losses) == len(names)


def test_it_says_what_cannot_be_saved():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(2)

        def call(self, x):
            return self.dense(x)

    model = Own()
    model(X)
    with pytest.warns(UserWarning, match="not part of the model's config"):
        attach(model, L2(0.1))
    assert float(sum(model.losses)) == pytest.approx(0.1 * square(model.dense.kernel), rel=1e-6)
    inputs = keras.Input((5, 4))
    attention = keras.Model(inputs, keras.layers.MultiHeadAttention(2, 2)(inputs, inputs))
    with pytest.warns(UserWarning, match="not part of the model's config"):
        assert len(attach(attention, L2(0.1))) == 4


def test_the_proximal_optimizer_sees_it():
    model = network()
    attach(model, "l1", layers=["out"])
    model.compile(ProximalOptimizer(keras.optimizers.SGD(1e3)), "mse")
    model.train_on_batch(np.zeros((8, 3)), np.zeros((8, 1)))
    assert np.all(model.layers[1].kernel.numpy() == 0)


def test_l2sp_pulls_towards_the_start(tmp_path):
    model = network()
    start = model.get_weights()
    paths = attach_l2sp(model, 0.5)
    assert len(paths) == 4
    assert float(sum(model.losses)) == 0.0
    model.set_weights([weight + 0.5 for weight in start])
    assert float(sum(model.losses)) == pytest.approx(0.5 * 0.25 * sum(weight.size for weight in start), rel=1e-5)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(loaded.layers[0].kernel.regularizer, L2SP)
    assert float(sum(loaded.losses)) == pytest.approx(float(sum(model.losses)), rel=1e-6)


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"no layer 'hiden'. Did you mean 'hidden'\? It has: hidden, out"):
        attach(network(), L2(0.1), layers=["hiden"])
    with pytest.raises(ValueError, match="`weights` of attach must be among"):
        attach(network(), L2(0.1), weights=["kernels"])
    with pytest.raises(ValueError, match="has a built weight named recurrent_kernel"):
        attach(network(), L2(0.1), layers=["out"], weights=["recurrent_kernel"])


def test_penalties_by_layer():
    model = network()
    assert penalties(model) == {}
    attach(model, L2(0.1), layers=["hidden"])
    attach(model, L1(0.2), layers=["out"], weights=["kernel", "bias"])
    model.layers[1].bias.assign([2.0])
    costs = penalties(model)
    assert costs["hidden"] == pytest.approx(0.1 * square(model.layers[0].kernel), rel=1e-6)
    assert costs["out"] == pytest.approx(0.2 * np.abs(model.layers[1].kernel.numpy()).sum() + 0.4, rel=1e-6)
    assert sum(costs.values()) == pytest.approx(float(sum(model.losses)), rel=1e-6)


@pytest.mark.slow
def test_the_monitor_takes_the_penalty_out_of_the_loss():
    model = network()
    attach(model, L2(0.3))
    model.compile(keras.optimizers.SGD(0.01), "mse", metrics=["mse"])
    history = model.fit(X, Y, epochs=3, verbose=0, validation_data=(X, Y), callbacks=[PenaltyMonitor()]).history
    assert {"penalty", "penalty_hidden", "penalty_out", "val_loss_without_penalty"} <= set(history)
    np.testing.assert_allclose(history["val_loss_without_penalty"], history["val_mse"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(history["penalty"], np.add(history["penalty_hidden"], history["penalty_out"]), rtol=1e-6)
    assert history["penalty"][-1] == pytest.approx(float(sum(model.losses)), rel=1e-6)


def test_sparsity_report():
    model = network()
    kernel = np.ones((3, 4))
    kernel[1] = 0
    kernel[:, 2] = 0
    kernel[0, 0] = 1e-4
    model.layers[0].kernel.assign(kernel)
    report = sparsity(model)
    assert list(report.index) == ["hidden/kernel", "hidden/bias", "out/kernel", "out/bias", "total"]
    assert dict(report.loc["hidden/kernel"]) == {
        "size": 12, "zeros": 6, "fraction": 0.5, "inputs": 3, "zero_inputs": 1, "units": 4, "zero_units": 1,
    }  # fmt: skip
    assert report.loc["total", "zeros"] == 6 + 4 + 1
    assert sparsity(model, tolerance=1e-3).loc["hidden/kernel", "zeros"] == 7
    convolution = keras.Sequential([keras.Input((5, 5, 2)), keras.layers.Conv2D(3, 2, name="conv", use_bias=False)])
    filters = np.ones((2, 2, 2, 3))
    filters[..., 1] = 0
    convolution.set_weights([filters])
    row = sparsity(convolution).loc["conv/kernel"]
    assert (row["units"], row["zero_units"], row["inputs"], row["zero_inputs"]) == (3, 1, 2, 0)
