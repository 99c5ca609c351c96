"""`trials.jsonl`: a line for each finished piece of work, written at once, so that a search can be continued."""

import json
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from tfopt._files import as_json, open_own, replace, sync
from tfopt.errors import UserError, command
from tfopt.search.shapes import RECORDS, misfit

_log = logging.getLogger("tfopt")

Record = dict[str, Any]

DEFAULT = "default"  # the trial of the untuned configuration


class Journal:
    """The finished work of one run.

    Damaged lines, and one that a crash cut short, are dropped when the journal is opened again; what they stood for is
    done anew. Whoever opens it keeps every other process out meanwhile.

    Args:
        path: The file; created when it does not exist.
        told: Called with each new record, once it is written.
        usable: Whether what a record speaks of is still there; another one is dropped as a damaged line is.
    """

    def __init__(
        self,
        path: Path,
        told: Sequence[Callable[[Record], None]] = (),
        usable: Callable[[Record], bool] = lambda record: True,
    ):
        self._path, self._to_tell = path, told
        self.records: list[Record] = []
        if path.exists():
            lines, found = read_lines(path)
            found = [record if record is not None and usable(record) else None for record in found]
            whole = [line for line, record in zip(lines, found, strict=True) if record is not None]
            self.records = [record for record in found if record is not None]
            if len(whole) < len(lines):
                replace(path, lambda beside: beside.write_bytes(b"".join(whole)))
        else:
            os.close(open_own(path, os.O_EXCL))
            sync(path.parent)
        self._index = {_key(record): record for record in self.records}

    def find(self, kind: str, **key: Any) -> Record | None:
        """Return the finished record of this kind and key, or None."""
        return self._index.get(_key({"kind": kind, **key}))

    def append(self, record: Record) -> Record:
        """Write a record and see it to the disk; return it as it will be read back."""
        record = json.loads(json.dumps(as_json(record), ensure_ascii=False))
        try:
            with open(open_own(self._path, os.O_WRONLY | os.O_APPEND), "a", encoding="utf-8") as file:
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            error.filename = os.fspath(self._path)
            raise
        self.records.append(record)
        self._index[_key(record)] = record
        for tell in self._to_tell:
            tell(record)
        return record


def proposed_before(trial: Record) -> tuple:
    """Return what sorts trials in the order of their proposals: the lines stand in the order in which they ended."""
    return trial["trial_id"] != DEFAULT, trial["trial_id"], str(trial["fold"])


def to_choose_from(trials: Iterable[Record]) -> list[Record]:
    """Return the trials that completed; of Hyperband's, which are short for the most part, the longest."""
    completed = [trial for trial in trials if trial["status"] == "COMPLETED"]
    longest = max((trial["values"].get("tuner/epochs", 0) for trial in completed), default=0)
    return [trial for trial in completed if trial["values"].get("tuner/epochs", longest) == longest]


_KEYS = ("kind", "fold", "trial_id", "model", "default")


def _key(record: Record) -> str:
    values = {name: record[name] for name in _KEYS if name in record}
    if record["kind"] in {"trial", "refit"}:
        values["values"] = record["values"]
    return json.dumps(values, sort_keys=True)


def read_lines(path: Path) -> tuple[list[bytes], list[Record | None]]:
    """Return the lines of a journal, and the record of each, None where it is damaged or a crash cut it short.

    A damaged one is warned of.

    Raises:
        UserError: The file cannot be read.
    """
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}). Restore it, or delete it and search again: "
            + command("search", "--resume", path.parent)
        ) from None
    records = [_parsed(line) for line in lines]
    damaged = [number for number, record in enumerate(records, start=1) if record is None]
    if damaged and not lines[-1].endswith(b"\n"):
        damaged.pop()
    if damaged:
        _log.warning(
            "%s: line%s damaged and left out; tfopt search --resume %s does again what stood there.",
            path,
            f" {damaged[0]} is"
            if len(damaged) == 1
            else f"s {', '.join(map(str, damaged[:5]))}{', …' * (len(damaged) > 5)} are",
            path.parent,
        )
    return lines, records


def _parsed(line: bytes) -> Record | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not line.endswith(b"\n") or not isinstance(record, dict):
        return None
    shape = RECORDS.get(str(record.get("kind")))
    return record if shape is not None and misfit(record, shape) is None else None
