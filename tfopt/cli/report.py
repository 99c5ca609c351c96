"""Write one page about a run into its folder, `report.html`; of several runs, compare them too.

Works for a search that is still going or was interrupted, with what has finished so far.
"""

import argparse
import os
import sys
from typing import Any

from tfopt._escape import json_text, markdown, printable
from tfopt._words import choice
from tfopt.cli.parser import Parser

EXAMPLES = """
  tfopt report runs/diabetes__0__…               figures/ and report.html in the run folder
  tfopt report runs/small runs/wide              a page for each, and the runs side by side
  tfopt report runs/* --format md                the leaderboards as Markdown
  tfopt report runs/diabetes__0__… --format json
"""
USAGE = "tfopt report RUN [RUN …] [options]"


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `tfopt report`."""
    group = parser.add_argument_group("what to report")
    group.add_argument("runs", metavar="RUN", nargs="+", help="run folder that tfopt search made")
    group.add_argument(
        "--format",
        type=choice("html", "md", "json"),
        default="html",
        metavar="FORMAT",
        help="html writes into the run folder and prints the page's path; md and json print (default: html)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Report on each run folder."""
    os.environ["MPLBACKEND"] = "Agg"
    from tfopt.report.run import load_run

    runs = [load_run(folder) for folder in arguments.runs]
    if arguments.format == "json":
        results: list[Any] = [each.result for each in runs]
        print(json_text(results[0] if len(results) == 1 else results))
    elif arguments.format == "md":
        print("\n\n".join([*map(_markdown, runs), *([_compared(runs, to_markdown=True)] if len(runs) > 1 else [])]))
    else:
        from tfopt.report.write import write_report

        for each in runs:
            print(printable(str(write_report(each.folder))))
            sys.stdout.flush()
        if len(runs) > 1:
            print(f"\n{_compared(runs)}")
    return 0


def _compared(runs: Any, to_markdown: bool = False) -> str:
    from rich.cells import cell_len

    from tfopt.report.across import side_by_side

    headings, rows, notes = side_by_side(runs)
    if to_markdown:
        lines = ["| " + " | ".join(map(markdown, cells)) + " |" for cells in (headings, *rows)]
        lines.insert(1, "|---" * len(headings) + "|")
        return "\n".join([*lines, "", *(f"- {markdown(note)}" for note in notes)])
    shown = [[printable(cell) for cell in cells] for cells in (headings, *rows)]
    widths = [max(map(cell_len, column)) for column in zip(*shown, strict=True)]
    lines = [
        "  ".join(cell + " " * (width - cell_len(cell)) for cell, width in zip(cells, widths, strict=True)).rstrip()
        for cells in shown
    ]
    return "\n".join([*lines, "", *map(printable, notes)])


def _markdown(run: Any) -> str:
    from tfopt.report.board import Board

    verdict = run.result.get("verdict") or "The search has not ended."
    table = f"{Board(run.result).to_markdown()}\n\n" if run.leaderboard else ""
    return f"## {markdown(run.name)}\n\n{table}{markdown(verdict)}"
