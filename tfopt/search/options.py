"""The settings of a search, one table for the command line, settings files and Python."""

import argparse
import itertools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tfopt._words import choice, duration, integer, names, number, size, switch, whole
from tfopt.data.user_file import absolute_name, names_python
from tfopt.errors import UserError, command, listed
from tfopt.search import config as configuration
from tfopt.search.config import SearchConfig
from tfopt.search.run_folder import check_existing, stored_config
from tfopt.search.tries import tried
from tfopt.training import BACKENDS


@dataclass(frozen=True)
class Option:
    """One setting.

    Args:
        name: Its key in a config file; the flag is `--name` with dashes, the variable `TFOPT_NAME`.
        help: What it does, with the unit; the default is appended.
        convert: Text to value; raises `argparse.ArgumentTypeError`. `switch` makes a flag without a value, `names` a
            repeatable one.
        metavar: What the help calls the value.
        default_text: What the help shows as the default; None for the value itself.
        constants: Flags without a value, each with the value that it stands for, in place of `--name`.
        environment: Whether a variable may set it.
        flag_name: The flag, where it is not the name with dashes.
    """

    name: str
    help: str
    convert: Callable[[str], Any] = str
    metavar: str | None = None
    default_text: str | None = None
    constants: tuple[tuple[str, str], ...] = ()
    environment: bool = True
    flag_name: str | None = None

    @property
    def repeats(self) -> bool:
        """Whether its flag may be given again and again; its converter then returns a tuple."""
        return self.convert in (names, tried, whole)

    def from_text(self, text: str, place: str) -> Any:
        """Return the value of a text; `place` says in an error where it stood."""
        try:
            return self.convert(text)
        except argparse.ArgumentTypeError as error:
            text = str(error)
            raise UserError(f"{place}: {text}{'' if text.endswith(('.', '?')) else '.'}") from None

    def from_value(self, value: Any, place: str) -> Any:
        """Return the value of what a TOML file or Python holds: a text is converted, a list of names is not."""
        if self.convert is tried and isinstance(value, list | tuple | Mapping):
            return tuple(text for item in ([value] if isinstance(value, Mapping) else value) for text in tried(item))
        if isinstance(value, list | tuple) and self.convert in (names, whole):
            if not all(isinstance(item, str) for item in value):
                what = "column names" if self.convert is names else "texts"
                raise UserError(f"{place} must be a list of {what} in quotes. Received: {value}.")
            return tuple(value)  # not split at commas: here a name may hold one
        if isinstance(value, bool) and self.constants:
            value = self.constants[0 if value else 1][1]
        if isinstance(value, bool):
            if self.convert is not switch:
                raise UserError(f"{place} takes no true or false. Received: {str(value).lower()}.")
            return value
        if not isinstance(value, str | int | float):
            raise UserError(f"{place} must be a single value. Received: {value}.")
        return self.from_text(str(value), place)

    def words(self, value: Any) -> list[str]:
        """Return the words of a command line that give it this value."""
        for flag, constant in self.constants:
            if value == constant:
                return [flag]
        if value is True:
            return [self.flag]
        if self.convert in (tried, whole):
            return [word for text in value for word in (self.flag, text)]
        return [self.flag, listed(value) if isinstance(value, list | tuple) else str(value)]

    @property
    def flag(self) -> str:
        """The option's flag."""
        return self.flag_name or "--" + self.name.replace("_", "-")


