"""Monte Carlo dropout: means and spreads against what the masks must do, and a model that stays as it was."""

import keras
import numpy as np
import pytest

import tfopt


@pytest.fixture
def model():
    keras.utils.set_random_seed(0)
    layers = [keras.Input((6,)), keras.layers.BatchNormalization(), keras.layers.Dropout(0.4)]
    return keras.Sequential([*layers, keras.layers.Dense(1, kernel_initializer="ones")])


@pytest.mark.slow
def test_mean_and_spread_of_a_sum(model):
    x = np.random.default_rng(0).normal(size=(5, 6)).astype("float32")
    prediction = tfopt.mc_dropout(model, x, samples=400, batch_size=3)
    assert prediction.samples.shape == (400, 5, 1)
    scaled = x / np.sqrt(1.001)  # the untrained normalisation
    np.testing.assert_allclose(prediction.mean[:, 0], scaled.sum(axis=1), atol=0.3)
    expected = np.sqrt((scaled**2).sum(axis=1) * 0.4 / 0.6)
    np.testing.assert_allclose(prediction.std[:, 0], expected, rtol=0.1)


def test_the_model_stays_as_it_was_and_the_seed_decides(model):
    x = np.ones((3, 6), "float32")
    before = [np.asarray(v) for v in model.variables]
    first, again = tfopt.mc_dropout(model, x, samples=3), tfopt.mc_dropout(model, x, samples=3)
    other = tfopt.mc_dropout(model, x, samples=3, seed=1)
    np.testing.assert_array_equal(first.samples, again.samples)
    assert not np.array_equal(first.samples, other.samples)
    assert not np.array_equal(first.samples[0], first.samples[1])
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(np.asarray(variable), value)


def test_two_masks_and_one_by_hand():
    """Of 1 and 4: the squares of ±1.5 over 2 − 1."""
    two = tfopt.uncertainty.MonteCarloPrediction(np.array([[[1.0]], [[4.0]]]))
    assert (two.mean.item(), two.std.item()) == (2.5, pytest.approx(4.5**0.5))
    assert tfopt.uncertainty.MonteCarloPrediction(np.array([[[1.0]]])).std.item() == 0.0


def test_entropy_and_information():
    samples = np.array([[[1.0, 0.0], [0.5, 0.5]], [[0.0, 1.0], [0.5, 0.5]]])
    prediction = tfopt.uncertainty.MonteCarloPrediction(samples)
    np.testing.assert_allclose(prediction.entropy(), np.log(2), atol=1e-6)
    np.testing.assert_allclose(prediction.mutual_information(), [np.log(2), 0.0], atol=1e-6)
    logits = tfopt.uncertainty.MonteCarloPrediction(np.log(np.clip(samples, 1e-9, None)))
    np.testing.assert_allclose(logits.mutual_information(from_logits=True), [np.log(2), 0.0], atol=1e-6)
    binary = tfopt.uncertainty.MonteCarloPrediction(samples[..., 1:])
    np.testing.assert_allclose(binary.mutual_information(), [np.log(2), 0.0], atol=1e-6)


def test_what_cannot_be_answered_is_refused(model):
    plain = keras.Sequential([keras.Input((6,)), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="a layer that drops"):
        tfopt.mc_dropout(plain, np.ones((1, 6)))
    with pytest.raises(ValueError, match="`samples`"):
        tfopt.mc_dropout(model, np.ones((1, 6)), samples=0)
