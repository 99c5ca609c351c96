"""The quantile loss against scikit-learn's, and what is refused."""

import keras
import numpy as np
import pytest
from sklearn.metrics import mean_pinball_loss

import tfopt

QUANTILES = [0.1, 0.5, 0.8]


@pytest.mark.parametrize("shape", [(40,), (40, 1)])
def test_it_is_scikit_learns_mean_over_the_quantiles(shape):
    random = np.random.default_rng(0)
    target, output = random.normal(size=40), random.normal(size=(40, 3))
    output[0] = target[0]
    theirs = [mean_pinball_loss(target, output[:, i], alpha=q) for i, q in enumerate(QUANTILES)]
    mine = tfopt.losses.QuantileLoss(QUANTILES)(target.reshape(shape), output)
    np.testing.assert_allclose(float(mine), np.mean(theirs), rtol=1e-6)


@pytest.mark.slow
def test_each_output_becomes_its_quantile():
    """Of targets without inputs the minimiser is known: the empirical quantile."""
    target = np.sort(np.random.default_rng(1).exponential(size=401))
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(3)])
    schedule = tfopt.schedules.LinearDecay(0.05, 600)
    model.compile(keras.optimizers.Adam(schedule), tfopt.losses.QuantileLoss(QUANTILES))
    x = np.zeros((401 * 600, 1), "float32")
    model.fit(x, np.tile(target, 600), batch_size=401, shuffle=False, verbose=0)
    predicted = model.predict(x[:1], verbose=0)
    assert predicted.shape == (1, 3)
    np.testing.assert_allclose(predicted[0], np.quantile(target, QUANTILES), atol=0.01)


def test_it_is_saved_with_the_model(tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    model.compile("sgd", tfopt.losses.QuantileLoss((0.25, 0.75)))
    model.save(tmp_path / "model.keras")
    assert keras.models.load_model(tmp_path / "model.keras").loss.quantiles == [0.25, 0.75]


@pytest.mark.parametrize("quantiles", [0.0, [0.5, 1.0], [], [[0.5]], [float("nan")]])
def test_quantiles_lie_between_0_and_1(quantiles):
    with pytest.raises(ValueError, match="`quantiles` of QuantileLoss must be numbers between 0 and 1"):
        tfopt.losses.QuantileLoss(quantiles)


@pytest.mark.parametrize(("targets", "outputs", "told"), [(1, 2, r"Dense\(3\)"), (3, 3, "takes one target")])
def test_shapes_that_do_not_fit_are_named(targets, outputs, told):
    with pytest.raises(ValueError, match=told):
        tfopt.losses.QuantileLoss()(np.zeros((4, targets)), np.zeros((4, outputs)))
