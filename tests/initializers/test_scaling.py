"""Moments with sampling bounds, fans of every layout against hand counts, and the layers that use them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfopt
from tfopt.initializers import Glorot, He, LeCun, VarianceScaling, compute_fans, for_activation

SHAPE = (200, 1000)
# Sampling error of a standard deviation: sd · √((kurtosis − 1) / 4n); the kurtosis of all three is at most 3.
BOUND = 5 * np.sqrt(2 / (4 * np.prod(SHAPE)))


def stddev(values):
    return float(np.std(keras.ops.convert_to_numpy(1 * values).astype(np.float64)))


def test_a_tensors_shape_is_a_shape():
    shape = tf.Variable(tf.zeros((3, 3, 2, 5))).shape
    assert compute_fans(shape) == compute_fans((3, 3, 2, 5)) == (18.0, 45.0)
    assert He(seed=1)(shape).shape == shape


@pytest.mark.parametrize("distribution", ["truncated_normal", "normal", "uniform"])
@pytest.mark.parametrize(
    ("rule", "expected"),
    [(Glorot, np.sqrt(2 / 1200)), (He, np.sqrt(2 / 200)), (LeCun, np.sqrt(1 / 200))],
    ids=["glorot", "he", "lecun"],
)
def test_spread(rule, expected, distribution):
    values = keras.ops.convert_to_numpy(rule(gain=1.5, distribution=distribution, seed=1)(SHAPE)).astype(np.float64)
    assert np.std(values) == pytest.approx(1.5 * expected, rel=BOUND)
    assert abs(np.mean(values)) < 5 * 1.5 * expected / np.sqrt(values.size)
    limit = {"uniform": np.sqrt(3), "truncated_normal": 2 / 0.87962566, "normal": np.inf}[distribution]
    assert np.max(np.abs(values)) <= 1.5 * expected * limit * 1.0001


def test_equals_keras_where_keras_is_right():
    for ours, theirs in ((He, "HeNormal"), (Glorot, "GlorotNormal"), (LeCun, "LecunNormal")):
        expected = getattr(keras.initializers, theirs)(seed=3)((3, 3, 8, 16))
        np.testing.assert_allclose(ours(seed=3)((3, 3, 8, 16)), expected, rtol=2e-5, atol=1e-8)
    np.testing.assert_allclose(
        VarianceScaling(gain=3**0.5, mode="fan_out", distribution="uniform", seed=3)((5, 7)),
        keras.initializers.VarianceScaling(3.0, "fan_out", "uniform", seed=3)((5, 7)),
        rtol=1e-6,
        atol=1e-7,
    )


@pytest.mark.parametrize(
    ("shape", "arguments", "fans"),
    [
        ((), {}, (1, 1)),
        ((7,), {}, (7, 7)),
        ((3, 4), {}, (3, 4)),
        ((3, 3, 8, 16), {}, (72, 144)),
        ((3, 3, 64, 1), {"layout": "depthwise"}, (9, 9)),
        ((3, 3, 64, 4), {"layout": "depthwise"}, (9, 36)),
        ((3, 3, 64, 4), {"layout": "depthwise", "strides": 2}, (9, 9)),
        ((3, 3, 8, 64), {"groups": 4}, (72, 144)),  # 32 channels in, 64 out, 4 groups
        ((4, 4, 16, 8), {"layout": "transposed"}, (128, 256)),  # 8 channels in, 16 out
        ((4, 4, 16, 8), {"layout": "transposed", "strides": 2}, (32, 256)),
        ((4, 4, 16, 8), {"layout": "transposed", "strides": (2, 1)}, (64, 256)),
        ((5, 6, 32), {"strides": 2}, (30, 80)),
        ((64, 4, 16), {"input_axes": [0], "output_axes": [1, 2]}, (64, 64)),  # attention's query kernel
        ((4, 16, 64), {"input_axes": [0, 1], "output_axes": [2]}, (64, 64)),  # attention's output kernel
    ],
)
def test_fans(shape, arguments, fans):
    assert compute_fans(shape, **arguments) == fans


def test_fans_are_those_of_the_layers():
    """The fans by counting: set every weight to 1, send one 1 through, and add up what comes out."""
    cases = [
        (keras.layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same"), {"layout": "depthwise"}),
        (keras.layers.Conv2D(6, 3, groups=2, padding="same"), {"groups": 2}),
        (keras.layers.Conv2DTranspose(6, 4, strides=2, padding="same"), {"layout": "transposed", "strides": 2}),
    ]
    for layer, arguments in cases:
        layer.build((None, 12, 12, 4))
        layer.kernel.assign(np.ones(layer.kernel.shape))
        fan_in, fan_out = compute_fans(layer.kernel.shape, **arguments)
        ones = keras.ops.convert_to_numpy(layer(np.ones((1, 12, 12, 4), "float32")))
        middle = slice(4, -4)
        assert np.mean(ones[0, middle, middle]) == pytest.approx(fan_in)
        impulse = np.zeros((1, 12, 12, 4), "float32")
        impulse[0, 6, 6, 1] = 1
        assert np.sum(keras.ops.convert_to_numpy(layer(impulse))) == pytest.approx(fan_out)


def test_depthwise_layer_keeps_the_signal():
    """Keras's HeNormal comes out 8 times too small on 64 depthwise channels."""
    kernel = He(layout="depthwise", seed=0)((3, 3, 64, 1))
    assert stddev(kernel) == pytest.approx(np.sqrt(2 / 9), rel=5 * np.sqrt(2 / (4 * 576)))
    keras_kernel = keras.initializers.HeNormal(seed=0)((3, 3, 64, 1))
    assert stddev(kernel) / stddev(keras_kernel) == pytest.approx(8, rel=1e-5)


