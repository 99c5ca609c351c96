"""Trained vectors in place of one-hots for categories of more than eight levels: outer scores of untuned networks.

    python tests/benchmarks/bench_categories.py FOLDER      # goes on where it was stopped; then write_tables.py

FOLDER holds the tables, of the public repositories mwaskom/seaborn-data and jbrownlee/Datasets. A line of
`results/categories.jsonl` is what one network scored on one table with one seed of folds, with and without vectors.
"""

import argparse
import functools
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import bench_tables
import keras
import numpy as np
from bench_tables import FOLDS, TEST_TO_TRAIN, Line, append, kept, plan_of, processor_seconds, untuned
from results import RESULTS, describe, environment, markdown

from tfopt.comparison import paired_difference
from tfopt.models import tabm
from tfopt.search import spaces
from tfopt.search.spaces import SPACES, Space

RAW = RESULTS / "categories.jsonl"
SEEDS = 3
TABLES: dict[str, dict[str, Any]] = {
    "adult": {"data": "adult-train.csv", "header": "no"},
    "auto imports": {"data": "auto_imports.csv", "header": "no"},
    "breast-cancer": {"data": "breast-cancer.csv", "header": "no"},
    "german": bench_tables.TABLES["german"],
    "taxis, fare": bench_tables.TABLES["taxis"],
    "taxis, tip": {"data": "taxis.csv", "target": "tip", "drop": ["total"]},
}


def realmlp_without_vectors(hp: Any, problem: Any) -> keras.Model:
    """Return the searched RealMLP, not told which columns are one category's."""
    return SPACES["realmlp"](hp, replace(problem, one_hots=()))


def tabm_with_vectors(hp: Any, problem: Any) -> keras.Model:
    """Return the searched TabM, which has one-hots as in its paper, with RealMLP's vectors."""
    network = functools.partial(tabm, one_hots=problem.one_hots, max_one_hot=8)
    with mock.patch.object(spaces, "tabm_network", network):
        return SPACES["tabm"](hp, problem)


NETWORKS: dict[str, dict[str, Callable[..., keras.Model]]] = {
    "realmlp": {"vectors": SPACES["realmlp"], "one-hots": realmlp_without_vectors},
    "tabm": {"vectors": tabm_with_vectors, "one-hots": SPACES["tabm"]},
}
TITLES = {"realmlp": "RealMLP", "tabm": "TabM"}


def run(folder: Path) -> None:
    """Measure what is missing, one seed of folds after another."""
    done = {(line.get("table"), line.get("seed"), line.get("network")) for line in kept(RAW)}
    append(RAW, {"environment": environment("tfopt", "tensorflow", "keras", "scikit-learn")})
    with tempfile.TemporaryDirectory() as drawn:
        for seed in range(SEEDS):
            for name, settings in TABLES.items():
                plan = plan_of(settings, seed, folder, Path(drawn))
                levels = [column.num_levels for column in plan.table.columns if column.num_levels > 8]
                for network, builds in NETWORKS.items():
                    if (name, seed, network) in done:
                        continue
                    line: Line = {"table": name, "seed": seed, "network": network, "objective": plan.objective.name}
                    line |= {"rows": plan.table.num_rows, "levels": levels}
                    for how, build in builds.items():
                        begun = processor_seconds()
                        line[how] = untuned(plan, Space(network, build))["network"]
                        line[f"{how}, seconds"] = processor_seconds() - begun
                    append(RAW, line)
                    print(f"{name} {seed} {network}", flush=True)


def table() -> str:
    """Return the scores with and without vectors, and the paired difference with its corrected interval."""
    lines = kept(RAW)
    facts = next(line["environment"] for line in lines if "environment" in line)
    rows = []
    for network, title in TITLES.items():
        for name in TABLES:
            measured = [line for line in lines if (line.get("table"), line.get("network")) == (name, network)]
            first = measured[0]
            before, after = (np.concatenate([line[how] for line in measured]) for how in ("one-hots", "vectors"))
            least = 1 / first["rows"] if first["objective"] == "accuracy" else 0.0
            lead = paired_difference(after, before, TEST_TO_TRAIN, rope=0.01, least_error=least)
            shown = [f"{before.mean():.3f}", f"{after.mean():.3f}", f"{lead.mean:+.3f} ± {lead.high - lead.mean:.3f}"]
            of_levels = ", ".join(map(str, first["levels"]))
            rows.append([f"{title}, {name}", of_levels, first["objective"], *shown])
    heading = ["network, table", "levels", "score", "one-hots", "vectors", "difference"]
    return f"{markdown(heading, rows)}\n\n{SEEDS} seeds of {FOLDS} folds. {describe(facts)}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of the tables")
    run(parser.parse_args().folder)
