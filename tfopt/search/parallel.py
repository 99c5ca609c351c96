"""The search loop's fits on several workers."""

import contextlib
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

from tfopt.search.loop import Fit, OutOfTime, Trainer
from tfopt.training.distribution import Engines, Errors, submit
from tfopt.training.fits import OUT_OF_TIME, Done, Engine, FitResult
from tfopt.training.worker_process import load_training
from tfopt.training.workers import Call, Shared, Workers


@contextlib.contextmanager
def trainer_on(
    workers: int | Workers, engine_of: Callable[[Any], Engine], errors: Errors | None = None
) -> Iterator[Trainer]:
    """Give a trainer on so many new workers, or on those at hand, and leave none of its fits with them."""
    if workers == 1:
        yield Trainer(engine_of)
    elif isinstance(workers, int):
        with Workers(workers, warm_up=load_training) as own, trainer_on(own, engine_of, errors) as trainer:
            yield trainer
    else:
        trainer = ParallelTrainer(engine_of, workers, errors)
        try:
            yield trainer
        finally:
            trainer.drop()


class ParallelTrainer(Trainer):
    """Trains fits on workers, which may be busy with other calls too."""

    def __init__(self, engine_of: Callable[[Any], Engine], workers: Workers, errors: Errors | None = None):
        super().__init__(engine_of)
        self._workers, self._engines = workers, Shared(Engines(engine_of, errors))
        self._left, self._given_up = 0, False
        self._calls: list[list[Call]] = []

    @property
    def busy(self) -> bool:
        """Whether fits are still to end."""
        return bool(self._waiting or self._left)

    def wait(self) -> None:
        """Return when something that the workers were at has ended."""
        for name, group in self._taken().items():
            self._submit(name, group)
        if self._left and time.monotonic() <= self.deadline:
            self._workers.wait()
        if self._given_up or (self._left and time.monotonic() > self.deadline):
            self.drop()
            raise OutOfTime

    def drop(self) -> None:
        """Forget all fits that have not ended."""
        for calls in self._calls:
            self._workers.drop(calls)
        self._waiting, self._calls, self._left, self._given_up = [], [], 0, False

    def _submit(self, name: Hashable, group: Sequence[tuple[Fit, int, Done]]) -> None:
        def ended(index: int, result: FitResult) -> None:
            self._left -= 1
            _, position, done = group[index]
            if result.failure == OUT_OF_TIME:
                self._given_up = True  # `wait` raises it: the workers are still to tell of other calls
            else:
                done(position, result)

        self._left += len(group)
        callbacks = [fit.callbacks for fit, _, _ in group]
        requests = [fit.request for fit, _, _ in group]
        calls = submit(self._workers, self._engines, requests, ended, callbacks, name, deadline=self.deadline)
        self._calls.append(calls)
