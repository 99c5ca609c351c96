"""L1, L2 and their sums: values by hand, slopes, steps against brute force, live strengths."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfopt
from tfopt.regularizers import L1, L1L2, L2, ElasticNet, TextbookL2

WEIGHT = np.array([[1.0, -2.0], [0.5, 0.0]])


@pytest.mark.parametrize(
    ("penalty", "value"),
    [
        (L1(0.1), 0.35),
        (L2(0.1), 0.525),
        (L1L2(0.1, 0.2), 1.4),
        (ElasticNet(0.2, 0.25), 0.05 * 3.5 + 0.075 * 5.25),
        (TextbookL2(3, 50), 3 / 50 * 5.25),
        (TextbookL2(3, 50, loss="crossentropy"), 3 / 100 * 5.25),
    ],
    ids=repr,
)
def test_value_in_float64(penalty, value):
    result = penalty(keras.ops.convert_to_tensor(WEIGHT, dtype="float64"))
    assert float(result) == pytest.approx(value, rel=1e-15)  # no strength goes through float32


def test_equals_keras():
    x = keras.ops.convert_to_tensor(WEIGHT, dtype="float32")
    assert float(L1(0.3)(x)) == float(keras.regularizers.L1(0.3)(x))
    assert float(L2(0.3)(x)) == float(keras.regularizers.L2(0.3)(x))
    assert float(L1L2(0.3, 0.7)(x)) == float(keras.regularizers.L1L2(0.3, 0.7)(x))


def test_configs_are_exact():
    assert L1(0.01).get_config() == {"l1": 0.01}  # Keras's own L1 says 0.009999999776482582
    assert L1(keras.Variable(0.3)).get_config() == {"l1": 0.3}
    assert L1L2([0.1, 0.2], tf.Variable(0.7)).get_config() == {"l1": [0.1, 0.2], "l2": 0.7}
    assert repr(ElasticNet(0.1, 0.9)) == "ElasticNet(strength=0.1, l1_ratio=0.9)"

    @tf.function
    def inside(strength):
        with pytest.raises(TypeError, match="inside a graph"):
            L1(strength).get_config()
        return strength

    inside(tf.constant(0.5))


def test_strength_may_change_inside_a_traced_function():
    strength = keras.Variable(1.0)
    for penalty, factor in ((L1(strength), 3.5), (L2(strength), 5.25), (TextbookL2(strength, 10), 0.525)):
        traced = tf.function(penalty, jit_compile=True)
        x = tf.constant(WEIGHT, tf.float32)
        strength.assign(1.0)
        assert float(traced(x)) == pytest.approx(factor, rel=1e-6)
        strength.assign(4.0)
        assert float(traced(x)) == pytest.approx(4 * factor, rel=1e-6)
        assert traced.experimental_get_tracing_count() == 1


def test_strength_changes_while_a_model_trains():
    strength = keras.Variable(0.0, trainable=False)
    layer = keras.layers.Dense(1, use_bias=False, kernel_regularizer=L2(strength), kernel_initializer="ones")
    model = keras.Sequential([keras.Input((3,)), layer])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    x, y = np.zeros((4, 3), "float32"), np.zeros((4, 1), "float32")
    losses = []
    for value in (0.0, 0.5, 2.0):
        strength.assign(value)
        losses.append(model.fit(x, y, verbose=0).history["loss"][0])
    assert losses == pytest.approx([0.0, 1.5, 6.0])


def test_a_stack_of_strengths_gives_a_stack_of_penalties():
    x = tf.constant(WEIGHT)
    np.testing.assert_allclose(L1([0.1, 0.2])(x), [0.35, 0.7])
    np.testing.assert_allclose(L1L2([0.1, 0.2], 1.0)(x), [5.6, 5.95])
    np.testing.assert_allclose(ElasticNet(1.0, [0.0, 1.0])(x), [2.625, 3.5])
    per_member = tf.vectorized_map(lambda member: L2(member[0])(member[1]), (tf.constant([0.1, 0.2]), tf.ones((2, 3))))
    np.testing.assert_allclose(per_member, [0.3, 0.6], rtol=1e-6)


@pytest.mark.parametrize(
    "penalty", [L1(0.7), L2(0.7), L1L2(0.7, 0.4), ElasticNet(0.9, 0.3), TextbookL2(2, 5)], ids=repr
)
@pytest.mark.parametrize("step", [0.1, 1.0, 3.0])
def test_proximal_step_against_a_fine_grid(penalty, step):
    x = np.array([-3.0, -0.6, -0.05, 0.0, 0.3, 1.1, 4.0])
    grid = np.linspace(-5, 5, 200001)
    costs = _costs(penalty, grid)
    result = penalty.proximal(tf.constant(x), step).numpy()
    expected = grid[np.argmin((grid[None, :] - x[:, None]) ** 2 / 2 + step * costs[None, :], axis=1)]
    np.testing.assert_allclose(result, expected, atol=5.1e-5)


def _costs(penalty, grid):
    """The penalty of each grid value alone, written out again in NumPy."""
    l1, l2 = {
        "L1": lambda c: (c["l1"], 0),
        "L2": lambda c: (0, c["l2"]),
        "L1L2": lambda c: (c["l1"], c["l2"]),
        "ElasticNet": lambda c: (c["strength"] * c["l1_ratio"], c["strength"] * (1 - c["l1_ratio"]) / 2),
        "TextbookL2": lambda c: (0, c["strength"] / c["num_samples"]),
    }[type(penalty).__name__](penalty.get_config())
    return l1 * np.abs(grid) + l2 * grid**2


def test_zeros_of_the_soft_threshold_are_exact():
    result = L1(0.5).proximal(tf.constant([0.3, -0.5, 0.5000001, -2.0]), 1.0).numpy()
    assert list(result == 0) == [True, True, False, False]


def test_get():
    assert isinstance(tfopt.regularizers.get("l1"), L1)
    assert isinstance(tfopt.regularizers.get("elastic_net"), ElasticNet)
    assert isinstance(tfopt.regularizers.get("ElasticNet"), ElasticNet)
    assert isinstance(tfopt.regularizers.get("orthogonal_regularizer"), keras.regularizers.OrthogonalRegularizer)
    assert tfopt.regularizers.get(None) is None
    assert isinstance(tfopt.regularizers.get(L2), L2)
    penalty = L1L2(0.1, 0.2)
    assert tfopt.regularizers.get(penalty) is penalty
    config = tfopt.regularizers.serialize(penalty)
    assert tfopt.regularizers.deserialize(config).get_config() == {"l1": 0.1, "l2": 0.2}
    assert tfopt.regularizers.get(config).get_config() == {"l1": 0.1, "l2": 0.2}
    with pytest.raises(ValueError, match=r"Unknown regularizer: 'l3'. Did you mean 'l2'. tfopt has: .*elastic_net"):
        tfopt.regularizers.get("l3")


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), [0.1, -0.1]])
def test_bad_strength(value):
    for make in (L1, L2, L1L2, ElasticNet, TextbookL2):
        with pytest.raises(ValueError, match=r"must be (>= 0|finite). Received"):
            make(value)


@pytest.mark.parametrize("value", ["0.1", None, True, object()])
def test_strength_of_a_wrong_type(value):
    with pytest.raises(TypeError, match="must be a number, a list of numbers, a tensor or a variable"):
        L1(value)


def test_other_bad_arguments():
    with pytest.raises(ValueError, match="<= 1"):
        ElasticNet(0.1, l1_ratio=1.5)
    with pytest.raises(ValueError, match="`num_samples` of TextbookL2 must be > 0"):
        TextbookL2(0.1, num_samples=0)
    with pytest.raises(TypeError, match="`num_samples`"):
        TextbookL2(0.1, num_samples="all")
    with pytest.raises(ValueError, match="`loss`"):
        TextbookL2(0.1, 10, loss="mae")
    with pytest.raises(NotImplementedError, match="no proximal step"):
        tfopt.regularizers.Penalty().proximal(1.0, 1.0)
