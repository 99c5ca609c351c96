"""What takes too long fails by itself, wherever it is at work, and nothing else does."""

import itertools
import os
import signal
import time

import keras
import numpy as np
import pytest

from tfopt.training import timeout
from tfopt.training.choose import engine_for
from tfopt.training.distribution import OneEngine, trained
from tfopt.training.fits import FitRequest
from tfopt.training.timeout import TookTooLong, limited
from tfopt.training.worker_process import WorkerDiedError
from tfopt.training.workers import Call, Workers

pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timers of that kind")
HERE = os.getpid()


def swallows():
    while True:
        try:
            while True:
                pass
        except Exception:  # as libraries do
            continue


@pytest.mark.parametrize("hang", [lambda: time.sleep(1000), swallows])  # without an end, as far as a test can tell
def test_code_that_takes_too_long_is_left_and_nothing_rings_later(hang):
    before = signal.getsignal(signal.SIGALRM)
    with pytest.raises(TookTooLong, match=r"longer than 0\.05 s"), limited(0.05):
        hang()
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGALRM) is before


def test_of_nested_limits_each_ends_its_own_code():
    with limited(1000):
        with pytest.raises(TookTooLong, match=r"0\.01 s"), limited(0.01):
            time.sleep(1000)  # without an end, as far as a test can tell
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 900
    with pytest.raises(TookTooLong, match=r"0\.02 s"), limited(0.02), limited(1000):
        time.sleep(1000)  # without an end, as far as a test can tell
    with limited(1000), pytest.raises(KeyError), limited(10):
        raise KeyError
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


def build(values):
    if values.get("hangs"):
        time.sleep(1000)  # without an end, as far as a test can tell
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(values["rate"]), "mse")
    return model


@pytest.mark.long("shared")
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["plain", "shared", "population"])
def test_a_build_that_hangs_and_a_training_without_end_fail_and_the_others_do_not(kind):
    engine = engine_for(kind, build, np.ones((4, 2)), np.ones((4, 1)))
    requests = [
        FitRequest({"rate": 0.1}, 1, 2, timeout=1000),
        FitRequest({"rate": 0.2, "hangs": True}, 1, 2, timeout=0.2),
        FitRequest({"rate": 0.3}, 1, 10**6, timeout=1.0),
        FitRequest({"rate": 0.4}, 1, 2),
    ]
    failures = [result.failure for result in engine.fit(requests)]
    assert [failures[0], failures[3]] == [None, None]
    assert failures[1].startswith("TookTooLong: building and training took longer than 0.2 s")
    assert failures[2].startswith("TookTooLong: building and training took longer than 1 s")


@pytest.mark.slow
def test_a_library_that_never_comes_back_ends_its_worker_process_alone():
    def stuck():
        if os.getpid() == HERE:
            return "here"
        timeout._GRACE = 0.1
        with limited(0.1):
            return all(itertools.repeat(1))  # in C, which looks at no signal

    ended = []
    with Workers(2) as workers:
        workers._works = False  # so that a worker makes the call
        workers.submit(Call(stuck, done=lambda value, error: ended.append((value, error))))
        workers.wait()
    [(value, error)] = ended
    assert value is None
    assert isinstance(error, WorkerDiedError)


@pytest.mark.long  # in the default run: test_distribution.py, whose workers only seem to die
def test_of_fits_that_are_sent_together_only_the_one_that_kills_its_process_fails():
    def deadly(values):
        if values["rate"] == 0.3 and os.getpid() != HERE:
            os.kill(os.getpid(), signal.SIGKILL)  # as the kernel does where memory runs out
        return build(values)

    requests = [FitRequest({"rate": rate / 10}, 1, 1) for rate in range(1, 7)]
    engine_of = OneEngine(engine_for, "shared", deadly, np.ones((4, 2)), np.ones((4, 1)))
    with Workers(2) as workers:
        workers._works = False
        failures = [result.failure for result in trained(engine_of, requests, workers)]
    assert [failure is None for failure in failures] == [True, True, False, True, True, True]
    assert "signal 9" in failures[2]
