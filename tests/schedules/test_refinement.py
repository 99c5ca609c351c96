"""The refined schedule, against the paper's algorithm written as a double loop."""

import numpy as np
import pytest

from tfopt import schedules


def test_equal_norms_give_the_linear_decay():
    refined = schedules.refine(np.full(40, 3.7), learning_rate=0.2)
    np.testing.assert_allclose(refined.curve(50), schedules.LinearDecay(0.2, 40).curve(50), atol=1e-15)


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_against_the_algorithm(power):
    norms = np.exp(np.random.default_rng(0).normal(size=41))
    width = 5
    padded = np.concatenate([[norms[0]] * 2, norms, [norms[-1]] * 2])
    smooth = np.array([np.median(padded[i : i + width]) for i in range(41)])
    weights = [g**-power for g in smooth] + [smooth[-1] ** -power]
    expected = [weights[i] * sum(weights[i + 1 :]) for i in range(42)]
    refined = schedules.refine(norms, smoothing=width / 41, power=power)
    np.testing.assert_allclose(refined.curve(42), np.array(expected) / max(expected), atol=1e-13)


def test_growing_norms_bring_the_rate_down_early_and_shrinking_ones_keep_it_up():
    steps = np.linspace(1, 3, 100)
    line = schedules.LinearDecay(1.0, 100).curve(101)
    growing, shrinking = schedules.refine(steps).curve(101), schedules.refine(steps[::-1]).curve(101)
    assert np.all(growing[1:100] < line[1:100])
    assert shrinking.argmax() > 20
    assert shrinking[0] < 0.6 * shrinking.max()


def test_another_length_and_missing_norms():
    norms = np.linspace(1, 2, 50)
    holes = norms.copy()
    holes[[3, 20]] = np.nan, np.inf
    np.testing.assert_allclose(schedules.refine(holes).curve(50), schedules.refine(norms).curve(50), rtol=1e-12)
    double = schedules.refine(norms, decay_steps=100)
    assert double.length == 100
    np.testing.assert_allclose(double.curve([0, 50, 100]), schedules.refine(norms).curve([0, 25, 50]), atol=1e-3)
    again = schedules.deserialize(schedules.serialize(double))
    np.testing.assert_array_equal(again.curve(120), double.curve(120))


@pytest.mark.parametrize("norms", [[1.0], [1.0, 0.0, 2.0], [np.nan, np.nan, 1.0], [[1.0, 2.0]]])
def test_useless_norms(norms):
    with pytest.raises(ValueError, match="gradient_norms"):
        schedules.refine(norms)
