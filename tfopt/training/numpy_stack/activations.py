"""Keras's elementwise activation functions on whole stacks, and their derivatives."""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import keras
import numpy as np
from scipy.special import erf, expit

Array = np.ndarray

_SELU_SCALE, _SELU_ALPHA = 1.0507009873554805, 1.6732632423543772  # Klambauer et al., 2017


class Activation(NamedTuple):
    """A function of each number, and its derivative.

    Args:
        value: Of the input; it may write into its argument.
        slope: The derivative, of the input and the output; None where it is one.
        needs_input: Whether `slope` looks at the input, not at the output alone.
    """

    value: Callable[[Array], Array]
    slope: Callable[[Array, Array], Array] | None
    needs_input: bool = False


def _of_input(value: Callable[[Array], Array], slope: Callable[[Array], Array]) -> Activation:
    return Activation(value, lambda z, _: slope(z), needs_input=True)


@lru_cache(maxsize=64)
def _zeros(units: int) -> Array:
    return np.zeros(units, "float32")


def _relu(z: Array) -> Array:
    return np.maximum(z, _zeros(z.shape[-1]), out=z)  # an array: one number takes up to three times as long


def _elu(z: Array, scale: float = 1.0, alpha: float = 1.0) -> Array:
    below = np.minimum(z, 0)  # in place: a choice by a mask takes three times as long
    np.expm1(below, out=below)
    below *= np.float32(scale * alpha)
    np.maximum(z, 0, out=z)
    z *= np.float32(scale)
    z += below
    return z


def _selu_slope(_: Array, out: Array) -> Array:
    slope = np.minimum(out, 0)
    slope += np.float32(_SELU_SCALE * _SELU_ALPHA)
    above = (out >= 0).astype("float32")  # a product: a choice by a mask takes eight times as long
    above *= np.float32(_SELU_SCALE - _SELU_SCALE * _SELU_ALPHA)
    slope += above
    return slope


def _silu_slope(z: Array, out: Array) -> Array:
    gate = expit(z)
    return gate + out * (1 - gate)


def _gelu(z: Array) -> Array:
    return np.float32(0.5) * z * (1 + erf(z * np.float32(np.sqrt(0.5))))


def _gelu_slope(z: Array) -> Array:
    density = np.exp(np.float32(-0.5) * z * z) * np.float32(1 / np.sqrt(2 * np.pi))
    return np.float32(0.5) * (1 + erf(z * np.float32(np.sqrt(0.5)))) + z * density


def _softplus(z: Array) -> Array:
    return np.logaddexp(z, np.float32(0))


def _mish_gate(z: Array) -> tuple[Array, Array]:
    """Return tanh(softplus(z)) through one exponential, and that; from 20 on the gate is 1 in single precision."""
    power = np.minimum(z, np.float32(20))
    np.exp(power, out=power)
    gate = power + np.float32(2)
    gate *= power
    gate /= gate + np.float32(2)
    return gate, power


def _mish_slope(z: Array) -> Array:
    gate, power = _mish_gate(z)
    power /= power + np.float32(1)
    slope = gate * gate
    np.subtract(np.float32(1), slope, out=slope)
    slope *= power
    slope *= z
    slope += gate
    return slope


def _between(z: Array, low: float, high: float) -> Array:
    return (z > low) & (z < high)


def _sixth(z: Array) -> Array:
    """`hard_sigmoid`."""
    return np.clip(z + np.float32(3), 0, 6) / np.float32(6)


def _sparse_plus(z: Array) -> Array:
    return np.where(z <= -1, np.float32(0), np.where(z < 1, np.square(z + 1) * np.float32(0.25), z))


def _elu_slope(_: Array, out: Array) -> Array:
    return np.where(out > 0, np.float32(1), out + 1)


def _celu_slope(_: Array, out: Array) -> Array:
    """As TensorFlow's, which is 2 at zero: both halves of its formula count there."""
    return _elu_slope(_, out) + (out == 0)


