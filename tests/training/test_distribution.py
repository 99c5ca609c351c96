"""Fits divided among worker processes: the same, whoever trains them."""

import itertools
import os
import threading
from types import SimpleNamespace

import keras
import numpy as np
import pytest

import tfopt
from tfopt.training import distribution
from tfopt.training.choose import engine_for
from tfopt.training.distribution import Engines, OneEngine, divided, submit
from tfopt.training.fits import FitRequest
from tfopt.training.worker_process import WorkerDiedError, pack, unpack
from tfopt.training.workers import Shared, Workers

layers = keras.layers


@pytest.fixture(scope="module")
def workers():
    with Workers(2, warm_up=distribution.load) as workers:
        yield workers


@pytest.fixture(scope="module")
def rows():
    random = np.random.default_rng(0)
    x = random.normal(size=(60, 16)).astype("float32")
    return x, np.argmax(x[:, :4], axis=1)


def maker_of(rows, kind="auto"):
    """Return a maker of an engine; what it builds is a closure, which cannot be imported."""

    def build(hp):
        hidden = [layers.Dense(hp.get("units", 6), "relu"), layers.Dropout(0.1)]
        model = keras.Sequential([keras.Input((16,)), *hidden, layers.Dense(4)])
        model.compile(keras.optimizers.Adam(hp["lr"]), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        return model

    return OneEngine(engine_for, kind, build, *rows, measure=False)


def train_on(workers, maker, requests, callbacks=None):
    """Return the results by index and the processes that they come from."""
    results, shared = {}, Shared(Engines(maker))
    submit(workers, shared, requests, results.__setitem__, callbacks)
    while workers.busy:
        workers.wait()
    return [results[index] for index in range(len(requests))]


def states(results):
    return [[array.tobytes() for array in result.state] for result in results]


class WhereItRuns(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.pids, self.losses, self.lock = [], [], None

    def on_epoch_end(self, epoch, logs=None):
        self.pids.append(os.getpid())
        self.losses.append(logs["loss"])
        self.lock = threading.Lock()  # cannot be sent back, and need not be


def test_a_population_is_bit_identical_with_any_number_of_workers(workers, rows):
    def build(hp):
        model = keras.Sequential([keras.Input((16,)), layers.Dense(hp["units"], "tanh"), layers.Dense(4, "softmax")])
        model.compile(keras.optimizers.Adam(hp["lr"]), "sparse_categorical_crossentropy")
        return model

    population = tfopt.training.Population(build, [{"lr": lr, "units": u} for lr in (0.01, 0.03) for u in (4, 8)])
    one, two = (population.fit(*rows, folds=3, seeds=(0, 1), epochs=2, workers=w) for w in (1, workers))
    assert states(m.result for m in one.members) == states(m.result for m in two.members)
    assert np.array_equal(one.predictions(), two.predictions())
    assert np.array_equal(one.scores("val_loss"), two.scores("val_loss"))


@pytest.mark.long("shared")
@pytest.mark.parametrize("kind", ["shared", "auto"])
def test_engines_are_chosen_alike_however_fits_are_divided(workers, rows, kind):
    requests = [FitRequest({"lr": 0.01 + 0.001 * i}, i, 1, 16) for i in range(12)]
    maker = maker_of(rows=rows, kind=kind)
    together = [FitRequest(r.hyperparameters, r.seed, 1, 16, together=12) for r in requests]
    here = maker().fit(together)
    there = train_on(workers, maker, requests)
    assert [result.engine for result in here] == [result.engine for result in there]
    assert [result.failure for result in there] == [None] * 12
    assert states(here) == states(there)


def test_each_part_of_the_fits_knows_how_many_of_a_structure_there_are(rows):
    """What the choice of an engine goes by."""
    requests = [FitRequest({"lr": 0.1, "units": units}, seed, 1) for units in (4, 8) for seed in range(units)]
    calls = []
    two = SimpleNamespace(number=2, submit=calls.append)
    submit(two, Shared(Engines(maker_of(rows))), requests, lambda *ended: None)
    parts = [call.made_arguments()[1] for call in calls]
    assert len(parts) > 2
    for request in itertools.chain(*parts):
        assert request.together == request.hyperparameters["units"]


def both_worked(workers, maker, requests):
    """Return the results and the callbacks of fits that both processes had some of."""
    for _ in range(30):  # the other process may yet be loading
        callbacks = [[WhereItRuns()] for _ in requests]
        results = train_on(workers, maker, requests, callbacks)
        if len({pid for [own] in callbacks for pid in own.pids}) == 2:
            return results, callbacks
    pytest.fail("The other process was never busy.")


@pytest.mark.long
def test_callbacks_travel_and_come_back_with_what_they_saw(workers, rows):
    requests = [FitRequest({"lr": 0.01, "units": 4 + i}, i, 3, 16) for i in range(8)]
    results, callbacks = both_worked(workers, maker_of(rows=rows), requests)
    for [own], result in zip(callbacks, results, strict=True):
        assert len(own.pids) == 3
        assert own.losses == result.history["loss"]


def test_precision_is_that_of_the_parent(rows):
    before = keras.config.dtype_policy().name
    keras.config.set_dtype_policy("mixed_bfloat16")
    packed = pack(Engines(maker_of(rows=rows)))
    keras.config.set_dtype_policy("mixed_float16")
    try:
        unpack(packed)
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
    finally:
        keras.config.set_dtype_policy(before)


def test_a_build_that_fails_is_a_failure_of_its_fit(workers, rows):
    maker = maker_of(rows=rows)
    results = train_on(workers, maker, [FitRequest({"lr": 0.01}, 0, 1), FitRequest({"lr": 0.01, "units": -1}, 0, 1)])
    assert results[0].failure is None
    assert "units" in results[1].failure


class OneDies:
    """Workers that a fit of the learning rate 0.03 ends, as one does whose memory runs out."""

    number, busy = 2, False

    def submit(self, call):
        _, group, *_ = arguments = call.made_arguments()
        if any(request.hyperparameters["lr"] == 0.03 for request in group):
            call.done(None, WorkerDiedError("killed"))
        else:
            call.done(call.function(call.shared.value, *arguments), None)


def test_of_fits_that_are_sent_together_only_the_one_that_ends_its_process_fails(rows):
    requests = [FitRequest({"lr": number / 100}, 0, 1) for number in range(1, 6)]
    results = train_on(OneDies(), maker_of(rows=rows), requests)
    assert [result.failure for result in results] == [None, None, "WorkerDiedError: killed", None, None]


@pytest.mark.slow
def test_an_exception_of_an_engine_fails_its_fits_and_is_logged(rows, caplog):
    maker = maker_of(rows=rows)
    maker().fit = lambda *args: 1 / 0
    with Workers(1) as workers, caplog.at_level("INFO", "tfopt"):
        [result] = train_on(workers, maker, [FitRequest({"lr": 0.01}, 0, 1)])
    assert result.failure == "ZeroDivisionError: division by zero"
    assert result.reason == "raised ZeroDivisionError: division by zero"
    assert "Traceback" in caplog.text


def test_groups_are_even_and_large():
    assert divided("a" * 20, [1.0] * 20, 1) == [list(range(20))]
    assert divided("a" * 20, [1.0] * 20, 2) == [list(range(10)), list(range(10, 20))]
    assert divided("ab" * 5, [1.0] * 10, 2) == [[0, 2, 4, 6, 8], [1, 3, 5, 7, 9]]
    # Eight long fits on four processes: two each, not a stack of all on one of them.
    assert [len(group) for group in divided("a" * 8, [100.0] * 8, 4)] == [2, 2, 2, 2]
    assert divided("", [], 3) == []


@pytest.mark.parametrize("number", [2, 3, 8])
@pytest.mark.parametrize("structures", [1, 3, 16, 64])
def test_every_fit_is_in_one_group_and_none_is_so_long_that_others_wait(number, structures):
    random = np.random.default_rng(structures)
    alike = list(random.integers(0, structures, 240))
    work = list(random.exponential(size=240))
    groups = divided(alike, work, number)
    assert sorted(index for group in groups for index in group) == list(range(240))
    longest = max(sum(work[index] for index in group) for group in groups)
    assert longest <= 1.5 * sum(work) / number
