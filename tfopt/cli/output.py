"""The result of a search as a table for people, or as JSON, CSV or Markdown for programs."""

import sys
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tfopt._escape import json_text, markdown, printable
from tfopt.report.board import Board, to_csv


def print_result(result: Mapping[str, Any], format: str) -> None:
    """Write a result to standard output as `table`, `json`, `csv` or `md`."""
    if format == "json":
        print(json_text(result))
    elif format == "csv":
        print(to_csv(result["leaderboard"]), end="")
    elif format == "md":
        board = Board(result)
        print(f"{board.to_markdown()}\n\n{markdown(board.legend)}\n\n{markdown(result['verdict'])}")
    else:
        print_table(result)


def print_table(result: Mapping[str, Any], width: int | None = None) -> None:
    """Write the leaderboard and the verdict under it, no wider than the terminal."""
    console, board = Console(file=sys.stdout, highlight=False, width=width), Board(result)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    columns = board.columns(console.width)
    for column in columns:
        table.add_column(column.heading, justify="right" if column.right else "left", no_wrap=True)
    for row in board.rows:
        style = "green" if row["kind"] == "keras" else ""
        table.add_row(*(Text(column.cell(row)) for column in columns), style=style)
    console.print(table)
    if board.legend:
        console.print(Text(printable(board.legend), style="dim"))
    console.print()
    console.print(Text(printable(str(result["verdict"])), style="bold"))
