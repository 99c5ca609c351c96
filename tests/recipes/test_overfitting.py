"""Numbers of the recipe on overfitting against closed forms, and the tutorials' snippets run as they stand."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn import datasets, linear_model

import tfopt


def test_the_textbooks_normal_equation_is_ridge():
    """J = 1/2m Σ(h − y)² + λ/2m Σθ², the intercept free: θ = (XᵀX + λI)⁻¹ Xᵀy of centred columns."""
    x, y = datasets.load_diabetes(return_X_y=True)
    centred = x - x.mean(axis=0)
    for strength in (0.1, 10.0):
        theta = np.linalg.solve(centred.T @ centred + strength * np.eye(10), centred.T @ (y - y.mean()))
        np.testing.assert_allclose(theta, linear_model.Ridge(strength).fit(x, y).coef_, rtol=1e-8)


def test_max_iter_does_nothing_in_ridges_default_solver():
    x, y = datasets.load_diabetes(return_X_y=True)
    short, long = (linear_model.Ridge(0.1, max_iter=count).fit(x, y) for count in (1, 10_000))
    np.testing.assert_array_equal(short.coef_, long.coef_)
    assert short.n_iter_ is None
    slow = linear_model.Ridge(0.1, max_iter=1, solver="sag", random_state=0)
    with pytest.warns(UserWarning, match="max_iter was reached"):
        assert not np.allclose(slow.fit(x, y).coef_, long.coef_)


def test_lasso_sets_three_of_ten_to_zero_and_ridge_none():
    """Checked by Lasso's own condition: a column of weight 0 has a correlation with the residual below α."""
    x, y = datasets.load_diabetes(return_X_y=True)
    lasso = linear_model.Lasso(0.1).fit(x, y)
    pull = np.abs((x - x.mean(axis=0)).T @ (y - lasso.predict(x))) / len(x)
    assert np.sum(lasso.coef_ == 0) == 3
    np.testing.assert_array_equal(lasso.coef_ == 0, pull < 0.1 - 1e-4)
    assert np.all(linear_model.Ridge(0.1).fit(x, y).coef_ != 0)


def test_a_norm_pulls_with_one_strength_whatever_the_weights():
    for size in (1.0, 100.0):
        weights = tf.Variable([3.0 * size, -4.0 * size])
        with tf.GradientTape(persistent=True) as tape:
            norm, squared = tf.norm(weights), keras.regularizers.L2(1.0)(weights)
        np.testing.assert_allclose(tape.gradient(norm, weights), [0.6, -0.8], rtol=1e-6)
        np.testing.assert_allclose(tape.gradient(squared, weights), [6.0 * size, -8.0 * size], rtol=1e-6)


def test_the_tutorials_penalty_in_pytorch_does_not_run():
    torch = pytest.importorskip("torch")
    network = torch.nn.Linear(3, 1)
    with pytest.raises((AttributeError, TypeError)):  # by its version: a generator has no layout
        torch.norm(network.parameters())
    with pytest.raises(AttributeError):
        torch.nn.L2Loss  # noqa: B018


@pytest.mark.long
def test_dropout_that_stays_on_adds_its_variance_to_the_test_loss():
    """h Σ w m/(1 − p): at p = ½ each product w² adds w² to the mean squared error of a network that is right."""
    weights = np.array([1.0, -2.0, 3.0], "float32")
    model = keras.Sequential([keras.Input((3,)), tfopt.layers.Dropout(0.5, seed=0), keras.layers.Dense(1)])
    model.layers[-1].kernel.assign(weights[:, None])
    x = np.ones((40_000, 3), "float32")
    truth = weights.sum()
    assert float(tf.reduce_mean((model(x) - truth) ** 2)) == pytest.approx(0.0, abs=1e-9)
    on = float(tf.reduce_mean((model(x, training=True) - truth) ** 2))
    assert on == pytest.approx(np.sum(weights**2), rel=0.03)
    model.compile(loss="mse")
    assert model.evaluate(x, np.full((len(x), 1), truth), verbose=0) == pytest.approx(0.0, abs=1e-9)


def test_a_rate_variable_shared_by_layers_changes_all_without_a_new_graph():
    rate = keras.Variable(0.0, trainable=False)
    layers = [tfopt.layers.Dropout(rate, seed=place) for place in range(2)]
    traces = []

    @tf.function
    def both(x):
        traces.append(x)
        return layers[1](layers[0](x, training=True), training=True)

    x = tf.ones((1, 10_000))
    assert float(tf.reduce_mean(tf.cast(both(x) == 0, "float32"))) == 0.0
    rate.assign(0.5)
    assert float(tf.reduce_mean(tf.cast(both(x) == 0, "float32"))) == pytest.approx(0.75, abs=0.02)
    assert len(traces) == 1
