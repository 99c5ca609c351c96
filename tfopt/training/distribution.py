"""Fits divided among workers: which go together, what is sent, and what comes back."""

import logging
import math
import pickle
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import cloudpickle
import keras
import tensorflow as tf

import tfopt
from tfopt import devices
from tfopt._arguments import whole_number
from tfopt.errors import one_line
from tfopt.training.builds import values_of
from tfopt.training.fits import Callbacks, Done, Engine, FitRequest, FitResult, Made
from tfopt.training.worker_process import WorkerDiedError, is_worker, portable
from tfopt.training.workers import Call, Shared, Workers

_log = logging.getLogger("tfopt")

Errors = dict[Any, tuple[Exception, str]]

_FEWEST_TOGETHER = 10  # fits of one structure: fewer cost more in a stack, each, than a worker that waits
_OF_THE_FIT = ("_model", "model", "params", "_params")  # what a fit gives its callbacks


class Engines:
    """Makes engines, each once in each process that it is sent to, which is then set up as this one is.

    Args:
        engine_of: Returns the engine of a name, the same one whenever it is asked; a method of an object that leaves
            its engines out when it is pickled.
        errors: Filled in while models are built: an exception and its traceback by any key. What another process puts
            there is put there in this one too.
    """

    def __init__(self, engine_of: Callable[[Any], Engine], errors: Errors | None = None):
        self.engine_of, self.errors = engine_of, {} if errors is None else errors
        self._settings = devices.keras_settings()

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        load()
        devices.set_keras_settings(self._settings)


class OneEngine:
    """Makes the same engine for every name."""

    def __init__(self, make: Callable[..., Engine], *args: Any, **kwargs: Any):
        self._call, self._made = (make, args, kwargs), list[Engine]()

    def __call__(self, name: Any = None) -> Engine:
        """Return the engine of this process."""
        make, args, kwargs = self._call
        if not self._made:
            self._made.append(make(*args, **kwargs))
        return self._made[0]

    def __getstate__(self) -> dict[str, Any]:
        return {"_call": self._call, "_made": []}


def load() -> None:
    """Have this process ready to train."""
    tfopt.register()
    tf.config.list_logical_devices()  # TensorFlow looks for devices, and says so, when it first needs them


@dataclass(frozen=True)
class Ended:
    """What a group of fits came to."""

    results: list[FitResult]
    callbacks: list[list[dict[str, Any]]]
    errors: Errors = field(default_factory=dict)


def train(
    engines: Engines, name: Any, requests: Sequence[FitRequest], callbacks: Sequence[Made], seconds: float = math.inf
) -> Ended:
    """Train fits of one engine in this process, giving up what has not ended after so many seconds."""
    requests = [replace(request, until=time.monotonic() + seconds) for request in requests]
    results = engines.engine_of(name).fit(requests, callbacks if any(callbacks) else None)
    errors = {key: (portable(error), text) for key, (error, text) in engines.errors.items()} if is_worker() else {}
    return Ended(results, [[_contents(callback) for callback in of_fit] for of_fit in callbacks], errors)


def trained(engine_of: OneEngine, requests: Sequence[FitRequest], workers: int | Workers) -> list[FitResult]:
    """Return the results of fits that several processes train: `workers` new ones, or those at hand."""
    if not isinstance(workers, Workers):
        workers = whole_number("workers", workers, 1)
        if workers == 1:
            return engine_of().fit(requests)
        with Workers(workers) as own:
            return trained(engine_of, requests, own)
    results: dict[int, FitResult] = {}
    submit(workers, Shared(Engines(engine_of)), requests, results.__setitem__)
    while workers.busy:
        workers.wait()
    return [results[index] for index in range(len(requests))]


