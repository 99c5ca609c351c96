"""The loss of support vector regression, which Keras does not have."""

from typing import Any

import keras
from keras import ops

from tfopt._arguments import flag, number_argument, text


@keras.saving.register_keras_serializable(package="tfopt")
class EpsilonInsensitive(keras.losses.Loss):
    """Epsilon-insensitive loss: errors up to `epsilon` cost nothing.

    Use it to train a Keras model on the objective of scikit-learn's `LinearSVR` or `SGDRegressor`.
    `loss = max(0, |y − ŷ| − epsilon)`, or its square.

    Args:
        epsilon: Width of the free zone, >= 0, in units of the target.
        squared: Whether the excess is squared.
        reduction: As in every Keras loss.
        name: Name of the loss.

    Raises:
        ValueError: `epsilon` is negative.

    Example:
        ```python
        loss = tfopt.regularizers.EpsilonInsensitive(0.5)
        print(f"{float(loss(keras.ops.array([[1.0], [1.0]]), keras.ops.array([[1.2], [3.0]]))):.2f}")  # 0.75
        ```

    References:
        - Vapnik (1995), "The nature of statistical learning theory", https://doi.org/10.1007/978-1-4757-2440-0
    """

    def __init__(
        self,
        epsilon: float = 0.0,
        squared: bool = False,
        reduction: str = "sum_over_batch_size",
        name: str = "epsilon_insensitive",
    ):
        super().__init__(name=text("name", name, "EpsilonInsensitive"), reduction=text("reduction", reduction))
        self.epsilon = number_argument(epsilon, "EpsilonInsensitive", "epsilon", minimum=0)
        self.squared = flag("squared", squared, "EpsilonInsensitive")

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of every row."""
        excess = ops.maximum(ops.abs(y_true - y_pred) - self.epsilon, 0)
        return ops.mean(ops.square(excess) if self.squared else excess, axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments as plain Python values."""
        return {"epsilon": self.epsilon, "squared": self.squared, "reduction": self.reduction, "name": self.name}
