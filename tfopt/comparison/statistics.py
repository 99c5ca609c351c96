"""How sure a difference between two models is: tests corrected for resampling.

The scores of a cross-validation are not independent, because the training parts overlap. The plain paired t-test takes
them to be and finds differences that are not there. The tests here use the variance of Nadeau & Bengio (2003).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special


@dataclass(frozen=True)
class Interval:
    """A mean with its interval; the bounds are NaN where there are fewer than two scores.

    Args:
        mean: The mean.
        low: Lower bound.
        high: Upper bound.

    Example:
        ```python
        interval = tfopt.comparison.Interval(mean=0.50, low=0.35, high=0.65)
        print(interval.high - interval.mean < 0.2)  # True
        ```
    """

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class PairedDifference:
    """The mean of `first - second`, its interval, and how probable each conclusion is.

    Args:
        mean: Mean difference.
        low: Lower bound of the interval.
        high: Upper bound of the interval.
        p_value: Two-sided p-value of "there is no difference".
        p_worse: Posterior probability that the difference is below `-rope`.
        p_equivalent: Posterior probability that it is within `rope` of 0.
        p_better: Posterior probability that it is above `rope`.

    Example:
        ```python
        first, second = np.array([0.52, 0.55, 0.54]), np.array([0.50, 0.52, 0.53])
        difference = tfopt.comparison.paired_difference(first, second, test_to_train=1 / 2, rope=0.01)
        print(f"{difference.low:.3f} … {difference.high:.3f}, p = {difference.p_value:.2f}")  # -0.019 … 0.059, p = 0.16
        ```
    """

    mean: float
    low: float
    high: float
    p_value: float
    p_worse: float
    p_equivalent: float
    p_better: float

    @property
    def p_above(self) -> float:
        """Posterior probability that the difference is above 0."""
        return 1 - self.p_value / 2 if self.mean > 0 else self.p_value / 2


def corrected_standard_error(values: np.ndarray, test_to_train: float) -> float:
    """Return the standard error of the mean of `values` over resampled splits.

    Formula: sqrt(var(values) * (1/k + n_test/n_train)) for k splits, var with k - 1 in the denominator.

    Args:
        values: (splits,) scores, or differences of scores on the same splits.
        test_to_train: n_test / n_train; 1/(folds - 1) for (repeated) cross-validation, 0 for independent values.

    Example:
        ```python
        values = np.array([0.40, 0.45, 0.50, 0.55, 0.60])
        plain = tfopt.comparison.corrected_standard_error(values, test_to_train=0)
        corrected = tfopt.comparison.corrected_standard_error(values, test_to_train=1 / 4)
        print(f"{plain:.3f} {corrected:.3f}")  # 0.035 0.053
        ```

    References:
        - Nadeau, Bengio (2003), "Inference for the generalization error", https://doi.org/10.1023/A:1024068626366
        - Bouckaert, Frank (2004), "Evaluating the replicability of significance tests for comparing learning
          algorithms", for repeated cross-validation, https://doi.org/10.1007/978-3-540-24775-3_3
    """
    return float(_standard_error(np.asarray(values, dtype=np.float64), test_to_train))


def _standard_error(values: np.ndarray, test_to_train: float) -> Any:
    if len(values) < 2:
        return np.full(values.shape[1:], np.nan)
    return np.sqrt(values.var(axis=0, ddof=1) * (1 / len(values) + test_to_train))


def student_half_width(values: np.ndarray, test_to_train: float, confidence: float = 0.95) -> Any:
    """Return half the width of the corrected Student interval of the mean, over the first axis of `values`.

    Formula: t((1 + confidence) / 2, k − 1) times the corrected standard error; NaN for a single value.
    """
    values = np.asarray(values, dtype=np.float64)
    return _standard_error(values, test_to_train) * _student_quantile(0.5 + confidence / 2, len(values) - 1)


def student_interval(mean: float, error: float, freedom: int, confidence: float = 0.95) -> Interval:
    """Return the interval of a mean whose standard error has so many degrees of freedom."""
    half = error * _student_quantile(0.5 + confidence / 2, freedom)
    return Interval(mean, mean - half, mean + half)


def mean_interval(
    values: np.ndarray, test_to_train: float, *, confidence: float = 0.95, least_error: float = 0.0
) -> Interval:
    """Return the mean of a model's scores over resampled splits with its corrected Student interval.

    Args:
        values: (splits,) scores.
        test_to_train: n_test / n_train; 1/(folds - 1) for cross-validation.
        confidence: Of the interval.
        least_error: Standard error that is taken at least. Scores that count rows are often equal on every split, which
            does not make them certain: what one row more or less would change is the least that is unknown.

    Example:
        ```python
        values = np.array([0.40, 0.45, 0.50, 0.55, 0.60])
        interval = tfopt.comparison.mean_interval(values, test_to_train=1 / 4)
        print(f"{interval.mean:.3f} in {interval.low:.3f} … {interval.high:.3f}")  # 0.500 in 0.353 … 0.647
        ```
    """
    values = np.asarray(values, dtype=np.float64)
    error = max(corrected_standard_error(values, test_to_train), least_error)
    return student_interval(float(values.mean()), error, len(values) - 1, confidence)


def paired_difference(
    first: np.ndarray, second: np.ndarray, test_to_train: float, *, rope: float, least_error: float = 0.0
) -> PairedDifference:
    """Compare two models on the same resampled splits.

    The interval and the p-value are those of the corrected resampled t-test, with k - 1 degrees of freedom. The
    probabilities are those of the Bayesian correlated t-test: the posterior of the mean difference is a Student
    distribution with the same scale.

    Args:
        first: (splits,) scores, higher is better.
        second: (splits,) scores of the other model on the same splits.
        test_to_train: n_test / n_train.
        rope: Half width of the region of practical equivalence, in units of the score.
        least_error: As for `mean_interval`.

    Returns:
        The mean difference, its interval, and how probable each conclusion is; NaN for a single split.

    Example:
        ```python
        first, second = np.array([0.52, 0.55, 0.54]), np.array([0.50, 0.52, 0.53])
        difference = tfopt.comparison.paired_difference(first, second, test_to_train=1 / 2, rope=0.01)
        print(f"{difference.mean:.2f}, {difference.p_better:.0%} sure to be better")  # 0.02, 81% sure to be better
        ```

    References:
        - Corani, Benavoli (2015), "A Bayesian approach for comparing cross-validated algorithms on multiple data sets",
          https://doi.org/10.1007/s10994-015-5486-z
        - Benavoli, Corani, Demšar, Zaffalon (2017), "Time for a change: a tutorial for comparing multiple classifiers
          through Bayesian analysis", https://www.jmlr.org/papers/v18/16-305.html
    """
    difference = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    error = max(corrected_standard_error(difference, test_to_train), least_error)
    return student_difference(float(difference.mean()), error, len(difference) - 1, rope=rope)


def student_difference(mean: float, error: float, freedom: int, *, rope: float) -> PairedDifference:
    """Return what is known of a difference whose posterior is a Student distribution of this scale."""
    interval = student_interval(mean, error, freedom)
    if not np.isfinite(error):
        return PairedDifference(interval.mean, interval.low, interval.high, *[float("nan")] * 4)
    if error <= 1e-12 * max(1.0, abs(mean)):
        return _certain_difference(mean, rope)
    p_value = 2 * float(special.stdtr(freedom, -abs(mean) / error))
    p_worse = float(special.stdtr(freedom, (-rope - mean) / error))
    p_better = float(special.stdtr(freedom, (mean - rope) / error))
    p_equivalent = max(0.0, 1 - p_worse - p_better)
    return PairedDifference(mean, interval.low, interval.high, p_value, p_worse, p_equivalent, p_better)


def _certain_difference(mean: float, rope: float) -> PairedDifference:
    """Return what the tests tend to when every split shows the same difference."""
    worse, better = float(mean < -rope), float(mean > rope)
    p_value = 1.0 if abs(mean) <= 1e-12 else 0.0
    return PairedDifference(mean, mean, mean, p_value, worse, 1 - worse - better, better)


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Return p-values adjusted for having made several tests; NaN stays NaN and does not count.

    The i-th smallest of m is multiplied by m - i + 1, kept non-decreasing and at most 1.

    Args:
        p_values: One for each test.

    Example:
        ```python
        print(tfopt.comparison.holm([0.01, 0.04, 0.03]).round(2).tolist())  # [0.03, 0.06, 0.06]
        ```

    References:
        - Holm (1979), "A simple sequentially rejective multiple test procedure", https://www.jstor.org/stable/4615733
    """
    raw = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(len(raw), np.nan)
    order = [i for i in np.argsort(raw) if np.isfinite(raw[i])]
    largest = 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, raw[i] * (len(order) - rank)))
        adjusted[i] = largest
    return adjusted


