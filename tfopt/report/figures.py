"""The figures of a run. Each takes `ax=None` and returns the axes it drew on."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tfopt.report.style import ACCENT, GREY, INK, PALE, WARNING, literal

Row = Mapping[str, Any]


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
    """
    rows = sorted((row for row in rows if _finite(row["score"])), key=lambda row: row["score"])
    ax = ax or _new_axes(7.2, 1.1 + 0.34 * max(len(rows), 2))
    left, right = _limits(rows)
    baseline = max((row for row in rows if row["kind"] == "sklearn"), key=lambda row: row["score"], default=None)
    if baseline is not None:
        if rope:
            ax.axvspan(baseline["score"] - rope, baseline["score"] + rope, color=PALE, alpha=0.6, lw=0, zorder=0)
        ax.axvline(baseline["score"], color=GREY, lw=1, zorder=1)
        extra = f" ± {rope:g}" if rope else ""
        ax.annotate(
            literal(f"best baseline: {baseline['model']}{extra}"),
            (baseline["score"], 1),
            xycoords=("data", "axes fraction"),
            xytext=(0, 4),
            textcoords="offset points",
            ha=_anchor(baseline["score"], left, right),
            color=GREY,
            fontsize=9,
        )
    for height, row in enumerate(rows):
        color = ACCENT if row["kind"] == "keras" else INK
        inside = row["score"] >= left
        low, high = max(_or(row.get("low"), row["score"]), left), min(_or(row.get("high"), row["score"]), right)
        if inside and high > low:
            ax.plot([low, high], [height, height], color=color, lw=1.6, solid_capstyle="butt", zorder=2)
        ax.plot(max(row["score"], left), height, "o" if inside else "<", color=color, ms=6, clip_on=False, zorder=3)
        ax.annotate(
            f"{row['score']:.3f}".replace("-", "\N{MINUS SIGN}"),
            (1, height),
            xycoords=("axes fraction", "data"),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            color=color,
            fontsize=9,
            fontweight="bold" if row["kind"] == "keras" else "normal",
        )
    ax.set_xlim(left, right)
    ax.set_ylim(-0.6, len(rows) - 0.4)
    ax.set_yticks(range(len(rows)), [literal(str(row["model"])) for row in rows])
    for label, row in zip(ax.get_yticklabels(), rows, strict=True):
        if row["kind"] == "keras":
            label.set(color=ACCENT, fontweight="bold")
    ax.tick_params(axis="y", length=0, pad=9)
    ax.spines["left"].set_visible(False)
    ax.set_xlabel(f"{objective} on held-out rows (higher is better), 95 % interval")
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
    """
    ax = ax or _new_axes(7.2, 3.4)
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
    ax.set_ylabel(f"best inner {objective} so far")
    if ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False, fontsize=9, loc="lower left", bbox_to_anchor=(0, 1), ncols=4, borderaxespad=0.2)
    return ax


def training_curves(curve: Mapping[str, Sequence[float]], *, axes: Sequence[Axes] | None = None) -> Sequence[Axes]:
    """Draw the loss of each epoch above, the learning rate below.

    Args:
        curve: `loss`, and `val_loss` and `learning_rate` where there are any, one number an epoch.
        axes: Two axes to draw on; None for a new figure.
    """
    if axes is None:
        figure = Figure(figsize=(7.2, 4.2), layout="constrained")
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


def _new_axes(width: float, height: float) -> Axes:
    return Figure(figsize=(width, height), layout="constrained").subplots()


def _limits(rows: Sequence[Row]) -> tuple[float, float]:
    """Return limits that hold every interval but those of models far below the rest."""
    if not rows:
        return 0.0, 1.0
    scores = sorted(row["score"] for row in rows)
    middle = scores[len(scores) // 2]
    width = max(scores[-1] - middle, 0.02 * abs(scores[-1]), 1e-9)
    near = [row for row in rows if row["score"] >= middle - 4 * width]
    low = min(min(_or(row.get("low"), row["score"]), row["score"]) for row in near)
    high = max(max(_or(row.get("high"), row["score"]), row["score"]) for row in near)
    margin = 0.04 * max(high - low, 1e-6)
    return low - margin, high + margin


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
