"""What the columns matter to the network and to the best baseline: importances side by side, and effect curves."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from tfopt.report.board import figure as number
from tfopt.report.figures import new_axes, wrapped
from tfopt.report.page import PageTable, Section, picture
from tfopt.report.run import Record, SearchRun
from tfopt.report.style import ACCENT, GREY, INK, hover, literal
from tfopt.search.saved import read_importance

_MOST_COLUMNS, _MOST_LEVELS = 15, 12
_ROLES = (("network", ACCENT), ("baseline", INK))


def matters(run: SearchRun) -> Section | None:
    """Return the section; None where nothing was measured."""
    found = read_importance(run.folder)
    columns = found.get("columns", [])
    if not columns:
        return None
    models = {role: found["models"][role] for role, _ in _ROLES if role in found["models"]}
    section = Section("What matters")
    section.text = (
        f"How much {run.scale} falls when a column is shuffled among held-out rows, mean and 95 % interval; a column "
        "whose interval holds 0 may not matter."
    )
    section.note = (
        "Of columns that tell the same, each seems to matter little. A curve is what a model says, not a cause."
    )
    of_all = f"{_MOST_COLUMNS} of " if len(columns) > _MOST_COLUMNS else ""
    section.pictures.append(
        picture(
            "importance",
            "Importance of the columns",
            f"{of_all}{len(columns)} columns, what matters most first.",
            importance(columns[:_MOST_COLUMNS], models, objective=run.scale),
            broad=True,
        )
    )
    headings = ["column", "read as", *(f"{model}{end}" for model in models.values() for end in ("", ", 95% interval"))]
    rows = [
        [row["column"], row["kind"], *(cell for role in models for cell in _cells(row.get(role)))] for row in columns
    ]
    section.folded.append(("all columns", PageTable(headings, rows, (0, 1))))
    outputs = found.get("outputs") or [""]
    output = 1 if run.result.get("task") == "classification" and len(outputs) == 2 else 0
    several = run.result.get("task") == "classification" or len(outputs) > 1
    what = f"{'probability of ' if run.result.get('task') == 'classification' else ''}{outputs[output]}"
    for place, curve in enumerate(found.get("effects", [])):
        section.pictures.append(
            picture(
                f"effect_{place + 1}",
                f"Effect of {curve['column']}",
                f"Mean predicted {what}, with this column set to each value." if several else "Mean prediction.",
                effect(curve, models, output=output, name=what),
            )
        )
    return section


def importance(
    columns: Sequence[Record], models: Mapping[str, str], *, objective: str = "score", ax: Axes | None = None
) -> Axes:
    """Draw how much the score falls without each column, of the models side by side.

    Args:
        columns: What `importance.json` holds of them, the one that matters most first.
        models: Names of the models by `network` and `baseline`.
        objective: Name of the metric.
        ax: Axes to draw on; None for a new figure.
    """
    ax = ax or new_axes(5.2, 0.9 + 0.34 * max(len(columns), 2))
    shift = {role: 0.14 * (1 if role == "network" else -1) * (len(models) > 1) for role in models}
    for role, color in _ROLES:
        if role not in models:
            continue
        for height, row in enumerate(reversed(columns)):
            mean, low, high = (_float(row.get(role, {}).get(key)) for key in ("mean", "low", "high"))
            said = hover(
                f"{row['column']}, {models[role]}: {number(mean)}, 95 % interval {number(low)} to {number(high)}"
            )
            [bar] = ax.plot([low, high], [height + shift[role]] * 2, color=color, lw=1.6, solid_capstyle="butt")
            [mark] = ax.plot(mean, height + shift[role], "o", color=color, ms=4.5)
            bar.set_gid(said)
            mark.set_gid(said)
            if not height:
                mark.set_label(literal(models[role]))
    ax.axvline(0, color=GREY, lw=1, zorder=0)
    ax.set_yticks(range(len(columns)), [_label(row["column"]) for row in reversed(columns)])
    ax.tick_params(axis="y", length=0, pad=9)
    ax.set_ylim(-0.6, len(columns) - 0.4)
    ax.xaxis.set_major_locator(MaxNLocator(6))
    ax.set_xlabel(wrapped(f"fall of {objective} when the column is shuffled"), loc="right")
    ax.legend(frameon=False, fontsize=9, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.2)
    return ax


def effect(
    curve: Record, models: Mapping[str, str], *, output: int = 0, name: str = "prediction", ax: Axes | None = None
) -> Axes:
    """Draw the mean prediction against the values of a column.

    Args:
        curve: What `importance.json` holds of it: `values`, and by model (values, outputs).
        models: Names of the models by `network` and `baseline`.
        output: Which of the outputs.
        name: What is predicted.
        ax: Axes to draw on; None for a new figure.
    """
    ax = ax or new_axes(4.2, 3.2)
    values = curve["values"]
    numeric = all(isinstance(value, int | float) for value in values if value is not None)
    kept = [place for place, value in enumerate(values) if value is not None and not (numeric and math.isnan(value))]
    kept = kept if numeric else kept[:_MOST_LEVELS]
    places = np.array([values[place] for place in kept], float) if numeric else np.arange(len(kept))
    for role, color in _ROLES:
        if role in models and curve.get(role) is not None:
            line = [_float(curve[role][place][output]) for place in kept]
            ax.plot(places, line, "o-" if numeric else "o", color=color, lw=1.6, ms=4, label=literal(models[role]))
    if not numeric:
        ax.set_xticks(places, [_label(str(values[place]), 12) for place in kept], rotation=45, ha="right")
        ax.margins(x=0.1)
    else:
        ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.yaxis.set_major_locator(MaxNLocator(5))
    ax.set_xlabel(_label(curve["column"], 40))
    ax.set_ylabel(wrapped(name, 34))
    ax.legend(frameon=False, fontsize=9, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.2)
    return ax


def _cells(interval: Mapping[str, Any] | None) -> tuple[str, str]:
    if interval is None:
        return "–", "–"
    return number(interval["mean"]), f"{number(interval['low'])} … {number(interval['high'])}"


def _label(text: str, longest: int = 24) -> str:
    return literal(text if len(text) <= longest else f"{text[: longest - 1]}…")


def _float(value: Any) -> float:
    return math.nan if value is None else float(value)
