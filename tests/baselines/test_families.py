"""Choosing families: words, names, and reasons for what is left out."""

import numpy as np
import pytest

from tfopt.baselines import Family, family_names, left_out_families, select_families, unweighted_families
from tfopt.comparison import get_objective
from tfopt.errors import UserError

_R2 = get_objective("r2", "regression")
_ACCURACY = get_objective("accuracy", "classification")


def _names(choice, task="regression", objective=_R2, num_rows=100):
    return [family.name for family in select_families(choice, task, objective, num_rows)]


@pytest.fixture(autouse=True)
def _every_library_is_installed(monkeypatch):
    monkeypatch.setattr(Family, "is_installed", True)


def test_words():
    of_examples = ("pca_", "hog_", "summary_", "tfidf_", "naive", "seasonal_")
    assert _names("all") == [name for name in family_names("regression") if not name.startswith(of_examples)]
    assert "lightgbm" in _names("fast")
    assert _names("none") == ["dummy"]
    assert set(_names("fast")) < set(_names("all"))
    assert {"dummy", "ridge", "lasso", "svm"} <= set(_names("fast"))
    assert {"dummy", "logistic", "ridge_classifier", "svm", "knn"} <= set(_names("fast", "classification", _ACCURACY))


def test_names_are_taken_in_the_order_of_the_families():
    assert _names("lasso, ridge") == ["dummy", "ridge", "lasso"]


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("rigde", "Unknown baseline 'rigde'. Did you mean 'ridge'"),
        ("ridge,fst", "Unknown baseline 'fst'. Did you mean 'fast'"),
        ("logistic", "'logistic' is for classification. Known for regression: dummy, linear"),
        (" , ", "No baseline is named"),
    ],
)
def test_misspelling_gets_the_nearest(choice, message):
    with pytest.raises(UserError, match=message):
        _names(choice)


def test_families_without_probabilities_are_left_out_with_a_reason():
    log_loss = get_objective("log_loss", "classification")
    assert not {"svm", "ridge_classifier"} & set(_names("all", "classification", log_loss))
    reasons = left_out_families("all", "classification", log_loss, 100)
    assert reasons["svm"] == "svm is left out: it gives no class probabilities for log_loss."
    assert set(reasons) == {"svm", "ridge_classifier"}
    with pytest.raises(UserError, match="'svm' gives no class probabilities, which objective 'log_loss' needs"):
        _names("svm", "classification", log_loss)


def test_quadratic_families_are_left_out_of_large_tables_unless_named():
    assert not {"svm", "knn"} & set(_names("all", num_rows=20_001))
    assert {"svm", "knn"} <= set(_names("all", num_rows=20_000))
    assert "square of the rows, 50000 here" in left_out_families("fast", "regression", _R2, 50_000)["knn"]
    assert _names("knn", num_rows=50_000) == ["dummy", "knn"]
    assert left_out_families("knn", "regression", _R2, 50_000) == {}


def test_families_that_ignore_weights_are_named(make_table):
    families = select_families("all", "regression", _R2, 100)
    table = make_table(np.zeros((30, 1)), np.arange(30.0), task="regression")
    assert unweighted_families(families, table) == ()
    table.weights = np.ones(30)
    assert unweighted_families(families, table) == ("knn",)
    classes = make_table(np.zeros((30, 1)), np.arange(30) % 2, task="classification")
    families = select_families("all", "classification", _ACCURACY, 100)
    assert unweighted_families(families, classes) == ()
    classes.class_weight = "balanced"
    assert unweighted_families(families, classes) == ("knn",)


def test_choosing_imports_neither_scikit_learn_nor_tensorflow(fresh_python):
    code = (
        "import sys; sys.argv = ['tfopt'];"
        "from tfopt.baselines import select_families; from tfopt.comparison import get_objective;"
        "select_families('fast', 'regression', get_objective(None, 'regression'), 10);"
        "print([name for name in ('sklearn', 'scipy.stats', 'tensorflow', 'keras') if name in sys.modules])"
    )
    done = fresh_python("-c", code)
    assert done.stdout.strip() == "[]", done.stderr
