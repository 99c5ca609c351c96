"""What a network for tables is asked for: outputs, loss and metrics by task."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tfopt._arguments import choice_argument, count_argument, flag, number_argument

TASKS = ("regression", "classification")


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


def check_network(
    owner: str, units: Any, num_layers: Any, dropout: Any, weight_decay: Any, label_smoothing: Any, category_units: Any
) -> None:
    """Check the numbers that the networks for tables have in common, before anything is built."""
    count_argument(units, owner, "units")
    count_argument(num_layers, owner, "num_layers", minimum=0)
    count_argument(category_units, owner, "category_units")
    number_argument(weight_decay, owner, "weight_decay", minimum=0)
    for name, share in (("dropout", dropout), ("label_smoothing", label_smoothing)):
        number_argument(share, owner, name, minimum=0, maximum=1)


class Target:
    """A task with its number of outputs.

    Args:
        task: `"regression"` or `"classification"`.
        num_outputs: Classes, or targets of a regression (1 where it is None).
        owner: Function that is given these, for messages.
    """

    def __init__(self, task: str, num_outputs: int | None, owner: str):
        choice_argument(task, owner, "task", TASKS)
        self.is_classification = task == "classification"
        if num_outputs is None:
            if self.is_classification:
                raise ValueError(f"Argument `num_outputs` of {owner} must be the number of classes. Received: None.")
            num_outputs = 1
        self.num_outputs = count_argument(num_outputs, owner, "num_outputs", minimum=2 if self.is_classification else 1)

    def compile(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        label_smoothing: float,
        metrics: Sequence[Any] | None,
    ) -> keras.Model:
        """Return the model, compiled: classes are given as logits, so that half precision costs no digits."""
        loss: keras.losses.Loss = keras.losses.MeanSquaredError()
        if self.is_classification:
            loss = LabelCrossentropy(from_logits=True, label_smoothing=label_smoothing)
        if metrics is None:
            metrics = ["accuracy"] if self.is_classification else []
        model.compile(optimizer, loss, metrics=list(metrics))
        return model
