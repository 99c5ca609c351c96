"""Tuning: every family on every kind of target, and the numbers against scikit-learn by hand."""

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from sklearn import datasets, metrics
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight

from tfopt.baselines import models, select_families, setting, tune, tuning
from tfopt.comparison import get_objective, inner_splits, outer_splits


def _family(name, task):
    return select_families(name, task, get_objective(None, task), 100)[-1]  # the dummy comes with every name


def _installed(task):
    return [family.name for family in select_families("all", task, get_objective(None, task), 100)]


def _fold(table, *, folds=3, inner=2):
    split = outer_splits(table, folds=folds, repeats=1, seed=0)[0]
    return split, inner_splits(table, split.train, folds=inner, seed=1)


def _tuned(name, table, **options):
    split, inner = _fold(table)
    objective = options.pop("objective", get_objective(None, table.task))
    return tune(_family(name, table.task), table, 0, split, inner, objective, **options), split, inner


def _regression(make_table, targets=1, weights=None):
    random = np.random.default_rng(0)
    features = random.normal(size=(90, 4)) * [1, 5, 0.2, 1]
    target = features @ random.normal(size=(4, targets)) * 40 + 300 + random.normal(0, 10, (90, targets))
    return make_table(features, target[:, 0] if targets == 1 else target, task="regression", weights=weights)


def _classification(make_table, classes=3, weights=None):
    features, target = datasets.make_classification(
        90, 5, n_informative=4, n_redundant=0, n_classes=classes, class_sep=1.5, random_state=0
    )
    return make_table(features, target.astype(np.int64), task="classification", weights=weights)


@pytest.mark.long("mlp-2", "random_forest-2", "hist_gradient_boosting-2", "svm-2", "elastic_net-2")
@pytest.mark.slow
@pytest.mark.parametrize("targets", [1, 2])
@pytest.mark.parametrize("name", _installed("regression"))
def test_every_regression_family(make_table, name, targets):
    table = _regression(make_table, targets)
    result, split, _ = _tuned(name, table)
    _check(result, table, split, name)
    assert result.prediction.shape == table.target[split.test].shape
    if name in ("linear", "ridge", "lasso", "elastic_net"):
        assert result.score > 0.9


@pytest.mark.slow
def test_penalties_do_not_depend_on_the_targets_unit(make_table):
    table = _regression(make_table)
    one, *_ = _tuned("lasso", table)
    table.target = 1000 * table.target
    other, *_ = _tuned("lasso", table)
    assert one.chosen == other.chosen
    np.testing.assert_allclose(1000 * one.prediction, other.prediction, rtol=1e-6)


@pytest.mark.long(
    "mlp-accuracy",
    "mlp-log_loss",
    "random_forest-accuracy",
    "random_forest-log_loss",
    "hist_gradient_boosting-accuracy",
)
@pytest.mark.slow
@pytest.mark.parametrize("objective", ["accuracy", "log_loss"])
@pytest.mark.parametrize("name", _installed("classification"))
def test_every_classification_family(make_table, name, objective):
    family = _family(name, "classification")
    if objective == "log_loss" and not family.probabilities:
        assert name in ("svm", "ridge_classifier")
        return
    table = _classification(make_table)
    result, split, _ = _tuned(name, table, objective=get_objective(objective, "classification"))
    _check(result, table, split, name)
    if objective == "log_loss":
        assert result.prediction.shape == (30, 3)
        if name in ("dummy", "logistic"):
            assert result.score > -1.11  # guessing three even classes costs ln 3 = 1.0986
    else:
        assert set(result.prediction) <= {0, 1, 2}


def _check(result, table, split, name):
    assert (result.model, result.kind, result.fold) == (name, "sklearn", 0)
    assert np.isfinite([result.score, result.inner_score, result.default_score]).all()
    assert result.num_configurations >= (1 if name in ("dummy", "linear") else 2)
    assert result.fit_seconds > 0
    assert result.tune_seconds >= 0
    assert len(result.prediction) == len(split.test)
    assert result.num_unconverged == 0 or name == "mlp"
    assert json.loads(json.dumps(result.chosen, allow_nan=False)) == result.chosen