def submit(
    workers: Workers,
    engines: Shared,
    requests: Sequence[FitRequest],
    done: Done,
    callbacks: Sequence[Callbacks] | None = None,
    name: Any = None,
    deadline: float = math.inf,
) -> list[Call]:
    """Have fits of one engine trained by whichever workers are free; the results are those of one engine for them all.

    Args:
        workers: Who trains.
        engines: `Engines`, sent once.
        requests: The fits, independent of each other.
        done: Called with the index and the result of each fit as it ends, in the thread that waits for the workers.
        callbacks: For each request the Keras callbacks of its own, or what makes them once its turn has come.
        name: Which of the engines.
        deadline: When they are given up, by `time.monotonic()` of this process.

    Returns:
        The calls that the fits are divided into, to which more may be added while they are made.
    """
    on_gpu, calls = bool(tf.config.list_logical_devices("GPU")), list[Call]()
    alike = [_alike(request) for request in requests]
    together = Counter(alike)
    work = [_work(request, engines.value.engine_of, name) for request in requests]

    def begin(indices: Sequence[int]) -> None:
        group = [replace(requests[index], together=together[alike[index]]) for index in indices]
        given = [callbacks[index] if callbacks else () for index in indices]
        own: list[Made] = []  # made when the call is, for this group alone

        def arguments() -> tuple:
            own[:] = [of_fit() if callable(of_fit) else of_fit for of_fit in given]
            return name, group, own, deadline - time.monotonic()

        def told(ended: Any, error: Exception | None) -> None:
            if isinstance(error, WorkerDiedError) and len(indices) > 1:
                for index in indices:  # so that none but the fit that ends its process is lost
                    begin([index])
                return
            if error is not None:
                ended = _failed(error, len(indices))
            engines.value.errors.update(ended.errors)
            # Where all failed, their callbacks may not even have been made.
            made = own or [()] * len(indices)
            for index, result, of_fit, contents in zip(indices, ended.results, made, ended.callbacks, strict=True):
                for callback, content in zip(of_fit, contents, strict=False):
                    vars(callback).update(content)
                done(index, result)

        size = sum(work[index] for index in indices)
        calls.append(Call(train, arguments, told, engines, kind="fits", work=size, on_gpu=on_gpu))
        workers.submit(calls[-1])

    for indices in divided(alike, work, workers.number):
        begin(indices)
    return calls


def _failed(error: Exception, number: int) -> Ended:
    """Return what so many fits came to whose call raised, or ended its process."""
    reason = str(error) if isinstance(error, WorkerDiedError) else f"raised {one_line(error)}"
    _log.info("%d fits failed: %s", number, reason, exc_info=error)
    failed = FitResult(failure=one_line(error), reason=reason)
    return Ended([replace(failed) for _ in range(number)], [[]] * number)


def divided(alike: Sequence[Any], work: Sequence[float], number: int) -> list[list[int]]:
    """Return the indices of fits in groups for so many workers: enough for all to be busy, as large as can be.

    Args:
        alike: Of each fit, what those of one structure share as far as can be told without building models.
        work: Of each fit, how long it takes, in any unit.
        number: Workers; one takes all.
    """
    if number == 1:
        return [list(range(len(alike)))]
    total = sum(work)
    structures: dict[Any, list[int]] = {}
    for index, key in enumerate(alike):
        structures.setdefault(key, []).append(index)
    groups: list[list[int]] = []
    small: list[int] = []
    for indices in structures.values():
        own = sum(work[index] for index in indices)
        least = min(_FEWEST_TOGETHER, -(-len(indices) // number))
        pieces = max(1, min(len(indices) // least, -(-own * 2 * number // total) if total else 1))
        if pieces == 1 and own * 4 * number < total:
            small += indices
            if sum(work[index] for index in small) * 4 * number >= total:
                groups.append(small)
                small = []
            continue
        size, longer = divmod(len(indices), int(pieces))
        start = 0
        for piece in range(int(pieces)):
            end = start + size + (piece < longer)
            groups.append(indices[start:end])
            start = end
    return [*groups, small] if small else groups


def _alike(request: FitRequest) -> Any:
    """Return what tells structures apart before they are built: values that are no fractions, and the batch size."""
    values = values_of(request.hyperparameters)
    if values is None:
        return request.batch_size
    shape = {name: v for name, v in values.items() if not isinstance(v, float) and not str(name).startswith("tuner/")}
    return request.batch_size, repr(sorted(shape.items(), key=repr))


def _work(request: FitRequest, engine_of: Callable[[Any], Engine], name: Any) -> float:
    rows = len(engine_of(name).train) if request.rows is None else len(request.rows)
    return float(max(1, request.epochs - request.initial_epoch) * rows)


def _contents(callback: keras.callbacks.Callback) -> dict[str, Any]:
    """Return what a callback holds and can be sent back, but for the model; nothing where it need not be sent."""
    held = vars(callback) if is_worker() else {}
    return {name: value for name, value in held.items() if name not in _OF_THE_FIT and _can_travel(value)}


def _can_travel(value: Any) -> bool:
    try:
        pickle.loads(cloudpickle.dumps(value))
    except Exception:  # whatever a foreign object's own pickling raises
        return False
    return True
