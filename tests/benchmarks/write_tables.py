"""Write every table of numbers of docs/ and the READMEs from raw output that is committed, or check that they agree.

python tests/benchmarks/write_tables.py          # write
python tests/benchmarks/write_tables.py --check  # exit 1 and name the tables that say something else

The raw output is in tests/benchmarks/results/, and of other libraries' schedules in tests/schedules/anchors.json. What
a table lacks is measured by the command that stands in its place; then this is run again.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bench_categories
import bench_reading
import bench_search
import bench_stream
import bench_tables
import bench_workers
import replay_racing
import search_table
import simulate_verdict
from results import RESULTS, describe, markdown, with_part

DOCS = Path(__file__).parents[2] / "docs"
ANCHORS = Path(__file__).parents[1] / "schedules" / "anchors.json"


def _kept(name: str) -> dict[str, Any]:
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def engines() -> str:
    """Return what `bench_engines.py grid` kept: seconds a trial, medians over repeats."""
    rows = []
    for case, found in _kept("engines").items():
        seconds = [f"{statistics.median(found['seconds'][engine]):.3f}" for engine in ("shared", "population")]
        rows.append([case, *seconds, found["auto"], str(len(found["seconds"]["shared"]))])
    heading = ["seconds a trial, builds included, traces not", "shared", "population", "`auto` takes", "repeats"]
    facts = next(iter(_kept("engines").values()))["environment"]
    return f"{markdown(heading, rows)}\n\n{describe(facts)}"


def gradient_norms() -> str:
    """Return what `bench_gradient_norms.py` kept: a step's milliseconds, and what callbacks add to it."""
    kept = _kept("gradient_norms")
    names = list(next(iter(kept.values()))["milliseconds"])
    medians = {
        case: {n: statistics.median(v) for n, v in found["milliseconds"].items()} for case, found in kept.items()
    }
    rows = [["a step without callbacks", *(f"{found['none']:.3f} ms" for found in medians.values())]]
    for name in names[1:]:
        base = "clipping" if name.startswith("clipping,") else "none"
        rows.append([name, *(f"{100 * (found[name] / found[base] - 1):+.1f} %" for found in medians.values())])
    facts = next(iter(kept.values()))["environment"]
    return f"{markdown(['medians of interleaved blocks', *kept], rows)}\n\n{describe(facts)}"


def conformance() -> str:
    """Return how far tfopt's schedules are from what other libraries' said, as a share of the peak."""
    from tfopt import schedules  # here, because the other tables need no TensorFlow

    apart: dict[str, list[float]] = {}
    for anchor in json.loads(ANCHORS.read_text(encoding="utf-8")):
        curve = schedules.deserialize(anchor["tfopt"]).curve(anchor["steps"])
        far = max(abs(float(one) - other) for one, other in zip(curve, anchor["values"], strict=True))
        apart.setdefault(anchor["library"].partition("+")[0], []).append(far / max(anchor["values"]))
    rows = [[library, str(len(all_)), f"{max(all_):.1e}"] for library, all_ in apart.items()]
    return markdown(["library", "curves", "largest difference"], rows)


# Page, part, raw output, what makes the table of it, and the command that measures.
TABLES: tuple[tuple[str, str, str, Callable[[], str], str], ...] = (
    ("benchmarks.md", "search", "search", bench_search.table, "bench_search.py run all"),
    ("benchmarks.md", "engines", "engines", engines, "bench_engines.py grid"),
    ("benchmarks.md", "gradient norms", "gradient_norms", gradient_norms, "bench_gradient_norms.py"),
    ("benchmarks.md", "workers", "workers", bench_workers.table, "bench_workers.py calls --workers 8 1"),
    ("large-data.md", "stream", "stream", bench_stream.table, "bench_stream.py"),
    ("reading-tables.md", "reading", "reading", bench_reading.table, "bench_reading.py"),
    ("tabular-networks.md", "tables", "tables", bench_tables.table, "bench_tables.py FOLDER"),
    ("tabular-networks.md", "categories", "categories", bench_categories.table, "bench_categories.py FOLDER"),
    ("search.md", "racing", "racing", lambda: replay_racing.table(_kept("racing")), "replay_racing.py FOLDER"),
    ("comparison.md", "searches", "searches", search_table.table, "search_table.py runs/*"),
)


def tables() -> Iterator[tuple[Path, str, str]]:
    """Yield page, part and text of every table."""
    for page, part, raw, made, command in TABLES:
        measured = any(RESULTS.glob(f"{raw}.json*"))
        yield DOCS / page, part, made() if measured else f"To be measured: `python tests/benchmarks/{command}`."
    yield DOCS / "pieces.md", "conformance", conformance()
    for readme in ("README.md", "README.zh-CN.md"):
        yield DOCS.parent / readme, "board", search_table.board()
    for part, text in simulate_verdict.tables(_kept("verdict")).items():
        yield simulate_verdict.PAGE, part, text


def stale() -> list[str]:
    """Return the tables that differ from their raw output."""
    found = []
    for page, part, text in tables():
        now = page.read_text(encoding="utf-8")
        if with_part(now, part, text) != now:
            found.append(f"{page.name}: {part}")
    return found


def main() -> None:
    """Write or check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing")
    if parser.parse_args().check:
        sys.exit("\n".join(stale()) or None)
    for page, part, text in tables():
        page.write_text(with_part(page.read_text(encoding="utf-8"), part, text), encoding="utf-8")


if __name__ == "__main__":
    main()
