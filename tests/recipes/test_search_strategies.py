"""The table that the strategies are replayed on is what Keras trains; the usual snippets fail as the header says."""

import warnings
from math import comb

import keras_tuner
import numpy as np
import pytest
import sklearn.model_selection
from scipy import stats
from sklearn.datasets import load_breast_cancer
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

import tfopt


@pytest.fixture(scope="module")
def names(recipe_names):
    return recipe_names("search_strategies")


def test_every_strategy_stays_in_the_space(names, tmp_path):
    """In the smallest run too: exhaustive search sees every loss once, the others see losses of the table."""
    for seed in (0, 1):
        search = names["replayed"](tfopt.search.GridSearch, names["tables"][0])
        hp = keras_tuner.HyperParameters()
        for name, values in names["SPACE"].items():
            hp.Choice(name, values)
        tuner = search(None, objective=keras_tuner.Objective("val_loss", "min"), hyperparameters=hp, seed=seed,
                       directory=tmp_path, project_name=f"grid{seed}")  # fmt: skip
        tuner.search(verbose=0)
        assert sorted(loss for _, loss in search.seen) == sorted(names["tables"][0][..., -1].ravel())
        assert {epochs for epochs, _ in search.seen} == {names["EPOCHS"]}


def test_exhaustive_search_always_gets_there(names):
    assert names["reached"]["exhaustive"] == len(names["SEEDS"])
    assert max(names["needed"]["exhaustive"]) <= names["COUNT"]


def test_random_search_needs_as_many_trials_as_it_must(names, tmp_path):
    """With m of N configurations near the best, the first k miss them in C(N − k, m) of C(N, m) draws."""
    count = names["COUNT"]
    losses = names["tables"][0][..., -1].ravel()
    near = int(np.sum(losses <= 1.3 * losses.min()))
    looked, counts = count // 2, []
    for seed in range(40):
        search = names["replayed"](tfopt.search.RandomSearch, names["tables"][0])
        hp = keras_tuner.HyperParameters()
        for name, values in names["SPACE"].items():
            hp.Choice(name, values)
        tuner = search(None, objective=keras_tuner.Objective("val_loss", "min"), hyperparameters=hp, seed=seed,
                       max_trials=looked, directory=tmp_path, project_name=f"random{seed}")  # fmt: skip
        tuner.search(verbose=0)
        hits = [loss <= 1.3 * losses.min() for _, loss in search.seen]
        counts.append([*hits, True].index(True))  # misses before the first
    expected = sum(comb(count - k, near) for k in range(1, looked + 1)) / comb(count, near)
    error = np.std(counts, ddof=1) / np.sqrt(len(counts))
    assert abs(np.mean(counts) - expected) < stats.norm.ppf(0.9999) * error


def test_there_is_no_bayesian_search_in_scikit_learn():
    with pytest.raises(AttributeError, match="BayesianOptimization"):
        _ = sklearn.model_selection.BayesianOptimization
    with pytest.raises(ImportError):
        exec("from sklearn.model_selection import BayesianOptimization")


@pytest.mark.slow
@pytest.mark.parametrize("search", ["GridSearchCV", "RandomizedSearchCV"])
def test_half_of_a_grid_over_penalties_is_lost(search):
    x, y = load_breast_cancer(return_X_y=True)
    grid = {"C": [0.1, 1, 10], "penalty": ["l1", "l2"]}
    settings = {} if search == "GridSearchCV" else {"n_iter": 6, "random_state": 0}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = getattr(sklearn.model_selection, search)(LogisticRegression(), grid, **settings)
        found.fit(StandardScaler().fit_transform(x), y)  # no exception
    for score, how in zip(found.cv_results_["mean_test_score"], found.cv_results_["params"], strict=True):
        assert np.isnan(score) == (how["penalty"] == "l1")
    assert any("l1" in str(warning.message) and "fits failed" in str(warning.message) for warning in caught)


def test_the_working_grid_over_penalties():
    """What the snippet meant: a solver that knows both, and scaled data."""
    x, y = load_breast_cancer(return_X_y=True)
    grid = {"C": [0.1, 1, 10], "l1_ratio": [0.0, 1.0]}
    model = LogisticRegression(solver="saga", max_iter=10_000, tol=1e-2)
    found = sklearn.model_selection.GridSearchCV(model, grid, cv=3).fit(StandardScaler().fit_transform(x), y)
    assert np.all(found.cv_results_["mean_test_score"] > 0.9)


def test_unscaled_data_does_not_converge():
    with pytest.warns(ConvergenceWarning):
        LogisticRegression().fit(*load_breast_cancer(return_X_y=True))
