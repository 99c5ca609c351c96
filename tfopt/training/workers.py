"""Worker processes: calls are handed to this process, to others of this machine, or to those of a cluster.

Each worker is served by a thread that hands it one call after another, the longest first. The process that owns the
workers works too, while it waits. What a call returns reaches that process only, in its own thread.
"""

import importlib
import logging
import os
import pickle
import shutil
import signal
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self

from tfopt.devices import CORES, num_cores
from tfopt.errors import UserError
from tfopt.training import BACKENDS
from tfopt.training.local_worker import LocalWorker
from tfopt.training.worker_process import CannotTravelError, Source, WorkerDiedError, dumps, write

_log = logging.getLogger("tfopt")

_MOST_DEATHS = 2  # of workers that a call may cause


class Shared:
    """A value that each worker is sent once and keeps; calls get it as their first argument.

    Args:
        value: Anything that can be pickled; functions and classes of the main program can.
    """

    def __init__(self, value: Any):
        self.value, self.key = value, uuid.uuid4().hex


def _nothing(*_: Any) -> None:
    """Tell nobody, or warm nothing up."""


@dataclass(eq=False)
class Call:
    """One call of a function.

    Args:
        function: What is called: `function(shared.value, *arguments)`, or `function(*arguments)` without `shared`.
        arguments: Its arguments, or what makes them when it is made.
        done: Told the value and the exception, one of which is None, in the thread that waits.
        shared: A value that many calls have in common.
        kind: Calls of one kind take as long as their work says.
        work: How much it is, in a unit of the kind's own.
        urgent: Whether others wait for it, so that it goes before longer calls.
        here: Whether it must stay in this process.
        on_gpu: Whether it is only for workers that have a GPU, on a machine with any.
    """

    function: Callable[..., Any]
    arguments: tuple | Callable[[], tuple] = ()
    done: Callable[[Any, Exception | None], None] = _nothing
    shared: Shared | None = None
    kind: str = ""
    work: float = 1.0
    urgent: bool = False
    here: bool = False
    on_gpu: bool = False
    num_deaths: int = field(default=0, init=False)

    def made_arguments(self) -> tuple:
        """Return the arguments, made once."""
        if callable(self.arguments):
            self.arguments = self.arguments()
        return self.arguments


class Worker(Protocol):
    """A worker as its thread sees it."""

    def call(self, call: bytes, key: str | None, source: Source | None) -> bytes:
        """Return what `run` returns there.

        Raises:
            WorkerDiedError: It ended before it could.
        """

    def kill(self) -> None:
        """End it at once."""


