"""Penalties on a weight as a matrix: its rank, its largest stretch, the angles between its columns.

A weight of higher rank is read as the matrix (all axes but the last, last): one column an output unit or filter.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from tfopt._arguments import Number, as_tensor, choice_argument, value_argument
from tfopt.regularizers.base import Penalty
from tfopt.regularizers.group import safe_norm


def _as_matrix(x: Any) -> Any:
    matrix = ops.reshape(x, (-1, x.shape[-1])) if len(x.shape) >= 2 else ops.reshape(x, (-1, 1))
    return ops.cast(matrix, "float32") if x.dtype in ("float16", "bfloat16") else matrix


def _without_gradient(matrix: Any) -> tuple[Any, Any, Any]:
    """Singular vectors and values as constants: their own gradients are not finite where two values meet."""
    return ops.svd(ops.stop_gradient(matrix), full_matrices=False)


@keras.saving.register_keras_serializable(package="tfopt")
class Nuclear(Penalty):
    """Nuclear-norm penalty: makes a kernel of low rank.

    Use it where outputs share a few hidden factors, or before factorising a layer. `penalty = strength · Σ σ_i`, the
    sum of the singular values; its proximal step makes small ones exactly zero. The gradient is U Vᵀ over the singular
    values that are not zero.

    Args:
        strength: >= 0: a number, a tensor or a variable; a stack of N values gives N penalties.

    Raises:
        ValueError: The strength is negative or not finite.
        TypeError: The strength is not numeric.

    Example:
        ```python
        penalty = tfopt.regularizers.Nuclear(0.5)
        print(f"{float(penalty(keras.ops.array([[3.0, 0.0], [0.0, 4.0]]))):.2f}")  # 3.50
        ```

    References:
        - Fazel, Hindi, Boyd (2001), "A rank minimization heuristic with application to minimum order system
          approximation", https://doi.org/10.1109/ACC.2001.945730
        - Cai, Candès, Shen (2010), "A singular value thresholding algorithm for matrix completion",
          https://doi.org/10.1137/080738970
    """

    def __init__(self, strength: Number = 0.01):
        self.strength = value_argument(strength, "Nuclear", "strength")

    def __call__(self, x: Any) -> Any:
        """Return the penalty of the weight `x`."""
        matrix = _as_matrix(x)
        left, values, right = _without_gradient(matrix)
        noise = np.finfo(keras.backend.standardize_dtype(matrix.dtype)).eps * max(matrix.shape)
        tolerance = float(noise) * ops.max(values)
        slope = ops.matmul(left * ops.cast(values > tolerance, matrix.dtype), right)
        return as_tensor(self.strength, x.dtype) * ops.cast(ops.sum(slope * matrix), x.dtype)

    def proximal(self, x: Any, step: Any) -> Any:
        """Return `x` with every singular value lowered by `step · strength`, to zero at least."""
        matrix = _as_matrix(x)
        left, values, right = ops.svd(matrix, full_matrices=False)
        lowered = ops.maximum(values - ops.cast(step * as_tensor(self.strength, x.dtype), matrix.dtype), 0)
        return ops.cast(ops.reshape(ops.matmul(left * lowered, right), x.shape), x.dtype)


@keras.saving.register_keras_serializable(package="tfopt")
class Spectral(Penalty):
    """Spectral-norm penalty: limits how far a layer can stretch its input, and so the network's sensitivity to noise.

    Use it for smoothness without shrinking the directions that stretch less. `penalty = strength/2 · σ_max²`, by an
    exact singular value decomposition.

    Args:
        strength: >= 0: a number, a tensor or a variable; a stack of N values gives N penalties.

    Raises:
        ValueError: The strength is negative or not finite.
        TypeError: The strength is not numeric.

    Example:
        ```python
        penalty = tfopt.regularizers.Spectral(0.5)
        print(f"{float(penalty(keras.ops.array([[3.0, 0.0], [0.0, 4.0]]))):.2f}")  # 4.00
        ```

    References:
        - Yoshida, Miyato (2017), "Spectral norm regularization for improving the generalizability of deep learning",
          https://arxiv.org/abs/1705.10941
    """

    def __init__(self, strength: Number = 0.01):
        self.strength = value_argument(strength, "Spectral", "strength")

    def __call__(self, x: Any) -> Any:
        """Return the penalty of the weight `x`."""
        matrix = _as_matrix(x)
        left, _, right = _without_gradient(matrix)
        largest = ops.sum(left[:, :1] * right[:1, :] * matrix)
        return as_tensor(self.strength, x.dtype) / 2 * ops.cast(ops.square(largest), x.dtype)


@keras.saving.register_keras_serializable(package="tfopt")
class Orthogonality(Penalty):
    """Orthogonality penalty: pushes the weights of units (or inputs) towards right angles to each other.

    Use it against units that repeat each other. `penalty = strength · mean |cos|` over all pairs of columns (units,
    filters) or rows (inputs). On matrices it is Keras's `OrthogonalRegularizer`; it also takes kernels of
    convolutions, and one unit alone costs 0, where Keras's gives NaN.

    Args:
        strength: >= 0: a number, a tensor or a variable; a stack of N values gives N penalties.
        mode: `"columns"` compares output units or filters, `"rows"` inputs.

    Raises:
        ValueError: Negative strength, unknown mode.
        TypeError: A strength that is not numeric.

    Example:
        ```python
        penalty = tfopt.regularizers.Orthogonality(1.0)
        print(f"{float(penalty(keras.ops.array([[1.0, 1.0], [0.0, 1.0]]))):.4f}")  # 0.7071
        ```

    References:
        - Bansal, Chen, Wang (2018), "Can we gain more from orthogonality regularizations in training deep networks?",
          https://arxiv.org/abs/1810.09102
    """

    def __init__(self, strength: Number = 0.01, mode: str = "columns"):
        self.strength = value_argument(strength, "Orthogonality", "strength")
        self.mode = choice_argument(mode, "Orthogonality", "mode", ("columns", "rows"))

    def __call__(self, x: Any) -> Any:
        """Return the penalty of the weight `x`."""
        vectors = ops.transpose(_as_matrix(x)) if self.mode == "columns" else _as_matrix(x)
        count = vectors.shape[0]
        lengths = safe_norm(ops.sum(ops.square(vectors), axis=1, keepdims=True))
        unit = vectors / ops.where(lengths > 0, lengths, 1)
        cosines = ops.matmul(unit, ops.transpose(unit)) * (1 - ops.eye(count, dtype=unit.dtype))
        mean = ops.sum(ops.abs(cosines)) / max(count * (count - 1), 1)
        return as_tensor(self.strength, x.dtype) * ops.cast(mean, x.dtype)
