"""Known good configurations: as the words of `--try`, and the best ones of an earlier run."""

import shlex
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean, median
from typing import Any

from tfopt.errors import UserError
from tfopt.search.journal import read_lines, to_choose_from
from tfopt.search.run_folder import check_existing

MOST_LIKED = 5  # configurations of an earlier run


def tried(value: Any) -> tuple[str, ...]:
    """Return the text of a configuration, given as such or as a dict, in a tuple."""
    return (as_text(value) if isinstance(value, Mapping) else str(value),)


def as_text(values: Mapping[str, Any]) -> str:
    """Return a configuration as the words `NAME=VALUE`.

    Raises:
        UserError: A value is no text, number or truth value.
    """
    words = []
    for name, given in values.items():
        value = given.item() if hasattr(given, "item") else given  # of NumPy, which `--help` does without
        if not isinstance(value, str | int | float):
            raise UserError(f"--try: {name!r} must be a text, a number, true or false. Received: {value!r}.")
        words.append(shlex.quote(f"{name}={value}"))
    return " ".join(words)


def parsed(text: str) -> dict[str, str]:
    """Return the names and values of the words `NAME=VALUE`, as texts.

    Raises:
        UserError: They are no such words.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UserError(f"--try {text!r} cannot be read: {error}. Close the quotation.") from None
    found: dict[str, str] = {}
    for word in words:
        name, sign, value = word.partition("=")
        if not (name and sign and value):
            raise UserError(
                f"--try takes NAME=VALUE, with spaces between: 'units=64 dropout=0.2'. Received: {word!r} in {text!r}."
            )
        if name in found:
            raise UserError(f"--try {text!r} names {name!r} twice. Name it once, or give --try twice.")
        found[name] = value
    if not found:
        raise UserError("--try names no hyperparameter. Write it as 'units=64 dropout=0.2'.")
    return found


def best_of(folder: str, most: int) -> tuple[str, ...]:
    """Return the configurations of a run that are the best on average over its folds, the best first.

    Folds differ in difficulty, so a score counts by how far it lies above the fold's median.

    Raises:
        UserError: It is no run folder, or no trial of it completed.
    """
    check_existing(folder, "trials.jsonl")
    _, records = read_lines(Path(folder) / "trials.jsonl")
    trials = to_choose_from(record for record in records if record is not None and record["kind"] == "trial")
    if not trials:
        raise UserError(f"--like {folder}: no trial of that run completed. Name another run.")
    of_fold: dict[str, list[float]] = defaultdict(list)
    for record in trials:
        of_fold[str(record["fold"])].append(record["score"])
    gains: dict[str, list[float]] = defaultdict(list)
    for record in trials:
        values = {name: value for name, value in record["values"].items() if not name.startswith("tuner/")}
        gains[as_text(values)].append(record["score"] - median(of_fold[str(record["fold"])]))
    ranked = sorted(filter(None, gains), key=lambda text: -fmean(gains[text]))
    return tuple(ranked[:most])
