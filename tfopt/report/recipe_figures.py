"""The pictures of a recipe: panels side by side, and means with their intervals as dots or as curves."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import offset_copy

from tfopt.report.evidence import interval
from tfopt.report.style import house_style

COLOURS = ["#0072b2", "#d55e00", "#009e73", "#000000", "#cc79a7", "#e69f00", "#56b4e9", "#767676"]  # Okabe and Ito


@contextlib.contextmanager
def panels(count: int, width: float = 4.5, height: float = 4.0) -> Iterator[tuple[Figure, Any]]:
    """Give a figure with so many panels side by side, to be drawn in the house style inside the `with`.

    Args:
        count: How many.
        width: Of each, in inches.
        height: In inches.

    Returns:
        A context that gives the figure, and its axes as an array, or as they are if it is one panel.

    Example:
        ```python
        from tfopt.report import recipe
        with recipe.panels(2) as (figure, (left, right)):
            recipe.dots(left, {"ridge": [1.0, 2.0]}, "Errors", "error (%)")
        print(len(figure.axes))  # 2
        ```
    """
    with house_style():
        figure, axes = plt.subplots(1, count, figsize=(width * count, height), layout="constrained", squeeze=False)
        yield figure, axes[0] if count > 1 else axes[0, 0]


def dots(
    ax: Axes, rows: Mapping[str, Any], title: str, xlabel: str, colour: str = COLOURS[0], label: str | None = None,
    test_to_train: float = 0.0,
) -> None:  # fmt: skip
    """Draw the mean of each row's values with its 95 % interval, a row below the other; again on the same panel adds.

    Args:
        ax: The panel.
        rows: Values over seeds or folds, by the name of the row.
        title: What is seen.
        xlabel: What the values are.
        colour: Of the dots.
        label: Their name, where a panel has several kinds.
        test_to_train: As for `interval`.

    Example:
        ```python
        from tfopt.report import recipe
        with recipe.panels(1) as (figure, ax):
            recipe.dots(ax, {"ridge": [1.0, 2.0], "lasso": [1.5, 1.6]}, "Errors", "error (%)")
        figure.savefig("errors.svg")
        ```
    """
    means, halves = zip(*(interval(values, test_to_train=test_to_train) for values in rows.values()), strict=True)
    places = np.arange(len(rows))
    ax.errorbar(means, places, xerr=np.nan_to_num(halves), fmt="o", color=colour, capsize=3, label=label)
    ax.set(yticks=places, yticklabels=list(rows), xlabel=xlabel, title=title, ylim=(len(rows) - 0.5, -0.5))
    if label is not None:  # below the panel: it would hide a dot
        ax.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=3)


def curves(
    ax: Axes, x: Sequence[float], series: Mapping[str, Any], title: str, xlabel: str, ylabel: str,
    test_to_train: float = 0.0,
) -> None:  # fmt: skip
    """Draw a line for each series, with 95 % intervals over seeds or folds.

    Args:
        ax: The panel.
        x: Where the values are.
        series: (seeds, places) values by name; of a single seed no interval.
        title: What is seen.
        xlabel: What `x` is.
        ylabel: What the values are.
        test_to_train: As for `interval`.

    Example:
        ```python
        from tfopt.report import recipe
        with recipe.panels(1) as (figure, ax):
            recipe.curves(ax, [10, 20], {"ridge": [[3.0, 2.0], [3.2, 1.9]]}, "Errors", "rows", "error (%)")
        figure.savefig("errors.svg")
        ```
    """
    style: dict[str, Any] = {"marker": "o", "ms": 3, "lw": 1.2, "elinewidth": 0.8}
    for place, ((name, values), colour) in enumerate(zip(series.items(), COLOURS, strict=False)):
        mean, half = interval(np.atleast_2d(values), test_to_train=test_to_train)
        drawn = ax.errorbar(x, mean, np.nan_to_num(half), color=colour, label=name, **style)
        # Three points beside one another: intervals at the same place would hide each other.
        points = 3 * (place - (len(series) - 1) / 2)
        beside = offset_copy(ax.transData, ax.get_figure(root=True), x=points, units="points")
        for part in drawn.get_children():
            part.set_transform(beside)
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel)
    ax.legend(frameon=False, fontsize=8)
