"""The written-out methods against SciPy's linear algebra and Keras, and the tutorial's Adam that does not converge."""

import numpy as np
import pytest

# As the tutorials print it, names apart.
IN_PLACE = """
import numpy as np
x = np.array([[1, 2], [2, 4], [3, 6]])
y = np.array([1, 3, 5])
theta = np.zeros(2)
m, v = np.zeros(2), np.zeros(2)
for t in range(1, 1001):
    gradient = x.T @ (x @ theta - y) / len(y)
    m = 0.9 * m + 0.1 * gradient
    v = 0.999 * v + 0.001 * gradient**2
    m = m / (1 - 0.9**t)
    v = v / (1 - 0.999**t)
    theta = theta - 0.01 * m / (np.sqrt(v) + 1e-8)
"""


@pytest.fixture(scope="module")
def ran(recipe_names):
    return recipe_names("gradient_descent_and_adam")


def test_the_usual_adam_does_not_converge(ran):
    names = {}
    with np.errstate(over="ignore"):
        exec(IN_PLACE, names)  # the tutorial's program
    x, y = names["x"], names["y"]
    usual = np.mean((x @ names["theta"] - y) ** 2)
    least = np.mean((x @ np.linalg.pinv(x) @ y - y) ** 2)
    assert usual == pytest.approx(11.107, abs=0.001)
    assert least == pytest.approx(1 / 7)
    assert ran["ends"]["Adam in place"] == pytest.approx(usual)
    assert ran["ends"]["Adam"] == pytest.approx(least, abs=1e-4)
    # However many steps it takes, it goes about 1.29 learning rates far.
    np.testing.assert_allclose(names["theta"], 0.01287, atol=1e-5)


def test_the_same_numbers_as_keras(ran):
    assert max(ran["differences"].values()) < 1e-12
    assert 1e-8 < max(ran["rounded"].values()) < 1e-5  # 0.9 and 0.999 as float32 has them
    assert ran["claims"]["gd-same-numbers-as-keras"].settled == "holds"


def test_gradient_descent_and_momentum_against_their_matrices(ran):
    """On a quadratic both are linear maps, whose powers say where θ is after any number of steps."""
    a, c = (part[1] for part in ran["PROBLEMS"]["quadratic, turned"])
    best, size, rate = np.linalg.solve(a, c), len(c), 0.5
    shrink = np.eye(size) - rate * a
    theta, state = np.zeros(size), {}
    for _ in range(50):
        theta = ran["gradient_descent"](theta, a @ theta - c, state, rate)
    np.testing.assert_allclose(theta - best, np.linalg.matrix_power(shrink, 50) @ -best, rtol=1e-9)
    both = np.block([[shrink, 0.9 * np.eye(size)], [-rate * a, 0.9 * np.eye(size)]])
    theta, state = np.zeros(size), {}
    for _ in range(50):
        theta = ran["momentum"](theta, a @ theta - c, state, rate)
    expected = np.linalg.matrix_power(both, 50) @ np.concatenate([-best, np.zeros(size)])
    np.testing.assert_allclose(theta - best, expected[:size], rtol=1e-9)


def test_the_first_steps_of_rmsprop_and_adam_by_hand(ran):
    gradient = np.array([3.0, -0.02])
    step = ran["rmsprop"](np.zeros(2), gradient, {}, 0.1)
    np.testing.assert_allclose(step, [-0.1 / 0.1**0.5, 0.1 / 0.1**0.5], rtol=2e-3)
    state = {}
    theta = ran["adam"](np.zeros(2), gradient, state, 0.1)
    np.testing.assert_allclose(theta, [-0.1, 0.1], rtol=1e-3)  # bias-corrected: one learning rate each
    # m̂ = (0.09·3 − 0.1)/0.19 and v̂ = (0.000999·9 + 0.001)/0.001999 for a second gradient of −1.
    second = ran["adam"](theta, np.array([-1.0, 0.0]), state, 0.1)[0] - theta[0]
    assert second == pytest.approx(-0.1 * (0.17 / 0.19) / np.sqrt(0.009991 / 0.001999), rel=1e-4)


def test_the_closed_form_is_scikit_learns(ran):
    from sklearn.linear_model import LinearRegression

    a, c = (part[0] for part in ran["PROBLEMS"]["diabetes"])
    fitted = LinearRegression().fit(ran["x"][:, :-1], ran["y"])
    found = np.linalg.solve(a, c) + ran["begin"][0]
    np.testing.assert_allclose(found, [*fitted.coef_, fitted.intercept_], atol=1e-9)


def test_errors_begin_at_one_and_the_best_rate_descends(ran):
    errors, _ = ran["descend"]("momentum", *ran["PROBLEMS"]["quadratic"], [0.1, 1e6], 30)
    assert np.all(errors[0] == 1)
    assert np.all(errors[-1, 0] < 0.5)
    assert np.all(errors[-1, 1] == 1e30)  # diverged, not NaN
