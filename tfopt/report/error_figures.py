"""Figures of how wrong models are. Each takes `ax=None` and returns the axes it drew on."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from tfopt.report.figures import new_axes, wrapped
from tfopt.report.style import ACCENT, GREY, INK, PALE, hover, literal

MOST_POINTS = 1500  # of a scatter plot: beyond, nothing more is seen and a page grows heavy

# A model's name, whether it is a network, and its predictions.
Predicted = tuple[str, bool, np.ndarray]


def predicted_against_true(
    true: np.ndarray, predicted: np.ndarray, *, name: str = "target", is_network: bool = True, ax: Axes | None = None
) -> Axes:
    """Draw each row's prediction over its true value, and the line on which they are equal.

    Args:
        true: True values.
        predicted: Predictions.
        name: Name of the target, with its unit.
        is_network: Whether it is drawn in the networks' colour.
        ax: Axes to draw on; None for a new figure.
    """
    ax = ax or new_axes(4.2, 3.8)
    kept = np.linspace(0, len(true) - 1, min(len(true), MOST_POINTS)).astype(int)
    low, high = min(true.min(), predicted.min()), max(true.max(), predicted.max())
    ax.plot([low, high], [low, high], color=GREY, lw=1, zorder=1)
    ax.plot(true[kept], predicted[kept], ".", color=ACCENT if is_network else INK, ms=4, alpha=0.5, zorder=2)
    ax.set_xlabel(wrapped(f"true {name}", 48))
    ax.set_ylabel(wrapped(f"predicted {name}", 40))
    _few_ticks(ax)
    return ax


def residuals(true: np.ndarray, models: Sequence[Predicted], *, name: str = "target", ax: Axes | None = None) -> Axes:
    """Draw the distribution of each model's residuals, predicted less true.

    Args:
        true: True values.
        models: Names, whether they are networks, and predictions.
        name: Name of the target, with its unit.
        ax: Axes to draw on; None for a new figure.
    """
    ax = ax or new_axes(4.2, 3.8)
    off = [predicted - true for _, _, predicted in models]
    low, high = min(map(np.min, off)), max(map(np.max, off))
    half = max((high - low) / 2, 1e-6 * max(abs(low), abs(high)), 1e-12)  # residuals may be equal up to rounding
    number = min(40, max(10, int(np.sqrt(len(true)))))
    edges = np.linspace((low + high) / 2 - half, (low + high) / 2 + half, number + 1)
    for (model, is_network, _), values in zip(models, off, strict=True):
        counts, _ = np.histogram(values, edges)
        ax.stairs(counts, edges, color=ACCENT if is_network else INK, lw=1.5, label=literal(model))
    ax.axvline(0, color=GREY, lw=1, zorder=0)
    ax.set_xlabel(wrapped(f"residual of {name}", 48))
    ax.set_ylabel("rows")
    _few_ticks(ax)
    return _with_legend(ax)


def residuals_by_prediction(
    true: np.ndarray, models: Sequence[Predicted], *, name: str = "target", ax: Axes | None = None
) -> Axes:
    """Draw the median residual and the middle 80 % of residuals in groups of rows with like predictions.

    Args:
        true: True values.
        models: Names, whether they are networks, and predictions.
        name: Name of the target, with its unit.
        ax: Axes to draw on; None for a new figure.
    """
    ax = ax or new_axes(4.2, 3.8)
    for model, is_network, predicted in models:
        color = ACCENT if is_network else INK
        groups = _groups(predicted)
        places = [predicted[group].mean() for group in groups]
        low, middle, high = np.transpose([np.quantile((predicted - true)[group], [0.1, 0.5, 0.9]) for group in groups])
        ax.fill_between(places, low, high, color=color, alpha=0.12, lw=0)
        ax.plot(places, middle, "o-", color=color, lw=1.5, ms=4, label=literal(model))
    ax.axhline(0, color=GREY, lw=1, zorder=0)
    ax.set_xlabel(wrapped(f"predicted {name}", 48))
    ax.set_ylabel("residual")
    _few_ticks(ax)
    return _with_legend(ax)


def confusion(matrix: np.ndarray, names: Sequence[str], *, ax: Axes | None = None) -> Axes:
    """Draw a confusion matrix with its counts, each true class's row shaded by its parts.

    Args:
        matrix: Counts: true classes down, predicted classes across.
        names: The classes.
        ax: Axes to draw on; None for a new figure.
    """
    size = len(matrix)
    ax = ax or new_axes(4.2, 3.8)
    parts = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    labels = [literal(name if len(name) <= 14 else f"{name[:13]}…") for name in names]
    for row in range(size):
        for column in range(size):
            where = (column - 0.5, row - 0.5)
            square = Rectangle(where, 1, 1, facecolor=ACCENT, alpha=float(0.75 * parts[row, column]), lw=0)
            square.set_gid(
                hover(
                    f"{names[row]} taken for {names[column]}: {matrix[row, column]} ({100 * parts[row, column]:.0f} %)"
                )
            )
            ax.add_patch(square)
            if matrix[row, column]:
                ax.text(
                    column, row, f"{matrix[row, column]}", ha="center", va="center", color=INK, fontsize=_letters(size)
                )
    ax.set_xlim(-0.5, size - 0.5)
    ax.set_ylim(size - 0.5, -0.5)
    ax.set_xticks(range(size), labels, rotation=0 if size <= 3 else 45, ha="center" if size <= 3 else "right")
    ax.set_yticks(range(size), labels)
    ax.tick_params(length=0)
    ax.set_xlabel("predicted")
    ax.set_ylabel("true")
    for side in ax.spines.values():
        side.set_visible(False)
    return ax


def roc(models: Sequence[tuple[str, bool, np.ndarray, np.ndarray]], *, ax: Axes | None = None) -> Axes:
    """Draw ROC curves.

    Args:
        models: Names, whether they are networks, false positive and true positive rates.
        ax: Axes to draw on; None for a new figure.
    """
    ax = ax or new_axes(4.2, 3.8)
    ax.plot([0, 1], [0, 1], color=PALE, lw=1, zorder=0)
    for model, is_network, false_positive, true_positive in models:
        ax.plot(false_positive, true_positive, color=ACCENT if is_network else INK, lw=1.6, label=literal(model))
    ax.set_xlabel("false positive rate")
    ax.set_ylabel("true positive rate")
    return _with_legend(ax)


def reliability(models: Sequence[tuple[str, bool, np.ndarray, np.ndarray]], *, ax: Axes | None = None) -> Axes:
    """Draw how often something came true against its probability, in ten groups of like probabilities.

    Args:
        models: Names, whether they are networks, probabilities, and whether it came true.
        ax: Axes to draw on; None for a new figure.
    """
    ax = ax or new_axes(4.2, 3.8)
    ax.plot([0, 1], [0, 1], color=PALE, lw=1, zorder=0)
    for model, is_network, probability, came_true in models:
        color = ACCENT if is_network else INK
        groups = _groups(probability)
        places = np.array([probability[group].mean() for group in groups])
        often = np.array([came_true[group].mean() for group in groups])
        low, high = np.transpose([_wilson(came_true[group]) for group in groups])
        ax.vlines(places, low, high, color=color, lw=1, alpha=0.7)
        ax.plot(places, often, "o", color=color, ms=4, label=literal(model))
    ax.set_xlabel("probability")
    ax.set_ylabel("how often it was true")
    return _with_legend(ax)


def _groups(values: np.ndarray, number: int = 10) -> list[np.ndarray]:
    """Return the places of like values, in at most ten groups of about equal size, equal values together."""
    edges = np.unique(np.quantile(values, np.linspace(0, 1, min(number, max(len(values) // 10, 1)) + 1)))
    codes = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, max(len(edges) - 2, 0))
    return [np.flatnonzero(codes == code) for code in np.unique(codes)]


def _wilson(came_true: np.ndarray, z: float = 1.959964) -> tuple[float, float]:
    """Return the 95 % interval of a frequency (Wilson, 1927)."""
    count, share = len(came_true), came_true.mean()
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2)) / (1 + z**2 / count)
    return middle - half, middle + half


def _letters(size: int) -> float:
    return float(np.clip(72 / size, 5, 10))


def _few_ticks(ax: Axes) -> None:
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.yaxis.set_major_locator(MaxNLocator(6))


def _with_legend(ax: Axes) -> Axes:
    ax.legend(frameon=False, fontsize=9, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.2)
    return ax
