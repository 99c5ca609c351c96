"""What a search asks of an engine and gets back: fits of configurations, however they are computed."""

import contextlib
import math
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import keras
import numpy as np

from tfopt._private.keras_models import make_variables
from tfopt._private.keras_random import seeded
from tfopt.errors import one_line
from tfopt.training.own_layers import restored
from tfopt.training.rows import Arrays, Examples, Shuffle, class_weights
from tfopt.training.timeout import took_too_long

if TYPE_CHECKING:
    from tfopt.training.builds import BuildRegistry

Build = Callable[[Any], keras.Model]
Made = Sequence[keras.callbacks.Callback]
Callbacks = Made | Callable[[], Made]
State = list[np.ndarray]  # the values of `model.variables`, then of `model.optimizer.variables`


@dataclass(frozen=True)
class Monitor:
    """The logged number that says which epoch is best, and when to stop.

    Args:
        name: Its key in the logs, such as `"val_accuracy"`.
        mode: `"min"` or `"max"`.
        patience: Epochs without a better value after which the training ends; None never ends it early.
        min_delta: A better value is better by more than this.
    """

    name: str
    mode: Literal["min", "max"]
    patience: int | None = None
    min_delta: float = 0.0

    def better(self, value: float, than: float) -> bool:
        """Return whether `value` beats `than`; any number beats NaN."""
        if np.isnan(than):
            return not np.isnan(value)
        return value > than + self.min_delta if self.mode == "max" else value < than - self.min_delta


@dataclass(frozen=True)
class FitRequest:
    """One fit: a configuration, a seed, and the rows to train and to validate on.

    Args:
        hyperparameters: What `build` is called with.
        seed: Seeds the initial weights, the order of the rows and every random layer, as
            `keras.utils.set_random_seed(seed)` before `build` and `fit` does.
        epochs: Number of the last epoch; `epochs - initial_epoch` are trained.
        batch_size: Rows a step; the last batch of an epoch holds what is left.
        rows: Indices of the training rows in the engine's examples; None for all.
        validation: Validation rows: indices in the engine's examples; None for the engine's own, if any.
        predict: Rows of the engine's examples to return the trained model's outputs for; None for none.
        monitor: What makes an epoch the best one; None keeps the last epoch only.
        initial_epoch: Epochs trained before, whose end is `state`.
        state: Where to continue from: weights, optimizer and random streams; None for a fresh build.
        together: How many fits of about its structure were asked for at once, wherever they are trained: what the
            choice between engines goes by, so that it does not depend on how fits are divided; None for those at hand.
        until: When it is given up, by `time.monotonic()` of the process that trains it: at the end of the epoch that it
            is in then.
        timeout: Seconds that its build and its training may take, in a stack its share of them; it fails if it takes
            longer.
    """

    hyperparameters: Any
    seed: int
    epochs: int
    batch_size: int = 32
    rows: np.ndarray | None = None
    validation: np.ndarray | None = None
    predict: np.ndarray | None = None
    monitor: Monitor | None = None
    initial_epoch: int = 0
    state: State | None = None
    together: int | None = None
    until: float = math.inf
    timeout: float = math.inf


OUT_OF_TIME = "The time limit had passed."  # the failure of a fit that was given up


@dataclass
class FitResult:
    """What one fit did.

    Args:
        history: A list for each log, a number an epoch, with the keys of `model.fit`'s history. A log of several
            numbers is a list in it, any other its text.
        state: Values of all variables after the last epoch; None if the build failed.
        outputs: The model's outputs for the rows to predict, after the last epoch; None if there are none.
        best_state: Values of all variables after the best epoch; None without a monitor.
        best_epoch: Index of the best epoch in `history`; None without a monitor.
        failure: What went wrong, in one line; None for a fit that reached its end.
        seconds: Wall seconds, shared costs divided among the fits that shared them.
        engine: Name of the engine that trained it.
        reason: Why a faster engine did not; empty if none was tried.
    """

    history: dict[str, list[Any]] = field(default_factory=dict)
    state: State | None = None
    outputs: Any = None
    best_state: State | None = None
    best_epoch: int | None = None
    failure: str | None = None
    seconds: float = 0.0
    engine: str = ""
    reason: str = ""


Done = Callable[[int, FitResult], None]  # called with the index and the result of each fit as it ends
Results = Generator[tuple[int, FitResult], None, None]


