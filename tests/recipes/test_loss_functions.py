"""Losses under outliers against hand-made examples, and the softmax that is taken for logits."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

FOUND = "produced by a Softmax"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("loss", "centre"),
    [("mse", 0.9 * 0.0 + 0.1 * 100.0), ("mae", 0.0), (keras.losses.Huber(delta=1.0, reduction=None), 1 / 9)],
)
def test_a_constant_under_one_outlier_in_ten(loss, centre):
    """Nine zeros and a hundred: the mean, the median, and where nine pulls of size c balance one of size 1."""
    targets = np.array([0.0] * 9 + [100.0], "float32")[:, None]
    grid = np.linspace(-1, 12, 13_001, dtype="float32")
    loss = keras.losses.get(loss)
    costs = np.mean(loss(np.broadcast_to(targets.T[..., None], (1301, 10, 1)), grid[::10, None, None]), axis=-1)
    assert grid[::10][int(np.argmin(costs))] == pytest.approx(centre, abs=0.011)


RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 5)).astype("float32")
KERNEL = RNG.normal(size=(5, 3)).astype("float32")
Y = (X @ KERNEL[::-1]).argmax(axis=1)  # learnable, and not what the first weights say


def trained(last, loss):
    """Return the losses of forty epochs, and whether Keras said that it found a softmax."""
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3), *last])
    model.layers[0].kernel.assign(KERNEL)
    model.compile(keras.optimizers.SGD(2.0), loss)
    rows = tf.data.Dataset.from_tensors((X, Y)).repeat()  # one iterator for all epochs, which arrays make anew in each
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        history = model.fit(rows, epochs=40, steps_per_epoch=1, verbose=0)
    return history.history["loss"], any(FOUND in str(warning.message) for warning in caught)


def own_loss(truth, logits):
    chosen = keras.ops.one_hot(keras.ops.cast(keras.ops.reshape(truth, [-1]), "int32"), 3)
    return -keras.ops.sum(chosen * keras.ops.log_softmax(logits), axis=-1)


def written_out(logits):
    return keras.ops.exp(logits) / keras.ops.sum(keras.ops.exp(logits), axis=-1, keepdims=True)


FROM_LOGITS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@pytest.mark.slow
def test_the_usual_snippet_is_repaired():
    right, said = trained([], FROM_LOGITS)
    assert not said
    for last in (keras.layers.Softmax(), keras.layers.Activation("softmax"), keras.layers.Lambda(keras.ops.softmax)):
        losses, said = trained([last], FROM_LOGITS)
        assert said
        assert losses == right


@pytest.mark.slow
def test_where_it_is_not_repaired_the_softmax_is_taken_twice():
    logits = X @ KERNEL
    once = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    twice = np.exp(once) / np.exp(once).sum(axis=1, keepdims=True)
    first = -np.log(twice[np.arange(60), Y]).mean()
    softmax = keras.layers.Softmax
    for last, loss in (
        ([keras.layers.Lambda(written_out)], FROM_LOGITS),
        ([softmax(), keras.layers.Reshape((3,))], FROM_LOGITS),
        ([softmax()], own_loss),
    ):
        losses, said = trained(last, loss)
        assert not said
        assert losses[0] == pytest.approx(first, rel=1e-5)
        assert losses[-1] > np.log(np.e + 2) - 1  # no certainty can lower it further
    assert trained([], FROM_LOGITS)[0][-1] < 0.3


def test_a_loss_of_ones_own_takes_logits_rightly():
    np.testing.assert_allclose(trained([], own_loss)[0], trained([], FROM_LOGITS)[0], rtol=1e-6)
