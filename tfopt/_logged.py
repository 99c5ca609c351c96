"""Callbacks that keep what they put into the logs, to show and to draw it."""

import functools
import inspect
import math
import numbers
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

Series = Mapping[str, Mapping[int, float]]  # by key of the logs, the number of each epoch or step

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")  # Okabe-Ito


class LoggedCallback(keras.callbacks.Callback):
    """A callback that knows what it has logged; a new training begins anew."""

    def __init__(self) -> None:
        super().__init__()
        self.logged: dict[str, dict[int, float]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "on_epoch_end" in vars(cls):
            cls.on_epoch_end = _kept(cls.on_epoch_end)

    def plot(self, ax: Any = None) -> Any:
        """Draw what was logged, by epoch: a panel for each number, layers in one.

        Args:
            ax: Axes for everything; new ones if None.

        Returns:
            The axes: an array of several panels.

        Raises:
            ValueError: Nothing has been logged.
        """
        if not self.logged:
            raise ValueError(
                f"There is nothing to plot: {type(self).__name__} has logged no numbers. Pass it to `model.fit` first."
            )
        return plot_series(self.logged, ax)

    def __repr__(self) -> str:
        arguments = []
        for name, parameter in inspect.signature(type(self)).parameters.items():
            value = getattr(self, name, parameter.default)
            if not _is_default(value, parameter.default):
                arguments.append(f"{name}={_short(value)}")
        last = [f"{name} {list(values.values())[-1]:.4g}" for name, values in self.logged.items() if "/" not in name]
        shown = f": {', '.join(last)}" if last else ""
        return f"{type(self).__name__}({', '.join(arguments)}){shown}"


def plot_series(series: Series, ax: Any = None, unit: str = "epoch") -> Any:
    """Draw numbers by epoch or step: a panel a key, those of layers (`key/layer`) in one; or all of them in `ax`."""
    import matplotlib.pyplot as plt  # drawing is rare, and matplotlib slow to import

    panels: dict[str, dict[str, Mapping[int, float]]] = {}
    for key, values in series.items():
        if any(math.isfinite(value) for value in values.values()):
            panels.setdefault(key.split("/")[0] + "/" * ("/" in key), {})[key] = values
    if not panels:
        raise ValueError("There is nothing to plot: no number that was logged is finite.")
    if ax is None:
        size = (6, 0.8 + 1.5 * len(panels))
        _, grid = plt.subplots(len(panels), sharex=True, figsize=size, squeeze=False, layout="constrained")
        axes = grid[:, 0]
    else:
        axes = np.array([ax] * len(panels))
    for panel, (name, lines) in zip(axes, panels.items(), strict=True):
        for index, (key, values) in enumerate(lines.items()):
            layer = key.partition("/")[2]
            colour = _COLOURS[(index if ax is None else len(panel.lines)) % len(_COLOURS)]
            marker = "o" if len(values) <= 100 else ""
            panel.plot(
                *zip(*values.items(), strict=True), color=colour, marker=marker, ms=3, lw=1.2, label=layer or key
            )
        if ax is not None or len(lines) > 1:
            panel.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
        panel.set_ylabel("" if ax is not None else name.strip("/").replace("_", "\n", 1).replace("_", " "), fontsize=8)
        panel.spines[["top", "right"]].set_visible(False)
    axes[-1].set_xlabel(unit)
    return axes if len(axes) > 1 and ax is None else axes[0]


def _kept(on_epoch_end: Any) -> Any:
    """Return the method such that what it adds to the logs is kept."""

    @functools.wraps(on_epoch_end)
    def kept(self: LoggedCallback, epoch: int, logs: Any = None) -> None:
        before = dict(logs or {})
        on_epoch_end(self, epoch, logs)
        if any(epoch < earlier for values in self.logged.values() for earlier in values):
            self.logged.clear()
        for key, value in (logs or {}).items():
            if isinstance(value, numbers.Real) and (key not in before or before[key] is not value):
                self.logged.setdefault(key, {})[epoch] = float(value)

    return kept


def _is_default(value: Any, default: Any) -> bool:
    return value is default or (isinstance(value, str | int | float) and value == default)


def _short(value: Any) -> str:
    """Return what is short enough to be read in a line."""
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"array of shape {tuple(value.shape)}"
    if isinstance(value, list | tuple):
        return f"({', '.join(map(_short, value))})"
    text = str(value) if hasattr(value, "__fspath__") else repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"