class Engine:
    """Trains fits over the same examples.

    Args:
        build: Returns the compiled model of a configuration.
        x: Inputs: an array, or a list, tuple or dict of arrays, all of as many rows.
        y: Targets, likewise.
        sample_weight: A weight a row, or such an array for each output; None for equal ones.
        validation: `(x, y)` or `(x, y, sample_weight)`: rows that every fit is validated on unless it names its own.
        shuffle: `True` takes the rows in a new order in every epoch. `"once"` takes them in the order that
            `model.fit` takes after `keras.utils.set_random_seed`: in Keras 3.15 that is the same one in every epoch.
            `False` keeps them as they are.
        class_weight: A weight for each class of integer or one-hot targets, times `sample_weight`. As in `model.fit`
            it is for training only: no row that a fit is validated on is weighted by it.

    Attributes:
        train: What rows to train on are taken from.
        held_out: What the rows that a request names for validation are taken from.
        validation: What other fits are validated on; None for nothing.
    """

    name: str
    _builds: "BuildRegistry | None" = None  # what is known of the builds

    def __init__(
        self, build: Build, x: Arrays, y: Arrays, sample_weight: Arrays | None = None,
        validation: Sequence[Any] | None = None, shuffle: Shuffle = True,
        class_weight: Mapping[int, float] | None = None,
    ):  # fmt: skip
        self.build, self.shuffle, self.class_weight = build, shuffle, class_weight
        self.train = self.held_out = Examples(x, y, sample_weight)
        if class_weight is not None:
            weights = class_weights(self.train.y, class_weight)
            if sample_weight is not None:
                weights = keras.tree.map_structure(lambda own: own * weights, self.train.sample_weight)
            self.train = Examples(self.train.x, self.train.y, weights)
        self.validation = None if validation is None else Examples(*validation)

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of another engine for the same fits."""
        return {
            "build": self.build,
            "x": self.train.x,
            "y": self.train.y,
            "sample_weight": self.held_out.sample_weight,
            "validation": None if self.validation is None else self.validation.parts(),
            "shuffle": self.shuffle,
            "class_weight": self.class_weight,
        }

    def fit(
        self, requests: Sequence[FitRequest], callbacks: Sequence[Callbacks] | None = None, done: Done | None = None
    ) -> list[FitResult]:
        """Train every request and return the results in the same order.

        Args:
            requests: Fits, independent of each other.
            callbacks: For each request the Keras callbacks of its own, or what makes them when its fit begins.
            done: Called with the index and the result of each fit as it ends.
        """
        found = [FitResult() for _ in requests]
        with contextlib.closing(self.results(requests, callbacks or [()] * len(requests))) as results:
            for index, result in results:
                found[index] = result
                if done is not None:
                    done(index, result)
        return found

    def results(self, requests: Sequence[FitRequest], callbacks: Sequence[Callbacks]) -> Results:
        """Train every request, and yield the index and the result of each as it ends."""
        raise NotImplementedError

    def structure(self, hyperparameters: Any) -> str | None:
        """Return what the models of configurations that differ in numbers alone share; None if it is not known."""
        return None if self._builds is None else self._builds.structure(hyperparameters)

    def model(self, request: FitRequest, state: State) -> keras.Model:
        """Return an ordinary, compiled model of the request's configuration in the given state."""
        model = built(self.build, request, self.train)
        set_state(model, state)
        return model


def built(build: Build, request: FitRequest, examples: Examples) -> keras.Model:
    """Return the request's compiled model with all variables made, everything drawn from its seed."""
    with seeded(request.seed):
        model = checked(build(request.hyperparameters))
        complete(model, examples)
    return model


def checked(model: Any) -> keras.Model:
    """Return what `build` returned if it can be trained; say what to mend otherwise."""
    if not isinstance(model, keras.Model):
        raise TypeError(f"`build` must return a keras.Model. Received: {type(model).__name__}.")
    if not model.compiled:
        raise ValueError("`build` returned a model that is not compiled. Call `model.compile(...)` in it.")
    return model


def make_weights(model: keras.Model, examples: Examples) -> None:
    """Make the variables that Keras makes at the first batch only, but for the optimizer's slots."""
    optimizer, built = model.optimizer, model.optimizer.built
    optimizer.built = True  # Keras would build it here
    try:
        make_variables(model, examples.take(np.arange(min(32, len(examples)))))
    finally:
        optimizer.built = built


