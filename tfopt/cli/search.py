"""Tune Keras networks and scikit-learn models on the same folds of a table, and say which is better.

The result goes to standard output, everything else to standard error.
"""

import argparse
import importlib
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfopt.cli.parser import Parser, choice, duration, integer, names, number, size, switch
from tfopt.cli.settings import Option, add_options, from_environment, from_flags, from_toml, to_toml
from tfopt.errors import UserError, one_line
from tfopt.search import config as configuration
from tfopt.search.config import SearchConfig, default_run_folder
from tfopt.search.run_folder import check_existing, check_new
from tfopt.training import BACKENDS

if TYPE_CHECKING:
    from tfopt.search.plan import Plan
    from tfopt.search.progress import Progress

EXAMPLES = """
  tfopt search diabetes                               an embedded data set
  tfopt search houses.csv --target price              a table; the task is guessed and said
  tfopt search houses.csv --target price --dry-run    what would be done
  tfopt search digits --space wide --max-trials 30 --time-limit 10m
  tfopt search digits --space mine.py:build           your own KerasTuner build(hp)
  tfopt search --resume runs/digits__0__…             go on after Ctrl-C or kill
"""

USAGE = "tfopt search DATA [options]"

_FORMATS = ("table", "json", "csv", "md")

OPTION_GROUPS: tuple[tuple[str, tuple[Option, ...]], ...] = (
    (
        "the table",
        (
            Option("target", "column to predict; several for regression", names, "NAME[,…]", "the last column"),
            Option("task", "auto, regression or classification", choice(*configuration.TASKS), "TASK"),
            Option("drop", "columns to leave out", names, "NAME[,…]"),
            Option(
                "column",
                "what a column is, where the guess is wrong: number, decimal-comma, decimal-point, category, date, "
                "day-first, month-first, text or drop",
                names,
                "NAME=KIND[,…]",
            ),
            Option("group", "column whose rows must stay in one fold together", metavar="NAME"),
            Option("weights", "column of example weights", metavar="NAME"),
            Option(
                "time",
                "column that orders the rows: learn from the past, be scored on what follows",
                metavar="NAME",
                default_text="rows have no order",
            ),
            Option(
                "duplicates",
                "together or anywhere: whether copies of a row stay in one fold",
                choice(*configuration.DUPLICATES),
                "HOW",
            ),
            Option(
                "header",
                "whether the first line holds the names",
                choice(*configuration.HEADERS),
                default_text="guessed, and said",
                constants=(("--header", "yes"), ("--no-header", "no")),
            ),
            Option("encoding", "encoding of the file, such as gb18030", metavar="NAME", default_text="guessed"),
            Option("separator", "field separator, such as ';' or '\\t'", metavar="CHARACTER", default_text="guessed"),
        ),
    ),
    (
        "the network",
        (
            Option("space", "small, default, wide, or PATH.py:function for your own build(hp)", metavar="SPACE"),
            Option("epochs", "passes over the training rows in each fit", integer, "N", "fewer for larger tables"),
            Option(
                "target_scaling",
                "standard or none: how regression targets are scaled for the network",
                choice(*configuration.TARGET_SCALINGS),
                "HOW",
            ),
            Option(
                "class_weight",
                "balanced or none: whether each class weighs the same in training, the baselines' too",
                choice(*configuration.CLASS_WEIGHTS),
                "HOW",
            ),
            Option("seeds", "refits of the chosen network, each with its own seed", integer, "N"),
        ),
    ),
    (
        "the search",
        (
            Option("tuner", "random, grid, bayesian or hyperband", choice(*configuration.TUNERS), "TUNER"),
            Option(
                "max_trials",
                "network configurations in each outer fold",
                integer,
                "N",
                "16; the whole grid; as many as Hyperband's brackets hold",
            ),
            Option("time_limit", "time for all, baselines and refits among it: 90s, 10m, 1h", duration, "TIME", "none"),
            Option("patience", "epochs without a better validation loss that end a trial; 0 never", integer, "N"),
            Option("objective", "metric that chooses and scores", metavar="METRIC", default_text="r2 or accuracy"),
            Option("seed", "seed of folds, configurations and weights", integer, "N"),
        ),
    ),
    (
        "the comparison",
        (
            Option("baselines", "fast, all, none, or names: ridge,lasso,…", metavar="NAMES"),
            Option("folds", "outer folds; every model is scored once on each", integer, "N"),
            Option("inner_folds", "folds inside each outer training part, for choosing", integer, "N"),
            Option("repeats", "times that the outer folds are drawn", integer, "N"),
            Option("holdout", "fraction of rows held out once, instead of folds", number, "FRACTION"),
            Option("gap", "least time between training and test rows: 7d, 12h", metavar="TIME", default_text="none"),
            Option("rope", "difference that does not matter in practice, in units of the metric", number, "WIDTH"),
        ),
    ),
    (
        "the machine",
        (
            Option(
                "device",
                "auto, cpu, gpu, gpu:N or gpu:N,M; an absent one is an error; each GPU has its worker",
                metavar="DEVICE",
            ),
            Option("precision", ", ".join(configuration.PRECISIONS), choice(*configuration.PRECISIONS), "POLICY"),
            Option("deterministic", "only kernels that give the same bits each time; slower", switch),
            Option(
                "engine",
                "auto, population, shared or plain: how fits are computed; the same results up to rounding",
                choice(*configuration.ENGINES),
                "ENGINE",
            ),
            Option(
                "memory", "what fits trained together may take: 500MB, 2GB", size, "SIZE", "a quarter of what is free"
            ),
            Option(
                "workers", "processes that train networks and baselines; the same results", integer, "N", "one a core"
            ),
            Option(
                "backend",
                "loky (processes of this machine), or the cluster ray or dask at --address",
                choice(*BACKENDS),
                "NAME",
            ),
            Option("address", "where the cluster is, such as tcp://HOST:8786", metavar="ADDRESS", default_text="none"),
        ),
    ),
    (
        "the run folder",
        (
            Option("out", "where to write", metavar="DIR", default_text="runs/DATA__SEED__TIME"),
            Option("overwrite", "replace the run that is in --out", switch, environment=False),
            Option("resume", "continue an interrupted run with its own settings", metavar="DIR", environment=False),
        ),
    ),
)
_OPTIONS = tuple(option for _, options in OPTION_GROUPS for option in options)
_DATA = Option("data", "the data", environment=False)


