"""Networks beside scikit-learn, LightGBM and CatBoost on twelve tables: outer scores with intervals, ranks, seconds.

    python tests/benchmarks/bench_tables.py FOLDER      # goes on where it was stopped; then write_tables.py

FOLDER holds the seven tables that tfopt does not bring, of the public repositories mwaskom/seaborn-data and
jbrownlee/Datasets. Needs `pip install 'tfopt[boosting]'`. All of it is one process with one thread for each fit; a line
of `results/tables.jsonl` is what one contestant did on one table with one seed of folds, and no line is measured twice.
"""

import argparse
import contextlib
import functools
import json
import os
import random
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from results import RESULTS, describe, environment, markdown
from scipy.stats import rankdata

from tfopt.baselines import select_families, tune
from tfopt.comparison import Interval, PairedDifference, mean_interval, paired_difference
from tfopt.models import realmlp_s
from tfopt.search.config import SearchConfig
from tfopt.search.journal import Journal
from tfopt.search.nested import NetworkSearch
from tfopt.search.oracles import default_values
from tfopt.search.plan import Plan, prepare
from tfopt.search.progress import Progress
from tfopt.search.spaces import SPACES, Space

RAW = RESULTS / "tables.jsonl"
FOLDS, INNER_FOLDS, SEEDS = 3, 2, 3
CONFIGURATIONS = 11  # the default MLP and the portfolio's ten
TEST_TO_TRAIN = 1 / (FOLDS - 1)
MOST_ROWS = 2_000  # of a longer file as many lines are drawn

# The portfolio's list was chosen by inner scores on the first four; the other eight had no part in it.
CHOSEN_ON = ("pima", "housing", "tips", "german")
TABLES: dict[str, dict[str, Any]] = {
    "tips": {"data": "tips.csv", "target": "tip"},
    "diabetes": {"data": "diabetes"},
    "iris": {"data": "iris"},
    "horse-colic": {"data": "horse-colic.csv", "header": "no", "target": "column_24", "drop": ["column_3"]},
    "wine": {"data": "wine"},
    "housing": {"data": "housing.csv", "header": "no"},
    "breast_cancer": {"data": "breast_cancer"},
    "pima": {"data": "pima-indians-diabetes.csv", "header": "no"},
    "german": {"data": "german.csv", "header": "no"},
    "banknote": {"data": "banknote_authentication.csv", "header": "no"},
    "taxis": {"data": "taxis.csv", "target": "fare", "drop": ["total"]},
    "digits": {"data": "digits"},
}
# A contestant of the table: what is measured, and the model in it.
CONTESTANTS = {
    "plain MLP": ("mlp", "network"),
    "RealMLP-S, untuned": ("realmlp_s", "network"),
    "RealMLP, untuned": ("realmlp", "network"),
    "TabM, untuned": ("tabm", "network"),
    "portfolio": ("default", "network"),
    "ensemble": ("default", "network (ensemble of trials)"),
    "scikit-learn": ("scikit-learn", "best"),
    "LightGBM": ("lightgbm", "lightgbm"),
    "CatBoost": ("catboost", "catboost"),
}
MEASURED = tuple(dict.fromkeys(what for what, _ in CONTESTANTS.values()))
Line = dict[str, Any]


def small_realmlp(hp: Any, problem: Any) -> Any:
    """Return RealMLP-S at the widths of the searched networks."""
    steps = problem.total_steps(hp.Fixed("batch_size", 32 if problem.table_rows < 2000 else 64))
    return realmlp_s(
        problem.columns, problem.task, steps, problem.num_outputs, units=128, num_layers=2, scaling=False, metrics=[]
    )


def space_of(name: str) -> Space:
    """Return a space of tfopt's, or that of the small RealMLP."""
    return Space(name, small_realmlp if name == "realmlp_s" else SPACES[name])


