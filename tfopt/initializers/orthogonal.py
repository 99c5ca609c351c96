"""Initializers that keep lengths: orthogonal matrices, identities, and their convolutions."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tfopt._arguments import Number, count_argument, seed_argument, value_argument
from tfopt.initializers.base import RandomInitializer, drawing_seed, float_dtype, scaled


def _orthonormal(rows: int, columns: int, seed: Any) -> Any:
    """A matrix drawn evenly from those with orthonormal columns, or rows where it has fewer of them."""
    tall = (max(rows, columns), min(rows, columns))
    q, r = ops.qr(keras.random.normal(tall, dtype="float32", seed=drawing_seed(seed)))
    q = q * ops.sign(ops.diagonal(r))  # without it Q would not be even (Mezzadri 2007)
    return q if rows >= columns else ops.transpose(q)


def _require_matrix(shape: Sequence[int], owner: str) -> None:
    if len(shape) < 2:
        raise ValueError(f"{owner} makes weights of two or more axes. Received: shape={tuple(shape)}.")


def centred(matrix: Any, shape: Sequence[int]) -> Any:
    """A convolution kernel that is `matrix` at the window's centre and zero elsewhere."""
    window = shape[:-2]
    kernel = ops.reshape(matrix, (1,) * len(window) + tuple(shape[-2:]))
    padding = [((size - 1) // 2, size - 1 - (size - 1) // 2) for size in window]
    return ops.pad(kernel, [*padding, (0, 0), (0, 0)])


@keras.saving.register_keras_serializable(package="tfopt")
class Orthogonal(RandomInitializer):
    """Random orthogonal weights: every direction of the input keeps its length, or none is lost.

    Use it for deep and recurrent networks; with `gain` for the activation, √2 for ReLU. A kernel of higher rank is
    filled as the matrix (all axes but the last, last), whose columns (or rows, if fewer) are orthonormal.

    Args:
        gain: Factor on the weights: a number, a tensor or a variable; a stack of N values gives N kernels.
        seed: None for a new draw at every call, an integer, or a `keras.random.SeedGenerator`.

    Raises:
        ValueError: A negative gain, or a shape of fewer than two axes.
        TypeError: A gain or seed of the wrong type.

    Example:
        ```python
        w = tfopt.initializers.Orthogonal(seed=0)((3, 3))
        print(f"{float(keras.ops.matmul(keras.ops.transpose(w), w)[0, 0]):.2f}")  # 1.00
        ```

    References:
        - Saxe, McClelland, Ganguli (2014), "Exact solutions to the nonlinear dynamics of learning in deep linear neural
          networks", https://arxiv.org/abs/1312.6120
    """

    def __init__(self, gain: Number = 1.0, seed: Any = None):
        self.gain = value_argument(gain, "Orthogonal", "gain")
        self.seed = seed_argument(seed, "Orthogonal")

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Any:
        """Return a new weight of `shape`."""
        _require_matrix(shape, "Orthogonal")
        matrix = _orthonormal(math.prod(shape[:-1]), shape[-1], self.seed)
        return scaled(ops.cast(ops.reshape(matrix, shape), float_dtype(dtype)), self.gain)


@keras.saving.register_keras_serializable(package="tfopt")
class DeltaOrthogonal(RandomInitializer):
    """Orthogonal convolutions: an orthogonal matrix at the centre of the window, zero around it.

    Use it for very deep plain convolutional networks: the signal passes every layer with its length kept, in space
    as well. The layer must not have more input channels than filters.

    Args:
        gain: Factor on the weights: a number, a tensor or a variable; a stack of N values gives N kernels.
        seed: None for a new draw at every call, an integer, or a `keras.random.SeedGenerator`.

    Raises:
        ValueError: A negative gain, a shape that is no convolution's, or more input channels than filters.
        TypeError: A gain or seed of the wrong type.

    Example:
        ```python
        w = tfopt.initializers.DeltaOrthogonal(seed=0)((3, 3, 4, 8))
        print(f"{float(keras.ops.sum(w**2)):.2f}")  # 4.00
        ```

    References:
        - Xiao, Bahri, Sohl-Dickstein, Schoenholz, Pennington (2018), "Dynamical isometry and a mean field theory of
          CNNs", https://arxiv.org/abs/1806.05393
    """

    def __init__(self, gain: Number = 1.0, seed: Any = None):
        self.gain = value_argument(gain, "DeltaOrthogonal", "gain")
        self.seed = seed_argument(seed, "DeltaOrthogonal")

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Any:
        """Return a new kernel of `shape`."""
        if len(shape) < 3 or shape[-2] > shape[-1]:
            raise ValueError(
                "DeltaOrthogonal makes convolution kernels (*window, in, out) with in <= out. "
                f"Received: shape={tuple(shape)}."
            )
        matrix = _orthonormal(shape[-2], shape[-1], self.seed)
        return scaled(ops.cast(centred(matrix, shape), float_dtype(dtype)), self.gain)


@keras.saving.register_keras_serializable(package="tfopt")
class Dirac(RandomInitializer):
    """Identity: a layer that hands its input on, dense or convolutional, as far as it has units for it.

    Use it for layers that should begin as if they were not there. Keras's `Identity` takes matrices only. Nothing is
    drawn.

    Args:
        gain: Factor on the weights: a number, a tensor or a variable; a stack of N values gives N kernels.
        groups: Groups of a grouped convolution, each an identity of its own.

    Raises:
        ValueError: A negative gain, a shape of fewer than two axes, or units that the groups do not divide.
        TypeError: A gain of the wrong type.

    Example:
        ```python
        layer = keras.layers.Conv1D(2, 3, padding="same", kernel_initializer=tfopt.initializers.Dirac())
        print(float(layer(keras.ops.ones((1, 5, 2)))[0, 0, 0]))  # 1.0
        ```

    References:
        - Zagoruyko, Komodakis (2017), "DiracNets: training very deep neural networks without skip-connections",
          https://arxiv.org/abs/1706.00388
    """

    def __init__(self, gain: Number = 1.0, groups: int = 1):
        self.gain = value_argument(gain, "Dirac", "gain")
        self.groups = count_argument(groups, "Dirac", "groups")

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Any:
        """Return a new weight of `shape`."""
        _require_matrix(shape, "Dirac")
        inputs, units = shape[-2:]
        if units % self.groups:
            raise ValueError(
                f"Dirac needs units that the groups divide. Received: groups={self.groups}, {units} units."
            )
        matrix = np.tile(np.eye(inputs, units // self.groups), self.groups)
        return scaled(ops.cast(centred(matrix, shape), float_dtype(dtype)), self.gain)


@keras.saving.register_keras_serializable(package="tfopt")
class ZerO(RandomInitializer):
    """Zeros and ones instead of random numbers: identities, and Hadamard matrices where a layer widens.

    Use it for residual networks that must be the same in every run without a seed. A layer of equal width or
    narrower is a (partial) identity; a wider one is `c · I* H I*` with H the Hadamard matrix of the next power of two
    and c = 2^(−(m−1)/2), which keeps units from being copies of each other. A convolution holds it at its centre.

    Args:
        gain: Factor on the weights: a number, a tensor or a variable; a stack of N values gives N kernels.

    Raises:
        ValueError: A negative gain, or a shape of fewer than two axes.
        TypeError: A gain of the wrong type.

    Example:
        ```python
        w = tfopt.initializers.ZerO()((2, 4))
        print(f"{float(w[0, 0]):.4f} {float(w[1, 1]):.4f}")  # 0.7071 -0.7071
        ```

    References:
        - Zhao, Schäfer, Anandkumar (2022), "ZerO initialization: initializing neural networks with only zeros and
          ones", https://arxiv.org/abs/2110.12661
    """

    def __init__(self, gain: Number = 1.0):
        self.gain = value_argument(gain, "ZerO", "gain")

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Any:
        """Return a new weight of `shape`."""
        _require_matrix(shape, "ZerO")
        inputs, units = shape[-2:]
        matrix = np.eye(inputs, units)
        if units > inputs:
            power = math.ceil(math.log2(units))
            hadamard = np.ones((1, 1))
            for _ in range(power):
                hadamard = np.block([[hadamard, hadamard], [hadamard, -hadamard]])
            matrix = 2 ** (-(power - 1) / 2) * hadamard[:inputs, :units]
        return scaled(ops.cast(centred(matrix, shape), float_dtype(dtype)), self.gain)
