"""Cross-entropy for labels of either form, of which the training core has a form in NumPy."""

from typing import Any

import keras
from keras import ops

from tfopt._arguments import flag, number_argument


@keras.saving.register_keras_serializable(package="tfopt")
class LabelCrossentropy(keras.losses.CategoricalCrossentropy):
    """Cross-entropy with label smoothing whose labels may be codes as well as one-hots.

    Keras smooths labels in `CategoricalCrossentropy`, which takes one-hots only. Labels of shape (rows,) or (rows, 1)
    are taken as codes 0 … classes - 1.

    Args:
        from_logits: As in `keras.losses.CategoricalCrossentropy`.
        label_smoothing: Float in [0, 1]: share of each label that is spread evenly over all classes.
        **kwargs: Further arguments of `keras.losses.CategoricalCrossentropy`.

    Raises:
        TypeError: An argument of the wrong type.
        ValueError: `label_smoothing` is not between 0 and 1.

    Example:
        ```python
        loss = tfopt.models.LabelCrossentropy(from_logits=True, label_smoothing=0.1)
        logits = np.array([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
        print(bool(loss(np.array([0, 1]), logits) == loss(np.eye(3)[:2], logits)))  # True
        ```
    """

    def __init__(self, from_logits: bool = False, label_smoothing: float = 0.0, **kwargs: Any):
        owner = type(self).__name__
        label_smoothing = number_argument(label_smoothing, owner, "label_smoothing", minimum=0, maximum=1)
        super().__init__(from_logits=flag("from_logits", from_logits, owner), label_smoothing=label_smoothing, **kwargs)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of each row."""
        y_pred = ops.convert_to_tensor(y_pred)
        classes = y_pred.shape[-1]
        if len(y_true.shape) < len(y_pred.shape) or (y_true.shape[-1] == 1 and classes > 1):
            codes = ops.cast(ops.reshape(y_true, ops.shape(y_pred)[:-1]), "int32")
            y_true = ops.one_hot(codes, classes, dtype=y_pred.dtype)
        return super().call(y_true, y_pred)
