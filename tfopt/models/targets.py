"""What a network for tables is asked for: outputs, loss and metrics by task."""

from collections.abc import Sequence
from typing import Any

import keras

from tfopt._arguments import choice_argument, count_argument, flag, number_argument
from tfopt.training.label_crossentropy import LabelCrossentropy

TASKS = ("regression", "classification")


def check_network(
    owner: str, units: Any, num_layers: Any, dropout: Any, weight_decay: Any, label_smoothing: Any,
    category_units: Any, **flags: Any,
) -> None:  # fmt: skip
    """Check the numbers that the networks for tables have in common, and flags, before anything is built."""
    for name, value in flags.items():
        flag(name, value, owner)
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
