"""What every recipe does in the same way: its arguments, its table, what it prints, and what it leaves behind.

A recipe is a script of `recipes/` that tests claims of the textbooks on data. It reads top to bottom, and takes from
here only what would be the same lines in each.
"""

import argparse
import json
import os
import platform
import shlex
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
from tfopt.data.encoder import TableEncoder
from tfopt.data.load import load_table
from tfopt.devices import installed_version, num_cores
from tfopt.errors import UserError
from tfopt.report.catalogue import advice, claims_of, fingerprint
from tfopt.report.evidence import (
    ClaimTest,
    above,
    all_of,
    below,
    fact,
    faster,
    interval,
    less,
    more,
    plus_minus,
    verdicts,
)
from tfopt.report.recipe_descent import Descent, epochs_needed
from tfopt.report.recipe_figures import COLOURS, curves, dots, panels
from tfopt.report.recipe_fits import (
    Sample,
    best_of,
    by_the_others,
    chosen,
    loss_and_error,
    restart,
    samples,
    train,
    tuned,
    tuned_model,
)
from tfopt.report.style import save

__all__ = [
    "COLOURS", "ClaimTest", "Descent", "Sample", "above", "all_of", "arguments", "below", "best_of", "by_mode",
    "by_the_others", "chosen", "curves", "dots", "epochs_needed", "fact", "faster", "finish", "interval", "less",
    "loss_and_error", "more", "panels", "plus_minus", "restart", "samples", "seeds", "show", "show_scores", "steps",
    "table", "train", "tuned", "tuned_model", "verdicts",
]  # fmt: skip

_PACKAGES = ("tensorflow", "keras", "keras-tuner", "scikit-learn", "numpy", "scipy", "pandas")
_DIGITS = 6  # significant ones, of the numbers in the JSON result
_BLOCK = 100_000  # from one block of seeds to the next; a recipe may multiply a seed by 1000 and stay below 2**32
_MOST_BLOCKS = 40
_Value = TypeVar("_Value")


