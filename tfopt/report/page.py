"""A page from a template: self-contained HTML, every text escaped, nothing loaded from anywhere."""

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tfopt._escape import printable
from tfopt.report.style import ACCENT, GREEN, GREY, INK, PALE, PAPER, WARNING, svg_text

# The figures' colours, by the page's variables, so that one SVG serves a light and a dark page.
_VARIABLES = {PAPER: "none", INK: "var(--ink)", GREY: "var(--grey)", PALE: "var(--pale)", ACCENT: "var(--accent)"}
_VARIABLES |= {WARNING: "var(--warning)", GREEN: "var(--green)"}


@dataclass(frozen=True)
class PageTable:
    """A table of a page.

    Args:
        headings: One for each column; none for a table of names and values.
        rows: The cells as text.
        text: Indices of the columns that are aligned to the left.
        marked: Indices of the rows that are set off, the networks'.
        sortable: Whether a click on a heading sorts it.
    """

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    text: Iterable[int] = (0,)
    marked: Iterable[int] = ()
    sortable: bool = True


@dataclass(frozen=True)
class Picture:
    """A figure of a page.

    Args:
        name: The stem of its files.
        title: What it shows, in a few words.
        caption: How to read it.
        figure: The figure.
        broad: Whether it has a line of its own.
    """

    name: str
    title: str
    caption: str
    figure: Figure
    broad: bool = False

    @functools.cached_property
    def drawn(self) -> str:
        """The text of its SVG file."""
        return svg_text(self.figure)

    @property
    def svg(self) -> str:
        """The figure as inline SVG in the page's own colours."""
        svg = self.drawn[self.drawn.index("<svg") :]
        start, end = svg.find("<metadata>"), svg.find("</metadata>")
        if start >= 0:
            svg = svg[:start] + svg[end + len("</metadata>") :]
        for colour, variable in _VARIABLES.items():
            svg = svg.replace(colour, variable)
        return svg.replace("<svg ", f'<svg role="img" aria-label="{escape(self.title)}" ', 1)


def picture(name: str, title: str, caption: str, axes: Axes, broad: bool = False) -> Picture:
    """Return the picture of the figure that some axes are in."""
    figure = axes.figure
    assert isinstance(figure, Figure)  # for the type checker: never a subfigure here
    return Picture(name, title, caption, figure, broad)


@dataclass
class Section:
    """A section of a page: text, then tables, pictures and commands.

    Args:
        title: Its heading.
        text: Sentences before the rest.
        tables: Tables, each with a heading or an empty text.
        pictures: Figures, beside one another where there is room.
        code: Commands or programs, each with a sentence on what it does.
        items: A list.
        note: A sentence after the rest.
        folded: Tables that are shown on a click, each with what it is called.
    """

    title: str
    text: str = ""
    tables: list[tuple[str, PageTable]] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    code: list[tuple[str, str]] = field(default_factory=list)
    items: list[str] = field(default_factory=list)
    note: str = ""
    folded: list[tuple[str, PageTable]] = field(default_factory=list)


@functools.cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("tfopt.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: printable(value, lines=True) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(template: str, **values: Any) -> str:
    """Return a template of `tfopt/report/templates` with its values filled in."""
    return _environment().get_template(template).render(values)