GROUPS: dict[str, tuple[Option, ...]] = {
    "the table": (
        Option(
            "target",
            "column to predict; several for regression; a name with a comma in double quotes",
            names,
            "NAME[,…]",
            "the last column",
        ),
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
        Option("max_unpacked", "what a compressed file may unpack to: 500MB, 16GB", size, "SIZE", "4GB"),
        Option(
            "stream",
            "read the files in blocks, which need not fit into memory: search a sample, train the network that is "
            "chosen on all rows; or read them whole",
            choice(*configuration.STREAMS),
            default_text="in blocks where memory is too little",
            constants=(("--stream", "yes"), ("--no-stream", "no")),
        ),
        Option("sample", "with --stream: rows to search, and at most so many to test by", integer, "N"),
        Option(
            "image_size",
            "height x width that a folder's images are resized to: 64, 48x64",
            metavar="SIZE",
            default_text="the commonest",
        ),
        Option(
            "image_column",
            "column that names images, relative to the file; they are what is learned from",
            metavar="NAME",
            default_text="none",
        ),
        Option("text_column", "column of texts, which are what is learned from", metavar="NAME", default_text="none"),
        Option(
            "window",
            "rows of a time series that are one example, the target's past among them; folds go forward in time",
            integer,
            "N",
            "rows are examples",
        ),
        Option("horizon", "rows from the end of a window to the target that is forecast", integer, "M"),
        Option("as_image", "digits, or the arrays of an NPZ file, as images in their own shape", switch),
    ),
    "the network": (
        Option(
            "space",
            "of tables small, mlp, realmlp, tabm, portfolio or wide; cnn, sequence or text; or PATH.py:function, "
            "your own build(hp)",
            metavar="SPACE",
            default_text="portfolio, or cnn, sequence or text where the examples are such",
        ),
        Option(
            "backbone",
            "network that was trained before and stays as it is, for space cnn: a .keras file, or .weights.h5 of "
            "one of keras.applications, whose name the file's begins with",
            metavar="FILE",
            default_text="none",
        ),
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
        Option("ensemble", "most configurations in the ensemble over trials; 0 for none", integer, "N"),
    ),
    "the search": (
        Option("tuner", "random, grid, bayesian or hyperband", choice(*configuration.TUNERS), "TUNER"),
        Option(
            "max_trials",
            "network configurations in each outer fold",
            integer,
            "N",
            "16; the whole grid; as many as Hyperband's brackets hold",
        ),
        Option(
            "tries",
            "configuration to try first: 'units=64 dropout=0.2', as the space names them; may be given again",
            tried,
            "'NAME=VALUE …'",
            flag_name="--try",
        ),
        Option("like", "earlier run whose best configurations are tried first", metavar="RUN", default_text="none"),
        Option("time_limit", "time for all, baselines and refits among it: 90s, 10m, 1h", duration, "TIME", "none"),
        Option(
            "trial_timeout",
            "time that a fit of a trial may take, its build included, before the trial fails: 30s, 5m",
            duration,
            "TIME",
            "none",
        ),
        Option("patience", "epochs without a better validation loss that end a trial; 0 never", integer, "N"),
        Option(
            "objective",
            "metric that chooses and scores: r2, mae, rmse, …; accuracy, balanced_accuracy, roc_auc, log_loss, …",
            metavar="METRIC",
            default_text="r2 or accuracy",
        ),
        Option("seed", "seed of folds, configurations and weights", integer, "N"),
    ),
    "the comparison": (
        Option("baselines", "fast, all, none, or names: ridge,lasso,…", metavar="NAMES"),
        Option(
            "baseline",
            "a baseline of your own: a function that returns an estimator, or an estimator and its grid; may be "
            "given again",
            whole,
            "PATH.py:function",
        ),
        Option("folds", "outer folds; every model is scored once on each", integer, "N"),
        Option("inner_folds", "folds inside each outer training part, for choosing", integer, "N"),
        Option("repeats", "times that the outer folds are drawn", integer, "N"),
        Option("holdout", "fraction of rows held out once, instead of folds", number, "FRACTION"),
        Option("gap", "least time between training and test rows: 7d, 12h", metavar="TIME", default_text="none"),
        Option("rope", "difference that does not matter in practice, in units of the metric", number, "WIDTH"),
    ),
    "the machine": (
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
        Option("memory", "what fits trained together may take: 500MB, 2GB", size, "SIZE", "a quarter of what is free"),
        Option("workers", "processes that train networks and baselines; the same results", integer, "N", "one a core"),
        Option(
            "backend",
            "loky (processes of this machine), or the cluster ray or dask at --address",
            choice(*BACKENDS),
            "NAME",
        ),
        Option("address", "where the cluster is, such as tcp://HOST:8786", metavar="ADDRESS", default_text="none"),
    ),
    "the run folder": (
        Option("out", "where to write", metavar="DIR", default_text="runs/DATA__SEED__TIME"),
        Option("overwrite", "replace the run that is in --out", switch, environment=False),
        Option(
            "track",
            "log to MLflow too, each trial as a nested run: mlflow, or mlflow:URI (a folder, sqlite:///FILE, "
            "http://HOST:PORT)",
            metavar="mlflow[:URI]",
            default_text="none",
        ),
        Option("resume", "continue an interrupted run with its own settings", metavar="DIR", environment=False),
    ),
}
DATA = Option("data", "the data", environment=False)
OPTIONS = (DATA, *itertools.chain.from_iterable(GROUPS.values()))


