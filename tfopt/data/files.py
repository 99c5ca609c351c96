"""Files by path: one, several of one table, a folder, or standard input, each read by what it holds."""

import glob
import hashlib
import os
import sys
import zipfile
from bisect import bisect_right
from collections.abc import Collection
from dataclasses import replace
from io import BytesIO
from itertools import accumulate
from pathlib import Path

import pandas as pd

from tfopt.data.delimited import read_delimited
from tfopt.data.formats import read_excel, read_json, read_npz, read_parquet
from tfopt.data.guesses import shown
from tfopt.data.raw import RawTable, stem
from tfopt.data.spelling import quoted
from tfopt.data.surroundings import without_totals
from tfopt.data.unpacking import MAX_UNPACKED, gunzip
from tfopt.errors import UserError, nearest

STANDARD_INPUT = "-"
_MOST_COMMAS = 9  # in one file's name
_ENDINGS = (".csv", ".tsv", ".txt", ".dat", ".data", ".parquet", ".pq", ".npz", ".xlsx", ".json", ".jsonl", ".ndjson")


_OF_A_RUN = ("config.json", "environment.json")  # what a search writes first


def is_table(path: Path) -> bool:
    """Whether a file's ending is one of those that are read."""
    return path.with_suffix("").suffix.lower() in _ENDINGS if path.suffix == ".gz" else path.suffix.lower() in _ENDINGS


def files_of(source: str) -> list[str]:
    """Return the files of a source: a path, paths with commas between, a pattern such as `part-*.csv`, or a folder."""
    path = Path(source)
    if source == STANDARD_INPUT or path.is_file():
        return [source]
    if path.is_dir():
        if all((path / name).is_file() for name in _OF_A_RUN):
            raise UserError(f"{source} is the folder of a run, not a table. Name the table that is meant.")
        files = sorted(str(entry) for entry in path.iterdir() if is_table(entry) and not entry.name.startswith("."))
        if not files:
            raise UserError(f"no table in the folder {source}. Give a folder of {', '.join(_ENDINGS[:3])}, … files.")
        return files
    if parts := _listed(source):
        return [file for part in parts for file in files_of(part)]
    return sorted(file for file in glob.glob(source) if os.path.isfile(file)) or [source]


def _listed(source: str) -> list[str]:
    """Return the paths of a list with commas between, an empty list where some do not exist; a name may have commas."""
    found: list[str] = []
    rest = source.split(",")
    while rest:
        ends = range(min(len(rest), _MOST_COMMAS + 1), 0, -1)
        paths = {end: ",".join(rest[:end]).strip() for end in ends}
        end = next((end for end in ends if os.path.exists(paths[end])), 0)
        if not end:
            return []
        found, rest = [*found, paths[end]], rest[end:]
    return found if len(found) > 1 else []


def absolute(source: str) -> str:
    """Return a source with absolute paths, or as it is where it names no file."""
    files = [source] if os.path.exists(source) else files_of(source)
    return ",".join(map(os.path.abspath, files)) if all(map(os.path.exists, files)) else source


def read_files(
    source: str,
    *,
    header: str = "auto",
    encoding: str = "auto",
    separator: str = "auto",
    max_unpacked: int = MAX_UNPACKED,
    known_names: Collection[str] = (),
    one_column: bool = False,
) -> tuple[RawTable, tuple[str, ...]]:
    """Return the columns of one file or of several of the same columns; the targets where the format tells them.

    With `known_names` the file holds rows to predict: an NPZ file may do without `y`. With `one_column` a text file may
    hold one only.

    Raises:
        UserError: When a file cannot be read, or the columns of several differ.
    """
    parts = [
        _read_file(file, header, encoding, separator, max_unpacked, known_names, one_column)
        for file in files_of(source)
    ]
    return parts[0] if len(parts) == 1 else (joined([raw for raw, _ in parts], source), parts[0][1])


def _read_file(
    source: str,
    header: str,
    encoding: str,
    separator: str,
    max_unpacked: int,
    known_names: Collection[str],
    one_column: bool,
) -> tuple[RawTable, tuple[str, ...]]:
    data = read_bytes(source)
    sha256 = hashlib.sha256(data).hexdigest()
    name = "standard input" if source == STANDARD_INPUT else source
    data = gunzip(data, name, max_unpacked)
    path = Path(source)
    ending = (path.with_suffix("") if path.suffix.lower() == ".gz" else path).suffix.lower()
    kind, targets = _kind(data, ending), ()  # type: tuple[str, tuple[str, ...]]
    if kind == "npz":
        raw, targets = read_npz(data, name, max_unpacked, with_targets=not known_names)
    elif kind == "parquet":
        raw = read_parquet(data, name, max_unpacked)
    elif kind == "excel":
        raw = read_excel(data, name, max_unpacked, header)
    elif kind == "json":
        raw = read_json(data, name, encoding)
    else:
        raw = read_delimited(
            data,
            name,
            header=header,
            encoding=encoding,
            separator=separator,
            known_names=known_names,
            one_column=one_column,
        )
    raw = without_totals(raw) if kind in ("text", "excel") else raw
    return replace(raw, name=stem(name), sha256=sha256), targets


