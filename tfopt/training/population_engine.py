"""The population: fits of one model structure trained together, a stacked axis over members in one graph."""

import functools
import gc
import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfopt._private.needs import missing
from tfopt._private.streams import random_streams_kept
from tfopt.callbacks.learning_rate_multipliers import LearningRateMultipliers
from tfopt.devices import num_cores
from tfopt.errors import CannotStack, one_line
from tfopt.training.builds import BuildRegistry
from tfopt.training.epoch_graph import log_value
from tfopt.training.fits import Callbacks, Engine, FitRequest, FitResult, Results, State
from tfopt.training.numpy_stack.model import NumpyStack
from tfopt.training.shared import SharedGraphEngine
from tfopt.training.stack import Stack, StackMember, train_epoch
from tfopt.training.stack_pool import StackPool
from tfopt.training.two_threads import Worker, in_two_threads

_log = logging.getLogger("tfopt")

# A population in NumPy is shared by two threads from so many multiplications of a row of all members and seconds of
# work: below, a second stack and waiting for Python's lock cost more.
_WORTH_A_THREAD = 40_000
_WORTH_A_SECOND_STACK = 0.2
_SECONDS_A_MULTIPLICATION = 5e-9  # of a row, in a step
_SPARSE = 0.75  # with fewer members left than this share of the stack, the finished ones are taken out of it

Outcomes = list[tuple[int, FitResult | str]]
# Of members of one structure: those still to be trained, what came of the others, and why they train elsewhere, if so.
Choice = Callable[[list[StackMember]], tuple[list[StackMember], Outcomes, str | None]]
_Known = tuple[LearningRateMultipliers | None, list[keras.callbacks.EarlyStopping]]


