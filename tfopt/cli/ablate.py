"""Say which ingredients of a network help on a table: embeddings, scaling, schedule, dropout, decay and others.

Networks with half of the ingredients each, chosen so that every effect can be told from the others, are trained
together on every fold. Standard output has a sentence for each ingredient; the folder has the bar chart, the numbers,
and a search space in which what is settled is not tried again.
"""

import argparse
import dataclasses
import json
import os
from pathlib import Path
from typing import Any

from tfopt._files import write_json, write_text
from tfopt._words import choice
from tfopt.cli.parser import Parser
from tfopt.cli.settings import add_options, from_flags
from tfopt.errors import UserError, command
from tfopt.search.config import RESUMABLE, SearchConfig, default_run_folder
from tfopt.search.options import GROUPS, Option
from tfopt.search.run_folder import refuse_links

EXAMPLES = """
  tfopt ablate diabetes
  tfopt ablate houses.csv --target price --out ablations/houses
  tfopt search houses.csv --target price --space ablations/houses/space.py:build
"""
USAGE = "tfopt ablate TABLE [options]"

_LEFT_OUT = {
    *("space", "max_trials", "tuner", "time_limit", "patience", "baselines", "inner_folds", "holdout", "rope"),
    *("ensemble", "overwrite", "track", "resume"),
}
_OWN: dict[str, dict[str, Any]] = {
    "seeds": {"help": "trainings of each network, each with its own seed", "default_text": "2"},
    "out": {
        "help": "where to write; the same command goes on with what is there",
        "default_text": "ablations/DATA__SEED__TIME",
    },
}


def _groups() -> list[tuple[str, list[Option]]]:
    found = []
    for title, options in GROUPS.items():
        kept = [
            dataclasses.replace(option, **_OWN.get(option.name, {}))
            for option in options
            if option.name not in _LEFT_OUT
        ]
        found.append((title.replace("the run folder", "the folder"), kept))
    return found


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `tfopt ablate`."""
    parser.add_argument_group("the data").add_argument(
        "data", metavar="TABLE", help="embedded data set or file, as for tfopt search"
    )
    defaults = SearchConfig().to_dict()
    for title, options in _groups():
        add_options(parser, title, options, defaults)
    parser.add_argument_group("output").add_argument(
        "--format",
        type=choice("table", "json"),
        default="table",
        metavar="FORMAT",
        help="sentences (table) or json (default: table)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Train, print a sentence for each ingredient, and write the folder."""
    from tfopt.cli import console
    from tfopt.cli.startup import start
    from tfopt.search.baseline_runs import workers_of
    from tfopt.search.plan import prepare

    flags = from_flags(arguments, [option for _, options in _groups() for option in options])
    own = {"data": arguments.data, "baselines": "none", "ensemble": 0, "seeds": 2}
    config = SearchConfig.from_dict({**SearchConfig().to_dict(), **own, **flags})
    config = dataclasses.replace(config, out=config.out or os.path.join("ablations", default_run_folder(config).name))
    progress = console.progress(arguments)
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")  # the same digits for any number of workers
    plan = prepare(config, progress)
    folder = _folder(plan.config, plan.table.sha256)
    with (
        workers_of(plan.config) as workers,
        start(config.device, config.precision, config.deterministic, arguments.debug, workers),
    ):
        from tfopt.report.effects_figure import effects_figure
        from tfopt.report.style import save
        from tfopt.search.ablation import ablate, design, space_code

        try:
            with progress:
                found = ablate(plan, folder, workers, progress)
        except KeyboardInterrupt as interruption:
            interruption.args = (f"the same command with --out {folder} goes on",)
            raise
    objective, space = plan.objective.name, folder / "space.py"
    given = [option for option in GROUPS["the table"] if option.name in flags]
    of_table = [word for option in given for word in option.words(flags[option.name])]
    search = command("search", config.data, *of_table, "--space", f"{space}:build")
    rows = [
        {"ingredient": effect.ingredient.name, "effect": effect.mean, "low": effect.low, "high": effect.high}
        | {"decision": effect.decision, "sentence": effect.sentence(objective)}
        for effect in found
    ]
    write_json(folder / "effects.json", rows)
    save(effects_figure(found, objective, plan.table.name), folder, "effects")
    write_text(space, space_code(found, search))
    if arguments.format == "json":
        print(json.dumps(rows, indent=2))
    else:
        for row in rows:
            print(row["sentence"])
    if not arguments.quiet:
        networks, folds, seeds = len(design(len(found))), len(plan.outer), plan.config.seeds
        console.say(
            f"{networks} networks, {folds} folds, {seeds} seed{'s' * (seeds > 1)}: {networks * folds * seeds} fits; "
            "the intervals hold for all ingredients together"
        )
        console.say(f"folder: {folder}")
        console.say(f"  {folder / 'effects.svg'}    the bar chart")
        console.say(f"  {search}    a search without what is settled")
    return 0


def _folder(config: SearchConfig, sha256: str) -> Path:
    """Return the folder for an ablation, new or begun with the same settings and data.

    Raises:
        UserError: It holds something else.
    """
    folder = Path(config.out or "")
    mine = {name: value for name, value in config.to_dict().items() if name not in RESUMABLE} | {"sha256": sha256}
    settings = folder / "ablation.json"
    refuse_links(folder)
    if settings.is_file():
        try:
            theirs = json.loads(settings.read_text(encoding="utf-8"))
        except ValueError:
            theirs = None
        if theirs != mine:
            raise UserError(
                f"--out {folder} holds an ablation of other data or with other settings. Name another folder."
            )
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"--out {folder} holds something else than an ablation. Name another folder.")
    else:
        write_json(settings, mine)
    return folder
