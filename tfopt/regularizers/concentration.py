"""Penalties on how evenly the weights share their size: Hoyer's ratio and the sorted L1 norm."""

from typing import Any

import keras
import numpy as np
from keras import ops

from tfopt._arguments import Number, as_tensor, choice_argument, number_argument, value_argument
from tfopt.regularizers.base import Penalty
from tfopt.regularizers.group import safe_norm


def _ratio_to_size(x: Any) -> Any:
    """‖x‖₁/‖x‖₂, between 1 (one weight) and √n (all alike); 0 where all are zero."""
    norm = safe_norm(ops.sum(ops.square(x)))
    return ops.where(norm > 0, ops.sum(ops.abs(x)) / ops.where(norm > 0, norm, 1), 0)


@keras.saving.register_keras_serializable(package="tfopt")
class Hoyer(Penalty):
    """Hoyer penalty: few large weights instead of many alike, whatever their scale.

    Use it where L1 would only shrink everything: multiplying all weights by a number changes nothing.
    `penalty = strength · ‖w‖₁/‖w‖₂`, between 1 and √n times the strength.

    Args:
        strength: >= 0: a number, a tensor or a variable; a stack of N values gives N penalties.

    Raises:
        ValueError: The strength is negative or not finite.
        TypeError: The strength is not numeric.

    Example:
        ```python
        penalty = tfopt.regularizers.Hoyer(1.0)
        print(f"{float(penalty(keras.ops.array([3.0, 4.0]))):.2f}")  # 1.40
        ```

    References:
        - Hoyer (2004), "Non-negative matrix factorization with sparseness constraints",
          https://www.jmlr.org/papers/v5/hoyer04a.html
    """

    def __init__(self, strength: Number = 0.01):
        self.strength = value_argument(strength, "Hoyer", "strength")

    def __call__(self, x: Any) -> Any:
        """Return the penalty of the weight `x`."""
        return as_tensor(self.strength, x.dtype) * _ratio_to_size(x)


@keras.saving.register_keras_serializable(package="tfopt")
class HoyerSquare(Penalty):
    """Hoyer-square penalty: a smooth stand-in for the number of weights that are not zero.

    Use it to prune: `‖w‖₁²/‖w‖₂²` is the count itself when the remaining weights are alike, and its slope pulls small
    weights down while it lets large ones grow.

    Args:
        strength: >= 0: a number, a tensor or a variable; a stack of N values gives N penalties.

    Raises:
        ValueError: The strength is negative or not finite.
        TypeError: The strength is not numeric.

    Example:
        ```python
        penalty = tfopt.regularizers.HoyerSquare(1.0)
        print(f"{float(penalty(keras.ops.array([2.0, -2.0, 0.0]))):.2f}")  # 2.00
        ```

    References:
        - Yang, Wen, Li (2020), "DeepHoyer: learning sparser neural network with differentiable scale-invariant sparsity
          measures", https://arxiv.org/abs/1908.09979
    """

    def __init__(self, strength: Number = 0.01):
        self.strength = value_argument(strength, "HoyerSquare", "strength")

    def __call__(self, x: Any) -> Any:
        """Return the penalty of the weight `x`."""
        return as_tensor(self.strength, x.dtype) * ops.square(_ratio_to_size(x))


@keras.saving.register_keras_serializable(package="tfopt")
class SLOPE(Penalty):
    """Sorted L1 penalty: the larger a weight, the stronger its pull; correlated weights are drawn to equal sizes.

    Use it to select features with few false ones, or to find clusters of equal coefficients.
    `penalty = strength · Σ s_i |w|₍ᵢ₎` with |w|₍₁₎ the largest and s falling from 1.

    Args:
        strength: >= 0: a number, a tensor or a variable; a stack of N values gives N penalties.
        sequence: `"bh"` (Benjamini-Hochberg: s_i ∝ Φ⁻¹(1 − i·q/2n)) or `"linear"` (OSCAR: s_i = 1 − (i − 1)/n).
        q: Share of false selections aimed at, between 0 and 1; for `"bh"`.

    Raises:
        ValueError: An argument is out of its range.
        TypeError: An argument is not numeric.

    Example:
        ```python
        penalty = tfopt.regularizers.SLOPE(1.0, sequence="linear")
        print(f"{float(penalty(keras.ops.array([1.0, -2.0]))):.2f}")  # 2.50
        ```

    References:
        - Bogdan, van den Berg, Sabatti, Su, Candès (2015), "SLOPE: adaptive variable selection via convex
          optimization", https://arxiv.org/abs/1407.3824
    """

    def __init__(self, strength: Number = 0.01, sequence: str = "bh", q: float = 0.1):
        self.strength = value_argument(strength, "SLOPE", "strength")
        self.sequence = choice_argument(sequence, "SLOPE", "sequence", ("bh", "linear"))
        self.q = number_argument(q, "SLOPE", "q", minimum=0, maximum=1, exclusive=True)

    def __call__(self, x: Any) -> Any:
        """Return the penalty of the weight `x`."""
        sizes = ops.reshape(ops.abs(x), (-1,))
        falling = ops.flip(ops.sort(sizes), axis=0)
        weights = ops.convert_to_tensor(self._weights(sizes.shape[0]), dtype=x.dtype)
        return as_tensor(self.strength, x.dtype) * ops.sum(weights * falling)

    def _weights(self, size: int) -> np.ndarray:
        from scipy import special  # `import tfopt` should not pay for it

        rank = np.arange(1, size + 1)
        if self.sequence == "linear":
            return 1 - (rank - 1) / size
        quantiles = special.ndtri(1 - rank * self.q / (2 * size))
        return quantiles / quantiles[0]
