"""The families of other shapes against their formulas in NumPy float64, and values worked out by hand."""

import math

import numpy as np
import pytest

from tfopt import schedules

t = np.arange(0, 14, dtype="float64")
p = np.clip(t, 0, 10) / 10


def test_rex():
    expected = 0.1 + 0.4 * (1 - p) / (0.5 + 0.5 * (1 - p))
    np.testing.assert_allclose(schedules.RexDecay(0.5, 10, 0.1).curve(t), expected, rtol=1e-14)


def test_tanh_ends_at_the_end():
    expected = 0.1 + 0.5 * 0.4 * (1 - np.tanh(-7 * (1 - p) + 3 * p))
    expected[10:] = 0.1
    np.testing.assert_allclose(schedules.TanhDecay(0.5, 10, 0.1).curve(t), expected, rtol=1e-14)


FALLS = {
    "linear": lambda q: 1 - q,
    "cosine": lambda q: 0.5 * (1 + np.cos(np.pi * q)),
    "1-sqrt": lambda q: 1 - np.sqrt(q),
    "1-square": lambda q: 1 - q**2,
    "mirror_cosine": lambda q: 2 * (1 - q) - 0.5 * (1 + np.cos(np.pi * q)),
}


@pytest.mark.parametrize("shape", FALLS)
def test_cooldowns(shape):
    q = np.arange(9) / 8
    expected = 0.02 + 0.48 * FALLS[shape](q)
    flat = schedules.FlatThenAnneal(0.5, 16, 0.5, 0.02, shape=shape)
    np.testing.assert_allclose(flat.curve(np.arange(8, 17)), expected, rtol=1e-13)
    np.testing.assert_array_equal(flat.curve(8), 0.5)
    stable = schedules.WarmupStableDecay(0.5, 20, 4, 8, 0.02, cooldown_shape=shape)
    np.testing.assert_allclose(stable.curve(np.arange(12, 21)), expected, rtol=1e-13)
    np.testing.assert_allclose(stable.curve(12), [0, 0.125, 0.25, 0.375] + [0.5] * 8)
    anneal = schedules.Anneal(schedules.LinearDecay(1.0, 8), 4, 8, 0.02, shape=shape)
    np.testing.assert_allclose(anneal.curve(np.arange(4, 13)), expected, rtol=1e-13)
    np.testing.assert_allclose(anneal.curve(4), [1, 0.875, 0.75, 0.625])


def test_exponential_cooldown_is_geometric():
    schedule = schedules.WarmupStableDecay(1.0, 8, 0, 4, 1e-4, cooldown_shape="exponential")
    np.testing.assert_allclose(schedule.curve([4, 5, 6, 7, 8, 9]), [1, 0.1, 0.01, 1e-3, 1e-4, 1e-4], rtol=1e-13)


def test_a_fifth_of_the_steps_cool_down_unless_told():
    schedule = schedules.WarmupStableDecay(1.0, 100, cooldown_shape="linear")
    np.testing.assert_allclose(schedule.curve([80, 81, 90, 100]), [1, 0.95, 0.5, 0], atol=1e-15)


def test_cosine_wave():
    expected = 0.5 * (0.1 + 0.9 * 0.5 * (1 + np.cos(2 * np.pi * 1.5 * p)))
    np.testing.assert_allclose(schedules.CosineWave(0.5, 10, 1.5, 0.1).curve(t), expected, rtol=1e-13)


@pytest.mark.parametrize("cycles", [1, 4, 2.5])
def test_coslog(cycles):
    u = np.clip(np.arange(-2, 20), 0, 15) / 15
    expected = 0.2 * 0.5 * (1 - np.cos(2 * np.pi * np.log2(1 + (2**cycles - 1) * u)))
    np.testing.assert_allclose(schedules.CosLog(0.2, 15, cycles).curve(np.arange(-2, 20)), expected, atol=1e-15)


def test_each_cycle_of_coslog4_lasts_twice_as_long():
    schedule = schedules.from_name("coslog4", 0.04, 15)  # 1 + 2 + 4 + 8
    np.testing.assert_allclose(schedule.curve([0, 1, 3, 7, 15]), 0, atol=1e-17)
    tops = 15 * (2 ** np.array([0.5, 1.5, 2.5, 3.5]) - 1) / 15
    np.testing.assert_allclose(schedule.curve(tops), 0.04, rtol=1e-14)