class PopulationEngine(Engine):
    """Trains fits of one model structure together; hands those that it cannot to another engine, and says why.

    A member's weights are those of a fresh build and `fit` up to the rounding of batched products, alone or in any
    company: the same initial weights, order of rows and dropout masks, its own normalisation statistics, penalties,
    learning rate, clipping and early stopping. Best for many small models. Optimizers that look at more
    than one weight at a time (Lamb, Adafactor, Muon, loss scaling), a `train_step` of one's own and fits with
    callbacks (but for `EarlyStopping`, and `LearningRateMultipliers`, which NumPy knows) go to the other engine.

    Args:
        max_members: Most members of a stack.
        memory: Bytes that a stack may take, estimated; None for no bound but `max_members`.
        grad_norm: Whether the history gets `grad_norm`, the mean norm of each epoch's gradients before clipping.
        probe: Whether to look for hyperparameters that act without a trace in the model, at a build or two for each.
        choice: Of the engine, returns what decides whether members of one structure train here; by default all do.
    """

    name = "population"
    _builds: BuildRegistry

    def __init__(
        self, *args: Any, max_members: int = 256, memory: int | None = None, grad_norm: bool = False,
        probe: bool = True, choice: Callable[["PopulationEngine"], Choice] | None = None, **kwargs: Any,
    ):  # fmt: skip
        super().__init__(*args, **kwargs)
        for name, value in (("max_members", max_members), ("memory", memory)):
            if value is not None and value < 1:
                raise ValueError(f"Argument `{name}` must be >= 1. Received: {name}={value}.")
        self._max_members, self._memory = max_members, memory
        self._builds = BuildRegistry(self.build, self.train, probe)
        self.fallback = SharedGraphEngine(**self.arguments(), builds=self._builds)  # trains what is refused
        self.pool = StackPool(self, self._builds, max_members, grad_norm)
        self._choice = None if choice is None else choice(self)

    def results(self, requests: Sequence[FitRequest], callbacks: Sequence[Callbacks]) -> Results:
        """Train as many together as can be, and the others after them."""
        refused: dict[int, str] = {}
        for index, outcome in self.stacked(requests, callbacks):
            if isinstance(outcome, FitResult):
                yield index, outcome
            else:
                refused[index] = outcome
        for reason in dict.fromkeys(refused.values()):
            _log.info("not trained in a population: %s", reason)
        indices = sorted(refused)
        others = self.fallback.results([requests[i] for i in indices], [callbacks[i] for i in indices])
        for place, result in others:
            result.reason = result.reason or refused[indices[place]]
            yield indices[place], result

    def stacked(
        self, requests: Sequence[FitRequest], callbacks: Sequence[Callbacks] = ()
    ) -> Iterator[tuple[int, FitResult | str]]:
        """Train the requests that can be trained in a stack; yield the result of each, or why it is refused."""
        with _old_objects_left_alone():
            for start in range(0, len(requests), self._max_members):
                window = range(start, min(start + self._max_members, len(requests)))
                yield from self._window(window, requests, callbacks)

    def _window(
        self, window: range, requests: Sequence[FitRequest], callbacks: Sequence[Callbacks]
    ) -> Iterator[tuple[int, FitResult | str]]:
        lacking = missing("calls of layers", "generator of unseeded draws", "seeds")
        if lacking:
            yield from ((index, lacking) for index in window)
            return
        started = time.perf_counter()
        groups: dict[tuple, list[StackMember]] = defaultdict(list)
        built = []
        known: dict[int, _Known] = {}
        for index in window:
            own = _known(callbacks[index] if callbacks else ())
            if own is None:
                yield index, "it has callbacks of its own"
            else:
                known[index] = own
        snapshots = self._builds.snapshots([requests[index] for index in known])
        for (index, own), snapshot in zip(known.items(), snapshots, strict=True):
            request = requests[index]
            if isinstance(snapshot, Exception):
                seconds = (time.perf_counter() - started) / len(known)
                yield index, FitResult(failure=one_line(snapshot), engine=self.name, seconds=seconds)
                continue
            built.append((request, snapshot))
            member = StackMember(index, request, snapshot, self, *own)
            whole, rest = divmod(len(member.rows), request.batch_size)
            same = (member.structure, request.batch_size, whole, rest > 0, member.held is None,
                    request.validation is None, request.initial_epoch, request.predict is None)  # fmt: skip
            groups[same].append(member)
        reason = self._builds.without_effect(built)
        share = (time.perf_counter() - started) / max(1, len(built))
        for members in groups.values():
            members.sort(key=lambda member: member.num_rows)
            for member in members:
                member.result.seconds += share
            if reason:
                yield from ((member.index, reason) for member in members)
            else:
                yield from self._group(members)

    def _group(self, members: list[StackMember]) -> Iterator[tuple[int, FitResult | str]]:
        """Train members of one structure, those that a stack takes at a time."""
        if self._choice is not None:
            members, timed, reason = self._choice(members)
            yield from timed
            if reason is not None:
                yield from ((member.index, reason) for member in members)
                return
        while members:
            started = time.perf_counter()
            structure = members[0].structure
            try:
                stack = self.pool.stack(members)
            except CannotStack as refusal:
                yield from ((member.index, str(refusal)) for member in members)
                return
            steps = stack.steps_taken(members[0].state)
            fitting: list[StackMember] = []
            others: list[StackMember] = []
            for member in members:
                alike = stack.takes_any_rows or member.num_rows == members[0].num_rows
                fits = stack.mismatch(member.snapshot.numbers) is None and stack.steps_taken(member.state) == steps
                (fitting if alike and fits else others).append(member)
            members = others
            share = (time.perf_counter() - started) / len(fitting)
            for member in fitting:
                member.result.seconds += share
                member.result.reason = "" if isinstance(stack, NumpyStack) else self.pool.not_numpy.get(structure, "")
            limit = self._max_members
            if self._memory is not None:
                limit = max(1, min(limit, self._memory // stack.member_bytes(fitting[0].request.batch_size)))
            yield from self._chunks(stack, fitting, limit)

    def _chunks(self, stack: Stack, members: list[StackMember], limit: int) -> Iterator[tuple[int, FitResult | str]]:
        """Train members, as many at a time as memory holds."""
        while members:
            chunk, members = members[:limit], members[limit:]
            try:
                with random_streams_kept():
                    if isinstance(stack, NumpyStack) and _worth_two_threads(stack, chunk):
                        yield from self._in_two_threads(stack, chunk)
                    else:
                        yield from self._together(stack, chunk)
            except (tf.errors.ResourceExhaustedError, MemoryError):
                left = [member for member in chunk if member.result.state is None]
                if len(chunk) == 1:
                    yield chunk[0].index, "not even one member fits into memory"
                    continue
                limit = len(chunk) // 2
                _log.warning("Memory ran out with %d members together: training %d at a time.", len(chunk), limit)
                members = [member.begun_again(self) for member in left] + members
            except Exception as error:
                _log.warning("Training %d members together failed; each is trained alone.", len(chunk), exc_info=True)
                reason = self.pool.refused[chunk[0].structure] = f"training in a stack failed ({one_line(error)})"
                yield from ((m.index, reason) for m in [*chunk, *members] if m.result.state is None)
                return

    def _in_two_threads(self, stack: NumpyStack, members: list[StackMember]) -> Iterator[tuple[int, FitResult | str]]:
        def worker(own: Stack) -> Worker:
            def train(part: list[StackMember], cancelled: threading.Event) -> tuple[Outcomes, Exception | None]:
                outcomes: Outcomes = []
                try:
                    for outcome in self._together(own, part, cancelled):
                        outcomes.append(outcome)
                except Exception as error:  # raised when both halves have ended, so that no result is lost
                    return outcomes, error
                return outcomes, None

            return train

        half = (len(members) + 1) // 2
        parts = [members[:half], members[half:]]
        errors = []
        for _, (outcomes, error) in in_two_threads(
            worker(stack), lambda: worker(self.pool.second(stack, members)), parts
        ):
            yield from outcomes
            if error is not None:
                errors.append(error)
        if errors:
            raise errors[0]

    def _together(
        self, stack: Stack, members: list[StackMember], cancelled: threading.Event | None = None
    ) -> Iterator[tuple[int, FitResult | str]]:
        present: list[StackMember] = list(members)  # as in the stack, finished ones among them until they are taken out
        numbers = [member.snapshot.numbers for member in present]
        stack.load([member.state for member in present], numbers)
        training = [True] * len(present)
        epoch = members[0].request.initial_epoch
        while any(training) and not (cancelled is not None and cancelled.is_set()):
            started = time.perf_counter()
            logs = train_epoch(stack, present, epoch, self.shuffle)
            epoch += 1
            arrays = functools.cache(stack.arrays)  # at the end of this epoch
            finished = []
            for place, member in enumerate(present):
                if not training[place]:
                    continue
                own = {name: log_value(value[place]) for name, value in logs.items()}
                improved, ended = self._follow(
                    member, epoch - 1, own, functools.partial(_state_at, stack, arrays, place)
                )
                if improved or ended:
                    state = stack.state(arrays(), place)
                    if improved:
                        member.result.best_state = state[: stack.length]
                    if ended:
                        member.result.state = member.restored(stack.finished(state))
                        training[place] = False
                        finished.append(member)
            if finished and finished[0].request.predict is not None:
                self._predict(stack, finished)
                if any(training):
                    stack.load([stack.state(arrays(), place) for place in range(len(present))], numbers)
            share = (time.perf_counter() - started) / (sum(training) + len(finished))
            for member in [m for m, trains in zip(present, training, strict=True) if trains] + finished:
                member.result.seconds += share
            yield from ((member.index, member.result) for member in finished)
            if 0 < sum(training) < _SPARSE * len(present):
                last = stack.arrays()
                kept = [place for place, trains in enumerate(training) if trains]
                present = [present[place] for place in kept]
                numbers = [member.snapshot.numbers for member in present]
                stack.load([stack.state(last, place) for place in kept], numbers)
                training = [True] * len(present)

    def _predict(self, stack: Stack, members: list[StackMember]) -> None:
        tails = [member.state[stack.length :] for member in members]
        states = [[*(member.result.state or []), *tail] for member, tail in zip(members, tails, strict=True)]
        stack.load(states, [member.snapshot.numbers for member in members])
        rows = [np.asarray(member.request.predict) for member in members]
        for member, outputs in zip(members, stack.outputs(rows), strict=True):
            member.result.outputs = outputs

    def _follow(
        self, member: StackMember, epoch: int, logs: dict[str, float], state: Callable[[], State]
    ) -> tuple[bool, bool]:
        try:
            return member.follow(epoch, logs, state)
        except KeyError as error:
            member.result.failure = one_line(error)
            return False, True


def _state_at(stack: Stack, arrays: Callable[[], list[np.ndarray]], place: int) -> State:
    return stack.state(arrays(), place)


def _known(callbacks: Callbacks) -> _Known | None:
    """Return a fit's callbacks if a stack knows what each of them does."""
    multipliers: list[LearningRateMultipliers] = []
    stops: list[keras.callbacks.EarlyStopping] = []
    for callback in callbacks() if callable(callbacks) else callbacks:
        if type(callback) is LearningRateMultipliers and not multipliers:
            multipliers.append(callback)
        elif type(callback) is keras.callbacks.EarlyStopping:
            if callback.mode == "auto" and callback.monitor.removeprefix("val_") in ("accuracy", "acc"):
                callback.mode = "max"  # as the metric says once it is made
            if callback.mode == "auto" and callback.monitor.removeprefix("val_") != "loss":
                return None  # only the model's metrics tell what is better
            stops.append(callback)
        else:
            return None
    return next(iter(multipliers), None), stops


@contextmanager
def _old_objects_left_alone() -> Iterator[None]:
    """Keep Python's garbage collector from going through all that TensorFlow has made, a quarter of a second each."""
    if not _frozen_by_others():
        gc.freeze()
    try:
        yield
    finally:
        if not _frozen_by_others():
            gc.collect()  # what was made since; among the old it would stay, where call follows call, as in a worker
            gc.unfreeze()


@functools.cache
def _frozen_by_others() -> bool:
    """Return whether there were objects set aside before the first of ours: to count a million takes long."""
    return gc.get_freeze_count() > 0


def _worth_two_threads(stack: NumpyStack, members: list[StackMember]) -> bool:
    """Return whether a half of the members in each of two threads is faster: NumPy lets go of Python's lock."""
    work = len(members) * members[0].work
    seconds = _SECONDS_A_MULTIPLICATION * work * members[0].num_steps
    worth_it = work >= _WORTH_A_THREAD and seconds >= _WORTH_A_SECOND_STACK and len(members) > 1
    return worth_it and num_cores() > 1 and not stack.is_threaded(members[0].request.batch_size)
