"""The loop's part of a search: fits in one go, failures that stay with their fit, a deadline, the line at the end."""

import logging
import math
import time

import keras
import numpy as np
import pytest

from tfopt.search.loop import Fit, OutOfTime, Trainer, engines_in_words
from tfopt.search.parallel import trainer_on
from tfopt.search.tuners.oracle import Member
from tfopt.training.choose import engine_for
from tfopt.training.distribution import OneEngine
from tfopt.training.fits import Engine, FitRequest, FitResult
from tfopt.training.workers import Workers


class Counting(Engine):
    """Returns the request's seed as a loss, and raises where that is 13."""

    name = "counting"

    def __init__(self):
        super().__init__(None, np.zeros((2, 1)), np.zeros(2))
        self.batches: list[list[int]] = []

    def fit(self, requests, callbacks=None, done=None):
        self.batches.append([request.seed for request in requests])
        results = []
        for index, request in enumerate(requests):
            if request.seed == 13:
                raise MemoryError("no room for 13")
            results.append(FitResult({"loss": [float(request.seed)]}, engine=self.name))
            done(index, results[-1])
        return results


def fits(*seeds: int, engine: str = "a") -> list[Fit]:
    return [Fit(Member(seed), FitRequest(None, seed, 1), engine) for seed in seeds]


@pytest.fixture
def engines():
    return {"a": Counting(), "b": Counting()}


@pytest.fixture
def trainer(engines):
    return Trainer(engines.__getitem__)


def losses(into: dict):
    return lambda position, result: into.__setitem__(position, result.history.get("loss", result.failure))


def test_all_that_was_submitted_is_trained_at_once_engine_by_engine(trainer, engines):
    first, other, second = {}, {}, {}
    trainer.submit(fits(1, 2), losses(first))
    trainer.submit(fits(3, engine="b"), losses(other))
    trainer.submit(fits(4, 5), losses(second))
    assert trainer.busy
    trainer.wait()
    assert not trainer.busy
    assert engines["a"].batches == [[1, 2, 4, 5]]
    assert engines["b"].batches == [[3]]
    assert (first, other) == ({0: [1.0], 1: [2.0]}, {0: [3.0]})
    assert second == {0: [4.0], 1: [5.0]}, "each position counts from its own submission"


def test_what_an_engine_raises_is_the_failure_of_the_fits_it_did_not_end(trainer, caplog):
    ended = {}
    trainer.submit(fits(1, 13, 2), lambda position, result: ended.__setitem__(position, result))
    with caplog.at_level(logging.INFO, "tfopt"):
        trainer.wait()
    assert ended[0].failure is None
    assert [ended[i].failure for i in (1, 2)] == ["MemoryError: no room for 13"] * 2
    assert [ended[i].reason for i in (1, 2)] == ["raised MemoryError: no room for 13"] * 2
    assert "Traceback" in caplog.text


def test_what_is_raised_by_whoever_is_told_ends_the_search(trainer):
    def done(position, result):
        raise ValueError("not what I asked for")

    trainer.submit(fits(1, 2), done)
    with pytest.raises(ValueError, match="not what I asked for"):
        trainer.wait()


def test_once_the_deadline_has_passed_no_further_fit_is_waited_for(trainer):
    ended = {}
    trainer.deadline = math.inf
    trainer.submit(fits(1, 2), losses(ended))
    trainer.submit(fits(3, engine="b"), losses({}))

    def passes(position, result):
        ended[position] = result
        trainer.deadline = time.monotonic() - 1

    trainer.submit(fits(4, 5), passes)
    with pytest.raises(OutOfTime):
        trainer.wait()
    assert set(ended) == {0, 1}, "4 was told of under position 0; 5 and 3 were dropped"
    assert not trainer.busy


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["plain", "shared", "population"])
@pytest.mark.parametrize("on_workers", [False, True])
def test_a_fit_that_is_at_work_when_the_deadline_passes_is_given_up(kind, on_workers, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 0.0)  # a clock that was set back

    def build(values):
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        return model

    engine = OneEngine(engine_for, kind, build, np.ones((4, 2)), np.ones((4, 1)))
    endless = [Fit(Member(seed), FitRequest({}, seed, epochs=20_000)) for seed in (1, 2)]
    with trainer_on(Workers(1) if on_workers else 1, engine) as trainer:
        trainer.deadline = time.monotonic() + 0.1
        trainer.submit(endless, lambda *_: pytest.fail("nobody is told of what was given up"))
        with pytest.raises(OutOfTime):
            trainer.wait()
        assert not trainer.busy


def test_a_fit_takes_down_how_it_was_trained():
    [fit] = fits(1)
    fit.ended(FitResult({"loss": [np.float32(2)]}, seconds=3.0, engine="plain", reason="it has callbacks"))
    assert fit.member.history == {"loss": [2.0]}
    assert (fit.member.engine, fit.member.reason, fit.member.seconds) == ("plain", "it has callbacks", 3.0)


@pytest.mark.parametrize(
    ("trained", "line"),
    [
        ([], "no fit was trained"),
        ([("population", "")], "1 fit by engine: 1 population"),
        (
            [*[("population", "")] * 5, *[("shared", "a conv")] * 2, ("shared", ""), ("plain", "x"), ("plain", "y")],
            "10 fits by engine: 5 population, 3 shared (2: a conv), 2 plain (1: x and 1 other reason)",
        ),
        ([("shared", "two\nlines")] * 2, "2 fits by engine: 2 shared (two … lines)"),
    ],
)  # fmt: skip
def test_a_line_says_which_engines_trained_and_why_not_a_faster_one(trained, line):
    assert engines_in_words(trained) == line
