"""What the callbacks that measure do with their numbers: into the logs where Keras looks for them, and a picture."""

from collections.abc import Mapping
from typing import Any

import keras

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")  # Okabe-Ito


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


def plot_by_layer(frame: Any, quantity: str, ax: Any = None, floor: str | None = None) -> Any:
    """Draw `quantity` of each layer by epoch; `floor` names the column of what chance alone would show."""
    import matplotlib.pyplot as plt  # drawing is rare, and matplotlib slow to import

    if not len(frame):
        raise ValueError("There is nothing to plot: nothing has been measured. Pass the callback to `model.fit` first.")
    if quantity not in frame:
        columns = ", ".join(repr(name) for name in frame.columns if name not in ("epoch", "layer"))
        raise ValueError(f"Argument `quantity` must be one of {columns}. Received: quantity={quantity!r}.")
    if ax is None:
        _, ax = plt.subplots(figsize=(6, 3.2), layout="constrained")
    known = frame.dropna(subset=[quantity])
    layers = list(dict.fromkeys(known["layer"]))
    last = None
    for index, layer in enumerate(layers):
        part = known[known["layer"] == layer]
        colour = _COLOURS[index % len(_COLOURS)]
        ax.plot(part["epoch"], part[quantity], color=colour, marker="o", ms=3, lw=1.2, label=layer)
        last = part
    if floor is not None and last is not None:
        ax.plot(last["epoch"], last[floor], color="#999999", ls="--", lw=1, label="by chance")
    if len(layers) > 1 or floor is not None:
        ax.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    ax.set_xlabel("epoch")
    ax.set_ylabel(quantity.replace("_", " "))
    ax.spines[["top", "right"]].set_visible(False)
    return ax
