"""Constraints for Keras weights: exact projections that Keras does not have."""

from typing import Any

import keras
from keras import ops

from tfopt._arguments import (
    Number,
    as_tensor,
    axes_argument,
    axis_argument,
    config_of,
    look_up,
    number_argument,
    repr_of,
    value_argument,
)

__all__ = ["Box", "L1Ball", "L2Ball", "Simplex", "SpectralBall", "deserialize", "get", "serialize"]


class _Projection(keras.constraints.Constraint):
    """A projection: the nearest point of a set, applied by Keras after each update."""

    def get_config(self) -> dict[str, Any]:
        """Return the arguments as plain Python values."""
        return config_of(self)

    def __repr__(self) -> str:
        return repr_of(self)


def _on_simplex(x: Any, total: Any, axis: int) -> Any:
    """Nearest point to `x` with elements >= 0 that sum to `total` along `axis`, by sorting."""
    falling = ops.flip(ops.sort(x, axis=axis), axis=axis)
    size = x.shape[axis]
    shape = [1] * len(x.shape)
    shape[axis] = size
    count = ops.reshape(ops.arange(1, size + 1, dtype=x.dtype), shape)
    excess = ops.cumsum(falling, axis=axis) - total
    kept = ops.sum(ops.cast(falling * count > excess, x.dtype), axis=axis, keepdims=True)
    kept = ops.maximum(kept, 1)  # of a total of 0, or one so small that it is lost beside the weights, none is left
    last = ops.cast(count == kept, x.dtype)
    return ops.maximum(x - ops.sum(excess * last, axis=axis, keepdims=True) / kept, 0)


@keras.saving.register_keras_serializable(package="tfopt")
class Simplex(_Projection):
    """Keeps weights on the probability simplex: none negative, their sum fixed.

    Use it for mixtures: attention over models, a convex combination of inputs. Nearest point in Euclidean distance.

    Args:
        total: The sum, >= 0: a number, a tensor or a variable.
        axis: The axis along which the weights sum to it; 0 is the inputs of each unit of a dense layer.

    Raises:
        ValueError: `total` is negative or not finite.
        TypeError: `total` is not numeric.

    Example:
        ```python
        weights = tfopt.constraints.Simplex()(keras.ops.array([1.0, 0.5, -1.0]))
        print([f"{float(w):.2f}" for w in weights])  # ['0.75', '0.25', '0.00']
        ```

    References:
        - Duchi, Shalev-Shwartz, Singer, Chandra (2008), "Efficient projections onto the l1-ball for learning in high
          dimensions", https://doi.org/10.1145/1390156.1390191
    """

    def __init__(self, total: Number = 1.0, axis: int = 0):
        self.total = value_argument(total, "Simplex", "total")
        self.axis = axis_argument(axis, "Simplex")

    def __call__(self, w: Any) -> Any:
        """Return the projection of the weight `w`."""
        w = ops.convert_to_tensor(w)
        return _on_simplex(w, as_tensor(self.total, w.dtype), self.axis % len(w.shape))


@keras.saving.register_keras_serializable(package="tfopt")
class L1Ball(_Projection):
    """Keeps the sum of the weights' sizes within a radius: the lasso in its constrained form, zeros included.

    Use it where a budget is easier to name than a penalty. Nearest point in Euclidean distance.

    Args:
        radius: Largest sum of |w|, >= 0: a number, a tensor or a variable.
        axis: The axis along which it holds; None for the whole weight.

    Raises:
        ValueError: `radius` is negative or not finite.
        TypeError: `radius` is not numeric.

    Example:
        ```python
        weights = tfopt.constraints.L1Ball(1.0)(keras.ops.array([1.0, -0.5, 0.1]))
        print([f"{float(w):.2f}" for w in weights])  # ['0.75', '-0.25', '0.00']
        ```

    References:
        - Duchi, Shalev-Shwartz, Singer, Chandra (2008), "Efficient projections onto the l1-ball for learning in high
          dimensions", https://doi.org/10.1145/1390156.1390191
    """

    def __init__(self, radius: Number = 1.0, axis: int | None = None):
        self.radius = value_argument(radius, "L1Ball", "radius")
        self.axis = None if axis is None else axis_argument(axis, "L1Ball")

    def __call__(self, w: Any) -> Any:
        """Return the projection of the weight `w`."""
        w = ops.convert_to_tensor(w)
        flat = ops.reshape(w, (-1,)) if self.axis is None else w
        axis = 0 if self.axis is None else self.axis % len(w.shape)
        radius, size = as_tensor(self.radius, w.dtype), ops.abs(flat)
        inside = ops.sum(size, axis=axis, keepdims=True) <= radius
        projected = ops.where(inside, flat, ops.sign(flat) * _on_simplex(size, radius, axis))
        return ops.reshape(projected, w.shape)


