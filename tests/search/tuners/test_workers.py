"""Tuners on several workers: the same trials, whatever the model is built by."""

import logging
import os

import keras
import keras_tuner
import numpy as np
import pytest

import tfopt.search
from tfopt.training.worker_process import load_training
from tfopt.training.workers import Workers

HERE = os.getpid()


@pytest.fixture(scope="module")
def workers():
    with Workers(2, warm_up=load_training) as workers:
        yield workers


@pytest.fixture(scope="module")
def rows():
    random = np.random.default_rng(0)
    x = random.normal(size=(90, 4)).astype("float32")
    return x, x @ random.normal(size=(4, 1)).astype("float32")


def hypermodel():
    """Return a closure, which no other process can import."""

    def build(hp):
        rate = hp.Float("lr", 1e-3, 1e-1, sampling="log")
        if rate > 0.05:
            raise keras_tuner.errors.FailedTrialError("too large")
        units = hp.Choice("units", [2, 4])
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(units, "tanh"), keras.layers.Dense(1)])
        model.compile(keras.optimizers.Adam(rate), "mse")
        return model

    return build


def searched(folder, workers, rows, build=None, kind=tfopt.search.RandomSearch, **arguments):
    arguments = {"max_trials": 16} | arguments
    tuner = kind(build or hypermodel(), objective="val_loss", seed=1, directory=folder, project_name="p", **arguments)
    tuner.search(*rows, validation_split=0.3, epochs=3, batch_size=16, verbose=0, workers=workers)
    return tuner


def trials(tuner):
    return {
        trial.trial_id: (trial.hyperparameters.values, trial.status, trial.score, trial.message and trial.message[:40])
        for trial in tuner.oracle.trials.values()
    }


def test_trials_scores_failures_and_models_are_the_same(tmp_path, workers, rows):
    one, two = (searched(tmp_path / name, number, rows) for name, number in (("one", 1), ("two", workers)))
    assert trials(one) == trials(two)
    assert "FAILED" in {status for _, status, _, _ in trials(two).values()}
    [first], [second] = (tuner.get_best_models(1) for tuner in (one, two))
    assert all(map(np.array_equal, first.get_weights(), second.get_weights()))


def test_hyperband_goes_on_from_the_rung_below_wherever_it_was_trained(tmp_path, workers, rows):
    def run(name, number):
        tuner = tfopt.search.Hyperband(
            hypermodel(), objective="val_loss", max_epochs=4, factor=2, seed=1, directory=tmp_path / name
        )
        tuner.search(*rows, validation_split=0.3, epochs=3, batch_size=16, verbose=0, workers=number)
        return trials(tuner)

    assert run("one", 1) == run("two", workers)


@pytest.mark.long
def test_callbacks_see_their_fits(tmp_path, workers, rows):
    class Log(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            with (tmp_path / f"{os.getpid()}.txt").open("a") as file:
                file.write(f"{epoch}\n")

    tuner = tfopt.search.RandomSearch(
        hypermodel(), objective="val_loss", max_trials=8, seed=1, directory=tmp_path, project_name="p"
    )
    tuner.search(*rows, validation_split=0.3, epochs=3, verbose=0, callbacks=[Log()], workers=workers)
    completed = [trial for trial in tuner.oracle.trials.values() if trial.status == "COMPLETED"]
    lines = sum(len(path.read_text().splitlines()) for path in tmp_path.glob("*.txt"))
    assert lines == 3 * len(completed)


def test_what_only_this_process_can_build_is_said(tmp_path, workers, rows, caplog):
    generator = (number for number in range(1000))  # cannot be pickled

    def build(hp):
        next(generator)
        return hypermodel()(hp)

    with caplog.at_level(logging.WARNING, "tfopt"):
        tuner = searched(tmp_path, workers, rows, build, max_trials=3)
    assert len(tuner.oracle.trials) == 3
    assert caplog.text.count("cannot be sent to worker processes") == 1


@pytest.mark.long
def test_a_search_that_is_one_trial_after_another_says_so(tmp_path, rows, caplog):
    class Own(keras_tuner.HyperModel):
        def build(self, hp):
            return hypermodel()(hp)

        def fit(self, hp, model, *args, **kwargs):
            return model.fit(*args, **kwargs)

    with caplog.at_level(logging.WARNING, "tfopt"):
        searched(tmp_path, 2, rows, Own(), max_trials=2)
    assert "One trial after another is trained, by this process alone: the fit is the user's own." in caplog.text


@pytest.mark.parametrize("number", [0, -1, 1.5, "two"])
def test_bad_numbers_of_workers(tmp_path, rows, number):
    with pytest.raises((TypeError, ValueError), match="Argument `workers` of RandomSearch must be"):
        searched(tmp_path, number, rows)
