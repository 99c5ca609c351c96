"""The shared graph: one traced epoch for all fits of a model shape, with the very numbers of `model.fit`.

Each fit puts its snapshot's variables and numbers into the graph and runs whole epochs in one call. The step is the
model's own `train_step`.
"""

import copy
import itertools
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from threading import Event
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfopt._private.keras_random import seeded
from tfopt._private.needs import missing
from tfopt._private.streams import random_streams_kept
from tfopt.devices import num_cores
from tfopt.errors import one_line
from tfopt.training.builds import BuildRegistry, BuildSnapshot, LRULists, take_snapshot
from tfopt.training.epoch_graph import CannotShareError, EpochGraph
from tfopt.training.first_step import first_step_differs
from tfopt.training.fits import Callbacks, Engine, EpochTracker, FitRequest, FitResult, Made, Results
from tfopt.training.model_walk import ModelWalk
from tfopt.training.plain import PlainEngine, needs_plain_fit, watches_batches
from tfopt.training.rows import Examples, row_order
from tfopt.training.timeout import TookTooLong, limited
from tfopt.training.two_threads import Worker, in_two_threads

_log = logging.getLogger("tfopt")

_MAX_GRAPHS = 4  # of one structure, for values that Python decides differently on; more cost more than they save
_MAX_STRUCTURES = 32  # whose graphs are kept, at 4 to 10 MB each
_CHUNK = 32  # snapshots kept at a time
_WORTH_A_SECOND_GRAPH = 4.0  # seconds that a second core would be idle; tracing takes one or two


