"""The bootstrap of a hold-out: matrix products equal resampling row by row, and its intervals cover."""

import numpy as np
import pytest
from scipy import stats

from tfopt.comparison import (
    bootstrap_difference,
    bootstrap_interval,
    bootstrap_scores,
    bootstrap_weights,
    get_objective,
    objective_names,
)


def _problem(task, random, num_rows=80, outputs=3):
    if task == "regression":
        target = random.normal(5, 1, num_rows)
        return target, target + random.normal(0, 0.7, num_rows)
    target = random.integers(0, outputs, num_rows)
    return target, np.round(0.5 * np.eye(outputs)[target] + 0.5 * random.dirichlet(np.ones(outputs), num_rows), 2)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("task", "name", "outputs"),
    [("regression", name, 1) for name in objective_names("regression")]
    + [("classification", name, outputs) for name in objective_names("classification") for outputs in (2, 3)],
)
def test_equals_scoring_the_resampled_rows(task, name, outputs, weighted):
    random = np.random.default_rng(0)
    target, prediction = _problem(task, random, outputs=outputs)
    if prediction.ndim == 2:
        prediction = prediction / prediction.sum(axis=1, keepdims=True)
    weight = random.uniform(0.5, 2, len(target)) if weighted else None
    objective = get_objective(name, task)
    counts = bootstrap_weights(len(target), num_samples=10, seed=1)
    ours = bootstrap_scores(objective, target, prediction, counts, weight)
    for sample, count in zip(ours, counts, strict=True):
        rows = np.repeat(np.arange(len(target)), count)
        expected = objective.score(target[rows], prediction[rows], None if weight is None else weight[rows])
        assert sample == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", ["r2", "rmse", "mae"])
def test_several_targets(name):
    random = np.random.default_rng(0)
    target = random.normal(size=(40, 2)) * [1, 10]
    prediction = target + random.normal(size=(40, 2))
    objective = get_objective(name, "regression")
    counts = bootstrap_weights(40, num_samples=5)
    for sample, count in zip(bootstrap_scores(objective, target, prediction, counts), counts, strict=True):
        rows = np.repeat(np.arange(40), count)
        assert sample == pytest.approx(objective.score(target[rows], prediction[rows]))


def test_rows_are_drawn_with_replacement():
    counts = bootstrap_weights(30, num_samples=400, seed=3)
    assert (counts.sum(axis=1) == 30).all()
    # A row is left out with probability (1 - 1/30)^30 = 0.3617; 12 000 draws.
    assert (counts == 0).mean() == pytest.approx((1 - 1 / 30) ** 30, abs=0.015)


def test_groups_are_drawn_whole():
    groups = np.array([7, 7, 7, 2, 2, 9])
    counts = bootstrap_weights(6, num_samples=50, groups=groups)
    for group in (7, 2, 9):
        assert (counts[:, groups == group] == counts[:, groups == group][:, :1]).all()
    assert (counts[:, 0] + counts[:, 3] + counts[:, 5] == 3).all()


def test_groups_widen_the_interval():
    random = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 25)
    right = np.repeat(random.random(40) < 0.7, 25).astype(int)  # whole groups are right or wrong together
    objective = get_objective("accuracy", "classification")
    target = np.ones(1000, int)
    by_rows = bootstrap_scores(objective, target, right, bootstrap_weights(1000))
    by_groups = bootstrap_scores(objective, target, right, bootstrap_weights(1000, groups=groups))
    assert by_groups.std() == pytest.approx(5 * by_rows.std(), rel=0.15)


