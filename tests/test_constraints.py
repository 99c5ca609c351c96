"""Projections: against a general minimiser, their own definition, and inside of a model."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import optimize

import tfopt
from tfopt import constraints
from tfopt.constraints import Box, L1Ball, L2Ball, Simplex, SpectralBall

RNG = np.random.default_rng(3)
ALL = [
    Box(-0.3, 0.4),
    L1Ball(1.5),
    L1Ball(0.7, axis=1),
    L2Ball(0.9),
    L2Ball(0.5, axis=[0]),
    Simplex(),
    SpectralBall(0.8),
]


def project(constraint, w):
    return constraint(tf.constant(w)).numpy()


def nearest(w, conditions, start):
    result = optimize.minimize(
        lambda v: np.sum((v - w) ** 2), start, jac=lambda v: 2 * (v - w), constraints=conditions, method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )  # fmt: skip
    return result.x


@pytest.mark.parametrize("total", [0.3, 1.0, 4.0])
def test_simplex(total):
    w = RNG.normal(size=(6, 2))
    result = project(Simplex(total), w)
    sums_up = {"type": "eq", "fun": lambda v: v.sum() - total}
    positive = {"type": "ineq", "fun": lambda v: v}
    for column in range(2):
        expected = nearest(w[:, column], [sums_up, positive], np.full(6, total / 6))
        np.testing.assert_allclose(result[:, column], expected, atol=1e-6)
    np.testing.assert_allclose(result.sum(axis=0), total, rtol=1e-12)
    assert np.all(result >= 0)
    np.testing.assert_allclose(project(Simplex(total, axis=-1), w.T), result.T, atol=1e-12)


def test_l1_ball():
    w = RNG.normal(size=5)
    split = lambda v: v[:5] - v[5:]  # noqa: E731 - the ball as a simplex of positive and negative parts
    result = optimize.minimize(
        lambda v: np.sum((split(v) - w) ** 2), np.full(10, 0.05), bounds=[(0, None)] * 10, method="SLSQP",
        constraints={"type": "ineq", "fun": lambda v: 1.0 - v.sum()}, options={"ftol": 1e-15, "maxiter": 500},
    )  # fmt: skip
    np.testing.assert_allclose(project(L1Ball(1.0), w), split(result.x), atol=1e-5)
    matrix = RNG.normal(size=(4, 3))
    assert np.abs(project(L1Ball(1.0), matrix)).sum() == pytest.approx(1.0, rel=1e-12)
    np.testing.assert_allclose(np.abs(project(L1Ball(0.5, axis=0), matrix)).sum(axis=0), 0.5, rtol=1e-12)
    assert np.any(project(L1Ball(0.5), matrix) == 0)
    np.testing.assert_allclose(project(L1Ball(1.0), np.full(3, 0.6)), 1 / 3, rtol=1e-12)  # no single one is outside


def test_l2_ball_and_box():
    matrix = RNG.normal(size=(4, 3))
    np.testing.assert_allclose(project(L2Ball(0.5), matrix), 0.5 * matrix / np.linalg.norm(matrix), rtol=1e-12)
    lengths = np.linalg.norm(matrix, axis=0)
    expected = matrix * np.minimum(1, 1.5 / lengths)
    np.testing.assert_allclose(project(L2Ball(1.5, axis=0), matrix), expected, rtol=1e-12)
    np.testing.assert_array_equal(project(Box(-0.2, 0.3), matrix), np.clip(matrix, -0.2, 0.3))


def test_spectral_ball():
    matrix = RNG.normal(size=(2, 3, 4))
    left, singular, right = np.linalg.svd(matrix.reshape(6, 4), full_matrices=False)
    expected = (left * np.minimum(singular, 1.0)) @ right
    np.testing.assert_allclose(project(SpectralBall(1.0), matrix).reshape(6, 4), expected, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("constraint", ALL, ids=repr)
def test_every_projection(constraint):
    for w in (RNG.normal(size=(4, 3)), np.zeros((4, 3)), np.ones((4, 3))):
        once = project(constraint, w)
        assert np.all(np.isfinite(once))
        np.testing.assert_allclose(project(constraint, once), once, atol=1e-12)  # what is inside stays
        other = project(constraint, w + 0.1 * RNG.normal(size=w.shape))
        if not isinstance(constraint, SpectralBall):
            traced = tf.function(constraint, jit_compile=True)(tf.constant(w))
            np.testing.assert_allclose(traced, once, atol=1e-12)
        assert np.linalg.norm(w - once) <= np.linalg.norm(w - other) + 1e-12  # no nearer point of the set


@pytest.mark.slow
@pytest.mark.parametrize("constraint", ALL, ids=repr)
def test_in_a_model(constraint, tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, kernel_constraint=constraint)])
    model.compile("sgd", "mse")
    model.fit(RNG.normal(size=(16, 4)), RNG.normal(size=(16, 3)), verbose=0)
    kernel = model.get_weights()[0]
    np.testing.assert_allclose(project(constraint, kernel.astype("float64")), kernel, atol=1e-5)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.layers[0].kernel_constraint.get_config() == constraint.get_config()
    assert json.loads(json.dumps(constraint.get_config())) == constraint.get_config()


def test_radius_may_change():
    radius = keras.Variable(1.0)
    constraint = L2Ball(radius)
    traced = tf.function(constraint)
    w = tf.constant([3.0, 4.0])
    assert float(tf.norm(traced(w))) == pytest.approx(1.0)
    radius.assign(2.0)
    assert float(tf.norm(traced(w))) == pytest.approx(2.0)


def test_get():
    assert isinstance(constraints.get("simplex"), Simplex)
    assert isinstance(constraints.get("l1_ball"), L1Ball)
    assert isinstance(constraints.get("max_norm"), keras.constraints.MaxNorm)
    assert constraints.deserialize(constraints.serialize(Box(-2, 3))).get_config() == {"low": -2.0, "high": 3.0}
    with pytest.raises(ValueError, match="Unknown constraint: 'ball'"):
        tfopt.constraints.get("ball")


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: Box(1, -1), ValueError, "`low` of Box must be <= `high`"),
        (lambda: Box("a"), TypeError, "`low` of Box must be a number"),
        (lambda: L1Ball(-1), ValueError, "`radius` of L1Ball"),
        (lambda: Simplex(float("nan")), ValueError, "`total` of Simplex"),
        (lambda: SpectralBall(None), TypeError, "`radius` of SpectralBall"),
    ],
)
def test_bad_arguments(make, error, text):
    with pytest.raises(error, match=text):
        make()
