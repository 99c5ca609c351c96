"""Every family against its formula written out in NumPy float64, and against values worked out by hand."""

import keras
import numpy as np
import pytest

from tfopt import schedules

t = np.arange(0, 14, dtype="float64")
p = np.clip(t, 0, 10) / 10


def test_linear():
    np.testing.assert_allclose(schedules.LinearDecay(0.8, 10, 0.2).curve(t), 0.8 - 0.6 * p, rtol=1e-15)
    np.testing.assert_allclose(schedules.LinearDecay(0.0, 10, 1.0).curve(t), p, rtol=1e-15)


def test_last_step_reaches_the_end():
    schedule = schedules.LinearDecay(1.0, 5, reach_end="last_step")
    assert schedule.curve(7).tolist() == [1.0, 0.75, 0.5, 0.25, 0.0, 0.0, 0.0]
    assert schedules.CosineDecay(1.0, 5, reach_end="last_step").curve([2, 4, 5]) == pytest.approx(
        [0.5, 0, 0], abs=1e-15
    )


@pytest.mark.parametrize(("power", "k"), [(1.0, 1.0), (0.5, 1.0), (2.0, 1.0), (0.9, 1.7)])
def test_polynomial(power, k):
    expected = 0.1 + 0.9 * (1 - p**k) ** power
    np.testing.assert_allclose(schedules.PolynomialDecay(1.0, 10, 0.1, power=power, k=k).curve(t), expected, rtol=1e-14)


def test_polynomial_cycles_to_the_next_multiple():
    schedule = schedules.PolynomialDecay(1.0, 4, cycle=True)
    np.testing.assert_allclose(schedule.curve([0, 2, 4, 5, 8, 9]), [1, 0.5, 0, 1 - 5 / 8, 0, 1 - 9 / 12], atol=1e-15)
    assert schedule.length is None


def test_exponential():
    np.testing.assert_allclose(schedules.ExponentialDecay(0.5, 4, 0.3).curve(t), 0.5 * 0.3 ** (t / 4), rtol=1e-14)
    stairs = schedules.ExponentialDecay(0.5, 4, 0.3, staircase=True)
    np.testing.assert_allclose(stairs.curve(t), 0.5 * 0.3 ** (t // 4), rtol=1e-14)


def test_exponential_floor_and_ceiling():
    floor = schedules.ExponentialDecay(1.0, 1, 0.5, end_learning_rate=0.2)
    np.testing.assert_allclose(floor.curve(4), [1, 0.5, 0.25, 0.2])
    ceiling = schedules.ExponentialDecay(1.0, 1, 2.0, end_learning_rate=5.0)
    np.testing.assert_allclose(ceiling.curve(5), [1, 2, 4, 5, 5])


def test_step_and_multi_step():
    np.testing.assert_allclose(schedules.StepDecay(1.0, 3, 0.2).curve(t), 0.2 ** (t // 3), rtol=1e-14)
    expected = [1, 1, 0.5, 0.5, 0.05, 0.05]
    np.testing.assert_allclose(schedules.MultiStepDecay(1.0, [2, 4], [0.5, 0.1]).curve(6), expected)


def test_inverse_time():
    schedule = schedules.InverseTimeDecay(0.5, 4, 2.0, end_learning_rate=0.1)
    np.testing.assert_allclose(schedule.curve(t), np.maximum(0.1, 0.5 / (1 + 2 * t / 4)), rtol=1e-15)


@pytest.mark.parametrize(("alpha", "exponent", "k"), [(0.0, 1.0, 1.0), (0.1, 2.0, 1.5), (1.5, 1.0, 1.0)])
def test_cosine(alpha, exponent, k):
    schedule = schedules.CosineDecay(0.4, 10, alpha=alpha, exponent=exponent, k=k)
    shape = (0.5 * (1 + np.cos(np.pi * p**k))) ** exponent
    np.testing.assert_allclose(schedule.curve(t), 0.4 * (alpha + (1 - alpha) * shape), rtol=1e-13, atol=1e-17)


@pytest.mark.parametrize(("first", "t_mul", "m_mul"), [(3, 1.0, 0.9), (3, 2.0, 1.0), (7, 1.5, 0.5)])
def test_cosine_restarts_against_a_loop(first, t_mul, m_mul):
    schedule = schedules.CosineRestarts(1.0, first, t_mul=t_mul, m_mul=m_mul, alpha=0.1)
    expected, start, cycle = [], 0.0, 0
    for step in range(200):
        while step >= start + first * t_mul**cycle:
            start, cycle = start + first * t_mul**cycle, cycle + 1
        wave = 0.5 * (1 + np.cos(np.pi * (step - start) / (first * t_mul**cycle)))
        expected.append(0.1 + (m_mul**cycle - 0.1) * wave)
    np.testing.assert_allclose(schedule.curve(200), expected, rtol=1e-12)


def test_cosine_restarts_end_after_their_cycles():
    schedule = schedules.CosineRestarts(1.0, 4, t_mul=2.0, alpha=0.2, num_cycles=2)
    assert schedule.length == 12
    np.testing.assert_allclose(schedule.curve([4, 12, 13, 10**6]), [1.0, 0.2, 0.2, 0.2])


@pytest.mark.parametrize(
    ("shape", "fraction"),
    [
        ("linear", lambda q: q),
        ("polynomial", lambda q: q**3),
        ("cosine", lambda q: 0.5 * (1 - np.cos(np.pi * q))),
        ("1-sqrt", lambda q: 1 - np.sqrt(1 - q)),
        ("constant", lambda q: 0 * q),
    ],
)
def test_warmup_shapes(shape, fraction):
    schedule = schedules.Warmup(schedules.LinearDecay(1.0, 5), 10, 0.2, shape=shape, power=3.0)
    np.testing.assert_allclose(schedule.curve(10), 0.2 + 0.8 * fraction(np.arange(10) / 10), rtol=1e-13)
    np.testing.assert_allclose(schedule.curve([10, 12, 15, 16]), [1.0, 0.6, 0, 0], atol=1e-15)
    assert schedule.length == 15


def test_exponential_warmup_is_geometric():
    schedule = schedules.Warmup(1.0, 4, 1e-4, shape="exponential")
    np.testing.assert_allclose(schedule.curve(6), [1e-4, 1e-3, 1e-2, 1e-1, 1, 1], rtol=1e-13)
    assert schedule.length is None


def test_warmup_around_a_keras_schedule():
    inner = keras.optimizers.schedules.PiecewiseConstantDecay([2], [1.0, 0.5])
    np.testing.assert_allclose(schedules.Warmup(inner, 2).curve(6), [0, 0.5, 1, 1, 1, 0.5])


@pytest.mark.parametrize("ratio", [2, 3, 5, 6, 7, 10])
def test_every_cycle_begins_at_its_step(ratio):
    """Where the logarithm that finds the cycle is rounded down too: log(243) / log(3) is less than 5."""
    starts = [10 * (ratio**cycle - 1) // (ratio - 1) for cycle in range(8)]
    restarts = schedules.CosineRestarts(1.0, 10, t_mul=ratio, m_mul=0.5)
    np.testing.assert_allclose(restarts.curve(starts), 0.5 ** np.arange(8), rtol=1e-12)
    assert (restarts.curve(np.array(starts[1:]) - 1) < 0.1).all()


def test_a_start_that_rounding_puts_above_its_step_is_at_its_step():
    restarts = schedules.CosineRestarts(1.0, 100, t_mul=1.1)
    np.testing.assert_allclose(restarts.curve([100, 209, 210, 330, 331]), [1, 2e-4, 1, 1.7e-4, 1], atol=1e-4)