def test_chebyshev_steps_are_the_inverse_roots_and_solve_a_quadratic():
    schedule = schedules.ChebyshevSteps(1.0, 20.0, cycle_steps=8)
    rates = schedule.curve(8)
    roots = 0.5 * (20 + 1) + 0.5 * (20 - 1) * np.cos(np.pi * (np.arange(8) + 0.5) / 8)
    np.testing.assert_allclose(np.sort(1 / rates), np.sort(roots), rtol=1e-13)
    np.testing.assert_array_equal(schedule.curve(np.arange(8, 16)), rates)
    curvatures = np.linspace(1, 20, 400)
    left = np.max(np.abs(np.prod(1 - rates * curvatures[:, None], axis=1)))
    rho = (math.sqrt(20) - 1) / (math.sqrt(20) + 1)
    assert left == pytest.approx(2 * rho**8 / (1 + rho**16), rel=1e-6)


@pytest.mark.parametrize(("scale", "gamma"), [("triangular", 1.0), ("triangular2", 1.0), ("exp_range", 0.97)])
def test_cyclical(scale, gamma):
    schedule = schedules.Cyclical(0.1, 0.9, 4, 6, scale=scale, gamma=gamma)
    expected = []
    for step in range(45):
        cycle, place = divmod(step, 10)
        height = place / 4 if place <= 4 else 1 - (place - 4) / 6
        expected.append(0.1 + 0.8 * height * (0.5**cycle if scale == "triangular2" else gamma**step))
    np.testing.assert_allclose(schedule.curve(45), expected, rtol=1e-13)


def test_one_cycle_knots():
    two = schedules.OneCycle(1.0, 100, 0.25, 20.0, 50.0)
    np.testing.assert_allclose(two.curve([0, 25, 100, 200]), [0.05, 1.0, 0.001, 0.001], rtol=1e-13)
    np.testing.assert_allclose(two.curve([12.5]), [(0.05 + 1) / 2], rtol=1e-13)
    three = schedules.OneCycle(1.0, 100, 0.25, 20.0, 50.0, shape="linear", num_phases=3)
    np.testing.assert_allclose(three.curve([0, 10, 25, 35, 50, 75, 100]), [0.05, 0.43, 1, 0.62, 0.05, 0.0255, 0.001])
    assert schedules.OneCycle(1.0, 10, 0.0).curve([0])[0] == 1.0
    assert schedules.OneCycle(1.0, 10, 1.0).curve([9, 10]).tolist() == pytest.approx([0.976507, 4e-6], abs=1e-6)
    assert schedules.OneCycle(1.0, 10, 0.1, reach_end="last_step").curve([0])[0] == 1.0


def test_one_cycle_momentum_mirrors_the_rate():
    rate = schedules.OneCycle(1.0, 100, 0.25, 1e9, 1e9)
    momentum = schedules.OneCycleMomentum(100, 0.95, 0.85, 0.25)
    steps = np.arange(100)
    np.testing.assert_allclose(momentum.curve(steps), 0.95 - 0.1 * rate.curve(steps), atol=1e-9)


def test_powers():
    n = np.array([0, 1, 4, 9, 100.0])
    np.testing.assert_allclose(schedules.InverseSquareRootDecay(0.3, 5).curve(n), 0.3 / np.sqrt(1 + n / 5))
    noam = schedules.NoamDecay(2.0, 10, 64)
    np.testing.assert_allclose(noam.curve(n), 2 / 8 * np.minimum((n + 1) ** -0.5, (n + 1) * 10**-1.5), rtol=1e-13)
    law = schedules.PowerLawDecay(0.3, None, 0.5)
    np.testing.assert_allclose(law.curve(n), 0.3 * np.maximum(n, 1) ** 0.5)
    assert law.length is None
    cooled = schedules.PowerLawDecay(0.3, 50, -1.0, 0.2)
    np.testing.assert_allclose(cooled.curve([2, 40, 45, 50, 60]), [0.15, 0.3 / 40, 0.3 / 45 / 2, 0, 0])


def test_piecewise():
    np.testing.assert_array_equal(schedules.PiecewiseConstant([2, 5], [3, 1, 2]).curve(7), [3, 3, 1, 1, 1, 2, 2])
    linear = schedules.PiecewiseInterpolation([2, 6, 6, 10], [1.0, 3.0, 0.5, 0.0])
    np.testing.assert_allclose(linear.curve(12), [1, 1, 1, 1.5, 2, 2.5, 0.5, 0.375, 0.25, 0.125, 0, 0])
    cosine = schedules.PiecewiseInterpolation([0, 4], [1.0, 3.0], "cosine")
    np.testing.assert_allclose(cosine.curve(6), [1, 2 - math.sqrt(0.5), 2, 2 + math.sqrt(0.5), 3, 3])


