"""How the hyperparameters of a search mattered: functional analysis of variance of a forest, with intervals.

Hutter, Hoos, Leyton-Brown, "An Efficient Approach for Assessing Hyperparameter Importance", ICML 2014,
https://proceedings.mlr.press/v32/hutter14.html
"""

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.metrics import r2_score
from sklearn.model_selection import GroupKFold, cross_val_predict

FEWEST = 12  # configurations below which nothing is said
_SAMPLES, _LEVELS, _ROWS, _PAIRED = 30, 8, 64, 4


@dataclass(frozen=True)
class Share:
    """What one hyperparameter, or two beyond what each does alone, had to do with the score.

    Args:
        names: The hyperparameters.
        share: Part of the variance of the scores, with the ends of its 90 % interval.
        best: The value with the best mean score; empty for two.
    """

    names: tuple[str, ...]
    share: float
    low: float
    high: float
    best: str = ""


@dataclass(frozen=True)
class Effects:
    """What a search says of its hyperparameters.

    Args:
        num_configurations: Different configurations that completed.
        num_varying: Hyperparameters that differ between them.
        explained: R² of a forest for configurations that it has not seen; NaN where there are too few.
        effects: The largest first; none where the forest explains nothing.
    """

    num_configurations: int
    num_varying: int
    explained: float
    effects: Sequence[Share]


def effects_of(trials: Sequence[dict[str, Any]]) -> Effects:
    """Return how the hyperparameters of completed trials mattered.

    The scores are taken from each fold's mean, so that folds that are hard do not count, and those far below the
    others, of trials that diverged, are cut. The intervals are a bootstrap of configurations.

    Args:
        trials: Records with `fold`, `status`, `values` and `score`, as in `trials.jsonl`.
    """
    trials = [t for t in trials if t["status"] == "COMPLETED" and t["score"] is not None]
    keys = [json.dumps(trial["values"], sort_keys=True) for trial in trials]
    groups = np.unique(keys, return_inverse=True)[1] if keys else np.zeros(0, int)
    count = int(groups.max()) + 1 if len(groups) else 0
    names = dict.fromkeys(name for trial in trials for name in trial["values"])
    columns = {name: _codes([trial["values"].get(name) for trial in trials]) for name in names}
    columns = {name: column for name, column in columns.items() if len(np.unique(column[0])) > 1}
    if count < FEWEST or not columns:
        return Effects(count, len(columns), float("nan"), [])
    features = np.column_stack([codes for codes, _ in columns.values()])
    scores = _scores(trials)
    if np.ptp(scores) == 0:
        return Effects(count, len(columns), float("nan"), [])
    forest = ExtraTreesRegressor(16, min_samples_leaf=2, max_features=0.7, random_state=0)
    predicted = cross_val_predict(forest, features, scores, groups=groups, cv=GroupKFold(min(6, count)))
    explained = float(r2_score(scores, predicted))
    if explained <= 0:
        return Effects(count, len(columns), explained, [])
    rng = np.random.default_rng(0)
    background = features[rng.integers(len(features), size=_ROWS)]
    grids = [_grid(codes) for codes in features.T]
    whole, means = _shares(forest.fit(features, scores), background, grids)
    pairs = list(itertools.combinations(sorted(range(len(columns)), key=lambda place: -whole[place,])[:_PAIRED], 2))
    whole |= _interactions(forest, background, grids, pairs, whole)
    drawn: dict[tuple[int, ...], list[float]] = {places: [] for places in whole}
    by_group = [np.flatnonzero(groups == group) for group in range(count)]
    for _ in range(_SAMPLES):
        rows = np.concatenate([by_group[group] for group in rng.integers(count, size=count)])
        forest.fit(features[rows], scores[rows])
        shares, _ = _shares(forest, background, grids)
        for places, share in (shares | _interactions(forest, background, grids, pairs, shares)).items():
            drawn[places].append(share)
    labels = list(columns)
    found = []
    for places, share in whole.items():
        low, high = np.quantile(drawn[places], [0.05, 0.95])
        best = ""
        if len(places) == 1:
            [place] = places
            best = columns[labels[place]][1][int(grids[place][means[place].argmax()])]
        found.append(Share(tuple(labels[place] for place in places), share, min(low, share), max(high, share), best))
    return Effects(count, len(columns), explained, sorted(found, key=lambda effect: -effect.share))


def _codes(values: Sequence[Any]) -> tuple[np.ndarray, list[str]]:
    """Return values as whole numbers in their order, and the text of each; one that a trial lacks is the first."""
    ordered = sorted({json.dumps(v): v for v in values}.values(), key=lambda v: (v is not None, isinstance(v, str), v))
    place = {json.dumps(value): code for code, value in enumerate(ordered)}
    said = ["not used" if v is None else f"{v:.3g}" if isinstance(v, float) else str(v) for v in ordered]
    return np.array([place[json.dumps(value)] for value in values], float), said


def _scores(trials: Sequence[dict[str, Any]]) -> np.ndarray:
    scores = np.array([trial["score"] for trial in trials], float)
    folds = np.array([str(trial["fold"]) for trial in trials])
    for fold in np.unique(folds):
        scores[folds == fold] -= np.median(scores[folds == fold])
    low, middle = np.quantile(scores, [0.25, 0.5])
    return np.maximum(scores, low - 3 * max(middle - low, 1e-12))


def _grid(codes: np.ndarray) -> np.ndarray:
    values = np.unique(codes)
    return (
        values
        if len(values) <= _LEVELS
        else np.unique(np.quantile(codes, np.linspace(0, 1, _LEVELS), method="nearest"))
    )


def _means(forest: ExtraTreesRegressor, background: np.ndarray, points: Sequence[dict[int, float]]) -> np.ndarray:
    """Return the mean prediction over the background with some columns set, for each setting."""
    rows = np.repeat(background[None], len(points), axis=0)
    for block, point in zip(rows, points, strict=True):
        for place, value in point.items():
            block[:, place] = value
    return forest.predict(rows.reshape(-1, background.shape[1])).reshape(len(points), -1).mean(axis=1)


def _shares(
    forest: ExtraTreesRegressor, background: np.ndarray, grids: Sequence[np.ndarray]
) -> tuple[dict[tuple[int, ...], float], list[np.ndarray]]:
    """Return each hyperparameter's part of the variance, and its mean score at each value of its grid."""
    total = max(float(np.var(forest.predict(background))), 1e-12)
    points = [{place: value} for place, grid in enumerate(grids) for value in grid]
    means = np.split(_means(forest, background, points), np.cumsum([len(grid) for grid in grids])[:-1])
    return {(place,): min(float(np.var(mean)) / total, 1.0) for place, mean in enumerate(means)}, means


def _interactions(
    forest: ExtraTreesRegressor,
    background: np.ndarray,
    grids: Sequence[np.ndarray],
    pairs: Sequence[tuple[int, int]],
    shares: dict[tuple[int, ...], float],
) -> dict[tuple[int, ...], float]:
    """Return what pairs explain beyond what each of the two does alone."""
    total = max(float(np.var(forest.predict(background))), 1e-12)
    found: dict[tuple[int, ...], float] = {}
    for first, second in pairs:
        points = [{first: one, second: two} for one in grids[first] for two in grids[second]]
        both = float(np.var(_means(forest, background, points))) / total
        found[first, second] = min(max(both - shares[first,] - shares[second,], 0.0), 1.0)
    return found
