"""The mean of the weights of the last epochs, against NumPy's in float64, and batch statistics that belong to it."""

import logging

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfopt.callbacks import StochasticWeightAveraging
from tfopt.training.fits import FitRequest
from tfopt.training.plain import PlainEngine
from tfopt.training.shared import SharedGraphEngine

X = np.random.default_rng(0).normal(size=(50, 3)).astype("float32") * [1, 5, 0.1] + 2
Y = X.sum(axis=1)
BATCH = 16
GLOROT = keras.initializers.GlorotUniform(seed=1)


class Recorded(keras.callbacks.Callback):
    """The weights after each epoch."""

    def on_train_begin(self, logs=None):
        self.epochs = []

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append([np.array(v.numpy(), "float64") for v in self.model.trainable_variables])


def build(hp=None, normalized=True, **options):
    hidden = [
        keras.layers.Dense(4, kernel_initializer=GLOROT),
        *([keras.layers.BatchNormalization(name="norm")] if normalized else []),
    ]
    model = keras.Sequential([keras.Input((3,)), *hidden, keras.layers.Dense(1, kernel_initializer=GLOROT)])
    model.compile(keras.optimizers.SGD((hp or {"lr": 0.01})["lr"], **options), "mse")
    return model


def fit(model, *callbacks, epochs=5):
    return model.fit(X, Y, epochs=epochs, batch_size=BATCH, shuffle=False, verbose=0, callbacks=list(callbacks))


@pytest.fixture(scope="module")
def averaged():
    model, recorded, averaging = build(), Recorded(), StochasticWeightAveraging(0.5, X, BATCH)
    fit(model, averaging, recorded)
    return model, recorded, averaging


@pytest.mark.slow
def test_weights_are_the_mean_of_the_last_epochs_and_training_is_undisturbed(averaged):
    model, recorded, averaging = averaged
    assert averaging.num_averaged == 3
    for weight, *epochs in zip(model.trainable_variables, *recorded.epochs[-3:], strict=True):
        np.testing.assert_allclose(weight.numpy(), np.mean(epochs, axis=0), rtol=1e-6, atol=1e-7)
    alone = Recorded()
    fit(build(), alone)
    for mine, theirs in zip(recorded.epochs, alone.epochs, strict=True):
        for a, b in zip(mine, theirs, strict=True):
            np.testing.assert_array_equal(a, b)


def statistics(model):
    """Return what batch normalisation should hold, from the kernel before it, in float64."""
    kernel, bias = (np.asarray(w, "float64") for w in model.layers[0].get_weights())
    outputs = [X[first : first + BATCH] @ kernel + bias for first in range(0, len(X), BATCH)]
    rows = [len(part) for part in outputs]
    parts = zip(*((part.mean(axis=0), part.var(axis=0)) for part in outputs), strict=True)
    return [np.average(part, axis=0, weights=rows) for part in parts]


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return -(-len(X) // BATCH)

    def __getitem__(self, index):
        rows = slice(index * BATCH, (index + 1) * BATCH)
        return X[rows], Y[rows]


@pytest.mark.slow
@pytest.mark.parametrize(
    "data", [X, tf.data.Dataset.from_tensor_slices((X, Y)).batch(BATCH), Batches()], ids=["array", "dataset", "py"]
)
def test_statistics_are_those_of_the_averaged_weights(averaged, data):
    model = build()
    fit(model, StochasticWeightAveraging(0.5, data, BATCH))
    norm = model.get_layer("norm")
    for mine, theirs in zip((norm.moving_mean, norm.moving_variance), statistics(model), strict=True):
        np.testing.assert_allclose(mine.numpy(), theirs, rtol=2e-4, atol=1e-6)
    assert norm.momentum == 0.99
    for a, b in zip(model.get_weights(), averaged[0].get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_a_frozen_normalisation_keeps_its_statistics_and_needs_no_data():
    model = build()
    model.get_layer("norm").trainable = False
    model.compile("sgd", "mse")
    fit(model, StochasticWeightAveraging())
    np.testing.assert_array_equal(model.get_layer("norm").moving_mean, 0)


@pytest.mark.parametrize("epochs", [1, 2])
def test_the_last_epoch_always_counts(epochs):
    averaging = StochasticWeightAveraging(0.99)
    fit(build(normalized=False), averaging, epochs=epochs)
    assert averaging.num_averaged == 1


def test_missing_data_is_said_before_training():
    with pytest.raises(ValueError, match=r"`data` must be given .* layer 'norm'\. Pass the training inputs"):
        fit(build(), StochasticWeightAveraging())
    for start in (1.0, -0.1):
        with pytest.raises(ValueError, match="`start`"):
            StochasticWeightAveraging(start)


def test_training_that_ends_early_says_that_nothing_was_averaged(caplog):
    stop = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: setattr(model, "stop_training", True))
    model = build(normalized=False)
    with caplog.at_level(logging.WARNING, "tfopt"):
        fit(model, StochasticWeightAveraging(0.5), stop)
    assert "No weights were averaged" in caplog.text


@pytest.mark.slow
@pytest.mark.long("Keras's own")
@pytest.mark.parametrize("ema", [False, True], ids=["callback", "Keras's own"])
def test_the_shared_graph_averages_as_a_plain_fit_does(ema):
    """On the shared graph a callback's work at each epoch's end is its own; Keras's moving average is in the graph."""

    def model(hp):
        return build(hp, use_ema=ema, ema_momentum=0.7) if ema else build(hp)

    requests = [FitRequest({"lr": rate}, seed, 4, BATCH) for seed, rate in enumerate((0.01, 0.003))]
    states = []
    for engine, its in ((SharedGraphEngine, requests), (PlainEngine, requests[1:])):
        own = None if ema else [[StochasticWeightAveraging(0.5, X, BATCH)] for _ in its]
        results = engine(model, X, Y, shuffle="once").fit(its, own)
        assert {(r.engine, r.failure, r.reason) for r in results} == {(engine.name, None, "")}
        states.append(results[-1].state)
    for a, b in zip(*states, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
