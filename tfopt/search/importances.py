"""`importance.json`: what the columns matter to the network and to the best baseline, side by side."""

import functools
from typing import Any

from tfopt._files import write_json
from tfopt.baselines.final import importance_in_worker
from tfopt.comparison import Comparison
from tfopt.comparison.importance import MOST_COLUMNS, Probe, summarize
from tfopt.data.examples import ExampleSet
from tfopt.search.nested import NetworkSearch
from tfopt.search.plan import Fold
from tfopt.search.saved import IMPORTANCE_FILE
from tfopt.training.workers import Call, Shared, Workers


def write_importance(search: NetworkSearch, comparison: Comparison, workers: Workers) -> None:
    """Measure the best baseline as the network was measured when it was refitted, and write both."""
    plan = search.plan
    probes = [search.probe(fold) for fold in plan.outer]
    if probes[0] is None:
        if isinstance(plan.table, ExampleSet):
            return  # pixels and words are no columns
        search.say(f"importance of columns: not measured beyond {MOST_COLUMNS} columns")
        return
    folds: dict[str, list[dict[str, Any]]] = {}
    networks = search.importances() if comparison.network is not None else []
    if networks:
        folds["network"] = networks
    if comparison.best_baseline is not None:
        if not search.time_is_up:
            also = sorted({name for found in networks for name in found["effects"]})
            folds["baseline"] = _of_baseline(search, comparison.best_baseline, probes, also, workers)
        else:
            search.say(f"The time limit leaves out what the columns matter to {comparison.best_baseline}.")
    if not folds:
        return
    by = "baseline" if comparison.recommended == comparison.best_baseline and "baseline" in folds else "network"
    by = by if by in folds else next(iter(folds))
    table = plan.table
    test_to_train = sum(len(fold.test) for fold in plan.outer) / sum(len(fold.train) for fold in plan.outer)
    names = {"network": comparison.network, "baseline": comparison.best_baseline}
    write_json(
        search.folder / IMPORTANCE_FILE,
        {
            "objective": plan.objective.name,
            "models": {role: names[role] for role in folds},
            "sorted_by": by,
            "rows": sum(len(probe.rows) for probe in probes if probe is not None),
            "repeats": probes[0].repeats,
            "outputs": list(table.target_names if table.task == "regression" else table.classes),
            **summarize(table, folds, probes[0], test_to_train, by),
        },
    )


def _of_baseline(
    search: NetworkSearch, name: str, probes: list[Probe | None], also: list[str], workers: Workers
) -> list[dict[str, Any]]:
    """Return what `measure` finds of a family in each fold: fitted there once more with what it had chosen."""
    plan, journal = search.plan, search.journal
    [family] = [family for family in plan.families if family.name == name]
    table = Shared(plan.table)

    def told(fold: Fold, found: dict[str, Any] | None, error: Exception | None) -> None:
        if error is not None:
            raise error
        journal.append({"kind": "importance", "model": name, "fold": fold.key, "found": found})
        ended.append(fold)

    ended = [fold for fold in plan.outer if journal.find("importance", model=name, fold=fold.key) is not None]
    for fold, probe in zip(plan.outer, probes, strict=True):
        if fold in ended:
            continue
        chosen = journal.find("baseline", model=name, fold=fold.key)
        assert chosen is not None
        inner, seed = list(fold.inner), plan.config.seed
        arguments = (family, chosen["chosen"], fold.train, inner, plan.objective, seed, probe, also)
        done = functools.partial(told, fold)
        workers.submit(Call(importance_in_worker, arguments, done, table, kind="importance"))
    while len(ended) < len(plan.outer):
        workers.wait()
    records = [journal.find("importance", model=name, fold=fold.key) for fold in plan.outer]
    return [record["found"] for record in records if record is not None]