# What has a search run code, or speak to another machine: never taken from a run folder, which may be a stranger's.
_LEADS_AWAY: dict[str, Callable[[str], bool]] = {
    "data": names_python,
    "space": lambda space: ".py:" in space,
    "backend": lambda backend: backend != "loky",
    "address": bool,
    "track": lambda track: ":" in track,
}


def resume_command(config: SearchConfig, folder: Path) -> str:
    """Return the command that goes on with a search: with the folder, and what has to be named again."""
    away = [name for name, leads_away in _LEADS_AWAY.items() if leads_away(getattr(config, name) or "")]
    by_name = {option.name: option for option in OPTIONS}
    words = [word for name in away if name != "data" for word in by_name[name].words(getattr(config, name))]
    return command("search", *([config.data] if "data" in away else []), "--resume", folder, *words)


def resumed(flags: dict[str, Any]) -> SearchConfig:
    """Return the settings of the run folder that `flags["resume"]` names, with those flags that may differ.

    Raises:
        UserError: It is no run folder, a flag would change the search, or what is never taken from a folder is missing.
    """
    folder = check_existing(flags["resume"])
    stored = stored_config(folder)
    if ".py:" in flags.get("space", ""):
        flags["space"] = os.path.abspath(flags["space"])
    if "baseline" in flags:
        flags["baseline"] = tuple(map(absolute_name, flags["baseline"]))
    if "like" in flags:
        flags["like"] = os.path.abspath(flags["like"])
    for name, value in flags.items():
        if name not in configuration.RESUMABLE and value != getattr(stored, name):
            flag = next(option.flag for option in OPTIONS if option.name == name)
            kept = getattr(stored, name)
            raise UserError(
                f"{flag} is {'not set' if kept is None else kept} in {folder}, and a resumed run keeps its settings. "
                f"Leave {flag} out, or start a new run."
            )
    if names_python(flags.get("data", "")):
        flags["data"] = absolute_name(flags["data"])
    data = flags.get("data", stored.data)
    if data != stored.data and not (os.path.exists(data) and os.path.exists(stored.data)):
        raise UserError(f"{folder} is a run on {stored.data}, not on {data}. Leave {data} out, or start a new run.")
    if flags.get("overwrite"):
        raise UserError("--resume continues a run folder and --overwrite replaces it. Give one of the two.")
    if "out" in flags and Path(flags["out"]) != folder:
        raise UserError(f"--resume writes to {folder} itself, so leave --out {flags['out']} out.")
    if flags.get("backend") == "loky":
        flags.setdefault("address", None)
    for name, leads_away in _LEADS_AWAY.items():
        if name not in flags and leads_away(getattr(stored, name) or ""):
            raise UserError(
                f"{folder} asks for {name} {getattr(stored, name)}, and no folder has code run or another machine "
                f"called. If the run is your own, name that again: {resume_command(stored, folder)}"
            )
    return replace(stored, **{**flags, "out": str(folder), "overwrite": False})
