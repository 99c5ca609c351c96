"""The search spaces of a plain multilayer perceptron: what `--space small|mlp|wide` varies.

Each is a KerasTuner hypermodel function over tfopt's own pieces. Two hyperparameters are not the network's but the
session's, which reads them from the trial: `scaling` (how numeric columns are scaled) and `batch_size`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import keras_tuner

from tfopt.initializers import for_activation
from tfopt.regularizers import L1L2
from tfopt.schedules import from_name
from tfopt.search.problem import Problem


def small(hp: keras_tuner.HyperParameters, problem: Problem) -> keras.Model:
    """Vary what matters most, on a grid of 72 points."""
    scale_choice(hp, problem, ["standard"])
    return network(
        problem,
        num_layers=hp.Fixed("num_layers", 2),
        units=hp.Choice("units", [64, 128], default=64),
        activation=hp.Choice("activation", ["relu", "tanh"], default="relu"),
        dropout=hp.Choice("dropout", [0.0, 0.2], default=0.2),
        optimizer=_OptimizerChoice(
            "adamw",
            learning_rate=hp.Choice("learning_rate", [0.002, 0.005, 0.01], default=0.005),
            weight_decay=hp.Choice("weight_decay", [0.1, 1.0, 3.0], default=1.0),
        ),
        batch_size=batch_size_choice(hp, problem, [1]),
    )


def mlp(hp: keras_tuner.HyperParameters, problem: Problem) -> keras.Model:
    """Vary schedule, optimizer, penalty, dropout, normalisation and shape of a network of 1 to 3 layers."""
    scale_choice(hp, problem, ["standard", "robust"])
    settings = mlp_settings(hp, problem, OPTIMIZERS)
    return network(problem, batch_size=batch_size_choice(hp, problem, [1, 2]), **settings)


def mlp_settings(hp: keras_tuner.HyperParameters, problem: Problem, optimizers: Sequence[str]) -> dict[str, Any]:
    """Declare all of `mlp` but what is the session's; return the arguments of `network`."""
    penalty = hp.Choice("penalty", ["none", "l1", "l2"], default="none")
    with hp.conditional_scope("penalty", ["l1"]):
        l1 = hp.Float("l1", 1e-5, 3e-4, sampling="log", default=1e-4)
    with hp.conditional_scope("penalty", ["l2"]):
        l2 = hp.Float("l2", 1e-4, 1e-2, sampling="log", default=1e-3)
    return {
        "num_layers": hp.Choice("num_layers", [1, 2, 3], default=2),
        "units": hp.Choice("units", [32, 64, 128], default=64),
        "activation": hp.Choice("activation", ["relu", "selu", "silu", "tanh"], default="relu"),
        "batch_normalization": hp.Boolean("batch_normalization", default=False),
        "linear_shortcut": hp.Boolean("linear_shortcut", default=True),
        "dropout": hp.Choice("dropout", [0.0, 0.1, 0.2, 0.4], default=0.2),
        "l1": l1 if penalty == "l1" else 0.0,
        "l2": l2 if penalty == "l2" else 0.0,
        "label_smoothing": _label_smoothing(hp, problem),
        "optimizer": _optimizer(hp, 3, optimizers),
        "schedule": hp.Choice("schedule", ["cosine", "linear", "exponential", "step", "constant"], default="cosine"),
        "warmup_fraction": hp.Choice("warmup_fraction", [0.0, 0.1], default=0.0),
    }


def wide(hp: keras_tuner.HyperParameters, problem: Problem) -> keras.Model:
    """Vary everything, over several orders of magnitude."""
    scale_choice(hp, problem, ["standard", "robust", "none"])
    return network(
        problem,
        num_layers=hp.Choice("num_layers", [0, 1, 2, 3, 4], default=2),
        units=hp.Choice("units", [16, 32, 64, 128, 256, 512], default=64),
        activation=hp.Choice("activation", ["relu", "elu", "selu", "gelu", "silu", "tanh"], default="relu"),
        batch_normalization=hp.Boolean("batch_normalization", default=False),
        linear_shortcut=hp.Boolean("linear_shortcut", default=True),
        dropout=hp.Float("dropout", 0.0, 0.6, default=0.1),
        l1=hp.Choice("l1", [0.0, 1e-5, 1e-4, 1e-3], default=0.0),
        l2=hp.Choice("l2", [0.0, 1e-5, 1e-4, 1e-3, 1e-2], default=0.0),
        label_smoothing=_label_smoothing(hp, problem),
        optimizer=_optimizer(hp, 20, OPTIMIZERS),
        schedule=hp.Choice("schedule", ["cosine", "linear", "exponential", "step", "constant"], default="cosine"),
        warmup_fraction=hp.Choice("warmup_fraction", [0.0, 0.05, 0.1, 0.2], default=0.0),
        batch_size=batch_size_choice(hp, problem, [0.5, 1, 2, 4, 8]),
    )