def _kind(data: bytes, ending: str) -> str:
    """Tell the format by the first bytes, which do not lie, else by the file's ending."""
    if data.startswith(b"PAR1"):
        return "parquet"
    if data.startswith(b"PK\x03\x04") and zipfile.is_zipfile(BytesIO(data)):
        try:
            with zipfile.ZipFile(BytesIO(data)) as archive:
                held = archive.namelist()
        except (zipfile.BadZipFile, NotImplementedError, ValueError):
            held = []  # a damaged one, of which its ending's reader says so
        if any(name.startswith("xl/") for name in held):
            return "excel"
        if any(name.endswith(".npy") for name in held):
            return "npz"
    kinds = {".npz": "npz", ".pq": "parquet", ".parquet": "parquet", ".xlsx": "excel"}
    kinds |= dict.fromkeys((".json", ".jsonl", ".ndjson"), "json")
    if ending == "" and data.lstrip()[:2].replace(b" ", b"") in (b'{"', b"[{", b"{", b"["):
        return "json"
    return kinds.get(ending, "text")


def joined(raws: list[RawTable], source: str) -> RawTable:
    """Return the rows of several files of the same columns, one file after the other."""
    first = raws[0]
    names = list(map(str, first.frame))
    for raw in raws[1:]:
        if differing := sorted(set(map(str, raw.frame)) ^ set(names)):
            raise UserError(
                f"{raw.source} and {first.source} differ in their columns ({shown(map(quoted, differing), 4)}). "
                "Several files of one table have the same columns; give one file, or make them alike."
            )
    ends = list(accumulate(len(raw.frame) for raw in raws))

    def place(row: int) -> str:
        part = bisect_right(ends, row)
        return f"{raws[part].source}, {raws[part].where(row - (ends[part] - len(raws[part].frame)))}"

    def read_text(chosen: list[str]) -> pd.DataFrame:
        texts = [raw.read_text(chosen) if raw.read_text else raw.frame[chosen].astype(object) for raw in raws]
        return pd.concat(texts, ignore_index=True)

    frame = pd.concat([raw.frame[names] for raw in raws], ignore_index=True)
    mixed = [name for name in names if len({raw.frame[name].dtype.kind in "iuf" for raw in raws}) > 1]
    if mixed or len({raw.decimal for raw in raws}) > 1:
        # What is a number in one file and text in another is one column, so it is looked at as text throughout.
        again = [name for name in names if name in mixed or first.frame[name].dtype.kind == "f"]
        frame[again] = read_text(again)
    digest = hashlib.sha256("".join(raw.sha256 for raw in raws).encode()).hexdigest()
    notes = list(dict.fromkeys(note for raw in raws for note in raw.notes))
    return replace(
        first,
        source=source if len(source) <= 80 else source[:79] + "…",
        sha256=digest,
        frame=frame,
        notes=[f"{len(raws)} files read as one table of {len(frame):,} rows", *notes],
        unclear=tuple(dict.fromkeys(name for raw in raws for name in raw.unclear)),
        left_out=tuple(f"{note} ({raw.source})" for raw in raws for note in raw.left_out),
        read_text=read_text,
        line_of=place,
    )


def read_bytes(source: str) -> bytes:
    """Return a file's bytes, or those of standard input for `-`, or say what is wrong with the path."""
    path = Path(source)
    try:
        data = sys.stdin.buffer.read() if source == STANDARD_INPUT else path.read_bytes()
    except (FileNotFoundError, ValueError):  # a path with a zero byte
        folder = path.parent
        names = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
        hint = nearest(path.name, names) if folder.is_dir() else f" There is no folder {quoted(str(folder))}."
        raise UserError(f"no such file ({source}).{hint or ' Check the path.'}") from None
    except OSError as error:
        raise UserError(f"the file cannot be read ({source}: {error.strerror}). Check its permissions.") from None
    if not data:
        what = "standard input is empty" if source == STANDARD_INPUT else f"the file is empty, 0 bytes ({source})"
        raise UserError(f"{what}. Give a table with a header line and rows.")
    return data
