"""Networks as scikit-learn estimators: its tools on real tables, and what these networks add."""

import pickle

import keras
import numpy as np
import pandas as pd
import pytest
from sklearn import datasets
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import tfopt
from tfopt.sklearn import NetworkClassifier, NetworkRegressor
from tfopt.sklearn.network import _mean_and_scale

QUICK = {"epochs": 3, "units": 8, "random_state": 0}


@pytest.fixture(scope="module")
def iris():
    return datasets.load_iris(return_X_y=True)


@pytest.fixture(scope="module")
def fitted(iris):
    return NetworkClassifier(epochs=30, random_state=0).fit(*iris)


@pytest.mark.slow
def test_the_keras_model_gives_the_same_outputs(iris, fitted, tmp_path):
    fitted.to_keras().save(tmp_path / "iris.keras")
    logits = keras.models.load_model(tmp_path / "iris.keras").predict(iris[0], verbose=0)
    np.testing.assert_allclose(keras.ops.softmax(logits), fitted.predict_proba(iris[0]), atol=1e-5)
    x, y = datasets.load_linnerud(return_X_y=True)
    network = NetworkRegressor(**QUICK).fit(x, y)
    np.testing.assert_allclose(network.to_keras().predict(x, verbose=0), network.predict(x), rtol=1e-5)
    assert network.predict(x).shape == y.shape


def test_it_learns_and_is_pickled(iris, fitted):
    x, y = iris
    assert fitted.score(x, y) > 0.93
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fitted)).predict_proba(x), fitted.predict_proba(x))
    assert clone(fitted).get_params() == fitted.get_params()
    assert len(fitted.history_["loss"]) == fitted.n_iter_ == 30


@pytest.mark.long("NetworkClassifier")
@pytest.mark.slow
@pytest.mark.parametrize("kind", [NetworkClassifier, NetworkRegressor])
def test_folds_at_once_are_scikit_learns_fold_by_fold(kind):
    is_classifier = kind is NetworkClassifier
    x, y = (datasets.load_wine if is_classifier else datasets.load_diabetes)(return_X_y=True)
    random = np.random.default_rng(0)
    weights = random.uniform(0, 2, len(y))
    groups = np.arange(len(y)) % 7
    network = kind(**QUICK)
    if not is_classifier:  # stops early, in each fold elsewhere: there is nothing to be learned
        y, network = random.permutation(y), kind(**QUICK | {"epochs": 12}, patience=1)
    options = {"cv": GroupKFold(3), "groups": groups, "return_train_score": True}
    expected = cross_validate(network, x, y, params={"sample_weight": weights}, return_estimator=True, **options)
    found = tfopt.sklearn.cross_validate(network, x, y, sample_weight=weights, **options)
    for name in ("test_score", "train_score"):
        np.testing.assert_allclose(found[name], expected[name], atol=1e-5)
    for one, other in zip(found["estimator"], expected["estimator"], strict=True):
        np.testing.assert_allclose(one.weights_["outputs"][0], other.weights_["outputs"][0], rtol=1e-4, atol=1e-5)
    assert not hasattr(network, "weights_")


@pytest.mark.long
def test_another_estimator_is_scikit_learns_affair(iris):
    expected = cross_validate(make_pipeline(StandardScaler(), NetworkClassifier(**QUICK)), *iris, cv=2)
    found = tfopt.sklearn.cross_validate(make_pipeline(StandardScaler(), NetworkClassifier(**QUICK)), *iris, cv=2)
    np.testing.assert_array_equal(found["test_score"], expected["test_score"])


def test_several_scores_have_their_names(iris):
    found = tfopt.sklearn.cross_validate(NetworkClassifier(**QUICK), *iris, cv=2, scoring=["accuracy", "neg_log_loss"])
    assert {"test_accuracy", "test_neg_log_loss", "fit_time", "score_time"} <= set(found)
    assert [len(rows) for rows in found["indices"]["test"]] == [75, 75]