def complete(model: keras.Model, examples: Examples) -> None:
    """Make the variables that Keras makes at the first batch only: weights and the optimizer's slots."""
    if not model.built and type(model) is keras.Sequential and isinstance(examples.x, np.ndarray):
        model.build((None, *examples.x.shape[1:]))  # as one with `keras.Input` is: in half the time, for any batch
    if not model.built:
        make_variables(model, examples.take(np.arange(1)))
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)


def state_of(model: keras.Model) -> State:
    """Return copies of the values of the model's and its optimizer's variables."""
    return [keras.ops.convert_to_numpy(v).copy() for v in (*model.variables, *model.optimizer.variables)]


def set_state(model: keras.Model, state: State) -> None:
    """Put a state into a model of the same configuration."""
    for variable, value in zip((*model.variables, *model.optimizer.variables), state, strict=True):
        variable.assign(value)
    restored(model)


class TrackingCallback(keras.callbacks.Callback):
    """Keeps the history and the best epoch's state; ends a fit that diverges or has stopped getting better."""

    def __init__(self, request: FitRequest, result: FitResult):
        super().__init__()
        self._follow = EpochTracker(request, result)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Note the epoch."""
        improved, ended = self._follow.epoch(logs or {})
        if improved:
            self._follow.result.best_state = state_of(self.model)
        if ended:
            self.model.stop_training = True


class EpochTracker:
    """What the logs of one fit mean: its history, its best epoch, its end.

    Args:
        request: What was asked.
        result: Where the history goes.
        alone: Whether the fit's time passes from now on; else it is what `result.seconds` says.
    """

    def __init__(self, request: FitRequest, result: FitResult, alone: bool = True):
        self.monitor, self.result, self._timeout = request.monitor, result, request.timeout
        self._began = time.monotonic() if alone else math.inf
        self._until, self._epochs_to_train = request.until, request.epochs - request.initial_epoch
        self._best = math.nan
        self._epochs = 0

    def epoch(self, logs: dict[str, Any]) -> tuple[bool, bool]:
        """Note an epoch's logs; return whether it is the best so far, and whether the training ends with it.

        Raises:
            KeyError: The monitor names a log that does not exist.
            ValueError: That log is no number.
        """
        logs = {key: history_value(value) for key, value in logs.items()}
        for key, value in logs.items():
            self.result.history.setdefault(key, []).append(value)
        index = self._epochs
        self._epochs += 1
        if not np.all(np.isfinite(logs.get("loss", 0.0))):
            self.result.failure = (
                f"The loss became {logs['loss']} in epoch {index + 1}. Lower the learning rate or clip the gradients."
            )
            return False, True
        if self._epochs < self._epochs_to_train and time.monotonic() > self._until:
            self.result.failure = OUT_OF_TIME
            return False, True
        if max(self.result.seconds, time.monotonic() - self._began) > self._timeout:
            self.result.failure = one_line(took_too_long(self._timeout))
            return False, True
        if self.monitor is None:
            return False, False
        if self.monitor.name not in logs:
            raise KeyError(f"the objective {self.monitor.name!r} is not logged. Logged: {', '.join(sorted(logs))}.")
        value = logs[self.monitor.name]
        if not isinstance(value, float):
            raise ValueError(
                f"the objective {self.monitor.name!r} must be logged as one number. Received: {value!r}. A metric with "
                "a number for each class takes average='macro'."
            )
        improved = self.monitor.better(value, self._best)
        if improved:
            self._best, self.result.best_epoch = value, index
        waited = index - (self.result.best_epoch or 0)
        return improved, self.monitor.patience is not None and waited >= self.monitor.patience


def history_value(value: Any) -> Any:
    """Return a log as histories have it: a float, a list if it is an array of numbers, else text."""
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        return str(value)
    return float(array) if array.size == 1 else array.tolist()


class UnpenalizedLoss(keras.metrics.Mean):
    """The loss without the penalties that are being tuned, which Keras's `val_loss` contains."""

    def __init__(self, loss: Any, name: str = "unpenalized_loss"):
        super().__init__(name=name)
        self._loss = loss if isinstance(loss, keras.losses.Loss) else _LossOf(loss)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Add a batch."""
        loss = self._loss(y_true, y_pred, sample_weight=sample_weight)
        return super().update_state(loss, sample_weight=keras.ops.shape(y_pred)[0])


class _LossOf(keras.losses.Loss):
    """A function as a loss, which takes weights."""

    def __init__(self, function: Any):
        super().__init__(name="loss_of_function")
        self._function = function

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return self._function(y_true, y_pred)
