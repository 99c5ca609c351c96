"""Private names that are gone: what rests on them is off, what is plain serves, and one warning says so."""

import json
import random
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfopt
from tfopt._private.needs import available, missing, needs, problem
from tfopt.training.choose import engine_for
from tfopt.training.fits import FitRequest

NEEDS = needs()
NAMES = [(need.name, name) for need in NEEDS.values() for name in need.names]


@pytest.fixture
def told():
    """Return the list of what is said of private names that are not as they were; other warnings are errors still."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("always", message=".*another inside")
        yield _Messages(caught)


class _Messages(Sequence):
    def __init__(self, caught):
        self._caught = caught

    def __len__(self):
        return len(self._caught)

    def __getitem__(self, index):
        return str(self._caught[index].message)


@pytest.mark.parametrize("name", NEEDS)
def test_every_need_is_met_by_what_is_installed(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert problem(name) is None
        assert available(name)


def test_every_need_says_who_needs_it_and_what_serves_instead():
    for need in NEEDS.values():
        assert need.names
        assert need.used_by
        assert need.instead[0].isupper()
        assert not need.instead.endswith(".")


@pytest.mark.parametrize(("need", "name"), NAMES)
def test_a_hidden_name_is_noticed_and_said_once(need, name, hide, told):
    hide([name])
    assert not available(need)
    assert not available(need)
    assert need in missing(need)
    [message] = told
    assert need in message
    assert NEEDS[need].instead in message
    assert "tfopt doctor" in message


def test_a_name_that_does_something_else_is_noticed(hide, monkeypatch):
    hide([])
    monkeypatch.setattr(keras.Model, "_symbolic_build", lambda self, **_: None)
    assert problem("first batch") == "RuntimeError: Model._symbolic_build does something else than it did"


def test_looking_leaves_every_random_stream_and_name_as_it_was(hide):
    def streams():
        return random.getstate(), np.random.get_state()[1].tolist()

    keras.utils.set_random_seed(3)
    expected = [float(keras.random.uniform(())) for _ in range(2)], float(tf.random.uniform(())), streams()
    names = [keras.layers.Dense(1).name, keras.optimizers.SGD().name, keras.metrics.AUC().name]
    keras.utils.set_random_seed(3)
    first = float(keras.random.uniform(()))
    hide([])
    for name in NEEDS:
        assert problem(name) is None
    found = [first, float(keras.random.uniform(()))], float(tf.random.uniform(())), streams()
    assert found[0] == expected[0]
    assert found[1] == expected[1]
    assert found[2] == expected[2]
    after = [keras.layers.Dense(1).name, keras.optimizers.SGD().name, keras.metrics.AUC().name]
    counts = [[int(("0" + name.rpartition("_")[2]) if "_" in name else 0) for name in both] for both in (names, after)]
    assert [later - earlier for earlier, later in zip(*counts, strict=True)] == [1, 1, 1]


# What a need serves, without it --------------------------------------------------------------------------------------

CONFIGURATIONS = [{"rate": 0.01}, {"rate": 0.03}]
X = np.random.default_rng(0).normal(size=(48, 3)).astype("float32")
Y = X @ np.array([[1.0], [-2.0], [0.5]], "float32")


def dense(values):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, "tanh"), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(values["rate"]), "mse")
    return model


def of_other_layers(values):
    """One that NumPy does not train."""
    slopes = keras.layers.LeakyReLU(negative_slope=10 * values["rate"])
    normal = keras.layers.LayerNormalization()
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4), normal, slopes, keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(values["rate"]), "mse")
    return model


def losses(kind, build):
    requests = [FitRequest(values, 7, epochs=1, batch_size=16) for values in CONFIGURATIONS]
    results = engine_for(kind, build, X, Y, shuffle=False).fit(requests)
    assert [result.failure for result in results] == [None] * len(requests)
    return [result.history["loss"] for result in results], {result.engine for result in results}, results


@pytest.fixture(scope="module")
def plain_losses():
    """Return a function that trains by `model.fit` alone, each model once."""
    return cache(lambda build: losses("plain", build)[0])


WITHOUT = {  # what trains a dense model; and what one of other layers, where the need is theirs too
    "calls of layers": {dense: "plain"},
    "generator of unseeded draws": {dense: "plain"},
    "seeds": {dense: "plain"},
    "loss and metrics": {dense: "population"},
    "moments": {dense: "population"},
    "learning rate": {dense: "shared"},
    "stacked optimizer": {of_other_layers: "shared"},
    "batching rules": {of_other_layers: "shared"},
    "numbers handed to C": {of_other_layers: "population"},
}


@pytest.mark.long(
    "stacked optimizer", "numbers handed to C", "calls of layers", "batching rules", "moments", "learning rate", "seeds"
)
@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NEEDS if NEEDS[name].used_by != "tuners"])
def test_fits_are_those_of_keras_without_a_need(name, hide, told, plain_losses):
    others = {other for need in NEEDS.values() if need.name != name for other in need.names}
    hide([other for other in NEEDS[name].names if other not in others] or NEEDS[name].names)
    for build, engine in WITHOUT.get(name, {dense: "population"}).items():
        found, used, results = losses("population", build)
        np.testing.assert_allclose(found, plain_losses(build), rtol=1e-4)
        assert used == {engine}
        assert engine != "plain" or all(name in result.reason for result in results)
    assert len(told) <= 1
    assert all(name in message for message in told)
    assert told or WITHOUT.get(name) is None or name == "numbers handed to C"


@pytest.mark.slow
def test_gradient_norms_without_its_need(hide, told):
    hide(NEEDS["gradients at the optimizer"].names)
    model = dense({"rate": 0.1})
    norms, guard = tfopt.callbacks.GradientNorms(), tfopt.callbacks.NonFiniteGuard()
    history = model.fit(X, Y, epochs=2, verbose=0, callbacks=[norms, guard]).history
    assert len(told) == 1
    assert "gradients at the optimizer" in told[0]
    assert np.all(np.isnan(history["grad_norm"]))
    assert np.all(np.isnan(history["grad_norm_nonfinite"])), "nothing was looked at, so nothing was found"
    assert np.all(np.isfinite(history["loss"]))


@pytest.mark.slow
def test_dropout_effects_and_mc_dropout_without_their_need(hide, told):
    hide(NEEDS["generator of unseeded draws"].names)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dropout(0.5), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    history = model.fit(X, Y, verbose=0, callbacks=[tfopt.callbacks.DropoutEffects((X, Y))]).history
    spread = tfopt.mc_dropout(model, X, samples=8).std
    assert len(told) == 1
    assert "generator of unseeded draws" in told[0]
    assert np.isfinite(history["dropout_gap"][0])
    assert spread.max() > 0


@pytest.mark.slow
def test_a_search_without_the_methods_of_keras_tuner(hide, told, tmp_path):
    def build(hp):
        return dense({"rate": hp.Float("rate", 0.01, 0.1)})

    def search(folder, **arguments):
        tuner = tfopt.search.RandomSearch(
            build, objective="val_loss", max_trials=2, seed=1, directory=str(tmp_path), project_name=folder, **arguments
        )
        tuner.search(X, Y, validation_split=0.25, epochs=1, verbose=0)
        return [trial.score for trial in tuner.oracle.get_best_trials(2)]

    expected = search("with")
    hide(NEEDS["methods of KerasTuner"].names)
    assert search("without") == expected
    assert len(told) == 1
    assert "methods of KerasTuner" in told[0]
    with pytest.raises(RuntimeError, match="compile the model where it is built"):
        search("own", loss="mae")


SCRIPT = """
import importlib.util, json, sys, warnings
spec = importlib.util.spec_from_file_location("hiding", sys.argv[1])
hiding = importlib.util.module_from_spec(spec)
spec.loader.exec_module(hiding)
import keras, keras_tuner, numpy as np
with hiding.private_modules_missing():
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        import tfopt
        rows, target = np.ones((8, 3), "float32"), np.ones((8, 1), "float32")
        schedules, regularizers, initializers = tfopt.schedules, tfopt.regularizers, tfopt.initializers
        model = keras.Sequential([
            keras.Input((3,)),
            keras.layers.Dense(4, "relu", kernel_initializer=initializers.get("orthogonal")),
            tfopt.layers.Dropout(0.5),
            keras.layers.Dense(1, kernel_regularizer=regularizers.ElasticNet(0.01)),
        ])
        rate = schedules.LinearDecay(0.1, 4)
        model.compile(keras.optimizers.SGD(rate, momentum=0.5), "mse", run_eagerly=True)
        callbacks = [tfopt.callbacks.HyperparameterScheduler({"momentum": schedules.LinearDecay(0.9, 4)})]
        model.fit(rows, target, epochs=2, verbose=0, callbacks=[*callbacks, tfopt.callbacks.LearningRateLogger()])
        model.save(sys.argv[2] + "/model.keras")
        keras.models.load_model(sys.argv[2] + "/model.keras")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(rows, target, verbose=0, callbacks=[tfopt.callbacks.GradientNorms()])
        tfopt.mc_dropout(model, rows, samples=2)
        def build(hp):
            model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
            model.compile(keras.optimizers.SGD(hp.Float("rate", 0.01, 0.1)), "mse")
            return model
        tuner = tfopt.search.RandomSearch(
            build, objective="loss", max_trials=1, seed=0, directory=sys.argv[2], project_name="search"
        )
        tuner.search(rows, target, epochs=1, verbose=0)
        trials = tuner.oracle.get_best_trials(1)
    told = [str(one.message) for one in caught if "another inside" in str(one.message)]
    engines = sorted({member.engine for trial in trials for member in trial.members})
    from tfopt._private.needs import needs, problem
    print(json.dumps({
        "told": told, "trials": len(trials), "engines": engines,
        "lacking": sorted(name for name in needs() if problem(name)),
    }))
"""


def test_without_any_private_module_all_pieces_and_a_plain_search_work(tmp_path, fresh_keras):
    done = fresh_keras(SCRIPT, str(Path(__file__).with_name("conftest.py")), str(tmp_path))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["trials"] == 1
    assert found["engines"] == ["plain"]
    assert len(found["told"]) == len(set(found["told"])), "each is said once"
    of_modules = {"generator of unseeded draws", "seeds", "calls of layers", "custom gradients", "batching rules"}
    assert set(found["lacking"]) == {*of_modules, "cache of kernels", "numbers handed to C", "name counters"} & set(
        NEEDS
    )
