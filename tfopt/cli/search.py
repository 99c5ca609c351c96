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

from tfopt._words import choice
from tfopt.cli.parser import Parser
from tfopt.cli.settings import add_options, from_environment, from_flags, from_toml, to_toml
from tfopt.errors import UserError, command, no_memory, of_system, one_line
from tfopt.search.config import SearchConfig, default_run_folder
from tfopt.search.options import DATA, GROUPS, OPTIONS, resume_command, resumed
from tfopt.search.run_folder import check_new

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
        "of one table; - for standard input; a folder of folders of images or texts, one for each class; "
        "PATH.py:function that returns (x, y), arrays of any shape",
    )
    parser.add_argument("--data", dest="data", metavar="DATA", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    defaults = SearchConfig().to_dict()
    for title, options in GROUPS.items():
        add_options(parser, title, options, defaults)
    group = parser.add_argument_group("settings and output")
    group.add_argument(
        "--config", metavar="FILE", help="TOML file of settings; TFOPT_* variables and flags win over it"
    )
    group.add_argument("--print-config", action="store_true", help="print the settings as TOML for --config, and exit")
    group.add_argument(
        "--watch", action="store_true", help="on a terminal: show the course of the best score and what is trained now"
    )
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
        print(to_toml(config.to_dict(), (("data", (DATA,)), *GROUPS.items())), end="")
        return 0
    config.validate()
    return _dry_run(config, arguments) if arguments.dry_run else _search(config, arguments)


def resolve(arguments: argparse.Namespace, environment: Any) -> SearchConfig:
    """Merge flags, environment, config file and defaults; a resumed run brings its own settings instead."""
    flags = from_flags(arguments, OPTIONS)
    if "resume" in flags:
        if arguments.config:
            raise UserError("--resume keeps the settings of its run, so --config does not go with it. Leave one out.")
        return resumed(flags)
    layers = (
        SearchConfig().to_dict(),
        from_toml(arguments.config, OPTIONS) if arguments.config else {},
        from_environment(environment, OPTIONS),
        flags,
    )
    return SearchConfig.from_dict({name: value for layer in layers for name, value in layer.items()})


def _search(config: SearchConfig, arguments: argparse.Namespace) -> int:
    from tfopt.cli import console, output, show
    from tfopt.cli.main import NO_NETWORK
    from tfopt.cli.startup import start
    from tfopt.data.examples import ExampleSet
    from tfopt.search import baseline_runs
    from tfopt.search.saved import NETWORK

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
            interruption.args = (f"go on with: {resume_command(config, folder)}",)
        raise
    except Exception as error:
        if not (isinstance(error, OSError) or no_memory(error)):
            raise
        begun = (folder / "config.json").exists()
        raise of_system(error, f"go on with: {resume_command(config, folder)}" if begun else "") from error
    if outcome.num_completed == 0:
        return _nothing_completed(outcome)
    output.print_result(outcome.result, arguments.format)
    failure = outcome.result.get("final_failure")
    kept = outcome.result.get("recommended") or NETWORK  # by the verdict
    if not arguments.quiet:
        for name, chosen in show.choices(outcome.result):
            if name == kept:
                console.say(f"{name} chose {chosen}")
        if outcome.num_failed:
            trials = "1 trial" if outcome.num_failed == 1 else f"{outcome.num_failed} trials"
            console.say(f"{trials} failed; the first: {one_line(outcome.first_failure or '')}")
        if outcome.result.get("engines"):
            console.say(outcome.result["engines"])
        console.say(f"run folder: {outcome.run_folder}")
        console.say(f"  {command('report', outcome.run_folder)}            figures and report.html")
        if kept != NETWORK or not failure:
            other = "; --model network: the network's" if kept != NETWORK and not failure else ""
            are_windows = isinstance(plan.table, ExampleSet) and plan.table.series is not None
            are_examples = isinstance(plan.table, ExampleSet) and not are_windows
            what, ones = ("EXAMPLES", "ones") if are_examples else ("TABLE   ", "rows")
            console.say(
                f"  {command('predict', outcome.run_folder)} {what}  predictions of {kept} for new {ones}{other}"
            )
            if not are_windows and (plan.stream is None or kept == NETWORK):
                console.say(f"  {command('show', outcome.run_folder, '--code')}       {kept} as a program in Python")
    if failure:
        console.say(
            f"error: the network could not be trained on all rows, so there is no network to predict with ({failure}). "
            f"Mend that, then: {resume_command(config, folder)}"
        )
        return NO_NETWORK
    return 0


def _in_words(plan: "Plan") -> str:
    """Return in a line what a search is about to do, while TensorFlow has yet to start."""
    from tfopt.data.examples import ExampleSet, in_words

    config, table = plan.config, plan.table
    of_what = in_words(table) if isinstance(table, ExampleSet) else f"rows, {len(table.columns)} columns"
    trials = {None: "configurations of a network", 1: "1 network"}.get(
        config.max_trials, f"{config.max_trials} networks"
    )
    folds = f"{len(plan.outer)} folds" if len(plan.outer) > 1 else "one hold-out"
    workers = "one process" if config.workers == 1 else f"{config.workers} workers"
    if config.backend != "loky":
        workers = f"the workers of {config.backend} at {config.address}"
    num_rows = table.num_rows if plan.stream is None else plan.stream.blocks.num_rows
    return (
        f"{table.name}: {num_rows:,} {of_what}, {table.task}; "
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
    from tfopt.data.example_folders import is_folder_of_classes
    from tfopt.data.user_file import check_file, names_python
    from tfopt.search import plan

    for option, source in (
        ("--data", config.data),
        ("--space", config.space),
        *(("--baseline", own) for own in config.baseline),
    ):
        if names_python(source):
            check_file(Path(source.rpartition(":")[0]), option)
    # Keras itself reads some, and a function of the user's own may use it: it is to start as quietly as it does later.
    if config.data.startswith("keras:") or names_python(config.data) or is_folder_of_classes(config.data):
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
