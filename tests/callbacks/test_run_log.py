"""The lines of a log, and what is left of it after `kill -9`."""

import copy
import json
import signal

import keras
import pytest

import tfopt
from tfopt.callbacks import RunLog


def fit(model, data, callbacks, **arguments):
    return model.fit(*data, **{"epochs": 2, "batch_size": 32, "verbose": 0, "callbacks": callbacks} | arguments).history


def test_one_line_an_epoch_with_the_numbers_of_the_callbacks_before(build, data, tmp_path):
    path = tmp_path / "deep" / "run.jsonl"
    history = fit(build(), data, [tfopt.callbacks.GradientNorms(), RunLog(path)])
    begin, first, second, end = RunLog.read(path)
    assert [begin["event"], first["event"], second["event"], end["event"]] == ["begin", "epoch", "epoch", "end"]
    assert begin["optimizer"] == "SGD"
    assert begin["num_parameters"] == 57
    for epoch, line in enumerate((first, second)):
        assert line["epoch"] == epoch
        assert line["logs"] == {key: values[epoch] for key, values in history.items()}


def test_steps(build, data, tmp_path):
    path = tmp_path / "run.jsonl"
    history = fit(build(), data, [RunLog(path, steps=True)])
    steps = [line for line in RunLog.read(path) if line["event"] == "step"]
    assert [(line["step"], line["epoch"], line["batch"]) for line in steps] == [
        (0, 0, 0), (1, 0, 1), (2, 0, 2), (3, 1, 0), (4, 1, 1), (5, 1, 2),
    ]  # fmt: skip
    assert steps[2]["logs"]["loss"] == history["loss"][0]


@pytest.mark.slow
def test_a_second_fit_appends_and_a_cut_line_is_skipped(build, data, tmp_path):
    path = tmp_path / "run.jsonl"
    fit(build(), data, [RunLog(path)])
    path.write_text(path.read_text() + '{"event": "epoch", "ep')
    fit(build(), data, [RunLog(path)], initial_epoch=1)
    assert [line["event"] for line in RunLog.read(path)] == ["begin", "epoch", "epoch", "end", "begin", "epoch", "end"]


def test_what_is_not_finite_is_still_json(build, data, tmp_path):
    class Odd(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs |= {"a": float("nan"), "b": float("inf"), "c": float("-inf")}

    path = tmp_path / "run.jsonl"
    fit(build(), data, [Odd(), RunLog(path)], epochs=1)
    line = json.loads(path.read_text().splitlines()[1], parse_constant=pytest.fail)
    assert [line["logs"][key] for key in "abc"] == ["nan", "inf", "-inf"]
    logs = RunLog.read(path)[1]["logs"]
    assert logs["a"] != logs["a"]
    assert [logs["b"], logs["c"]] == [float("inf"), float("-inf")]


def test_the_line_is_on_disk_when_the_epoch_is_over(build, data, tmp_path):
    path, lengths = tmp_path / "run.jsonl", []

    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            lengths.append(len(path.read_text().splitlines()))

    fit(build(), data, [RunLog(path), Look()])
    assert lengths == [2, 3]


KILLED = """
import os, signal, sys
import keras, numpy as np, tfopt

class Kill(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if self.model.optimizer.iterations == 5:
            os.kill(os.getpid(), signal.SIGKILL)

model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
model.compile("sgd", "mse")
log = tfopt.callbacks.RunLog(sys.argv[1], steps=True)
model.fit(np.ones((16, 2)), np.ones((16, 1)), batch_size=4, epochs=3, verbose=0, callbacks=[log, Kill()])
"""


def test_after_kill_minus_nine(tmp_path, fresh_keras):
    path = tmp_path / "run.jsonl"
    done = fresh_keras(KILLED, path)
    assert done.returncode == -signal.SIGKILL
    assert [line["event"] for line in RunLog.read(path)] == ["begin", *["step"] * 4, "epoch", "step"]


def test_copies_do_not_share_the_file(build, data, tmp_path):
    log = RunLog(tmp_path / "run.jsonl")
    twin = copy.deepcopy(log)
    fit(build(), data, [twin])
    assert log._file is None
    assert len(RunLog.read(twin.path)) == 4


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="must be a file"):
        RunLog(tmp_path)