def searched(plan: Plan, space: str, ensemble: int) -> dict[str, list[float]]:
    """Search a space in every fold, and return the scores of what was chosen and of the ensemble of trials, if any."""
    plan = replace(plan, config=replace(plan.config, ensemble=ensemble))
    with opened(plan, space_of(space)) as search:
        search.search()
        search.refit()
        found: dict[str, list[float]] = {}
        for result in search.outer_results():
            found.setdefault(result.model, []).append(result.score)
        return found


def untuned(plan: Plan, space: Space) -> dict[str, list[float]]:
    """Train a space's default on every fold."""
    with opened(plan, space) as search:
        scores = search.scores_of({"default": default_values(search.hyperparameters)}, 1)
        return {"network": scores[0, :, 0].tolist()}


@contextlib.contextmanager
def opened(plan: Plan, space: Space) -> Iterator[NetworkSearch]:
    """Yield a `NetworkSearch` of a plan, in a folder of its own that is gone afterwards."""
    search = NetworkSearch(plan, space)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "predictions").mkdir()
        search.open(Journal(Path(folder) / "trials.jsonl"), Path(folder), Progress())
        yield search


def tuned(plan: Plan, names: str) -> dict[str, list[float]]:
    """Tune families in every fold; `best` is, fold by fold, the one with the best inner score: no outer row chooses."""
    families = select_families(names, plan.table.task, plan.objective, plan.table.num_rows)
    found = {
        family.name: [
            tune(family, plan.table, place, split, list(fold.inner), plan.objective, seed=plan.config.seed)
            for place, (fold, split) in enumerate(zip(plan.outer, plan.splits, strict=True))
        ]
        for family in families
        if family.name != "dummy" and (names != "fast" or family.library is None)
    }
    best = [max(results, key=lambda result: result.inner_score).score for results in zip(*found.values(), strict=True)]
    return {"best": best} | {name: [result.score for result in results] for name, results in found.items()}


MEASURES = {
    "mlp": functools.partial(searched, space="mlp", ensemble=0),
    "default": functools.partial(searched, space="default", ensemble=6),
    **{name: functools.partial(untuned, space=space_of(name)) for name in ("realmlp_s", "realmlp", "tabm")},
    "scikit-learn": functools.partial(tuned, names="fast"),
    **{name: functools.partial(tuned, names=name) for name in ("lightgbm", "catboost")},
}


def plan_of(settings: dict[str, Any], seed: int, folder: Path, drawn: Path, inner_folds: int = INNER_FOLDS) -> Plan:
    """Return the plan of a table's comparison; a long file is cut to `MOST_ROWS` lines, the same for every seed."""
    settings = dict(settings)
    if settings["data"].endswith(".csv"):
        path = folder / settings["data"]
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        if len(lines) > MOST_ROWS:
            header = [] if settings.get("header") == "no" else lines[:1]
            rows = random.Random(0).sample(lines[len(header) :], MOST_ROWS)
            path = drawn / path.name
            path.write_text("".join(header + rows), encoding="utf-8")
        settings["data"] = str(path)
    for option in ("target", "drop"):
        if isinstance(settings.get(option), str):
            settings[option] = [settings[option]]
    asked = {"folds": FOLDS, "inner_folds": inner_folds, "max_trials": CONFIGURATIONS, "seeds": 1, "workers": 1}
    config = SearchConfig.from_dict({**SearchConfig().to_dict(), **settings, **asked, "seed": seed})
    return prepare(config)


def processor_seconds() -> float:
    """Return what this process and its children have taken, in user and in system."""
    return sum(os.times()[:4])


def kept(raw: Path) -> list[Line]:
    """Return the lines that were measured."""
    return [json.loads(line) for line in raw.read_text(encoding="utf-8").splitlines()] if raw.exists() else []


