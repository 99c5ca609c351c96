"""The search as a scikit-learn estimator: on tables of all kinds of columns, and in scikit-learn's tools."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import cross_val_score

import tfopt
from tfopt.sklearn import TunedNetworkClassifier, TunedNetworkRegressor

QUICK = {"space": "small", "max_trials": 2, "epochs": 8, "inner_folds": 2, "random_state": 0}


@pytest.fixture(scope="module")
def frame():
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"size": random.normal(size=80), "city": random.choice(["Bonn", "Köln", None], 80)})
    frame.loc[3, "size"] = np.nan
    return frame


@pytest.mark.slow
def test_it_takes_categories_and_gaps_and_is_pickled(frame, tmp_path):
    y = np.where(frame["size"].fillna(0) > 0, "large", "small")
    tuned = TunedNetworkClassifier(**QUICK, out=tmp_path / "run").fit(frame, y)
    assert tuned.score(frame, y) > 0.8
    assert list(tuned.classes_) == ["large", "small"]
    assert list(tuned.feature_names_in_) == ["size", "city"]
    np.testing.assert_allclose(tuned.predict_proba(frame).sum(axis=1), 1)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(tuned)).predict(frame), tuned.predict(frame))
    kept = tfopt.load(tmp_path / "run")
    assert kept.params("network") == tuned.best_params_
    assert len(tuned.trials_) == len(kept.trials) >= 2


@pytest.mark.slow
def test_it_predicts_several_targets_with_weights(frame):
    size = frame["size"].fillna(0).to_numpy()
    targets = np.column_stack([size, 100 - 30 * size])
    weights = np.arange(len(frame)) % 2
    spoilt = np.where(weights[:, None] == 1, targets, targets.mean(axis=0) * 2 - targets)
    tuned = TunedNetworkRegressor(**QUICK).fit(frame, spoilt, sample_weight=weights)
    assert tuned.predict(frame).shape == targets.shape
    assert tuned.score(frame, targets) > 0.3


def test_bad_arguments(frame):
    with pytest.raises(ValueError, match="`space` must be one of"):
        TunedNetworkRegressor(space="smal").fit(frame, frame["size"].fillna(0))


@pytest.mark.slow
def test_each_fold_has_a_search_of_its_own(frame):
    scores = cross_val_score(TunedNetworkRegressor(**QUICK | {"max_trials": 1}), frame, frame["size"].fillna(0), cv=2)
    assert scores.shape == (2,)
    assert np.isfinite(scores).all()