def test_the_grid_search_is_scikit_learns_on_exactly_the_inner_splits(make_table):
    table = _regression(make_table)
    result, split, inner = _tuned("ridge", table)
    x, y = table.features.to_numpy(), table.target
    (grid,) = models.tunable(_family("ridge", "regression"), setting.Setting(60, 40, 4, 1, 0, 0)).grid
    position = {row: place for place, row in enumerate(split.train)}
    cv = [([position[r] for r in s.train], [position[r] for r in s.test]) for s in inner]
    search = GridSearchCV(make_pipeline(StandardScaler(), Ridge()), {"ridge__alpha": grid["model__alpha"]}, cv=cv)
    search.fit(x[split.train], y[split.train])
    assert result.num_configurations == len(grid["model__alpha"]) * len(grid["encode__scaling"])
    assert result.inner_score >= search.best_score_ - 1e-6  # standard scaling is one of the choices
    if result.chosen["scaling"] == "standard":
        assert result.chosen["alpha"] == search.best_params_["ridge__alpha"]
        assert result.score == pytest.approx(search.score(x[split.test], y[split.test]), abs=1e-5)
    default = make_pipeline(StandardScaler(), Ridge()).fit(x[split.train], y[split.train])
    assert result.default_score == pytest.approx(default.score(x[split.test], y[split.test]), abs=1e-5)


def test_logistic_tries_both_penalties_without_a_failed_fit(make_table):
    grid = models.tunable(_family("logistic", "classification"), setting.Setting(60, 40, 5, 1, 3, 0)).grid
    assert {ratio for part in grid for ratio in part["model__l1_ratio"]} == {0.0, 1.0}
    result, *_ = _tuned("logistic", _classification(make_table))
    assert result.num_configurations == sum(len(p["encode__scaling"]) * len(p["model__C"]) for p in grid)


def test_the_l1_penalty_of_the_grid_reaches_zeros():
    features, target = datasets.load_breast_cancer(return_X_y=True)
    grid = models.tunable(_family("logistic", "classification"), setting.Setting(400, 266, 30, 1, 2, 0)).grid
    lasso = {k.removeprefix("model__"): v[0] for k, v in grid[1].items() if k != "encode__scaling"}
    model = LogisticRegression(**lasso).fit(StandardScaler().fit_transform(features), target)
    assert (model.coef_ == 0).sum() > 15


@pytest.mark.parametrize(("name", "task"), [("mlp", "regression"), ("hist_gradient_boosting", "classification")])
def test_no_single_rows_are_held_out_where_groups_keep_rows_together(name, task):
    def early(exchangeable):
        where = setting.Setting(20_000, 10_000, 5, 1, 0 if task == "regression" else 2, 0, exchangeable=exchangeable)
        how = models.tunable(_family(name, task), where)
        grids = [value for part in how.grid for key, values in part.items() if "early" in key for value in values]
        return grids or [how.model.get_params()["early_stopping"]]

    assert any(early(exchangeable=True))
    assert not any(early(exchangeable=False))


def test_a_grid_that_fails_anywhere_fails_loudly(make_table, monkeypatch):
    broken = setting.Tunable(
        KNeighborsClassifier(),
        KNeighborsClassifier(),
        [{"model__n_neighbors": [3, 1000]}],  # more than there are rows
    )
    monkeypatch.setattr(tuning, "tunable", lambda family, setting: broken)
    with pytest.raises(ValueError, match="n_neighbors"):
        _tuned("knn", _classification(make_table))


