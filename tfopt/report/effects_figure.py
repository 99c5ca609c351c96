"""The bar chart of an ablation: what each ingredient adds to the score, with its interval."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from tfopt.report.style import ACCENT, GREY, INK, WARNING, house_style, hover, literal

if TYPE_CHECKING:
    from tfopt.search.ablation import Effect

_COLOURS = {"keep": ACCENT, "leave out": WARNING, "undecided": GREY}


def effects_figure(effects: "Sequence[Effect]", objective: str, data: str) -> Figure:
    """Return a figure with a bar for each ingredient, the most helpful at the top; what is settled is coloured.

    Args:
        effects: What `tfopt.search.ablation.ablate` found.
        objective: Name of the metric.
        data: Name of the table.
    """
    counts = {word: sum(effect.decision == word for effect in effects) for word in _COLOURS}
    with house_style():
        figure = Figure(figsize=(7.2, 1.2 + 0.34 * len(effects)), layout="constrained")
        ax = figure.subplots()
        for height, effect in enumerate(reversed(effects)):
            [bar] = ax.barh(height, effect.mean, height=0.6, color=_COLOURS[effect.decision], alpha=0.85)
            bar.set_gid(hover(effect.sentence(objective)))
            ax.plot([effect.low, effect.high], [height, height], color=INK, lw=1.2)
        ax.axvline(0, color=INK, lw=0.8)
        ax.set_yticks(range(len(effects)), [literal(effect.ingredient.name) for effect in reversed(effects)])
        ax.tick_params(axis="y", length=0)
        ax.set_ylim(-0.6, len(effects) - 0.4)
        ax.set_xlabel(literal(f"{objective} with it minus without it (line: interval for all together, 95 %)"))
        ax.set_title(
            literal(f"{data}: {counts['keep']} help, {counts['leave out']} harm, {counts['undecided']} cannot be told")
        )
    return figure
