"""The engine by its name, and the choice of the faster one for each model structure."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from tfopt import devices
from tfopt._private.streams import random_streams_kept
from tfopt.errors import CannotStack, nearest
from tfopt.training import ENGINES
from tfopt.training.fits import Build, Engine
from tfopt.training.plain import PlainEngine
from tfopt.training.population_engine import Outcomes, PopulationEngine
from tfopt.training.rows import Arrays, Shuffle
from tfopt.training.shared import SharedGraphEngine
from tfopt.training.stack import Stack, StackMember, train_epoch

_log = logging.getLogger("tfopt")

# What holds on two cores for dense layers, where nothing was measured: see tests/benchmarks/bench_engines.py.
_FEWEST_MEMBERS = 4
_MOST_WORK = 60_000  # multiplications of a row
_STEP_SECONDS = 2.5e-4
_ON_TWO_GRAPHS = 0.65  # of the time of a fit on the shared graph, where two cores train two of them at once
# Seconds on the shared graph from which a stack, half as long but traced 1.5 s longer, is done first; and from which
# measuring both costs less than a wrong choice may.
_WORTH_STACKING = 3.0
_WORTH_MEASURING = 15.0
_TIMED_EPOCHS = 2


class FasterEngine:
    """Decides whether fits of one structure train in a population or one after another on the shared graph.

    Small networks that NumPy knows, and larger ones of short work, are a population in NumPy, however few. Of the
    others, where the work is long, one fit on the shared graph and an epoch of the stack are timed first; else the
    number of fits and their multiplications decide. Beside a GPU, where the work is long, a stack of NumPy's and one on
    the GPU are timed too.

    Args:
        population: The engine that asks; what it refuses goes to its `fallback`, the shared graph.
        measure: Whether to time; False makes the choice the same in every run.
    """

    def __init__(self, population: PopulationEngine, measure: bool = True):
        self._population, self._pool, self._measure = population, population.pool, measure
        self._alone: dict[str, float] = {}  # seconds a step on the shared graph, by structure
        self._together: dict[tuple, float] = {}  # and in a stack of about so many members

    def __call__(self, members: list[StackMember]) -> tuple[list[StackMember], Outcomes, str | None]:
        """Return the members still to be trained, the result of one that was timed, and why they train elsewhere."""
        self._time_beside_a_gpu(members)
        if self._small_and_dense(members):
            return members, [], None
        if members[0].multipliers is not None:
            return members, [], "it has callbacks of its own"
        rest, timed = self._timed_alone(members)
        return rest, timed, self._slower_stacked(rest) if rest else None

    def _time_beside_a_gpu(self, members: list[StackMember]) -> None:
        """Time a stack of NumPy's and one on the GPU, if there are both and that is worth knowing."""
        structure = members[0].structure
        if not self._measure or structure in self._pool.numpy_wins or _seconds_alone(members) < _WORTH_MEASURING:
            return
        numpy_stack = self._pool.numpy_stack(members) if tf.config.list_logical_devices("GPU") else None
        if numpy_stack is None:
            return
        try:
            on_gpu = self._seconds_a_step(self._pool.graph_stack(members), members)
        except CannotStack:
            on_gpu = np.inf
        on_cpu = self._seconds_a_step(numpy_stack, members)
        _log.info("a step takes %.3g ms in NumPy, %.3g ms on the GPU", 1e3 * on_cpu, 1e3 * on_gpu)
        self._pool.numpy_wins[structure] = on_cpu <= on_gpu
        if on_gpu < on_cpu:
            self._pool.not_numpy[structure] = (
                f"not by NumPy: measured {1e3 * on_cpu:.3g} ms a step, {1e3 * on_gpu:.3g} ms on the GPU"
            )

    def _small_and_dense(self, members: list[StackMember]) -> bool:
        """Return whether NumPy trains these members, and sooner than a graph that is yet to be traced."""
        if not self._pool.numpy_wins.get(members[0].structure, True):
            return False
        worth_it = members[0].work <= _MOST_WORK or _seconds_alone(members) < _WORTH_STACKING
        return worth_it and self._pool.numpy_stack(members) is not None

    def _timed_alone(self, members: list[StackMember]) -> tuple[list[StackMember], Outcomes]:
        """Train one of many members on the shared graph, if that is worth knowing; return the others and its result."""
        structure = members[0].structure
        seconds = _seconds_alone(members)
        known = structure in self._alone or structure in self._pool.refused
        if not self._measure or known or _number(members) < 2 * _FEWEST_MEMBERS or seconds < _WORTH_MEASURING:
            return members, []
        first, shared = members[0], self._population.fallback
        # Its first fit traces and checks: the time of a step is that of a second, short one.
        [result] = shared.fit([first.request], [first.stops])
        result.reason = result.reason or "it was timed, to be compared with a population"
        started = time.perf_counter()
        epochs = min(first.request.epochs, first.request.initial_epoch + _TIMED_EPOCHS)
        shared.fit([replace(first.request, epochs=epochs, monitor=None, predict=None)])
        taken = _ON_TWO_GRAPHS * (time.perf_counter() - started)
        self._alone[structure] = taken / (first.steps_an_epoch * _TIMED_EPOCHS)
        return members[1:], [(first.index, result)]

    def _slower_stacked(self, members: list[StackMember]) -> str | None:
        """Return why these members are better trained one after another; None if together is faster."""
        number, structure = _number(members), members[0].structure
        if number < _FEWEST_MEMBERS:
            return f"{number} of a shape are faster one after another"
        alone = self._alone.get(structure)
        if alone is None:
            on_gpu = bool(tf.config.list_logical_devices("GPU"))
            work, seconds = members[0].work, _seconds_alone(members)
            if work > _MOST_WORK and not on_gpu:
                return f"models of {work} multiplications a row are faster one after another"
            # What this process has traced already counts only where it trains all of them.
            traced = members[0].request.together is None and bool(self._pool.kept(members))
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
        try:
            return self._seconds_a_step(self._pool.stack(members), members)
        except CannotStack:
            return None  # the population says so itself

    def _seconds_a_step(self, stack: Stack, members: list[StackMember]) -> float:
        rounded = members[0].structure, type(stack), int(np.log2(len(members)))
        if rounded not in self._together:
            alike = [member for member in members if member.num_rows == members[0].num_rows]
            fitting = [m for m in alike[: self._pool.max_members] if stack.mismatch(m.snapshot.numbers) is None]
            with random_streams_kept():
                stack.load([m.state for m in fitting], [m.snapshot.numbers for m in fitting])
                for _ in range(2):  # the first call optimises the graph
                    started = time.perf_counter()
                    train_epoch(stack, fitting, fitting[0].request.initial_epoch, self._population.shuffle)
                    seconds = time.perf_counter() - started
            self._together[rounded] = seconds / fitting[0].steps_an_epoch / len(fitting)
        return self._together[rounded]