@pytest.mark.slow
def test_pipelines_frames_and_grids():
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"size": random.normal(size=60), "city": random.choice(["Bonn", "Trier"], 60)})
    y = frame["size"] + (frame["city"] == "Bonn")
    columns = ColumnTransformer([("city", OneHotEncoder(sparse_output=False), ["city"])], remainder="passthrough")
    pipeline = make_pipeline(columns.set_output(transform="pandas"), NetworkRegressor(**QUICK))
    grid = GridSearchCV(pipeline, {"networkregressor__units": [4, 8]}, cv=2).fit(frame, y)
    assert grid.best_params_["networkregressor__units"] in (4, 8)
    names = grid.best_estimator_[-1].feature_names_in_
    assert list(names) == ["city__city_Bonn", "city__city_Trier", "remainder__size"]


@pytest.mark.long
def test_in_processes_of_joblib(iris):
    network = NetworkClassifier(**QUICK)
    alone = cross_val_score(network, *iris, cv=2)
    np.testing.assert_allclose(cross_val_score(network, *iris, cv=2, n_jobs=2), alone)


@pytest.mark.slow
def test_early_stopping_keeps_the_best_epoch():
    random = np.random.default_rng(0)
    x, y = random.normal(size=(60, 20)), random.normal(size=60)  # nothing to learn
    network = NetworkRegressor(epochs=60, patience=3, random_state=0, dropout=0.0).fit(x, y)
    losses = network.history_["val_loss"]
    assert network.n_iter_ == len(losses) == np.argmin(losses) + 4 < 60
    repeated = NetworkRegressor(epochs=60, patience=3, random_state=0, dropout=0.0).fit(x, y)
    np.testing.assert_array_equal(repeated.predict(x), network.predict(x))
    # At a rate that makes each epoch worse than the one before, the first one's weights stay.
    wild = NetworkRegressor(epochs=60, patience=3, random_state=0, dropout=0.0, learning_rate=3.0).fit(x, y)
    first, *_, last = wild.history_["val_loss"]
    assert first < last / 10
    assert np.mean((wild.predict(x) - y) ** 2) < last / 5


def test_scales_are_weighted():
    values, weights = np.random.default_rng(0).normal(size=(9, 2)), np.arange(9)
    mean, scale = _mean_and_scale(values, weights.astype(float))
    repeated = np.repeat(values, weights, axis=0)
    np.testing.assert_allclose(mean, repeated.mean(axis=0))
    np.testing.assert_allclose(scale, repeated.std(axis=0))


@pytest.mark.slow
def test_weights_count_relative_to_each_other():
    x, y = datasets.load_diabetes(return_X_y=True)
    weights = np.random.default_rng(0).uniform(0.5, 2, len(y))
    one, other = (NetworkRegressor(**QUICK).fit(x, y, sample_weight=factor * weights) for factor in (1, 1000))
    np.testing.assert_allclose(one.predict(x), other.predict(x), rtol=1e-5)
    kept = weights > 1
    dropped = NetworkRegressor(**QUICK).fit(x, y, sample_weight=np.where(kept, weights, 0))
    alone = NetworkRegressor(**QUICK).fit(x[kept], y[kept], sample_weight=weights[kept])
    np.testing.assert_allclose(dropped.predict(x), alone.predict(x), rtol=1e-6)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"units": 0}, "`units` of NetworkRegressor must be >= 1"),
        ({"dropout": 1.0}, "`dropout` of NetworkRegressor must be"),
        ({"schedule": "cosin"}, "Did you mean 'cosine'"),
        ({"activation": "rellu"}, "rellu"),
        ({"validation_fraction": 0}, "`validation_fraction`"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named_when_fitted(setting, message):
    with pytest.raises(ValueError, match=message):
        NetworkRegressor(**setting).fit(np.eye(4), np.arange(4.0))
