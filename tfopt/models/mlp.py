"""The plain multilayer perceptron for tables."""

from collections.abc import Sequence
from typing import Any

import keras

from tfopt._arguments import text
from tfopt.initializers import for_activation
from tfopt.layers import TargetScaling
from tfopt.models.columns import ColumnKinds, joined
from tfopt.models.targets import Target, check_network
from tfopt.schedules import from_name


def mlp(
    columns: Sequence[str | int],
    task: str,
    total_steps: int,
    num_outputs: int | None = None,
    *,
    units: int = 64,
    num_layers: int = 2,
    activation: str = "relu",
    linear_shortcut: bool = True,
    dropout: float = 0.2,
    learning_rate: float = 0.005,
    schedule: str = "cosine",
    weight_decay: float = 1.0,
    label_smoothing: float = 0.0,
    max_one_hot: int | None = 32,
    one_hots: Sequence[Sequence[int]] = (),
    category_units: int = 8,
    scaling: bool = True,
    metrics: Sequence[Any] | None = None,
) -> keras.Model:
    """Return a plain multilayer perceptron for tables, compiled: what the others are to be compared with.

    Use it on tables of a few hundred rows, where its small width, its strong weight decay and the linear shortcut from
    inputs to outputs, which lets it be no worse than a linear model, often win. `tfopt.initializers.from_data`
    measures the scaling of inputs and targets.

    Args:
        columns: For each column of the input `"number"`; an int, the levels of a category, given as codes
            0 … levels - 1 (anything else is missing); or `"flag"`, a 0 or 1.
        task: `"regression"` or `"classification"`.
        total_steps: Int ≥ 1: optimizer steps of the whole training, for the schedule.
        num_outputs: Number of classes, or of regression targets (1 by default).
        units: Width of the hidden layers.
        num_layers: Number of hidden layers; 0 for a linear model.
        activation: Keras's name.
        linear_shortcut: Whether a linear map of the inputs is added to the outputs.
        dropout: Rate.
        learning_rate: At the top of the schedule.
        schedule: A name of `tfopt.schedules.names()`.
        weight_decay: AdamW's.
        label_smoothing: Of classes.
        max_one_hot: Most levels that become one-hots; None for any number.
        one_hots: For each category that is given as flags, the columns of these: more than `max_one_hot` are taken as
            one category of so many levels.
        category_units: Length of the vectors of categories with more levels.
        scaling: Whether numbers are scaled within the model; False where they are already.
        metrics: As in `model.compile`; accuracy for classification by default.

    Raises:
        ValueError: An argument is out of bounds, or no kind of column.
        TypeError: A number is no number.

    Example:
        ```python
        model = tfopt.models.mlp(["number"] * 4 + [3], "regression", total_steps=500)
        print(model.output_shape)  # (None, 1)
        ```

    References:
        - Cheng et al. (2016), "Wide & Deep Learning for Recommender Systems", for the shortcut,
          https://arxiv.org/abs/1606.07792
    """
    check_network(
        "mlp", units, num_layers, dropout, weight_decay, label_smoothing, category_units,
        linear_shortcut=linear_shortcut, scaling=scaling,
    )  # fmt: skip
    text("schedule", schedule, "mlp")
    target = Target(task, num_outputs, "mlp")
    kinds = ColumnKinds(columns, max_one_hot, one_hots)
    numbers, indicators = kinds.scaled_numbers(scaling), kinds.indicators(signs=False)
    features = joined([numbers, indicators, kinds.category_vectors(category_units)], "features")
    hidden = features
    for _ in range(num_layers):
        hidden = keras.layers.Dense(units, activation, kernel_initializer=for_activation(activation))(hidden)
        if dropout:
            hidden = keras.layers.Dropout(dropout)(hidden)
    # float32 whatever the precision policy: a loss on half-precision outputs loses digits.
    outputs = keras.layers.Dense(target.num_outputs, dtype="float32", name="outputs")(hidden)
    if linear_shortcut and num_layers:
        shortcut = keras.layers.Dense(target.num_outputs, use_bias=False, dtype="float32", name="linear_shortcut")(
            features
        )
        outputs = keras.layers.Add(dtype="float32")([outputs, shortcut])
    if not target.is_classification:
        outputs = TargetScaling(name="targets", dtype="float32")(outputs)
    model = keras.Model(kinds.input, outputs, name="mlp")
    optimizer = keras.optimizers.AdamW(from_name(schedule, learning_rate, total_steps), weight_decay=weight_decay)
    return target.compile(model, optimizer, label_smoothing, metrics)