ACTIVATIONS = {
    keras.activations.linear: Activation(lambda z: z, None),
    keras.activations.relu: Activation(_relu, lambda _, out: out > 0),
    keras.activations.relu6: Activation(lambda z: np.clip(z, 0, 6, out=z), lambda _, out: _between(out, 0, 6)),
    keras.activations.leaky_relu: Activation(
        lambda z: np.where(z > 0, z, np.float32(0.2) * z),
        lambda _, out: np.where(out > 0, np.float32(1), np.float32(0.2)),
    ),
    keras.activations.elu: Activation(_elu, _elu_slope),
    keras.activations.celu: Activation(_elu, _celu_slope),
    keras.activations.selu: Activation(lambda z: _elu(z, _SELU_SCALE, _SELU_ALPHA), _selu_slope),
    keras.activations.silu: Activation(lambda z: z * expit(z), _silu_slope, needs_input=True),
    keras.activations.gelu: _of_input(_gelu, _gelu_slope),
    keras.activations.mish: _of_input(lambda z: z * _mish_gate(z)[0], _mish_slope),
    keras.activations.softplus: _of_input(_softplus, expit),
    keras.activations.squareplus: _of_input(
        lambda z: (z + np.sqrt(z * z + np.float32(4))) / np.float32(2),
        lambda z: np.float32(0.5) * (1 + z / np.sqrt(z * z + np.float32(4))),
    ),
    keras.activations.sparse_plus: _of_input(_sparse_plus, lambda z: np.clip((z + 1) * np.float32(0.5), 0, 1)),
    keras.activations.tanh: Activation(lambda z: np.tanh(z, out=z), lambda _, out: 1 - out * out),
    keras.activations.hard_tanh: _of_input(lambda z: np.clip(z, -1, 1), lambda z: _between(z, -1, 1)),
    keras.activations.tanh_shrink: _of_input(lambda z: z - np.tanh(z), lambda z: np.square(np.tanh(z))),
    keras.activations.softsign: Activation(lambda z: z / (1 + np.abs(z)), lambda _, out: np.square(1 - np.abs(out))),
    keras.activations.sigmoid: Activation(lambda z: expit(z, out=z), lambda _, out: out * (1 - out)),
    keras.activations.log_sigmoid: _of_input(lambda z: -_softplus(-z), lambda z: expit(-z)),
    keras.activations.hard_sigmoid: _of_input(_sixth, lambda z: _between(z, -3, 3) * np.float32(1 / 6)),
    keras.activations.sparse_sigmoid: _of_input(
        lambda z: np.clip((z + 1) * np.float32(0.5), 0, 1), lambda z: _between(z, -1, 1) * np.float32(0.5)
    ),
    keras.activations.hard_silu: _of_input(
        lambda z: z * _sixth(z), lambda z: _sixth(z) + z * _between(z, -3, 3) * np.float32(1 / 6)
    ),
    keras.activations.soft_shrink: _of_input(
        lambda z: z - np.clip(z, np.float32(-0.5), np.float32(0.5)), lambda z: np.abs(z) > np.float32(0.5)
    ),
    keras.activations.hard_shrink: _of_input(
        lambda z: np.where(np.abs(z) > np.float32(0.5), z, np.float32(0)), lambda z: np.abs(z) > np.float32(0.5)
    ),
    keras.activations.exponential: Activation(lambda z: np.exp(z, out=z), lambda _, out: out),
}


LINEAR = ACTIVATIONS[keras.activations.linear]


def highest(z: Array) -> Array:
    """Return the largest (..., 1) of the logits (..., classes) of each row; class by class, as there are few."""
    return np.ascontiguousarray(z.reshape(-1, z.shape[-1]).T).max(axis=0).reshape(*z.shape[:-1], 1)


def softmax(z: Array) -> Array:
    """Return the probabilities of logits (..., classes)."""
    z = z - highest(z)
    np.exp(z, out=z)
    z /= z.sum(axis=-1, keepdims=True)
    return z
