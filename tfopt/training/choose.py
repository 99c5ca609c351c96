"""The engine that finds out which of the others is faster for a shape."""

import contextlib
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from tfopt._private.streams import random_streams_kept
from tfopt.errors import CannotStack, nearest
from tfopt.training import ENGINES
from tfopt.training.fits import Build, Engine, FitResult, Shuffle
from tfopt.training.numpy_stack.model import NumpyStack
from tfopt.training.plain import PlainEngine
from tfopt.training.population_engine import PopulationEngine, StackMember
from tfopt.training.rows import Arrays
from tfopt.training.shared import SharedGraphEngine

_log = logging.getLogger("tfopt")

# What holds on two cores for dense layers, where nothing was measured: see tests/benchmarks/bench_engines.py.
_FEWEST_MEMBERS = 4
_MOST_WEIGHTS = 60_000
_STEP_SECONDS = 2.5e-4
_ON_TWO_GRAPHS = 0.65  # of the time of a fit on the shared graph, where two cores train two of them at once
# Seconds on the shared graph from which a stack, half as long but traced 1.5 s longer, is done first; and from which
# measuring both costs less than a wrong choice may.
_WORTH_STACKING = 3.0
_WORTH_MEASURING = 15.0
_TIMED_EPOCHS = 2


class AutoEngine(PopulationEngine):
    """Trains fits of one shape in a population or one after another on a shared graph, whichever is faster.

    Small dense networks, and larger ones of short work, are a population in NumPy, however few. Of the others, where
    the work is long, one fit on the shared graph and an epoch of the stack are timed first; else the number of fits
    and weights decides.

    Args:
        measure: Whether to time; False makes the choice the same in every run.
    """

    name = "auto"

    def __init__(self, *args: Any, measure: bool = True, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._measure = measure
        self._alone: dict[str, float] = {}  # seconds a step on the shared graph, by structure
        self._stacked: dict[tuple[str, int], float] = {}  # and in a stack of about so many members

    def _group(self, members: list[StackMember]) -> Iterator[tuple[int, FitResult | str]]:
        if self._small_and_dense(members):
            yield from self._stacked_group(members)
            return
        rest, timed = self._timed_alone(members)
        yield from timed
        reason = self._slower_stacked(rest) if rest else None
        if reason is not None:
            yield from ((member.index, reason) for member in rest)
        elif rest:
            yield from self._stacked_group(rest)

    def _stacked_group(self, members: list[StackMember]) -> Iterator[tuple[int, FitResult | str]]:
        for index, outcome in super()._group(members):
            if isinstance(outcome, FitResult):
                outcome.engine = PopulationEngine.name
            yield index, outcome

    def _small_and_dense(self, members: list[StackMember]) -> bool:
        """Return whether NumPy trains these members, and sooner than a graph that is yet to be traced."""
        worth_it = _weights(members[0]) <= _MOST_WEIGHTS or _seconds_alone(members) < _WORTH_STACKING
        return worth_it and isinstance(self._numpy_stack(members), NumpyStack)

    def _timed_alone(self, members: list[StackMember]) -> tuple[list[StackMember], list[tuple[int, FitResult | str]]]:
        """Train one of many members on the shared graph, if that is worth knowing; return the others and its result."""
        signature = members[0].snapshot.signature
        seconds = _seconds_alone(members)
        known = signature in self._alone or signature in self._reasons
        if not self._measure or known or _number(members) < 2 * _FEWEST_MEMBERS or seconds < _WORTH_MEASURING:
            return members, []
        first = members[0]
        # Its first fit traces and checks: the time of a step is that of a second, short one.
        [result] = self.fallback.fit([first.request])
        started = time.perf_counter()
        epochs = min(first.request.epochs, first.request.initial_epoch + _TIMED_EPOCHS)
        self.fallback.fit([replace(first.request, epochs=epochs, monitor=None, predict=None)])
        taken = _ON_TWO_GRAPHS * (time.perf_counter() - started)
        self._alone[signature] = taken / max(1, _steps(first) * _TIMED_EPOCHS // _num_epochs(first))
        return members[1:], [(first.index, result)]

    def _slower_stacked(self, members: list[StackMember]) -> str | None:
        """Return why these members are better trained one after another; None if together is faster."""
        number, signature = _number(members), members[0].snapshot.signature
        if number < _FEWEST_MEMBERS:
            return f"{number} of a shape are faster one after another"
        alone = self._alone.get(signature)
        if alone is None:
            on_gpu = bool(tf.config.list_logical_devices("GPU"))
            weights, seconds = _weights(members[0]), _seconds_alone(members)
            if weights > _MOST_WEIGHTS and not on_gpu:
                return f"models of {weights} weights are faster one after another"
            # What this process has traced already counts only where it trains all of them.
            traced = members[0].request.together is None and self._stacks[signature]
            if seconds < _WORTH_STACKING and not traced:
                return f"about {seconds:.1f} s of work are not worth a stack"
            return None
        together = self._timed_together(members)
        if together is None or together <= alone:
            return None
        _log.info("one after another: %.3g ms a step, together %.3g ms", 1e3 * alone, 1e3 * together)
        return f"measured: {1e3 * alone:.3g} ms a step one after another, {1e3 * together:.3g} ms together"

    def _timed_together(self, members: list[StackMember]) -> float | None:
        """Return the seconds of a member's step in a stack of all these; None if they cannot be stacked."""
        signature = members[0].snapshot.signature
        rounded = signature, int(np.log2(len(members)))
        if rounded not in self._stacked:
            try:
                stack = self._stack(members)
            except CannotStack:
                return None  # the population says so itself
            if stack is None:
                return None  # too many graphs already, which it says as well
            fitting = [m for m in members[: self._max_members] if stack.mismatch(m.snapshot.numbers) is None]
            with random_streams_kept():
                stack.load([m.state for m in fitting], [m.snapshot.numbers for m in fitting])
                for _ in range(2):  # the first call optimises the graph
                    started = time.perf_counter()
                    self._epoch(stack, fitting, fitting[0].request.initial_epoch)
                    seconds = time.perf_counter() - started
            steps = _steps(fitting[0]) / _num_epochs(fitting[0])
            self._stacked[rounded] = seconds / steps / len(fitting)
        return self._stacked[rounded]


def _num_epochs(member: StackMember) -> int:
    return max(1, member.request.epochs - member.request.initial_epoch)


def _steps(member: StackMember) -> int:
    return _num_epochs(member) * -(-len(member.rows) // member.request.batch_size)


def _seconds_alone(members: list[StackMember]) -> float:
    """Return about how long these members take on the shared graph."""
    steps = sum(map(_steps, members)) * _number(members) / len(members)
    return _STEP_SECONDS * steps * max(1.0, _weights(members[0]) / 30_000)


def _number(members: list[StackMember]) -> int:
    """Return how many of a structure are to be trained, in all processes."""
    return members[0].request.together or len(members)


def _weights(member: StackMember) -> int:
    """Return about how many weights a member has: a third of what Adam keeps."""
    return sum(array.size for array in member.snapshot.state) // 3


Kind = Literal["auto", "population", "shared", "plain"]

_LEAST_MEMORY = 2**28
_GPU_MEMORY = 2**33  # of a GPU that does not say how much it has


def engine_for(
    kind: str,
    build: Build,
    x: Arrays,
    y: Arrays,
    sample_weight: np.ndarray | None = None,
    validation: Sequence[Any] | None = None,
    *,
    shuffle: Shuffle = True,
    memory: int | None = None,
    probe: bool = True,
    measure: bool = True,
) -> Engine:
    """Return the engine of this name over these rows.

    Args:
        kind: `"plain"`: a build and a `model.fit` for each fit. `"shared"`: one traced epoch a model shape.
            `"population"`: fits of one shape together, what cannot be stacked on the shared graph. `"auto"`: for each
            shape the faster of the two.
        build: Returns the compiled model of a configuration.
        x: Inputs.
        y: Targets.
        sample_weight: A weight a row.
        validation: `(x, y)` or `(x, y, sample_weight)`.
        shuffle: See `Engine`.
        memory: Bytes that stacked members may take; None for a quarter of what is free.
        probe: Whether to look for hyperparameters that act without a trace in the model.
        measure: Whether `"auto"` may time both; else it goes by shape and number alone, the same way in every run.

    Raises:
        ValueError: There is no such engine.
    """
    if kind not in ENGINES:
        known = ", ".join(ENGINES)
        raise ValueError(f"Argument `engine` must be one of {known}. Received: {kind}.{nearest(kind, ENGINES)}")
    rows = (build, x, y, sample_weight, validation, shuffle)
    if kind == "plain":
        return PlainEngine(*rows)
    if kind == "shared":
        return SharedGraphEngine(*rows, probe=probe)
    memory = memory or free_memory() // 4
    if kind == "population":
        return PopulationEngine(*rows, memory=memory, probe=probe)
    return AutoEngine(*rows, memory=memory, probe=probe, measure=measure)


def free_memory() -> int:
    """Return the bytes that the first GPU has free, or the machine where there is none."""
    for device in tf.config.list_logical_devices("GPU"):
        used = tf.config.experimental.get_memory_info(device.name)["current"]
        details = tf.config.experimental.get_device_details(tf.config.list_physical_devices("GPU")[0])
        return max(int(details.get("memory_limit", _GPU_MEMORY)) - used, _LEAST_MEMORY)
    with contextlib.suppress(OSError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable"):
                return max(1024 * int(line.split()[1]), _LEAST_MEMORY)
    return _LEAST_MEMORY * 4
