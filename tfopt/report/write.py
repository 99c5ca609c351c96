"""A run's figures and its page, written into its folder."""

import os
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tfopt._files import write_text
from tfopt.errors import UserError
from tfopt.report import figures as draw
from tfopt.report import sections
from tfopt.report.headline import headline
from tfopt.report.page import Picture, render
from tfopt.report.run import SearchRun, load_run
from tfopt.report.style import house_style, save


def draw_figures(run: SearchRun) -> dict[str, Picture]:
    """Return the figures that the run has data for, by the name of their files."""
    figures: dict[str, Picture] = {}
    with house_style():
        if run.leaderboard:
            best = run.result.get("best_baseline")
            if best is not None and len(run.leaderboard) > 1:
                axes = draw.differences(run.leaderboard, best, objective=run.scale, rope=run.rope)
                caption = (
                    f"Each model less {best} on the same held-out rows. A bar that crosses the line leaves open which "
                    "of the two is better; inside the grey band the difference does not matter in practice."
                )
                figures["differences"] = Picture(f"Difference to {best}, the best baseline", caption, _figure(axes))
            axes = draw.leaderboard(run.leaderboard, objective=run.scale, rope=run.rope)
            caption = "Every model on the same outer folds. Intervals are corrected for overlapping training parts."
            if run.config.get("holdout"):
                caption = "Every model on the same held-out rows. Intervals are from a bootstrap of these rows."
            caption += " They are wide because rows differ; models are compared by their differences, above."
            figures["leaderboard"] = Picture("Scores", caption, _figure(axes))
        if trials := run.of_kind("trial"):
            axes = draw.best_so_far(trials, objective=run.scale, baseline=_baseline(run))
            caption = (
                "The score by which configurations were chosen, on inner folds; one grey line for each outer fold."
            )
            figures["best_so_far"] = Picture("Best score so far", caption, _figure(axes))
        final = run.final()
        if final and final.get("curve", {}).get("loss"):
            upper, _ = draw.training_curves(final["curve"])
            caption = "The network in best.keras, trained on all rows; the loss includes its penalties."
            figures["training"] = Picture("Training of the best network", caption, _figure(upper))
    return figures


def report_page(run: SearchRun, figures: dict[str, Picture]) -> str:
    """Return the page about a run."""
    content = (
        sections.scores(run, figures),
        sections.chosen(run),
        sections.search(run, figures),
        sections.data(run),
        sections.use(run),
        sections.repeat(run),
    )
    return render(
        "report.html",
        title=run.name,
        facts=sections.facts(run),
        headline=headline(run.result),
        verdict=run.result.get("verdict"),
        lead=figures.get("differences"),
        sections=[section for section in content if section is not None],
    )


def write_report(folder: str | os.PathLike[str]) -> Path:
    """Write `figures/` and `report.html` into a run folder; return the page.

    Args:
        folder: The run folder.

    Raises:
        UserError: It is not a run folder, or cannot be written.
    """
    run = load_run(folder)
    figures = draw_figures(run)
    page = run.folder / "report.html"
    try:
        for name, picture in figures.items():
            save(picture.figure, run.folder / "figures", name)
        write_text(page, report_page(run, figures))
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
