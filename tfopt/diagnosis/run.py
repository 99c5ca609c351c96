"""A training run as its epochs' numbers, whoever wrote them down."""

import csv
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfopt.errors import UserError


class Run:
    """The numbers of each epoch, by key.

    `tfopt.diagnose` makes one of what it is given; `load` reads a log that was written by any callback.

    Args:
        series: One list a key, an entry an epoch; None and text that is no number become NaN.
        source: What to call it.

    Example:
        ```python
        losses = {"loss": [0.7, 0.4, 0.2, 0.1, 0.05], "val_loss": [0.7, 0.6, 0.7, 0.9, 1.2]}
        run = tfopt.diagnosis.Run(losses, source="first try")
        print(run.num_epochs, run.get("val_loss").min())  # 5 0.6
        ```
    """

    def __init__(self, series: Mapping[str, Any], source: str = "run") -> None:
        self.source = source
        length = max((len(values) for values in series.values()), default=0)
        self._series = {key: _numbers(values, length) for key, values in series.items()}
        self.num_epochs = length

    @classmethod
    def load(cls, run: Any) -> "Run":
        """Read a `tfopt.callbacks.RunLog` file, a `CSVLogger` file, JSON, a folder with one, or an object in memory.

        Args:
            run: A path, a `keras.callbacks.History`, a mapping of lists, or a pandas frame with a row an epoch.

        Raises:
            UserError: If there is nothing to read.
        """
        if isinstance(run, cls):
            return run
        if isinstance(run, str | os.PathLike):
            return cls._load_file(_find_file(Path(run)))
        if hasattr(run, "history") and isinstance(run.history, Mapping):
            return cls._checked(run.history, "history")
        if hasattr(run, "to_dict") and hasattr(run, "columns"):
            return cls._checked({str(key): list(run[key]) for key in run.columns}, "frame")
        if isinstance(run, Mapping):
            return cls._checked(run, "history")
        raise UserError(
            f"A run must be a log file, a folder, a History, a mapping of lists or a frame (got {type(run).__name__})."
            " Pass what `model.fit` returned, or the path given to `RunLog`."
        )

    @classmethod
    def _load_file(cls, path: Path) -> "Run":
        if path.suffix == ".csv":
            with open(path, newline="", encoding="utf-8") as file:
                rows: list[dict[str, Any]] = list(csv.DictReader(file))
        elif path.suffix == ".json":
            return cls._checked(_read_json(path), str(path))
        else:
            rows = [line["logs"] for line in _json_lines(path) if line.get("event") == "epoch" and "logs" in line]
        keys = dict.fromkeys(key for row in rows for key in row)
        return cls._checked({key: [row.get(key) for row in rows] for key in keys}, str(path))

    @classmethod
    def _checked(cls, series: Mapping[str, Any], source: str) -> "Run":
        run = cls(series, source)
        if not run.num_epochs:
            raise UserError(f"No epoch was logged ({source}). Train for at least one epoch with the log in place.")
        return run

    @property
    def keys(self) -> list[str]:
        """What was logged."""
        return list(self._series)

    def logged(self, key: str) -> np.ndarray | None:
        """The values of `key`, even where none is a number; None if it was not logged."""
        return self._series.get(key)

    def get(self, key: str) -> np.ndarray | None:
        """The values of `key`, one an epoch; None if it was not logged or never held a number."""
        values = self._series.get(key)
        return None if values is None or np.isnan(values).all() else values

    def layers(self, prefix: str) -> dict[str, np.ndarray]:
        """The values of `<prefix>/<layer>` by layer, in the order in which they were logged: from input to output."""
        start = f"{prefix}/"
        return {key.removeprefix(start): values for key, values in self._series.items() if key.startswith(start)}


def _find_file(path: Path) -> Path:
    if not path.is_file() and not path.is_dir():  # a pipe would keep whoever opens it waiting
        raise UserError(f"There is no such log ({path}). Give the path that was given to RunLog or CSVLogger.")
    if path.is_file():
        return path
    found = sorted(file for file in path.iterdir() if file.suffix in (".jsonl", ".csv") and file.is_file())
    readable = [file for file in found if (_has_loss(file) if file.suffix == ".csv" else _has_epochs(file))]
    if len(readable) != 1:
        names = ", ".join(file.name for file in readable) or "none"
        raise UserError(f"The folder must hold one training log, and holds {names} ({path}). Name the file.")
    return readable[0]


def _has_loss(path: Path) -> bool:
    """A folder may hold other tables, such as a leaderboard."""
    with open(path, newline="", encoding="utf-8") as file:
        return "loss" in next(csv.reader(file), [])


def _has_epochs(path: Path) -> bool:
    return any(line.get("event") == "epoch" for line in _json_lines(path))


def _json_lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines; one that a crash cut is left out."""
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            line = json.loads(text)
        except json.JSONDecodeError:
            continue
        if isinstance(line, dict):
            lines.append(line)
    return lines


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise UserError(f"The log is no JSON ({path}, line {error.lineno}). Write it with RunLog.") from error
    if not isinstance(content, dict) or not all(isinstance(values, list) for values in content.values()):
        raise UserError(f"The log must map each key to a list ({path}). Write `history.history` of `model.fit`.")
    return content


def _numbers(values: Any, length: int) -> np.ndarray:
    numbers = np.full(length, np.nan)
    for index, value in enumerate(values):
        try:
            numbers[index] = float(value)
        except (TypeError, ValueError):
            continue
    return numbers