@keras.saving.register_keras_serializable(package="tfopt")
class L2Ball(_Projection):
    """Keeps the Euclidean norm of the weights within a radius, exactly, and leaves shorter ones as they are.

    Use it as a hard form of weight decay. Keras's `MaxNorm` limits each column and always rescales by
    `norm / (epsilon + norm)`; this limits the whole weight, or along any axes, and changes nothing inside.

    Args:
        radius: Largest norm, >= 0: a number, a tensor or a variable.
        axis: Axis or list of axes along which it holds; None for the whole weight.

    Raises:
        ValueError: `radius` is negative or not finite.
        TypeError: `radius` is not numeric.

    Example:
        ```python
        weights = tfopt.constraints.L2Ball(1.0)(keras.ops.array([3.0, 4.0]))
        print([f"{float(w):.1f}" for w in weights])  # ['0.6', '0.8']
        ```

    References:
        - Srebro, Rennie, Jaakkola (2005), "Maximum-margin matrix factorization",
          https://papers.nips.cc/paper/2670-maximum-margin-matrix-factorization
    """

    def __init__(self, radius: Number = 1.0, axis: int | list[int] | None = None):
        self.radius = value_argument(radius, "L2Ball", "radius")
        self.axis = axis if axis is None else axes_argument(axis, "L2Ball")

    def __call__(self, w: Any) -> Any:
        """Return the projection of the weight `w`."""
        w = ops.convert_to_tensor(w)
        axis = tuple(self.axis) if isinstance(self.axis, (list, tuple)) else self.axis
        norm = ops.sqrt(ops.sum(ops.square(w), axis=axis, keepdims=True))
        radius = as_tensor(self.radius, w.dtype)
        return ops.where(norm > radius, w * (radius / ops.where(norm > 0, norm, 1)), w)


@keras.saving.register_keras_serializable(package="tfopt")
class Box(_Projection):
    """Keeps every weight between two bounds: the ball of the maximum norm when they are opposite.

    Use it for weights with a physical range, or to clip a critic's weights.

    Args:
        low: Smallest weight.
        high: Largest weight, >= `low`.

    Raises:
        ValueError: `low` > `high`.
        TypeError: A bound is not a number.

    Example:
        ```python
        weights = tfopt.constraints.Box(-1.0, 1.0)(keras.ops.array([3.0, 0.5]))
        print([f"{float(w):.1f}" for w in weights])  # ['1.0', '0.5']
        ```

    References:
        - Arjovsky, Chintala, Bottou (2017), "Wasserstein GAN", https://arxiv.org/abs/1701.07875
    """

    def __init__(self, low: float = -1.0, high: float = 1.0):
        self.low = number_argument(low, "Box", "low")
        self.high = number_argument(high, "Box", "high")
        if self.low > self.high:
            raise ValueError(f"Argument `low` of Box must be <= `high`. Received: low={low}, high={high}.")

    def __call__(self, w: Any) -> Any:
        """Return the projection of the weight `w`."""
        return ops.clip(ops.convert_to_tensor(w), self.low, self.high)


@keras.saving.register_keras_serializable(package="tfopt")
class SpectralBall(_Projection):
    """Keeps a layer from stretching its input by more than a factor: singular values within a radius.

    Use it for Lipschitz-bounded networks; unlike `keras.layers.SpectralNormalization` it leaves smaller singular
    values as they are. The weight is read as the matrix (all axes but the last, last).

    Args:
        radius: Largest singular value, >= 0: a number, a tensor or a variable.

    Raises:
        ValueError: `radius` is negative or not finite.
        TypeError: `radius` is not numeric.

    Example:
        ```python
        weights = tfopt.constraints.SpectralBall(1.0)(keras.ops.array([[3.0, 0.0], [0.0, 0.5]]))
        print(f"{float(weights[0, 0]):.1f} {float(weights[1, 1]):.1f}")  # 1.0 0.5
        ```

    References:
        - Gouk, Frank, Pfahringer, Cree (2021), "Regularisation of neural networks by enforcing Lipschitz continuity",
          https://arxiv.org/abs/1804.04368
    """

    def __init__(self, radius: Number = 1.0):
        self.radius = value_argument(radius, "SpectralBall", "radius")

    def __call__(self, w: Any) -> Any:
        """Return the projection of the weight `w`."""
        w = ops.convert_to_tensor(w)
        left, values, right = ops.svd(ops.reshape(w, (-1, w.shape[-1])), full_matrices=False)
        lowered = ops.minimum(values, as_tensor(self.radius, w.dtype))
        return ops.reshape(ops.matmul(left * lowered, right), w.shape)


_CLASSES: tuple[type, ...] = (Box, L1Ball, L2Ball, Simplex, SpectralBall)


def get(identifier: Any) -> Any:
    """Return the constraint that a name, a config, a class or an instance stands for, tfopt's names first.

    Args:
        identifier: The name, config, class or instance; None stays None.

    Raises:
        ValueError: Neither tfopt nor Keras knows the name; the nearest one is named.

    Example:
        ```python
        print(type(tfopt.constraints.get("simplex")).__name__)  # Simplex
        print(tfopt.constraints.get(None))  # None
        ```
    """
    return look_up(identifier, _CLASSES, keras.constraints.get, "constraint")


def serialize(constraint: Any) -> Any:
    """Return the config from which `deserialize` makes the same constraint.

    Args:
        constraint: A constraint of tfopt's or Keras's.

    Example:
        ```python
        config = tfopt.constraints.serialize(tfopt.constraints.Simplex(2.0))
        print(config["class_name"])  # Simplex
        ```
    """
    return keras.constraints.serialize(constraint)


def deserialize(config: Any) -> Any:
    """Return the constraint that `serialize` described.

    Args:
        config: What `serialize` returned.

    Example:
        ```python
        config = tfopt.constraints.serialize(tfopt.constraints.Simplex(2.0))
        print(tfopt.constraints.deserialize(config).get_config())  # {'total': 2.0, 'axis': 0}
        ```
    """
    return keras.constraints.deserialize(config)
