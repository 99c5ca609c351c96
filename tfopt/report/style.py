"""How every figure looks: one accent colour, greys, fonts that know Chinese, files that can be diffed."""

import contextlib
import functools
import io
import logging
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib import font_manager
from matplotlib.figure import Figure

from tfopt._escape import printable
from tfopt._files import replace, write_text

# Okabe & Ito, "Color universal design", 2008.
ACCENT = "#0072b2"
WARNING = "#d55e00"
GREEN = "#009e73"
INK = "#1a1a1a"
GREY = "#767676"
PALE = "#d5d5d5"
PAPER = "#ffffff"

_CJK_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "Microsoft YaHei",
    "PingFang SC",
    "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei",
    "SimHei",
)
_logger = logging.getLogger("tfopt")


@functools.cache
def fonts() -> list[str]:
    """Return the font families to use: matplotlib's own, then an installed one that knows Chinese."""
    installed = set(font_manager.get_font_names())
    return ["DejaVu Sans", *(name for name in _CJK_FONTS if name in installed)]


@contextlib.contextmanager
def house_style() -> Iterator[None]:
    """Draw what is in the `with` in the house style.

    Returns:
        A context, for `with`.

    Example:
        ```python
        from matplotlib import pyplot

        with tfopt.report.house_style():
            figure, axes = pyplot.subplots()
            axes.plot([1, 2, 3])
        figure.savefig("line.svg")
        pyplot.close(figure)
        ```
    """
    settings: Any = {
        "font.family": fonts(),
        "font.size": 10,
        "axes.titlesize": 11,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": GREY,
        "axes.labelcolor": INK,
        "axes.facecolor": PAPER,
        "figure.facecolor": PAPER,
        "savefig.facecolor": PAPER,
        "text.color": INK,
        "xtick.color": GREY,
        "ytick.color": GREY,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "svg.hashsalt": "tfopt",
        "svg.fonttype": "path",
        "figure.dpi": 100,
    }
    with matplotlib.rc_context(settings), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    if any("missing from font" in str(warning.message) for warning in caught):
        _tell_of_missing_font()
    for warning in caught:
        if "missing from font" not in str(warning.message):
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


@functools.cache
def _tell_of_missing_font() -> None:
    """Say it once, not for each letter of each file."""
    _logger.warning(
        "some letters of the figures have no font: install one such as Noto Sans CJK, and remove matplotlib's list of "
        "fonts in %s",
        matplotlib.get_cachedir(),
    )


def literal(text: str) -> str:
    """Return text that matplotlib draws as it stands, dollar signs too."""
    return printable(text).replace("$", r"\$")


_HOVER = "hover: "


def hover(text: str) -> str:
    """Return the `gid` of an artist that shows this text in an SVG while the pointer is over it."""
    return _HOVER + printable(text)


def svg_text(figure: Figure) -> str:
    """Return a figure as the text of an SVG file, the same each time."""
    buffer = io.StringIO()
    with house_style():
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return re.sub(rf'<g id="{_HOVER}([^"]*)">', r"<g><title>\1</title>", buffer.getvalue())


def save(figure: Figure, folder: Path, name: str, svg: str | None = None) -> list[Path]:
    """Write a figure as PNG and SVG (`svg`, if it is drawn already), the same bytes each time; return the files."""
    files = [folder / f"{name}.png", folder / f"{name}.svg"]
    with house_style():
        replace(files[0], lambda beside: figure.savefig(beside, dpi=150, metadata={"Software": None}))
    write_text(files[1], svg or svg_text(figure))
    return files
