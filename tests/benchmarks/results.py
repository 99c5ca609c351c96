"""Where benchmarks keep what they measured, and how it becomes a table: raw numbers lie in `results/` as JSON."""

import datetime
import importlib.metadata
import json
import os
import platform
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def environment(*packages: str) -> dict[str, Any]:
    """Return the machine, the date and the versions that a measurement was taken with."""
    named = packages or ("tfopt", "tensorflow", "keras", "keras-tuner", "scikit-learn", "numpy", "optuna")
    versions = {}
    for package in named:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "date": datetime.date.today().isoformat(),
        "cores": os.cpu_count(),
        "processor": processor(),
        "load": f"{os.getloadavg()[0]:.1f}",
        "python": platform.python_version(),
        "versions": versions,
    }


def processor() -> str:
    """Return the processor's name."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def keep(name: str, case: str, measured: Any) -> None:
    """Put a case's measurement into `results/NAME.json`, in place of an earlier one."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    kept[case] = measured
    path.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def markdown(heading: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table whose first column is text and whose others are numbers."""
    lines = ["| " + " | ".join(heading) + " |", "|---|" + "---:|" * (len(heading) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def with_part(page: str, part: str, text: str) -> str:
    """Return a page with a text between its comments `<!-- PART: begin -->` and `<!-- PART: end -->`."""
    begin, end = f"<!-- {part}: begin -->\n", f"<!-- {part}: end -->"
    before, _, rest = page.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise ValueError(f"The page must hold {begin.strip()} and {end}.")
    return f"{before}{begin}\n{text.strip()}\n\n{end}{after}"


def write_into(page: Path, part: str, text: str) -> None:
    """Put a text between the comments of a part of a page of docs/."""
    page.write_text(with_part(page.read_text(encoding="utf-8"), part, text), encoding="utf-8")


def describe(facts: dict[str, Any]) -> str:
    """Return one line about where and when something was measured."""
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    machine = f"{facts['cores']} cores ({facts['processor']}), load at the start {facts['load']}"
    return f"{facts['date']}, {machine}; {versions}."