def expected_best_of(scores: np.ndarray, k: int) -> float:
    """Return the mean of the best of `k` scores drawn from `scores` without replacement.

    It says what a search would have found with a budget of `k` configurations, without the luck of their order.
    Formula: sum over the sorted scores s_(i) of s_(i) C(i-1, k-1) / C(n, k).

    Args:
        scores: One for each configuration that was tried, higher is better.
        k: Size of the smaller budget.

    Raises:
        ValueError: `k` is below 1 or above the number of scores.

    Example:
        ```python
        print(f"{tfopt.comparison.expected_best_of([0.1, 0.2, 0.6], k=2):.2f}")  # 0.47
        ```

    References:
        - Dodge, Gururangan, Card, Schwartz, Smith (2019), "Show your work: improved reporting of experimental results",
          https://arxiv.org/abs/1909.03004
        - Tang, Lee, Xin, Liu, Yu, Lin (2020), "Showing your work doesn't always work", for the unbiased form,
          https://arxiv.org/abs/2004.13705
    """
    scores = np.sort(np.asarray(scores, dtype=np.float64))
    if not 1 <= k <= len(scores):
        raise ValueError(f"Argument `k` must be from 1 to the number of scores, {len(scores)}. Received: k={k}.")
    below = np.arange(len(scores))
    log_share = _log_choose(below, k - 1) - _log_choose(np.array(len(scores)), k)
    return float((scores * np.where(below >= k - 1, np.exp(log_share), 0.0)).sum())


def _student_quantile(probability: float, freedom: int) -> float:
    return float(special.stdtrit(freedom, probability)) if freedom >= 1 else float("nan")


def _log_choose(n: np.ndarray, k: int) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(np.maximum(n - k, 0) + 1)
