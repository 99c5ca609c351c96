"""The recipe's training, noise and rules against NumPy, and why the usual comparison misleads."""

import numpy as np
import pytest


@pytest.fixture(scope="module")
def ran(recipe_names):
    return recipe_names("batch_size")


def softmax(z):
    powers = np.exp(z - z.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def numpy_gradients(weights, rows, labels):
    """Backpropagation by hand through Dense(relu) and Dense with cross-entropy."""
    first, first_bias, second, second_bias = weights
    hidden = np.maximum(rows @ first + first_bias, 0)
    wrong = (softmax(hidden @ second + second_bias) - np.eye(second.shape[1])[labels]) / len(rows)
    back = wrong @ second.T * (hidden > 0)
    return [rows.T @ back, back.sum(axis=0), hidden.T @ wrong, wrong.sum(axis=0)]


def test_the_compiled_epoch_is_gradient_descent(ran):
    import tensorflow as tf

    rows, labels, *_ = ran["begin"](1)
    weights = [weight.numpy().astype("float64") for weight in ran["model"].trainable_variables]
    order = np.random.default_rng(0).permutation(ran["ROWS"]).reshape(-1, 32)[:3]
    ran["descend"](rows, labels, tf.constant(order, tf.int32), np.float32(0.25))
    for chosen in order:
        gradients = numpy_gradients(weights, rows.numpy()[chosen].astype("float64"), labels.numpy()[chosen])
        weights = [weight - 0.25 * gradient for weight, gradient in zip(weights, gradients, strict=True)]
    for weight, expected in zip(ran["model"].trainable_variables, weights, strict=True):
        np.testing.assert_allclose(weight.numpy(), expected, atol=2e-6)


def test_gradients_by_row_average_to_the_gradient(ran):
    rows, labels, *_ = ran["begin"](0)
    weights = [weight.numpy().astype("float64") for weight in ran["model"].trainable_variables]
    by_row = ran["gradients_by_row"](rows, labels).numpy()
    whole = numpy_gradients(weights, rows.numpy().astype("float64"), labels.numpy())
    np.testing.assert_allclose(by_row.mean(axis=0), np.concatenate([part.ravel() for part in whole]), atol=1e-6)


def test_noise_falls_as_sampling_without_replacement_says(ran):
    """Variance of the mean of B out of N rows: (1/B)(N − B)/(N − 1) of a single row's."""
    total, single = ran["ROWS"], np.mean(ran["noise"][1])
    for batch in ran["BATCHES"][1:]:
        expected = single / batch * (total - batch) / (total - 1)
        assert np.mean(ran["noise"][batch]) == pytest.approx(expected, rel=0.25, abs=1e-9)


def test_epochs_between_two_epochs(ran):
    target, limit = ran["TARGET"], ran["LIMIT"][1]
    assert ran["epochs_needed"]([8 * target, 2 * target, target / 2], 1) == pytest.approx(1.5)
    assert ran["epochs_needed"]([8 * target, 2 * target], 1) == limit
    assert ran["epochs_needed"]([2.0, float("nan")], 1) == limit


def test_a_rate_is_chosen_without_the_seed_it_is_reported_for(ran):
    for i in range(len(ran["BATCHES"])):
        for seed in range(ran["SEEDS"]):
            without = np.delete(ran["needed"][i], seed, axis=1).mean(axis=1)
            assert without[ran["chosen"][i, seed]] == without.min()


def test_the_usual_comparison_stops_the_full_batch_early(ran):
    """One rate and one number of epochs: the full batch is left with a training loss far from the mini-batches'."""
    left = {}
    for batch in (ran["MINI"], ran["FULL"]):
        left[batch] = ran["train"](0, batch, ran["USUAL_RATE"], 4)[0][-1]
    assert left[ran["FULL"]] > 1.3 * left[ran["MINI"]]
    assert np.mean(ran["usual"][ran["FULL"]]) > np.mean(ran["usual"][ran["MINI"]])
