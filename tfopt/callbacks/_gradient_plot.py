"""The picture of `GradientNorms`."""

from collections.abc import Sequence
from typing import Any

import numpy as np

_BLUE, _VERMILLION, _GREY = "#0072B2", "#D55E00", "#DDDDDD"  # Okabe-Ito


def plot_gradient_norms(history: dict[str, np.ndarray], layers: Sequence[str], prefix: str, ax: Any = None) -> Any:
    """Draw the heat map of `layers` by step into `ax`, with the global norm above and the learning rate below."""
    # Drawing is rare, and matplotlib slow to import.
    import matplotlib.pyplot as plt
    from matplotlib.colors import LogNorm

    if not history:
        raise ValueError("There is nothing to plot: no step has been measured. Pass the callback to `model.fit` first.")
    if ax is None:
        _, ax = plt.subplots(figsize=(8, 3.2 + 0.24 * len(layers)), layout="constrained")
    figure, place = ax.figure, ax.get_subplotspec()
    if place is None:
        raise ValueError("Argument `ax` must come from `plt.subplots` or `add_subplot`, whose room can be divided.")
    grid = place.subgridspec(3, 2, height_ratios=[1.2, 0.5 + 0.3 * len(layers), 0.8], width_ratios=[1, 0.02])
    ax.set_subplotspec(grid[1, 0])
    above, below = (figure.add_subplot(grid[row, 0], sharex=ax) for row in (0, 2))
    norms = np.stack([history[f"{prefix}/{layer}"] for layer in layers])
    steps = np.arange(norms.shape[1])
    positive = norms[np.isfinite(norms) & (norms > 0)]
    low, high = (positive.min(), positive.max()) if positive.size else (0.1, 1.0)
    colours = plt.get_cmap("cividis").with_extremes(bad=_GREY, over=_VERMILLION)
    shown = np.where(np.isinf(norms), 10 * high, np.where(norms > 0, norms, np.where(norms == 0, low, np.nan)))
    mesh = ax.pcolormesh(
        steps,
        np.arange(len(layers)),
        np.ma.masked_invalid(shown),
        norm=LogNorm(low, max(high, low * 1.0001)),
        cmap=colours,
        shading="nearest",
        rasterized=True,
    )
    ax.set_yticks(np.arange(len(layers)), layers, fontsize=8)
    ax.invert_yaxis()
    ax.tick_params(labelbottom=False)

    above.plot(steps, np.where(np.isfinite(history[prefix]), history[prefix], np.nan), color=_BLUE, lw=1, label="norm")
    if f"{prefix}_applied" in history:
        above.plot(steps, history[f"{prefix}_applied"], color=_VERMILLION, lw=1, label="after clipping")
        above.legend(fontsize=7, frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0)
    if positive.size:
        above.set_yscale("log")
    above.set_ylabel("gradient\nnorm", fontsize=8)
    above.tick_params(labelbottom=False, labelsize=8)
    bad = np.flatnonzero(history[f"{prefix}_nonfinite"] > 0)
    if bad.size:
        above.plot(bad, np.full(bad.size, 0.95), "x", color=_VERMILLION, ms=4, transform=above.get_xaxis_transform())

    for key in history:
        if key.startswith("learning_rate"):
            below.plot(steps, history[key], color=_BLUE, lw=1)
    below.set_ylabel("learning\nrate", fontsize=8)
    below.set_xlabel("step")
    below.tick_params(labelsize=8)

    colour_bar = figure.colorbar(mesh, cax=figure.add_subplot(grid[1, 1]))
    colour_bar.set_label("norm by layer", fontsize=8)
    colour_bar.ax.tick_params(labelsize=8)
    return ax
