"""The two ways of asking a network, against functions whose answer is known."""

import ast
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn import inspection, metrics

RECIPE = Path(__file__).parents[2] / "recipes" / "explanation.py"


@pytest.fixture(scope="module")
def written_out():
    """The recipe's own functions, without running the recipe."""
    functions = {"gradients", "integrated_gradients", "r2"}
    tree = ast.parse(RECIPE.read_text(encoding="utf-8"))
    tree.body = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in functions]
    names = {"np": np, "tf": tf, "keras": keras, "metrics": metrics, "POINTS": 128}
    exec(compile(tree, str(RECIPE), "exec"), names)
    return names


@pytest.fixture(scope="module")
def rows():
    return np.random.default_rng(0).normal(size=(20, 3)).astype("float32")


def test_integrated_gradients_of_a_polynomial(written_out, rows):
    """f = a² b + 3 c from 0: by the integral of 2 t² a b, a has 2/3 of a² b and b a third; c has 3 c."""
    found = written_out["integrated_gradients"](lambda x: (x[:, 0] ** 2 * x[:, 1] + 3 * x[:, 2])[:, None], rows)
    a, b, c = rows.T
    np.testing.assert_allclose(found, np.transpose([2 / 3 * a**2 * b, a**2 * b / 3, 3 * c]), rtol=1e-3, atol=1e-4)


def test_one_gradient_at_the_row_does_not_add_up(written_out, rows):
    """The usual snippet gives a² b three times: twice to a, once to b."""
    slopes = rows * written_out["gradients"](lambda x: (x[:, 0] ** 2 * x[:, 1])[:, None], rows)
    np.testing.assert_allclose(slopes.sum(axis=1), 3 * rows[:, 0] ** 2 * rows[:, 1], rtol=1e-4, atol=1e-5)


def test_permutation_importance_takes_a_keras_model(written_out, rows):
    """A column that is shuffled alone adds twice its coefficient's square: 1 - R² = 2 β² var / var(y)."""
    x = np.random.default_rng(1).normal(size=(4000, 3)).astype("float32")
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.layers[0].kernel.assign([[2.0], [1.0], [0.0]])
    y = model(x).numpy()[:, 0]
    found = inspection.permutation_importance(model, x, y, scoring=written_out["r2"], n_repeats=5, random_state=0)
    np.testing.assert_allclose(found.importances_mean, [2 * 4 / 5, 2 * 1 / 5, 0.0], atol=0.03)
