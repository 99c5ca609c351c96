"""Keep what searches found, from their run folders, for the table of docs/comparison.md and the board of README.md.

for data in diabetes digits breast_cancer wine friedman1; do tfopt search $data --space mlp --out runs/$data; done
tfopt search diabetes --out runs/board
python tests/benchmarks/search_table.py runs/board runs/diabetes runs/digits runs/breast_cancer runs/wine runs/friedman1
python tests/benchmarks/write_tables.py
"""

import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any

from results import RESULTS, keep, markdown, processor

from tfopt.cli.output import print_table

_KEPT = ("model", "score", "low", "high", "difference", "difference_low", "difference_high", "p_corrected")


def kept(folder: Path) -> dict[str, Any]:
    """Return what is kept of a run: every row of its leaderboard, the outcome, the seconds, and where it ran."""
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    facts = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
    rows = [{name: row.get(name) for name in _KEPT} for row in result["leaderboard"]]
    names = ("objective", "network", "best_baseline", "outcome", "seconds")
    return {
        **{name: result[name] for name in names},
        "leaderboard": rows,
        "environment": {
            "date": facts["started"][:10],
            "cores": facts["cores"],
            "processor": processor(),
            "versions": facts["versions"],
        },
    }


def printed(folder: Path) -> str:
    """Return what a search printed, on a terminal of 80 columns."""
    with contextlib.redirect_stdout(io.StringIO()) as board:
        print_table(json.loads((folder / "result.json").read_text(encoding="utf-8")), width=80)
    return board.getvalue()


def board() -> str:
    """Return what the search of the README prints."""
    found = json.loads((RESULTS / "board.json").read_text(encoding="utf-8"))["diabetes"]
    return f"```text\n{found.rstrip()}\n```"


def table() -> str:
    """Return the table of the searches kept."""
    lines = []
    searches = json.loads((RESULTS / "searches.json").read_text(encoding="utf-8"))
    for data, found in searches.items():
        rows = {row["model"]: row for row in found["leaderboard"]}
        network, baseline = rows[found["network"]], rows[found["best_baseline"]]
        low, high = network["difference_low"], network["difference_high"]
        lines.append(
            [
                f"{data}, {found['objective']}",
                f"{network['score']:.3f}",
                f"{baseline['model']} {baseline['score']:.3f}",
                f"{network['difference']:+.3f} ({low:+.3f} … {high:+.3f})",
                found["outcome"],
                f"{found['seconds']:.0f}",
            ]
        )
    heading = ["data", "network", "best baseline", "difference (95 % interval)", "verdict", "seconds"]
    facts = next(iter(searches.values()))["environment"]
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    return f"{markdown(heading, lines)}\n\n{facts['date']}, {facts['cores']} cores ({facts['processor']}); {versions}."


if __name__ == "__main__":
    for run in map(Path, sys.argv[1:]):
        if run.name == "board":
            keep("board", "diabetes", printed(run))
        else:
            keep("searches", run.name, kept(run))
