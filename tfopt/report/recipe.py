"""What every recipe does in the same way: its arguments, its table, intervals, verdicts, and what it leaves behind.

A recipe is a script of `recipes/` that tests claims of the textbooks on data. It reads top to bottom, and takes from
here only what would be the same lines in each.
"""

import argparse
import contextlib
import importlib.metadata
import json
import math
import os
import platform
import re
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import matplotlib
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from tfopt import __version__
from tfopt._escape import printable
from tfopt._files import as_json, write_text
from tfopt.comparison.statistics import student_half_width
from tfopt.data.encoder import TableEncoder
from tfopt.data.load import load_table
from tfopt.errors import UserError
from tfopt.report.style import save

__all__ = [
    "CANNOT_TELL",
    "DOES_NOT_HOLD",
    "HOLDS",
    "VERDICTS",
    "all_of",
    "arguments",
    "by_mode",
    "fact",
    "finish",
    "interval",
    "judge",
    "plus_minus",
    "table",
]

HOLDS, DOES_NOT_HOLD, CANNOT_TELL = VERDICTS = ("holds", "does not hold", "can't be told here")

_PACKAGES = ("tensorflow", "keras", "keras-tuner", "scikit-learn", "numpy", "scipy", "pandas")
_DIGITS = 6  # significant ones, of the numbers in the JSON result
_Value = TypeVar("_Value")


def arguments(doc: str | None, file: str, data: str | None = None) -> argparse.Namespace:
    """Parse the command line that every recipe has, and make the folder for its results.

    In the script a `UserError` then ends as one line and exit code 2, and pictures are drawn off screen.

    Args:
        doc: The script's `__doc__`: its first line is the recipe's question.
        file: The script's `__file__`: its stem is the recipe's name.
        data: The embedded set that stands for `--data`; None for a recipe to which a table makes no sense.

    Returns:
        smoke, full, seed, out (a `Path`), started (of `time.perf_counter`), name, question, and with `data` also data
        and target.
    """
    started = time.perf_counter()
    name = Path(file).stem
    text = (doc or "").strip()
    parser = argparse.ArgumentParser(
        prog=f"{name}.py", description=text, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    if data is not None:
        parser.add_argument("--data", default=data, help=f"an embedded set or a file (default: {data})")
        parser.add_argument("--target", help="the column to predict (default: the last)")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--smoke", action="store_true", help="as little as possible, to see that it runs")
    mode.add_argument("--full", action="store_true", help="more seeds, for narrower intervals")
    parser.add_argument("--seed", type=int, default=0, help="what all the seeds are derived from (default: 0)")
    parser.add_argument("--out", type=Path, default=Path("runs", name), help="folder of picture and result")
    parsed = parser.parse_args()
    sys.excepthook = _one_line_for_users
    matplotlib.use("Agg")
    try:
        parsed.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"no results can be written into {parsed.out}: {error.strerror}.") from None
    parsed.started, parsed.name, parsed.question = started, name, text.partition("\n")[0]
    return parsed


def by_mode(arguments: argparse.Namespace, smoke: _Value, default: _Value, full: _Value) -> _Value:
    """Return one of three values: for `--smoke`, for neither option, or for `--full`."""
    return smoke if arguments.smoke else full if arguments.full else default


