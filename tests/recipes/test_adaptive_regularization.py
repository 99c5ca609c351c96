"""A member of the recipe's stack is the network that Keras trains alone; and the usual snippet changes nothing."""

import keras
import numpy as np
import pytest
from sklearn.metrics import log_loss

import tfopt


@pytest.fixture(scope="module")
def names(recipe_names):
    return recipe_names("adaptive_regularization")


def alone(names, seed, learning_rate, drop, callbacks, l2=0.0):
    """One member as a plain network: its losses on training and validation rows, and its test error."""
    (x_train, y_train), (x_valid, y_valid), (x_test, y_test) = names["splits"]["overfits"][seed]
    units, epochs = names["CASES"]["overfits"][2:]
    penalty = tfopt.regularizers.L2(l2)
    widths = [(units, "relu"), (units, "relu"), (names["classes"], None)]
    dense = [keras.layers.Dense(width, activation, kernel_regularizer=penalty) for width, activation in widths]
    model = keras.Sequential([keras.Input((x_train.shape[1],)), dense[0], drop(1), dense[1], drop(2), dense[2]])
    for layer in dense:
        layer.kernel.assign(tfopt.initializers.He(seed=seed)(layer.kernel.shape))
    steps = epochs * -(-len(x_train) // 32)
    keras.utils.set_random_seed(0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(tfopt.schedules.LinearDecay(learning_rate, steps)), loss)
    model.fit(x_train, y_train, batch_size=32, epochs=epochs, verbose=0, callbacks=callbacks(steps))
    labels = range(names["classes"])
    shares = [np.asarray(keras.ops.softmax(model(rows)), "float64") for rows in (x_train, x_valid, x_test)]
    shares = [share / share.sum(axis=1, keepdims=True) for share in shares]
    losses = [log_loss(y, share, labels=labels) for y, share in zip((y_train, y_valid, y_test), shares, strict=True)]
    return [*losses, float(np.mean(shares[2].argmax(axis=1) != y_test))]


@pytest.mark.slow
def test_a_member_is_the_network_alone(names, monkeypatch):
    monkeypatch.setattr(names["arguments"], "smoke", False)  # an epoch in one call, as in a whole run
    together = names["train"]("overfits", {}, 4e-3, 1)
    for seed in (0, 1):
        expected = alone(names, seed, 4e-3, lambda _: keras.layers.Identity(), lambda steps: [])
        np.testing.assert_allclose(together[:, seed, 0], expected, rtol=2e-3)


@pytest.mark.slow
def test_a_member_with_a_growing_penalty_is_the_network_alone(names):
    growing = names["PENALTY"]["growing L2"](0.05)
    together = names["train"]("overfits", {"l2": growing}, 4e-3, 1)
    driven = [tfopt.callbacks.HyperparameterScheduler({"l2": tfopt.schedules.LinearDecay(0.0, 14, 0.1)})]
    expected = alone(names, 1, 4e-3, lambda _: keras.layers.Identity(), lambda steps: driven, l2=0.05)
    np.testing.assert_allclose(together[:, 1, 0], expected, rtol=2e-3)
    without = names["train"]("overfits", {}, 4e-3, 1)
    assert abs(without[0, 1, 0] - expected[0]) > 0.01  # the penalty is felt


@pytest.mark.slow
def test_each_member_drops_at_its_own_rate(names):
    """At rate 0 a member is the network without dropout; at a rate near 1 it learns next to nothing."""
    rates = np.array([[0.0, 0.99] * len(names["SEEDS"])])
    together = names["train"]("overfits", {"dropout": names["DROPOUT"]["fixed dropout"](rates)}, 4e-3, 2)
    without = names["train"]("overfits", {}, 4e-3, 1)
    np.testing.assert_allclose(together[..., 0], without[..., 0], rtol=1e-4)
    assert np.all(together[0, :, 1] > without[0, :, 0] + 0.3)


def test_the_penalties_have_the_same_mean(names):
    steps = 1000
    means = [np.mean(schedule(0.01)(steps).curve(steps + 1)) for schedule in names["PENALTY"].values()]
    np.testing.assert_allclose(means, 0.01, rtol=1e-5)


def test_no_row_is_in_two_parts(names):
    for parts in names["splits"]["overfits"]:
        rows = [tuple(row) for features, _ in parts for row in features]
        assert len(rows) == len(set(rows)) == 1797


def test_the_usual_snippet_changes_nothing_and_the_layer_of_tfopt_does():
    def units_dropped(layer):
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(4000, bias_initializer="ones"), layer])

        class Change(keras.callbacks.Callback):
            def on_epoch_begin(self, epoch, logs=None):
                layer.rate = [0.1, 0.9][epoch]

        def share(_, outputs):
            return keras.ops.mean(keras.ops.cast(keras.ops.equal(outputs, 0.0), "float32"))

        model.compile(keras.optimizers.SGD(1e-3), "mse", metrics=[share])
        run = model.fit(np.zeros((2, 1)), np.ones((2, 4000)), epochs=2, verbose=0, callbacks=[Change()])
        return run.history["share"]

    assert units_dropped(keras.layers.Dropout(0.1, seed=0)) == pytest.approx([0.1, 0.1], abs=0.03)
    assert units_dropped(tfopt.layers.Dropout(0.1, seed=0)) == pytest.approx([0.1, 0.9], abs=0.03)
