"""What reading a table takes beside `pandas.read_csv`: processor seconds and memory.

    python tests/benchmarks/bench_reading.py            # all tables, 5 turns each
    python tests/benchmarks/bench_reading.py table      # the Markdown table, from the results kept

Each reading has a process of its own, after its imports; the two take turns, so that a busy machine slows both. Raw
numbers go to `results/reading.json`.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from results import RESULTS, environment, keep, markdown

ROUNDS = 5
PROGRAM = """
import json, sys, time
sys.argv[0] = "tfopt"  # as the command line starts: without TensorFlow
import pandas as pd
from tfopt.data.load import load_table
def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) / 1024
before = peak()
begun = time.process_time()
options = json.loads(sys.argv[3])
table = load_table(sys.argv[2]) if sys.argv[1] == "tfopt" else pd.read_csv(sys.argv[2], **options)
seconds = time.process_time() - begun
print(json.dumps([seconds, peak() - before]))
"""


def regular(rows: int, columns: int) -> pd.DataFrame:
    """A tenth of words, a tenth of whole numbers, the rest numbers of four digits."""
    rng = np.random.default_rng(0)
    words = np.array(["red", "green", "blue", "dark blue"])
    kinds = [rng.choice(words, rows) if place % 10 == 0 else None for place in range(columns)]
    for place in range(columns):
        if kinds[place] is None:
            whole = place % 10 == 1
            kinds[place] = rng.integers(0, 1000, rows) if whole else rng.normal(size=rows).round(4)
    return pd.DataFrame({f"c{place}": values for place, values in enumerate(kinds)})


def write(case: str, folder: Path) -> tuple[Path, dict[str, str]]:
    """Write a case's table; return its path and what pandas must be told to read it."""
    path = folder / "t.csv"
    if case == "regular":
        regular(200_000, 30).to_csv(path, index=False)
        return path, {}
    if case == "decimal commas":
        regular(200_000, 30).to_csv(path, index=False, sep=";", decimal=",")
        return path, {"sep": ";", "decimal": ","}
    if case == "3 columns of money":
        frame = regular(200_000, 30)
        for name in ("c2", "c3", "c4"):
            frame[name] = [f"${value:,.2f}" for value in frame[name] * 10_000]
        frame.to_csv(path, index=False)
        return path, {}
    regular(50, int(case.split()[0].replace(",", ""))).to_csv(path, index=False)
    return path, {}


CASES = ("regular", "decimal commas", "3 columns of money", "1,000 columns", "3,000 columns", "10,000 columns")


def measure(case: str) -> None:
    found: dict[str, list[list[float]]] = {"pandas": [], "tfopt": []}
    with tempfile.TemporaryDirectory() as folder:
        path, options = write(case, Path(folder))
        megabytes = path.stat().st_size / 1e6
        for _ in range(ROUNDS):
            for who, measured in found.items():
                command = [sys.executable, "-c", PROGRAM, who, str(path), json.dumps(options)]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                measured.append(json.loads(done.stdout))
    keep("reading", case, {"megabytes": megabytes, **found, "environment": environment("tfopt", "pandas", "pyarrow")})


def table() -> str:
    kept = json.loads((RESULTS / "reading.json").read_text(encoding="utf-8"))
    rows = []
    for case in CASES:
        medians = {
            who: [statistics.median(column) for column in zip(*kept[case][who], strict=True)]
            for who in ("pandas", "tfopt")
        }
        (slow, much), (seconds, memory) = medians["pandas"], medians["tfopt"]
        cells = [f"{slow:.2f}", f"{seconds:.2f}", f"{seconds / slow:.1f}", f"{much:.0f}", f"{memory:.0f}"]
        rows.append([f"{case}, {kept[case]['megabytes']:.0f} MB", *cells])
    return markdown(["table", "pandas, CPU-s", "tfopt, CPU-s", "ratio", "pandas, MB", "tfopt, MB"], rows)


if __name__ == "__main__":
    if sys.argv[1:] != ["table"]:
        for name in CASES:
            measure(name)
            print(name, flush=True)
    print(table())
