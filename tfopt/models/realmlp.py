"""RealMLP, the multilayer perceptron for tables with pre-tuned settings, and its small form."""

import functools
from collections.abc import Sequence
from typing import Any

import keras

from tfopt._arguments import choice_argument, count_argument, number_argument
from tfopt.initializers import HePlusBias, UnitVariance
from tfopt.layers import (
    Dropout,
    FeatureScaling,
    NeuralTangentDense,
    ParametricActivation,
    PeriodicEmbedding,
    RobustScaling,
    TargetScaling,
)
from tfopt.layers.periodic_embedding import VARIANTS
from tfopt.models.columns import ColumnKinds, joined
from tfopt.models.targets import Target, check_network
from tfopt.schedules import CosLog, FlatThenAnneal, Product

_NORMAL = keras.initializers.RandomNormal(0.0, 1.0)


def realmlp(
    columns: Sequence[str | int],
    task: str,
    total_steps: int,
    num_outputs: int | None = None,
    *,
    units: int = 256,
    num_layers: int = 3,
    activation: str | None = None,
    parametric_activation: bool = True,
    dropout: float = 0.15,
    learning_rate: float | None = None,
    beta_2: float = 0.95,
    weight_decay: float = 0.02,
    label_smoothing: float = 0.1,
    embedding: str | None = "pbld",
    embedding_units: int = 4,
    num_frequencies: int = 16,
    frequency_scale: float = 0.1,
    max_one_hot: int | None = 8,
    one_hots: Sequence[Sequence[int]] = (),
    category_units: int = 8,
    scaling: bool = True,
    start: str = "data",
    embedding_factor: float = 0.1,
    scale_factor: float | None = 6.0,
    first_layer_factor: float = 1.0,
    bias_factor: float = 0.1,
    activation_factor: float = 0.1,
    metrics: Sequence[Any] | None = None,
) -> keras.Model:
    """Return RealMLP, compiled: a multilayer perceptron whose settings do well on tables of all kinds, untuned.

    Use it where boosted trees are the first choice. Train it for 256 epochs in batches of 256 rows, and start it from
    the training rows:

        model = tfopt.models.realmlp(["number"] * 8, "regression", total_steps=tfopt.schedules.num_updates(...))
        tfopt.initializers.from_data(model, x, y)
        model.fit(x, y, epochs=256, batch_size=256)

    Categories as one-hots (two levels as ±1) or trained vectors; numbers and one-hots centred on the median, divided by
    the interquartile range and bent at ±3; numbers through trained waves; a trained factor for each input; dense layers
    in neural-tangent parametrisation with trained activations; Adam under `coslog4`, with dropout and a decoupled
    weight decay that stay for half of the training and then fall to 0 along a cosine. Classes come as logits;
    regression targets need no scaling, once `from_data` has seen them.

    Not as the original: its rate factors count once in the weight decay, not twice; the vectors of missing or unknown
    categories begin at 0 rather than at a random place; validation scores choose no epoch, as all schedules end at 0.

    Args:
        columns: For each column of the input `"number"`; an int, the levels of a category, given as codes
            0 … levels - 1 (anything else is missing); or `"flag"`, a 0 or 1.
        task: `"regression"` or `"classification"`.
        total_steps: Int ≥ 1: optimizer steps of the whole training, for the schedules.
        num_outputs: Number of classes, or of regression targets (1 by default).
        units: Width of the hidden layers.
        num_layers: Number of hidden layers.
        activation: Keras's name; `"selu"` for classification and `"mish"` for regression by default.
        parametric_activation: Whether the activations' strengths are trained.
        dropout: Rate at the start.
        learning_rate: At the top of each cycle; 0.04 for classification and 0.2 for regression by default.
        beta_2: Adam's.
        weight_decay: Times the learning rate, the share of the weights (not of biases) that a step takes at the start.
        label_smoothing: Of classes; 0 where probabilities are scored.
        embedding: How numbers are embedded, `"pbld"`, `"plr"` or `"pl"` (`tfopt.layers.PeriodicEmbedding`); None for
            not at all.
        embedding_units: Outputs of each number.
        num_frequencies: Waves of each number.
        frequency_scale: Standard deviation of their frequencies at the start.
        max_one_hot: Most levels that become one-hots; None for any number.
        one_hots: For each category that is given as flags, the columns of these: more than `max_one_hot` are taken as
            one category of so many levels.
        category_units: Length of the vectors of categories with more levels.
        scaling: Whether numbers and one-hots are scaled within the model; False where they are already.
        start: `"data"` for kernels and biases that `from_data` sets; `"normal"` for N(0, 1) and an output layer of 0.
        embedding_factor: What the learning rate of the waves is multiplied by.
        scale_factor: Likewise, of the input factors; None to leave them out.
        first_layer_factor: Likewise, of the first layer's kernel.
        bias_factor: Likewise, of the biases.
        activation_factor: Likewise, of the activations' strengths.
        metrics: As in `model.compile`; accuracy for classification by default.

    Raises:
        ValueError: An argument is out of bounds, or no kind of column.
        TypeError: A number is no number.

    Example:
        ```python
        model = tfopt.models.realmlp(["number", "number", 12, 2], "classification", total_steps=500, num_outputs=3)
        print(model.output_shape)  # (None, 3)
        ```

    References:
        - Holzmüller, Grinsztajn, Steinwart (2024), "Better by Default: Strong Pre-Tuned MLPs and Boosted Trees on
          Tabular Data", https://arxiv.org/abs/2407.04491
    """
    check_network(
        "realmlp", units, num_layers, dropout, weight_decay, label_smoothing, category_units,
        parametric_activation=parametric_activation, scaling=scaling,
    )  # fmt: skip
    target = Target(task, num_outputs, "realmlp")
    choice_argument(start, "realmlp", "start", ("data", "normal"))
    if embedding is not None:
        choice_argument(embedding, "realmlp", "embedding", VARIANTS)
    count_argument(embedding_units, "realmlp", "embedding_units", 2 if embedding == "pbld" else 1)
    count_argument(num_frequencies, "realmlp", "num_frequencies")
    number_argument(beta_2, "realmlp", "beta_2", 0, 1)
    if learning_rate is not None:
        number_argument(learning_rate, "realmlp", "learning_rate", 0)
    factors = {
        "embedding_factor": embedding_factor,
        "first_layer_factor": first_layer_factor,
        "activation_factor": activation_factor,
    } | ({} if scale_factor is None else {"scale_factor": scale_factor})
    for name, factor in {**factors, "bias_factor": bias_factor}.items():
        number_argument(factor, "realmlp", name, 0, exclusive=True)
    if learning_rate is None:
        learning_rate = 0.04 if target.is_classification else 0.2
    fastest = max(factors, key=lambda name: factors[name])
    if (share := learning_rate * weight_decay * factors[fastest]) > 1:
        raise ValueError(
            f"Arguments `learning_rate`, `weight_decay` and `{fastest}` of realmlp must have a product of at most 1, "
            f"the share of a weight that a step takes away. Received: {share:g}. Lower one of them."
        )
    if activation is None:
        activation = "selu" if target.is_classification else "mish"

    def fading(start: float) -> FlatThenAnneal:
        return FlatThenAnneal(start, total_steps, flat_fraction=0.5)

    @functools.cache  # layers of one factor share a schedule: making and checking it takes as long as making a layer
    def decay(factor: float) -> Product:
        return Product([CosLog(learning_rate * factor, total_steps), fading(weight_decay)])

    def paced(factor: float) -> dict[str, Any]:
        """The arguments of a layer whose learning rate is multiplied by a factor, and its weight decay with it."""
        return {"learning_rate_factor": factor} | ({"decay": decay(factor)} if weight_decay else {})

    def dense(units: int, factor: float = 1.0, **options: Any) -> keras.layers.Layer:
        kernel: Any = UnitVariance() if start == "data" else _NORMAL.clone()
        bias: Any = HePlusBias() if start == "data" else _NORMAL.clone()
        options = {"kernel_initializer": kernel, "bias_initializer": bias} | options
        return NeuralTangentDense(units, bias_learning_rate_factor=bias_factor, **paced(factor), **options)

    kinds = ColumnKinds(columns, max_one_hot, one_hots)
    numbers = kinds.scaled_numbers(scaling)
    if numbers is not None and embedding is not None:
        numbers = PeriodicEmbedding(
            embedding_units, num_frequencies, frequency_scale, embedding, name="waves", **paced(embedding_factor)
        )(numbers)
    indicators = kinds.indicators(signs=True)
    if indicators is not None and scaling:
        indicators = RobustScaling(name="scaled_indicators")(indicators)
    hidden = joined([numbers, indicators, kinds.category_vectors(category_units, **paced(1.0))], "features")
    if scale_factor is not None:
        hidden = FeatureScaling(name="input_factors", **paced(scale_factor))(hidden)
    dropping = fading(dropout) if dropout else None
    for layer in range(num_layers):
        hidden = dense(units, first_layer_factor if layer == 0 else 1.0)(hidden)
        if parametric_activation:
            hidden = ParametricActivation(activation, **paced(activation_factor))(hidden)
        else:
            hidden = keras.layers.Activation(activation)(hidden)
        if dropping is not None:
            hidden = Dropout(dropping)(hidden)
    last: dict[str, Any] = {} if start == "data" else {"kernel_initializer": "zeros", "bias_initializer": "zeros"}
    # float32 whatever the precision policy: a loss on half-precision outputs loses digits.
    outputs = dense(target.num_outputs, dtype="float32", name="outputs", **last)(hidden)
    if not target.is_classification:
        outputs = TargetScaling(name="targets", dtype="float32")(outputs)
    model = keras.Model(kinds.input, outputs, name="realmlp")
    optimizer = keras.optimizers.Adam(CosLog(learning_rate, total_steps), beta_2=beta_2, epsilon=1e-8)
    return target.compile(model, optimizer, label_smoothing, metrics)


