"""The loss without penalties, as a metric: what searches over penalties compare."""

from typing import Any

import keras


class UnpenalizedLoss(keras.metrics.Mean):
    """The loss without the penalties that are being tuned, which Keras's `val_loss` contains.

    Args:
        loss: The model's.
        name: Its key in the logs.
    """

    def __init__(self, loss: Any, name: str = "unpenalized_loss"):
        super().__init__(name=name)
        self._loss = loss

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Add a batch."""
        loss = self._loss(y_true, y_pred, sample_weight=sample_weight)
        return super().update_state(loss, sample_weight=keras.ops.shape(y_pred)[0])