def table(arguments: argparse.Namespace, task: str | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return the table of `--data` as arrays, and print what it holds and what was left out.

    Numbers are as read and not scaled. A missing one is its column's median over all rows: fill it inside the folds
    instead where that could matter.

    Args:
        arguments: What `arguments` returned, with `data` and `target`.
        task: `"regression"` or `"classification"` if only that makes sense; None takes both.

    Returns:
        Features (rows, columns), float32; target (rows,): class numbers from 0, or float64 values.

    Raises:
        UserError: It cannot be read, has several targets, or is of the other task.
    """
    loaded = load_table(arguments.data, target=arguments.target)
    where = f"--data {arguments.data}"
    if task is not None and loaded.task != task:
        is_what = f"{len(loaded.classes)} classes" if loaded.classes else "numbers without classes"
        raise UserError(
            f"this recipe needs a table for {task}, and the target {loaded.target_names[0]!r} has {is_what} ({where}). "
            "Give another --target."
        )
    if len(loaded.target_names) > 1:
        raise UserError(f"this recipe needs one target, and {loaded.name} has several ({where}). Give one as --target.")
    features = TableEncoder(loaded.columns, scaling="none").fit_transform(loaded.features)
    features = features[:, np.ptp(features, axis=0) > 0]  # a slot for levels that are not there
    if not features.shape[1]:
        raise UserError(f"no column but the target varies ({where}).")
    kind = f"{len(loaded.classes)} classes" if loaded.classes else f"target {loaded.target_names[0]!r}"
    said = "; ".join([f"{loaded.name}: {len(features)} rows, {features.shape[1]} features, {kind}", *loaded.notes])
    print(printable(said))
    return features, loaded.target.ravel()


def interval(values: Any, comparisons: int = 1, test_to_train: float = 0.0) -> tuple[Any, Any]:
    """Return the mean and the half-width of its 95 % Student interval, over seeds or folds.

    Formula: t(0.975, k − 1) √(var(values) (1/k + n_test/n_train)) for k values.

    Args:
        values: (k,) numbers, or (k, …) for an interval of each place of the other axes.
        comparisons: How many intervals are looked at together; each is widened so that 95 % is for all (Bonferroni).
        test_to_train: Test rows over training rows, where the values are of folds or splits of one table (Nadeau and
            Bengio 2003); 0 for values that share nothing.

    Returns:
        Two floats or arrays; the half-width of one value is NaN.
    """
    numbers = np.asarray(values, dtype=np.float64)
    mean, half = numbers.mean(axis=0), student_half_width(numbers, test_to_train, 1 - 0.05 / comparisons)
    return (float(mean), float(half)) if numbers.ndim == 1 else (mean, half)


def plus_minus(values: Sequence[float] | np.ndarray, spec: str = ".3f", test_to_train: float = 0.0) -> str:
    """Return the mean and its interval as text, such as `"0.973 ± 0.004"`; of one value the value."""
    mean, half = interval(values, test_to_train=test_to_train)
    return f"{mean:{spec}}" if math.isnan(half) else f"{mean:{spec}} ± {half:{spec}}"


def judge(
    differences: Sequence[float] | np.ndarray, margin: float = 0.0, comparisons: int = 1, test_to_train: float = 0.0
) -> str:
    """Return the verdict on "the differences are more than `margin`", by the interval of their mean.

    Args:
        differences: (k,) paired differences over seeds or folds, positive where the claim holds.
        margin: What counts as a difference.
        comparisons: As for `interval`.
        test_to_train: As for `interval`.

    Returns:
        `"holds"` if the interval lies above the margin, `"does not hold"` if it does not reach it (it lies below 0, or
        within ±`margin`), else `"can't be told here"`; so too of one value, or of one that is not finite.
    """
    mean, half = interval(differences, comparisons, test_to_train)
    if not math.isfinite(mean + half):
        return CANNOT_TELL
    return HOLDS if mean - half > margin else DOES_NOT_HOLD if mean + half <= margin else CANNOT_TELL


def fact(is_so: Any) -> str:
    """Return the verdict on a claim that running it settles, without chance: `"holds"` or `"does not hold"`."""
    return HOLDS if is_so else DOES_NOT_HOLD


def all_of(*verdicts: str) -> str:
    """Return the verdict on a claim that has several parts, all of which must hold."""
    return next((verdict for verdict in (DOES_NOT_HOLD, CANNOT_TELL) if verdict in verdicts), HOLDS)


def finish(
    arguments: argparse.Namespace,
    claims: Mapping[str, tuple[str, str, str]],
    results: Mapping[str, Any],
    figure: Figure,
) -> None:
    """Print the verdicts, and write picture and result as `NAME.svg`, `NAME.png` and `NAME.json`.

    Args:
        arguments: What `arguments` returned.
        claims: By id (lower-case words with hyphens): the claim in one sentence, its verdict, and the numbers that
            carry it in one line.
        results: Whatever else is worth keeping; arrays become lists, NaN and infinity null.
        figure: The picture; it is closed.

    Raises:
        ValueError: A claim is not of this form.
    """
    for key, (claim, verdict, numbers) in claims.items():
        _check_claim(key, claim, verdict, numbers)
    files = [*save(figure, arguments.out, arguments.name), arguments.out / f"{arguments.name}.json"]
    plt.close(figure)
    seconds = time.perf_counter() - arguments.started
    result = {
        "recipe": arguments.name,
        "question": arguments.question,
        "command": shlex.join(["python", f"recipes/{arguments.name}.py", *_without_out(sys.argv[1:])]),
        "mode": by_mode(arguments, smoke="smoke", default="default", full="full"),
        "seconds": round(seconds, 1),
        "environment": _environment(),
        "claims": [
            {"id": key, "claim": claim, "verdict": verdict, "numbers": numbers}
            for key, (claim, verdict, numbers) in claims.items()
        ],
        "results": json.loads(json.dumps(as_json(results)), parse_float=_few_digits),
    }
    write_text(files[-1], json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    print()
    for claim, verdict, numbers in claims.values():
        print(f"{verdict}: {claim} ({numbers})")
    print(f"\n{', '.join(file.name for file in files)} in {arguments.out}; {seconds:.0f} s")


def _check_claim(key: str, claim: str, verdict: str, numbers: str) -> None:
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", key):
        raise ValueError(f"A claim's id is lower-case words with hyphens. Received: {key!r}.")
    if verdict not in VERDICTS:
        raise ValueError(f"A verdict is one of {VERDICTS}. Received: {verdict!r} for {key!r}.")
    for what, text in (("sentence", claim), ("numbers", numbers)):
        if not text.strip() or "\n" in text:
            raise ValueError(f"A claim's {what} must be one line of text. Received: {text!r} for {key!r}.")


def _without_out(words: Sequence[str]) -> list[str]:
    """Return the words of a command without where its results go, which changes nothing in them."""
    skipped = {place + step for place, word in enumerate(words) if word == "--out" for step in (0, 1)}
    return [word for place, word in enumerate(words) if place not in skipped and not word.startswith("--out=")]


def _environment() -> dict[str, Any]:
    versions = {"python": platform.python_version(), "tfopt": __version__}
    for package in _PACKAGES:
        for distribution in (package, f"{package}-cpu"):  # TensorFlow has two names
            with contextlib.suppress(importlib.metadata.PackageNotFoundError):
                versions.setdefault(package, importlib.metadata.version(distribution))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"versions": versions, "platform": platform.system(), "machine": platform.machine(), "cores": cores}


def _few_digits(number: str) -> float:
    return float(f"{float(number):.{_DIGITS}g}")


def _one_line_for_users(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if not issubclass(kind, UserError):
        sys.__excepthook__(kind, error, traceback)
        return
    print(f"error: {error}", file=sys.stderr)
    sys.stderr.flush()
    raise SystemExit(2)
