"""The plain engine: every fit is a fresh build and `model.fit`. What all others are measured against."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import keras

from tfopt._private.streams import random_streams_kept
from tfopt._private.tensorflow_graphs import gradients_forgotten
from tfopt.errors import one_line
from tfopt.training.fits import (
    Callbacks,
    Engine,
    FitRequest,
    FitResult,
    Made,
    Results,
    TrackingCallback,
    checked,
    complete,
    set_state,
    state_of,
)
from tfopt.training.own_layers import adapt, layers_to_adapt
from tfopt.training.timeout import limited


class PlainEngine(Engine):
    """Builds a model for each fit and trains it with Keras.

    Rows are shuffled by Keras, which once seeded takes them in the same order in every epoch.

    Args:
        fit: Called as `fit(hyperparameters, model, x, y, sample_weight=…, batch_size=…, epochs=…, …)`, as a
            `HyperModel`'s own is; None for `keras.Model.fit`.
        reason: Why a faster engine does not train them, for every result.
    """

    name = "plain"

    def __init__(self, *args, fit: Callable[..., Any] | None = None, reason: str = "", **kwargs):
        super().__init__(*args, **kwargs)
        self._fit = fit or (lambda hyperparameters, model, *rows, **settings: model.fit(*rows, **settings))
        self._reason = reason

    def results(self, requests: Sequence[FitRequest], callbacks: Sequence[Callbacks]) -> Results:
        """Train one after another."""
        for index, request in enumerate(requests):
            yield index, self._one(request, callbacks[index])

    def _one(self, request: FitRequest, callbacks: Callbacks) -> FitResult:
        started = time.perf_counter()
        result = FitResult(engine=self.name, reason=self._reason)
        try:
            with limited(request.timeout), random_streams_kept(), gradients_forgotten():
                self._train(request, result, callbacks() if callable(callbacks) else callbacks)
        except Exception as error:
            result.failure = one_line(error)
        result.seconds = time.perf_counter() - started
        return result

    def _train(self, request: FitRequest, result: FitResult, callbacks: Made) -> None:
        model = self._ready(request)
        examples = self.validation if request.validation is None else self.held_out
        x, y, *weight = self.train.take(request.rows)
        self._fit(
            request.hyperparameters,
            model,
            x,
            y,
            sample_weight=weight[0] if weight else None,
            batch_size=request.batch_size,
            epochs=request.epochs,
            initial_epoch=request.initial_epoch,
            shuffle=bool(self.shuffle),
            validation_data=None if examples is None else examples.take(request.validation),
            validation_batch_size=request.batch_size,
            verbose=0,
            callbacks=[*callbacks, TrackingCallback(request, result)],  # which thus sees what they add to the logs
        )
        result.state = state_of(model)
        if request.predict is not None:
            result.outputs = model.predict(self.train.take(request.predict)[0], verbose=0)

    def _ready(self, request: FitRequest) -> keras.Model:
        """Return the model to train, and leave every random stream as `set_random_seed` and `build` do."""
        keras.utils.set_random_seed(request.seed)
        model = checked(self.build(request.hyperparameters))
        if layers_to_adapt(model):
            adapt(model, self.train.take(request.rows)[0])
        if request.state is not None:
            complete(model, self.train)
            set_state(model, request.state)
        return model


def watches_batches(callbacks: Made) -> str | None:
    """Return which callback must be called at each batch, which a whole epoch in one call cannot do; None if none."""
    hooks = [f"on_{what}_{when}" for what in ("batch", "train_batch", "test_batch") for when in ("begin", "end")]
    for callback in callbacks:
        for hook in (*hooks, "on_test_begin", "on_test_end"):
            method = getattr(callback, hook)  # of the class, or put into this one, as LambdaCallback's are
            if getattr(method, "__func__", method) is not getattr(keras.callbacks.Callback, hook):
                return f"{type(callback).__name__} is called at every batch ({hook})"
    return None


def needs_plain_fit(model: keras.Model) -> str | None:
    """Return why a model can only be trained by its own `fit`; None if its epochs can be traced."""
    for name in ("train_step", "test_step", "fit", "make_train_function", "make_test_function"):
        if getattr(type(model), name) not in (getattr(keras.Model, name), getattr(keras.Sequential, name)):
            return f"{type(model).__name__} has a `{name}` of its own"
    if layers_to_adapt(model):
        return "its own preprocessing layers learn from each training part"
    if model.run_eagerly:
        return "it is compiled with run_eagerly=True"
    return None