def test_attention_tells_its_axes():
    layer = keras.layers.MultiHeadAttention(num_heads=4, key_dim=64, kernel_initializer=LeCun(seed=0))
    x = np.zeros((1, 3, 256), "float32")
    layer(x, x)
    kernels = {weight.path.split("/")[-2]: weight for weight in layer.trainable_weights if weight.name == "kernel"}
    assert set(kernels) == {"query", "key", "value", "attention_output"}
    for kernel in kernels.values():
        assert stddev(kernel) == pytest.approx(1 / 16, rel=5 * np.sqrt(2 / (4 * 65536)))


@pytest.mark.parametrize("activation", ["relu", "gelu", "tanh", "selu", "silu"])
def test_for_activation_keeps_unit_second_moment(activation):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 512)).astype("float32")
    kernel = keras.ops.convert_to_numpy(for_activation(activation, seed=1)((512, 512)))
    # He's rule is for the input that the activation made: unit second moment in, unit second moment out.
    out = keras.ops.convert_to_numpy(
        getattr(keras.activations, activation)(x @ kernel / tfopt.initializers.gain(activation))
    )
    assert np.mean(out**2) * tfopt.initializers.gain(activation) ** 2 == pytest.approx(1, rel=0.02)


def test_for_activation_names_the_known_rules():
    np.testing.assert_allclose(for_activation("relu", seed=4)(SHAPE), He(seed=4)(SHAPE), rtol=1e-5)
    np.testing.assert_allclose(for_activation("selu", seed=4)(SHAPE), LeCun(seed=4)(SHAPE), rtol=1e-4)
    np.testing.assert_allclose(for_activation(None, "average", seed=4)(SHAPE), Glorot(seed=4)(SHAPE), rtol=1e-5)
    assert for_activation("tanh", "backward").mode == "fan_out"
    assert for_activation("tanh", gain=2.0).gain == pytest.approx(2 * 1.5925, abs=1e-4)


def test_seeds():
    keras.utils.set_random_seed(5)
    initializer = He()
    first, second = np.array(initializer((4, 4))), np.array(initializer((4, 4)))
    assert not np.array_equal(first, second)
    keras.utils.set_random_seed(5)
    np.testing.assert_array_equal(initializer((4, 4)), first)
    np.testing.assert_array_equal(He(seed=1)((4, 4)), He(seed=1)((4, 4)))
    drawing = He(seed=keras.random.SeedGenerator(1))
    assert not np.array_equal(drawing((4, 4)), drawing((4, 4)))


def test_gain_may_be_a_tensor_a_variable_or_a_stack():
    one = np.array(He(seed=0)((6, 5)))
    np.testing.assert_allclose(He(keras.ops.convert_to_tensor(2.0), seed=0)((6, 5)), 2 * one, rtol=1e-6)
    variable = keras.Variable(3.0)
    initializer = He(variable, seed=0)
    np.testing.assert_allclose(initializer((6, 5)), 3 * one, rtol=1e-6)
    variable.assign(0.5)
    np.testing.assert_allclose(initializer((6, 5)), 0.5 * one, rtol=1e-6)
    np.testing.assert_allclose(He([1.0, 2.0], seed=0)((6, 5)), np.stack([one, 2 * one]), rtol=1e-6)


def test_dtypes():
    for dtype in ("float16", "bfloat16", "float32", "float64"):
        assert keras.backend.standardize_dtype(He(seed=0)((3, 3), dtype=dtype).dtype) == dtype


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: He(gain=-1), ValueError, "`gain` of He must be >= 0. Received: gain=-1"),
        (lambda: He(gain="big"), TypeError, "must be a number"),
        (lambda: He(distribution="cauchy"), ValueError, "must be one of"),
        (lambda: He(layout="conv"), ValueError, "`layout` of He must be one of"),
        (lambda: He(seed="x"), TypeError, "`seed` of He"),
        (lambda: He(groups=0), ValueError, "`groups`"),
        (lambda: He(strides=0)((3, 3, 2, 2)), ValueError, "`strides`"),
        (lambda: He(input_axes=[0]), ValueError, "go together"),
        (lambda: VarianceScaling(mode="fan"), ValueError, "`mode`"),
        (lambda: for_activation("softmax"), ValueError, "mixes the elements"),
        (lambda: for_activation("relu", "both"), ValueError, "`mode` of for_activation"),
    ],
)
def test_bad_arguments(make, error, text):
    with pytest.raises(error, match=text):
        make()


def test_a_variables_own_shape_is_a_shape():
    """`layer.kernel.shape` is a `TensorShape` under TensorFlow: fans and initializers take it."""
    layer = keras.layers.Dense(3)
    layer.build((None, 5))
    assert tfopt.initializers.compute_fans(layer.kernel.shape) == (5.0, 3.0)
    assert tfopt.initializers.He(seed=1)(layer.kernel.shape).shape == (5, 3)
