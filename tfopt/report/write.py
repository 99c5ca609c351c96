"""A run's figures and its page, written into its folder."""

import os
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tfopt._files import write_text
from tfopt.errors import UserError
from tfopt.report import figures as draw
from tfopt.report.html import render
from tfopt.report.run import SearchRun, load_run
from tfopt.report.style import house_style, save


def draw_figures(run: SearchRun) -> dict[str, tuple[str, str, Figure]]:
    """Return the figures that the run has data for: file name to title, caption and figure."""
    figures: dict[str, tuple[str, str, Figure]] = {}
    with house_style():
        if run.leaderboard:
            axes = draw.leaderboard(run.leaderboard, objective=run.scale, rope=run.rope)
            caption = "Every model on the same outer folds. Intervals are corrected for overlapping training parts."
            if run.config.get("holdout"):
                caption = "Every model on the same held-out rows. Intervals are from a bootstrap of these rows."
            figures["leaderboard"] = ("Scores", caption, _figure(axes))
        if trials := run.of_kind("trial"):
            axes = draw.best_so_far(trials, objective=run.scale, baseline=_baseline(run))
            caption = (
                "The score by which configurations were chosen, on inner folds; one grey line for each outer fold."
            )
            figures["best_so_far"] = ("Search", caption, _figure(axes))
        final = run.final()
        if final and final.get("curve", {}).get("loss"):
            upper, _ = draw.training_curves(final["curve"])
            caption = "The network in best.keras, trained on all rows; the loss includes its penalties."
            figures["training"] = ("Training of the best network", caption, _figure(upper))
    return figures


def write_report(folder: str | os.PathLike[str], table: Sequence[Sequence[str]] = (), legend: str = "") -> Path:
    """Write `figures/` and `report.html` into a run folder; return the page.

    Args:
        folder: The run folder.
        table: The leaderboard as text, headings first.
        legend: What its columns mean.

    Raises:
        UserError: It is not a run folder, or cannot be written.
    """
    run = load_run(folder)
    figures = draw_figures(run)
    page = run.folder / "report.html"
    try:
        for name, (_, _, figure) in figures.items():
            save(figure, run.folder / "figures", name)
        text = render(run, table, legend, {title: (caption, figure) for title, caption, figure in figures.values()})
        write_text(page, text)
    except OSError as error:
        raise UserError(f"the report cannot be written into {run.folder}: {error.strerror}.") from None
    return page


def _figure(axes: Axes) -> Figure:
    figure = axes.figure
    assert isinstance(figure, Figure)  # for the type checker: never a subfigure here
    return figure


def _baseline(run: SearchRun) -> tuple[str, float] | None:
    best = run.best_baseline()
    if best is None:
        return None
    inner = run.baseline_inner_score(best["model"])
    return None if inner is None else (best["model"], inner)
