"""Losses for Keras models that Keras does not have."""

from typing import Any

import keras
import numpy as np
from keras import ops

from tfopt._arguments import array_argument, text

__all__ = ["QuantileLoss"]


@keras.saving.register_keras_serializable(package="tfopt")
class QuantileLoss(keras.losses.Loss):
    """Pinball loss of several quantiles at once: each output of the model becomes a quantile of the target.

    Where to use it: forecasts with an interval. The last layer has as many units as there are quantiles, in their
    order, and no activation; `predict` gives a column each. Nothing keeps the columns from crossing: sort each row
    where they must not. With `e = y - ŷ` of quantile `q`:

        loss = q · e        if e >= 0
               (q - 1) · e  if e < 0

    The loss of a row is the mean over the quantiles. Every engine of `tfopt.training` trains it.

    Args:
        quantiles: Numbers between 0 and 1, or one of them.
        reduction: As in every Keras loss.
        name: Name of the loss.

    Raises:
        TypeError: `quantiles` are no numbers.
        ValueError: They are not between 0 and 1, or the model has not as many outputs.

    Example:
        ```python
        loss = tfopt.losses.QuantileLoss([0.1, 0.9])
        targets, outputs = np.array([[1.0], [1.0]]), np.array([[0.0, 2.0], [1.0, 0.0]])
        print(f"{float(loss(targets, outputs)):.3f}")  # 0.275
        ```

    References:
        - Koenker, Bassett (1978), "Regression quantiles", https://doi.org/10.2307/1913643
    """

    def __init__(
        self,
        quantiles: Any = (0.1, 0.5, 0.9),
        reduction: str = "sum_over_batch_size",
        name: str = "quantile_loss",
    ):
        owner = type(self).__name__
        super().__init__(name=text("name", name, owner), reduction=text("reduction", reduction))
        values = np.atleast_1d(array_argument("quantiles", quantiles, owner)).astype("float64")
        if values.ndim != 1 or not values.size or not ((values > 0) & (values < 1)).all():
            raise ValueError(
                f"Argument `quantiles` of {owner} must be numbers between 0 and 1. Received: quantiles={quantiles!r}. "
                "Give shares, such as [0.1, 0.5, 0.9]."
            )
        self.quantiles = values.tolist()

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of every row."""
        count = len(self.quantiles)
        if y_pred.shape[-1] != count:
            raise ValueError(
                f"{type(self).__name__} of {count} quantiles needs a model with {count} outputs. Received: outputs of "
                f"shape {tuple(y_pred.shape)}. End it with keras.layers.Dense({count})."
            )
        if len(y_true.shape) < len(y_pred.shape):
            y_true = ops.expand_dims(y_true, -1)
        if y_true.shape[-1] != 1:
            raise ValueError(
                f"{type(self).__name__} takes one target, of which each output is a quantile. Received: targets of "
                f"shape {tuple(y_true.shape)}. Give each target an output and a loss of its own."
            )
        error = y_true - y_pred
        quantiles = ops.convert_to_tensor(self.quantiles, dtype=error.dtype)
        return ops.mean(ops.maximum(quantiles * error, (quantiles - 1) * error), axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments as plain Python values."""
        return {"quantiles": self.quantiles, "reduction": self.reduction, "name": self.name}
