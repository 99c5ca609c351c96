"""Where a run may write: checked before any work is done."""

import os
from pathlib import Path

from tfopt.errors import UserError, nearest


def check_new(folder: str | os.PathLike[str], overwrite: bool = False) -> Path:
    """Return `folder` as a path once it is sure that a new run can be written there. Nothing is created.

    Args:
        folder: The run folder asked for.
        overwrite: Whether files that are there may be replaced. Only a folder that holds a run is ever replaced.

    Raises:
        UserError: It is a file, holds something already, or cannot be written.
    """
    path = Path(folder)
    if path.exists() and not path.is_dir():
        raise UserError(f"--out {path} is a file. Name a folder.")
    if path.is_dir() and any(path.iterdir()):
        if not (path / "config.json").exists():
            raise UserError(f"--out {path} holds files but no run (no config.json), so it is left alone. Name another.")
        if not overwrite:
            raise UserError(
                f"--out {path} holds a run. Continue it with --resume {path}, replace it with --overwrite, "
                "or name another folder."
            )
    nearest_parent = path.absolute()
    while not nearest_parent.exists():
        nearest_parent = nearest_parent.parent
    if not nearest_parent.is_dir():
        raise UserError(f"--out {path} cannot be created: {nearest_parent} is a file. Name another folder.")
    if not os.access(nearest_parent, os.W_OK | os.X_OK):
        raise UserError(f"--out {path} cannot be written: no permission in {nearest_parent}. Name another folder.")
    return path


def check_existing(folder: str | os.PathLike[str], *needed: str) -> Path:
    """Return `folder` as a path once it is sure that it holds a run with the files `needed`.

    Raises:
        UserError: There is no such folder, or a file is missing.
    """
    path = Path(folder)
    if not path.exists():
        siblings = [str(path.parent / entry.name) for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        raise UserError(f"no run folder {path}.{nearest(str(path), siblings)} `tfopt search DATA` makes one.")
    if not path.is_dir():
        raise UserError(f"{path} is a file, not a run folder. Name the folder that `tfopt search` made.")
    for name in ("config.json", *needed):
        if not (path / name).exists():
            if name == "config.json":
                raise UserError(
                    f"{path} is not a run folder: it holds no config.json. Name one that `tfopt search` made."
                )
            raise UserError(
                f"{path} has no {name}: the search did not get that far. Finish it: tfopt search --resume {path}"
            )
    return path
