"""Every callback says what it is set to, draws what it logs, and its docs say what each number is."""

import copy
import re

import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest

import tfopt
from tfopt._logged import LoggedCallback

X, Y = np.random.default_rng(0).normal(size=(40, 4)).astype("float32"), np.arange(40) % 3
CALLBACKS = [
    *(getattr(tfopt.callbacks, name) for name in tfopt.callbacks.__all__),
    tfopt.regularizers.PenaltyMonitor,
    tfopt.initializers.IdenticalWeightsGuard,
]
ARGUMENTS = {
    "ActivationStats": {"probe": X[:8], "log_layers": True},
    "DropoutEffects": {"probe": (X[:8], Y[:8]), "draws": 2},
    "GradientNorms": {"log_layers": True, "update_ratio": True, "cosine": True},
    "HyperparameterScheduler": {"schedules": {"dropout": tfopt.schedules.LinearDecay(0.5, 9)}},
    "LearningRateMultipliers": {"multipliers": {"hidden": 0.5}},
    "GreedyScale": {"monitor": "loss"},
    "PlateauScale": {"monitor": "loss", "patience": 0},
    "WeightStats": {"zero": 0.001, "log_layers": True},
}
SILENT = {
    "LearningRateMultipliers",
    "NonFiniteGuard",
    "IdenticalWeightsGuard",
    "StochasticWeightAveraging",
}  # log no numbers


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return every callback after a training, and the history of each."""
    arguments = ARGUMENTS | {"RunLog": {"path": tmp_path_factory.mktemp("log") / "run.jsonl"}}
    callbacks = {kind.__name__: kind(**arguments.get(kind.__name__, {})) for kind in CALLBACKS}
    hidden = keras.layers.Dense(6, "relu", kernel_regularizer="l2", name="hidden")
    layers = [keras.Input((4,)), hidden, tfopt.layers.Dropout(0.3), keras.layers.Dense(3, name="last")]
    model = keras.Sequential(layers)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1, clipnorm=0.1), loss, run_eagerly=True)
    data = {"validation_data": (X[:8], Y[:8]), "verbose": 0}
    others = [callback for name, callback in callbacks.items() if name != "GreedyScale"]  # it logs PlateauScale's key
    history = model.fit(X, Y, batch_size=20, epochs=3, callbacks=others, **data).history
    greedy = model.fit(X, Y, batch_size=20, epochs=3, callbacks=[callbacks["GreedyScale"]], **data).history
    return callbacks, {**dict.fromkeys(callbacks, history), "GreedyScale": greedy}


@pytest.mark.parametrize("kind", CALLBACKS)
def test_it_is_one_that_keeps_what_it_logs(kind):
    assert issubclass(kind, LoggedCallback)


@pytest.mark.slow
@pytest.mark.parametrize("name", [kind.__name__ for kind in CALLBACKS if kind.__name__ not in {*SILENT, "RunLog"}])
def test_what_it_logs_is_kept_drawn_and_explained(trained, name):
    callback, history = (part[name] for part in trained)
    assert callback.logged
    for key, values in callback.logged.items():
        np.testing.assert_array_equal(list(values.values()), history[key])
        documented = "<name of the hyperparameter>" if name == "HyperparameterScheduler" else key
        documented = re.sub(r"(?<=[/_])(hidden|last|dropout\w*)$", "<layer>", documented)
        assert f"        {documented}: " in type(callback).__doc__.split("    Logs:\n")[1], key
    drawn = np.ravel(callback.plot())
    lines = [line for axes in drawn[0].figure.axes for line in axes.lines]
    assert lines
    assert drawn[-1].get_xlabel() in ("epoch", "step") or name == "GradientNorms"
    if name not in ("GradientNorms", "LearningRateLogger"):
        finite = [values for values in callback.logged.values() if np.isfinite(list(values.values())).any()]
        shown = {tuple(line.get_ydata()) for line in lines}
        assert {tuple(values.values()) for values in finite} == shown
        _, own = plt.subplots()
        assert callback.plot(own) is own
    plt.close("all")


@pytest.mark.slow
def test_a_run_log_draws_its_file(trained):
    callback, history = (part["RunLog"] for part in trained)
    assert list(callback.plot()[0].lines[0].get_ydata()) == history["loss"]
    plt.close("all")


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SILENT))
def test_what_logs_nothing_says_so(trained, name):
    with pytest.raises(ValueError, match=f"nothing to plot: {name} has logged no numbers"):
        trained[0][name].plot()


@pytest.mark.slow
def test_it_says_what_it_is_set_to_and_what_it_logged_last(trained):
    callbacks, histories = trained
    assert repr(tfopt.callbacks.PlateauScale("loss", patience=3)) == "PlateauScale(monitor='loss', patience=3)"
    assert repr(tfopt.callbacks.ActivationStats(X)) == "ActivationStats(probe=array of shape (40, 4))"
    last = histories["LearningRateLogger"]["learning_rate"][-1]
    assert repr(callbacks["LearningRateLogger"]) == f"LearningRateLogger(): learning_rate {last:.4g}"
    assert repr(callbacks["WeightStats"]).startswith("WeightStats(zero=0.001, log_layers=True): weight_norm ")
    assert all(len(repr(callback)) < 500 for callback in callbacks.values())


@pytest.mark.slow
def test_a_new_training_begins_anew_and_copies_are_their_own():
    callback = tfopt.callbacks.LearningRateLogger()
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(X, Y, epochs=3, verbose=0, callbacks=[callback])
    twin = copy.deepcopy(callback)
    model.fit(X, Y, epochs=2, verbose=0, callbacks=[callback])
    assert (list(callback.logged["learning_rate"]), list(twin.logged["learning_rate"])) == ([0, 1], [0, 1, 2])
