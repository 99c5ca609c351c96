"""The search spaces of examples that are no table: `--space cnn`, `sequence` and `text`.

Small networks for two processor cores, each from tfopt's pieces: initializers that fit the activation, residual
branches that begin closed, one cycle of the learning rate. Each kind of network has names of its own for what it
varies: KerasTuner 1.4.8 loses a name that two conditions share.
"""

import math
from typing import Any

import keras
import keras_tuner
from keras import layers, ops

from tfopt.initializers import for_activation
from tfopt.layers import ResidualGain
from tfopt.schedules import from_name
from tfopt.search.backbones import features_of
from tfopt.search.mlp_spaces import batch_size_choice
from tfopt.search.problem import Problem

# Configurations tried after the default: the other kinds of network, and the same one larger.
FIRST: dict[str, list[dict[str, Any]]] = {
    "cnn": [{"filters": 32}, {"augmentation": "none", "num_blocks": 2}],
    "sequence": [{"network": "recurrent"}, {"network": "transformer"}],
    "text": [{"network": "convolution"}, {"network": "transformer"}],
}
_LARGEST_SIDE = 64  # of an image, after which it is halved before anything else


def cnn(hp: keras_tuner.HyperParameters, problem: Problem) -> keras.Model:
    """Vary a small residual network on images: its width, depth and augmentation, dropout, decay and learning rate.

    With a backbone vary what follows it.
    """
    if problem.backbone is not None:
        inputs = problem.inputs()
        hidden = _augmented(inputs, _augmentation(hp))
        return _finished(hp, problem, inputs, features_of(problem.backbone, problem, inputs, hidden))
    filters = hp.Choice("filters", [16, 32], default=16)
    num_blocks = hp.Choice("num_blocks", [1, 2], default=1)
    augmentation = _augmentation(hp)
    inputs = problem.inputs()
    height, width, _ = problem.input_shape
    hidden, side = inputs, min(height, width)
    while side > _LARGEST_SIDE:
        hidden, side = layers.AveragePooling2D(2, padding="same")(hidden), math.ceil(side / 2)
    hidden = _convolution2d(filters, 3)(_augmented(hidden, augmentation))
    for stage in range(max(1, min(3, int(math.log2(side)) - 1))):
        for block in range(num_blocks):
            hidden = _residual(hidden, filters * 2**stage, strides=2 if stage and not block else 1)
    hidden = layers.Activation("relu")(layers.BatchNormalization(momentum=0.9)(hidden))
    return _finished(hp, problem, inputs, layers.GlobalAveragePooling2D()(hidden))


def _augmentation(hp: keras_tuner.HyperParameters) -> str:
    return hp.Choice("augmentation", ["none", "shift", "shift_flip"], default="shift")


def _augmented(hidden: Any, augmentation: str) -> Any:
    if augmentation != "none":
        hidden = layers.RandomTranslation(0.1, 0.1, fill_mode="nearest")(hidden)
    return layers.RandomFlip("horizontal")(hidden) if augmentation == "shift_flip" else hidden


def _convolution2d(filters: int, size: int, strides: int = 1) -> layers.Conv2D:
    return layers.Conv2D(
        filters, size, strides, padding="same", use_bias=False, kernel_initializer=for_activation("relu")
    )


def _residual(inputs: Any, filters: int, strides: int) -> Any:
    """Return two convolutions, each after normalisation and ReLU, beside a shortcut (He et al. 2016)."""
    hidden = layers.Activation("relu")(layers.BatchNormalization(momentum=0.9)(inputs))
    shortcut = inputs
    if strides > 1 or inputs.shape[-1] != filters:
        shortcut = _convolution2d(filters, 1, strides)(hidden)
    hidden = _convolution2d(filters, 3, strides)(hidden)
    hidden = layers.Activation("relu")(layers.BatchNormalization(momentum=0.9)(hidden))
    return layers.Add()([shortcut, ResidualGain()(_convolution2d(filters, 3)(hidden))])


def sequence(hp: keras_tuner.HyperParameters, problem: Problem) -> keras.Model:
    """Vary the network on sequences, a convolution, a GRU or LSTM, or a small Transformer, and the settings of each."""
    kind = hp.Choice("network", ["convolution", "recurrent", "transformer"], default="convolution")
    inputs = problem.inputs()
    with hp.conditional_scope("network", ["convolution"]):
        filters = hp.Choice("filters", [32, 64], default=32)
        num_blocks = hp.Choice("num_blocks", [1, 2, 3], default=2)
    with hp.conditional_scope("network", ["recurrent"]):
        cell = hp.Choice("cell", ["gru", "lstm"], default="gru")
        units = hp.Choice("units", [32, 64], default=32)
    with hp.conditional_scope("network", ["transformer"]):
        transformer = _transformer_settings(hp)
    if kind == "recurrent":
        hidden = (layers.GRU if cell == "gru" else layers.LSTM)(units)(inputs)
    elif kind == "transformer":
        hidden = _of_steps(_transformer(layers.Dense(transformer["width"])(inputs), None, **transformer))
    else:
        hidden = _convolution1d(filters)(inputs)
        for block in range(num_blocks):
            branch = _convolution1d(filters, dilation_rate=2 ** (block + 1))(layers.Activation("relu")(hidden))
            hidden = layers.Add()([hidden, ResidualGain()(branch)])
        hidden = _of_steps(layers.Activation("relu")(hidden))
    return _finished(hp, problem, inputs, hidden)