def realmlp_s(
    columns: Sequence[str | int],
    task: str,
    total_steps: int,
    num_outputs: int | None = None,
    *,
    learning_rate: float | None = None,
    **options: Any,
) -> keras.Model:
    """Return the small RealMLP, compiled: the parts of `tfopt.models.realmlp` that are done in a few lines anywhere.

    Use it where the full one is too slow: scaled inputs, one-hots, input factors, neural-tangent parametrisation,
    label smoothing and `coslog4`; no embeddings of numbers, trained activations, dropout or weight decay, and kernels
    of N(0, 1) under an output layer of zeros. `tfopt.initializers.from_data` is still needed for the scaling. Not as
    the original: categories of more than 32 levels get trained vectors (`max_one_hot=None` for one-hots).

    Args:
        columns: As in `tfopt.models.realmlp`.
        task: `"regression"` or `"classification"`.
        total_steps: Int ≥ 1: optimizer steps of the whole training, for the schedule.
        num_outputs: Number of classes, or of regression targets (1 by default).
        learning_rate: At the top of each cycle; 0.04 for classification and 0.07 for regression by default.
        **options: Any other keyword argument of `tfopt.models.realmlp`.

    Raises:
        ValueError: An argument is out of bounds, or no kind of column.
        TypeError: A number is no number.

    Example:
        ```python
        model = tfopt.models.realmlp_s(["number"] * 4, "regression", total_steps=500)
        print(model.output_shape)  # (None, 1)
        ```

    References:
        - Holzmüller, Grinsztajn, Steinwart (2024), "Better by Default: Strong Pre-Tuned MLPs and Boosted Trees on
          Tabular Data", RealMLP-TD-S, https://arxiv.org/abs/2407.04491
    """
    if learning_rate is None:
        learning_rate = 0.04 if task == "classification" else 0.07
    small: dict[str, Any] = {
        "parametric_activation": False,
        "dropout": 0.0,
        "weight_decay": 0.0,
        "embedding": None,
        "max_one_hot": 32,
        "start": "normal",
    }
    return realmlp(columns, task, total_steps, num_outputs, learning_rate=learning_rate, **(small | options))
