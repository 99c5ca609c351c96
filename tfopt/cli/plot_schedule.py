"""Draw learning-rate schedules: in the terminal, as a picture, or as numbers.

The formulas are written once, in `keras.ops`; so this command loads TensorFlow, which takes some seconds.
"""

import argparse
import ast
import csv
import sys
from pathlib import Path
from typing import Any

from tfopt._words import integer, number
from tfopt.cli.parser import Parser
from tfopt.errors import UserError

EXAMPLES = """
  tfopt plot-schedule cosine
  tfopt plot-schedule warmup_cosine --steps 10000 -p warmup_steps=500 -p alpha=0.1
  tfopt plot-schedule 'warmup(500) + cosine(9500)' --compare linear rex -o schedules.svg
  tfopt plot-schedule one_cycle --csv > one_cycle.csv
  tfopt plot-schedule --list                all names with a sparkline each
"""
USAGE = "tfopt plot-schedule [SCHEDULE] [options]"
_BARS = "▁▂▃▄▅▆▇█"
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DIRECT_LABELS = 5
_COMPOSED = ["warmup(100) + cosine", "linear * cyclical"]


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `tfopt plot-schedule`."""
    what = parser.add_argument_group("what to draw")
    what.add_argument("schedule", nargs="?", metavar="SCHEDULE", help="a name, or parts such as 'warmup(500) + cosine'")
    what.add_argument(
        "-p",
        action="append",
        default=[],
        dest="parameters",
        metavar="NAME=VALUE",
        help="an argument of the schedule; repeatable",
    )
    what.add_argument(
        "--compare", nargs="+", default=[], metavar="SCHEDULE", help="further schedules in the same picture"
    )
    what.add_argument("--steps", type=integer, default=1000, metavar="N", help="optimizer steps (default: 1000)")
    what.add_argument(
        "--learning-rate", type=number, default=1.0, metavar="RATE", help="the highest value (default: 1)"
    )
    what.add_argument("--list", action="store_true", help="show every name with a sparkline")
    what.add_argument("--gallery", action="store_true", help="draw every schedule, each in a panel; needs -o")
    how = parser.add_argument_group("how to show it")
    how.add_argument("-o", "--output", metavar="FILE", help="write a picture (.svg, .png, .pdf)")
    how.add_argument("--csv", action="store_true", help="print step and value in columns")


def run(arguments: argparse.Namespace) -> int:
    """Print a sparkline or a table, or write a picture."""
    if arguments.steps < 1:
        raise UserError(f"--steps must be >= 1 (received {arguments.steps}).")
    if not arguments.learning_rate >= 0:
        raise UserError(f"--learning-rate must be >= 0 (received {arguments.learning_rate:g}).")
    if not (arguments.schedule or arguments.list or arguments.gallery):
        raise UserError("which schedule? Give a name, or --list for all of them.")
    if arguments.gallery and not arguments.output:
        raise UserError("--gallery needs a file to write: -o gallery.svg.")
    output = None if arguments.output is None else check_picture(arguments.output)
    parameters = dict(map(_parameter, arguments.parameters))
    from tfopt.cli.startup import start

    with start("cpu", debug=arguments.debug):
        from tfopt.schedules.expressions import parse
        from tfopt.schedules.registry import names

    if arguments.list or arguments.gallery:
        wanted = names() + (_COMPOSED if arguments.gallery else [])
    else:
        wanted = [arguments.schedule, *arguments.compare]
    curves = {}
    for i, text in enumerate(wanted):
        schedule = parse(text, arguments.learning_rate, arguments.steps, parameters if i == 0 else None)
        curves[text] = schedule.curve(arguments.steps + 1)
    if output is not None:
        save(_gallery(curves) if arguments.gallery else _lines(curves), output)
        print(output)
    elif arguments.csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(["step", *curves])
        writer.writerows(zip(range(arguments.steps + 1), *(curve.tolist() for curve in curves.values()), strict=True))
    else:
        width = max(map(len, curves))
        for text, curve in curves.items():
            ends = "" if arguments.list else f"  {curve[0]:.3g} … {curve.max():.3g} … {curve[-1]:.3g}"
            print(f"{text:<{width}}  {sparkline(curve, 40)}{ends}")
    return 0


def sparkline(curve: Any, width: int) -> str:
    """Return the array `curve` as one line of block characters, 0 being the lowest."""
    places = _places(len(curve), width)
    top = curve.max() or 1.0
    return "".join(_BARS[min(int(value / top * len(_BARS)), len(_BARS) - 1)] for value in curve[places])


def _places(count: int, most: int) -> list[int]:
    """Return at most `most` indices, evenly over all of `count`."""
    chosen = min(count, most)
    return [round(i * (count - 1) / max(chosen - 1, 1)) for i in range(chosen)]


def _parameter(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UserError(f"-p takes name=value (received {text!r}).")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def _lines(curves: dict[str, Any]) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    ax = figure.add_subplot()
    for i, (text, curve) in enumerate(curves.items()):
        ax.plot(curve, color=_COLORS[i % len(_COLORS)], label=text)
        if len(curves) <= _DIRECT_LABELS:
            place = _apart(curve, [other for name, other in curves.items() if name != text])
            ax.annotate(text, (place, curve[place]), (4, 4), textcoords="offset points", color=_COLORS[i])
    if len(curves) > _DIRECT_LABELS:
        ax.legend(frameon=False)
    ax.set(xlabel="optimizer step", ylabel="learning rate", ylim=(0, None), xlim=(0, None))
    ax.spines[["top", "right"]].set_visible(False)
    return figure


def _apart(curve: Any, others: list[Any]) -> int:
    """Return the step, not too near the right edge, at which a curve is farthest from all others."""
    places = [place for place in _places(len(curve), 101) if place <= 0.75 * len(curve)]
    return max(places, key=lambda place: min((abs(other[place] - curve[place]) for other in others), default=0.0))


def _gallery(curves: dict[str, Any]) -> Any:
    from matplotlib.figure import Figure

    columns = 5
    rows = -(-len(curves) // columns)
    figure = Figure(figsize=(2.2 * columns, 1.5 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey=True).ravel()
    for ax, (text, curve) in zip(axes, curves.items(), strict=False):
        places = _places(len(curve), 129)
        ax.plot(places, curve[places], color=_COLORS[0], linewidth=1.4)
        ax.set_title(text, fontsize=8)
        ax.tick_params(labelsize=6)
        ax.spines[["top", "right"]].set_visible(False)
    for ax in axes[len(curves) :]:
        ax.set_visible(False)
    figure.supxlabel("optimizer step", fontsize=8)
    figure.supylabel("learning rate", fontsize=8)
    return figure


def check_picture(name: str) -> Path:
    """Return the path of a picture that can be written, before anything slow is done for it."""
    path = Path(name)
    if path.suffix.lower() not in (".svg", ".png", ".pdf"):
        raise UserError(f"cannot write a picture to {name!r}. End the name in .svg, .png or .pdf.")
    if not path.parent.is_dir():
        raise UserError(f"there is no folder {str(path.parent)!r} to write {path.name!r} into.")
    return path


def save(figure: Any, path: Path) -> None:
    """Write a figure; an SVG is the same, byte for byte, each time."""
    import matplotlib

    fixed = {"Date": None} if path.suffix.lower() == ".svg" else None
    with matplotlib.rc_context({"svg.hashsalt": "tfopt", "svg.fonttype": "none"}):
        figure.savefig(path, metadata=fixed, dpi=120)
