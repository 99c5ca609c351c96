"""Orthogonal, identity, sparse and architecture-aware initializers: their definitions, with sampling bounds."""

import keras
import numpy as np
import pytest

import tfopt
from tfopt.initializers import (
    SIREN,
    DeepNorm,
    DeltaOrthogonal,
    DepthScaled,
    Dirac,
    Fixup,
    MuP,
    Normal,
    Orthogonal,
    PriorBias,
    Sparse,
    ZerO,
    mup_learning_rate_factor,
)


def values(initializer, shape):
    return keras.ops.convert_to_numpy(initializer(shape)).astype(np.float64)


@pytest.mark.parametrize("shape", [(6, 6), (9, 4), (4, 9), (3, 3, 2, 8), (2, 3, 20)], ids=str)
def test_orthogonal(shape):
    w = values(Orthogonal(gain=1.5, seed=1), shape).reshape(-1, shape[-1]) / 1.5
    product = w.T @ w if w.shape[0] >= w.shape[1] else w @ w.T
    np.testing.assert_allclose(product, np.eye(len(product)), atol=1e-5)


def test_orthogonal_is_drawn_evenly():
    """The sign correction: without it the diagonal of Q leans to one side."""
    diagonals = [values(Orthogonal(seed=seed), (3, 3))[0, 0] for seed in range(300)]
    assert abs(np.mean(diagonals)) < 5 * np.sqrt(1 / 3 / 300)  # E = 0, E[q²] = 1/3


def test_delta_orthogonal_keeps_the_length_of_the_signal():
    w = values(DeltaOrthogonal(seed=1), (3, 5, 4, 6))
    centre = w[1, 2]
    np.testing.assert_allclose(centre @ centre.T, np.eye(4), atol=1e-5)
    assert np.count_nonzero(w) == np.count_nonzero(centre)
    layer = keras.layers.Conv2D(8, 3, padding="same", use_bias=False, kernel_initializer=DeltaOrthogonal(seed=2))
    x = np.random.default_rng(0).normal(size=(2, 7, 7, 5)).astype("float32")
    assert np.sum(np.square(layer(x))) == pytest.approx(np.sum(x**2), rel=1e-5)


@pytest.mark.parametrize("groups", [1, 2])
def test_dirac_hands_its_input_on(groups):
    x = np.random.default_rng(0).normal(size=(2, 6, 6, 4)).astype("float32")
    layer = keras.layers.Conv2D(4, 3, padding="same", groups=groups, kernel_initializer=Dirac(2.0, groups=groups))
    np.testing.assert_allclose(layer(x), 2 * x, rtol=1e-6)
    even = keras.layers.Conv2D(4, (2, 4), padding="same", groups=groups, kernel_initializer=Dirac(groups=groups))
    np.testing.assert_allclose(even(x), x, rtol=1e-6)
    dense = keras.layers.Dense(6, kernel_initializer=Dirac())
    np.testing.assert_array_equal(dense(x)[..., :4], x)
    assert np.all(dense(x)[..., 4:] == 0)


def test_zero():
    np.testing.assert_array_equal(values(ZerO(), (4, 4)), np.eye(4))
    np.testing.assert_array_equal(values(ZerO(), (4, 2)), np.eye(4, 2))
    wide = values(ZerO(), (3, 8))
    np.testing.assert_allclose(np.abs(wide), 2 ** (-1.0))  # c = 2^(−(3−1)/2)
    np.testing.assert_allclose(wide @ wide.T, 8 / 4 * np.eye(3), atol=1e-6)
    assert len(np.unique(wide, axis=1).T) == 4  # 2³⁻¹ unlike columns for three inputs
    np.testing.assert_array_equal(values(ZerO(), (3, 3, 2, 2))[1, 1], np.eye(2))


def test_sparse():
    w = values(Sparse(connections=15, stddev=2.0, seed=1), (300, 400))
    np.testing.assert_array_equal(np.count_nonzero(w, axis=0), 15)
    kept = w[w != 0]
    assert np.std(kept) == pytest.approx(2.0, rel=5 / np.sqrt(2 * kept.size))
    assert abs(np.corrcoef(w[:, 0], w[:, 1])[0, 1]) < 0.5
    np.testing.assert_array_equal(np.count_nonzero(values(Sparse(10), (4, 3)), axis=0), 4)


@pytest.mark.parametrize(
    ("initializer", "expected"),
    [
        (Normal(0.01, seed=1), 0.01),
        (DepthScaled(12, seed=1), 0.02 / np.sqrt(24)),
        (DepthScaled(12, 0.05, branches=1, seed=1), 0.05 / np.sqrt(12)),
        (Fixup(16, 2, seed=1), np.sqrt(2 / 200) / 4),
        (Fixup(16, 3, gain=2.0, seed=1), 2 * np.sqrt(2 / 200) / 2),
        (DeepNorm(18, seed=1), np.sqrt(2 / 1200) / 144**0.25),
        (SIREN(seed=1), np.sqrt(2 / 200) / 30),
        (SIREN(first=True, seed=1), 1 / 200 / np.sqrt(3)),
        (MuP("input", seed=1), np.sqrt(1 / 200)),
        (MuP("hidden", 1.5, seed=1), 1.5 * np.sqrt(1 / 200)),
        (MuP("output", seed=1), 1 / 200),
    ],
    ids=repr,
)
def test_spread(initializer, expected):
    w = values(initializer, (200, 1000))
    assert np.std(w) == pytest.approx(expected, rel=5 * np.sqrt(2 / (4 * w.size)))
    assert abs(np.mean(w)) < 5 * expected / np.sqrt(w.size)