def append(raw: Path, line: Line) -> None:
    """Write a line at the end."""
    with raw.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def run(folder: Path, tables: list[str]) -> None:
    """Measure what is missing, one seed of folds after another."""
    done = {(line.get("table"), line.get("seed"), line.get("measured")) for line in kept(RAW)}
    append(RAW, {"environment": environment("tfopt", "tensorflow", "keras", "scikit-learn", "lightgbm", "catboost")})
    with tempfile.TemporaryDirectory() as drawn:
        for seed in range(SEEDS):
            for name in tables:
                wanted = [what for what in MEASURED if (name, seed, what) not in done]
                plan = plan_of(TABLES[name], seed, folder, Path(drawn)) if wanted else None
                for what in wanted:
                    begun, wall = processor_seconds(), time.monotonic()
                    scores = MEASURES[what](plan)
                    line = {"table": name, "seed": seed, "measured": what, "objective": plan.objective.name}
                    line |= {"rows": plan.table.num_rows, "scores": scores}
                    line |= {"cpu_seconds": processor_seconds() - begun, "wall_seconds": time.monotonic() - wall}
                    append(RAW, line)
                    print(f"{name} {seed} {what}: {line['cpu_seconds']:.0f} s of processor", flush=True)


@dataclass(frozen=True)
class Found:
    """What the contestants scored on a table, on the folds of every seed that is complete."""

    objective: str
    rows: int
    scores: dict[str, list[float]]

    @property
    def least_error(self) -> float:
        """What one row more or less would change: scores that count rows are often equal on every fold."""
        return 1 / self.rows if self.objective == "accuracy" else 0.0

    def interval(self, contestant: str) -> Interval:
        """Return a contestant's mean score with its corrected interval."""
        return mean_interval(np.array(self.scores[contestant]), TEST_TO_TRAIN, least_error=self.least_error)

    def lead_over(self, opponent: str, contestant: str = "portfolio") -> PairedDifference:
        """Return how far the portfolio's network, or another contestant, is ahead of an opponent."""
        first, second = np.array(self.scores[contestant]), np.array(self.scores[opponent])
        return paired_difference(first, second, TEST_TO_TRAIN, rope=0.01, least_error=self.least_error)


