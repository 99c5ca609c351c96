"""Gradient descent in a compiled loop, against backpropagation by hand."""

import keras
import numpy as np
import pytest

from tfopt import initializers
from tfopt.report.recipe_descent import Descent, epochs_needed
from tfopt.report.recipe_fits import Sample

RNG = np.random.default_rng(0)
ROWS, LABELS = RNG.normal(size=(40, 5)).astype("float32"), np.arange(40) % 3


@pytest.fixture(scope="module")
def descent():
    layers = [keras.layers.Dense(4, "relu"), keras.layers.Dense(3)]
    return Descent(keras.Sequential([keras.Input((5,)), *layers]), initializers.He)


def gradients(weights, rows, labels):
    """Backpropagation by hand through Dense(relu) and Dense with cross-entropy."""
    first, first_bias, second, second_bias = weights
    hidden = np.maximum(rows @ first + first_bias, 0)
    powers = np.exp(hidden @ second + second_bias)
    wrong = (powers / powers.sum(axis=1, keepdims=True) - np.eye(second.shape[1])[labels]) / len(rows)
    back = wrong @ second.T * (hidden > 0)
    return [rows.T @ back, back.sum(axis=0), hidden.T @ wrong, wrong.sum(axis=0)]


def test_steps_are_gradient_descent(descent):
    descent.begin(1)
    weights = [weight.astype("float64") for weight in descent.model.get_weights()]
    order = RNG.permutation(40)[:24].reshape(3, 8)
    descent.steps(ROWS, LABELS, order, 0.25)
    for chosen in order:
        steps = gradients(weights, ROWS[chosen].astype("float64"), LABELS[chosen])
        weights = [weight - 0.25 * step for weight, step in zip(weights, steps, strict=True)]
    for weight, expected in zip(descent.model.get_weights(), weights, strict=True):
        np.testing.assert_allclose(weight, expected, atol=2e-6)


@pytest.mark.slow
def test_a_seed_gives_the_same_training_and_another_another(descent):
    parts = {"train": ROWS[:30], "test": ROWS[30:]}, {"train": LABELS[:30], "test": LABELS[30:]}
    once, again, other = (descent.train(Sample(seed, *parts), 8, 0.1, 3) for seed in (3, 3, 4))
    assert once == again
    assert once[0][0] != other[0][0]
    assert len(once[0]) == 4
    assert once[0][-1] < once[0][0]
    stopped = descent.train(Sample(3, *parts), 8, 0.1, 3, target=once[0][2] + 1e-6)[0]
    assert stopped == once[0][:3]


def test_epochs_between_two_epochs():
    """A loss that falls by a factor of 4 in an epoch is at half of it after half an epoch."""
    assert epochs_needed([0.8, 0.2, 0.05], 0.1, 9) == pytest.approx(1.5)
    assert epochs_needed([0.8, 0.2], 0.1, 9) == 9
    assert epochs_needed([2.0, float("nan")], 0.1, 9) == 9
    assert epochs_needed([0.05], 0.1, 9) == 0.0
