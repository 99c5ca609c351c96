"""The recipe's gradients and scales against NumPy, batch norm of one row, and statistics that lag behind."""

import numpy as np
import pytest


@pytest.fixture(scope="module")
def ran(recipe_names):
    return recipe_names("normalization")


def test_the_scale_is_that_of_the_training_rows_alone(ran):
    sample = ran["data"]["standardised"][0]
    rows, test_rows = sample.x["train"], sample.x["test"]
    np.testing.assert_allclose(rows.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(rows.std(axis=0), 1, rtol=1e-4)
    assert np.abs(test_rows.mean(axis=0)).max() > 0.01
    robust = ran["data"]["robust"][0].x["train"]
    np.testing.assert_allclose(np.median(robust, axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(np.subtract(*np.percentile(robust, [75, 25], axis=0)), 1, rtol=1e-4)


def test_the_signals_are_those_of_backpropagation_by_hand(ran):
    network, sample = ran["networks"]["plain", ran["LAYERS"]], ran["data"]["standardised"][1]
    network.begin(sample.seed)
    rows, labels = sample.x["train"].astype("float64"), sample.y["train"]
    weights = [weight.astype("float64") for weight in network.model.get_weights()]
    outputs = [rows]
    for kernel, bias in zip(weights[0:-2:2], weights[1:-2:2], strict=True):
        outputs.append(np.tanh(outputs[-1] @ kernel + bias))
    logits = outputs[-1] @ weights[-2] + weights[-1]
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    back = out = (powers / powers.sum(axis=1, keepdims=True) - np.eye(logits.shape[1])[labels]) / len(rows)
    for kernel, output in zip(weights[-2::-2], outputs[::-1], strict=True):
        if output is rows:
            break
        back = back @ kernel.T * (1 - output**2)
    by_input = np.linalg.norm(rows.T @ back, axis=1)
    share, spread = ran["signals"](network, sample)
    assert share == pytest.approx(np.log10(np.sqrt(np.mean(back**2) / np.mean(out**2))), abs=1e-3)
    assert spread == pytest.approx(np.log10(by_input.max() / by_input.min()), abs=1e-3)


def test_batch_norm_of_one_row_sees_nothing(ran):
    """The mean of one row is the row: in training the output does not depend on it, and no gradient reaches below."""
    import tensorflow as tf

    model = ran["networks"]["batch norm", ran["LAYERS"]].model
    rows = ran["data"]["standardised"][0].x["train"]
    outputs = np.array([model(rows[i : i + 1], training=True)[0] for i in range(3)])
    np.testing.assert_allclose(outputs - outputs[0], 0, atol=1e-4)  # rounding
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(rows[:1], training=True) ** 2)
    assert float(tf.reduce_max(tf.abs(tape.gradient(loss, model.layers[0].kernel)))) < 1e-4
    others = np.array(model(rows[:3], training=True))
    assert np.ptp(others, axis=0).max() > 0.1  # three rows are told apart


def test_the_default_momentum_lags_behind():
    """After 26 steps Keras's 0.99 has moved the statistics by 1 − 0.99²⁶ = 23 % of the way, 0.9 by 94 %."""
    import keras

    rows = np.random.default_rng(0).normal(50.0, 7.0, (512, 1)).astype("float32")
    for momentum, moved in ((0.99, 0.23), (0.9, 0.935)):
        layer = keras.layers.BatchNormalization(momentum=momentum)
        for _ in range(26):
            layer(rows, training=True)
        assert float(layer.moving_mean[0]) == pytest.approx(moved * rows.mean(), rel=0.01)
    assert keras.layers.BatchNormalization().momentum == 0.99
