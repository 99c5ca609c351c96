"""The forecasts that need no model: what was last, and what was a season before."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin

from tfopt.baselines.setting import Setting, Tunable


class EarlierValue(RegressorMixin, BaseEstimator):
    """Forecast that a target will be what it was at one of the steps of the window.

    Args:
        shape: Steps and columns of a window, the targets first among the columns.
        num_targets: Targets.
        seasonal: Whether to take the step that was nearest to the target in training, by the mean squared error; else
            the last. It is a season before the target where a season is within the window.
    """

    def __init__(self, shape: Sequence[int] = (1, 1), num_targets: int = 1, seasonal: bool = False):
        self.shape, self.num_targets, self.seasonal = shape, num_targets, seasonal

    def fit(self, x: np.ndarray, y: np.ndarray) -> Self:
        """Learn which step it is, for each target."""
        self.n_features_in_ = x.shape[1]
        self.steps_ = np.full(self.num_targets, self.shape[0] - 1)
        if self.seasonal:
            errors = (self._own(x) - y.reshape(len(x), 1, -1)) ** 2
            # Of equal ones the latest.
            self.steps_ -= errors.mean(axis=0)[::-1].argmin(axis=0)
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return the targets' values at their steps, (rows,) or (rows, targets)."""
        found = self._own(x)[:, self.steps_, np.arange(self.num_targets)]
        return found[:, 0] if self.num_targets == 1 else found

    def _own(self, x: np.ndarray) -> np.ndarray:
        return x.reshape(-1, *self.shape)[:, :, : self.num_targets]


def naive(setting: Setting) -> Tunable:
    """Return the forecast of the last value."""
    return _earlier(setting, seasonal=False)


def seasonal_naive(setting: Setting) -> Tunable:
    """Return the forecast of the earlier value that does best in training."""
    return _earlier(setting, seasonal=True)


def _earlier(setting: Setting, *, seasonal: bool) -> Tunable:
    model: Any = EarlierValue(setting.shape, setting.num_targets, seasonal)
    return Tunable(model, model, [], scaling="none")
