"""List the recipes, find one, run one, or replicate them: each tests what the textbooks claim, on data.

Without a word after it, the command lists name, seconds, verdicts and question of each recipe.
"""

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from tfopt._private.tensorflow_messages import is_chatter
from tfopt._words import choice
from tfopt.cli.parser import Parser
from tfopt.errors import UserError
from tfopt.report import catalogue

EXAMPLES = """
  tfopt recipes
  tfopt recipes find LinearDecay                           which recipe, which claim; English or Chinese
  tfopt recipes run dropout
  tfopt recipes run dropout --help                         what this recipe takes
  tfopt recipes run dropout --data table.csv --target label
  tfopt recipes replicate dropout overfitting              each with three blocks of seeds, results to runs/
  tfopt recipes replicate                                  all that are not done; for tfopt's own tree: the pages too
  tfopt recipes table                                      for tfopt's own tree: the pages, from runs/ and what is there
"""
USAGE = "tfopt recipes [options] [list | find WORD | run NAME [recipe's options] | replicate [NAME...] | table [RUNS]]"


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `tfopt recipes`."""
    parser.add_argument(
        "action", nargs="?", type=choice("list", "find", "run", "replicate", "table"), default="list", metavar="ACTION",
        help="list (the default); find the recipes and claims that a WORD is about; run one; replicate: run recipes, "
        "or all, with three blocks of seeds that share none, those that are not done, and write their pages; table: "
        "take over the results of the folder RUNS (default: runs) and write recipes/README.md and README.zh-CN.md",
    )  # fmt: skip
    parser.add_argument("name", nargs="?", metavar="NAME", help="the recipe to run, the WORD, or RUNS")
    parser.add_argument(
        "rest", nargs=argparse.REMAINDER, action=_Rest, metavar="...", help="the recipe's own options; further NAMEs"
    )


class _Rest(argparse.Action):
    """The words after NAME. Options among them are the recipe's own where one is run, and tfopt's nowhere."""

    def __call__(
        self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: str | None = None
    ) -> None:
        options = (
            [] if namespace.action == "run" and namespace.name else [one for one in values if one[:1] == "-" != one]
        )
        if {"-h", "--help"} & set(options):
            parser.print_help()
            parser.exit()
        if options:
            raise UserError(f"{options[0]} comes too late. Options of tfopt stand before {namespace.action!r}.")
        namespace.rest = values


def run(arguments: argparse.Namespace) -> int:
    """List, find, run, replicate or write the tables."""
    name, rest = arguments.name, arguments.rest
    if arguments.action == "run":
        if name is None:
            raise UserError("which recipe? `tfopt recipes` lists them.")
        return _run(name, rest, arguments.debug)
    if arguments.action == "replicate":
        return _replicate([] if name is None else [name, *rest], arguments.debug)
    if arguments.action == "find":
        if name is None:
            raise UserError("find what? Give a word, an identifier or a formula: `tfopt recipes find LinearDecay`.")
        return _find(" ".join([name, *rest]))
    if rest or (arguments.action == "list" and name):
        raise UserError(f"unexpected argument {(rest or [name])[0]!r}. `tfopt recipes --help` shows what it takes.")
    return _table(Path("runs" if name is None else name)) if arguments.action == "table" else _list()


def _list() -> int:
    recipes = catalogue.load()
    width = max(map(len, recipes))
    print(f"{'recipe':<{width}}  seconds  holds  not  can't tell  question")
    for recipe in recipes.values():
        if recipe.seconds is None:
            numbers = f"{'not run yet':>31}"
        elif catalogue.NOT_REPEATED in recipe.counts:
            numbers = f"{recipe.seconds:7.0f}  {catalogue.NOT_REPEATED:>22}"
        else:
            counts = [recipe.counts.get(verdict, 0) for verdict in catalogue.VERDICTS]
            numbers = f"{recipe.seconds:7.0f}  {counts[0]:5}  {counts[1]:3}  {counts[2]:10}"
        print(f"{recipe.name:<{width}}  {numbers}  {recipe.question}")
    return 0


def _find(word: str) -> int:
    found = catalogue.search(word)
    if not found:
        raise UserError(f"no recipe is about {word!r}. Try another word, or `tfopt recipes` for the list.")
    chinese = catalogue.in_chinese() if re.search("[\u4e00-\u9fff]", word) else None
    words = catalogue.page_words("en" if chinese is None else "zh")
    for recipe, claim in found:
        text, verdict, what = recipe.question, "", f"tfopt recipes run {recipe.name}"
        if claim is not None:
            text, verdict, what = claim.text, words["verdicts"][claim.verdict] + words["colon"], claim.id
        if chinese is not None:
            text = chinese["questions" if claim is None else "claims"].get(recipe.name if claim is None else what, text)
        print(f"{recipe.name}: {verdict}{text} ({what})")
    return 0


def _replicate(names: list[str], debug: bool) -> int:
    """Run recipes with every block of seeds; what is done already is not run again."""
    recipes = [catalogue.find(name) for name in names] or list(catalogue.load().values())
    runs, failed = Path("runs"), []
    todo = [(recipe, block) for recipe in recipes for block in range(catalogue.BLOCKS)
            if catalogue.finished(recipe, runs, block) is None]  # fmt: skip
    print(f"{len(todo)} of {catalogue.BLOCKS * len(recipes)} runs to do")
    for number, (recipe, block) in enumerate(todo, 1):
        print(f"\n=== {number} of {len(todo)}: {recipe.name}, block {block}", flush=True)
        seed = ["--seed", str(block)] if block else []
        if _run(recipe.name, [*seed, "--out", str(catalogue.block_folder(runs, recipe.name, block))], debug):
            failed.append(f"{recipe.name} (block {block})")
    if _in_the_tree():
        _table(runs)
    if failed:
        raise UserError(f"{len(failed)} runs failed: {', '.join(failed)}. The same command runs them again.")
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


def _in_the_tree() -> bool:
    return (catalogue.folder().parent / "pyproject.toml").is_file()


def _table(runs: Path) -> int:
    where = catalogue.folder()
    if not _in_the_tree():
        raise UserError(f"the tables belong to tfopt's source tree, and {where} is an installed copy.")
    if taken := catalogue.collect(runs, where):
        print(f"results: {', '.join(taken)}")
    for file in catalogue.write_pages(where):
        print(file)
    return 0
