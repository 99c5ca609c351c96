"""Fits divided among workers: which go together, what is sent, and what comes back."""

import pickle
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import cloudpickle
import keras
import tensorflow as tf

import tfopt
from tfopt import devices
from tfopt.training.fits import Engine, FitRequest, FitResult
from tfopt.training.worker_process import WorkerDiedError, is_worker
from tfopt.training.workers import Call, Shared, Workers

Callbacks = Sequence[keras.callbacks.Callback]

_FEWEST_TOGETHER = 10  # fits of one structure: fewer cost more in a stack, each, than a worker that waits
_OF_THE_FIT = ("_model", "model", "params", "_params")  # what a fit gives its callbacks


class EngineMaker:
    """Makes an engine, once in each process that it is sent to.

    Args:
        make: Returns the engine: a class, or `engine_for`.
        *args: What it is called with.
        **kwargs: Likewise.
    """

    def __init__(self, make: Callable[..., Engine], *args: Any, **kwargs: Any):
        self._call = make, args, kwargs
        self._settings = devices.keras_settings()

    @cached_property
    def engine(self) -> Engine:
        """The engine of this process."""
        make, args, kwargs = self._call
        return make(*args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "engine"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        load()
        devices.set_keras_settings(self._settings)


def load() -> None:
    """Have this process ready to train."""
    tfopt.register()
    tf.config.list_logical_devices()  # TensorFlow looks for devices, and says so, when it first needs them


@dataclass(frozen=True)
class Ended:
    """What a group of fits came to.

    Args:
        results: Of each fit.
        callbacks: Of each fit, what its callbacks hold afterwards.
    """

    results: list[FitResult]
    callbacks: list[list[dict[str, Any]]]


def train(maker: EngineMaker, requests: Sequence[FitRequest], callbacks: Sequence[Callbacks]) -> Ended:
    """Train fits together in this process."""
    results = maker.engine.fit(requests, callbacks if any(callbacks) else None)
    return Ended(results, [[_contents(callback) for callback in of_fit] for of_fit in callbacks])


def trained(maker: EngineMaker, requests: Sequence[FitRequest], workers: int | Workers) -> list[FitResult]:
    """Return the results of fits that several processes train: `workers` new ones, or those at hand."""
    if isinstance(workers, int):
        if workers == 1:
            return maker.engine.fit(requests)
        with Workers(workers) as own:
            return trained(maker, requests, own)
    results: dict[int, FitResult] = {}
    submit(workers, Shared(maker), requests, results.__setitem__)
    while workers.busy:
        workers.wait()
    return [results[index] for index in range(len(requests))]


def submit(
    workers: Workers,
    maker: Shared,
    requests: Sequence[FitRequest],
    done: Callable[[int, FitResult], None],
    callbacks: Sequence[Callbacks] | None = None,
    urgent: bool = False,
) -> None:
    """Have fits of one engine trained by whichever workers are free; the results are those of one engine for them all.

    Args:
        workers: Who trains.
        maker: An `EngineMaker`, sent once.
        requests: The fits, independent of each other.
        done: Called with the index and the result of each fit as it ends, in the thread that waits for the workers.
        callbacks: For each request the Keras callbacks of its own.
        urgent: Whether others wait for these fits.
    """
    engine, on_gpu = maker.value.engine, bool(tf.config.list_logical_devices("GPU"))
    alike = [_alike(request) for request in requests]
    together = Counter(alike)
    work = [_work(request, engine) for request in requests]
    for indices in divided(alike, work, workers.number):
        group = [replace(requests[index], together=together[alike[index]]) for index in indices]
        own = [callbacks[index] if callbacks else () for index in indices]
        workers.submit(
            Call(
                train,
                (group, own),
                _told(indices, own, done),
                maker,
                kind="fits",
                work=sum(work[index] for index in indices),
                urgent=urgent,
                on_gpu=on_gpu,
            )
        )


def _told(
    indices: Sequence[int], callbacks: Sequence[Callbacks], done: Callable[[int, FitResult], None]
) -> Callable[[Any, Exception | None], None]:
    def told(ended: Any, error: Exception | None) -> None:
        if isinstance(error, WorkerDiedError):
            ended = Ended([FitResult(failure=str(error)) for _ in indices], [[] for _ in indices])
        elif error is not None:
            raise error
        for index, result, own, contents in zip(indices, ended.results, callbacks, ended.callbacks, strict=True):
            for callback, content in zip(own, contents, strict=False):
                vars(callback).update(content)
            done(index, result)

    return told


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
    values = getattr(request.hyperparameters, "values", request.hyperparameters)  # KerasTuner's, or a mapping
    if not isinstance(values, Mapping):
        return request.batch_size
    shape = {name: v for name, v in values.items() if not isinstance(v, float) and not str(name).startswith("tuner/")}
    return request.batch_size, repr(sorted(shape.items(), key=repr))


def _work(request: FitRequest, engine: Engine) -> float:
    rows = len(engine.train) if request.rows is None else len(request.rows)
    return float(max(1, request.epochs - request.initial_epoch) * rows)


def _contents(callback: keras.callbacks.Callback) -> dict[str, Any]:
    """Return what a callback holds and can be sent back, but for the model; nothing where it need not be sent."""
    contents: dict[str, Any] = {}
    if not is_worker():
        return contents
    for name, value in vars(callback).items():
        if name not in _OF_THE_FIT and _can_travel(value):
            contents[name] = value
    return contents


def _can_travel(value: Any) -> bool:
    try:
        pickle.loads(cloudpickle.dumps(value))
    except Exception:  # whatever a foreign object's own pickling raises
        return False
    return True
