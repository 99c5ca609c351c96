"""The figures of a run. Each takes `ax=None` and returns the axes it drew on."""

import itertools
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tfopt.report.board import shown_model
from tfopt.report.hyperparameters import Share
from tfopt.report.style import ACCENT, GREY, INK, PALE, WARNING, hover, literal

Row = Mapping[str, Any]
_WIDTH = 5.2  # inches: as wide as a phone can show with letters that one can read


def differences(
    rows: Sequence[Row],
    best_baseline: str,
    *,
    objective: str = "score",
    rope: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw by how much each model differs from the best baseline on the same rows, with its 95 % interval.

    The vertical line is the best baseline, the band round it the differences that do not matter in practice.

    Args:
        rows: Leaderboard rows with `model`, `kind`, `difference`, `difference_low` and `difference_high`.
        best_baseline: The model that the others are compared with.
        objective: Name of the metric.
        rope: Half-width of the region of practical equivalence.
        ax: Axes to draw on; None for a new figure.
    """
    points = [
        _Point(row, row["difference"], row.get("difference_low"), row.get("difference_high"))
        for row in rows
        if row["model"] != best_baseline and _finite(row.get("difference"))
    ]
    ax = _intervals(points, 0.0, rope, f"{best_baseline}, the best baseline", signed=True, ax=ax)
    ax.set_xlabel(wrapped(f"difference in {objective} (to the right: better), 95 % interval"), loc="right")
    return ax


def leaderboard(
    rows: Sequence[Row], *, objective: str = "score", rope: float | None = None, ax: Axes | None = None
) -> Axes:
    """Draw each model's score with its 95 % interval, the best at the top.

    The vertical line is the best scikit-learn model, the band round it the differences that do not matter in practice.
    A model far below the others is drawn at the edge, with its score beside it, so that it does not squeeze the rest.

    Args:
        rows: Leaderboard rows with `model`, `kind`, `score`, `low` and `high`; scores are higher-is-better.
        objective: Name of the metric.
        rope: Half-width of the region of practical equivalence.
        ax: Axes to draw on; None for a new figure.

    Returns:
        The axes drawn on.

    Example:
        ```python
        rows = [
            {"model": "ridge", "kind": "sklearn", "score": 0.48, "low": 0.40, "high": 0.56},
            {"model": "network", "kind": "keras", "score": 0.51, "low": 0.42, "high": 0.60},
        ]
        axes = tfopt.report.leaderboard(rows, objective="r2")
        axes.figure.savefig("leaderboard.svg")
        ```
    """
    points = [_Point(row, row["score"], row.get("low"), row.get("high")) for row in rows if _finite(row["score"])]
    baseline = max((p for p in points if p.row["kind"] == "sklearn"), key=lambda p: p.value, default=None)
    if baseline is None:
        ax = _intervals(points, None, None, "", ax=ax)
    else:
        ax = _intervals(points, baseline.value, rope, f"best baseline: {baseline.row['model']}", ax=ax)
    ax.set_xlabel(wrapped(f"{objective} on held-out rows (higher is better), 95 % interval"), loc="right")
    return ax


@dataclass(frozen=True)
class _Point:
    row: Row
    value: float
    low: float | None
    high: float | None


def _intervals(
    points: Sequence[_Point],
    line: float | None,
    rope: float | None,
    of_line: str,
    *,
    signed: bool = False,
    ax: Axes | None,
) -> Axes:
    """Draw values with their intervals, a line to compare them with, and the band round it that does not matter."""
    points = sorted(points, key=lambda point: point.value)
    ax = ax or new_axes(_WIDTH, 1.1 + 0.34 * max(len(points), 2))
    left, right = _limits(points, line, rope)
    if line is not None:
        if rope:
            ax.axvspan(line - rope, line + rope, color=PALE, alpha=0.6, lw=0, zorder=0)
        ax.axvline(line, color=GREY, lw=1, zorder=1)
        ax.annotate(
            literal(of_line + (f" ± {rope:.2g}" if rope else "")),
            (line, 1),
            xycoords=("data", "axes fraction"),
            xytext=(0, 4),
            textcoords="offset points",
            ha=_anchor(line, left, right),
            color=GREY,
            fontsize=9,
        )
    form = "+.3f" if signed else ".3f"
    for height, point in enumerate(points):
        keras, inside = point.row["kind"] == "keras", point.value >= left
        color = ACCENT if keras else INK
        low, high = max(_or(point.low, point.value), left), min(_or(point.high, point.value), right)
        said = f"{point.row['model']}: {point.value:{form}}"
        if point.low is not None and point.high is not None:
            said += f", 95 % interval {point.low:{form}} to {point.high:{form}}"
        if inside and high > low:
            bar = ax.plot([low, high], [height, height], color=color, lw=1.6, solid_capstyle="butt", zorder=2)
            bar[0].set_gid(hover(said))
        [mark] = ax.plot(
            max(point.value, left), height, "o" if inside else "<", color=color, ms=6, clip_on=False, zorder=3
        )
        mark.set_gid(hover(said))
        ax.annotate(
            f"{point.value:{form}}".replace("-", "\N{MINUS SIGN}"),
            (1, height),
            xycoords=("axes fraction", "data"),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            color=color,
            fontsize=9,
            fontweight="bold" if keras else "normal",
        )
    ax.set_xlim(left, right)
    ax.set_ylim(-0.6, len(points) - 0.4)
    ax.set_yticks(range(len(points)), [literal(shown_model(point.row["model"])) for point in points])
    for label, point in zip(ax.get_yticklabels(), points, strict=True):
        if point.row["kind"] == "keras":
            label.set(color=ACCENT, fontweight="bold")
    ax.tick_params(axis="y", length=0, pad=9)
    ax.spines["left"].set_visible(False)
    ax.xaxis.set_major_locator(MaxNLocator(5))
    return ax


def best_so_far(
    trials: Sequence[Row],
    *,
    objective: str = "score",
    baseline: tuple[str, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the best inner score of each fold's search against the number of trials, and their mean.

    Args:
        trials: Records with `fold`, `status` and `score`, in the order in which they ran.
        objective: Name of the metric.
        baseline: Name and inner score of the best baseline, drawn as a line.
        ax: Axes to draw on; None for a new figure.

    Returns:
        The axes drawn on.

    Example:
        ```python
        trials = [{"fold": 0, "status": "COMPLETED", "score": score} for score in (0.40, 0.47, 0.45)]
        axes = tfopt.report.best_so_far(trials, objective="r2", baseline=("ridge", 0.44))
        axes.figure.savefig("best_so_far.svg")
        ```
    """
    ax = ax or new_axes(_WIDTH, 3.2)
    by_fold: dict[Any, list[Row]] = {}
    for trial in trials:
        by_fold.setdefault(trial["fold"], []).append(trial)
    outer = {fold: records for fold, records in by_fold.items() if fold != "final"} or by_fold
    curves, points = [], []
    for records in outer.values():
        scores = [record["score"] if record["status"] == "COMPLETED" else None for record in records]
        curves.append(list(itertools.accumulate((_or(score, -math.inf) for score in scores), max)))
        points += [(number, score) for number, score in enumerate(scores, start=1)]
        ax.step(*_steps(curves[-1]), where="post", color=PALE, lw=1, zorder=1)
    longest = max(map(len, curves), default=0)
    if longest:
        # A fold that has ended keeps its best score while the others go on.
        padded = np.array([curve + curve[-1:] * (longest - len(curve)) for curve in curves])
        with np.errstate(invalid="ignore"):
            mean = np.where(np.isfinite(padded).all(axis=0), padded.mean(axis=0), np.nan)
        label = f"network, mean of {len(curves)} folds" if len(curves) > 1 else "network"
        ax.step(*_steps(mean.tolist()), where="post", color=ACCENT, lw=2, zorder=4, label=label)
    shown = np.array([(x, y) for x, y in points if _finite(y)]).reshape(-1, 2)
    floor = _floor([y for curve in curves for y in curve if math.isfinite(y)], baseline)
    if len(shown):
        ax.plot(*shown[shown[:, 1] >= floor].T, ".", color=GREY, ms=4, alpha=0.7, zorder=2, label="one trial")
    failed = [x for x, y in points if not _finite(y)]
    if failed:
        ax.plot(
            failed,
            [0.02] * len(failed),
            "x",
            color=WARNING,
            ms=5,
            transform=ax.get_xaxis_transform(),
            label=f"failed ({len(failed)})",
        )
    if baseline is not None:
        ax.axhline(
            baseline[1], color=INK, lw=1, ls=(0, (5, 3)), zorder=3, label=literal(f"best baseline: {baseline[0]}")
        )
    if math.isfinite(floor):
        ax.set_ylim(bottom=floor)
    ax.set_xlim(0.5, longest + 0.5 if longest else 1.5)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("trials in each fold")
    ax.set_ylabel(wrapped(f"best inner {objective} so far", 36))
    if ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False, fontsize=9, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.2)
    return ax