def _seconds_alone(members: list[StackMember]) -> float:
    """Return about how long these members take on the shared graph."""
    steps = sum(member.num_steps for member in members) * _number(members) / len(members)
    return _STEP_SECONDS * steps * max(1.0, members[0].work / 30_000)


def _number(members: list[StackMember]) -> int:
    """Return how many of a structure are to be trained, in all processes."""
    return members[0].request.together or len(members)


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
    class_weight: Mapping[int, float] | None = None,
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
        build: As `Engine`'s.
        x: As `Engine`'s.
        y: As `Engine`'s.
        sample_weight: As `Engine`'s.
        validation: As `Engine`'s.
        class_weight: As `Engine`'s.
        shuffle: As `Engine`'s.
        memory: Bytes that stacked members may take; None for a quarter of what is free.
        probe: Whether to look for hyperparameters that act without a trace in the model.
        measure: Whether `"auto"` may time both; else it goes by shape and number alone, the same way in every run.

    Raises:
        ValueError: There is no such engine.
    """
    if kind not in ENGINES:
        known = ", ".join(ENGINES)
        raise ValueError(f"Argument `engine` must be one of {known}. Received: {kind}.{nearest(kind, ENGINES)}")
    rows = (build, x, y, sample_weight, validation, shuffle, class_weight)
    if kind == "plain":
        return PlainEngine(*rows)
    if kind == "shared":
        return SharedGraphEngine(*rows, probe=probe)
    memory = memory or free_memory() // 4
    choice = None if kind == "population" else lambda population: FasterEngine(population, measure)
    return PopulationEngine(*rows, memory=memory, probe=probe, choice=choice)


def free_memory() -> int:
    """Return the bytes that the first GPU has free, or the machine where there is none."""
    for device in tf.config.list_logical_devices("GPU"):
        used = tf.config.experimental.get_memory_info(device.name)["current"]
        details = tf.config.experimental.get_device_details(tf.config.list_physical_devices("GPU")[0])
        return max(int(details.get("memory_limit", _GPU_MEMORY)) - used, _LEAST_MEMORY)
    return max(devices.free_ram() or _LEAST_MEMORY * 4, _LEAST_MEMORY)
