"""The tuner of scikit-learn models, against scikit-learn's own cross-validation."""

import logging

import keras_tuner
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn import linear_model, metrics, neighbors
from sklearn.datasets import load_iris
from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import tfopt

SCORE = keras_tuner.Objective("score", "max")
X, Y = load_iris(return_X_y=True)
WEIGHTS = np.where(Y == 1, 10.0, 1.0)


def ridge(hp):
    return linear_model.RidgeClassifier(hp.Choice("alpha", [1e-3, 100.0]))


def piped(hp):
    return make_pipeline(StandardScaler(), ridge(hp))


def searched(tmp_path, build=ridge, x=X, y=Y, weights=None, groups=None, **kwargs):
    oracle = kwargs.pop("oracle", None) or tfopt.search.GridSearchOracle(SCORE)
    tuner = tfopt.search.SklearnTuner(oracle, build, directory=str(tmp_path), overwrite=True, **kwargs)
    tuner.search(x, y, weights, groups)
    assert [trial.message for trial in tuner.oracle.trials.values()] == [None] * len(tuner.oracle.trials)
    return tuner


def scores(tuner) -> dict[float, float]:
    return {t.hyperparameters.values["alpha"]: t.score for t in tuner.oracle.trials.values()}


@pytest.mark.parametrize(
    ("scoring", "cv", "splitter"),
    [
        (None, None, KFold(5, shuffle=True, random_state=1)),
        ("balanced_accuracy", 3, StratifiedKFold(3)),
        (metrics.make_scorer(metrics.f1_score, average="macro"), StratifiedKFold(4), StratifiedKFold(4)),
        ("accuracy", iter([(np.arange(0, 150, 2), np.arange(1, 150, 2))]), [(range(0, 150, 2), range(1, 150, 2))]),
    ],
)
def test_scores_are_those_of_cross_val_score(tmp_path, scoring, cv, splitter):
    found = scores(searched(tmp_path, scoring=scoring, cv=cv))
    expected = {a: cross_val_score(linear_model.RidgeClassifier(a), X, Y, scoring=scoring, cv=splitter) for a in found}
    assert found == pytest.approx({alpha: values.mean() for alpha, values in expected.items()})
    assert len(found) == 2


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (X.tolist(), Y.tolist()),
        (pd.DataFrame(X), pd.Series(Y, index=range(1000, 1150))),
        (scipy.sparse.coo_matrix(X), Y),
        (X, np.array(["a", "b", "c"])[Y]),
    ],
)
def test_lists_tables_and_sparse_matrices_are_rows_too(tmp_path, x, y):
    assert scores(searched(tmp_path, x=x, y=y)) == pytest.approx(scores(searched(tmp_path)))


def test_groups_are_kept_together(tmp_path):
    groups = np.arange(150) % 7
    found = scores(searched(tmp_path, groups=groups, cv=GroupKFold(3)))
    expected = cross_val_score(linear_model.RidgeClassifier(100.0), X, Y, groups=groups, cv=GroupKFold(3)).mean()
    assert found[100.0] == pytest.approx(expected)


@pytest.mark.parametrize("build", [ridge, piped])
def test_weights_reach_the_training_and_the_score(tmp_path, build):
    """KerasTuner trains pipelines without them."""
    found = scores(searched(tmp_path, build, weights=WEIGHTS))
    folds = list(KFold(5, shuffle=True, random_state=1).split(X))
    for alpha, score in found.items():
        hp = keras_tuner.HyperParameters()
        hp.Fixed("alpha", alpha)
        by_hand = []
        for train, test in folds:
            scaler = StandardScaler().fit(X[train])
            inputs = X if build is ridge else scaler.transform(X)
            model = linear_model.RidgeClassifier(alpha).fit(inputs[train], Y[train], sample_weight=WEIGHTS[train])
            by_hand.append(model.score(inputs[test], Y[test], sample_weight=WEIGHTS[test]))
        assert score == pytest.approx(np.mean(by_hand))
    assert found != scores(searched(tmp_path, build))


def test_a_model_that_takes_no_weights_says_so(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "tfopt"):
        searched(tmp_path, lambda hp: neighbors.KNeighborsClassifier(hp.Int("k", 1, 2)), weights=WEIGHTS)
    assert "KNeighborsClassifier takes no sample weights" in caplog.text


def test_the_best_model_is_fitted_to_all_rows_and_metrics_are_kept(tmp_path):
    tuner = searched(tmp_path, metrics=[metrics.accuracy_score, "balanced_accuracy"])
    best = tuner.get_best_models()[0]
    alpha = tuner.get_best_hyperparameters()[0].values["alpha"]
    np.testing.assert_allclose(best.coef_, linear_model.RidgeClassifier(alpha).fit(X, Y).coef_)
    kept = tuner.oracle.get_best_trials()[0].metrics
    assert kept.get_best_value("accuracy_score") == pytest.approx(kept.get_best_value("score"))
    assert kept.exists("balanced_accuracy")
    again = tfopt.search.SklearnTuner(tfopt.search.GridSearchOracle(SCORE), ridge, directory=str(tmp_path))
    assert again.get_best_hyperparameters()[0].values["alpha"] == alpha
    with pytest.raises(RuntimeError, match="Call `search"):
        again.get_best_models()


def test_what_is_no_scorer_or_of_another_length_is_refused_at_once(tmp_path):
    with pytest.raises(ValueError, match="warp"):
        searched(tmp_path, scoring="warp")
    with pytest.raises(ValueError, match="scor"):
        searched(tmp_path, scoring=metrics.accuracy_score)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        searched(tmp_path, y=Y[:-1])