def shares(effects: Sequence[Share], *, ax: Axes | None = None) -> Axes:
    """Draw the parts of a variance that hyperparameters explain, with their intervals, the largest at the top.

    Args:
        effects: What `tfopt.report.hyperparameters.effects_of` found.
        ax: Axes to draw on; None for a new figure.
    """
    ax = ax or new_axes(_WIDTH, 0.8 + 0.3 * max(len(effects), 2))
    for height, effect in enumerate(reversed(effects)):
        low, high = 100 * effect.low, 100 * effect.high
        said = hover(f"{' × '.join(effect.names)}: {100 * effect.share:.0f} %, 90 % interval {low:.0f} to {high:.0f} %")
        [bar] = ax.plot([low, high], [height, height], color=ACCENT, lw=1.6, solid_capstyle="butt")
        [mark] = ax.plot(100 * effect.share, height, "o", color=ACCENT, ms=6)
        bar.set_gid(said)
        mark.set_gid(said)
    names = [literal(" × ".join(effect.names)) for effect in reversed(effects)]
    ax.set_yticks(range(len(effects)), [textwrap.fill(name, 30) for name in names])
    ax.tick_params(axis="y", length=0, pad=9)
    ax.set_xlim(-1, max(100 * max(effect.high for effect in effects), 10) * 1.05)
    ax.set_ylim(-0.6, len(effects) - 0.4)
    ax.set_xlabel("part of the variance of the scores, %", loc="right")
    return ax


