"""Every configuration of the spaces builds, trains and ends its schedule with the training."""

import json

import keras
import keras_tuner
import numpy as np
import pandas as pd
import pytest

import tfopt
from tfopt.search import session
from tfopt.search.config import SPACES as NAMES
from tfopt.search.oracles import default_values, discover, fold_oracle, grid_size
from tfopt.search.problem import Problem
from tfopt.search.spaces import SPACES, Space, first_of

TASKS = ("classification", "regression")


def problem(task="classification", **changes) -> Problem:
    values = {"num_features": 6, "num_outputs": 3, "num_rows": 100, "epochs": 5, "table_rows": 150} | changes
    return Problem(task, **values)


def sample(name: str, of: Problem, seed: int) -> tuple[dict, keras.Model]:
    """Build a random configuration as KerasTuner's random search draws it."""
    hp = discover(Space(name, SPACES[name]), of)
    oracle = keras_tuner.oracles.RandomSearchOracle(
        objective=keras_tuner.Objective("score", "max"), hyperparameters=hp, max_trials=1, seed=seed + 1
    )
    values = oracle.populate_space("0")["values"]
    drawn = hp.copy()
    drawn.values = values
    return values, SPACES[name](drawn, of)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_wide_configurations_build_what_they_say(seed):
    of = problem(TASKS[seed % 2])
    values, model = sample("wide", of, seed)
    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    hidden = [layer for layer in layers if layer.units == values["units"]]
    shortcuts = [layer for layer in layers if layer.name == "linear_shortcut"]
    assert len(hidden) == values["num_layers"]
    assert len(shortcuts) == (values["linear_shortcut"] and values["num_layers"] > 0)
    assert len(layers) == len(hidden) + len(shortcuts) + 1
    assert model.output_shape == (None, of.num_outputs)
    assert sum(isinstance(layer, keras.layers.Dropout) for layer in model.layers) == (
        values["num_layers"] if values["dropout"] else 0
    )
    rates = {"sgd": "sgd_learning_rate", "momentum": "momentum_learning_rate"}
    rate = values[rates.get(values["optimizer"], "learning_rate")]
    schedule = keras.optimizers.serialize(model.optimizer)["config"]["learning_rate"]
    peak = max(
        float(keras.optimizers.schedules.deserialize(schedule)(step))
        for step in range(of.total_steps(values["batch_size"]))
    )
    assert peak == pytest.approx(rate, rel=0.2)
    assert not isinstance(model.optimizer, keras.optimizers.AdamW) or values["optimizer"] == "adamw"


