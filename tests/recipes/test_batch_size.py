"""The recipe's noise and rules against NumPy, and why the usual comparison misleads."""

import numpy as np
import pytest


@pytest.fixture(scope="module")
def ran(recipe_names):
    return recipe_names("batch_size")


def test_gradients_by_row_average_to_the_gradient(ran):
    """A step over all rows goes as far as the mean of the rows' own gradients says."""
    sample, descent = ran["samples"][0], ran["descent"]
    rows, labels = sample.x["train"], sample.y["train"]
    descent.begin(sample.seed)
    mean = ran["gradients_by_row"](rows, labels).numpy().mean(axis=0)
    before = [weight.ravel() for weight in descent.model.get_weights()]
    descent.steps(rows, labels, np.arange(ran["ROWS"])[None], 1.0)
    after = [weight.ravel() for weight in descent.model.get_weights()]
    np.testing.assert_allclose(np.concatenate(before) - np.concatenate(after), mean, atol=1e-6)


def test_noise_falls_as_sampling_without_replacement_says(ran):
    """Variance of the mean of B out of N rows: (1/B)(N − B)/(N − 1) of a single row's."""
    total, single = ran["ROWS"], np.mean(ran["noise"][1])
    for batch in ran["BATCHES"][1:]:
        expected = single / batch * (total - batch) / (total - 1)
        assert np.mean(ran["noise"][batch]) == pytest.approx(expected, rel=0.25, abs=1e-9)


def test_the_usual_comparison_stops_the_full_batch_early(ran):
    """One rate and one number of epochs: the full batch is left with a training loss far from the mini-batches'."""
    left = {}
    for batch in (ran["MINI"], ran["FULL"]):
        left[batch] = ran["descent"].train(ran["samples"][0], batch, ran["USUAL_RATE"], 4)[0][-1]
    assert left[ran["FULL"]] > 1.3 * left[ran["MINI"]]
    assert np.mean(ran["usual"][ran["FULL"]]) > np.mean(ran["usual"][ran["MINI"]])
