"""Activation functions of whole stacks and their derivatives."""

from collections.abc import Callable
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


def _elu(z: Array, scale: float = 1.0, alpha: float = 1.0) -> Array:
    return np.where(z > 0, np.float32(scale) * z, np.float32(scale * alpha) * np.expm1(np.minimum(z, 0)))


def _selu_slope(_: Array, out: Array) -> Array:
    return np.where(out >= 0, np.float32(_SELU_SCALE), out + np.float32(_SELU_SCALE * _SELU_ALPHA))


def _silu_slope(z: Array, out: Array) -> Array:
    gate = expit(z)
    return gate + out * (1 - gate)


def _gelu(z: Array) -> Array:
    return np.float32(0.5) * z * (1 + erf(z * np.float32(np.sqrt(0.5))))


def _gelu_slope(z: Array, _: Array) -> Array:
    density = np.exp(np.float32(-0.5) * z * z) * np.float32(1 / np.sqrt(2 * np.pi))
    return np.float32(0.5) * (1 + erf(z * np.float32(np.sqrt(0.5)))) + z * density


ACTIVATIONS = {
    keras.activations.linear: Activation(lambda z: z, None),
    keras.activations.relu: Activation(lambda z: np.maximum(z, 0, out=z), lambda _, out: out > 0),
    keras.activations.tanh: Activation(lambda z: np.tanh(z, out=z), lambda _, out: 1 - out * out),
    keras.activations.sigmoid: Activation(lambda z: expit(z, out=z), lambda _, out: out * (1 - out)),
    keras.activations.elu: Activation(_elu, lambda _, out: np.where(out > 0, np.float32(1), out + 1)),
    keras.activations.selu: Activation(lambda z: _elu(z, _SELU_SCALE, _SELU_ALPHA), _selu_slope),
    keras.activations.silu: Activation(lambda z: z * expit(z), _silu_slope, needs_input=True),
    keras.activations.gelu: Activation(_gelu, _gelu_slope, needs_input=True),
    keras.activations.softplus: Activation(
        lambda z: np.logaddexp(z, np.float32(0)), lambda z, _: expit(z), needs_input=True
    ),
}


LINEAR = ACTIVATIONS[keras.activations.linear]


def softmax(z: Array) -> Array:
    """Return the probabilities of logits (..., classes)."""
    z = z - z.max(axis=-1, keepdims=True)
    np.exp(z, out=z)
    z /= z.sum(axis=-1, keepdims=True)
    return z