def test_convergence_warnings_are_counted_not_shown(make_table, monkeypatch, capfd):
    stopped = LogisticRegression(max_iter=1)
    recipe = setting.Tunable(stopped, stopped, [{"model__C": [1.0, 10.0]}])
    monkeypatch.setattr(tuning, "tunable", lambda family, setting: recipe)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result, *_ = _tuned("logistic", _classification(make_table))
    assert result.num_unconverged == 5  # two configurations on two inner splits, and the refit
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ridge", "svm", "linear"])
def test_weights_reach_the_fit_and_the_scores(make_table, name):
    weights = np.random.default_rng(1).integers(0, 3, 90).astype(float)
    weights[:3] = 1
    plain, split, _ = _tuned(name, _regression(make_table))
    weighted, *_ = _tuned(name, _regression(make_table, weights=weights))
    objective = get_objective("r2", "regression")
    truth = _regression(make_table).target[split.test]
    assert not np.allclose(weighted.prediction, plain.prediction)
    assert weighted.score == pytest.approx(objective.score(truth, weighted.prediction, weights[split.test]))


def test_weighted_least_squares_is_least_squares_on_repeated_rows(make_table):
    weights = np.random.default_rng(1).integers(1, 4, 90)
    table = _regression(make_table, weights=weights.astype(float))
    result, split, _ = _tuned("linear", table)
    rows = np.repeat(split.train, weights[split.train])
    x = np.column_stack([np.ones(90), table.features.to_numpy()])
    solution = np.linalg.lstsq(x[rows], table.target[rows], rcond=None)[0]
    assert result.prediction == pytest.approx(x[split.test] @ solution, rel=1e-4)


def test_inner_scores_are_weighted_too(make_table):
    table = _regression(make_table, weights=np.random.default_rng(2).uniform(0.1, 3, 90))
    result, _, inner = _tuned("linear", table)
    x = np.column_stack([np.ones(90), table.features.to_numpy()])
    scores = []
    for part in inner:
        root = np.sqrt(table.weights[part.train])[:, None]
        solution = np.linalg.lstsq(x[part.train] * root, table.target[part.train] * root[:, 0], rcond=None)[0]
        objective = get_objective("r2", "regression")
        scores.append(objective.score(table.target[part.test], x[part.test] @ solution, table.weights[part.test]))
    assert result.inner_score == pytest.approx(np.mean(scores), rel=1e-4)


def test_each_part_is_encoded_once_for_each_scaling(make_table, monkeypatch):
    calls = []
    fit = tuning.TableEncoder.fit

    def counted(self, frame, y=None):
        calls.append((self.scaling, len(frame)))
        return fit(self, frame, y)

    monkeypatch.setattr(tuning.TableEncoder, "fit", counted)
    _tuned("ridge", _regression(make_table))
    # Three scalings on two inner parts of 30 rows; the refit and the default on the outer 60.
    assert sorted(call for call in calls if call[1] == 30) == sorted(
        [(scaling, 30) for scaling in ("standard", "robust", "common")] * 2
    )
    assert len(calls) <= 8


@pytest.mark.long
def test_the_seed_repeats_the_result(make_table):
    table = _classification(make_table)
    first, again = (_tuned("random_forest", table, seed=3)[0] for _ in range(2))
    assert first.chosen == again.chosen
    assert first.score == again.score
    np.testing.assert_array_equal(first.prediction, again.prediction)


@pytest.mark.long("hist_gradient_boosting")
@pytest.mark.slow
@pytest.mark.parametrize("name", ["svm", "hist_gradient_boosting"])
def test_more_jobs_give_the_same_result(make_table, name):
    table = _classification(make_table)
    one, two = (_tuned(name, table, jobs=jobs)[0] for jobs in (1, 2))
    assert (one.chosen, one.score, one.inner_score) == (two.chosen, two.score, two.inner_score)


def test_inner_splits_outside_the_training_part_are_refused(make_table):
    table = _regression(make_table)
    split, inner = _fold(table)
    wrong = [type(split)(inner[0].train, split.test)]
    with pytest.raises(ValueError, match="reaches outside the training part"):
        tune(_family("ridge", "regression"), table, 0, split, wrong, get_objective(None, "regression"))


