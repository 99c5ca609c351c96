"""`tfopt.search.run`: the search of the command line, from Python."""

import contextlib
import inspect
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import keras
import numpy as np
import pandas as pd

from tfopt import devices
from tfopt._words import names as column_names
from tfopt.baselines.own import estimators_of
from tfopt.data.example_sources import given_examples
from tfopt.data.given import as_frame, as_series
from tfopt.errors import UserError, nearest, one_line
from tfopt.search import session
from tfopt.search.baseline_runs import workers_of
from tfopt.search.config import GIVEN_TABLE, SearchConfig, default_run_folder
from tfopt.search.options import OPTIONS, resumed
from tfopt.search.plan import prepare
from tfopt.search.progress import Progress, ProgressLine
from tfopt.search.result import SearchResult
from tfopt.search.run_folder import check_new
from tfopt.search.user_space import Space, from_object, own_classes

_KNOWN = {option.name: option for option in OPTIONS}
# What the same things are called elsewhere, where the spelling does not lead to the right name.
_OTHER_NAMES = {
    "families": "baselines",
    "models": "baselines",
    "cv": "folds",
    "n_splits": "folds",
    "metric": "objective",
    "scoring": "objective",
    "n_jobs": "workers",
    "num_workers": "workers",
    "random_state": "seed",
    "n_iter": "max_trials",
    "n_trials": "max_trials",
    "timeout": "time_limit",
    "oracle": "tuner",
    "try": "tries",
    "warm_start": "like",
    "initial_configurations": "tries",
    "sample_weight": "weights",
    "groups": "group",
    "test_size": "holdout",
    "early_stopping": "patience",
    "hypermodel": "space",
    "build": "space",
}


def run(data: Any = None, target: Any = None, *, progress: bool | Progress = True, **settings: Any) -> SearchResult:
    """Tune networks and scikit-learn models on the same folds of a table, and say which is better.

    The settings are the options of `tfopt search`, with underscores; `tfopt search --help` and
    `tfopt.search.SearchConfig` describe them. Each takes what its option takes (`time_limit="10m"`, `memory="2GB"`) or
    the Python value (600, a list of names, True); None stands for the default. The run folder is written as by the
    command line: `out`, or a new one under `runs/`.

    Args:
        data: A path, several of them, or the name of a data set, as on the command line; a pandas data frame; a pair
            `(x, y)` of arrays; or a scikit-learn `Bunch`. May be left out with `resume`.
        target: The column to predict, or several; the last one by default, or what `y` and the `Bunch` say.
        progress: Whether a line on the terminal or in the notebook says how far the search is; or a
            `tfopt.search.Progress` of your own.
        **settings: Settings by name. `space` may also be a function `build(hp)` or `build(hp, problem)`, or a
            `keras_tuner.HyperModel`; `baselines` and `column` may be a list and a dict, and `tries` a list of dicts.

    Returns:
        What was found, which is also in the run folder: `tfopt.load(folder)` gives the same later.

    Raises:
        UserError: (a ValueError) What was asked cannot be done.
        RuntimeError: No trial completed.

    Example:
        ```python
        result = tfopt.search.run("iris", space="small", max_trials=2, epochs=3, holdout=0.3,
            baselines=["ridge_classifier"], workers=1)
        print(result.verdict)  # …
        print("network" in result.leaderboard["model"].tolist())  # True
        ```
    """
    try:
        return _run(data, target, progress, settings)
    except UserError as error:
        raise UserError(_in_python(str(error))) from None


def _run(data: Any, target: Any, progress: bool | Progress, settings: dict[str, Any]) -> SearchResult:
    config, frame, space = _asked(data, target, settings)
    config.validate()
    if config.resume is None:
        config = replace(config, out=config.out or str(default_run_folder(config)))
        check_new(config.out or "", config.overwrite)
    with _shown(progress) as shown:
        plan = prepare(config, shown, frame)
        policy = keras.config.dtype_policy()
        try:
            with workers_of(plan.config) as workers:
                device, workers.gpus = devices.one_each(config.device, workers.number)
                devices.configure(device, config.precision, config.deterministic)
                outcome = session.run(config, shown, plan, workers, space=space)
        except KeyboardInterrupt as interruption:
            interruption.add_note(f"Go on with tfopt.search.run(…, resume={config.out!r}).")
            raise
        except OSError as error:
            error.add_note(f"Once that is mended, go on with tfopt.search.run(…, resume={config.out!r}).")
            raise
        finally:
            keras.config.set_dtype_policy(policy)
    if not outcome.num_completed:
        raise RuntimeError(
            f"None of {outcome.num_failed} trials completed; the first failed with: "
            f"{one_line(outcome.first_failure or '')} The run folder is {outcome.run_folder}."
        )
    classes = own_classes(config.space) if ".py:" in config.space else {}
    if space is not None:
        classes = _classes_beside(settings["space"])
    for source in config.baseline:
        classes |= estimators_of(source)
    return SearchResult(outcome.run_folder, classes)


