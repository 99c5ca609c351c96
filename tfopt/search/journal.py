"""`trials.jsonl`: a line for each finished piece of work, written at once, so that a search can be continued."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tfopt._files import as_json

Record = dict[str, Any]

DEFAULT = "default"  # the trial of the untuned configuration


class Journal:
    """The finished work of one run.

    A line that a crash cut short is cut off when the journal is opened again, any other damaged one dropped; what they
    stood for is done anew.

    Args:
        path: The file; created when it does not exist.
        told: Called with each new record, once it is written.
    """

    def __init__(self, path: Path, told: Sequence[Callable[[Record], None]] = ()):
        self._path, self._to_tell = path, told
        self.records: list[Record] = []
        if path.exists():
            lines = path.read_bytes().splitlines(keepends=True)
            whole = [line for line in lines if line.endswith(b"\n") and _parses(line)]
            self.records = [json.loads(line) for line in whole]
            if whole == lines[:-1]:
                os.truncate(path, sum(map(len, whole)))
            elif len(whole) < len(lines):
                path.write_bytes(b"".join(whole))  # in place: the file is locked
        self._index = {_key(record): record for record in self.records}
        path.touch()

    def find(self, kind: str, **key: Any) -> Record | None:
        """Return the finished record of this kind and key, or None."""
        return self._index.get(_key({"kind": kind, **key}))

    def append(self, record: Record) -> Record:
        """Write a record and see it to the disk; return it as it will be read back."""
        record = json.loads(json.dumps(as_json(record), ensure_ascii=False))
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.records.append(record)
        self._index[_key(record)] = record
        for tell in self._to_tell:
            tell(record)
        return record


def proposed_before(trial: Record) -> tuple:
    """Return what sorts trials in the order of their proposals: the lines stand in the order in which they ended."""
    return trial["trial_id"] != DEFAULT, trial["trial_id"], str(trial["fold"])


_KEYS = ("kind", "fold", "trial_id", "model", "default")


def _key(record: Record) -> str:
    values = {name: record[name] for name in _KEYS if name in record}
    if record["kind"] in {"trial", "refit"}:
        values["values"] = record["values"]
    return json.dumps(values, sort_keys=True)


def _parses(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