def training_curves(curve: Mapping[str, Sequence[float]], *, axes: Sequence[Axes] | None = None) -> Sequence[Axes]:
    """Draw the loss of each epoch above, the learning rate below.

    Args:
        curve: `loss`, and `val_loss` and `learning_rate` where there are any, one number an epoch.
        axes: Two axes to draw on; None for a new figure.

    Returns:
        The two axes drawn on.

    Example:
        ```python
        curve = {"loss": [0.9, 0.5, 0.4], "val_loss": [0.8, 0.6, 0.6], "learning_rate": [0.1, 0.05, 0.0]}
        upper, lower = tfopt.report.training_curves(curve)
        upper.figure.savefig("curves.svg")
        ```
    """
    if axes is None:
        figure = Figure(figsize=(_WIDTH, 4.0), layout="constrained")
        axes = figure.subplots(2, 1, sharex=True, height_ratios=[2.2, 1])
    upper, lower = axes
    losses = [("training", INK, curve.get("loss") or []), ("validation", ACCENT, curve.get("val_loss") or [])]
    for name, color, values in losses:
        if len(values):
            epochs = range(1, len(values) + 1)
            upper.plot(epochs, _gaps(values), color=color, lw=1.6, marker="." if len(values) < 3 else None)
            upper.annotate(
                name,
                (len(values), _or(values[-1], 0)),
                xytext=(4, 0),
                textcoords="offset points",
                color=color,
                va="center",
                fontsize=9,
            )
    positive = [v for _, _, values in losses for v in values if _finite(v)]
    if positive and min(positive) > 0 and max(positive) > 10 * min(positive):
        upper.set_yscale("log")
    upper.set_ylabel("loss")
    rates = curve.get("learning_rate") or []
    lower.plot(range(1, len(rates) + 1), _gaps(rates), color=ACCENT, lw=1.6, marker="." if len(rates) < 3 else None)
    lower.set_ylim(bottom=0)
    lower.set_ylabel("learning rate")
    lower.set_xlabel("epoch")
    lower.xaxis.set_major_locator(MaxNLocator(integer=True))
    upper.margins(x=0.02)
    return axes


def new_axes(width: float, height: float) -> Axes:
    """Return the axes of a new figure, in inches."""
    return Figure(figsize=(width, height), layout="constrained").subplots()


def _limits(points: Sequence[_Point], line: float | None, rope: float | None) -> tuple[float, float]:
    """Return limits that hold the line's band, and every interval but those of models far below the rest."""
    if not points:
        return (0.0, 1.0) if line is None else (line - 2 * (rope or 0.5), line + 2 * (rope or 0.5))
    values = sorted(point.value for point in points)
    middle, top = values[len(values) // 2], max(values[-1], values[-1] if line is None else line)
    width = max(top - middle, 0.02 * abs(top), rope or 0.0, 1e-9)
    near = [point for point in points if point.value >= middle - 4 * width]
    lows = [min(_or(point.low, point.value), point.value) for point in near]
    highs = [max(_or(point.high, point.value), point.value) for point in near]
    if line is not None:
        lows.append(line - (rope or 0.0))
        highs.append(line + (rope or 0.0))
    margin = 0.04 * max(max(highs) - min(lows), 1e-6)
    return min(lows) - margin, max(highs) + margin


def wrapped(text: str, width: int = 62) -> str:
    """Return a label in lines that a figure is wide enough for."""
    return textwrap.fill(literal(text), width)


def _steps(values: Sequence[Any]) -> tuple[list[float], list[float]]:
    """Return the corners of a curve over the trials 1, 2, …, the last held for half a trial so that it is seen."""
    return [*range(1, len(values) + 1), len(values) + 0.5], _gaps([*values, values[-1]])


def _floor(best: Sequence[float], baseline: tuple[str, float] | None) -> float:
    """Return where the axis of a search begins: not so low that a poor first trial squeezes the rest."""
    values = sorted([*best, *([baseline[1]] if baseline is not None else [])])
    if not values:
        return -math.inf
    top, low = values[-1], values[int(0.05 * (len(values) - 1))]
    return low - max(0.1 * (top - low), 0.01 * abs(top), 1e-6)


def _anchor(value: float, left: float, right: float) -> str:
    place = (value - left) / (right - left)
    return "left" if place < 0.3 else "right" if place > 0.7 else "center"


def _finite(value: Any) -> bool:
    return value is not None and math.isfinite(value)


def _or(value: Any, otherwise: float) -> float:
    return float(value) if _finite(value) else otherwise


def _gaps(values: Sequence[Any]) -> list[float]:
    return [float(value) if _finite(value) else math.nan for value in values]
