"""Gains against the midpoint rule, and against numbers known in closed form or by others."""

import inspect

import keras
import numpy as np
import pytest

import tfopt

# Forward and backward gains measured apart from this package, by adaptive quadrature (4 decimals).
RECORDED = {
    "relu": (1.4142, 1.4142),
    "leaky_relu": (1.3868, None),  # slope 0.2
    "elu": (1.2452, 1.2234),
    "selu": (1.0, 0.9660),
    "gelu": (1.5335, 1.4811),
    "silu": (1.6765, 1.6233),
    "mish": (1.4868, 1.4448),
    "tanh": (1.5925, 1.4674),
    "sigmoid": (1.8462, 4.7226),
    "softsign": (2.3375, 2.0958),
    "hard_silu": (1.7367, 1.6701),
    "linear": (1.0, 1.0),
}
ELEMENTWISE = [
    name
    for name, function in inspect.getmembers(keras.activations, inspect.isfunction)
    if name not in {"get", "serialize", "deserialize", "softmax", "log_softmax", "sparsemax", "glu", "threshold"}
]


@pytest.mark.parametrize("name", RECORDED)
def test_recorded(name):
    forward, backward = RECORDED[name]
    assert tfopt.initializers.gain(name) == pytest.approx(forward, abs=6e-5)
    if backward is not None:
        assert tfopt.initializers.gain(name, "backward") == pytest.approx(backward, abs=6e-5)


def test_every_keras_activation_is_covered():
    assert {"relu", "gelu", "celu", "squareplus", "tanh_shrink"} <= set(ELEMENTWISE)
    assert len(ELEMENTWISE) >= 24


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_against_the_midpoint_rule(name):
    z = (np.arange(-24_000, 24_000) + 0.5) / 2000  # no kink or jump of Keras's activations lies within a step
    values = getattr(keras.activations, name)(keras.ops.convert_to_tensor(z, dtype="float64"))
    squares = keras.ops.convert_to_numpy(values) ** 2
    second_moment = np.sum(squares * np.exp(-(z**2) / 2)) / np.sqrt(2 * np.pi) / 2000
    assert tfopt.initializers.gain(name) == pytest.approx(1 / np.sqrt(second_moment), rel=1e-8)


def test_closed_forms():
    assert tfopt.initializers.gain("relu") == pytest.approx(np.sqrt(2), rel=1e-12)
    assert tfopt.initializers.gain("exponential") == pytest.approx(np.exp(-1), rel=1e-9)  # E[e^2z] = e^2
    assert tfopt.initializers.gain("exponential", "backward") == pytest.approx(np.exp(-1), rel=1e-9)
    squared = tfopt.initializers.gain(lambda z: keras.ops.square(keras.ops.relu(z)))
    assert squared == pytest.approx(np.sqrt(2 / 3), rel=1e-12)  # E[z⁴]/2
    forward, backward = (tfopt.initializers.gain("tanh", mode) for mode in ("forward", "backward"))
    assert tfopt.initializers.gain("tanh", "average") == pytest.approx(np.sqrt(forward * backward), rel=1e-12)


def test_layers_and_none():
    slope = 0.3
    assert tfopt.initializers.gain(keras.layers.LeakyReLU(slope)) == pytest.approx(
        np.sqrt(2 / (1 + slope**2)), rel=1e-6
    )
    assert tfopt.initializers.gain(None) == 1.0


def test_activation_with_arguments():
    with pytest.raises(ValueError, match="two arguments"):
        tfopt.initializers.gain("threshold")
    half = tfopt.initializers.gain(lambda z: keras.activations.threshold(z, 0.0, 0.0))
    assert half == pytest.approx(np.sqrt(2), rel=1e-12)


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "sparsemax", "glu"])
def test_mixing_activations_are_refused(name):
    with pytest.raises(ValueError, match="mixes the elements"):
        tfopt.initializers.gain(name)


def test_bad_arguments():
    with pytest.raises(ValueError, match="mode"):
        tfopt.initializers.gain("relu", "sideways")
    with pytest.raises(ValueError, match="constant"):
        tfopt.initializers.gain(lambda z: z * 0)
    with pytest.raises(ValueError, match="keep the shape"):
        tfopt.initializers.gain(lambda z: z[:, :1])
    with pytest.raises(ValueError):
        tfopt.initializers.gain("no_such_activation")
