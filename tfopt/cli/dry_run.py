"""What a search would do, as a description: the table, the folds, the space and the number of fits."""

import shutil
import textwrap
from collections import Counter
from typing import TYPE_CHECKING, Any

from tfopt._escape import printable
from tfopt.search.tries import as_text as configuration

if TYPE_CHECKING:
    from tfopt.search.plan import Plan

_LISTED = 12


def describe(plan: "Plan") -> dict[str, Any]:
    """Return the plan of a search, JSON-safe. Builds the space's default model, so TensorFlow must have started."""
    from tfopt.data.examples import ExampleSet, in_words
    from tfopt.search.nested import NetworkSearch
    from tfopt.search.oracles import grid_size
    from tfopt.search.user_space import load_space

    table, config = plan.table, plan.config
    search = NetworkSearch(plan, load_space(config.space))
    hyperparameters = search.hyperparameters
    size = grid_size(hyperparameters)
    trials = size if config.tuner == "grid" and config.max_trials is None else config.max_trials
    inner = len(plan.final.inner)
    # Refits of each fold's choice, default and, at most, ensemble; then every distinct choice on all rows, and the best
    # of them and the ensemble trained.
    others = len(plan.outer) * (config.seeds + 1 + inner + config.ensemble) + 1 + config.ensemble
    return {
        "data": table.name,
        **({"examples": in_words(table)} if isinstance(table, ExampleSet) else {}),
        "rows": table.num_rows if plan.stream is None else plan.stream.blocks.num_rows,
        "columns": [
            {"name": c.name, "kind": c.kind, "levels": c.num_levels or None, "missing": c.has_missing}
            for c in table.columns
        ],
        "task": table.task,
        "target": list(table.target_names),
        "classes": list(table.classes),
        "objective": plan.objective.name,
        "outer_folds": len(plan.outer),
        "inner_folds": inner,
        "forward_in_time": table.times is not None,
        "space": config.space,
        "hyperparameters": [parameter.name for parameter in hyperparameters.space],
        "grid_points": size,
        "trials_per_fold": trials,
        "tried_first": search.known,
        "epochs": config.epochs,
        "network_fits": None if trials is None else trials * inner * len(plan.outer) + others,
        "baselines": [family.name for family in plan.families],
        "baseline_fits": sum(_baseline_fits(plan)),
        "notes": [*table.notes, *search.notes],
    }


def _baseline_fits(plan: "Plan") -> list[int]:
    """Return the fits of each family: its grid on the inner folds, the refit of the choice, and the default."""
    from sklearn.model_selection import ParameterGrid

    from tfopt.baselines.models import tunable
    from tfopt.baselines.setting import Setting

    counts = []
    for family in plan.families:
        for fold in plan.outer:
            setting = Setting.of(plan.table, len(fold.train), fold.inner, plan.config.seed)
            how = tunable(family, setting)
            tried = len(ParameterGrid(how.grid)) if how.grid else 1
            counts.append(min(tried, how.num_draws or tried) * len(fold.inner) + 2)
    return counts


def as_text(plan: dict[str, Any]) -> str:
    """Return a plan for people."""
    columns = plan["columns"]
    kinds = Counter(column["kind"] for column in columns)
    named = [_column(column) for column in columns]
    more = f", and {len(named) - _LISTED} more" if len(named) > _LISTED else ""
    target = ", ".join(plan["target"])
    classes = f" ({', '.join(plan['classes'][:_LISTED])})" if plan["classes"] else ""
    outer = f"{plan['outer_folds']} outer" if plan["outer_folds"] > 1 else "one hold-out"
    trials = plan["trials_per_fold"] or "as many as Hyperband's brackets hold, each"
    fits = f"up to {plan['network_fits']:,}" if plan["network_fits"] else "not known beforehand"
    points = "combinations, a continuous range counted as ten"
    width = f"{len(columns)} column{'s' * (len(columns) != 1)}"
    lines = [
        ("table", f"{plan['data']}: {plan['rows']:,} rows, {width} ({_counted(kinds)})"),
        ("columns", ", ".join(named[:_LISTED]) + more),
    ]
    if "examples" in plan:
        lines = [("data", f"{plan['data']}: {plan['rows']:,} {plan['examples']}")]
    lines += [
        ("task", f"{plan['task']} of {target}{classes}, scored by {plan['objective']}"),
        ("folds", f"{outer}, {plan['inner_folds']} inner in each{', forward in time' * plan['forward_in_time']}"),
        (
            "space",
            f"{plan['space']}: {len(plan['hyperparameters'])} hyperparameters, {plan['grid_points']:.3g} {points}",
        ),
        ("trials", f"{trials} in each of {plan['outer_folds']} outer folds, {plan['epochs']} epochs"),
        *(("first", configuration(values)) for values in plan["tried_first"]),
        ("baselines", ", ".join(plan["baselines"]) or "none"),
        ("fits", f"{fits} of the network, {plan['baseline_fits']:,} of the baselines"),
    ]
    terminal = max(shutil.get_terminal_size((100, 24)).columns, 40)
    return "\n".join(
        textwrap.fill(f"{name:<11}{printable(text)}", terminal, subsequent_indent=" " * 11) for name, text in lines
    )


def _column(column: dict[str, Any]) -> str:
    levels = f", {column['levels']} levels" if column["levels"] else ""
    return f"{column['name']} ({column['kind']}{levels}{', gaps' if column['missing'] else ''})"


def _counted(kinds: Counter) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
