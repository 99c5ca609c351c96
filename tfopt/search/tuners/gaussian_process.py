"""Where to look next, given some configurations and their scores: a Gaussian process and expected improvement.

Snoek, Larochelle and Adams (2012), Practical Bayesian optimization of machine learning algorithms; all candidates are
scored in one prediction, which is why a suggestion costs a fraction of a second.
"""

import math
import warnings
from collections.abc import Sequence
from functools import lru_cache

import keras_tuner
import numpy as np
from keras_tuner.engine.hyperparameters import Boolean, Choice, Fixed, HyperParameter
from scipy.stats import norm, qmc
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel
from threadpoolctl import threadpool_limits

from tfopt.search.tuners import space

NUM_CANDIDATES = 2048
NUM_NEIGHBOURS = 512
LARGEST_FIT = 256


class Coding:
    """A search space as numbers.

    A configuration is a point of the unit cube, one coordinate for each hyperparameter that is not fixed. Its
    features are what the process sees: numbers by their place in the range (in the logarithm where they are sampled
    so), choices without an order by one indicator each, an inactive hyperparameter by the middle of its range.
    """

    def __init__(self, parameters: Sequence[HyperParameter]):
        self.all = list(parameters)
        self.parameters = [parameter for parameter in parameters if not isinstance(parameter, Fixed)]
        self.dimensions = len(self.parameters)

    def values(self, point: np.ndarray) -> space.Values:
        """Return the configuration at a point."""
        fraction = {id(parameter): value for parameter, value in zip(self.parameters, point, strict=True)}
        return space.walk(self.all, lambda parameter: space.at(parameter, float(fraction.get(id(parameter), 0.0))))

    def point(self, values: space.Values) -> np.ndarray:
        """Return the point of a configuration, the middle where a hyperparameter is inactive or missing."""
        point = np.full(self.dimensions, 0.5)
        for index, parameter in enumerate(self.parameters):
            if parameter.name in values and space.is_active(parameter, values):
                point[index] = place(parameter, values[parameter.name])
        return point

    def features(self, configurations: Sequence[space.Values]) -> np.ndarray:
        """Return the features, (configurations, features)."""
        columns = []
        for parameter in self.parameters:
            active = [c.get(parameter.name) if space.is_active(parameter, c) else None for c in configurations]
            if space.is_ordered(parameter):
                columns.append([0.5 if value is None else place(parameter, value) for value in active])
            else:
                count = len(parameter.values)
                for choice in parameter.values:
                    columns.append([1 / count if v is None else float(v == choice) for v in active])
        return np.array(columns, dtype=float).T.reshape(len(configurations), -1)


def place(parameter: HyperParameter, value: object) -> float:
    """Return where in 0 … 1 a value lies, the middle of its share for one of finitely many."""
    if isinstance(parameter, Boolean):
        return 0.75 if value else 0.25
    if isinstance(parameter, Choice):
        return (parameter.values.index(value) + 0.5) / len(parameter.values) if value in parameter.values else 0.5
    low, high = parameter.min_value, parameter.max_value
    if isinstance(parameter, keras_tuner.engine.hyperparameters.Int):
        value, high = value + 0.5, high + 1  # type: ignore[operator]
    if low == high:
        return 0.5
    if parameter.sampling == "linear":
        fraction = (value - low) / (high - low)
    elif parameter.sampling == "log":
        fraction = math.log(value / low) / math.log(high / low)
    else:
        fraction = 1 - math.log((high + low - value) / low) / math.log(high / low)
    return min(max(float(fraction), 0.0), 1.0)


