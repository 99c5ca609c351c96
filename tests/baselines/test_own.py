"""Baselines of the user's own: tuned as scikit-learn tunes them, saved, loaded with the user's word for their file."""

import json
import pickle

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import tfopt
from tfopt.baselines.own import estimators_of, own_families
from tfopt.baselines.table_baseline import TableBaseline
from tfopt.baselines.tuning import plain_names
from tfopt.comparison.objective import get_objective
from tfopt.errors import UserError

FILE = """
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.decomposition import PCA
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline


def neighbours():
    grid = {"pca__n_components": [1, 3], "kneighborsregressor__n_neighbors": [5, 20]}
    return make_pipeline(PCA(), KNeighborsRegressor()), grid


def extra_trees():
    return ExtraTreesRegressor(n_estimators=5)


class Mine(RegressorMixin, BaseEstimator):
    def fit(self, x, y):
        self.mean_ = y.mean()
        return self

    def predict(self, x):
        return self.mean_ + 0 * x[:, 0]


def mine():
    return Mine()


def classes():
    return LogisticRegression()


def number():
    return 3


def ridge():
    return Ridge()


def unknown():
    return Ridge(), {"alhpa": [1.0]}


def single():
    return Ridge(), {"alpha": 1.0}


def scaled():
    return Ridge(), {"scaling": ["minmax"]}


def broken():
    return Ridge(alpa=1.0)


several = Ridge()
"""
R2 = get_objective("r2", "regression")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    file = tmp_path_factory.mktemp("own") / "opponents.py"
    file.write_text(FILE)
    return file


@pytest.fixture(scope="module")
def table():
    return tfopt.data.load_table("diabetes")


@pytest.fixture(scope="module")
def splits(table):
    (outer,) = tfopt.comparison.outer_splits(table, folds=5, repeats=1, seed=0, holdout=0.3)
    return outer, tfopt.comparison.inner_splits(table, outer.train, folds=3, seed=0)


def tuned(family, table, splits):
    return tfopt.baselines.tune(family, table, 0, *splits, R2, seed=1)


def test_it_is_tuned_as_scikit_learn_would(path, table, splits):
    [family] = own_families([f"{path}:neighbours"], "regression", R2)
    result = tuned(family, table, splits)
    outer, inner = splits
    place = {row: index for index, row in enumerate(outer.train)}
    folds = [tuple([place[row] for row in part] for part in (split.train, split.test)) for split in inner]
    pipeline = make_pipeline(StandardScaler(), PCA(random_state=1), KNeighborsRegressor())
    grid = {"pca__n_components": [1, 3], "kneighborsregressor__n_neighbors": [5, 20]}
    x, y = table.features.to_numpy(), table.target
    search = GridSearchCV(pipeline, grid, cv=folds, scoring="r2").fit(x[outer.train], y[outer.train])
    assert result.model == "neighbours"
    assert list(result.chosen.values()) == [search.best_params_[name] for name in sorted(grid)]
    assert result.inner_score == pytest.approx(search.best_score_, rel=1e-6)
    assert result.score == pytest.approx(search.score(x[outer.test], y[outer.test]), rel=1e-6)


def test_a_seed_that_is_open_is_the_searchs_and_a_worker_without_the_file_has_its_bytes(path, table, splits, tmp_path):
    copy = tmp_path / "elsewhere.py"
    copy.write_bytes(path.read_bytes())
    [family] = own_families([f"{copy}:extra_trees"], "regression", R2)
    first = tuned(family, table, splits)
    copy.unlink()
    again = tuned(pickle.loads(pickle.dumps(family)), table, splits)
    assert again.score == first.score


def test_a_class_of_the_file_is_loaded_when_the_user_names_the_file(path, table, splits, tmp_path):
    [family] = own_families([f"{path}:mine"], "regression", R2)
    inner = tfopt.comparison.inner_splits(table, np.arange(table.num_rows), folds=3, seed=0)
    tfopt.baselines.train_for_use(table, family, [{}], inner, R2, seed=0).save(tmp_path / "mine.skops")
    with pytest.raises(UserError, match=r"Is it a baseline of your own, name its file with --space FILE"):
        TableBaseline.load(tmp_path / "mine.skops")
    packages = {kind.__module__.partition(".")[0] for kind in estimators_of(str(path)).values()}
    model = TableBaseline.load(tmp_path / "mine.skops", packages)
    np.testing.assert_allclose(model.predict(table.features), table.target.mean())


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("neighbors", "has no 'neighbors'. Did you mean 'neighbours'"),
        ("several", "is no function"),
        ("number", "returns int, no estimator of scikit-learn's kind"),
        ("classes", "returns LogisticRegression, which is not for regression"),
        ("ridge", "there is a baseline 'ridge' already"),
        ("unknown", "no parameter 'alhpa'. Did you mean 'alpha'"),
        ("single", "'alpha' needs a list of values. Received: 1.0"),
        ("scaled", "'scaling' is one of none, standard, robust, common. Received: 'minmax'"),
        ("broken", "raised TypeError"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line(path, name, told):
    with pytest.raises(UserError) as raised:
        own_families([f"{path}:{name}"], "regression", R2)
    assert told in str(raised.value)
    assert "opponents.py" in str(raised.value)


def test_parameters_of_one_name_keep_their_steps():
    grid = [{"model__pca__k": [1], "model__knn__k": [1]}, {"model__pca__whiten": [True]}]
    assert plain_names(grid) == {"model__pca__k": "pca__k", "model__knn__k": "knn__k", "model__pca__whiten": "whiten"}


@pytest.mark.slow
def test_a_search_has_a_row_of_it_and_a_model_and_minds_its_file(path, tmp_path):
    mine = tmp_path / "opponents.py"
    mine.write_bytes(path.read_bytes())
    result = tfopt.search.run(
        "diabetes", space="small", max_trials=1, epochs=1, holdout=0.3, inner_folds=2, seeds=1, ensemble=0, workers=1,
        baselines="none", baseline=[f"{mine}:neighbours"], out=tmp_path / "run", progress=False,
    )  # fmt: skip
    assert "neighbours" in result.leaderboard["model"].tolist()
    table = tfopt.data.load_table("diabetes")
    assert np.isfinite(result.model("neighbours").predict(table.features)).all()
    assert json.loads((tmp_path / "run" / "config.json").read_text())["baseline"] == [f"{mine}:neighbours"]
    mine.write_text(FILE + "# changed")
    with pytest.raises(UserError, match=r"opponents\.py has changed since"):
        tfopt.search.run(resume=tmp_path / "run", progress=False)
