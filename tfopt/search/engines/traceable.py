"""What keeps a fit from being traced whole epochs at a time."""

from collections.abc import Sequence

import keras

Callbacks = Sequence[keras.callbacks.Callback]


def watches_batches(callbacks: Callbacks) -> str | None:
    """Return which callback must be called at each batch, which a whole epoch in one call cannot do; None if none."""
    hooks = [f"on_{what}_{when}" for what in ("batch", "train_batch", "test_batch") for when in ("begin", "end")]
    for callback in callbacks:
        for hook in (*hooks, "on_test_begin", "on_test_end"):
            if getattr(type(callback), hook) is not getattr(keras.callbacks.Callback, hook):
                return f"{type(callback).__name__} is called at every batch ({hook})"
    return None


def needs_plain_fit(model: keras.Model) -> str | None:
    """Return why a model can only be trained by its own `fit`; None if its epochs can be traced."""
    for name in ("train_step", "test_step", "fit", "make_train_function", "make_test_function"):
        if getattr(type(model), name) not in (getattr(keras.Model, name), getattr(keras.Sequential, name)):
            return f"{type(model).__name__} has a `{name}` of its own"
    if model.run_eagerly:
        return "it is compiled with run_eagerly=True"
    return None
