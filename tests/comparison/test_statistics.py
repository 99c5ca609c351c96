"""Corrected tests: hand-computed values, SciPy, baycomp's recorded numbers, and a simulation of what they promise."""

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from tfopt.comparison import corrected_standard_error, expected_best_of, holm, mean_interval, paired_difference

_FIRST = np.array([0.458, 0.512, 0.401, 0.476, 0.433, 0.520, 0.389, 0.470, 0.450, 0.481])
_SECOND = np.array([0.487, 0.530, 0.440, 0.490, 0.470, 0.525, 0.440, 0.480, 0.500, 0.495])


def test_corrected_variance_by_hand():
    # Differences 1, 2, 3: variance 1; three folds: 1/3 + 1/2 = 5/6; t = 2 / sqrt(5/6) = 2.19089.
    values = np.array([1.0, 2.0, 3.0])
    assert corrected_standard_error(values, 1 / 2) == pytest.approx(np.sqrt(5 / 6))
    result = paired_difference(values, np.zeros(3), 1 / 2, rope=0.0)
    # Student's distribution with 2 degrees of freedom has the closed form F(t) = 1/2 + t / (2 sqrt(2 + t^2)).
    t = 2 / np.sqrt(5 / 6)
    assert result.p_value == pytest.approx(1 - t / np.sqrt(2 + t * t))
    # Its 97.5 % quantile is 4.302653 (any table).
    assert result.low == pytest.approx(2 - 4.302653 * np.sqrt(5 / 6), rel=1e-6)
    assert result.high == pytest.approx(2 + 4.302653 * np.sqrt(5 / 6), rel=1e-6)


def test_without_overlap_it_is_the_plain_paired_t_test():
    result = paired_difference(_FIRST, _SECOND, 0.0, rope=0.0)
    plain = stats.ttest_rel(_FIRST, _SECOND)
    low, high = plain.confidence_interval()
    assert result.p_value == pytest.approx(plain.pvalue, rel=1e-10)
    assert (result.low, result.high) == pytest.approx((low, high), rel=1e-10)


@pytest.mark.parametrize(
    ("rope", "test_to_train", "better", "equivalent", "worse"),
    [
        # baycomp 1.0.3: two_on_single(first, second, rope=rope, runs=2), then rope=0.03, then runs=1.
        (0.01, 1 / 4, 0.0025000138847903384, 0.06123471698273386, 0.9362652691324758),
        (0.03, 1 / 4, 0.0001470848846562146, 0.626022876662022, 0.37383003845332174),
        (0.01, 1 / 9, 0.0005215273452584965, 0.02892589076989016, 0.9705525818848514),
    ],
)
def test_posterior_equals_baycomp(rope, test_to_train, better, equivalent, worse):
    result = paired_difference(_FIRST, _SECOND, test_to_train, rope=rope)
    assert (result.p_better, result.p_equivalent, result.p_worse) == pytest.approx(
        (better, equivalent, worse), rel=1e-9
    )


def test_swapping_the_models_mirrors_the_result():
    one = paired_difference(_FIRST, _SECOND, 1 / 4, rope=0.01)
    two = paired_difference(_SECOND, _FIRST, 1 / 4, rope=0.01)
    assert (one.mean, one.low, one.high) == pytest.approx((-two.mean, -two.high, -two.low))
    assert (one.p_worse, one.p_equivalent, one.p_value) == pytest.approx((two.p_better, two.p_equivalent, two.p_value))


@pytest.mark.parametrize(
    ("shift", "p_value", "worse", "equivalent", "better"), [(0, 1, 0, 1, 0), (0.005, 0, 0, 1, 0), (-0.02, 0, 1, 0, 0)]
)
def test_the_same_difference_on_every_split_is_certain(shift, p_value, worse, equivalent, better):
    result = paired_difference(_FIRST + shift, _FIRST, 1 / 4, rope=0.01)
    assert (result.p_worse, result.p_equivalent, result.p_better) == (worse, equivalent, better)
    assert result.p_value == p_value
    assert result.low == result.high == pytest.approx(shift)