def _asked(data: Any, target: Any, settings: Mapping[str, Any]) -> tuple[SearchConfig, Any | None, Space | None]:
    """Return the configuration, the table if Python holds it, and the space if it is no text."""
    for name in settings:
        if name not in _KNOWN:
            hint = nearest(_OTHER_NAMES[name], _KNOWN) if name in _OTHER_NAMES else nearest(name, _KNOWN)
            raise UserError(f"unknown setting {name!r}.{hint} `tfopt search --help` describes each.")
    given = {name: value for name, value in {**settings, "target": target}.items() if value is not None}
    frame: Any = None
    space = None
    if isinstance(data, list | tuple) and data and all(isinstance(part, str | os.PathLike) for part in data):
        data = ",".join(map(os.fspath, data))
    if isinstance(data, str | os.PathLike):
        given["data"] = os.fspath(data)
    elif data is not None and given.get("window") is not None:
        frame, own_targets = as_series(data)
        given["data"] = GIVEN_TABLE
        given.setdefault("target", own_targets)
    elif data is not None and (examples := given_examples(data, given)) is not None:
        frame = examples
        given["data"] = GIVEN_TABLE
    elif data is not None:
        frame, own_targets = as_frame(data)
        given["data"] = GIVEN_TABLE
        given.setdefault("target", own_targets)
    if "space" in given and not isinstance(given["space"], str | os.PathLike):
        space = from_object(given["space"])
        given["space"] = space.name
    columns = [*frame, *map(str, frame)] if isinstance(frame, pd.DataFrame) else []
    values = {name: _value(name, value, columns) for name, value in given.items()}
    if "resume" in values:
        return resumed(values), frame, space
    return SearchConfig.from_dict({**SearchConfig().to_dict(), **values}), frame, space


def _value(name: str, value: Any, columns: list[Any]) -> Any:
    """Return a setting as the configuration holds it; `columns` are those of a table that Python holds."""
    option = _KNOWN[name]
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    elif isinstance(value, timedelta):
        value = value.total_seconds()
    elif isinstance(value, np.generic):
        value = value.item()
    elif name == "column" and isinstance(value, Mapping):
        value = [f"{column}={kind}" for column, kind in value.items()]
    elif name == "baselines" and isinstance(value, list | tuple):
        value = ",".join(map(str, value))
    elif option.convert is column_names and (value in columns or not isinstance(value, str | list | tuple)):
        value = [value]
    if option.convert is column_names and isinstance(value, list | tuple):
        value = [str(item) if item in columns else item for item in value]  # a frame may have numbers as names
    return option.from_value(value, f"`{name}`")


def _classes_beside(space: Any) -> dict[str, type]:
    """Return the classes of the module that a space of the user's own is from, for loading its models."""
    module = sys.modules.get(getattr(space, "__module__", ""))
    return {name: value for name, value in vars(module or object).items() if inspect.isclass(value)}


@contextlib.contextmanager
def _shown(progress: bool | Progress) -> Iterator[Progress]:
    if isinstance(progress, Progress):
        yield progress
    elif not progress:
        yield Progress()
    else:
        with ProgressLine() as line:
            yield line


def _in_python(text: str) -> str:
    """Return a message with settings named as in Python, not as on the command line."""

    def named(match: re.Match[str]) -> str:
        name = "tries" if match[1] == "try" else match[1].replace("-", "_")
        return f"`{name}`" if name in _KNOWN else match[0]

    return re.sub(r"(?<![\w-])--([a-z]+(?:-[a-z]+)*)", named, text)


_parameters = inspect.signature(run).parameters
run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
    [
        *(parameter for name, parameter in _parameters.items() if name != "settings"),
        *(
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=value)
            for name, value in vars(SearchConfig()).items()
            if name not in _parameters
        ),
    ],
    return_annotation=SearchResult,
)