@pytest.mark.parametrize("name", ["cosine", "linear"])
def test_the_schedule_ends_with_the_training(name):
    of = problem()
    hp = discover(Space("mlp", SPACES["mlp"]), of).copy()
    hp.values = {**default_values(hp), "schedule": name}
    model = SPACES["mlp"](hp, of)
    model.optimizer.build(model.trainable_variables)
    end = of.epochs * -(-of.num_rows // hp.values["batch_size"])
    assert of.num_rows % hp.values["batch_size"]
    for steps, expected in ((0, hp.values["learning_rate"]), (end, 0.0)):
        model.optimizer.iterations.assign(steps)
        assert float(model.optimizer.learning_rate) == pytest.approx(expected, rel=1e-5)
    model.optimizer.iterations.assign(end - 1)
    assert float(model.optimizer.learning_rate) > 0


@pytest.mark.slow
def test_the_offer_depends_on_the_table_alone():
    first, *others = (
        discover(Space("default", SPACES["default"]), problem(num_rows=rows)) for rows in (100, 10, 90, 140)
    )
    for again in others:
        assert default_values(again) == default_values(first)
        assert [p.name for p in again.space] == [p.name for p in first.space]


def test_large_tables_get_large_batches():
    sizes = [
        default_values(discover(Space("small", SPACES["small"]), problem(table_rows=rows)))["batch_size"]
        for rows in (100, 2_000, 20_000, 10**6)
    ]
    assert sizes == sorted(sizes)
    assert sizes[0] == 32
    assert sizes[-1] == 1024


def test_pixels_are_scaled_by_one_factor():
    values = default_values(discover(Space("default", SPACES["default"]), problem(same_units=True)))
    assert values["scaling"] == "common"


def test_small_is_a_grid_of_72():
    hp = discover(Space("small", SPACES["small"]), problem())
    assert grid_size(hp) == 72


@pytest.mark.slow
def test_an_initializer_matches_its_activation():
    """The spread of a wide layer's output keeps its size through He, LeCun and friends."""
    for activation in ("relu", "selu", "silu", "tanh"):
        hp = discover(Space("mlp", SPACES["mlp"]), problem(num_features=400)).copy()
        hp.values = {**default_values(hp), "activation": activation, "num_layers": 3, "units": 128, "dropout": 0.0}
        keras.utils.set_random_seed(0)
        model = SPACES["mlp"](hp, problem(num_features=400))
        last = [layer for layer in model.layers if isinstance(layer, keras.layers.Activation)][-1]
        hidden = keras.Model(model.inputs[0], last.output)
        x = np.random.default_rng(0).normal(size=(256, 400)).astype("float32")
        spread = float(np.sqrt(np.mean(keras.ops.convert_to_numpy(hidden(x)) ** 2)))
        assert 0.5 < spread < 2.0, activation


def test_the_command_line_offers_every_space():
    assert set(NAMES) == set(SPACES)


@pytest.mark.parametrize("task", TASKS)
def test_the_first_trials_are_of_the_space_and_differ(task, tmp_path):
    of = problem(task)
    hp = discover(Space("default", SPACES["default"]), of)
    known = {parameter.name for parameter in hp.space}
    oracle = fold_oracle("random", hp, 30, 5, 0, tmp_path, first_of("default"))
    trials = [oracle.create_trial(f"tuner{number}").hyperparameters for number in range(14)]
    others = known - {"label_smoothing", "realmlp_label_smoothing"} if task == "regression" else known
    for given, trial in zip(first_of("default"), trials, strict=False):
        assert set(given) <= others
        assert given.items() <= trial.values.items()  # none is out of the conditions that it stands under
        for parameter in trial.space:
            if parameter.name in given and isinstance(parameter, keras_tuner.engine.hyperparameters.Choice):
                assert given[parameter.name] in parameter.values
    configurations = [default_values(hp), *(trial.values for trial in trials)]
    assert len({repr(sorted(values.items())) for values in configurations}) == len(configurations)
    again = fold_oracle("random", hp, 30, 5, 0, tmp_path / "without", ())
    drawn = [again.create_trial(f"tuner{number}").hyperparameters.values for number in range(14)]
    first = len(first_of("default"))
    assert [trial.values for trial in trials[first:]] == drawn[first:]  # the oracle's own, as if it had made all


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("name", ["default", "realmlp", "tabm"])
def test_networks_for_tables_build_what_they_say(name, seed):
    of = problem(TASKS[seed % 2], kinds=("number",) * 4 + ("flag",) * 2)
    values, model = sample(name, of, seed)
    kind = values.get("network", name)
    assert kind != "mlp" or values["optimizer"] in ("adamw", "adam", "rmsprop")
    assert model.output_shape == (None, of.num_outputs)
    layers = [type(layer).__name__ for layer in model.layers]
    if kind == "realmlp":
        assert layers.count("ParametricActivation") == values["realmlp_num_layers"]
        assert ("PeriodicEmbedding" in layers) == (values["realmlp_embedding"] == "pbld")
        steps = of.total_steps(values["batch_size"])
        rates = model.optimizer._learning_rate.curve(np.linspace(0, steps, 2001))
        assert rates.max() == pytest.approx(values["realmlp_learning_rate"], rel=1e-3)
        assert rates[-1] == pytest.approx(0, abs=1e-9)
    if kind == "tabm":
        assert layers.count("BatchEnsembleDense") == values["tabm_num_layers"]
        assert model.get_layer("heads").num_members == values["tabm_num_members"]
        assert ("PiecewiseLinearEmbedding" in layers) == (values["tabm_num_bins"] > 0)


def test_categories_of_many_levels_become_vectors():
    one_hots = (tuple(range(1, 9)), tuple(range(9, 29)))
    of = problem(num_features=30, kinds=("number",) + ("flag",) * 29, one_hots=one_hots)
    hp = keras_tuner.HyperParameters()
    hp.values = {"network": "realmlp"}
    model = SPACES["default"](hp, of)
    assert model.get_layer("category_vectors").levels == [20]  # eight stay one-hots
    assert model.get_layer("flags").columns == [*range(1, 9), 29]


@pytest.mark.parametrize("name", ["default", "realmlp"])
def test_realmlp_builds_where_rate_and_decay_are_at_their_largest(name):
    of = problem("regression")
    largest = {
        parameter.name: parameter.max_value
        for parameter in discover(Space(name, SPACES[name]), of).space
        if parameter.name in ("realmlp_learning_rate", "realmlp_weight_decay")
    }
    hp = keras_tuner.HyperParameters()
    hp.values = {"network": "realmlp", **largest}
    decay = SPACES[name](hp, of).get_layer("input_factors").decay
    assert 0.9 < float(np.max(decay.curve(np.linspace(0, of.total_steps(32), 2001)))) <= 1


@pytest.mark.long("realmlp-price")
@pytest.mark.slow
@pytest.mark.parametrize(("space", "target"), [("realmlp", "price"), ("tabm", "city")])
def test_a_network_for_tables_is_searched_saved_and_predicts(space, target, table_path, configure, tmp_path):
    whole = tmp_path / "whole.csv"
    pd.read_csv(table_path).dropna().to_csv(whole, index=False)
    settings = {"space": space, "target": (target,), "max_trials": 1, "baselines": "none", "holdout": 0.3, "seeds": 1}
    found = session.run(configure(tmp_path / "run", data=str(whole), **settings))
    assert found.num_failed == 0
    lines = [json.loads(line) for line in (tmp_path / "run" / "trials.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {(fit["engine"], fit["reason"]) for line in lines for fit in line.get("fits", ())} == {("population", "")}
    network = keras.models.load_model(tmp_path / "run" / "best.keras", compile=False)
    frame = tfopt.data.load_table(whole, target=target).features
    assert np.isfinite(network.predict(frame, verbose=0)).all()
