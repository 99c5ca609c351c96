"""A run's figures and its page, written into its folder."""

import os
from pathlib import Path

from tfopt._files import write_text
from tfopt.errors import UserError
from tfopt.report import sections
from tfopt.report.errors import errors
from tfopt.report.headline import headline
from tfopt.report.matters import matters
from tfopt.report.page import Picture, Section, render
from tfopt.report.run import SearchRun, load_run
from tfopt.report.style import house_style, save
from tfopt.search.run_folder import refuse_links


def report_sections(run: SearchRun) -> list[Section]:
    """Return what there is to say about a run; the first section leads the page."""
    with house_style():
        found = (
            sections.lead(run),
            sections.scores(run),
            matters(run),
            errors(run),
            sections.chosen(run),
            sections.hyperparameters(run),
            sections.search(run),
            sections.data(run),
            sections.use(run),
            sections.repeat(run),
        )
    return [section for section in found if section is not None]


def draw_figures(run: SearchRun) -> dict[str, Picture]:
    """Return the figures that the run has data for, by the name of their files."""
    return _pictures(report_sections(run))


def write_report(folder: str | os.PathLike[str]) -> Path:
    """Write `figures/` and `report.html` into a run folder; return the page.

    Args:
        folder: The run folder.

    Returns:
        Path of the page.

    Raises:
        UserError: It is not a run folder, or cannot be written.

    Example:
        ```python
        print(tfopt.report.write_report("runs/iris").name)  # report.html
        ```
    """
    run = load_run(folder)
    refuse_links(run.folder)
    found = report_sections(run)
    text = render(
        "report.html",
        title=run.name,
        facts=sections.facts(run),
        headline=headline(run.result),
        verdict=run.result.get("verdict"),
        sections=found,
    )
    page = run.folder / "report.html"
    try:
        for name, picture in _pictures(found).items():
            save(picture.figure, run.folder / "figures", name, picture.drawn)
        write_text(page, text)
    except OSError as error:
        raise UserError(f"the report cannot be written into {run.folder}: {error.strerror}.") from None
    return page


def _pictures(found: list[Section]) -> dict[str, Picture]:
    return {picture.name: picture for section in found for picture in section.pictures}
