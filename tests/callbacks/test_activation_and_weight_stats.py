"""Activations against `predict`, weights against NumPy, and a training that neither of them touches."""

import copy

import keras
import numpy as np
import pytest

from tfopt.callbacks import ActivationStats, WeightStats

L = keras.layers
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def make(**arguments):
    keras.utils.set_random_seed(2)
    layers = [
        keras.Input((5,)),
        L.Dense(8, "relu", name="first", bias_initializer=keras.initializers.Constant(-1.0)),
        L.BatchNormalization(name="norm"),
        L.Dropout(0.3),
        L.Dense(4, name="second", kernel_regularizer=keras.regularizers.L2(0.1)),
        L.Activation("tanh", name="squash"),
        L.Dense(3, name="last"),
    ]
    model = keras.Sequential(layers)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss, **arguments)
    return model


@pytest.fixture(scope="module")
def measured(data):
    """Return a model that both callbacks have watched, its history and the callbacks."""
    model = make()
    watching = ActivationStats(data[0], log_layers=True), WeightStats(zero=0.1, log_layers=True)
    return model, model.fit(*data, epochs=2, verbose=0, callbacks=list(watching)).history, *watching


@pytest.mark.slow
def test_activations_are_those_of_predict(measured, data):
    (model, history, stats, _), x = measured, data[0]
    frame = stats.to_frame()
    names = ["first", "norm", "second", "squash", "last"]
    assert frame[frame.epoch == 1]["layer"].tolist() == names
    dead, units = 0.0, 0
    for name in names:
        outputs = keras.Model(model.inputs, model.get_layer(name).output).predict(x, verbose=0)
        row = frame[(frame.epoch == 1) & (frame.layer == name)].iloc[0]
        assert row["mean"] == pytest.approx(outputs.mean(), abs=1e-5)
        assert row["std"] == pytest.approx(outputs.std(), rel=1e-4)
        assert row["near_zero"] == pytest.approx((np.abs(outputs) <= 0.05).mean(), abs=1e-6)
        silent = (outputs == 0).all(axis=0)
        assert row["dead_units"] == pytest.approx(silent.mean())
        assert history[f"dead_units/{name}"][1] == row["dead_units"]
        assert history[f"activation_std/{name}"][1] == row["std"]
        dead, units = dead + silent.sum(), units + len(silent)
    assert history["dead_units"][1] == pytest.approx(dead / units)


def test_dead_units_are_counted():
    model = keras.Sequential([keras.Input((2,)), L.Dense(4, "relu", name="half")])
    model.compile("sgd", "mse")
    model.set_weights([np.ones((2, 4)), np.array([0.0, 0.0, -1e6, -1e6])])
    stats = ActivationStats(np.ones((6, 2), "float32"))
    stats.set_model(model)
    assert stats.measure()["half"]["dead_units"] == 0.5
    assert stats.measure()["half"]["near_zero"] == 0.5
    assert "call" not in vars(model.get_layer("half"))


@pytest.mark.slow
def test_weights_against_numpy(measured):
    model, history, _, stats = measured
    kernels = {name: model.get_layer(name).get_weights()[0] for name in ("first", "second", "last")}
    flat = np.concatenate([kernel.ravel() for kernel in kernels.values()])
    assert history["weight_norm"][1] == pytest.approx(np.linalg.norm(flat), rel=1e-5)
    assert history["weight_sparsity"][1] == pytest.approx((np.abs(flat) <= 0.1).mean())
    assert history["weight_penalty"][1] == pytest.approx(0.1 * (kernels["second"] ** 2).sum(), rel=1e-5)
    assert history["weight_equal_units"] == [0.0, 0.0]
    assert history["weight_norm/last"][1] == pytest.approx(np.linalg.norm(kernels["last"]), rel=1e-5)
    frame = stats.to_frame()
    assert frame["layer"].tolist() == ["first", "second", "last"] * 2


def test_equal_units_are_found():
    model = keras.Sequential([keras.Input((2,)), L.Dense(4, name="a"), L.Dense(1, name="b")])
    model.compile("sgd", "mse")
    model.get_layer("a").set_weights([np.array([[1.0, 1.0, 2.0, 3.0], [5.0, 5.0, 5.0, 5.0]]), np.zeros(4)])
    stats = WeightStats()
    stats.set_model(model)
    assert stats.measure()["a"]["equal_units"] == 0.5
    assert stats.measure()["b"]["equal_units"] == 0.0


@pytest.mark.slow
def test_training_is_untouched(measured, data):
    plain = make()
    plain.fit(*data, epochs=2, verbose=0)
    results = ([*model.variables, *model.optimizer.variables] for model in (measured[0], plain))
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))


@pytest.mark.slow
def test_every_pictures_and_copies(data, tmp_path):
    import matplotlib.pyplot as plt

    activations, weights = ActivationStats(data[0], every=2), WeightStats(every=2)
    history = make().fit(*data, epochs=3, verbose=0, callbacks=[activations, weights]).history
    assert np.isnan(history["dead_units"]).tolist() == np.isnan(history["weight_norm"]).tolist() == [False, True, False]
    for stats in (activations, weights):
        stats.to_csv(tmp_path / "stats.csv")
        assert (tmp_path / "stats.csv").read_text().startswith("epoch,layer,")
        assert stats.plot(quantity="std").get_xlabel() == "epoch"
        assert copy.deepcopy(stats).to_frame().equals(stats.to_frame())
    plt.close("all")


@pytest.mark.parametrize("make_stats", [lambda **k: ActivationStats(np.ones((1, 1)), **k), WeightStats])
def test_arguments_are_checked(make_stats):
    with pytest.raises(ValueError, match="`every`"):
        make_stats(every=0)
