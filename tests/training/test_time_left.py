"""How long the calls of workers will still take, with a clock that the calls themselves move."""

import pytest

from tfopt.training import workers as module
from tfopt.training.workers import Call, Workers


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 0.0

        def take(self, seconds):
            self.now += seconds

        def perf_counter(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(module.time, "perf_counter", clock.perf_counter)
    return clock


def test_calls_take_what_others_of_their_kind_took(clock):
    with Workers(1) as workers:
        seen = []

        def call(kind, seconds, work=1.0):
            def made():
                seen.append((workers.at_work(), workers.seconds_left()))
                clock.take(seconds)

            return Call(made, kind=kind, work=work)

        assert workers.seconds_left() == 0
        for each in (call("trees", 10), call("trees", 12), call("fits", 4, work=2), call("fits", 10, work=6)):
            workers.submit(each)
        assert workers.seconds_left() is None  # nothing was measured
        workers.wait()  # what is unknown goes first
        assert workers.seconds_left() is None  # of three calls two are of the kind that is unknown
        workers.wait()
        assert workers.seconds_left() == 10 + 12  # a call like the first, and three times the other's work
        workers.wait()
        assert seen[-1] == ([("fits", 0.0)], 22)
        assert workers.seconds_left() == 10
        workers.wait()
        assert (workers.seconds_left(), workers.at_work()) == (0, [])
