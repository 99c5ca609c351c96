"""Print the README's table of searches: the network beside the best baseline, a line for each run folder.

for data in diabetes digits breast_cancer wine friedman1; do tfopt search $data --out runs/$data; done
python tests/benchmarks/search_table.py runs/diabetes runs/digits runs/breast_cancer runs/wine runs/friedman1
"""

import json
import sys
from pathlib import Path
from typing import Any

HEADINGS = ("data", "metric", "network", "best baseline", "difference (95 % interval)", "verdict", "seconds")


def line(folder: Path) -> list[str]:
    """Return one run's cells."""
    result: dict[str, Any] = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    rows = {row["model"]: row for row in result["leaderboard"]}
    network, baseline = rows[result["network"]], rows[result["best_baseline"]]
    return [
        result["data"],
        result["objective"],
        f"{network['score']:.3f}",
        f"{baseline['model']} {baseline['score']:.3f}",
        f"{network['difference']:+.3f} ({network['difference_low']:+.3f} … {network['difference_high']:+.3f})",
        result["outcome"],
        f"{result['seconds']:.0f}",
    ]


def main() -> None:
    """Print the table."""
    print("| " + " | ".join(HEADINGS) + " |")
    print("|---|---|---:|---|---|---|---:|")
    for folder in sys.argv[1:]:
        print("| " + " | ".join(line(Path(folder))) + " |")


if __name__ == "__main__":
    main()
