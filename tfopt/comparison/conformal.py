"""Intervals and sets that hold the truth as often as asked, from errors on rows that the models had not learned.

Conformal prediction (Vovk, Gammerman and Shafer 2005) takes the k-th smallest of n scores of past errors,
k = ⌈(n + 1) · confidence⌉, and promises what a score no larger than it allows. The past errors are those of the outer
folds' test rows, the promise is for the model that was trained on all rows: the "CV" intervals of Barber, Candès,
Ramdas and Tibshirani (2021, "Predictive inference with the jackknife+"), which hold as often as asked where a few more
rows change a model little. How often they do is measured: each fold is covered by what the others promise.

- Values: the score is |target − prediction|, the interval prediction ± the k-th smallest, of one width for all rows.
- Classes: the score is 1 − the true class's probability (LAC: Sadinle, Lei and Wasserman 2019), the set holds the
  classes whose score is no larger, and always the most probable one.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfopt.errors import UserError

DEFAULT_CONFIDENCE = 0.9
_PARTS = 5  # of a single hold-out, to measure the coverage


@dataclass(frozen=True)
class Band:
    """What may be promised about new rows.

    Args:
        confidence: How often the truth is to be held.
        limit: For each target half the width of the interval; for classes the largest score in the set, one number.
        classes: Whether it is about classes.
    """

    confidence: float
    limit: np.ndarray
    classes: bool

    @classmethod
    def fit(cls, target: np.ndarray, prediction: np.ndarray, confidence: float, classes: bool) -> "Band":
        """Return the band that past predictions of unseen rows allow.

        Args:
            target: (rows,) or (rows, targets) values, or class codes.
            prediction: (rows, targets) values, or (rows, classes) probabilities.
            confidence: Between 0 and 1.
            classes: Whether the targets are classes.

        Raises:
            UserError: There are too few rows for so high a confidence.
        """
        scores = np.sort(_scores(target, prediction, classes), axis=0)
        place = math.ceil(round((len(scores) + 1) * confidence, 9))
        if place > len(scores):
            raise UserError(
                f"an interval of {confidence:g} needs more rows that were predicted out of fold than the {len(scores)} "
                f"there are. Ask for {math.floor(1000 * len(scores) / (len(scores) + 1)) / 1000:g} or less."
            )
        return cls(confidence, scores[place - 1], classes)

    def bounds(self, prediction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the lower and upper ends of the intervals, (rows, targets) each."""
        return prediction - self.limit, prediction + self.limit

    def sets(self, probabilities: np.ndarray) -> np.ndarray:
        """Return (rows, classes) which classes each set holds."""
        held = 1.0 - probabilities.astype(np.float64) <= self.limit
        held[np.arange(len(held)), probabilities.argmax(axis=1)] = True
        return held

    def holds(self, target: np.ndarray, prediction: np.ndarray) -> np.ndarray:
        """Return which rows (and targets) it holds the truth of."""
        if self.classes:
            return self.sets(prediction)[np.arange(len(target)), target]
        return _scores(target, prediction, False) <= self.limit

    def size(self, prediction: np.ndarray) -> float:
        """Return how many classes a set holds, or how wide an interval is: the mean over rows, or targets."""
        return float(self.sets(prediction).sum(axis=1).mean() if self.classes else 2 * self.limit.mean())


def coverage(
    target: np.ndarray, prediction: np.ndarray, rows: np.ndarray, folds: np.ndarray, confidence: float, classes: bool
) -> float:
    """Return the share of the rows that what was promised from the other folds holds; NaN where those are too few.

    Args:
        target: As for `Band.fit`.
        prediction: As for `Band.fit`.
        rows: Row of the table: in repeated folds a row is never covered by its own errors.
        folds: Outer fold of each row; a single one is divided into five parts.
        confidence: As for `Band.fit`.
        classes: As for `Band.fit`.
    """
    if len(np.unique(folds)) == 1:
        folds = np.arange(len(folds)) % _PARTS
    held = []
    for fold in np.unique(folds):
        here = folds == fold
        others = ~np.isin(rows, rows[here])
        try:
            band = Band.fit(target[others], prediction[others], confidence, classes)
        except UserError:
            return math.nan
        held.append(band.holds(target[here], prediction[here]))
    return float(np.concatenate(held).mean())


def _scores(target: np.ndarray, prediction: np.ndarray, classes: bool) -> np.ndarray:
    if classes:
        return 1.0 - prediction.astype(np.float64)[np.arange(len(target)), target]
    return np.abs(target.reshape(prediction.shape) - prediction)


def of_models(oof: Any, confidence: float, classes: bool) -> dict[str, dict[str, float]]:
    """Return for each model of a `tfopt.search.saved.OutOfFold` the `coverage` and the `size` of its intervals or sets.

    Models that give no probabilities have no sets.
    """
    found = {}
    for model, prediction in oof.predictions.items():
        if prediction.ndim == 1 or not np.isfinite(prediction).all():
            continue
        covered = coverage(oof.target, prediction, oof.rows, oof.folds, confidence, classes)
        if math.isfinite(covered):
            band = Band.fit(oof.target, prediction, confidence, classes)
            found[model] = {"coverage": covered, "size": band.size(prediction)}
    return found
