"""The leaderboard of a run as text: its columns in the order of their importance, and what they mean."""

import csv
import io
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len

from tfopt._escape import csv_cell, markdown, printable
from tfopt.baselines.families import STRONGER

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
    return f"{round(value, digits) + 0.0:.{digits}f}" if abs(value) < 10_000 else f"{value:.4g}"


def _percent(row: Row, key: str) -> str:
    value = row.get(key)
    return "" if value is None or not math.isfinite(value) else f"{100 * value:.0f}%"


def _optional(row: Row, key: str, form: str) -> str:
    value = row.get(key)
    return "" if value is None or not math.isfinite(value) else format(value, form)


def _interval(row: Row) -> str:
    return f"{figure(row.get('low'))} … {figure(row.get('high'))}"


def shown_model(name: Any) -> str:
    """Return a model's name as the leaderboard shows it."""
    return printable(re.sub(r"^network \((ensemble of (?:\d+ seeds|trials))\)$", r"\1", str(name)))


_COLUMNS = (
    BoardColumn("model", lambda row: shown_model(row["model"]), 0, right=False),
    BoardColumn("kind", lambda row: str(row["kind"]), 5, right=False),
    BoardColumn("score", lambda row: figure(row["score"]), 1),
    BoardColumn("95% interval", _interval, 2),
    BoardColumn("vs best", lambda row: BEST if row.get("is_best") else _optional(row, "difference", "+.3f"), 3),
    BoardColumn("better", lambda row: _percent(row, "p_better"), 4),
    BoardColumn("same", lambda row: _percent(row, "p_equivalent"), 4),
    BoardColumn("worse", lambda row: _percent(row, "p_worse"), 4),
    BoardColumn("p (corrected)", lambda row: _optional(row, "p_corrected", ".2g"), 7),
    BoardColumn("untuned", lambda row: _optional(row, "default_score", ".3f"), 6),
    BoardColumn("optimism", lambda row: _optional(row, "optimism", "+.3f"), 7),
    BoardColumn("90% covers", lambda row: _percent(row, "interval_coverage"), 6),
    BoardColumn("tried", lambda row: str(row.get("num_configurations") or ""), 6),
    BoardColumn("tune s", lambda row: _optional(row, "tune_seconds", ".1f"), 6),
    BoardColumn("fit s", lambda row: _optional(row, "fit_seconds", ".2g"), 7),
    BoardColumn("predict s", lambda row: _optional(row, "predict_seconds", ".1g"), 7),
)
BEST = "best"  # in the row of the baseline that the others are measured by
_COMPARED = ("difference", "p_corrected", "p_better", "p_equivalent", "p_worse")


class Board:
    """The leaderboard as people see it: the best baseline, which others are measured by, is not compared with itself.

    Args:
        result: What `result.json` holds; `leaderboard` and, where there is one, `best_baseline`.
    """

    def __init__(self, result: Mapping[str, Any]):
        self._result, self._best = result, result.get("best_baseline")
        self.rows: list[Row] = [
            {**row, **dict.fromkeys(_COMPARED), "is_best": True}
            if self._best is not None and row["model"] == self._best
            else row
            for row in result.get("leaderboard", ())
        ]

    @property
    def legend(self) -> str:
        """What the columns mean, and whether there are opponents that are not on the board."""
        result = self._result
        if not result.get("objective"):
            return ""
        sign = "negated, so that higher is better" if result.get("negated") else "higher is better"
        text = f"score: {result['objective']}, {sign}"
        if self._best:
            rope = f", within {result['rope']:.2g} being the same" if result.get("rope") is not None else ""
            text += f"; vs best: difference to {self._best}, the best baseline, and how probably better, "
            text += f"the same or worse{rope}"
        stronger = f" {STRONGER[0].upper()}{STRONGER[1:]}" if STRONGER in result.get("notes", ()) else ""
        return f"{text}.{stronger}"

    def columns(self, width: int = 10_000) -> list[BoardColumn]:
        """Return the columns that say something and fit into `width` cells together, the important ones first."""
        columns = [column for column in _COLUMNS if any(column.cell(row) for row in self.rows)]

        def total() -> int:
            return sum(max(map(cell_len, [c.heading, *(c.cell(row) for row in self.rows)])) + 2 for c in columns)

        while total() > width and any(column.rank > 1 for column in columns):
            last = max(column.rank for column in columns)
            columns = [column for column in columns if column.rank < last]
        return columns

    def to_markdown(self) -> str:
        """Return the leaderboard as a Markdown table."""
        columns = self.columns()
        lines = [
            "| " + " | ".join(column.heading for column in columns) + " |",
            "|" + "|".join("---:" if column.right else "---" for column in columns) + "|",
        ]
        for row in self.rows:
            lines.append("| " + " | ".join(markdown(column.cell(row)) for column in columns) + " |")
        return "\n".join(lines)


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
