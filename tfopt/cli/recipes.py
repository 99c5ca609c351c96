"""List the recipes, run one, or write their tables: each tests what the textbooks claim, on data.

Without a word after it, the command lists name, seconds, verdicts and question of each recipe.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from tfopt._private.tensorflow_messages import is_chatter
from tfopt._words import choice
from tfopt.cli.parser import Parser
from tfopt.errors import UserError
from tfopt.report import catalogue

EXAMPLES = """
  tfopt recipes
  tfopt recipes run dropout
  tfopt recipes run dropout --help                         what this recipe takes
  tfopt recipes run dropout --data table.csv --target label
  tfopt recipes table runs                                 for tfopt's own tree: results to recipes/README.md
"""
USAGE = "tfopt recipes [options] [list | run NAME [recipe's options] | table [RUNS]]"


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `tfopt recipes`."""
    parser.add_argument(
        "action", nargs="?", type=choice("list", "run", "table"), default="list", metavar="ACTION",
        help="list (the default), run, or table: take over the results of whole runs in the folder RUNS, if it is "
        "given, and write recipes/README.md and README.zh-CN.md",
    )  # fmt: skip
    parser.add_argument("name", nargs="?", metavar="NAME", help="the recipe to run, or RUNS")
    parser.add_argument("rest", nargs=argparse.REMAINDER, metavar="...", help="the recipe's own options")


def run(arguments: argparse.Namespace) -> int:
    """List, run or write the table."""
    if arguments.action == "run":
        if arguments.name is None:
            raise UserError("which recipe? `tfopt recipes` lists them.")
        return _run(arguments.name, arguments.rest, arguments.debug)
    if arguments.rest or (arguments.action == "list" and arguments.name):
        surplus = (arguments.rest or [arguments.name])[0]
        raise UserError(f"unexpected argument {surplus!r}. `tfopt recipes --help` shows what it takes.")
    if arguments.action == "table":
        return _table(None if arguments.name is None else Path(arguments.name))
    return _list()


def _list() -> int:
    recipes = catalogue.load()
    width = max(map(len, recipes))
    print(f"{'recipe':<{width}}  seconds  holds  not  can't tell  question")
    for recipe in recipes.values():
        if recipe.result is None:
            numbers = f"{'not run yet':>31}"
        else:
            counts = [recipe.counts.get(verdict, 0) for verdict in catalogue.VERDICTS]
            numbers = f"{recipe.result['seconds']:7.0f}  {counts[0]:5}  {counts[1]:3}  {counts[2]:10}"
        print(f"{recipe.name:<{width}}  {numbers}  {recipe.question}")
    return 0


def _run(name: str, words: list[str], debug: bool) -> int:
    """Run the recipe as a program of its own, as its header says, and return its exit code."""
    recipe = catalogue.find(name)
    paths = [str(Path(catalogue.__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),  # this tfopt, installed or not
        "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "3"),
    }
    sys.stdout.flush()
    with subprocess.Popen([sys.executable, str(recipe.path), *words], env=environment, stderr=subprocess.PIPE) as child:
        try:
            for line in child.stderr or ():
                if debug or not is_chatter(line):
                    print(line.decode(errors="replace"), end="", file=sys.stderr, flush=True)
        except BaseException:
            child.terminate()  # what ends this process ends the recipe too
            raise
    return child.returncode if child.returncode >= 0 else 128 - child.returncode  # as a shell names a signal


def _table(runs: Path | None) -> int:
    where = catalogue.folder()
    if not (where.parent / "pyproject.toml").is_file():
        raise UserError(f"the tables belong to tfopt's source tree, and {where} is an installed copy.")
    if runs is not None:
        print(f"results: {', '.join(catalogue.collect(runs, where))}")
    for language, name in catalogue.LANGUAGES.items():
        (where / name).write_text(catalogue.readme(language, where), encoding="utf-8")
        print(where / name)
    return 0
