"""The search spaces by name: those of RealMLP and TabM, and the default one, a portfolio of all networks for tables."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import keras_tuner

from tfopt.models import realmlp as realmlp_network
from tfopt.models import tabm as tabm_network
from tfopt.schedules import from_name
from tfopt.search.array_spaces import FIRST, cnn, sequence, text
from tfopt.search.mlp_spaces import batch_size_choice, mlp, mlp_settings, network, scale_choice, small, wide
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


def portfolio(hp: keras_tuner.HyperParameters, problem: Problem) -> keras.Model:
    """Vary the network, MLP, RealMLP or TabM, and the settings of each; of an MLP's optimizers the adaptive ones."""
    kind = hp.Choice("network", ["mlp", "realmlp", "tabm"], default="mlp")
    scale_choice(hp, problem, ["standard", "robust"])
    with hp.conditional_scope("network", ["mlp"]):
        of_mlp = mlp_settings(hp, problem, ["adamw", "adam", "rmsprop"])
    with hp.conditional_scope("network", ["realmlp"]):
        of_realmlp = _realmlp_settings(hp, problem, [64, 128])
    with hp.conditional_scope("network", ["tabm"]):
        of_tabm = _tabm_settings(hp, [32, 64], [4, 8])
    batch_size = batch_size_choice(hp, problem, [1, 2])
    if kind == "realmlp":
        return _realmlp(problem, of_realmlp, batch_size)
    if kind == "tabm":
        return _tabm(problem, of_tabm, batch_size)
    return network(problem, batch_size=batch_size, **of_mlp)


def realmlp(hp: keras_tuner.HyperParameters, problem: Problem) -> keras.Model:
    """Vary RealMLP: shape, embedding of numbers, dropout, rates and decay, around the paper's settings."""
    scale_choice(hp, problem, ["robust", "standard"])
    settings = _realmlp_settings(hp, problem, [64, 128, 256])
    return _realmlp(problem, settings, batch_size_choice(hp, problem, [1, 2, 4]))


def tabm(hp: keras_tuner.HyperParameters, problem: Problem) -> keras.Model:
    """Vary TabM: shape, members, embedding of numbers, dropout, rate and decay."""
    scale_choice(hp, problem, ["standard", "robust"])
    settings = _tabm_settings(hp, [32, 64, 128, 256], [4, 8, 16])
    return _tabm(problem, settings, batch_size_choice(hp, problem, [1, 2, 4]))


SPACES: dict[str, Build] = {
    "cnn": cnn,
    "sequence": sequence,
    "text": text,
    "small": small,
    "default": portfolio,
    "wide": wide,
    "mlp": mlp,
    "realmlp": realmlp,
    "tabm": tabm,
    "portfolio": portfolio,
}

# What the portfolio tries first: docs/search.md says how it was found. What is not named has its default.
_FIRST: list[dict[str, Any]] = [
    {
        "network": "realmlp",
        "scaling": "robust",
        "realmlp_num_layers": 1,
        "realmlp_dropout": 0.3,
        "realmlp_weight_decay": 0.2,
    },
    {"units": 128, "batch_normalization": True, "dropout": 0.4, "weight_decay": 2.0},
    {"network": "tabm", "tabm_num_layers": 1, "tabm_num_bins": 8, "tabm_learning_rate": 0.01},
    {"num_layers": 1, "activation": "silu", "dropout": 0.4, "learning_rate": 0.01},
    {"network": "realmlp", "realmlp_dropout": 0.3, "realmlp_learning_rate": 0.05},
    {
        "network": "tabm",
        "scaling": "robust",
        "tabm_num_members": 4,
        "tabm_units": 32,
        "tabm_num_bins": 8,
        "tabm_weight_decay": 0.3,
    },
    {"num_layers": 1, "units": 128, "dropout": 0.4, "weight_decay": 3.0},
    {"units": 128, "batch_normalization": True, "linear_shortcut": False, "activation": "silu"},
    {"network": "realmlp", "scaling": "robust", "realmlp_frequency_scale": 0.3, "realmlp_weight_decay": 0.1},
    {"network": "tabm", "tabm_weight_decay": 0.3},
]


