"""Trained states on disk, beside the trials they belong to."""

from collections.abc import Iterable
from pathlib import Path

from tfopt.search.tuners.files import read_arrays, write_arrays
from tfopt.training.fits import State


class KeptStates:
    """States of the trials of a project: the best epoch's, and the last epoch's of each fit that may go on.

    Args:
        folder: The project folder.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def write_best(self, trial_id: str, state: State) -> None:
        """Keep a trial's best state."""
        write_arrays(self._path(trial_id, "best"), state)

    def best(self, trial_id: str) -> State | None:
        """Return a trial's best state; None if it is not kept."""
        return read_arrays(self._path(trial_id, "best"))

    def write_last(self, trial_id: str, member: int, state: State) -> None:
        """Keep the last state of one of a trial's fits."""
        write_arrays(self._path(trial_id, f"last_{member}"), state)

    def last(self, trial_id: str, member: int) -> State | None:
        """Return the last state of one of a trial's fits; None if it is not kept."""
        return read_arrays(self._path(trial_id, f"last_{member}"))

    def prune(self, best: Iterable[str], last: Iterable[str]) -> None:
        """Delete all states but the best ones and the last ones of these trials."""
        kept = {"best": set(best), "last": set(last)}
        for path in self.folder.glob("trial_*/state_*.npz"):
            kind = path.stem.removeprefix("state_").split("_")[0]
            if path.parent.name.removeprefix("trial_") not in kept[kind]:
                path.unlink()

    def _path(self, trial_id: str, kind: str) -> Path:
        return self.folder / f"trial_{trial_id}" / f"state_{kind}.npz"
