"""Print a run's leaderboard, its verdict and what each model chose, or a model of it as a program.

The program trains a baseline as the search did, by pandas and scikit-learn, and predicts the same; that of the network
loads it.
"""

import argparse
from collections.abc import Mapping
from typing import Any

from tfopt._escape import printable
from tfopt.cli.parser import Parser
from tfopt.errors import UserError, command
from tfopt.search.config import TABLE_SPACES
from tfopt.search.run_folder import check_existing, check_same_data, read_json, stored_config

EXAMPLES = """
  tfopt show runs/houses__0__…                       the leaderboard, the verdict, and what was chosen
  tfopt show runs/houses__0__… --code > model.py     the model to keep, as a program
  tfopt show runs/houses__0__… --code --model svm
"""
USAGE = "tfopt show RUN [options]"


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `tfopt show`."""
    group = parser.add_argument_group("what to show")
    group.add_argument("run", metavar="RUN", help="run folder that tfopt search made")
    group.add_argument("--code", action="store_true", help="print a model as a program in Python")
    group.add_argument(
        "--model",
        metavar="NAME",
        help="with --code: network, ensemble (of its seeds), trials (the ensemble of trials), baseline (the best), or "
        "a name on the leaderboard (default: what the verdict says to keep)",
    )
    group.add_argument(
        "--space", metavar="FILE", help="with --code: the Python file that defines the network's own classes, if any"
    )


def run(arguments: argparse.Namespace) -> int:
    """Show."""
    folder = check_existing(arguments.run, "result.json")
    result = read_json(folder / "result.json")
    if arguments.code:
        print(_code(folder, result, arguments.model, arguments.space), end="")
        return 0
    for option in ("model", "space"):
        if getattr(arguments, option) is not None:
            raise UserError(f"--{option} goes with --code, which prints a model. Add --code, or leave --{option} out.")
    from tfopt.cli import output

    output.print_table(result)
    print("\nchosen for the models that were trained on all rows:")
    lines = dict(choices(result))
    width = max(map(len, lines), default=0)
    for name, text in lines.items():
        print(f"  {printable(name):<{width}}  {printable(text)}")
    if result.get("recommended"):
        print(f"\nmodel to keep: {result['recommended']}, {printable(result.get('why', ''))}")
    return 0


def choices(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what each model chose in a line, in the order of the leaderboard."""
    chosen = {name: _short(parameters) for name, parameters in result.get("chosen", {}).items()}
    if result.get("best_network"):
        chosen["network"] = _short(result["best_network"])
    if members := result.get("ensemble"):
        from tfopt.search.saved import TRIALS

        shares = ", ".join(f"{member['weight']:.0%}" for member in members)
        chosen[TRIALS] = f"{len(members)} of the configurations that were tried, weighing {shares}"
    return [(row["model"], chosen[row["model"]]) for row in result["leaderboard"] if chosen.get(row["model"])]


def _short(parameters: Mapping[str, Any]) -> str:
    named = {name.rsplit("__", 1)[-1]: value for name, value in parameters.items()}
    return ", ".join(
        f"{name}={value:.6g}" if isinstance(value, float) else f"{name}={value}" for name, value in named.items()
    )


def _code(folder: Any, result: Mapping[str, Any], which: str | None, space: str | None) -> str:
    from tfopt.cli.console import say
    from tfopt.data.new_examples import image_size
    from tfopt.search import code
    from tfopt.search.plan import table_of
    from tfopt.search.saved import choose_model, load_model, model_file

    name, _ = choose_model(folder, which)
    config = stored_config(folder)
    file = model_file(name)
    check_existing(folder, file)
    trained = read_json(folder / "environment.json").get("data", {})
    reading = None
    if "inputs" in trained:
        if "series" in trained["inputs"]:
            raise UserError(
                "--code: no program is written that cuts windows out of a table. Forecast with: "
                + command("predict", folder, "TABLE", "--model", name)
            )
        if not file.endswith(".keras") or config.space in TABLE_SPACES:
            raise UserError(
                f"--code: {name} takes the numbers of examples as columns, and no program is written that reads them. "
                f"Use it with: {command('predict', folder, 'EXAMPLES', '--model', name)}"
            )
        reading = {"drop": list(config.drop), "as_image": config.as_image, "image_size": image_size(trained["inputs"])}
    if file.endswith(".keras"):
        if ".py:" in config.space and space is None:
            say(f"note: the program knows no classes of {config.space}. Does the network need them, add --space FILE.")
        return code.network_code(folder / file, result["task"], result["data"], space or "", reading)
    if config.stream == "yes":
        raise UserError(
            f"--code: {name} was trained on a sample, and no program is written that draws it. Use it with: "
            + command("predict", folder, "TABLE", "--model", name)
        )
    table = table_of(config)
    check_same_data(folder, table.sha256)
    return code.baseline_code(load_model(folder, name), table, config)
