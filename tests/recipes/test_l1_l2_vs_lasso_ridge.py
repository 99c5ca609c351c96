"""The recipe on penalties, and the tutorials' programs that do not do what they say."""

import warnings

import numpy as np
import pytest
from sklearn import datasets, linear_model, model_selection, preprocessing


def test_the_solutions_are_scikit_learns(smoke):
    done = smoke("l1_l2_vs_lasso_ridge")
    results = done.result["results"]
    assert done.verdict("penalty-conversion-is-exact") == "holds"
    assert done.verdict("penalty-textbook-cost-is-ridge") == "holds"
    assert done.verdict("penalty-search-agrees") == "holds"
    assert max(row["difference"] for row in results["table"]) < 1e-6
    assert all(row["same_zeros"] for row in results["table"])
    # Ridge's closed form on standardised diabetes, with the number as it stands and as it should be
    x, y = datasets.load_diabetes(return_X_y=True)
    x, y = preprocessing.scale(x), y - y.mean()
    ridge, literal = (np.linalg.solve(x.T @ x + alpha * np.eye(10), x.T @ y) for alpha in (10, 10 * len(x)))
    ratio = np.linalg.norm(literal) / np.linalg.norm(ridge)
    assert results["literal_ratio"] == pytest.approx(ratio, rel=1e-4)


def test_what_the_tutorials_say(smoke):
    done = smoke("l1_l2_vs_lasso_ridge")
    for claim in ("same-number", "keras-l1-zeros", "grid-of-l1-and-l2", "norm-is-l2"):
        assert done.verdict(f"penalty-{claim}") == "does not hold"
    assert done.result["results"]["zeros"]["keras_sgd"] == 0


@pytest.mark.long  # in the default run: test_learning_rate_schedules.py
def test_a_table_of_ones_own(run_recipe, tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 3)).round(3)
    price = x @ [3, 0, 1] + rng.normal(size=120)
    rows = [f"{a},{b},{c},{'xy'[i % 2]},{p:.3f}" for i, ((a, b, c), p) in enumerate(zip(x, price, strict=True))]
    (tmp_path / "mine.csv").write_text("\n".join(["a,b,c,kind,price", *rows]) + "\n")
    done = run_recipe("l1_l2_vs_lasso_ridge", "--data", tmp_path / "mine.csv", "--target", "price")
    assert "mine: 120 rows, 5 features, target 'price'" in done.printed
    assert done.verdict("penalty-conversion-is-exact") == "holds"


@pytest.mark.long("RandomizedSearchCV")
@pytest.mark.slow
@pytest.mark.parametrize("search", [model_selection.GridSearchCV, model_selection.RandomizedSearchCV])
def test_half_of_a_search_over_l1_and_l2_is_lost(search):
    """The snippet's program, on a table that needs no scaling."""
    x, y = datasets.load_iris(return_X_y=True)
    grid = {"C": [0.1, 1, 10], "penalty": ["l1", "l2"]}
    more = {"n_iter": 6, "random_state": 0} if search is model_selection.RandomizedSearchCV else {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = search(linear_model.LogisticRegression(max_iter=1000), grid, cv=5, **more).fit(x[:100], y[:100])
    lost = np.isnan(found.cv_results_["mean_test_score"])
    assert [parameters["penalty"] for parameters in found.cv_results_["params"]] == list(np.where(lost, "l1", "l2"))
    assert lost.mean() == 0.5
    assert any("15 fits failed out of a total of 30" in str(warning.message) for warning in caught)


def test_a_norm_is_not_the_sum_of_squares():
    """PyTorch is not here, so its program is not run; that λ‖w‖ is another penalty than λ‖w‖² is arithmetic.

    The norm's pull has the same size however small the weights are, and so can set all of them to zero at once, as L1
    does for one; the pull of the sum of squares fades with them.
    """
    w, step = np.array([3.0, -4.0]), 1e-6

    def pull(penalty, w):
        return np.array([(penalty(w + step * unit) - penalty(w - step * unit)) / (2 * step) for unit in np.eye(2)])

    for scale in (1.0, 0.1, 0.01):
        assert np.linalg.norm(pull(np.linalg.norm, scale * w)) == pytest.approx(1.0, rel=1e-4)
        assert np.linalg.norm(pull(lambda v: np.sum(v**2), scale * w)) == pytest.approx(2 * 5 * scale, rel=1e-4)


def test_ridges_default_solver_takes_no_notice_of_max_iter():
    x, y = datasets.load_diabetes(return_X_y=True)
    once, often = (linear_model.Ridge(max_iter=count).fit(x, y) for count in (1, 10_000))
    np.testing.assert_array_equal(once.coef_, often.coef_)
    assert once.n_iter_ is None
