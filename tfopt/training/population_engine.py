"""The population: fits of one model structure trained together, a stacked axis over members in one graph."""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfopt._private.needs import missing
from tfopt._private.streams import random_streams_kept
from tfopt.errors import CannotStack, one_line
from tfopt.training.builds import BuildRegistry, BuildSnapshot, LRULists, configuration_key
from tfopt.training.epoch_graph import log_value
from tfopt.training.fits import Engine, EpochTracker, FitRequest, FitResult
from tfopt.training.rows import Examples, row_orders
from tfopt.training.shared import SharedGraphEngine
from tfopt.training.stack import Stack
from tfopt.training.stack_making import make_graph_stack, make_numpy_stack

_log = logging.getLogger("tfopt")

_MAX_STRUCTURES = 32  # whose graphs are kept
_MAX_STACKS = 4  # of one structure kept, for values that Python decides differently on and numbers of streams
_MAX_TRACES = 12  # of one structure; more cost more than they save
_SPARSE = 0.75  # with fewer members left than this share of the stack, the finished ones are taken out of it

Done = Callable[[int, FitResult], None]


class StackMember:
    """A fit, where it begins, and what it has done.

    Args:
        index: Its place among the requests.
        request: What was asked.
        snapshot: The fresh build of its configuration.
        engine: Holds the rows.
    """

    def __init__(self, index: int, request: FitRequest, snapshot: BuildSnapshot, engine: Engine):
        self.index, self.request, self.snapshot = index, request, snapshot
        self.rows = np.arange(len(engine.train)) if request.rows is None else np.asarray(request.rows)
        self.held = None if engine.validation is None else np.arange(len(engine.validation))
        if request.validation is not None:
            self.held = np.asarray(request.validation)
        self.state = [
            *(snapshot.state if request.state is None else request.state),
            *snapshot.extra,
            snapshot.generator,
        ]
        self.result = FitResult(engine=engine.name)
        self.tracker = EpochTracker(request.monitor, self.result)

    @property
    def generators(self) -> bytes:
        """What tells its random streams from another's: the states of its generators, two integers each."""
        return b"".join(array.tobytes() for array in self.state if array.shape == (2,) and array.dtype.kind in "iu")


