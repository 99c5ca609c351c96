"""Whether a logged number should be large or small, for every metric and loss that Keras ships."""

import re
from typing import Literal

import keras_tuner

from tfopt.errors import nearest

Direction = Literal["min", "max"]

# By the name under which Keras logs a metric unless the user names it. KerasTuner 1.4.8 knows 13 classes as "max" and
# minimises every other one of keras.metrics: R2, F1, cosine similarity, IoU, correlations, precision at recall.
_MAX = {
    "acc", "accuracy", "auc", "binary_accuracy", "binary_io_u", "categorical_accuracy",
    "concordance_correlation", "cosine_similarity", "f1_score", "f_beta_score", "fbeta_score", "io_u",
    "mean_io_u", "one_hot_io_u", "one_hot_mean_io_u", "pearson_correlation", "precision", "precision_at_recall",
    "r2_score", "recall", "recall_at_precision", "sensitivity_at_specificity", "sparse_categorical_accuracy",
    "sparse_top_k_categorical_accuracy", "specificity_at_sensitivity", "top_k_categorical_accuracy",
    "true_negatives", "true_positives",
}  # fmt: skip
_MIN = {
    "bce", "binary_crossentropy", "binary_focal_crossentropy", "categorical_crossentropy",
    "categorical_focal_crossentropy", "categorical_generalized_cross_entropy", "categorical_hinge", "ce", "circle",
    "crossentropy", "ctc", "dice", "false_negatives", "false_positives", "hinge", "huber", "kl_divergence", "log_cosh",
    "log_cosh_error", "logcosh", "loss", "mae", "mape", "mean_absolute_error", "mean_absolute_percentage_error",
    "mean_squared_error", "mean_squared_logarithmic_error", "mse", "msle", "poisson", "rmse",
    "root_mean_squared_error", "sparse_categorical_crossentropy", "squared_hinge", "tversky",
}  # fmt: skip


def direction_of(name: str) -> Direction | None:
    """Return the better direction of a log such as `"val_r2_score"`; None if the name does not tell.

    A class name (`"val_MeanIoU"`) and the number that Keras appends to a repeated metric (`"auc_1"`) are understood.
    """
    name = name.removeprefix("val_").removeprefix("weighted_")
    for candidate in (name, re.sub(r"_\d+$", "", name), _snake(name)):
        if candidate in _MAX:
            return "max"
        if candidate in _MIN:
            return "min"
    return None


def objective_of(objective: object) -> keras_tuner.Objective | list[keras_tuner.Objective] | None:
    """Return KerasTuner's objective with the right direction: what its oracles take in place of a name.

    Raises:
        ValueError: The direction of a name is not known.
        TypeError: It is none of these.
    """
    if objective is None or isinstance(objective, keras_tuner.Objective):
        return objective
    if isinstance(objective, list | tuple):
        each = [objective_of(one) for one in objective]
        if any(not isinstance(one, keras_tuner.Objective) for one in each):
            raise TypeError(f"Argument `objective` must list names or keras_tuner.Objective. Received: {objective!r}.")
        return each
    if not isinstance(objective, str):
        raise TypeError(
            f"Argument `objective` must be a log's name such as 'val_loss', or a keras_tuner.Objective. "
            f"Received: {objective!r}."
        )
    direction = direction_of(objective)
    if direction is None:
        prefix = "val_" if objective.startswith("val_") else ""
        known = [prefix + name for name in sorted(_MAX | _MIN)]
        raise ValueError(
            f"Argument `objective` names a metric that Keras does not ship, so that it is not known whether a high or "
            f"a low value is better. Received: {objective!r}.{nearest(objective, known)} "
            f"Pass keras_tuner.Objective({objective!r}, direction='max') or direction='min'."
        )
    return keras_tuner.Objective(objective, direction)


def _snake(name: str) -> str:
    """Return Keras's default name of a metric class: `MeanIoU` is logged as `mean_io_u`."""
    name = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