def suggest(
    coding: Coding, known: Sequence[space.Values], losses: np.ndarray, pending: Sequence[space.Values],
    tried: set[space.Key], noise: float, generator: np.random.Generator, beta: float | None = None,
) -> space.Values | None:  # fmt: skip
    """Return the untried configuration that promises most; None if the space holds no other.

    Args:
        coding: The space.
        known: Configurations whose loss is known.
        losses: Their losses, lower is better; NaN for a failure, which counts as the worst loss seen.
        pending: Configurations being trained: believed to give what the process predicts for them.
        tried: What must not be suggested again.
        noise: Variance of the score's noise at the least, in units of the scores' variance.
        generator: Source of randomness.
        beta: Standard deviations below the mean at which the lower confidence bound lies, whose lowest place is
            suggested; None suggests the highest expected improvement.
    """
    candidates = _candidates(coding, known, losses, tried, generator)
    if not candidates:
        return None
    y, x = _squeezed(losses), coding.features(known)
    if x.shape[1] == 0 or np.ptp(y) == 0:
        return candidates[0]
    with threadpool_limits(1):  # matrices this small are many times slower on several threads
        if len(y) > LARGEST_FIT:
            process = _fitted_to_some(x, y, noise, generator)
        else:  # one fit for all suggestions of a batch
            process = _fitted(x.tobytes(), y.tobytes(), noise)
        if pending:
            beside = coding.features(pending)
            x, y = np.vstack([x, beside]), np.concatenate([y, process.predict(beside)])
            process = _conditioned(process, x, y)
        mean, deviation = process.predict(coding.features(candidates), return_std=True)
    if beta is not None:
        return candidates[int(np.argmin(mean - beta * deviation))]
    deviation = np.maximum(deviation, 1e-12)
    gap = y.min() - mean
    improvement = gap * norm.cdf(gap / deviation) + deviation * norm.pdf(gap / deviation)
    # Far from every good point all improvements are 0 to rounding: then the least known place is taken.
    return candidates[int(np.argmax(improvement if improvement.max() > 0 else deviation))]


def _candidates(
    coding: Coding, known: Sequence[space.Values], losses: np.ndarray, tried: set[space.Key],
    generator: np.random.Generator,
) -> list[space.Values]:  # fmt: skip
    points = qmc.Sobol(max(coding.dimensions, 1), seed=generator).random(NUM_CANDIDATES)[:, : coding.dimensions]
    best = np.argsort(np.where(np.isnan(losses), np.inf, losses))[:5]
    around = np.repeat([coding.point(known[index]) for index in best], NUM_NEIGHBOURS // max(len(best), 1), axis=0)
    width = np.repeat([[0.02], [0.1]], [len(around) // 2, len(around) - len(around) // 2], axis=0)
    moved = np.clip(around + generator.normal(size=around.shape) * width, 0, 1)
    # A few coordinates anew, for choices and for ranges in steps wider than the moves.
    anew = generator.random(around.shape) < 1 / max(coding.dimensions, 1)
    moved = np.where(anew & (generator.random((len(around), 1)) < 0.5), generator.random(around.shape), moved)
    found: dict[space.Key, space.Values] = {}
    for point in np.vstack([moved, points]) if len(moved) else points:
        values = coding.values(point)
        found.setdefault(space.key(values), values)
    left = [values for one, values in found.items() if one not in tried]
    if left or not space.finite(coding.all):
        return left
    return space.untried(coding.all, tried)


def _squeezed(losses: np.ndarray) -> np.ndarray:
    """Return losses with failures as the worst one, and those above the median compressed.

    One diverged trial of loss 1e6 among losses near 1 would flatten all differences that matter.
    """
    finite = losses[np.isfinite(losses)]
    if not len(finite):
        return np.zeros(len(losses))
    y = np.where(np.isfinite(losses), losses, finite.max())
    middle = np.median(finite)
    unit = middle - finite.min()
    if unit <= 0:
        return y
    return np.where(y > middle, middle + unit * np.log1p(np.maximum(y - middle, 0) / unit), y)


@lru_cache(maxsize=1)
def _fitted(x: bytes, y: bytes, noise: float) -> GaussianProcessRegressor:
    """Return the process of all points, its length scales those that explain them best."""
    losses = np.frombuffer(y)
    features = np.frombuffer(x).reshape(len(losses), -1)
    smooth = Matern(np.full(features.shape[1], 0.5), (0.05, 10.0), nu=2.5)
    kernel = ConstantKernel(1.0, (1e-2, 1e2)) * smooth + WhiteKernel(max(1e-3, noise), (max(1e-6, noise), 0.5))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a length scale at its bound
        return GaussianProcessRegressor(kernel, normalize_y=True, random_state=0).fit(features, losses)


def _fitted_to_some(
    x: np.ndarray, y: np.ndarray, noise: float, generator: np.random.Generator
) -> GaussianProcessRegressor:
    """Return the process of all points, its length scales those that explain 256 of them best."""
    some = np.union1d(np.argsort(y)[: LARGEST_FIT // 4], generator.permutation(len(y))[: LARGEST_FIT * 3 // 4])
    return _conditioned(_fitted(x[some].tobytes(), y[some].tobytes(), noise), x, y)


def _conditioned(process: GaussianProcessRegressor, x: np.ndarray, y: np.ndarray) -> GaussianProcessRegressor:
    return GaussianProcessRegressor(process.kernel_, optimizer=None, normalize_y=True).fit(x, y)
