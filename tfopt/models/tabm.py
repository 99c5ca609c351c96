"""TabM: many networks for tables that share nearly all their weights."""

from collections.abc import Sequence
from typing import Any

import keras

from tfopt._arguments import choice_argument
from tfopt.layers import (
    BatchEnsembleDense,
    Dropout,
    EnsembleScaling,
    PiecewiseLinearEmbedding,
    SeparateDense,
    TargetScaling,
)
from tfopt.models.columns import ColumnKinds, joined
from tfopt.models.targets import Target, check_network
from tfopt.training.ensemble import EnsembleModel, MeanOfMembers

VARIANTS = ("full", "mini", "packed")


def tabm(
    columns: Sequence[str | int],
    task: str,
    num_outputs: int | None = None,
    *,
    num_members: int = 32,
    variant: str = "full",
    units: int = 512,
    num_layers: int | None = None,
    dropout: float = 0.1,
    learning_rate: Any = 0.002,
    weight_decay: float = 0.0003,
    label_smoothing: float = 0.0,
    num_bins: int | None = 48,
    embedding_units: int = 16,
    max_one_hot: int | None = 32,
    one_hots: Sequence[Sequence[int]] = (),
    category_units: int = 8,
    scaling: bool = True,
    metrics: Sequence[Any] | None = None,
) -> keras.Model:
    """Return TabM, compiled: an ensemble of perceptrons for tables in one, strong on tables of thousands of rows.

    Use it beside `tfopt.models.realmlp`, which it complements. The members share their kernels and are trained
    together, each on its own loss; the prediction is their mean. It costs about `num_members` forward passes: on a CPU
    begin with 8. Train it with early stopping on a validation score (patience 16), and start it from the training rows:

        model = tfopt.models.tabm(["number"] * 8, "regression", num_members=8)
        tfopt.initializers.from_data(model, x, y)
        patience = keras.callbacks.EarlyStopping(patience=16, restore_best_weights=True)
        model.fit(x, y, batch_size=256, epochs=1000, validation_split=0.2, callbacks=[patience])

    Numbers through piecewise-linear embeddings, categories as one-hots; each member's own random factors of the
    inputs; `num_layers` times h_i = dropout(relu(((x_i ∘ r_i) W) ∘ s_i + b_i)); a linear head for each member; AdamW,
    gradients clipped to a norm of 1.

    Not as the original: numbers are scaled as in `tfopt.layers.RobustScaling` rather than by their ranks; AdamW decays
    biases and linear embeddings too (at the default settings by less than a millionth a step); categories of more than
    `max_one_hot` levels get trained vectors.

    Args:
        columns: For each column of the input `"number"`; an int, the levels of a category, given as codes
            0 … levels - 1 (anything else is missing); or `"flag"`, a 0 or 1.
        task: `"regression"` or `"classification"`.
        num_outputs: Number of classes, or of regression targets (1 by default).
        num_members: Number of members.
        variant: `"full"`; `"mini"`, whose members differ in the factors of the inputs and in the heads only;
            `"packed"`, whose members share nothing.
        units: Width of the hidden layers.
        num_layers: Number of hidden layers; by default 2 with embeddings of numbers and 3 without.
        dropout: Rate, of each member's own.
        learning_rate: Float, or a schedule.
        weight_decay: AdamW's.
        label_smoothing: Of classes.
        num_bins: Bins of each number's embedding; None for no embeddings.
        embedding_units: Outputs of each number's embedding.
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
        model = tfopt.models.tabm(["number", "number", 12, 2], "classification", num_outputs=3, num_members=4)
        print(model.output_shape)  # (None, 3)
        ```

    References:
        - Gorishniy, Kotelnikov, Babenko (2024), "TabM: Advancing Tabular Deep Learning with Parameter-Efficient
          Ensembling", https://arxiv.org/abs/2410.24210
    """
    check_network(
        "tabm", units, 0 if num_layers is None else num_layers, dropout, weight_decay, label_smoothing, category_units,
        scaling=scaling,
    )  # fmt: skip
    target = Target(task, num_outputs, "tabm")
    choice_argument(variant, "tabm", "variant", VARIANTS)
    kinds = ColumnKinds(columns, max_one_hot, one_hots)
    numbers, sections = kinds.scaled_numbers(scaling), [1] * len(kinds.numbers)
    embeds = numbers is not None and num_bins is not None
    if numbers is not None and num_bins is not None:
        sections = [embedding_units] * len(kinds.numbers)
        numbers = PiecewiseLinearEmbedding(embedding_units, num_bins, name="curves")(numbers)
    indicators = kinds.indicators(signs=False)
    # One number of each member for all columns that one column of the table has become.
    sections += [1] * len(kinds.flags) + list(kinds.one_hot.values())
    sections += [category_units] * len(kinds.embedded)
    hidden = joined([numbers, indicators, kinds.category_vectors(category_units)], "features")
    if variant != "packed":
        scale = "normal" if embeds else "signs"
        hidden = EnsembleScaling(num_members, scale, sections, name="input_factors")(hidden)
    if num_layers is None:
        num_layers = 2 if embeds else 3
    for layer in range(num_layers):
        if variant == "full":
            hidden = BatchEnsembleDense(units, num_members, "relu", input_scaling=layer > 0)(hidden)
        elif variant == "mini":
            uniform = keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")  # within ±1/√(inputs)
            hidden = keras.layers.Dense(units, "relu", kernel_initializer=uniform)(hidden)
        else:
            hidden = SeparateDense(units, num_members, "relu")(hidden)
        if dropout:
            hidden = Dropout(dropout)(hidden)
    # float32 whatever the precision policy: a loss on half-precision outputs loses digits.
    outputs = SeparateDense(target.num_outputs, num_members, dtype="float32", name="heads")(hidden)
    if not target.is_classification:
        outputs = TargetScaling(name="targets", dtype="float32")(outputs)
    outputs = MeanOfMembers(target.is_classification, name="mean", dtype="float32")(outputs)
    model = EnsembleModel(kinds.input, outputs, name="tabm")
    optimizer = keras.optimizers.AdamW(learning_rate, weight_decay=weight_decay, epsilon=1e-8, global_clipnorm=1.0)
    return target.compile(model, optimizer, label_smoothing, metrics)