def _convolution1d(filters: int, **options: Any) -> layers.Conv1D:
    return layers.Conv1D(filters, 5, padding="same", kernel_initializer=for_activation("relu"), **options)


def _of_steps(hidden: Any) -> Any:
    """Return numbers of a whole sequence: the mean over its steps, beside the last step."""
    return layers.Concatenate()([layers.GlobalAveragePooling1D()(hidden), hidden[:, -1]])


def text(hp: keras_tuner.HyperParameters, problem: Problem) -> keras.Model:
    """Vary the network on words, their mean, a convolution or a small Transformer, and the settings of each."""
    kind = hp.Choice("network", ["bag", "convolution", "transformer"], default="bag")
    embedding = hp.Choice("embedding", [32, 64], default=32)
    with hp.conditional_scope("network", ["convolution"]):
        filters = hp.Choice("filters", [32, 64], default=32)
    with hp.conditional_scope("network", ["transformer"]):
        transformer = _transformer_settings(hp)
    inputs = problem.inputs()
    is_word = ops.not_equal(inputs, 0)  # 0 fills up short texts
    hidden = layers.Embedding(problem.vocabulary_size, embedding)(inputs)
    if kind == "convolution":
        hidden = layers.GlobalMaxPooling1D()(layers.Activation("relu")(_convolution1d(filters)(hidden)))
    else:
        if kind == "transformer":
            hidden = _transformer(layers.Dense(transformer["width"])(hidden), is_word, **transformer)
        weight = ops.expand_dims(ops.cast(is_word, hidden.dtype), -1)
        hidden = ops.sum(hidden * weight, axis=1) / ops.maximum(ops.sum(weight, axis=1), 1)  # 1: of an empty text
    return _finished(hp, problem, inputs, hidden)


def _transformer_settings(hp: keras_tuner.HyperParameters) -> dict[str, Any]:
    return {
        "width": hp.Choice("transformer_width", [32, 64], default=32),
        "num_blocks": hp.Choice("transformer_blocks", [1, 2], default=1),
        "num_heads": hp.Choice("num_heads", [2, 4], default=2),
    }


def _transformer(hidden: Any, mask: Any, width: int, num_blocks: int, num_heads: int) -> Any:
    """Return attention and a perceptron, each after normalisation, as often as asked (Vaswani et al. 2017).

    A convolution tells positions apart (Mohamed et al. 2019), whatever the length.
    """
    hidden = layers.Add()([hidden, layers.Conv1D(width, 3, padding="same", activation="gelu")(hidden)])
    mask = None if mask is None else ops.expand_dims(mask, 1)
    for _ in range(num_blocks):
        normal = layers.LayerNormalization()(hidden)
        attention = layers.MultiHeadAttention(num_heads, width // num_heads)(normal, normal, attention_mask=mask)
        hidden = layers.Add()([hidden, attention])
        perceptron = layers.Dense(2 * width, "gelu")(layers.LayerNormalization()(hidden))
        hidden = layers.Add()([hidden, layers.Dense(width)(perceptron)])
    return layers.LayerNormalization()(hidden)


def _finished(hp: keras_tuner.HyperParameters, problem: Problem, inputs: Any, hidden: Any) -> keras.Model:
    """Return the model with its output layer, compiled; declare what all the spaces vary."""
    dropout = hp.Choice("dropout", [0.0, 0.2, 0.4], default=0.2)
    learning_rate = hp.Float("learning_rate", 1e-3, 2e-2, sampling="log", default=5e-3)
    weight_decay = hp.Choice("weight_decay", [0.01, 0.1, 1.0], default=0.1)
    batch_size = batch_size_choice(hp, problem, [1, 2])
    if dropout:
        hidden = layers.Dropout(dropout)(hidden)
    # float32 whatever the precision policy: a loss on half-precision logits loses digits.
    model = keras.Model(inputs, layers.Dense(problem.num_outputs, dtype="float32")(hidden))
    schedule = from_name("one_cycle", learning_rate, problem.total_steps(batch_size))
    loss = (
        keras.losses.MeanSquaredError()
        if problem.task == "regression"
        else keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    model.compile(keras.optimizers.AdamW(schedule, weight_decay=weight_decay), loss)
    return model