def network(
    problem: Problem,
    *,
    num_layers: int,
    units: int,
    activation: str,
    dropout: float,
    optimizer: "_OptimizerChoice",
    batch_size: int,
    batch_normalization: bool = False,
    linear_shortcut: bool = True,
    l1: float = 0.0,
    l2: float = 0.0,
    label_smoothing: float = 0.0,
    schedule: str = "cosine",
    warmup_fraction: float = 0.0,
) -> keras.Model:
    """Build an MLP; a linear shortcut from input to output lets it be no worse than linear (Cheng et al., 2016)."""

    def dense(units: int, name: str | None = None, **arguments: Any) -> keras.layers.Dense:
        return keras.layers.Dense(units, kernel_regularizer=L1L2(l1, l2) if l1 or l2 else None, name=name, **arguments)

    inputs = keras.Input((problem.num_features,))
    hidden = inputs
    for _ in range(num_layers):
        hidden = dense(units, use_bias=not batch_normalization, kernel_initializer=for_activation(activation))(hidden)
        if batch_normalization:
            # Keras's 0.99 remembers the first hundred steps, which may be half of a small table's training.
            hidden = keras.layers.BatchNormalization(momentum=0.9)(hidden)
        hidden = keras.layers.Activation(activation)(hidden)
        if dropout:
            hidden = keras.layers.Dropout(dropout)(hidden)
    # float32 whatever the precision policy: a loss on half-precision logits loses digits.
    outputs = dense(problem.num_outputs, dtype="float32")(hidden)
    if linear_shortcut and num_layers:
        shortcut = dense(problem.num_outputs, use_bias=False, dtype="float32", name="linear_shortcut")(inputs)
        outputs = keras.layers.Add(dtype="float32")([outputs, shortcut])
    model = keras.Model(inputs, outputs)

    rate = from_name(
        schedule, optimizer.learning_rate, problem.total_steps(batch_size), warmup_fraction=warmup_fraction
    )
    if problem.task == "regression":
        loss = keras.losses.MeanSquaredError()
    elif label_smoothing:
        loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=label_smoothing)
    else:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer.make(rate), loss)
    return model


@dataclass(frozen=True)
class _OptimizerChoice:
    """An optimizer's name and numbers; `make` gives it a schedule."""

    name: str
    learning_rate: float
    weight_decay: float = 0.0

    def make(self, schedule: keras.optimizers.schedules.LearningRateSchedule) -> keras.optimizers.Optimizer:
        if self.name == "adamw":
            return keras.optimizers.AdamW(schedule, weight_decay=self.weight_decay)
        if self.name == "adam":
            return keras.optimizers.Adam(schedule)
        if self.name == "rmsprop":
            return keras.optimizers.RMSprop(schedule)
        if self.name == "momentum":
            return keras.optimizers.SGD(schedule, momentum=0.9, nesterov=True)
        return keras.optimizers.SGD(schedule)


OPTIMIZERS = ("adamw", "adam", "rmsprop", "momentum", "sgd")

# A step along the plain gradient needs a larger rate than one divided by the gradient's size; momentum 0.9 takes ten
# such steps in one. Each kind has a name of its own: KerasTuner 1.4.8 loses a name that two conditions share.
_RATES = {
    "learning_rate": (("adamw", "adam", "rmsprop"), 0.005),
    "momentum_learning_rate": (("momentum",), 0.01),
    "sgd_learning_rate": (("sgd",), 0.05),
}


def _optimizer(hp: keras_tuner.HyperParameters, spread: float, names: Sequence[str]) -> _OptimizerChoice:
    """Declare the optimizer and its numbers, `spread` times to either side of the usual ones."""
    name = hp.Choice("optimizer", list(names), default="adamw")
    with hp.conditional_scope("optimizer", ["adamw"]):
        weight_decay = hp.Float("weight_decay", 0.3 / spread, 1.0 * spread, sampling="log", default=1.0)
    learning_rate = 0.0
    for parameter, (optimizers, usual) in _RATES.items():
        if not set(optimizers) & set(names):
            continue
        with hp.conditional_scope("optimizer", [each for each in optimizers if each in names]):
            value = hp.Float(parameter, usual / spread, usual * spread, sampling="log", default=usual)
        learning_rate = value if name in optimizers else learning_rate
    return _OptimizerChoice(name, learning_rate, weight_decay if name == "adamw" else 0.0)


def scale_choice(hp: keras_tuner.HyperParameters, problem: Problem, choices: list[str]) -> None:
    """Declare how numeric columns are scaled; one common factor where all columns share a unit (pixels)."""
    if problem.same_units:
        choices = ["common", *choices[1:]]
    hp.Choice("scaling", choices, default=choices[0])


def _label_smoothing(hp: keras_tuner.HyperParameters, problem: Problem) -> float:
    return hp.Choice("label_smoothing", [0.0, 0.1], default=0.0) if problem.task == "classification" else 0.0


def batch_size_choice(hp: keras_tuner.HyperParameters, problem: Problem, multiples: list[float]) -> int:
    """Declare the batch size as multiples of 32, or of a power of two that grows with large tables."""
    usual = 32
    while usual < 1024 and usual * 60 < problem.table_rows:
        usual *= 2
    sizes = [int(usual * multiple) for multiple in multiples]
    return hp.Fixed("batch_size", usual) if len(sizes) == 1 else hp.Choice("batch_size", sizes, default=usual)
