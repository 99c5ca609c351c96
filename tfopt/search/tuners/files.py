"""Files that are whole or absent: written beside their place and moved into it, and set aside if found torn."""

import json
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

_log = logging.getLogger("tfopt")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file; a crash leaves the old one whole."""
    replace(path, lambda file: file.write(json.dumps(value, default=_plain).encode()))


def read_json(path: Path) -> Any | None:
    """Return what a JSON file holds; None if it is missing, or torn: then it is renamed to `*.torn` and logged."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError:
        aside = path.with_name(path.name + ".torn")
        os.replace(path, aside)
        _log.warning("%s is torn, as after a crash while it was written: set aside as %s.", path, aside.name)
        return None


def write_arrays(path: Path, arrays: Sequence[np.ndarray]) -> None:
    """Write a list of arrays, uncompressed; a crash leaves the old file whole."""
    replace(path, lambda file: np.savez(file, *arrays))


def read_arrays(path: Path) -> list[np.ndarray] | None:
    """Return a list of arrays; None if the file is missing."""
    if not path.exists():
        return None
    with np.load(path) as arrays:
        return [arrays[f"arr_{index}"] for index in range(len(arrays.files))]


def replace(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Write a file through `write` and move it into its place when it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(beside, "wb") as file:
            write(file)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON.")
