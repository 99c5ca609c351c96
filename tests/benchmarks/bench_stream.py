"""How much memory a search takes of data in blocks, all its processes together, and how long it takes.

    python tests/benchmarks/bench_stream.py                     # Parquet and CSV of 1 and of 2 million rows
    python tests/benchmarks/bench_stream.py "10M Parquet"       # one case: 1.8 GB in a temporary folder
    python tests/benchmarks/bench_stream.py table               # the Markdown table, from the results kept

Rows of 50 columns (45 numbers, 5 words) are drawn and written some thousand at a time. Raw numbers go to
`results/stream.json`.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from results import RESULTS, environment, keep, markdown

CASES = {f"{millions}M {how}": (millions, how) for millions in (1, 2, 10) for how in ("Parquet", "CSV")}
DEFAULT = ("1M Parquet", "1M CSV", "2M Parquet", "2M CSV")
ROWS_AT_ONCE = 100_000
OPTIONS = ["--target", "y", "--stream", "--space", "small", "--max-trials", "4", "--workers", "2"]
OPTIONS += ["--baselines", "dummy,logistic,hist_gradient_boosting"]


def part(seed: int) -> pd.DataFrame:
    """Draw rows whose class depends on products of some numbers and on a word."""
    rng = np.random.default_rng(seed)
    numbers = rng.normal(size=(ROWS_AT_ONCE, 45)).round(4)
    frame = pd.DataFrame(numbers, columns=[f"x{place}" for place in range(45)])
    words = np.array(["red", "green", "blue", "dark blue"])
    for place in range(5):
        frame[f"w{place}"] = words[rng.integers(0, len(words), ROWS_AT_ONCE)]
    said = numbers[:, 0] * numbers[:, 1] + numbers[:, 2] * numbers[:, 3] + numbers[:, 4] + (frame["w0"] == "red")
    return frame.assign(y=np.where(said + rng.normal(size=ROWS_AT_ONCE) > 0.25, "yes", "no"))


def write(folder: Path, num_rows: int, how: str) -> Path:
    path = folder / ("t.parquet" if how == "Parquet" else "t.csv")
    parts = range(num_rows // ROWS_AT_ONCE)
    if how == "CSV":
        for seed in parts:
            part(seed).to_csv(path, mode="a", header=seed == 0, index=False)
        return path
    with pq.ParquetWriter(path, pa.Table.from_pandas(part(0)).schema) as writer:
        for seed in parts:
            writer.write_table(pa.Table.from_pandas(part(seed)))
    return path


def resident(root: int) -> int:
    """Return the resident bytes of a process and of all that it has started; what they share counts for each."""
    parents, pages = {}, {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            pages[int(entry.name)] = int((entry / "statm").read_text().split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended
    total, waiting = 0, [root]
    while waiting:
        process = waiting.pop()
        total += pages.get(process, 0) * os.sysconf("SC_PAGE_SIZE")
        waiting += [child for child, parent in parents.items() if parent == process]
    return total


def measure(case: str) -> None:
    millions, how = CASES[case]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = write(folder, millions * 1_000_000, how)
        options = [*OPTIONS, "--epochs", "1" if millions == 10 else "2"]
        command = [sys.executable, "-m", "tfopt", "search", str(path), "--out", str(folder / "run"), *options]
        peak, begun = 0, time.monotonic()
        with (folder / "said.txt").open("w") as said, subprocess.Popen(command, stdout=said, stderr=said) as search:
            while search.poll() is None:
                peak = max(peak, resident(search.pid))
                time.sleep(0.1)  # between two looks
        seconds = time.monotonic() - begun
        text = (folder / "said.txt").read_text()
        if search.returncode:
            raise SystemExit(f"{case}: the search ended with {search.returncode}\n{text}")
        result = json.loads((folder / "run" / "result.json").read_text())
        measured = {
            "options": options,
            "file_bytes": path.stat().st_size,
            "peak_resident_bytes": peak,
            "seconds": round(seconds, 1),
            "rows": result["rows"],
            "stream": result["stream"],
            "scores": {row["model"]: row["score"] for row in result["leaderboard"]},
            "verdict": result["verdict"],
            "said": [line for line in text.splitlines() if name not in line],
            "environment": environment("tfopt", "tensorflow", "keras", "scikit-learn", "pandas", "pyarrow"),
        }
    keep("stream", case, measured)


def table() -> str:
    kept = json.loads((RESULTS / "stream.json").read_text(encoding="utf-8"))
    rows = []
    for case in (case for case in CASES if case in kept):
        found = kept[case]
        size, peak = found["file_bytes"] / 1e9, found["peak_resident_bytes"] / 1e9
        millions, how = CASES[case]
        rows.append([f"{millions} million, {how}", f"{size:.2f}", f"{peak:.2f}", f"{found['seconds'] / 60:.1f}"])
    return markdown(["rows of 50 columns", "file, GB", "peak memory, GB", "minutes"], rows)


if __name__ == "__main__":
    for name in sys.argv[1:] or DEFAULT:
        if name != "table":
            measure(name)
            print(name, flush=True)
    print(table())