class SharedGraphEngine(Engine):
    """Trains fits one after another on one graph a model shape; what it cannot share it trains plainly, and says why.

    The weights are those of a fresh build and `fit`: bit-identical for most models on a CPU, and within rounding for
    loops such as an LSTM's.

    Args:
        probe: Whether to look for hyperparameters that act without a trace in the model, at a build or two for each.
        builds: What another engine knows of this `build`.
    """

    name = "shared"
    _builds: BuildRegistry

    def __init__(self, *args: Any, probe: bool = True, builds: BuildRegistry | None = None, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._plain = PlainEngine(**self.arguments())
        self._graphs: LRULists[EpochGraph] = LRULists(_MAX_STRUCTURES)
        self._reasons: dict[str, str] = {}  # structures that are trained plainly
        self._changing: dict[tuple[type, ...], str] = {}  # kinds of callbacks that are
        self._builds = builds or BuildRegistry(self.build, self.train, probe)

    @cached_property
    def _train_rows(self) -> tuple:
        return tensors(self.train)

    @cached_property
    def _held_out_rows(self) -> tuple:
        if self.held_out is self.train:
            return self._train_rows
        return (*self._train_rows[:2], *keras.tree.map_structure(tf.constant, self.held_out.parts()[2:]))

    @cached_property
    def _validation_rows(self) -> tuple:
        assert self.validation is not None
        return tensors(self.validation)

    def results(self, requests: Sequence[FitRequest], callbacks: Sequence[Callbacks]) -> Results:
        """Train those of one shape in a row."""
        for start in range(0, len(requests), _CHUNK):
            yield from self._chunk(range(start, min(start + _CHUNK, len(requests))), requests, callbacks)

    def _chunk(
        self, chunk: range, requests: Sequence[FitRequest], callbacks: Sequence[Callbacks]
    ) -> Iterator[tuple[int, FitResult]]:
        lacking = missing("calls of layers", "generator of unseeded draws", "seeds")
        if lacking:
            for index in chunk:
                [result] = self._plain.fit([requests[index]], [callbacks[index]])
                result.reason = lacking
                yield index, result
            return
        started = time.perf_counter()
        snapshots = self._builds.snapshots([requests[i] for i in chunk])
        fits = [
            _PendingFit(i, requests[i], snapshot, callbacks[i]) for i, snapshot in zip(chunk, snapshots, strict=True)
        ]
        reason = self._builds.without_effect(
            [(fit.request, fit.snapshot) for fit in fits if isinstance(fit.snapshot, BuildSnapshot)]
        )
        share = (time.perf_counter() - started) / len(chunk)
        fits.sort(key=lambda fit: fit.structure)
        for _, alike in itertools.groupby(fits, key=lambda fit: fit.structure):
            for index, result in self._alike(list(alike), reason):
                result.seconds += share
                yield index, result

    def _alike(self, fits: list["_PendingFit"], reason: str | None) -> Iterator[tuple[int, FitResult]]:
        """Train fits of one structure: one after another, and on two graphs at once where a second one is worth it."""
        while fits:
            fit, *fits = fits
            result, idle = self._one(fit, reason)
            yield fit.index, result
            sharing = [other for other in fits if isinstance(other.snapshot, BuildSnapshot) and not other.callbacks]
            if len(sharing) * idle > _WORTH_A_SECOND_GRAPH:
                trained = set()
                for index, result in self._on_two_graphs(sharing):
                    trained.add(index)
                    yield index, result
                fits = [other for other in fits if other.index not in trained]

    def _on_two_graphs(self, fits: list["_PendingFit"]) -> Iterator[tuple[int, FitResult]]:
        """Train those of the fits that the first one's graph takes, on it and on a second one like it at once."""
        try:
            graph = self._graph(fits[0].request, fits[0].snapshot)
        except CannotShareError:
            return  # the fit says so itself
        fits = [fit for fit in fits if graph.mismatch(fit.snapshot) is None]

        def worker(own: EpochGraph) -> Worker:
            return lambda fit, cancelled: self._trained(own, fit, (), cancelled)[0]

        def second() -> Worker:
            if graph.second is None:
                graph.second = self._traced(fits[0].request, fits[0].snapshot, graph.varying, check=False)
                graph.second.trace_as(graph)
            return worker(graph.second)

        for fit, result in in_two_threads(worker(graph), second, fits):
            yield fit.index, result

    def _one(self, fit: "_PendingFit", reason: str | None) -> tuple[FitResult, float]:
        """Return the result of a fit and the seconds that a second core was idle; 0 if it was not on a graph."""
        started = time.perf_counter()
        if isinstance(fit.snapshot, Exception):
            return FitResult(failure=one_line(fit.snapshot), engine=self.name), 0.0
        try:
            # Held no longer than this fit, as they may hold large arrays.
            callbacks = fit.callbacks() if callable(fit.callbacks) else fit.callbacks
            kinds = tuple(map(type, callbacks))
            reason = reason or self._reasons.get(fit.structure) or watches_batches(callbacks)
            reason = reason or self._changing.get(kinds)
            if reason:
                raise CannotShareError(reason)
            with limited(fit.request.timeout), random_streams_kept():
                graph = self._graph(fit.request, fit.snapshot)
                result, idle = self._trained(graph, fit, callbacks)
        except CannotShareError as error:
            if isinstance(error, _ChangedStepError):
                self._changing[kinds] = str(error)
                self._graphs[fit.structure].remove(graph)  # as its model is not what was traced any more
            _log.info("trained plainly: %s", error)
            [result] = self._plain.fit([fit.request], [callbacks])
            result.reason, idle = str(error), 0.0
        except Exception as error:
            _log.info("training failed", exc_info=True)
            if isinstance(error, TookTooLong):
                self._graphs.pop(fit.structure, None)  # it may have been left at any point
            result, idle = FitResult(engine=self.name, failure=one_line(error)), 0.0
        result.seconds = time.perf_counter() - started
        return result, idle

    def _trained(
        self, graph: EpochGraph, fit: "_PendingFit", callbacks: Made, cancelled: Event | None = None
    ) -> tuple[FitResult, float]:
        result = FitResult(engine=self.name)
        started = time.perf_counter(), time.process_time()
        try:
            self._run(graph, fit, callbacks, result, cancelled)
        except CannotShareError:
            raise
        except Exception as error:
            _log.info("training failed", exc_info=True)
            result.failure = one_line(error)
        result.seconds = time.perf_counter() - started[0]
        return result, min(2, num_cores()) * result.seconds - (time.process_time() - started[1])

    def _graph(self, request: FitRequest, snapshot: BuildSnapshot) -> EpochGraph:
        """Return a graph that trains the snapshot's model; trace and check a new one if there is none yet."""
        graphs = self._graphs[snapshot.signature]
        varying = frozenset(self._builds.varying[snapshot.signature])
        reasons = []
        for graph in graphs:
            mismatch = graph.mismatch(snapshot)
            if mismatch is None:
                return graph
            reasons.append(mismatch)
        graphs[:] = [graph for graph in graphs if graph.varying == varying]
        if len(graphs) >= _MAX_GRAPHS:
            raise CannotShareError(f"the graph depends on a value: {reasons[-1]}")
        try:
            graph = self._traced(request, snapshot, varying)
        except CannotShareError as error:
            self._reasons[snapshot.signature] = str(error)
            raise
        graphs.append(graph)
        return graph

    def _traced(
        self, request: FitRequest, snapshot: BuildSnapshot, varying: frozenset[str], check: bool = True
    ) -> EpochGraph:
        with seeded(request.seed):
            # Of its own, as numbers are replaced where they are, which may be in the configuration itself.
            own = replace(request, hyperparameters=copy.deepcopy(request.hyperparameters))
            _, model, walk = take_snapshot(self.build, own, self.train)
            trained_plainly = needs_plain_fit(model) or ("its build draws from `tf.random`" if snapshot.draws else None)
            if trained_plainly:
                raise CannotShareError(trained_plainly)
            graph = EpochGraph(model, walk, varying, self.train)
        if not check:
            return graph
        others = [
            (r, s)
            for r, s in self._builds.representatives[snapshot.signature]
            if r is not request and graph.mismatch(s) is None
        ]
        example = others[-1] if others else (request, snapshot)
        differs = first_step_differs(graph, self.build, *example, self.train, self._train_rows)
        if differs or graph.unrepeatable():
            raise CannotShareError(
                differs or f"it uses {', '.join(graph.unrepeatable())}, whose stream cannot be reset"
            )
        return graph

    def _run(
        self, graph: EpochGraph, fit: "_PendingFit", callbacks: Made, result: FitResult, cancelled: Event | None
    ) -> None:
        request = fit.request
        graph.load(fit.snapshot, request.state)
        chosen = np.arange(len(self.train)) if request.rows is None else np.asarray(request.rows)
        check: tuple[np.ndarray, tuple] | None = None
        if request.validation is not None:
            check = np.asarray(request.validation), self._held_out_rows
        elif self.validation is not None:
            check = np.arange(len(self.validation)), self._validation_rows
        tracker = EpochTracker(request, result)
        seen = _FinalLogs()
        graph.model.stop_training = False
        listeners: keras.callbacks.CallbackList | None = None
        if callbacks:
            steps = -(-len(chosen) // request.batch_size)
            listeners = _begun(graph, [*callbacks, seen], verbose=0, epochs=request.epochs, steps=steps)
        first, logs = request.initial_epoch, {}
        for epoch in range(first, request.epochs):
            order = row_order(self.shuffle, request.seed, len(chosen), epoch)
            _notify(graph, listeners, "on_epoch_begin", epoch)
            if graph.model.stop_training:  # Keras looks at it after each batch
                order = order[: request.batch_size]
            logs = graph.epoch(chosen[order], request.batch_size, self._train_rows, check)
            _notify(graph, listeners, "on_epoch_end", epoch, logs)
            logs = logs | seen.logs  # with what the callbacks have added
            improved, ended = tracker.epoch(logs)
            if improved:
                result.best_state = graph.state()
            if ended or graph.model.stop_training or (cancelled is not None and cancelled.is_set()):
                break
        graph.model.optimizer.finalize_variable_values(graph.model.trainable_variables)
        _notify(graph, listeners, "on_train_end", logs)
        result.state = graph.state()
        if request.predict is not None:
            result.outputs = graph.outputs(np.asarray(request.predict), self._train_rows)


@dataclass
class _PendingFit:
    """A request on its way."""

    index: int
    request: FitRequest
    snapshot: Any
    callbacks: Callbacks

    @property
    def structure(self) -> str:
        """What fits that may share a graph have in common."""
        return getattr(self.snapshot, "signature", "")


class _FinalLogs(keras.callbacks.Callback):
    """The logs after other callbacks have had them; Keras gives these a copy."""

    def __init__(self) -> None:
        super().__init__()
        self.logs: dict[str, Any] = {}

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Note them."""
        self.logs = dict(logs or {})


class _ChangedStepError(CannotShareError):
    """A callback changes the training step, which the graph has traced already."""


def _begun(graph: EpochGraph, callbacks: Made, **given: Any) -> Any:
    """Return the list of callbacks, told that the training begins.

    Raises:
        _ChangedStepError: Keras would trace what one of them has put into the model.
    """
    with graph.plain() as model:
        before = ModelWalk(model)
        listeners = keras.callbacks.CallbackList(list(callbacks), add_history=True, model=model, **given)
        listeners.on_train_begin()
        after = ModelWalk(model)
        if (before.signature, repr(before.numbers)) != (after.signature, repr(after.numbers)) or model.train_function:
            _refuse(model, listeners)
    return listeners


def _notify(graph: EpochGraph, listeners: keras.callbacks.CallbackList | None, event: str, *arguments: Any) -> None:
    if listeners is not None:
        with graph.plain() as model:
            getattr(listeners, event)(*arguments)
            if model.train_function:  # which only `make_train_function` makes: nobody calls `fit` here
                _refuse(model, listeners)


def _refuse(model: keras.Model, listeners: keras.callbacks.CallbackList) -> None:
    listeners.on_train_end()  # they take back what they have changed
    model.train_function = None
    raise _ChangedStepError("a callback changes the training step")


def tensors(examples: Examples) -> tuple:
    """Return the examples' parts on the device."""
    return keras.tree.map_structure(tf.constant, examples.parts())
