"""Distance from given weights: fine-tuning that stays near its starting point."""

from typing import Any

import keras
import numpy as np
from keras import ops

from tfopt._arguments import Number, as_tensor, number, value_argument
from tfopt.regularizers.base import Penalty


@keras.saving.register_keras_serializable(package="tfopt")
class L2SP(Penalty):
    """L2-SP penalty: pulls the weights towards given ones instead of towards zero.

    Use it to fine-tune a trained network on little data; `tfopt.regularizers.attach_l2sp` gives every layer of a model
    its own weights as reference. `penalty = strength · Σ(w − w₀)²`. The reference is saved in the config, as numbers.

    Args:
        strength: >= 0: a number, a tensor or a variable; a stack of N values gives N penalties.
        reference: w₀, an array of the weight's shape; None is zero, which makes it L2.

    Raises:
        ValueError: Negative strength, or a reference of another shape than the weight.
        TypeError: A strength that is not numeric.

    Example:
        ```python
        penalty = tfopt.regularizers.L2SP(0.5, reference=[1.0, 1.0])
        print(f"{float(penalty(keras.ops.array([1.0, 3.0]))):.2f}")  # 2.00
        ```

    References:
        - Li, Grandvalet, Davoine (2018), "Explicit inductive bias for transfer learning with convolutional networks",
          https://arxiv.org/abs/1802.01483
    """

    smooth = True

    def __init__(self, strength: Number = 0.01, reference: Any = None):
        self.strength = value_argument(strength, "L2SP", "strength")
        if hasattr(reference, "numpy"):
            reference = reference.numpy()
        self.reference = None if reference is None else np.asarray(number("reference", reference, owner="L2SP"))

    def __call__(self, x: Any) -> Any:
        """Return the penalty of the weight `x`."""
        return as_tensor(self.strength, x.dtype) * ops.sum(ops.square(x - self._origin(x)))

    def proximal(self, x: Any, step: Any) -> Any:
        """Return `x` moved towards the reference: `(x + 2 step · strength · w₀) / (1 + 2 step · strength)`."""
        pull = 2 * step * as_tensor(self.strength, x.dtype)
        return (x + pull * self._origin(x)) / (1 + pull)

    def _origin(self, x: Any) -> Any:
        if self.reference is None:
            return ops.zeros_like(x)
        if self.reference.shape != tuple(x.shape):
            raise ValueError(
                "Argument `reference` of L2SP must have the weight's shape. "
                f"Received: reference of shape {self.reference.shape}, weight of shape {tuple(x.shape)}."
            )
        return ops.convert_to_tensor(self.reference, dtype=x.dtype)