class _Sources(argparse.Action):
    """Joins several files with commas, as a settings file writes them."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: Any = None) -> None:
        setattr(namespace, self.dest, ",".join(values))


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `tfopt search`."""
    parser.add_argument_group("the data").add_argument(
        "data",
        metavar="DATA",
        nargs="*",
        action=_Sources,
        default=argparse.SUPPRESS,
        help="diabetes, digits, breast_cancer, wine, iris, linnerud, friedman1, friedman2, friedman3, moons, "
        "openml:NAME, keras:mnist, or a CSV, TSV, Excel, JSON lines, Parquet or NPZ file; several files, or a folder, "
        "of one table; - for standard input",
    )
    defaults = SearchConfig().to_dict()
    for title, options in OPTION_GROUPS:
        add_options(parser, title, options, defaults)
    group = parser.add_argument_group("settings and output")
    group.add_argument(
        "--config", metavar="FILE", help="TOML file of settings; TFOPT_* variables and flags win over it"
    )
    group.add_argument("--print-config", action="store_true", help="print the settings as TOML for --config, and exit")
    group.add_argument("--dry-run", action="store_true", help="say what would be done, and exit")
    group.add_argument(
        "--format",
        type=choice(*_FORMATS),
        default="table",
        metavar="FORMAT",
        help="table, json, csv or md (default: table)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Search, print the leaderboard and the verdict, and return the exit code."""
    config = resolve(arguments, os.environ)
    if arguments.print_config:
        print(to_toml(config.to_dict(), (("data", (_DATA,)), *OPTION_GROUPS)), end="")
        return 0
    config.validate()
    return _dry_run(config, arguments) if arguments.dry_run else _search(config, arguments)


def resolve(arguments: argparse.Namespace, environment: Any) -> SearchConfig:
    """Merge flags, environment, config file and defaults; a resumed run brings its own settings instead."""
    options = (_DATA, *_OPTIONS)
    flags = from_flags(arguments, options)
    if "resume" in flags:
        if arguments.config:
            raise UserError("--resume keeps the settings of its run, so --config does not go with it. Leave one out.")
        return _resumed(flags)
    layers = (
        SearchConfig().to_dict(),
        from_toml(arguments.config, options) if arguments.config else {},
        from_environment(environment, options),
        flags,
    )
    return SearchConfig.from_dict({name: value for layer in layers for name, value in layer.items()})


def _resumed(flags: dict[str, Any]) -> SearchConfig:
    folder = check_existing(flags["resume"])
    try:
        stored = SearchConfig.from_dict(json.loads((folder / "config.json").read_text(encoding="utf-8")))
    except json.JSONDecodeError as error:
        raise UserError(f"{folder / 'config.json'} is damaged ({error}). Start the search anew.") from None
    if ".py:" in flags.get("space", ""):
        flags["space"] = os.path.abspath(flags["space"])
    for name, value in flags.items():
        if name not in configuration.RESUMABLE and value != getattr(stored, name):
            flag = "--" + name.replace("_", "-")
            kept = getattr(stored, name)
            raise UserError(
                f"{flag} is {'not set' if kept is None else kept} in {folder}, and a resumed run keeps its settings. "
                f"Leave {flag} out, or start a new run."
            )
    data = flags.get("data", stored.data)
    if data != stored.data and not (os.path.exists(data) and os.path.exists(stored.data)):
        raise UserError(f"{folder} is a run on {stored.data}, not on {data}. Leave {data} out, or start a new run.")
    if flags.get("overwrite"):
        raise UserError("--resume continues a run folder and --overwrite replaces it. Give one of the two.")
    if "out" in flags and Path(flags["out"]) != folder:
        raise UserError(f"--resume writes to {folder} itself, so leave --out {flags['out']} out.")
    return replace(stored, **{**flags, "out": str(folder), "overwrite": False})


def _search(config: SearchConfig, arguments: argparse.Namespace) -> int:
    from tfopt.cli import console, output
    from tfopt.cli.main import NO_NETWORK
    from tfopt.cli.startup import start
    from tfopt.search import baseline_runs

    if config.resume is None:
        config = replace(config, out=config.out or str(default_run_folder(config)))
        check_new(config.out or "", config.overwrite)
    folder = Path(config.out or "")
    progress = console.progress(arguments)
    # A matrix product of TensorFlow is divided among as many threads as it may take, and each division rounds
    # differently: with one thread a search gives the same digits for any number of workers.
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
    try:
        plan = _prepare(config, progress)
        progress.note(_in_words(plan))
        with baseline_runs.workers_of(plan.config) as workers:
            baselines = baseline_runs.BaselineRuns(plan, workers)
            if config.resume is None:  # else it is the run folder that says what is to do
                baselines.begin()
            with start(config.device, config.precision, config.deterministic, arguments.debug, workers):
                session: Any = importlib.import_module("tfopt.search.session")
            with progress:
                outcome = session.run(config, progress, plan, workers, baselines)
    except KeyboardInterrupt as interruption:
        if (folder / "config.json").exists():
            interruption.args = (f"go on with: tfopt search --resume {folder}",)
        raise
    if outcome.num_completed == 0:
        return _nothing_completed(outcome)
    output.print_result(outcome.result, arguments.format)
    if not arguments.quiet:
        if outcome.num_failed:
            trials = "1 trial" if outcome.num_failed == 1 else f"{outcome.num_failed} trials"
            console.say(f"{trials} failed; the first: {one_line(outcome.first_failure or '')}")
        if outcome.result.get("engines"):
            console.say(outcome.result["engines"])
        console.say(f"run folder: {outcome.run_folder}")
        console.say(f"  tfopt report {outcome.run_folder}            figures and report.html")
    if failure := outcome.result.get("final_failure"):
        console.say(
            f"error: the network could not be trained on all rows, so there is nothing to predict with ({failure}). "
            f"Mend that, then: tfopt search --resume {outcome.run_folder}"
        )
        return NO_NETWORK
    if not arguments.quiet:
        console.say(f"  tfopt predict {outcome.run_folder} TABLE     predictions for new rows")
    return 0


def _in_words(plan: "Plan") -> str:
    """Return in a line what a search is about to do, while TensorFlow has yet to start."""
    config, table = plan.config, plan.table
    trials = {None: "configurations of a network", 1: "1 network"}.get(
        config.max_trials, f"{config.max_trials} networks"
    )
    folds = f"{len(plan.outer)} folds" if len(plan.outer) > 1 else "one hold-out"
    workers = "one process" if config.workers == 1 else f"{config.workers} workers"
    if config.backend != "loky":
        workers = f"the workers of {config.backend} at {config.address}"
    return (
        f"{table.name}: {table.num_rows:,} rows, {len(table.columns)} columns, {table.task}; "
        f"{trials} and {len(plan.families)} baselines on {folds}, by {workers}."
    )


def _dry_run(config: SearchConfig, arguments: argparse.Namespace) -> int:
    from tfopt.cli import console, dry_run
    from tfopt.cli.startup import start

    plan = _prepare(config, console.progress(arguments))
    with start(config.device, config.precision, config.deterministic, debug=arguments.debug):
        description = dry_run.describe(plan)
    print(json.dumps(description, indent=2) if arguments.format == "json" else dry_run.as_text(description))
    return 0


def _prepare(config: SearchConfig, progress: "Progress") -> "Plan":
    from tfopt.cli.startup import start
    from tfopt.search import plan

    if config.data.startswith("keras:"):  # read by Keras itself, which is to start as quietly as it does later
        with start(config.device, config.precision, config.deterministic):
            pass
    # Before TensorFlow otherwise, which takes seconds to start: most mistakes are found here.
    return plan.prepare(config, progress)


def _nothing_completed(outcome: Any) -> int:
    from tfopt.cli import console
    from tfopt.cli.main import NO_TRIAL

    reason = one_line(outcome.first_failure or "")
    console.say(f"error: none of {outcome.num_failed} trials completed; the first failed with: {reason}")
    return NO_TRIAL
