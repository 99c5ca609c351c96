"""The files of a project folder, set aside if found torn.

A power cut may lose what was written last, which is then done again: to see every trial's files to the disk at once
would take longer than many trials do.
"""

import functools
import json
import logging
import os
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from tfopt._files import as_json, replace
from tfopt.training.fits import State

_log = logging.getLogger("tfopt")


def write_state(path: Path, value: Any) -> None:
    """Write a file that KerasTuner reads: in one line, ASCII, numbers that are not finite in Python's spelling."""
    text = json.dumps(value, default=functools.partial(as_json, non_finite=float))
    replace(path, lambda beside: beside.write_text(text), synced=False)


def read_json(path: Path, made: Callable[[Any], Any]) -> Any | None:
    """Return what is made of a JSON file; None if it is missing, or torn: then it is renamed to `*.torn` and logged."""
    try:
        return made(json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        _set_aside(path)
        return None


def _set_aside(path: Path) -> None:
    aside = path.with_name(path.name + ".torn")
    os.replace(path, aside)
    _log.warning("%s is torn or damaged, as after a crash while it was written: set aside as %s.", path, aside.name)


class KeptStates:
    """States of the trials of a project: the best epoch's, and the last epoch's of each fit that may go on."""

    def __init__(self, folder: Path):
        self.folder = folder

    def write(self, trial_id: str, state: State, member: int | None = None) -> None:
        """Keep a trial's best state, or the last one of one of its fits; a crash leaves the old file whole."""
        replace(self._path(trial_id, member), lambda beside: np.savez(beside, *state), synced=False)

    def read(self, trial_id: str, member: int | None = None) -> State | None:
        """Return that state; None if it is not kept, or torn: then its file is renamed to `*.torn` and logged."""
        path = self._path(trial_id, member)
        try:
            with path.open("rb") as file, np.load(file) as arrays:
                return [arrays[f"arr_{index}"] for index in range(len(arrays.files))]
        except FileNotFoundError:
            return None
        except (ValueError, EOFError, zipfile.BadZipFile):
            _set_aside(path)
            return None

    def prune(self, best: Iterable[str], last: Iterable[str]) -> None:
        """Delete all states but the best ones and the last ones of these trials."""
        kept = {"best": set(best), "last": set(last)}
        for path in self.folder.glob("trial_*/state_*.npz"):
            kind = path.stem.removeprefix("state_").split("_")[0]
            if path.parent.name.removeprefix("trial_") not in kept[kind]:
                path.unlink()

    def _path(self, trial_id: str, member: int | None) -> Path:
        return self.folder / f"trial_{trial_id}" / f"state_{'best' if member is None else f'last_{member}'}.npz"