def test_one_score_has_no_interval():
    interval = mean_interval(np.array([0.5]), 1 / 4)
    assert interval.mean == 0.5
    assert np.isnan([interval.low, interval.high]).all()
    assert np.isnan(paired_difference(np.array([0.5]), np.array([0.4]), 1 / 4, rope=0.01).p_better)


def test_holm_by_hand():
    # Sorted: 0.01 x 4, 0.02 x 3, 0.03 x 2, 0.04 x 1 -> 0.04, 0.06, 0.06, 0.06 (kept non-decreasing).
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.9, 0.6]) == pytest.approx([1.0, 1.0])
    adjusted = holm([0.01, float("nan"), 0.04])
    assert adjusted[[0, 2]] == pytest.approx([0.02, 0.04])
    assert np.isnan(adjusted[1])


def test_expected_best_by_hand_and_by_enumeration():
    # Best of two out of 1, 2, 3: pairs (1,2) (1,3) (2,3) -> (2 + 3 + 3) / 3.
    assert expected_best_of(np.array([3.0, 1.0, 2.0]), 2) == pytest.approx(8 / 3)
    scores = np.random.default_rng(0).normal(size=12)
    assert expected_best_of(scores, 1) == pytest.approx(scores.mean())
    assert expected_best_of(scores, 12) == pytest.approx(scores.max())
    mean = np.mean([max(drawn) for drawn in combinations(scores, 5)])
    assert expected_best_of(scores, 5) == pytest.approx(mean)
    with pytest.raises(ValueError, match=r"from 1 to .* 12. Received: k=13"):
        expected_best_of(scores, 13)


def _scores_of_equal_models(random, *, num_rows=50, folds=5, repeats=4):
    """Negated squared errors of two equally good models on the same repeated folds.

    y = a + b + noise; one model is the regression on a alone, the other on b alone, so that by symmetry neither is
    better on average.
    """
    features = random.normal(size=(num_rows, 2))
    target = features.sum(axis=1) + random.normal(size=num_rows)
    scores = []
    for _ in range(repeats):
        order = random.permutation(num_rows)
        for test in np.array_split(order, folds):
            train = np.setdiff1d(order, test)
            slope = (features[train] * target[train, None]).mean(axis=0) / (features[train] ** 2).mean(axis=0)
            scores.append(-((target[test, None] - features[test] * slope) ** 2).mean(axis=0))
    return np.array(scores)


@pytest.mark.long
def test_the_naive_test_cries_wolf_and_the_corrected_one_does_not():
    random = np.random.default_rng(0)
    naive, corrected = [], []
    for _ in range(600):
        first, second = _scores_of_equal_models(random).T
        naive.append(stats.ttest_rel(first, second).pvalue < 0.05)
        corrected.append(paired_difference(first, second, 1 / 4, rope=0.0).p_value < 0.05)
    # Nominal 0.05; 600 draws of it have a standard deviation of 0.009.
    assert np.mean(naive) > 0.25
    assert 0.02 < np.mean(corrected) < 0.09


@pytest.mark.slow
def test_the_interval_of_a_mean_covers_the_true_score():
    # The regression on a alone leaves b and the noise, each of variance 1: expected squared error 2 (1 + 1/40) or
    # nearly so, from 40 training rows.
    random = np.random.default_rng(1)
    naive, corrected = [], []
    for _ in range(600):
        scores = _scores_of_equal_models(random)[:, 0]
        interval = mean_interval(scores, 1 / 4)
        corrected.append(interval.low < -2.05 < interval.high)
        plain = stats.t.interval(0.95, len(scores) - 1, scores.mean(), stats.sem(scores))
        naive.append(plain[0] < -2.05 < plain[1])
    assert np.mean(naive) < 0.75
    assert 0.91 < np.mean(corrected) < 0.99
