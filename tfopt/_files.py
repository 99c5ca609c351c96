"""Values as JSON has them, and files that are whole or as they were before."""

import json
import math
import os
import re
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def as_json(value: Any, non_finite: Callable[[float], Any] = lambda number: None) -> Any:
    """Return a value as JSON has it: text keys, lists, Python's own numbers.

    Args:
        value: Mappings, sequences, arrays, tensors, numbers, text and None, within one another.
        non_finite: What to put for NaN and the infinities, which JSON lacks; null if not given.

    Raises:
        TypeError: There is something else in it.
    """
    if isinstance(value, Mapping):
        return {_key(key): as_json(item, non_finite) for key, item in value.items()}
    if isinstance(value, (list, tuple, range)):
        return [as_json(item, non_finite) for item in value]
    if hasattr(value, "numpy"):  # a tensor or a variable
        value = value.numpy()
    if hasattr(value, "tolist"):  # an array, or a number of NumPy's
        plain = value.tolist()
        return as_json(float(plain) if type(plain) is type(value) else plain, non_finite)  # a long double has no other
    if isinstance(value, (str, bool, int)) or value is None:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else non_finite(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON.")


def _key(key: Any) -> str:
    return ", ".join(map(str, key)) if isinstance(key, tuple) else str(key)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file for people to read, whole or not at all."""
    write_text(path, json.dumps(as_json(value), indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    replace(path, lambda beside: beside.write_text(text, encoding="utf-8"))


def replace(path: Path, write: Callable[[Path], Any], synced: bool = True) -> None:
    """Write a file beside its place and move it there once it is complete; its folder is made.

    Nobody can know the name beforehand, so that no link can wait under it. Modes are those that the umask leaves.

    Args:
        path: Where the file belongs. A device or a pipe is written as it is.
        write: Called with the path to write to, an empty file whose name ends as that of `path` does.
        synced: Whether the file is on the disk when this returns, for a power cut to find it: some 10 ms.
    """
    if path.exists() and not path.is_file():
        write(path)
        return
    make_folder(path.parent, synced)
    beside = path.with_name(f".{secrets.token_hex(8)}-{path.name[-50:]}")
    os.close(os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        write(beside)
        if synced:
            sync(beside)
        os.replace(beside, path)
    except OSError as error:
        error.filename = os.fspath(path)  # the name that the user knows; a write that fails names no file at all
        raise
    finally:
        beside.unlink(missing_ok=True)
    if synced:
        sync(path.parent)


_BESIDE = re.compile(r"\.[0-9a-f]{16}-.+")


def remove_leftovers(folder: Path, before: float) -> None:
    """Remove what killed processes left of files that they were writing in a folder and those within.

    Args:
        folder: Where to look.
        before: Seconds of `time.time()`; what was written later may still be somebody's work.
    """
    for path in folder.rglob(".*-*"):
        if _BESIDE.fullmatch(path.name) and path.lstat().st_mtime < before:
            path.unlink(missing_ok=True)


def make_folder(path: Path, synced: bool = True) -> None:
    """Make a folder and those above it that are missing, each on the disk in the one that holds it."""
    if not path.is_dir():
        make_folder(path.parent, synced)
        path.mkdir(exist_ok=True)
        if synced:
            sync(path.parent)


def open_own(path: Path, flags: int) -> int:
    """Open a file of ours, made where it is missing, that a link planted under its name cannot lead elsewhere."""
    return os.open(path, flags | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)


def sync(path: Path) -> None:
    """See a file's content, or a folder's list of names, to the disk."""
    if path.is_dir() and not hasattr(os, "O_DIRECTORY"):  # Windows cannot open folders
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