def first_of(name: str) -> list[dict[str, Any]]:
    """Return configurations of a space that are tried after its default and before the oracle's own proposals."""
    return _FIRST if SPACES.get(name) is portfolio else FIRST.get(name, [])


# A name of its own for each network's hyperparameter: KerasTuner 1.4.8 loses a name that two conditions share.


def _realmlp_settings(hp: keras_tuner.HyperParameters, problem: Problem, units: Sequence[int]) -> dict[str, Any]:
    usual_rate = 0.04 if problem.task == "classification" else 0.2
    return {
        "num_layers": hp.Choice("realmlp_num_layers", [1, 2, 3], default=2),
        "units": hp.Choice("realmlp_units", list(units), default=128),
        "embedding": hp.Choice("realmlp_embedding", ["pbld", "none"], default="pbld"),
        "frequency_scale": hp.Float("realmlp_frequency_scale", 0.03, 3.0, sampling="log", default=0.1),
        "dropout": hp.Choice("realmlp_dropout", [0.0, 0.15, 0.3], default=0.15),
        "learning_rate": hp.Float(
            "realmlp_learning_rate", usual_rate / 4, usual_rate * 2, sampling="log", default=usual_rate
        ),
        "weight_decay": hp.Float("realmlp_weight_decay", 0.002, 0.5, sampling="log", default=0.02),
        "first_layer_factor": hp.Float("realmlp_first_layer_factor", 0.3, 1.5, sampling="log", default=1.0),
        "label_smoothing": hp.Choice("realmlp_label_smoothing", [0.0, 0.1], default=0.1)
        if problem.task == "classification"
        else 0.0,
    }


def _realmlp(problem: Problem, settings: dict[str, Any], batch_size: int) -> keras.Model:
    embedding = None if settings["embedding"] == "none" else settings["embedding"]
    # A step takes 6 x rate x decay of an input factor away, which may not be more than all of it.
    weight_decay = min(settings["weight_decay"], 0.166 / settings["learning_rate"])
    # Scaled by the session; kernels and biases of N(0, 1), as no model of a search sees its rows before its first step.
    return realmlp_network(
        problem.columns,
        problem.task,
        problem.total_steps(batch_size),
        problem.num_outputs,
        one_hots=problem.one_hots,  # more than eight become trained vectors
        scaling=False,
        start="normal",
        metrics=[],
        **(settings | {"embedding": embedding, "weight_decay": weight_decay}),
    )


def _tabm_settings(hp: keras_tuner.HyperParameters, units: Sequence[int], members: Sequence[int]) -> dict[str, Any]:
    return {
        "num_members": hp.Choice("tabm_num_members", list(members), default=8),
        "num_layers": hp.Choice("tabm_num_layers", [1, 2, 3], default=2),
        "units": hp.Choice("tabm_units", list(units), default=64),
        "num_bins": hp.Choice("tabm_num_bins", [0, 8, 16], default=0),
        "dropout": hp.Choice("tabm_dropout", [0.0, 0.1, 0.3], default=0.1),
        "learning_rate": hp.Float("tabm_learning_rate", 1e-3, 2e-2, sampling="log", default=5e-3),
        "weight_decay": hp.Float("tabm_weight_decay", 3e-4, 1.0, sampling="log", default=1e-2),
    }


def _tabm(problem: Problem, settings: dict[str, Any], batch_size: int) -> keras.Model:
    rate = from_name("cosine", settings["learning_rate"], problem.total_steps(batch_size))
    # The bins are even between -3 and 3, which is where scaled numbers are.
    given = settings | {"learning_rate": rate, "num_bins": settings["num_bins"] or None, "embedding_units": 4}
    return tabm_network(problem.columns, problem.task, problem.num_outputs, scaling=False, metrics=[], **given)