def test_interval_and_p_value_agree_with_the_normal_limit():
    random = np.random.default_rng(0)
    target = np.zeros(3000)
    first, second = random.normal(0, 1, 3000), random.normal(0, 1.03, 3000)
    objective = get_objective("mse", "regression")
    counts = bootstrap_weights(3000, num_samples=4000)
    result = bootstrap_difference(
        objective.score(target, first),
        objective.score(target, second),
        bootstrap_scores(objective, target, first, counts),
        bootstrap_scores(objective, target, second, counts),
        3000,
        rope=0.05,
    )
    gap = second**2 - first**2
    error = gap.std(ddof=1) / np.sqrt(3000)
    assert result.mean == pytest.approx(gap.mean())
    assert (result.low, result.high) == pytest.approx(
        (gap.mean() - 1.96 * error, gap.mean() + 1.96 * error), abs=0.1 * error
    )
    normal = stats.norm(gap.mean(), error)
    assert result.p_value == pytest.approx(2 * stats.norm.cdf(-abs(gap.mean()) / error), abs=0.02)
    assert result.p_better == pytest.approx(normal.sf(0.05), abs=0.02)
    assert result.p_worse == pytest.approx(normal.cdf(-0.05), abs=0.02)
    assert result.p_worse + result.p_equivalent + result.p_better == pytest.approx(1)


@pytest.mark.slow
def test_accuracy_interval_covers():
    random = np.random.default_rng(5)
    objective = get_objective("accuracy", "classification")
    target = np.ones(150, int)
    covered = 0
    for seed in range(200):
        hit = (random.random(150) < 0.8).astype(int)
        samples = bootstrap_scores(objective, target, hit, bootstrap_weights(150, num_samples=400, seed=seed))
        interval = bootstrap_interval(hit.mean(), samples, 150)
        covered += interval.low <= 0.8 <= interval.high
    assert 0.89 < covered / 200 < 0.99


def test_few_rows_have_the_interval_of_students_mean():
    values = np.random.default_rng(7).normal(0, 1, 12)
    samples = bootstrap_weights(12, num_samples=20_000) @ values / 12
    interval = bootstrap_interval(values.mean(), samples, 12)
    expected = stats.t.interval(0.95, 11, values.mean(), stats.sem(values))
    assert (interval.low, interval.high) == pytest.approx(expected, abs=0.02)


def test_what_is_right_on_every_row_is_not_certain():
    interval = bootstrap_interval(1.0, np.ones(50), 40, least_error=1 / 40)
    assert interval.low == pytest.approx(1 - stats.t.isf(0.025, 39) / 40)
    same = bootstrap_difference(1.0, 1.0, np.ones(50), np.ones(50), 40, rope=0.01, least_error=1 / 40)
    assert same.p_equivalent < 0.5


def test_a_diverged_model_has_no_interval():
    objective = get_objective("r2", "regression")
    target = np.arange(20.0)
    counts = bootstrap_weights(20, num_samples=10)
    samples = bootstrap_scores(objective, target, np.full(20, np.nan), counts)
    assert np.isnan(samples).all()
    fine = bootstrap_scores(objective, target, target + 1, counts)
    result = bootstrap_difference(float("nan"), 0.9, samples, fine, 20, rope=0.01)
    assert np.isnan([result.low, result.p_value, result.p_better]).all()


def test_samples_without_a_value_are_nan():
    target = np.array([0, 0, 0, 1])
    prediction = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.4, 0.6]])
    counts = np.array([[2, 1, 1, 0], [1, 1, 1, 1]])
    scores = bootstrap_scores(get_objective("roc_auc", "classification"), target, prediction, counts)
    assert np.isnan(scores[0])
    assert scores[1] == pytest.approx(2 / 3)


@pytest.mark.parametrize("name", ["roc_auc", "average_precision"])
def test_equal_probabilities_stay_equal(name):
    random = np.random.default_rng(0)
    target = random.integers(0, 2, 60)
    positive = np.clip(np.round(0.4 * target + random.random(60) * 0.6, 1), 0, 1)
    prediction = np.column_stack([1 - positive, positive])
    objective = get_objective(name, "classification")
    expected = objective.score(target, prediction)
    assert bootstrap_scores(objective, target, prediction, np.ones((1, 60), int))[0] == pytest.approx(
        expected, abs=1e-12
    )
