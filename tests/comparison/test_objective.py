"""Objectives: scikit-learn's numbers, one direction, and refusals that name the right metric."""

import warnings

import numpy as np
import pytest
from sklearn import datasets, linear_model, metrics, pipeline, preprocessing
from sklearn.metrics import average_precision_score, roc_auc_score

from tfopt.comparison import get_objective, objective_names
from tfopt.errors import UserError


@pytest.fixture(scope="module")
def regression():
    x, y = datasets.load_diabetes(return_X_y=True)
    return x, y, linear_model.Ridge(0.01).fit(x[:300], y[:300])


def _classifier(load):
    x, y = load(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    x, y = x[order], y[order]
    # A weak model, so that the metrics differ from 1 and from one another.
    model = pipeline.make_pipeline(preprocessing.StandardScaler(), linear_model.LogisticRegression(C=0.003))
    return x, y, model.fit(x[::2], y[::2])


@pytest.mark.parametrize("name", objective_names("regression"))
def test_regression_scores_equal_the_scikit_learn_scorer(regression, name):
    x, y, model = regression
    objective = get_objective(name, "regression")
    expected = metrics.get_scorer(objective.scorer)(model, x[300:], y[300:])
    assert objective.score(y[300:], model.predict(x[300:])) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("load", [datasets.load_breast_cancer, datasets.load_wine])
@pytest.mark.parametrize("name", objective_names("classification"))
def test_classification_scores_equal_the_scikit_learn_scorer(name, load):
    x, y, model = _classifier(load)
    objective = get_objective(name, "classification")
    prediction = model.predict(x) if objective.needs == "labels" else model.predict_proba(x)
    if name == "average_precision":  # the scorer ranks by decision values, which for several classes rank otherwise
        expected = metrics.average_precision_score(y, prediction if len(set(y)) > 2 else prediction[:, 1])
    else:
        expected = metrics.get_scorer(objective.scorer)(model, x, y)
    assert objective.score(y, prediction) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("task", "name"), [(t, n) for t in ("regression", "classification") for n in objective_names(t)]
)
def test_a_better_prediction_scores_higher(task, name):
    random = np.random.default_rng(1)
    objective = get_objective(name, task)
    if task == "regression":
        target = random.normal(5, 1, 200)
        good, bad = target + random.normal(0, 0.1, 200), target + random.normal(0, 1.5, 200)
    else:
        target = random.integers(0, 3, 200)
        noise = random.dirichlet(np.ones(3), 200)
        good, bad = 0.6 * np.eye(3)[target] + 0.4 * noise, 0.1 * np.eye(3)[target] + 0.9 * noise
    assert objective.score(target, good) > objective.score(target, bad)


# Not sums over rows: the maximum ignores weights, and a weighted median lies between two rows.
_WEIGHTED = [
    (task, name)
    for task in ("regression", "classification")
    for name in objective_names(task)
    if name not in ("max_error", "median_absolute_error")
]


@pytest.mark.parametrize(("task", "name"), _WEIGHTED)
def test_integer_weights_are_repeated_rows(task, name):
    random = np.random.default_rng(2)
    weights = random.integers(1, 4, 60)
    objective = get_objective(name, task)
    if task == "regression":
        target, prediction = random.normal(5, 1, 60), random.normal(5, 1, 60)
    else:
        target, prediction = random.integers(0, 3, 60), random.dirichlet(np.ones(3), 60)
    repeated = np.repeat(np.arange(60), weights)
    weighted = objective.score(target, prediction, weights.astype(float))
    assert weighted == pytest.approx(objective.score(target[repeated], prediction[repeated]), rel=1e-12)


def test_defaults():
    assert get_objective(None, "regression").name == "r2"
    assert get_objective(None, "classification").name == "accuracy"


@pytest.mark.parametrize(
    ("alias", "task", "name"),
    [
        ("neg_mean_squared_error", "regression", "mse"),
        ("r2_score", "regression", "r2"),
        ("auc", "classification", "roc_auc"),
        ("f1_macro", "classification", "f1"),
        ("neg_log_loss", "classification", "log_loss"),
    ],
)
def test_other_usual_names_are_understood(alias, task, name):
    assert get_objective(alias, task).name == name


