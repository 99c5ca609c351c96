"""Group, non-convex, sorted, matrix and fused penalties: values in NumPy, and proximal steps by other algorithms."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import linalg, optimize, special

from tfopt.regularizers import (
    L1,
    L2,
    L2SP,
    L21,
    MCP,
    SCAD,
    SLOPE,
    GroupLasso,
    Hoyer,
    HoyerSquare,
    LHalf,
    LogSum,
    Nuclear,
    Orthogonality,
    SparseGroupLasso,
    Spectral,
    TotalVariation,
)

RNG = np.random.default_rng(7)
MATRIX = RNG.normal(size=(5, 3))
KERNEL = RNG.normal(size=(3, 2, 4, 5))


def value(penalty, x):
    return float(penalty(tf.constant(x)))


def proximal(penalty, x, step):
    return penalty.proximal(tf.constant(x), step).numpy()


def mcp(w, lam, gamma):
    w = np.abs(w)
    return np.where(w <= gamma * lam, lam * w - w**2 / (2 * gamma), gamma * lam**2 / 2)


def scad(w, lam, a):
    w = np.abs(w)
    middle = (2 * a * lam * w - w**2 - lam**2) / (2 * (a - 1))
    return np.select([w <= lam, w <= a * lam], [lam * w, middle], lam**2 * (a + 1) / 2)


def test_group_values():
    def norms(axes, x):
        return np.sqrt(np.sum(x**2, axis=axes))

    assert value(L21(0.3), MATRIX) == pytest.approx(0.3 * norms(1, MATRIX).sum(), rel=1e-12)
    square = 0.2 * (MATRIX**2).sum()
    assert value(L21(0.3, l2=0.2), MATRIX) == pytest.approx(value(L21(0.3), MATRIX) + square, rel=1e-12)
    np.testing.assert_allclose(proximal(L21(0.3, l2=0.2), MATRIX, 2.0), proximal(L21(0.3), MATRIX, 2.0) / 1.8)
    assert value(L21(0.3, "columns"), MATRIX) == pytest.approx(0.3 * norms(0, MATRIX).sum(), rel=1e-12)
    assert value(GroupLasso(0.3), MATRIX) == pytest.approx(0.3 * np.sqrt(3) * norms(1, MATRIX).sum(), rel=1e-12)
    filters, channels = norms((0, 1, 2), KERNEL).sum(), norms((0, 1, 3), KERNEL).sum()
    assert value(GroupLasso(0.3, "columns"), KERNEL) == pytest.approx(0.3 * np.sqrt(24) * filters, rel=1e-12)
    assert value(GroupLasso(0.3, "channels"), KERNEL) == pytest.approx(0.3 * np.sqrt(30) * channels, rel=1e-12)
    both = 0.2 * np.abs(KERNEL).sum() + 0.3 * np.sqrt(24) * filters
    assert value(SparseGroupLasso(0.2, 0.3, "columns"), KERNEL) == pytest.approx(both, rel=1e-12)
    assert value(L21(0.3), MATRIX[0]) == pytest.approx(0.3 * np.abs(MATRIX[0]).sum(), rel=1e-12)  # a bias


def test_elementwise_values():
    assert value(MCP(0.4, 2.5), MATRIX) == pytest.approx(mcp(MATRIX, 0.4, 2.5).sum(), rel=1e-12)
    assert value(SCAD(0.4, 3.0), MATRIX) == pytest.approx(scad(MATRIX, 0.4, 3.0).sum(), rel=1e-12)
    assert value(LogSum(0.4, 0.2), MATRIX) == pytest.approx(0.4 * np.log(1 + np.abs(MATRIX) / 0.2).sum(), rel=1e-12)
    assert value(LHalf(0.4, 1e-12), MATRIX) == pytest.approx(0.4 * np.sqrt(np.abs(MATRIX)).sum(), rel=1e-5)


def test_concentration_values():
    ratio = np.abs(MATRIX).sum() / np.sqrt((MATRIX**2).sum())
    assert value(Hoyer(0.4), MATRIX) == pytest.approx(0.4 * ratio, rel=1e-12)
    assert value(HoyerSquare(0.4), MATRIX) == pytest.approx(0.4 * ratio**2, rel=1e-12)
    assert value(HoyerSquare(1.0), 7.5 * MATRIX) == pytest.approx(ratio**2, rel=1e-12)  # no matter the scale
    falling = np.sort(np.abs(MATRIX).ravel())[::-1]
    rank = np.arange(1, 16)
    quantiles = -special.erfinv(2 * (rank * 0.2 / 30) - 1)  # Φ⁻¹ by the error function
    assert value(SLOPE(0.4, q=0.2), MATRIX) == pytest.approx(
        0.4 * np.sum(falling * quantiles / quantiles[0]), rel=1e-10
    )
    linear = 0.4 * np.sum(falling * (16 - rank) / 15)
    assert value(SLOPE(0.4, "linear"), MATRIX) == pytest.approx(linear, rel=1e-12)


def test_matrix_values():
    flat = KERNEL.reshape(-1, 5)
    for x, matrix in (
        (MATRIX, MATRIX),
        (1e-20 * MATRIX, 1e-20 * MATRIX),
        (KERNEL, flat),
        (MATRIX[0], MATRIX[0][:, None]),
    ):
        singular = linalg.svdvals(matrix)
        assert value(Nuclear(0.4), x) == pytest.approx(0.4 * singular.sum(), rel=1e-12, abs=0)
        assert value(Spectral(0.4), x) == pytest.approx(0.2 * singular[0] ** 2, rel=1e-12, abs=0)
    unit = MATRIX / linalg.norm(MATRIX, axis=0)
    cosines = [abs(unit[:, i] @ unit[:, j]) for i in range(3) for j in range(i)]
    assert value(Orthogonality(0.4), MATRIX) == pytest.approx(0.4 * np.mean(cosines), rel=1e-12)
    x = MATRIX.astype("float32")
    for mode in ("rows", "columns"):
        assert value(Orthogonality(0.4, mode), x) == pytest.approx(
            float(keras.regularizers.OrthogonalRegularizer(0.4, mode)(tf.constant(x))), rel=1e-5
        )
    assert value(Orthogonality(0.4), MATRIX[:, :1]) == 0.0  # one unit: NaN in Keras
    assert value(Orthogonality(0.4), linalg.qr(RNG.normal(size=(6, 6)))[0]) == pytest.approx(0, abs=1e-14)


def test_other_values():
    assert value(TotalVariation(0.4), MATRIX) == pytest.approx(0.4 * np.abs(np.diff(MATRIX, axis=0)).sum(), rel=1e-12)
    both = 0.4 * np.abs(np.diff(KERNEL, axis=1)).sum() + 0.1 * np.abs(KERNEL).sum()
    assert value(TotalVariation(0.4, 0.1, axis=1), KERNEL) == pytest.approx(both, rel=1e-12)
    assert value(L2SP(0.4, MATRIX + 0.5), MATRIX) == pytest.approx(0.4 * 15 * 0.25, rel=1e-12)
    assert value(L2SP(0.4), MATRIX) == pytest.approx(value(L2(0.4), MATRIX), rel=1e-15)


SMOOTH_AWAY_FROM_ZERO = [
    L21(0.3),
    GroupLasso(0.3, "channels"),
    SparseGroupLasso(0.2, 0.3, "columns"),
    MCP(0.4),
    SCAD(0.4),
    LogSum(0.4),
    LHalf(0.4),
    Hoyer(0.4),
    HoyerSquare(0.4),
    SLOPE(0.4),
    Nuclear(0.4),
    Spectral(0.4),
    Orthogonality(0.4),
    Orthogonality(0.4, "rows"),
    TotalVariation(0.4, 0.1, axis=1),
    L2SP(0.4, MATRIX * 0.5),
]


@pytest.mark.parametrize("penalty", SMOOTH_AWAY_FROM_ZERO, ids=lambda penalty: type(penalty).__name__)
def test_gradient_against_finite_differences(penalty):
    x = tf.Variable(MATRIX)
    with tf.GradientTape() as tape:
        cost = penalty(x)
    gradient = tape.gradient(cost, x).numpy()
    for index in np.ndindex(MATRIX.shape):
        shift = np.zeros_like(MATRIX)
        shift[index] = 1e-6
        slope = (value(penalty, MATRIX + shift) - value(penalty, MATRIX - shift)) / 2e-6
        assert gradient[index] == pytest.approx(slope, rel=1e-6, abs=1e-8)


OF_ANY_SHAPE = [*SMOOTH_AWAY_FROM_ZERO[:-2], TotalVariation(0.4, 0.1), L2SP(0.4)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "compiled"), [((4, 3), True), ((4, 1), False), ((1, 1), False), ((2, 2, 3, 4), False)]
)
def test_gradient_is_finite_at_zero(shape, compiled):
    def costs_and_slopes(x):
        found = []
        for penalty in OF_ANY_SHAPE:
            with tf.GradientTape() as tape:
                tape.watch(x)
                cost = penalty(x)
            found.append((cost, tape.gradient(cost, x)))
        return found

    measures = [costs_and_slopes, tf.function(costs_and_slopes, jit_compile=True)] if compiled else [costs_and_slopes]
    partly = np.zeros(shape, "float32")
    partly[0] = 1.0
    for x in (np.zeros(shape, "float32"), np.ones(shape, "float32"), partly, np.full(shape, 1e-30, "float32")):
        for measure in measures:
            for penalty, (cost, slope) in zip(OF_ANY_SHAPE, measure(tf.constant(x)), strict=True):
                assert np.isfinite(cost), penalty
                assert np.all(np.isfinite(slope)), penalty


@pytest.mark.parametrize("penalty", SMOOTH_AWAY_FROM_ZERO, ids=lambda penalty: type(penalty).__name__)
def test_a_stack_of_strengths(penalty):
    config = penalty.get_config()
    first = "l1" if isinstance(penalty, SparseGroupLasso) else "strength"
    stacked = type(penalty)(**{**config, first: [0.1, 0.7]})
    singles = [value(type(penalty)(**{**config, first: strength}), MATRIX) for strength in (0.1, 0.7)]
    np.testing.assert_allclose(stacked(tf.constant(MATRIX)), singles, rtol=1e-12)


@pytest.mark.parametrize("step", [0.05, 0.5, 2.0, 2.5, 3.0, 10.0])
@pytest.mark.parametrize(
    ("penalty", "cost"),
    [
        (MCP(0.6, 2.5), lambda w: mcp(w, 0.6, 2.5)),
        (SCAD(0.6, 3.5), lambda w: scad(w, 0.6, 3.5)),
        (LogSum(0.3, 0.2), lambda w: 0.3 * np.log1p(np.abs(w) / 0.2)),
    ],
    ids=["mcp", "scad", "log_sum"],
)
def test_nonconvex_proximal_steps_against_a_fine_grid(penalty, cost, step):
    x = np.array([-5.0, -2.3, -1.4, -0.6, -0.1, 0.0, 0.02, 0.31, 0.9, 1.7, 2.9, 8.0])
    grid = np.linspace(-9, 9, 360001)
    result = proximal(penalty, x, step)
    # Where two minima tie, either will do: compare what they cost.
    costs = (result - x) ** 2 / 2 + step * cost(result)
    best = np.min((grid[None, :] - x[:, None]) ** 2 / 2 + step * cost(grid)[None, :], axis=1)
    assert np.all(costs <= best + 1e-12)
    assert np.all(costs >= best - 1e-3)
    assert result[5] == 0


def numeric_minimum(penalty, x, step):
    """The proximal point by a smoothed general-purpose minimiser, from many digits of smoothing to few."""
    w = x.copy().ravel()
    for smoothing in (1e-2, 1e-4, 1e-6, 1e-8):

        def objective(w, smoothing=smoothing):
            return np.sum((w - x.ravel()) ** 2) / 2 + step * penalty(w.reshape(x.shape), smoothing)

        w = optimize.minimize(objective, w, method="BFGS", options={"gtol": 1e-10}).x
    return w.reshape(x.shape)


@pytest.mark.slow
@pytest.mark.parametrize("groups", ["rows", "columns"])
@pytest.mark.parametrize("step", [0.3, 1.0])
def test_group_proximal_steps_against_a_general_minimiser(groups, step):
    axis = {"rows": 1, "columns": 0}[groups]
    size = MATRIX.shape[axis]

    def smooth(l1, group):
        def penalty(w, smoothing):
            singles = np.sqrt(w**2 + smoothing**2).sum()
            return l1 * singles + group * np.sqrt((w**2).sum(axis=axis) + smoothing**2).sum()

        return penalty

    cases = [
        (L21(0.6, groups), smooth(0, 0.6)),
        (GroupLasso(0.6, groups), smooth(0, 0.6 * np.sqrt(size))),
        (SparseGroupLasso(0.4, 0.3, groups), smooth(0.4, 0.3 * np.sqrt(size))),
    ]
    for penalty, smoothed in cases:
        result = proximal(penalty, MATRIX, step)
        np.testing.assert_allclose(result, numeric_minimum(smoothed, MATRIX, step), atol=2e-4)
        alone = np.sqrt(np.sum(result**2, axis=axis))
        assert np.all((alone == 0) | (alone > 1e-3))  # gone, or there


def test_channel_groups_vanish_together():
    result = proximal(GroupLasso(0.5, "channels"), KERNEL, 1.0)
    size = np.sqrt(np.sum(KERNEL**2, axis=(0, 1, 3)))
    threshold = 0.5 * np.sqrt(30)
    expected = KERNEL * np.maximum(1 - threshold / size, 0)[:, None]
    np.testing.assert_allclose(result, expected, rtol=1e-12)
    small = KERNEL.copy()
    small[:, :, 1] *= 0.1
    assert np.all(proximal(GroupLasso(0.5, "channels"), small, 1.0)[:, :, 1] == 0)


@pytest.mark.parametrize("step", [0.2, 1.0, 4.0])
def test_nuclear_proximal_step(step):
    result = proximal(Nuclear(0.7), MATRIX, step)
    # Subgradient condition: (X − W)/(step·λ) = UVᵀ + M with UᵀM = 0, MV = 0, ‖M‖ <= 1.
    left, singular, right = linalg.svd(result, full_matrices=False)
    rank = int(np.sum(singular > 1e-10))
    residual = (MATRIX - result) / (0.7 * step)
    rest = residual - left[:, :rank] @ right[:rank]
    assert linalg.norm(left[:, :rank].T @ rest) < 1e-9
    assert linalg.norm(rest @ right[:rank].T) < 1e-9
    assert linalg.svdvals(residual)[0] <= 1 + 1e-9
    assert rank == np.sum(linalg.svdvals(MATRIX) > 0.7 * step)


def total_variation_by_the_dual(x, threshold):
    """min ½‖x − Dᵀu‖² over |u| <= threshold, by bounded least squares."""
    difference = np.diff(np.eye(len(x)), axis=0)
    dual = optimize.lsq_linear(difference.T, x, (-threshold, threshold), method="bvls", tol=1e-14).x
    return x - difference.T @ dual


@pytest.mark.slow
@pytest.mark.parametrize("threshold", [0.01, 0.2, 0.8, 3.0, 50.0])
@pytest.mark.parametrize("size", [1, 2, 3, 8, 40])
def test_total_variation_proximal_step_against_its_dual(size, threshold):
    rng = np.random.default_rng(size)
    x = np.stack(
        [rng.normal(size=size), np.repeat(rng.normal(size=size), 3)[:size], np.cumsum(rng.normal(size=size))], 1
    )
    result = proximal(TotalVariation(threshold), x, 1.0)
    expected = np.stack([total_variation_by_the_dual(x[:, c], threshold) if size > 1 else x[:, c] for c in range(3)], 1)
    np.testing.assert_allclose(result, expected, atol=1e-9)
    if threshold == 50.0:
        assert np.all(result == result[:1]) or size == 1  # one plateau, equal to the last bit


def test_fused_lasso_proximal_step_is_the_two_in_order():
    x = RNG.normal(size=(12, 2))
    fused = np.stack([total_variation_by_the_dual(x[:, c], 0.4) for c in range(2)], 1)
    expected = np.sign(fused) * np.maximum(np.abs(fused) - 0.1, 0)
    np.testing.assert_allclose(proximal(TotalVariation(0.8, 0.2), x, 0.5), expected, atol=1e-9)
    along = proximal(TotalVariation(0.8, 0.2, axis=-1), x.T.reshape(2, 1, 12), 0.5)
    np.testing.assert_allclose(along, expected.T.reshape(2, 1, 12), atol=1e-9)


PROXIMAL = [MCP(0.3), SCAD(0.3), LogSum(0.1), L21(0.3), GroupLasso(0.3), SparseGroupLasso(0.1, 0.2), Nuclear(0.3)]
PROXIMAL += [TotalVariation(0.3, 0.1), L2SP(0.3), L1(0.3)]


@pytest.mark.long("True")
@pytest.mark.slow
@pytest.mark.parametrize("jit_compile", [False, True])
def test_proximal_step_in_a_graph(jit_compile):
    x, step = tf.constant(MATRIX), tf.constant(0.5, tf.float64)
    all_traced = tf.function(lambda: [one.proximal(x, step) for one in PROXIMAL], jit_compile=jit_compile)()
    for penalty, traced in zip(PROXIMAL, all_traced, strict=True):
        # XLA decomposes in singular values to about 1e-6, whatever the dtype.
        tolerance = 5e-6 if jit_compile and isinstance(penalty, Nuclear) else 1e-12
        np.testing.assert_allclose(traced, penalty.proximal(x, step), atol=tolerance, err_msg=repr(penalty))
        float32 = penalty.proximal(tf.cast(x, tf.float32), tf.constant(0.5))
        assert float32.dtype == tf.float32
        np.testing.assert_allclose(float32, traced, atol=1e-5, err_msg=repr(penalty))


def test_half_precision_weights():
    x = tf.constant(MATRIX, tf.float16)
    for penalty in [*SMOOTH_AWAY_FROM_ZERO[:-1], L2SP(0.3)]:
        result = penalty(x)
        assert result.dtype == tf.float16
        assert float(result) == pytest.approx(
            value(penalty, MATRIX) if not isinstance(penalty, L2SP) else 0.3 * (MATRIX**2).sum(), rel=2e-2
        )


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: GroupLasso(0.1, groups="blocks"), "`groups` of GroupLasso must be one of"),
        (lambda: MCP(0.1, gamma=0), "`gamma` of MCP must be > 0"),
        (lambda: SCAD(0.1, a=2), "`a` of SCAD must be > 2"),
        (lambda: SLOPE(0.1, q=1), "`q` of SLOPE"),
        (lambda: Orthogonality(0.1, mode="both"), "`mode` of Orthogonality"),
        (lambda: LogSum(0.1, epsilon=0), "`epsilon` of LogSum"),
        (lambda: TotalVariation(0.1, axis=2)(tf.ones((2, 2))), "`axis` of TotalVariation"),
        (lambda: L2SP(0.1, np.ones(3))(tf.ones(4)), "`reference` of L2SP must have the weight's shape"),
        (lambda: Nuclear(-0.1), "`strength` of Nuclear must be >= 0"),
    ],
)
def test_bad_arguments(make, text):
    with pytest.raises(ValueError, match=text):
        make()
