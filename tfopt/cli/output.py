"""The result of a search as a table for people, or as JSON, CSV or Markdown for programs."""

import csv
import io
import json
import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tfopt._escape import csv_cell, json_text, markdown, printable

Row = Mapping[str, Any]


@dataclass(frozen=True)
class BoardColumn:
    """A column of the leaderboard.

    Args:
        heading: Its heading.
        cell: Text of one row's cell; empty where the row has nothing to say.
        rank: Importance; where the terminal is narrow the highest numbers go first.
        right: Whether it is aligned to the right.
    """

    heading: str
    cell: Callable[[Row], str]
    rank: int
    right: bool = True


def figure(value: Any, digits: int = 3) -> str:
    """Return a number with `digits` decimals, `–` for what is missing or not a number."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:.{digits}f}" if abs(value) < 10_000 else f"{value:.4g}"


def _percent(row: Row, key: str) -> str:
    value = row.get(key)
    return "" if value is None or not math.isfinite(value) else f"{100 * value:.0f}%"


def _optional(row: Row, key: str, form: str) -> str:
    value = row.get(key)
    return "" if value is None or not math.isfinite(value) else format(value, form)


def _interval(row: Row) -> str:
    return f"{figure(row.get('low'))} … {figure(row.get('high'))}"


def _model(row: Row) -> str:
    return printable(re.sub(r"^network \((ensemble of \d+ seeds)\)$", r"\1", str(row["model"])))


LEADERBOARD = (
    BoardColumn("model", _model, 0, right=False),
    BoardColumn("kind", lambda row: str(row["kind"]), 5, right=False),
    BoardColumn("score", lambda row: figure(row["score"]), 1),
    BoardColumn("95% interval", _interval, 2),
    BoardColumn("vs best", lambda row: _optional(row, "difference", "+.3f"), 3),
    BoardColumn("better", lambda row: _percent(row, "p_better"), 4),
    BoardColumn("same", lambda row: _percent(row, "p_equivalent"), 4),
    BoardColumn("worse", lambda row: _percent(row, "p_worse"), 4),
    BoardColumn("p (Holm)", lambda row: _optional(row, "p_holm", ".2g"), 7),
    BoardColumn("untuned", lambda row: _optional(row, "default_score", ".3f"), 6),
    BoardColumn("optimism", lambda row: _optional(row, "optimism", "+.3f"), 7),
    BoardColumn("tried", lambda row: str(row.get("num_configurations") or ""), 6),
    BoardColumn("tune s", lambda row: _optional(row, "tune_seconds", ".1f"), 6),
    BoardColumn("fit s", lambda row: _optional(row, "fit_seconds", ".2g"), 7),
    BoardColumn("predict s", lambda row: _optional(row, "predict_seconds", ".1g"), 7),
)
_COMPARED = ("difference", "p_holm", "p_better", "p_equivalent", "p_worse")


def shown_rows(result: Mapping[str, Any]) -> list[Row]:
    """Return the leaderboard as people see it: the best baseline is not compared with itself."""
    best = result.get("best_baseline")
    return [
        {**row, **dict.fromkeys(_COMPARED)} if best is not None and row["model"] == best else row
        for row in result.get("leaderboard", ())
    ]


def legend(result: Mapping[str, Any]) -> str:
    """Return what the columns mean, in a sentence."""
    if not result.get("objective"):
        return ""
    sign = "negated, so that higher is better" if result.get("negated") else "higher is better"
    text = f"score: {result['objective']}, {sign}"
    if result.get("best_baseline"):
        rope = f", within {result['rope']:.2g} being the same" if result.get("rope") is not None else ""
        text += f"; vs best: difference to {result['best_baseline']}, and how probably better, the same or worse{rope}"
    return text + "."


def print_result(result: Mapping[str, Any], format: str) -> None:
    """Write a result to standard output as `table`, `json`, `csv` or `md`."""
    if format == "json":
        print(json_text(result))
    elif format == "csv":
        print(to_csv(result["leaderboard"]), end="")
    elif format == "md":
        print(f"{to_markdown(shown_rows(result))}\n\n{markdown(legend(result))}\n\n{markdown(result['verdict'])}")
    else:
        print_table(result)


def print_table(result: Mapping[str, Any], width: int | None = None) -> None:
    """Write the leaderboard and the verdict under it, no wider than the terminal."""
    console = Console(file=sys.stdout, highlight=False, width=width)
    rows = shown_rows(result)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    columns = fitting(rows, console.width)
    for column in columns:
        table.add_column(column.heading, justify="right" if column.right else "left", no_wrap=True)
    for row in rows:
        style = "green" if row["kind"] == "keras" else ""
        table.add_row(*(Text(column.cell(row)) for column in columns), style=style)
    console.print(table)
    if legend(result):
        console.print(Text(printable(legend(result)), style="dim"))
    console.print()
    console.print(Text(printable(str(result["verdict"])), style="bold"))


def fitting(rows: Sequence[Row], width: int) -> list[BoardColumn]:
    """Return the columns that say something and fit into `width` cells together, the important ones first."""
    columns = [column for column in LEADERBOARD if any(column.cell(row) for row in rows)]

    def total() -> int:
        return sum(max(map(cell_len, [c.heading, *(c.cell(row) for row in rows)])) + 2 for c in columns)

    while total() > width and any(column.rank > 1 for column in columns):
        last = max(column.rank for column in columns)
        columns = [column for column in columns if column.rank < last]
    return columns


def as_text(rows: Sequence[Row]) -> list[list[str]]:
    """Return the leaderboard's headings and cells, every column that says something."""
    columns = fitting(rows, 10_000)
    return [[column.heading for column in columns], *([column.cell(row) for column in columns] for row in rows)]


def to_csv(rows: Sequence[Row]) -> str:
    """Return the rows as CSV with every key that any of them has; nested values as JSON."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(keys)
    for row in rows:
        cells = [
            "" if (c := row.get(key)) is None else json.dumps(c) if isinstance(c, dict | list) else c for key in keys
        ]
        writer.writerow([csv_cell(cell) if isinstance(cell, str) else cell for cell in cells])
    return text.getvalue()


def to_markdown(rows: Sequence[Row]) -> str:
    """Return the leaderboard as a Markdown table."""
    columns = fitting(rows, 10_000)
    lines = [
        "| " + " | ".join(column.heading for column in columns) + " |",
        "|" + "|".join("---:" if column.right else "---" for column in columns) + "|",
    ]
    lines += ["| " + " | ".join(markdown(column.cell(row)) for column in columns) + " |" for row in rows]
    return "\n".join(lines)