def arguments(doc: str | None, file: str, data: str | None = None) -> argparse.Namespace:
    """Parse the command line that every recipe has, and make the folder for its results.

    In the script a `UserError` then ends as one line and exit code 2, and pictures are drawn off screen.

    Args:
        doc: The script's `__doc__`: its first line is the recipe's question.
        file: The script's `__file__`: its stem is the recipe's name.
        data: The embedded set that stands for `--data`; None for a recipe to which a table makes no sense.

    Returns:
        smoke, block (the number given as `--seed`), seed (the first of its block of seeds, which shares none with
        another block), out (a `Path`), started (of `time.perf_counter`), name, doc, question, file, and with `data`
        also data and target.

    Raises:
        UserError: The folder cannot be made.

    Example:
        ```python
        import sys
        from tfopt.report import recipe
        sys.argv = ["toy.py", "--smoke", "--out", "toy"]
        arguments = recipe.arguments("Is it so?", "toy.py", data="iris")
        print(arguments.name, arguments.question, arguments.data)  # toy Is it so? iris
        ```
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
    parser.add_argument("--smoke", action="store_true", help="as little as possible, to see that it runs")
    parser.add_argument(
        "--seed", type=int, default=0, choices=range(_MOST_BLOCKS), metavar="K",
        help=f"which block of seeds, 0 to {_MOST_BLOCKS - 1}; blocks share no seed (default: 0)",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("runs", name), help="folder of picture and result")
    parsed = parser.parse_args()
    parsed.block, parsed.seed = parsed.seed, _BLOCK * parsed.seed
    sys.excepthook = _one_line_for_users
    matplotlib.use("Agg")
    try:
        parsed.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"no results can be written into {parsed.out}: {error.strerror}.") from None
    parsed.started, parsed.name, parsed.question = started, name, text.partition("\n")[0]
    parsed.doc, parsed.file = text, Path(file)
    return parsed


def by_mode(arguments: argparse.Namespace, smoke: _Value, default: _Value) -> _Value:
    """Return one of two values: for `--smoke`, and for a whole run.

    Args:
        arguments: What `arguments` returned.
        smoke: The value for `--smoke`.
        default: The value for a whole run.

    Example:
        ```python
        import sys
        from tfopt.report import recipe
        sys.argv = ["toy.py", "--smoke", "--out", "toy"]
        arguments = recipe.arguments("Is it so?", "toy.py")
        print(recipe.by_mode(arguments, smoke=2, default=40))  # 2
        ```
    """
    return smoke if arguments.smoke else default


def seeds(arguments: argparse.Namespace, smoke: int, default: int) -> range:
    """Return so many seeds of the block that `--seed` says.

    Args:
        arguments: What `arguments` returned.
        smoke: How many for `--smoke`.
        default: How many for a whole run.

    Example:
        ```python
        import sys
        from tfopt.report import recipe
        sys.argv = ["toy.py", "--smoke", "--out", "toy"]
        arguments = recipe.arguments("Is it so?", "toy.py")
        print(recipe.seeds(arguments, smoke=2, default=12))  # range(0, 2)
        ```
    """
    return range(arguments.seed, arguments.seed + by_mode(arguments, smoke, default))


def steps(items: Iterable[_Value], what: str) -> Iterator[_Value]:
    """Yield the items, and say on the error stream now and then how many are done.

    Args:
        items: What is gone through.
        what: What they are, in the plural.

    Returns:
        The items, one after another.

    Example:
        ```python
        from tfopt.report import recipe
        print(list(recipe.steps([3, 4], "trainings")))  # [3, 4]
        ```
    """
    every = list(items)
    told = time.perf_counter()
    for number, item in enumerate(every):
        if number and time.perf_counter() - told > 5:
            told = time.perf_counter()
            print(f"{what}: {number} of {len(every)}", file=sys.stderr, flush=True)
        yield item


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

    Example:
        ```python
        import argparse
        from tfopt.report import recipe
        x, y = recipe.table(argparse.Namespace(data="iris", target=None))  # iris: …
        print(x.shape, np.unique(y))  # (150, 4) [0 1 2]
        ```
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


def show(title: str, columns: Sequence[str], rows: Mapping[str, Sequence[Any]], test_to_train: float = 0.0) -> None:
    """Print a table as wide as its cells: texts as they are, numbers over seeds or folds with their interval.

    Args:
        title: The line above it.
        columns: Heads of the columns; a head may end in a format, `"test loss|.2f"` (else `.3f`).
        rows: The cells of each row, a text, a number or an array of numbers each.
        test_to_train: As for `interval`.

    Example:
        ```python
        from tfopt.report import recipe
        recipe.show("Test error in %", ["all rows|.1f"], {"ridge": [[1.0, 2.0]]})
        #
        # Test error in %
        #         all rows
        # ridge  1.5 ± 6.4
        ```
    """
    parted = [column.partition("|") for column in columns]
    lines = [["", *(head for head, _, _ in parted)]]
    for name, cells in rows.items():
        texts = [
            cell if isinstance(cell, str) else plus_minus(np.atleast_1d(cell), spec or ".3f", test_to_train)
            for cell, (_, _, spec) in zip(cells, parted, strict=False)
        ]
        lines.append([name, *texts, *[""] * (len(parted) - len(texts))])
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    print(f"\n{title}")
    for first, *others in lines:
        cells = [f"{cell:>{width}}" for cell, width in zip(others, widths[1:], strict=True)]
        print("  ".join([f"{first:<{widths[0]}}", *cells]).rstrip())


def show_scores(title: str, scores: Mapping[Any, Mapping[str, Any]]) -> None:
    """Print losses and test errors that `best_of` found, by their keys (a tuple's parts are joined by commas).

    Args:
        title: The line above them.
        scores: Losses and errors by the key of the row.

    Example:
        ```python
        from tfopt.report import recipe
        scores = {"ridge": {"train loss": [0.1], "test loss": [0.2], "test error": [3.0]}}
        recipe.show_scores("Digits", scores)
        #
        # Digits
        # …test error %
        # ridge …
        ```
    """
    rows = {
        ", ".join(map(str, key)) if isinstance(key, tuple) else key: [
            found[part] for part in ("train loss", "test loss", "test error")
        ]
        for key, found in scores.items()
    }
    show(title, ["training loss", "test loss", "test error %|.1f"], rows)


def finish(
    arguments: argparse.Namespace,
    claims: Mapping[str, ClaimTest],
    results: Mapping[str, Any],
    figure: Figure,
) -> None:
    """Print the verdicts, and write picture and result as `NAME.svg`, `NAME.png` and `NAME.json`.

    Args:
        arguments: What `arguments` returned.
        claims: What speaks for each, by the id that it has in the docstring's section "Claims:". The verdicts
            are corrected for the number of claims.
        results: Whatever else is worth keeping; arrays become lists, NaN and infinity null.
        figure: The picture; it is closed.

    Raises:
        ValueError: A claim has no evidence, or a piece of evidence no claim or no numbers.
        UserError: The files cannot be written, as on a full disk; the verdicts are printed then.

    Example:
        ```python
        import sys
        from pathlib import Path
        from tfopt.report import recipe
        sys.argv = ["toy.py", "--out", "toy"]
        Path("toy.py").touch()
        doc = \"\"\"Is it so?

        Claims:
            toy-is-so: It is so
        \"\"\"
        arguments = recipe.arguments(doc, "toy.py")
        gains = [0.2, 0.3, 0.25]
        with recipe.panels(1) as (figure, ax):
            recipe.dots(ax, {"toy": gains}, "Gains", "gain")
        recipe.finish(arguments, {"toy-is-so": recipe.above(gains)}, {"gains": gains}, figure)
        #
        # holds: It is so (0.250 ± 0.124, 3 seeds)
        #
        # toy.png, …
        ```
    """
    sentences = claims_of(arguments.doc)
    lacking = set() if arguments.smoke else set(sentences) - set(claims)  # with --smoke some may not be tested
    if apart := sorted(lacking | set(claims) - set(sentences)):
        raise ValueError(f"Each claim of the docstring must have evidence, and the reverse. Received alone: {apart}.")
    if wrong := [key for key, carried in claims.items() if len(str(carried).splitlines()) != 1]:
        raise ValueError(f"A claim's numbers must be one line of text. Received others for {wrong}.")
    claims = {key: claims[key] for key in sentences if key in claims}  # as the docstring has them
    judged = verdicts(claims)
    # Where other programs hold the recipe up, the processors' time is nearer to what it takes.
    seconds = min(time.perf_counter() - arguments.started, sum(os.times()[:4]))
    result = {
        "recipe": arguments.name,
        "question": arguments.question,
        "command": shlex.join(["python", f"recipes/{arguments.name}.py", *_without_out(sys.argv[1:])]),
        "source": fingerprint(arguments.file),
        "mode": by_mode(arguments, smoke="smoke", default="default"),
        "block": arguments.block,
        "seconds": round(seconds, 1),
        "environment": _environment(),
        "claims": [
            {"id": key, "claim": sentences[key], "verdict": judged[key], "numbers": carried.numbers}
            for key, carried in claims.items()
        ],
        "results": json.loads(json.dumps(as_json(results)), parse_float=_few_digits),
    }
    print()
    for key, carried in claims.items():
        print(f"{judged[key]}: {sentences[key]} ({carried})")
    if so := advice(arguments.doc):
        print(f"\nSo: {so}")
    numbers = arguments.out / f"{arguments.name}.json"
    try:
        files = [*save(figure, arguments.out, arguments.name), numbers]
        write_text(numbers, json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    except OSError as error:
        raise UserError(
            f"The picture and the numbers cannot be written into {arguments.out}: {error.strerror}. "
            "The verdicts above are all there is; make room, or name another folder with --out."
        ) from None
    finally:
        plt.close(figure)
    print(f"\n{', '.join(file.name for file in files)} in {arguments.out}; {seconds:.0f} s")


def _without_out(words: Sequence[str]) -> list[str]:
    """Return the words of a command without where its results go, which changes nothing in them."""
    skipped = {place + step for place, word in enumerate(words) if word == "--out" for step in (0, 1)}
    return [word for place, word in enumerate(words) if place not in skipped and not word.startswith("--out=")]


def _environment() -> dict[str, Any]:
    found = {package: installed_version(package) for package in _PACKAGES}
    versions = {
        "python": platform.python_version(),
        "tfopt": __version__,
        **{name: v for name, v in found.items() if v},
    }
    return {"versions": versions, "platform": platform.system(), "machine": platform.machine(), "cores": num_cores()}


def _few_digits(number: str) -> float:
    return float(f"{float(number):.{_DIGITS}g}")


def _one_line_for_users(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if not issubclass(kind, UserError):
        sys.__excepthook__(kind, error, traceback)
        return
    print(f"error: {error}", file=sys.stderr)
    sys.stderr.flush()
    raise SystemExit(2)