def test_a_class_unknown_to_a_fold_gets_probability_zero():
    class Model:
        classes_ = np.array([0, 2])

        def predict_proba(self, features):
            return np.tile([0.25, 0.75], (len(features), 1))

    scorer = tuning.Scorer(get_objective("log_loss", "classification"), None, num_classes=3)
    assert scorer.predict(Model(), [[1.0]]).tolist() == [[0.25, 0.0, 0.75]]


@pytest.mark.slow
def test_a_worker_ends_with_its_parent():
    """Killed, a search must not leave processes behind that go on fitting."""
    worker = (
        "import sys, time; from tfopt.baselines.tuning import _follow_parent; _follow_parent(); "
        "print('ready', flush=True); time.sleep(600)"  # far longer than it lives
    )
    parent = (
        "import os, subprocess, sys\n"
        f"worker = subprocess.Popen([sys.executable, '-c', {worker!r}], stdout=subprocess.PIPE)\n"
        "assert worker.stdout.readline() == b'ready\\n'\n"
        "os.kill(os.getpid(), 9)\n"
    )
    # Standard error is the worker's too: it is at its end when both are gone.
    subprocess.run(
        [sys.executable, "-c", parent],
        stderr=subprocess.PIPE,
        timeout=120,
        env={**os.environ, "TFOPT_LAZY": "1", "PYTHONPATH": str(Path(__file__).parents[2])},
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize("weights", [None, np.linspace(0.5, 2.0, 90)])
def test_balanced_classes_are_those_of_scikit_learn(make_table, weights):
    table = _classification(make_table, classes=2)
    table.target = np.where(np.arange(90) % 5 == 0, table.target, 0)
    table.weights, table.class_weight = weights, "balanced"
    split, inner = _fold(table)
    learned = None if weights is None else weights[split.train]
    given = table.training_weights(split.train)
    if weights is None:
        np.testing.assert_allclose(given, compute_sample_weight("balanced", table.target[split.train]))
    sums = np.bincount(table.target[split.train], given)
    assert sums[0] == pytest.approx(sums[1])
    assert given.sum() == pytest.approx(len(given) if learned is None else learned.sum())
    objective = get_objective("balanced_accuracy", "classification")
    result = tune(_family("logistic", "classification"), table, 0, split, inner, objective)
    x = table.features.to_numpy()
    default = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000, random_state=0))
    default.fit(x[split.train], table.target[split.train], logisticregression__sample_weight=given)
    test_weight = None if weights is None else weights[split.test]
    expected = objective.score(table.target[split.test], default.predict(x[split.test]), test_weight)
    assert result.default_score == pytest.approx(expected)
    assert table.training_weights(split.train) is not None
    table.class_weight = "none"
    assert (table.training_weights(split.train) is None) == (weights is None)


def test_the_dummy_guesses_by_the_shares_that_there_are(make_table):
    table = _classification(make_table, classes=2)
    table.target = (np.arange(90) % 10 > 0).astype(np.int64)
    table.class_weight = "balanced"
    result, split, _ = _tuned("dummy", table, objective=get_objective("log_loss", "classification"))
    share = table.target[split.train].mean()
    assert -result.score == pytest.approx(metrics.log_loss(table.target[split.test], np.full(len(split.test), share)))


def test_neighbours_are_no_more_than_the_rows_of_an_early_fold(make_table):
    table = _regression(make_table)
    table.times = np.arange(90.0)
    split = outer_splits(table, folds=3, repeats=1, seed=0)[0]
    inner = inner_splits(table, split.train, folds=3, seed=0)
    assert min(len(part.train) for part in inner) < 15
    result = tune(_family("knn", "regression"), table, 0, split, inner, get_objective(None, "regression"))
    assert np.isfinite([result.score, result.inner_score]).all()