def test_bounds_of_siren():
    assert np.max(np.abs(values(SIREN(omega=10.0, seed=1), (50, 400)))) <= np.sqrt(6 / 50) / 10
    assert np.max(np.abs(values(SIREN(first=True, seed=1), (50, 400)))) <= 1 / 50


def test_siren_keeps_the_spread_of_sines_through_depth():
    rng = np.random.default_rng(0)
    signal = rng.uniform(-1, 1, size=(2000, 64))
    spreads = []
    for depth in range(6):
        signal = np.sin(30 * signal @ values(SIREN(first=depth == 0, seed=depth), (64 if depth == 0 else 256, 256)))
        spreads.append(np.std(signal))
    # sin(N(0, s²)) has the variance (1 − exp(−2s²))/2, and s² = 2·variance: its fixed point is 0.3984.
    np.testing.assert_allclose(spreads[2:], np.sqrt(0.3984), atol=0.015)


def test_fixup_last_layer_is_zero():
    assert np.all(values(Fixup(8, last=True), (5, 6)) == 0)


def test_deepnorm_and_mup_factors():
    assert DeepNorm(18).residual_scale == pytest.approx(36**0.25)
    assert mup_learning_rate_factor("hidden", 512, 64) == mup_learning_rate_factor("output", 512, 64) == 0.125
    assert mup_learning_rate_factor("input", 512, 64) == 1.0


def test_mup_keeps_the_update_of_the_output_as_the_width_grows():
    """After one step of Adam's size, the outputs move equally far at every width."""
    moves = []
    for width in (64, 256, 1024):
        rng = np.random.default_rng(width)
        hidden = rng.normal(size=(200, width))
        step = np.sign(hidden.mean(axis=0)) * 0.01 * mup_learning_rate_factor("output", width, 64)
        moves.append(np.abs(hidden.mean(axis=0) @ step))
    assert np.ptp(moves) / np.mean(moves) < 0.2


def test_prior_bias():
    assert values(PriorBias(0.01), (3,)) == pytest.approx(np.log(0.01 / 0.99))
    layer = keras.layers.Dense(3, activation="softmax", kernel_initializer="zeros",
                               bias_initializer=PriorBias([0.7, 0.2, 0.1], "softmax"))  # fmt: skip
    np.testing.assert_allclose(layer(np.ones((1, 4)))[0], [0.7, 0.2, 0.1], rtol=1e-6)
    sigmoid = keras.layers.Dense(2, activation="sigmoid", kernel_initializer="zeros",
                                 bias_initializer=PriorBias([0.7, 0.2]))  # fmt: skip
    np.testing.assert_allclose(sigmoid(np.ones((1, 4)))[0], [0.7, 0.2], rtol=1e-6)


def test_get():
    assert isinstance(tfopt.initializers.get("delta_orthogonal"), DeltaOrthogonal)
    assert isinstance(tfopt.initializers.get("lecun"), tfopt.initializers.LeCun)
    assert isinstance(tfopt.initializers.get("he_normal"), keras.initializers.HeNormal)
    assert isinstance(tfopt.initializers.get("zeros"), keras.initializers.Zeros)
    config = tfopt.initializers.serialize(Fixup(4, 3, gain=0.5, seed=2))
    assert tfopt.initializers.deserialize(config).get_config() == Fixup(4, 3, gain=0.5, seed=2).get_config()
    with pytest.raises(ValueError, match=r"Unknown initializer: 'hee'. Did you mean 'he'. tfopt has: .*he, "):
        tfopt.initializers.get("hee")


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: Orthogonal()((3,)), ValueError, "two or more axes"),
        (lambda: DeltaOrthogonal()((3, 3, 8, 4)), ValueError, "in <= out"),
        (lambda: Dirac(groups=3)((4, 4)), ValueError, "units that the groups divide"),
        (lambda: Sparse(0), ValueError, "`connections` of Sparse must be >= 1"),
        (lambda: Fixup(4, layers_per_branch=1), ValueError, "`layers_per_branch` of Fixup must be >= 2"),
        (lambda: SIREN(omega=0), ValueError, "`omega` of SIREN"),
        (lambda: MuP("first"), ValueError, "`role` of MuP"),
        (lambda: mup_learning_rate_factor("hidden", 0, 1), ValueError, "`width`"),
        (lambda: PriorBias(1.2), ValueError, "`probability` of PriorBias"),
        (lambda: PriorBias(0.0)((1,)), ValueError, "must be > 0 and < 1"),
        (lambda: PriorBias([0.1, 0.2])((3,)), ValueError, "one for each unit"),
        (lambda: DeepNorm(1.5), TypeError, "`num_layers` of DeepNorm must be a whole number"),
    ],
)
def test_bad_arguments(make, error, text):
    with pytest.raises(error, match=text):
        make()
