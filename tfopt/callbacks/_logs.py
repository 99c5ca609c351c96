"""Putting numbers where Keras, its other callbacks and KerasTuner look for them."""

from collections.abc import Mapping
from typing import Any

import keras


def publish(callback: keras.callbacks.Callback, epoch: int, logs: Any, values: Mapping[str, float]) -> None:
    """Add plain floats to the logs of an epoch: later callbacks, the progress bar and `History` then have them.

    A `History` that the user listed before `callback` has taken its copy of this epoch already; it is completed.
    """
    numbers = {key: float(value) for key, value in values.items()}
    if logs is not None:
        logs.update(numbers)
    history = getattr(callback.model, "history", None)
    if isinstance(history, keras.callbacks.History) and history.epoch and history.epoch[-1] == epoch:
        for key, number in numbers.items():
            history.history.setdefault(key, []).append(number)
