"""How much an activation shrinks a signal: the gain that a weight's spread needs to make up for it."""

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from numpy.polynomial import legendre

from tfopt._arguments import choice_argument, from_keras, widest_float

MODES = ("forward", "backward", "average")
# These mix the elements of their input, so no gain of a single element describes them.
_NOT_ELEMENTWISE = ("softmax", "log_softmax", "sparsemax", "glu")
_PANEL, _HALF_WIDTH, _NODES = 0.25, 13.0, 20


def gain(activation: Any, mode: str = "forward") -> float:
    """Return the factor on a weight's standard deviation that keeps a unit-variance signal at unit variance.

    Use it to scale any initializer for an activation that Glorot's, He's and LeCun's rules do not cover. With
    z ~ N(0, 1): `"forward"` is 1/√E[φ(z)²] (activations keep their size), `"backward"` is 1/√E[φ'(z)²] (gradients
    do), `"average"` their geometric mean. The integrals are Gauss-Legendre sums in float64, right to about 1e-10 for
    activations whose kinks lie at multiples of 0.25, as those of Keras do.

    Args:
        activation: A Keras name (`"gelu"`), function or layer that works on each element alone; None is linear.
        mode: `"forward"`, `"backward"` or `"average"`.

    Returns:
        The gain, a float: 1.4142 for `"relu"`, 1.0 for `"selu"` and `"linear"`.

    Raises:
        ValueError: Unknown name or mode, an activation that mixes elements (softmax), or one that is always zero.

    Example:
        ```python
        print(f"{tfopt.initializers.gain('gelu'):.4f}")  # 1.5335
        ```

    References:
        - He, Zhang, Ren, Sun (2015), "Delving deep into rectifiers", section 2.2, here for any activation,
          https://arxiv.org/abs/1502.01852
    """
    choice_argument(mode, "gain", "mode", MODES)
    if isinstance(activation, str) or activation is None:
        forward, backward = _named_moments(activation)
    else:
        forward, backward = _moments(_activation(activation), repr(activation))
    powers = {"forward": forward, "backward": backward, "average": np.sqrt(forward * backward)}
    return float(1 / np.sqrt(powers[mode]))


@functools.cache
def _named_moments(name: str | None) -> tuple[float, float]:
    if name in _NOT_ELEMENTWISE:
        raise ValueError(
            f"{name!r} mixes the elements of its input, so it has no gain. Scale its layer as a linear one: "
            "gain('linear')."
        )
    if name == "threshold":
        raise ValueError("'threshold' needs its two arguments: pass gain() a function of one argument.")
    return _moments(_activation(name), repr(name))


def _activation(given: Any) -> Callable[[Any], Any]:
    return from_keras("activation", given, keras.activations, "gain")


def _moments(function: Callable[[Any], Any], label: str) -> tuple[float, float]:
    """E[φ(z)²] and E[φ'(z)²] for z ~ N(0, 1), panel by panel; the slope is that of the interpolating polynomial."""
    nodes, weights = legendre.leggauss(_NODES)
    starts = np.arange(-_HALF_WIDTH, _HALF_WIDTH, _PANEL)
    z = starts[:, None] + _PANEL * (nodes + 1) / 2
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi) * weights * _PANEL / 2
    values = keras.ops.convert_to_numpy(function(keras.ops.convert_to_tensor(z, dtype=widest_float())))
    if values.shape != z.shape:
        raise ValueError(
            "Argument `activation` must keep the shape of its input. "
            f"Received: {label}, which returned {values.shape} for {z.shape}."
        )
    slopes = values @ _differentiation_matrix(nodes).T * 2 / _PANEL
    forward, backward = float(np.sum(density * values**2)), float(np.sum(density * slopes**2))
    if not (np.isfinite(forward) and np.isfinite(backward) and forward > 0 and backward > 1e-20):
        raise ValueError(
            f"Argument `activation` must be neither constant nor infinite on normal inputs. Received: {label}."
        )
    return forward, backward


def _differentiation_matrix(nodes: np.ndarray) -> np.ndarray:
    """Matrix that takes values at `nodes` to the slopes of their interpolating polynomial there."""
    gaps = nodes[:, None] - nodes[None, :] + np.eye(len(nodes))
    barycentric = 1 / np.prod(gaps, axis=1)
    matrix = barycentric[None, :] / barycentric[:, None] / gaps
    np.fill_diagonal(matrix, 0)
    np.fill_diagonal(matrix, -matrix.sum(axis=1))
    return matrix
