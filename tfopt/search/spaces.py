"""The MLP search spaces: what `--space small|default|wide` varies.

Each is a KerasTuner hypermodel function over tfopt's own pieces. Two hyperparameters are not the network's but the
session's, which reads them from the trial: `scaling` (how numeric columns are scaled) and `batch_size`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import keras_tuner

from tfopt.initializers import for_activation
from tfopt.regularizers import L1L2
from tfopt.schedules import from_name
from tfopt.search.problem import Problem

Build = Callable[[keras_tuner.HyperParameters, Problem], keras.Model]


@dataclass(frozen=True)
class Space:
    """A hypermodel and how it is trained.

    Args:
        name: For reports.
        build: Returns the compiled model of one configuration.
        fit: A `HyperModel.fit(hp, model, …)` of the user's own, or None for `model.fit`'s mathematics.
    """

    name: str
    build: Build
    fit: Callable[..., keras.callbacks.History] | None = None


def small(hp: keras_tuner.HyperParameters, problem: Problem) -> keras.Model:
    """Vary what matters most, on a grid of 72 points."""
    _scaling(hp, problem, ["standard"])
    return _network(
        hp,
        problem,
        num_layers=hp.Fixed("num_layers", 2),
        units=hp.Choice("units", [64, 128], default=64),
        activation=hp.Choice("activation", ["relu", "tanh"], default="relu"),
        dropout=hp.Choice("dropout", [0.0, 0.2], default=0.2),
        weight_decay=hp.Choice("weight_decay", [0.01, 0.1, 1.0], default=0.1),
        learning_rate=hp.Choice("learning_rate", [0.001, 0.003, 0.01], default=0.003),
    )


def default(hp: keras_tuner.HyperParameters, problem: Problem) -> keras.Model:
    """Vary schedule, optimizer, penalties, dropout, normalisation and shape of a network of 1 to 3 layers."""
    _scaling(hp, problem, ["standard", "robust"])
    optimizer = hp.Choice("optimizer", ["adamw", "adam", "rmsprop", "momentum", "sgd"], default="adamw")
    weight_decay, learning_rate = _optimizer_numbers(hp, (0.01, 1.0), (0.001, 0.01), (0.01, 0.1))
    return _network(
        hp,
        problem,
        num_layers=hp.Choice("num_layers", [1, 2, 3], default=2),
        units=hp.Choice("units", [32, 64, 128], default=64),
        activation=hp.Choice("activation", ["relu", "selu", "silu", "tanh"], default="relu"),
        batch_normalization=hp.Boolean("batch_normalization", default=False),
        dropout=hp.Choice("dropout", [0.0, 0.1, 0.2, 0.4], default=0.1),
        l1=hp.Choice("l1", [0.0, 1e-4, 1e-3], default=0.0),
        l2=hp.Choice("l2", [0.0, 1e-3, 1e-2], default=0.0),
        label_smoothing=_label_smoothing(hp, problem),
        optimizer=optimizer,
        weight_decay=weight_decay,
        learning_rate=learning_rate,
        schedule=hp.Choice("schedule", ["cosine", "linear", "exponential", "step", "constant"], default="cosine"),
        warmup_fraction=hp.Choice("warmup_fraction", [0.0, 0.1], default=0.0),
        batch_size=_batch_size(hp, problem, [1, 2]),
    )


def wide(hp: keras_tuner.HyperParameters, problem: Problem) -> keras.Model:
    """Vary everything, over several orders of magnitude."""
    _scaling(hp, problem, ["standard", "robust", "none"])
    optimizer = hp.Choice("optimizer", ["adamw", "adam", "rmsprop", "momentum", "sgd"], default="adamw")
    weight_decay, learning_rate = _optimizer_numbers(hp, (1e-4, 3.0), (1e-4, 0.03), (1e-3, 1.0))
    return _network(
        hp,
        problem,
        num_layers=hp.Choice("num_layers", [0, 1, 2, 3, 4], default=2),
        units=hp.Choice("units", [16, 32, 64, 128, 256, 512], default=64),
        activation=hp.Choice("activation", ["relu", "elu", "selu", "gelu", "silu", "tanh"], default="relu"),
        batch_normalization=hp.Boolean("batch_normalization", default=False),
        dropout=hp.Float("dropout", 0.0, 0.6, default=0.1),
        l1=hp.Choice("l1", [0.0, 1e-5, 1e-4, 1e-3, 1e-2], default=0.0),
        l2=hp.Choice("l2", [0.0, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1], default=0.0),
        label_smoothing=_label_smoothing(hp, problem),
        optimizer=optimizer,
        weight_decay=weight_decay,
        learning_rate=learning_rate,
        schedule=hp.Choice("schedule", ["cosine", "linear", "exponential", "step", "constant"], default="cosine"),
        warmup_fraction=hp.Choice("warmup_fraction", [0.0, 0.05, 0.1, 0.2], default=0.0),
        batch_size=_batch_size(hp, problem, [0.5, 1, 2, 4, 8]),
    )


SPACES: dict[str, Build] = {"small": small, "default": default, "wide": wide}


def _network(
    hp: keras_tuner.HyperParameters,
    problem: Problem,
    *,
    num_layers: int,
    units: int,
    activation: str,
    dropout: float,
    weight_decay: float,
    learning_rate: float,
    batch_normalization: bool = False,
    l1: float = 0.0,
    l2: float = 0.0,
    label_smoothing: float = 0.0,
    optimizer: str = "adamw",
    schedule: str = "cosine",
    warmup_fraction: float = 0.0,
    batch_size: int | None = None,
) -> keras.Model:
    penalty = (lambda: L1L2(l1, l2)) if l1 or l2 else (lambda: None)
    model = keras.Sequential([keras.Input((problem.num_features,))])
    for _ in range(num_layers):
        model.add(
            keras.layers.Dense(
                units,
                use_bias=not batch_normalization,
                kernel_initializer=for_activation(activation),
                kernel_regularizer=penalty(),
            )
        )
        if batch_normalization:
            model.add(keras.layers.BatchNormalization())
        model.add(keras.layers.Activation(activation))
        if dropout:
            model.add(keras.layers.Dropout(dropout))
    # float32 whatever the precision policy: a loss on half-precision logits loses digits.
    model.add(keras.layers.Dense(problem.num_outputs, kernel_regularizer=penalty(), dtype="float32"))

    batch_size = batch_size or _batch_size(hp, problem, [1])
    rate = from_name(schedule, learning_rate, problem.total_steps(batch_size), warmup_fraction=warmup_fraction)
    if problem.task == "regression":
        loss = keras.losses.MeanSquaredError()
    elif label_smoothing:
        loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=label_smoothing)
    else:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(_optimizer(optimizer, rate, weight_decay), loss)
    return model


def _optimizer(name: str, learning_rate, weight_decay: float) -> keras.optimizers.Optimizer:
    if name == "adamw":
        return keras.optimizers.AdamW(learning_rate, weight_decay=weight_decay)
    if name == "adam":
        return keras.optimizers.Adam(learning_rate)
    if name == "rmsprop":
        return keras.optimizers.RMSprop(learning_rate)
    return keras.optimizers.SGD(learning_rate, momentum=0.9 if name == "momentum" else 0.0, nesterov=name == "momentum")


def _optimizer_numbers(
    hp: keras_tuner.HyperParameters,
    weight_decay: tuple[float, float],
    adaptive: tuple[float, float],
    gradient: tuple[float, float],
) -> tuple[float, float]:
    """Return (weight decay, peak learning rate) in the range that fits the optimizer chosen.

    A plain gradient step needs rates some ten times those of the optimizers that divide by the gradient's size. The two
    rates have two names: KerasTuner 1.4.8 loses a name that two conditions share.
    """
    optimizer = hp.get("optimizer")
    with hp.conditional_scope("optimizer", ["adamw"]):
        decay = hp.Float("weight_decay", *weight_decay, sampling="log", default=0.1)
    with hp.conditional_scope("optimizer", ["adamw", "adam", "rmsprop"]):
        adaptive_rate = hp.Float("learning_rate", *adaptive, sampling="log", default=0.003)
    with hp.conditional_scope("optimizer", ["momentum", "sgd"]):
        gradient_rate = hp.Float("sgd_learning_rate", *gradient, sampling="log", default=0.03)
    return decay, gradient_rate if optimizer in {"momentum", "sgd"} else adaptive_rate


def _scaling(hp: keras_tuner.HyperParameters, problem: Problem, choices: list[str]) -> None:
    """Declare how numeric columns are scaled; one common factor where all columns share a unit (pixels)."""
    if problem.same_units:
        choices = ["common", *choices[1:]]
    hp.Choice("scaling", choices, default=choices[0])


def _label_smoothing(hp: keras_tuner.HyperParameters, problem: Problem) -> float:
    return hp.Choice("label_smoothing", [0.0, 0.1], default=0.0) if problem.task == "classification" else 0.0


def _batch_size(hp: keras_tuner.HyperParameters, problem: Problem, multiples: list[float]) -> int:
    """Declare the batch size as multiples of 32, or of a power of two that grows with large tables."""
    usual = 32
    while usual < 1024 and usual * 60 < problem.table_rows:
        usual *= 2
    sizes = [int(usual * multiple) for multiple in multiples]
    return hp.Fixed("batch_size", usual) if len(sizes) == 1 else hp.Choice("batch_size", sizes, default=usual)
