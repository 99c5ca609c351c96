"""Intervals and sets against MAPIE's, and how often they hold the truth."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import KFold, cross_val_predict

from tfopt.comparison.conformal import Band, coverage, of_models
from tfopt.errors import UserError
from tfopt.search.saved import OutOfFold

PLACE = np.arange(40.0)
X = np.column_stack([np.sin(PLACE), np.cos(3 * PLACE)])
Y = 2 * X[:, 0] - X[:, 1] + np.sin(7 * PLACE) * (1 + 0.5 * np.cos(PLACE))

# MAPIE 1.6.0 with scikit-learn 1.9.1, for CONFIDENCE = 0.9, 0.8: half of what
# `CrossConformalRegressor(LinearRegression(), confidence_level=CONFIDENCE, method="base", cv=KFold(4))`
# gives after `fit_conformalize(X, Y)` as the width of `predict_interval(X[:1])`.
HALF_WIDTHS = {0.9: 1.3954776404, 0.8: 1.23397361168}
# The same of `SplitConformalClassifier(model, confidence_level=CONFIDENCE, conformity_score="lac", prefit=True)`, with
# `model = LogisticRegression().fit(X[:20], labels[:20])`, `conformalize(X[20:], labels[20:])`, `predict_set(X[20:])`.
SETS = {
    0.9: "001 011 011 110 010 110 011 011 011 110 110 110 011 011 011 010 110 010 011 001",
    0.7: "001 011 011 110 010 010 001 011 011 110 110 010 011 001 011 010 110 010 010 001",
}


@pytest.mark.parametrize("confidence", [0.9, 0.8])
def test_intervals_are_as_wide_as_mapies(confidence):
    prediction = cross_val_predict(LinearRegression(), X, Y, cv=KFold(4))[:, None]
    band = Band.fit(Y, prediction, confidence, classes=False)
    np.testing.assert_allclose(band.limit, HALF_WIDTHS[confidence], rtol=1e-10)
    low, high = band.bounds(np.array([[1.0], [5.0]]))
    np.testing.assert_allclose(high - low, 2 * HALF_WIDTHS[confidence], rtol=1e-10)
    np.testing.assert_allclose((low + high) / 2, [[1.0], [5.0]])


@pytest.mark.parametrize("confidence", [0.9, 0.7])
def test_sets_are_mapies(confidence):
    labels = np.digitize(Y, [-1, 1])
    probabilities = LogisticRegression().fit(X[:20], labels[:20]).predict_proba(X[20:])
    sets = Band.fit(labels[20:], probabilities, confidence, classes=True).sets(probabilities)
    assert " ".join("".join(map(str, row.astype(int))) for row in sets) == SETS[confidence]


def test_a_set_holds_the_most_probable_class_even_where_no_class_is_probable():
    sure = np.tile([0.9, 0.1, 0.0], (50, 1))
    band = Band.fit(np.zeros(50, int), sure, 0.9, classes=True)
    assert band.sets(np.array([[0.3, 0.4, 0.3]])).tolist() == [[False, True, False]]


@pytest.mark.parametrize("classes", [False, True])
def test_new_rows_are_held_as_often_as_asked(classes):
    """Mean coverage over 300 calibrations lies between the confidence and 1 / (n + 1) above it."""
    random = np.random.default_rng(0)
    held = []
    for _ in range(300):
        score = random.normal(size=150)
        if classes:
            probability = 1 / (1 + np.exp(-score))
            prediction = np.column_stack([1 - probability, probability])
            target = (random.random(150) < probability).astype(int)
        else:
            prediction, target = score[:, None], score + random.standard_t(3, size=150)
        held.append(Band.fit(target[:100], prediction[:100], 0.8, classes).holds(target[100:], prediction[100:]).mean())
    error = np.std(held) / 300**0.5
    assert 0.8 - 3 * error < np.mean(held) < 0.8 + 1 / 101 + 3 * error


def test_coverage_is_measured_by_errors_of_other_rows():
    random = np.random.default_rng(0)
    noise, rows = random.normal(size=200), np.arange(200)
    prediction = np.zeros((200, 1))
    for folds in (rows % 5, np.zeros(200, int)):
        assert coverage(noise, prediction, rows, folds, 0.9, False) == pytest.approx(0.9, abs=0.04)
    harder = np.where(rows % 5 == 0, 100.0, 1.0) * np.abs(noise)  # what one fold knows nothing of
    assert coverage(harder, prediction, rows, rows % 5, 0.7, False) == pytest.approx(0.8 * 0.7 / 0.75, abs=0.06)
    # Rows that were predicted twice do not vouch for themselves: alone in their group, they could not be held.
    twice = np.tile(rows[:20], 2)
    assert np.isnan(coverage(noise[twice], prediction[:40], twice, np.repeat([0, 1], 20), 0.9, False))


def test_too_few_rows_are_said_and_what_gives_no_probabilities_is_left_out():
    with pytest.raises(UserError, match=r"0.99 needs more rows .* than the 40 there are. Ask for 0.975 or less"):
        Band.fit(Y, np.zeros((40, 1)), 0.99, classes=False)
    Band.fit(Y, np.zeros((40, 1)), 0.975, classes=False)
    target = np.tile([0, 1], 30)
    shares = np.column_stack([np.full(60, 0.5), np.full(60, 0.5)])
    oof = OutOfFold(np.arange(60), np.repeat([0, 1], 30), target, {"svm": target, "knn": shares})
    assert of_models(oof, 0.9, True) == {"knn": {"coverage": 1.0, "size": 2.0}}