class PopulationEngine(Engine):
    """Trains fits of one model structure together; hands those that it cannot to another engine, and says why.

    A member's weights are those of a fresh build and `fit` up to the rounding of batched products, alone or in any
    company: the same initial weights, order of rows and dropout masks, its own normalisation statistics, penalties,
    learning rate, clipping and early stopping. Best for many small models. Convolutions, optimizers that look at more
    than one weight at a time (Lamb, Adafactor, Muon, loss scaling), a `train_step` of one's own and fits with
    callbacks go to the other engine.

    Args:
        max_members: Most members of a stack.
        min_members: Fewest fits of a structure to trace a stack for; fewer are refused.
        memory: Bytes that a stack may take, estimated; None for no bound but `max_members`.
        grad_norm: Whether the history gets `grad_norm`, the mean norm of each epoch's gradients before clipping.
        probe: Whether to look for hyperparameters that act without a trace in the model, at a build or two for each.
        fallback: Trains what is refused; by default a `SharedGraphEngine` over the same rows.
    """

    name = "population"

    def __init__(
        self, *args: Any, max_members: int = 256, min_members: int = 1, memory: int | None = None,
        grad_norm: bool = False, probe: bool = True, fallback: Engine | None = None, **kwargs: Any,
    ):  # fmt: skip
        super().__init__(*args, **kwargs)
        for name, value in (("max_members", max_members), ("memory", memory)):
            if value is not None and value < 1:
                raise ValueError(f"Argument `{name}` must be >= 1. Received: {name}={value}.")
        self._max_members, self._min_members = max_members, min_members
        self._memory, self._grad_norm = memory, grad_norm
        self._builds = BuildRegistry(self.build, self.train, probe)
        self.fallback = fallback or SharedGraphEngine(**self.arguments(), builds=self._builds)  # trains what is refused
        self._stacks: LRULists[Stack] = LRULists(_MAX_STRUCTURES)  # by structure and examples of validation
        self._num_traces: dict[str, int] = defaultdict(int)
        self._not_in_numpy: set[str] = set()  # structures that NumPy cannot train
        self._reasons: dict[str, str] = {}  # structures that are refused

    def structure(self, hyperparameters: Any) -> str | None:
        """Return what the models of configurations that differ in numbers alone share; None if it is not known."""
        return self._builds.structures.get(configuration_key(hyperparameters))

    def fit(
        self,
        requests: Sequence[FitRequest],
        callbacks: Sequence[Sequence[keras.callbacks.Callback]] | None = None,
        done: Done | None = None,
    ) -> list[FitResult]:
        """Train every request, as many together as can be."""
        results, refused = self.attempt(requests, callbacks, done)
        if refused:
            for reason in dict.fromkeys(refused.values()):
                _log.info("not trained in a population: %s", reason)
            indices = sorted(refused)
            others = self.fallback.fit(
                [requests[i] for i in indices],
                [callbacks[i] for i in indices] if callbacks else None,
                None if done is None else lambda position, result: done(indices[position], result),
            )
            for index, result in zip(indices, others, strict=True):
                result.reason = result.reason or refused[index]
                results[index] = result
        return [result for result in results if result is not None]

    def attempt(
        self,
        requests: Sequence[FitRequest],
        callbacks: Sequence[Sequence[keras.callbacks.Callback]] | None = None,
        done: Done | None = None,
    ) -> tuple[list[FitResult | None], dict[int, str]]:
        """Train the requests that can be trained in a stack.

        Returns:
            The results, None where there is none, and the reason of each that was refused by its index.
        """
        results: list[FitResult | None] = [None] * len(requests)
        refused: dict[int, str] = {}
        for start in range(0, len(requests), self._max_members):
            window = range(start, min(start + self._max_members, len(requests)))
            for index, outcome in self._window(window, requests, callbacks):
                if isinstance(outcome, FitResult):
                    results[index] = outcome
                    if done is not None:
                        done(index, outcome)
                else:
                    refused[index] = outcome
        return results, refused

    # One window of requests -----------------------------------------------------------------------------------------

    def _window(
        self, window: range, requests: Sequence[FitRequest], callbacks: Sequence[Any] | None
    ) -> Iterator[tuple[int, FitResult | str]]:
        lacking = missing("calls of layers", "generator of unseeded draws", "seeds")
        if lacking:
            yield from ((index, lacking) for index in window)
            return
        started = time.perf_counter()
        snapshots: dict[Any, BuildSnapshot | Exception] = {}
        groups: dict[tuple, list[StackMember]] = defaultdict(list)
        built = []
        for index in window:
            request = requests[index]
            if callbacks and callbacks[index]:
                yield index, "it has callbacks of its own"
                continue
            identity = (configuration_key(request.hyperparameters), request.seed)
            if identity not in snapshots:
                snapshots[identity] = self._builds.snapshot(request)
            snapshot = snapshots[identity]
            if isinstance(snapshot, Exception):
                seconds = time.perf_counter() - started
                yield index, FitResult(failure=one_line(snapshot), engine=self.name, seconds=seconds)
                continue
            built.append((request, snapshot))
            member = StackMember(index, request, snapshot, self)
            held = None if member.held is None else len(member.held)
            same = (snapshot.signature, request.batch_size, len(member.rows), held, request.validation is None,
                    request.initial_epoch, None if request.predict is None else len(request.predict))  # fmt: skip
            groups[same].append(member)
        reason = self._builds.without_effect(built)
        share = (time.perf_counter() - started) / max(1, len(built))
        for members in groups.values():
            for member in members:
                member.result.seconds += share
            if reason:
                yield from ((member.index, reason) for member in members)
            else:
                yield from self._group(members)

    # Stacks ---------------------------------------------------------------------------------------------------------

    def _group(self, members: list[StackMember]) -> Iterator[tuple[int, FitResult | str]]:
        """Train members of one structure, those that a graph takes at a time."""
        while members:
            started = time.perf_counter()
            signature = members[0].snapshot.signature
            reason = self._reasons.get(signature)
            if len(members) < self._min_members:
                reason = f"there are fewer than {self._min_members} fits of its structure"
            stack = None
            if reason is None:
                try:
                    stack = self._stack(members)
                except CannotStack as error:
                    reason = self._reasons[signature] = str(error)
            if stack is None:
                reason = reason or "its graph depends on the values: too many had to be traced"
                yield from ((member.index, reason) for member in members)
                return
            steps = stack.steps_taken(members[0].state)
            fitting: list[StackMember] = []
            others: list[StackMember] = []
            for member in members:
                fits = stack.mismatch(member.snapshot.numbers) is None and stack.steps_taken(member.state) == steps
                (fitting if fits else others).append(member)
            members = others
            share = (time.perf_counter() - started) / len(fitting)
            for member in fitting:
                member.result.seconds += share
            limit = self._max_members
            if self._memory is not None:
                limit = max(1, min(limit, self._memory // stack.member_bytes(fitting[0].request.batch_size)))
            yield from self._chunks(stack, fitting, limit)

    def _stack(self, members: list[StackMember]) -> Stack | None:
        """Return a checked stack that takes the first of these members; None where too many were traced already."""
        stack = self._numpy_stack(members)
        if stack is not None:
            return stack
        signature = members[0].snapshot.signature
        if self._num_traces[signature] >= _MAX_TRACES:
            return None
        self._num_traces[signature] += 1
        alike = members[: self._max_members]
        streams = len({member.generators for member in alike})
        return self._made(lambda **given: make_graph_stack(streams=streams, **given), alike)

    def _numpy_stack(self, members: list[StackMember]) -> Stack | None:
        """Return a stack at hand, or one that NumPy trains; None if only a graph has yet to be traced."""
        signature, alike = members[0].snapshot.signature, members[: self._max_members]
        streams = len({member.generators for member in alike})
        for stack in self._stacks_of(members):
            if stack.takes_streams(streams) and stack.mismatch(members[0].snapshot.numbers) is None:
                return stack
        if signature in self._not_in_numpy:
            return None
        try:
            return self._made(make_numpy_stack, alike)
        except CannotStack as reason:
            _log.debug("not trained by NumPy: %s", reason)
            self._not_in_numpy.add(signature)
            return None

    def _made(self, make: Callable[..., Stack], alike: list[StackMember]) -> Stack:
        stacks, varying = self._stacks_of(alike), frozenset(self._builds.varying[alike[0].snapshot.signature])
        stacks[:] = [stack for stack in stacks if stack.varying == varying]
        del stacks[: 1 - _MAX_STACKS]
        candidates = [(member.request, member.snapshot) for member in alike]
        stacks.append(
            make(
                build=self.build, candidates=candidates, varying=varying, train=self.train,
                validation=self._validation_of(alike[0]), measure=self._grad_norm,
            )
        )  # fmt: skip
        return stacks[-1]

    def _validation_of(self, member: StackMember) -> Examples | None:
        return self.validation if member.request.validation is None else self.train

    def _stacks_of(self, members: list[StackMember]) -> list[Stack]:
        return self._stacks[f"{members[0].snapshot.signature} {id(self._validation_of(members[0]))}"]

    # Training -------------------------------------------------------------------------------------------------------

    def _chunks(self, stack: Stack, members: list[StackMember], limit: int) -> Iterator[tuple[int, FitResult | str]]:
        """Train members, as many at a time as memory holds."""
        while members:
            chunk, members = members[:limit], members[limit:]
            try:
                with random_streams_kept():
                    yield from self._together(stack, chunk)
            except (tf.errors.ResourceExhaustedError, MemoryError):
                left = [member for member in chunk if member.result.state is None]
                if len(chunk) == 1:
                    yield chunk[0].index, "not even one member fits into memory"
                    continue
                limit = len(chunk) // 2
                _log.warning("Memory ran out with %d members together: training %d at a time.", len(chunk), limit)
                members = [StackMember(m.index, m.request, m.snapshot, self) for m in left] + members

    def _together(self, stack: Stack, members: list[StackMember]) -> Iterator[tuple[int, FitResult | str]]:
        present: list[StackMember] = list(members)  # as in the stack, finished ones among them until they are taken out
        numbers = [member.snapshot.numbers for member in present]
        stack.load([member.state for member in present], numbers)
        training = [True] * len(present)
        epoch = members[0].request.initial_epoch
        while any(training):
            started = time.perf_counter()
            logs = self._epoch(stack, present, epoch)
            epoch += 1
            arrays: list[np.ndarray] = []
            finished = []
            for place, member in enumerate(present):
                if not training[place]:
                    continue
                improved, ended = self._follow(member, {name: log_value(value[place]) for name, value in logs.items()})
                ended = ended or epoch >= member.request.epochs
                if improved or ended:
                    arrays = arrays or stack.arrays()
                    state = stack.state(arrays, place)
                    if improved:
                        member.result.best_state = state[: stack.length]
                    if ended:
                        member.result.state = stack.finished(state)
                        training[place] = False
                        finished.append(member)
            if finished and finished[0].request.predict is not None:
                self._predict(stack, finished)
                if any(training):
                    stack.load([stack.state(arrays, place) for place in range(len(present))], numbers)
            share = (time.perf_counter() - started) / (sum(training) + len(finished))
            for member in [m for m, trains in zip(present, training, strict=True) if trains] + finished:
                member.result.seconds += share
            yield from ((member.index, member.result) for member in finished)
            if 0 < sum(training) < _SPARSE * len(present):
                arrays = stack.arrays()
                kept = [place for place, trains in enumerate(training) if trains]
                present = [present[place] for place in kept]
                numbers = [member.snapshot.numbers for member in present]
                stack.load([stack.state(arrays, place) for place in kept], numbers)
                training = [True] * len(present)

    def _predict(self, stack: Stack, members: list[StackMember]) -> None:
        tails = [member.state[stack.length :] for member in members]
        states = [[*(member.result.state or []), *tail] for member, tail in zip(members, tails, strict=True)]
        stack.load(states, [member.snapshot.numbers for member in members])
        rows = np.stack([np.asarray(member.request.predict) for member in members])
        for member, outputs in zip(members, stack.outputs(rows), strict=True):
            member.result.outputs = outputs

    def _epoch(self, stack: Stack, members: list[StackMember], epoch: int) -> dict[str, np.ndarray]:
        taken: dict[int, np.ndarray] = {}
        for member in members:
            seed = member.request.seed
            if seed not in taken:
                taken[seed] = row_orders(self.shuffle, seed, len(member.rows), epoch, epoch + 1)[0]
        batch_size = members[0].request.batch_size
        logs = stack.train(np.stack([member.rows[taken[member.request.seed]] for member in members]), batch_size)
        held = [member.held for member in members if member.held is not None]
        if held:
            tests = stack.evaluate(np.stack(held), batch_size)
            logs |= {f"val_{name}": value for name, value in tests.items()}
        return logs

    def _follow(self, member: StackMember, logs: dict[str, float]) -> tuple[bool, bool]:
        try:
            return member.tracker.epoch(logs)
        except KeyError as error:
            member.result.failure = one_line(error)
            return False, True
