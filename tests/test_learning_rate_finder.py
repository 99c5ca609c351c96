"""The range test: where it stops, what it suggests, and that it leaves no trace."""

import random

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfopt
from tfopt import layers, schedules
from tfopt.learning_rate_finder import LearningRateCurve, _suggest

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

rng = np.random.default_rng(0)
x = rng.normal(size=(256, 4)).astype("float32")
y = (x @ np.array([[1.0], [-2.0], [0.5], [3.0]])).astype("float32")


def _model(optimizer="sgd", hidden=(), **compile_arguments):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), *hidden, keras.layers.Dense(1)])
    model.compile(optimizer, "mse", **compile_arguments)
    return model


def test_on_least_squares_it_stops_and_suggests_a_stable_rate():
    curve = tfopt.find_learning_rate(_model(), (x, y), num_steps=100)
    assert curve.diverged
    assert len(curve.learning_rates) == len(curve.losses) == len(curve.smoothed) < 100
    np.testing.assert_allclose(curve.learning_rates[[0, 1]], [1e-7, 1e-7 * 1e8 ** (1 / 99)])
    largest_stable = 1 / np.linalg.eigvalsh(x.T @ x / len(x)).max()  # mse: the Hessian is twice this matrix
    assert 1e-3 < curve.suggestion < largest_stable
    assert set(curve.suggestions) == {"valley", "steepest", "minimum"}


@pytest.mark.long("<lambda>0", "<lambda>1")
@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [
        lambda: keras.optimizers.AdamW(schedules.LinearDecay(0.05, 50)),
        lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.001, momentum=0.9), initial_scale=1.0),
        lambda: keras.optimizers.MultiOptimizer(
            keras.optimizers.OptimizerMap(keras.optimizers.SGD(0.05), {".*bias": keras.optimizers.Adam(0.1)})
        ),
    ],
)
def test_it_leaves_no_trace(make):
    """Training after the test equals training without it, bit for bit: dropout, normalisation and optimizer too."""
    histories, weights = [], []
    for test_first in (True, False):
        keras.utils.set_random_seed(0)  # layers take their seeds as they are made
        hidden = [keras.layers.Dense(8, "relu"), keras.layers.BatchNormalization(), keras.layers.Dropout(0.3, seed=1)]
        model = _model(make(), [*hidden, layers.Dropout(0.2, seed=2)], steps_per_execution=2)
        model.fit(x, y, epochs=1, batch_size=32, verbose=0, shuffle=False)
        if test_first:
            before = random.getstate(), np.random.get_state()[1].tolist()
            tfopt.find_learning_rate(model, (x, y), num_steps=20)
            assert (random.getstate(), np.random.get_state()[1].tolist()) == before
        histories.append(model.fit(x, y, epochs=2, batch_size=32, verbose=0, shuffle=False).history)
        weights.append([w.numpy() for w in model.variables] + [w.numpy() for w in model.optimizer.variables])
        assert model.steps_per_execution == 2
    assert histories[0] == histories[1]
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_rate_really_is_the_one_of_the_curve():
    model = _model(keras.optimizers.SGD(schedules.Constant(0.5)))
    weights = []
    train = model.train_on_batch

    def watched(*batch, **arguments):
        result = train(*batch, **arguments)
        weights.append(model.get_weights()[0].copy())
        return result

    model.train_on_batch = watched
    start = model.get_weights()[0].copy()
    curve = tfopt.find_learning_rate(model, (x[:32], y[:32]), 1e-3, 1e-2, num_steps=10, mode="linear")
    w, b = start, 0.0
    for rate, seen in zip(curve.learning_rates, weights, strict=True):
        error = x[:32] @ w + b - y[:32]
        w, b = w - rate * 2 * x[:32].T @ error / 32, b - rate * 2 * error.mean()
        np.testing.assert_allclose(seen, w, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_datasets_and_py_datasets():
    dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(32)

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 8

        def __getitem__(self, index):
            return x[32 * index : 32 * index + 32], y[32 * index : 32 * index + 32]

    one, other = (tfopt.find_learning_rate(_model(), data, num_steps=30) for data in (dataset, Batches()))
    np.testing.assert_allclose(one.losses, other.losses, rtol=1e-5)


def test_suggestions_on_a_made_curve():
    rates = np.geomspace(1e-6, 1, 100)
    place = np.arange(100)
    losses = np.where(
        place < 40, 1.0 + 1e-6 * place, np.where(place < 80, 1.0 - (place - 40) / 50, 0.22 + (place - 80))
    )
    found = _suggest(rates, losses, 100)
    assert found["minimum"] == pytest.approx(rates[79] / 10, rel=0.2)
    assert rates[50] < found["valley"] < rates[66]
    assert rates[40] < found["steepest"] < rates[79]


def test_the_steepest_place_is_that_of_a_logarithmic_axis():
    rates, place = np.geomspace(1e-6, 1, 100), np.arange(100)
    losses = np.interp(place, [0, 40, 60, 80, 99], [1.0, 1.0, 0.8, 0.0, 20.0])  # by rate the slope at 40 is steeper
    assert rates[59] < _suggest(rates, losses, 100)["steepest"] < rates[80]


def test_no_suggestion_where_the_loss_never_falls():
    curve = tfopt.find_learning_rate(_model(), (x, y), 1.0, 10.0, num_steps=10)
    assert curve.suggestion is None
    assert curve.suggestions == {}
    assert curve.plot().get_xlabel() == "learning rate"


def test_plot_marks_the_suggestions():
    curve = tfopt.find_learning_rate(_model(), (x, y))
    ax = curve.plot()
    assert [text.get_text().split(":")[0] for text in ax.get_legend().get_texts()] == list(curve.suggestions)
    np.testing.assert_array_equal(ax.lines[1].get_ydata(), curve.smoothed)
    assert isinstance(curve, LearningRateCurve)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"minimal_learning_rate": 0}, "must be > 0"),
        ({"maximal_learning_rate": 1e-8}, "must be > 1e-07"),
        ({"num_steps": 5}, "must be >= 10"),
        ({"mode": "exponentail"}, "Did you mean 'exponential'"),
        ({"stop_factor": 1}, "must be > 1"),
    ],
)
def test_bad_arguments(arguments, text):
    with pytest.raises(ValueError, match=text):
        tfopt.find_learning_rate(_model(), (x, y), **arguments)


def test_a_model_that_is_not_compiled_and_data_of_no_use():
    with pytest.raises(ValueError, match="must be compiled"):
        tfopt.find_learning_rate(keras.Sequential([keras.layers.Dense(1)]), (x, y))
    with pytest.raises(TypeError, match="tuple"):
        tfopt.find_learning_rate(_model(), x)