class Workers:
    """Hands out calls to `number` workers, this process among them.

    Results do not depend on the number: a call is the same wherever it is made. A worker that dies takes nothing but
    the call that it was at, which is handed out again; a call that ends two workers has failed. What cannot be sent to
    another process is called in this one, which is logged. Ends its processes when it is closed, and they end by
    themselves if this process does, even if it is killed.

    Args:
        number: Workers. On one machine this process is one of them; of a cluster, None takes all that it has.
        backend: `"loky"`: processes of this machine; `"ray"` or `"dask"`: those of a cluster.
        address: Where the cluster is.
        environment: Variables of worker processes on this machine, beside those of this one.
        warm_up: Called once in each worker that has nothing else to do, such as an import.

    Attributes:
        number: Workers.
        gpus: The value of `CUDA_VISIBLE_DEVICES` for each worker that has a GPU, this process first; to be set before
            the first call that needs one. Other workers then make the calls that need none.

    Raises:
        ValueError: There is no such backend, or `number` is not at least 1.
        ImportError: The backend is not installed.

    Example:
        ```python
        def build(hp):
            model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(4, "relu"), keras.layers.Dense(1)])
            model.compile(keras.optimizers.Adam(hp["learning_rate"]), "mse")
            return model

        x, y = np.ones((12, 2)), np.ones(12)
        rates = [{"learning_rate": rate} for rate in (1e-3, 1e-2, 1e-1)]
        with tfopt.training.Workers(number=1) as workers:  # of this machine; backend="dask", address=… for a cluster
            result = tfopt.training.Population(build, rates).fit(x, y, epochs=2, workers=workers)
        print(len(result))  # 3
        ```
    """

    def __init__(
        self, number: int | None = 1, backend: str = "loky", address: str | None = None,
        environment: Mapping[str, str] | None = None, warm_up: Callable[[], None] | None = None,
    ):  # fmt: skip
        if backend not in BACKENDS:
            raise ValueError(f"Argument `backend` must be one of {', '.join(BACKENDS)}. Received: {backend}.")
        if backend == "loky" and address is not None:
            raise ValueError(
                f"Argument `address` needs `backend` ray or dask. Received: address={address}, backend=loky."
            )
        if number is not None and number < 1:
            raise ValueError(f"Argument `workers` must be at least 1. Received: {number}.")
        self.gpus: list[str] = []
        self._waiting: list[Call] = []
        self._running = 0  # in workers other than this process
        self._ended: list[tuple[Call, Any, Exception | None, float]] = []
        self._seconds: dict[str, tuple[float, float]] = {}  # seconds and work of each kind so far
        self._started: dict[Call, float] = {}  # of the calls that are being made
        self._num_made, self._made_seconds = 0, 0.0
        self._changed = threading.Condition()
        self._closed = False
        self._warm_up = warm_up
        self._said: set[str] = set()
        self._sources: dict[str, Source] = {}
        self._files: list[Any] = []
        self._folder: Path | None = None
        self._works = backend == "loky"  # whether this process does
        self._cluster: Any = None
        if backend == "loky":
            number = number or num_cores()
            self._share_cores(number)
            others: list[Worker] = [LocalWorker(self, index, environment or {}) for index in range(1, number)]
        else:
            self._cluster = _cluster_at(backend, address)
            others = self._cluster.workers(number)
        self.number = len(others) + self._works
        self._others = others
        self._threads = [
            threading.Thread(target=self._serve, args=(index, worker), daemon=True)
            for index, worker in enumerate(others, self._works)
        ]
        for thread in self._threads:
            thread.start()

    def _share_cores(self, number: int) -> None:
        """Have each worker, this process among them, use as many threads as its share of the cores."""
        self._cores_before = os.environ.get(CORES)
        if number > 1:
            os.environ[CORES] = str(max(1, num_cores() // number))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def busy(self) -> bool:
        """Whether calls are still to end."""
        with self._changed:
            return bool(self._waiting or self._running or self._ended)

    def submit(self, call: Call) -> None:
        """Have a call made by whichever worker is free."""
        if call.shared is not None and self._others:
            try:
                self._source(call.shared)  # now: the caller may change it later
            except CannotTravelError as error:
                self._keep(call, error)
        with self._changed:
            self._waiting.append(call)
            self._changed.notify()

    def drop(self, calls: Iterable[Call]) -> None:
        """Forget calls: those that wait are not made, and nobody is told of the others."""
        with self._changed:
            for call in calls:
                call.done = _nothing
                if call in self._waiting:
                    self._waiting.remove(call)

    def wait(self) -> None:
        """Return when at least one call has ended and its `done` was told; work on others until then."""
        while True:
            with self._changed:
                ended, self._ended = self._ended, []
                call = None
                if not ended:
                    call = self._taken(None)
                    if call is None:
                        if not self._running and not self._waiting:
                            return
                        self._changed.wait()
                        continue
                    self._started[call] = time.perf_counter()
            if call is not None:
                ended = [(call, *self._called_here(call))]
            for call, value, error, seconds in ended:
                self._learn(call, seconds)
                call.done(value, error)
                call.arguments, call.done = (), _nothing  # whoever keeps the call does not keep these
            return

    def at_work(self) -> list[tuple[str, float]]:
        """Return the kinds of the calls that are being made, and for how many seconds they have been."""
        now = time.perf_counter()
        with self._changed:
            return [(call.kind, now - started) for call, started in self._started.items()]

    def seconds_left(self) -> float | None:
        """Return how long the calls at hand will still take, by what others of their kinds took.

        None while less than half of them are of kinds that were measured.
        """
        now, left, longest, num_unknown = time.perf_counter(), 0.0, 0.0, 0
        with self._changed:
            calls = [*self._waiting, *self._started]
            for call in calls:
                seconds = self._expected_seconds(call)
                if seconds == float("inf"):
                    num_unknown += 1
                    seconds = self._made_seconds / max(self._num_made, 1)
                seconds -= now - self._started.get(call, now)
                left += max(seconds, 0.0)
                longest = max(longest, seconds)
        return None if 2 * num_unknown > len(calls) else max(left / self.number, longest)

    def close(self) -> None:
        """End all worker processes, whatever they are doing."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for worker in self._others:
            worker.kill()
        for thread in self._threads:
            thread.join()
        if self._cluster is not None:
            self._cluster.close()
        elif self._cores_before is None:
            os.environ.pop(CORES, None)
        else:
            os.environ[CORES] = self._cores_before
        for file in self._files:
            file.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _taken(self, index: int | None) -> Call | None:
        """Take the next call off the list for a worker, this process if None; None if there is none for it."""
        if index is None:
            calls = [call for call in self._waiting if call.here or self._works]
        else:
            has_gpu = not self.gpus or index < len(self.gpus)
            calls = [call for call in self._waiting if not call.here and (has_gpu or not call.on_gpu)]
        if not calls:
            return None
        call = max(calls, key=lambda call: (call.here, call.urgent, self._expected_seconds(call)))
        self._waiting.remove(call)
        return call

    def _expected_seconds(self, call: Call) -> float:
        if call.kind not in self._seconds:
            return float("inf")  # to be known soon
        seconds, work = self._seconds[call.kind]
        return call.work * seconds / work

    def _learn(self, call: Call, seconds: float) -> None:
        with self._changed:
            past, work = self._seconds.get(call.kind, (0.0, 0.0))
            self._seconds[call.kind] = past + seconds, work + call.work
            self._num_made += 1
            self._made_seconds += seconds
            self._started.pop(call, None)

    def _called_here(self, call: Call) -> tuple[Any, Exception | None, float]:
        started = time.perf_counter()
        shared = () if call.shared is None else (call.shared.value,)
        try:
            value, error = call.function(*shared, *call.made_arguments()), None
        except Exception as raised:
            value, error = None, raised
        return value, error, time.perf_counter() - started

    def _serve(self, index: int, worker: Worker) -> None:
        if hasattr(signal, "pthread_sigmask"):  # inherited by the process: until it can ignore Ctrl-C, it waits
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        warm = self._warm_up is None
        while True:
            with self._changed:
                while (call := self._taken(index)) is None and warm and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                self._running += call is not None
                if call is not None:
                    self._started[call] = time.perf_counter()
            if call is None:
                warm = True
                self._run(worker, Call(self._warm_up or _nothing))
                continue
            ended = self._run(worker, call)
            with self._changed:
                self._running -= 1
                self._started.pop(call, None)
                if ended is None:
                    self._waiting.append(call)
                else:
                    self._ended.append((call, *ended))
                self._changed.notify_all()

    def _run(self, worker: Worker, call: Call) -> tuple[Any, Exception | None, float] | None:
        """Return a call's value, its exception and its seconds; None if it is to be handed out again."""
        started = time.perf_counter()
        try:
            source = None if call.shared is None else self._source(call.shared)
            packed = dumps((call.function, call.made_arguments(), _log.getEffectiveLevel()))
            key = None if call.shared is None else call.shared.key
            value, error, records = pickle.loads(worker.call(packed, key, source))
            for record in records:
                logging.getLogger(record.name).handle(record)
            if isinstance(error, CannotTravelError):
                raise error
            return value, error, time.perf_counter() - started
        except CannotTravelError as error:
            self._keep(call, error)
        except WorkerDiedError as error:
            if self._closed:
                return None
            call.num_deaths += 1
            if call.num_deaths >= _MOST_DEATHS:
                died = WorkerDiedError(f"Worker processes ended again and again while they were at it: {error}.")
                return None, died, time.perf_counter() - started
            _log.warning("A worker process ended (%s); what it was at is done again.", error)
        except Exception as error:  # whatever else: the thread that waits is to raise it, not this one
            return None, error, time.perf_counter() - started
        return None

    def _source(self, shared: Shared) -> Source:
        with self._changed:
            if shared.key not in self._sources:
                if self._cluster is not None:
                    self._sources[shared.key] = self._cluster.sent(shared.key, shared.value)
                else:
                    path = self._place(shared.key)
                    write(path, shared.value)
                    self._sources[shared.key] = str(path)
            return self._sources[shared.key]

    def _place(self, key: str) -> Path:
        """Return where to write a value that other processes read."""
        if sys.platform == "linux":  # a file without a name, which is gone with this process, even if that is killed
            self._files.append(tempfile.TemporaryFile())  # noqa: SIM115 - closed when the workers are
            return Path(f"/proc/{os.getpid()}/fd/{self._files[-1].fileno()}")
        self._folder = self._folder or Path(tempfile.mkdtemp(prefix="tfopt-"))
        return self._folder / key

    def _keep(self, call: Call, error: CannotTravelError) -> None:
        """Have a call made in this process, and log why, once."""
        call.here, text = True, str(error)
        with self._changed:
            if text in self._said:
                return
            self._said.add(text)
        _log.warning("What cannot be sent to worker processes is trained in this one: %s", text)


_CLUSTERS = {"ray": "RayCluster", "dask": "DaskCluster"}


def _cluster_at(backend: str, address: str | None) -> Any:
    """Return a connection to a running cluster: `workers(number)`, `sent(key, value)` and `close()`.

    Raises:
        UserError: The package is not installed, there is no address, or no cluster answers there.
    """
    if not address:
        raise UserError(f"backend {backend} needs the address of a running cluster. Give --address, such as HOST:PORT.")
    try:
        cluster = getattr(importlib.import_module(f"tfopt.training.{backend}_cluster"), _CLUSTERS[backend])
    except ImportError as error:
        raise UserError(f"backend {backend} is not installed ({error}). Install tfopt[cluster].") from error
    try:
        return cluster(address)
    except (OSError, ValueError, RuntimeError) as error:  # what the two packages raise where nobody answers
        raise UserError(f"no {backend} cluster answers at {address} ({type(error).__name__}: {error}).") from error