@pytest.mark.parametrize(
    ("name", "task", "right"),
    [
        ("val_loss", "regression", "mse"),
        ("val_loss", "classification", "log_loss"),
        ("loss", "regression", "mse"),
        ("val_accuracy", "classification", "accuracy"),
        ("val_r2_score", "regression", "r2"),
    ],
)
def test_numbers_of_the_training_are_refused_with_the_reason_and_the_right_name(name, task, right):
    with pytest.raises(UserError, match=f"penalty that is being tuned.*--objective {right}\\.$"):
        get_objective(name, task)


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(UserError, match="Did you mean 'accuracy'"):
        get_objective("acuracy", "classification")


def test_a_metric_of_the_other_task_is_named_as_such():
    with pytest.raises(UserError, match="'accuracy' is for classification, but the target is for regression"):
        get_objective("accuracy", "regression")


def test_a_diverged_prediction_scores_nan():
    prediction = np.array([1.0, np.nan, 3.0])
    assert np.isnan(get_objective("r2", "regression").score(np.arange(3.0), prediction))


def test_float32_probabilities_are_taken_without_a_warning():
    random = np.random.default_rng(0)
    target = random.integers(0, 4, 50)
    exact = random.dirichlet(np.ones(4), 50)
    objective = get_objective("log_loss", "classification")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert objective.score(target, exact.astype(np.float32)) == pytest.approx(objective.score(target, exact), 1e-5)


@pytest.mark.parametrize("num_classes", [2, 3])
@pytest.mark.parametrize(
    ("name", "reference"), [("roc_auc", roc_auc_score), ("average_precision", average_precision_score)]
)
def test_rows_with_the_same_probability_stay_tied(name, reference, num_classes):
    # Votes of 49 neighbours: many ties, and rows whose float64 sums are 1 - 1e-16, 1 and 1 + 2e-16.
    random = np.random.default_rng(0)
    target = random.integers(0, num_classes, 400)
    votes = random.multinomial(49, np.ones(num_classes) / num_classes, 400) * (1 / 49)
    assert len(np.unique(votes.sum(axis=1))) > 1
    codes = [1] if num_classes == 2 else range(num_classes)
    expected = np.mean([reference(target == code, votes[:, code]) for code in codes])
    assert get_objective(name, "classification").score(target, votes) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("bad", [np.full((4, 2), 0.9), np.array([[1.5, -0.5]] * 4), np.array([0.2, 0.3, 0.1, 0.9])])
def test_what_is_no_probability_is_refused(bad):
    with pytest.raises(ValueError, match="probabilities"):
        get_objective("log_loss", "classification").score(np.array([0, 1, 0, 1]), bad)


def test_labels_must_be_codes():
    with pytest.raises(ValueError, match="class codes"):
        get_objective("accuracy", "classification").score(np.array([0, 1]), np.array([0.3, 0.7]))


def test_probabilities_are_taken_where_labels_are_needed():
    objective = get_objective("accuracy", "classification")
    assert objective.score(np.array([0, 1, 2]), np.eye(3)[[0, 1, 1]]) == pytest.approx(2 / 3)


def test_a_column_of_values_is_the_same_as_a_vector():
    objective = get_objective("mae", "regression")
    assert objective.score(np.array([1.0, 2.0]), np.array([[2.0], [4.0]])) == -1.5
    assert objective.raw(-1.5) == 1.5


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="one row for each target"):
        get_objective("r2", "regression").score(np.zeros(3), np.zeros(4))


def test_ranking_a_single_class_says_what_to_do():
    with pytest.raises(UserError, match="one class only"):
        get_objective("roc_auc", "classification").score(np.zeros(3, int), np.full((3, 2), 0.5))


def test_a_class_missing_in_the_test_part_is_left_out_of_the_mean():
    probabilities = np.array([[0.7, 0.2, 0.1], [0.2, 0.5, 0.3], [0.5, 0.4, 0.1], [0.1, 0.6, 0.3]])
    target = np.array([0, 1, 1, 1])
    # Class 0 beats all three rows; class 1's 0.2 lies below all of 0.5, 0.4 and 0.6.
    assert get_objective("roc_auc", "classification").score(target, probabilities) == 1.0
    target = np.array([0, 1, 0, 1])
    # Class 1: 0.5 and 0.6 against 0.2 and 0.4, all right; class 0: 0.7 and 0.5 against 0.2 and 0.1, all right.
    assert get_objective("roc_auc", "classification").score(target, probabilities) == 1.0
    target = np.array([1, 1, 0, 0])
    # Class 0: of 4 pairs only 0.5 > 0.2 is right; class 1: of 4 pairs only 0.5 > 0.4 is right.
    assert get_objective("roc_auc", "classification").score(target, probabilities) == 0.25
