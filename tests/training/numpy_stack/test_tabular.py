"""Networks for tables, and the layers that they are made of, in NumPy against plain fits."""

import keras
import numpy as np
import pytest

import tfopt
from tfopt import models
from tfopt.training.fits import FitRequest
from tfopt.training.numpy_stack import ensembles, tabular

layers = tfopt.layers
RNG = np.random.default_rng(0)
N, STEPS = 70, 6
NUMBERS = RNG.normal(size=(N, 3))
CODES = np.column_stack([RNG.integers(-1, 2, N), RNG.integers(0, 4, N), RNG.integers(-1, 12, N), RNG.integers(0, 2, N)])
X = np.concatenate([NUMBERS, CODES], axis=1).astype("float32")
COLUMNS = ["number"] * 3 + [2, 4, 12, "flag"]
CLASSES = (NUMBERS[:, 0] > 0).astype("int32") + (CODES[:, 1] > 2)
VALUES = (3 * NUMBERS[:, 0] + CODES[:, 1]).astype("float32")
SMALL = {"units": 8, "num_layers": 2}


def realmlp(hp):
    settings = {"learning_rate": hp["lr"], "weight_decay": hp["decay"], "dropout": hp["rate"]}
    settings |= {"embedding": hp.get("embedding", "pbld"), "scale_factor": hp.get("factor", 6.0)}
    return models.realmlp(COLUMNS, "classification", STEPS, 3, **SMALL, **settings)


def realmlp_of_values(hp):
    model = models.realmlp(COLUMNS, "regression", STEPS, **SMALL, learning_rate=hp["lr"])
    model.get_layer("targets").start_from_targets(VALUES)
    return model


def realmlp_s(hp):
    return models.realmlp_s(COLUMNS, "regression", STEPS, **SMALL, learning_rate=hp["lr"])


def tabm(hp):
    settings = {"num_members": 3, "num_bins": 5, "embedding_units": 2, "label_smoothing": 0.1, **SMALL}
    return models.tabm(COLUMNS, "classification", 3, learning_rate=hp["lr"], variant=hp["variant"], **settings)


def tabm_of_values(hp):
    return models.tabm(COLUMNS, "regression", num_members=3, num_bins=None, learning_rate=hp["lr"], **SMALL)


def mlp(hp):
    return models.mlp(COLUMNS, "regression", STEPS, **SMALL, learning_rate=hp["lr"], max_one_hot=0, one_hots=[[6]])


RATES = [{"lr": 0.01}, {"lr": 0.003}]
NETWORKS = {
    "RealMLP": (
        realmlp,
        [
            {"lr": lr, "decay": d, "rate": r, "factor": f}
            for lr, d, r, f in ((0.02, 0.3, 0.3, 6.0), (0.01, 0.1, 0.2, 3.0))
        ],
    ),
    "RealMLP, PL": (realmlp, [{"lr": 0.02, "decay": 0.0, "rate": 0.0, "embedding": "pl"}]),
    "RealMLP, PLR": (realmlp, [{"lr": 0.02, "decay": 0.02, "rate": 0.3, "embedding": "plr"}]),
    "RealMLP of values": (realmlp_of_values, RATES),
    "RealMLP-S": (realmlp_s, RATES),
    "TabM": (tabm, [{**rate, "variant": "full"} for rate in RATES]),
    "TabM-mini": (tabm, [{**rate, "variant": "mini"} for rate in RATES]),
    "packed TabM": (tabm, [{**rate, "variant": "packed"} for rate in RATES]),
    "TabM of values": (tabm_of_values, RATES),
    "MLP": (mlp, RATES),
}


@pytest.mark.long("RealMLP of values", "RealMLP-S", "RealMLP, PL", "RealMLP, PLR", "TabM-mini", "TabM of values", "MLP")
@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_networks(name, check):
    """Weights, what decay has taken, dropout rates, counted steps, logs and predictions."""
    build, configurations = NETWORKS[name]
    targets = CLASSES if build in (realmlp, tabm) else VALUES
    check(build, configurations, engine={"x": X, "y": targets}, predict=np.arange(9))


@pytest.mark.slow
def test_every_form_is_in_a_network():
    seen = {type(layer) for build, hps in NETWORKS.values() for layer in build(hps[0]).layers}
    assert {*tabular.KINDS, *ensembles.KINDS} <= seen


@pytest.mark.slow
def test_one_schedule_in_two_layers_differs_between_members(check):
    """Its numbers are found where the walk met it first."""

    def build(hp):
        rate = tfopt.schedules.LinearDecay(hp["lr"], STEPS)
        decays = [tfopt.schedules.Product([rate, weight]) for weight in (0.5, 0.2)]
        hidden = [layers.NeuralTangentDense(4, "tanh", decay=decay) for decay in decays]
        model = keras.Sequential([keras.Input((7,)), *hidden, keras.layers.Dense(3)])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(rate), loss)
        return model

    check(build, [{"lr": 0.1}, {"lr": 0.02}], engine={"x": X, "y": CLASSES})


REFUSED = {
    "a mean without its model": (
        lambda hidden: keras.Model(
            hidden[0], models.MeanOfMembers()(layers.SeparateDense(3, num_members=2)(hidden[1]))
        ),
        "an EnsembleModel ends with a MeanOfMembers",
    ),
    "an embedding after a dense layer": (
        lambda hidden: keras.Model(hidden[0], keras.layers.Dense(3)(layers.PeriodicEmbedding()(hidden[1]))),
        "comes after what is trained",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_form_is_refused(name, numpy_engine, monkeypatch, caplog):
    make, reason = REFUSED[name]

    def build(hp):
        inputs = keras.Input((7,))
        model = make((inputs, keras.layers.Dense(4)(inputs)))
        model.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        return model

    caplog.set_level("DEBUG", "tfopt")
    with pytest.raises(AssertionError, match="not a graph"):
        list(numpy_engine(build, X, CLASSES).stacked([FitRequest({}, 1, 1)]))
    assert reason in caplog.text