def test_interpolation_of_stacks_equals_that_of_numbers():
    stack = schedules.PiecewiseInterpolation([1, 4, 9], [np.array([0.1, 0.2]), np.array([1.0, 3.0]), np.array([0, 0])])
    single = [schedules.PiecewiseInterpolation([1, 4, 9], v) for v in ([0.1, 1.0, 0.0], [0.2, 3.0, 0.0])]
    np.testing.assert_allclose(stack.curve(12), np.stack([s.curve(12) for s in single], axis=1), rtol=1e-14)


def test_compositions():
    line = schedules.LinearDecay(1.0, 4)
    np.testing.assert_allclose(schedules.Sequence([line, 0.3, line], [2, 3]).curve(6), [1, 0.75, 0.3, 1, 0.75, 0.5])
    np.testing.assert_allclose(schedules.Product([line, 0.5, line]).curve(5), 0.5 * line.curve(5) ** 2)
    np.testing.assert_allclose(schedules.Offset(line, 2).curve(8), [1, 1, 1, 0.75, 0.5, 0.25, 0, 0])
    np.testing.assert_allclose(schedules.Offset(line, -3).curve(3), [0.25, 0, 0])
    np.testing.assert_allclose(schedules.Clip(line, 0.3, 0.7).curve(5), [0.7, 0.7, 0.5, 0.3, 0.3])
    np.testing.assert_allclose(schedules.AccumulatedSteps(line, 3).curve(7), [1, 1, 1, 0.75, 0.75, 0.75, 0.5])
    assert schedules.Sequence([line, 0.3, line], [2, 3]).length == 7
    assert schedules.Product([line, 0.3]).length is None
    assert schedules.Offset(line, 2).length == 6
    assert schedules.AccumulatedSteps(line, 3).length == 12


def test_dropout_schedules():
    n = np.array([0, 1, 10, 40, 100.0])
    np.testing.assert_allclose(schedules.CurriculumDropout(0.4, 100).curve(n), 0.4 * (1 - np.exp(-0.1 * n)), atol=1e-16)
    np.testing.assert_allclose(schedules.EarlyDropout(0.4, 20).curve(n), 0.4 * np.maximum(1 - n / 20, 0))
    np.testing.assert_array_equal(schedules.EarlyDropout(0.4, 20, decay=False).curve(n), [0.4, 0.4, 0.4, 0, 0])
    np.testing.assert_array_equal(schedules.LateDropout(0.4, 20).curve([0, 19, 20, 21]), [0, 0, 0.4, 0.4])


@pytest.mark.parametrize(("distribution", "spread"), [("uniform", 0.1 / math.sqrt(3)), ("normal", 0.1 * 0.9594)])
def test_noise_has_its_distribution_and_its_seed(distribution, spread):
    noisy = schedules.Noise(1.0, 0.1, distribution, seed=5).curve(200_000) - 1
    assert np.abs(noisy).max() <= (0.1 if distribution == "uniform" else 0.2)
    assert noisy.mean() == pytest.approx(0, abs=5 * 0.1 / math.sqrt(200_000))
    assert noisy.std() == pytest.approx(spread, rel=0.01)
    assert abs(np.corrcoef(noisy[:-1], noisy[1:])[0, 1]) < 0.01
    other = schedules.Noise(1.0, 0.1, distribution, seed=6).curve(200_000) - 1
    assert abs(np.corrcoef(noisy, other)[0, 1]) < 0.01
    if distribution == "uniform":
        counts, _ = np.histogram(noisy, bins=50, range=(-0.1, 0.1))
        assert np.sum((counts - 4000) ** 2 / 4000) < 100  # chi-square with 49 degrees of freedom: 99.998 %


def test_noise_keeps_to_its_range_and_holds():
    noisy = schedules.Noise(1.0, 0.5, seed=1, start_step=10, end_step=20, hold_steps=5).curve(30)
    np.testing.assert_array_equal(noisy[:10], 1)
    np.testing.assert_array_equal(noisy[20:], 1)
    assert len(set(noisy[10:15])) == len(set(noisy[15:20])) == 1
    assert noisy[10] != noisy[15]
    assert noisy[10] != 1