def table() -> str:
    """Return the table of what is complete, which of the goals are met, and where it was measured."""
    lines = kept(RAW)
    where = " ".join(dict.fromkeys(describe(line["environment"]) for line in lines if "environment" in line))
    measured = [line for line in lines if "table" in line]
    found = _found(measured)
    rows = []
    for name, of in found.items():
        intervals = map(of.interval, CONTESTANTS)
        shown = [f"{interval.mean:.3f} ± {interval.high - interval.mean:.3f}" for interval in intervals]
        rows.append([f"{name} \\*" if name in CHOSEN_ON else name, of.objective, *shown])
    others = {name: of for name, of in found.items() if name not in CHOSEN_ON}
    for which, some in (("all", found), ("without a star", others)):
        ranks, normal = _standing(some.values())
        rows.append([f"**mean rank, {which}**", "", *(f"{rank:.2f}" for rank in ranks.values())])
        rows.append([f"**normalised score, {which}**", "", *(f"{score:.2f}" for score in normal.values())])
    for unit, key in (("processor", "cpu_seconds"), ("wall", "wall_seconds")):
        rows.append([f"**{unit} seconds**", "", *(f"{value:.0f}" for value in _seconds(measured, found, key))])
    seeds = [len(of.scores["portfolio"]) // FOLDS for of in found.values()]
    covered = ", ".join(f"{seeds.count(number)} by {number} of {SEEDS}" for number in sorted(set(seeds)))
    missing = f" To be measured: {', '.join(sorted(TABLES.keys() - found.keys()))}." if len(found) < len(TABLES) else ""
    return "\n\n".join(
        [
            markdown(["table", "score", *CONTESTANTS], rows),
            goals(found),
            f"Tables by seeds of folds: {covered}.{missing} {where}",
        ]
    )


def goals(found: dict[str, Found]) -> str:
    """Return which of the goals set beforehand are met."""
    ranks, _ = _standing(found.values())
    place = sorted(ranks.values()).index(ranks["ensemble"]) + 1
    leads = {name: of.lead_over("scikit-learn") for name, of in found.items()}
    lost = "".join(f", {name} lost by {-lead.mean:.3f}" for name, lead in leads.items() if lead.high < 0)
    network, ensemble = (_against_mlp(found, contestant) for contestant in ("portfolio", "ensemble"))
    lines = [
        f"the ensemble has the best mean rank: {_met(place == 1)}, it is number {place} of {len(ranks)}",
        "the portfolio's network ties with or beats the best scikit-learn model on every table, within the interval of "
        f"the difference: {_met(not lost)}, on {sum(lead.high >= 0 for lead in leads.values())} of {len(found)}{lost}",
        f"in the mean it is better than the plain MLP on at least 9 of 12 tables: {_met(network[0] >= 9)}, better on "
        "{}, level on {}, worse on {}; its ensemble is better on {}, level on {}, worse on {}".format(
            *network, *ensemble
        ),
    ]
    return "Goals that were set beforehand:\n\n" + "\n".join(f"- {line}." for line in lines)


def _against_mlp(found: dict[str, Found], contestant: str) -> tuple[int, int, int]:
    """Return on how many tables a contestant is better than the plain MLP, level and worse."""
    ahead = [round(of.lead_over("plain MLP", contestant).mean, 6) for of in found.values()]
    return sum(lead > 0 for lead in ahead), ahead.count(0), sum(lead < 0 for lead in ahead)


def _met(is_met: bool) -> str:
    return "met" if is_met else "**not met**"


def _found(measured: list[Line]) -> dict[str, Found]:
    by_place = {(line["table"], line["seed"], line["measured"]): line for line in measured}
    found: dict[str, Found] = {}
    for name in sorted(TABLES):
        for seed in range(SEEDS):
            lines = [by_place.get((name, seed, what)) for what in MEASURED]
            if None in lines:
                continue
            first = by_place[name, seed, MEASURED[0]]
            of = found.setdefault(name, Found(first["objective"], first["rows"], {each: [] for each in CONTESTANTS}))
            for contestant, (what, model) in CONTESTANTS.items():
                of.scores[contestant] += by_place[name, seed, what]["scores"][model]
    return found


def _standing(found: Iterable[Found]) -> tuple[dict[str, float], dict[str, float]]:
    """Return the contestants' mean ranks over tables, and their mean scores where 0 is the worst and 1 the best."""
    means = np.array([[np.mean(of.scores[contestant]) for contestant in CONTESTANTS] for of in found])
    ranks = rankdata(-means.round(6), axis=1).mean(axis=0)
    low, high = means.min(axis=1, keepdims=True), means.max(axis=1, keepdims=True)
    normal = ((means - low) / np.maximum(high - low, 1e-12)).mean(axis=0)
    return dict(zip(CONTESTANTS, ranks, strict=True)), dict(zip(CONTESTANTS, normal, strict=True))


def _seconds(measured: list[Line], found: dict[str, Found], key: str) -> list[float]:
    """Return what each contestant took on a table, in the mean."""
    of: dict[str, list[float]] = {what: [] for what in MEASURED}
    for line in measured:
        if line["table"] in found:
            of[line["measured"]].append(line[key])
    return [float(np.mean(of[what])) for what, _ in CONTESTANTS.values()]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of the seven tables")
    parser.add_argument("--only", nargs="+", choices=TABLES, default=list(TABLES), help="these tables")
    arguments = parser.parse_args()
    files = [TABLES[name]["data"] for name in arguments.only if TABLES[name]["data"].endswith(".csv")]
    if lacking := [file for file in files if not (arguments.folder / file).exists()]:
        parser.error(f"{arguments.folder} lacks {', '.join(lacking)}. See --help for where they are from.")
    run(arguments.folder, arguments.only)
