"""Files whose columns have types already: NPZ, Parquet, Excel and JSON lines, and data frames."""

import contextlib
import importlib.util
import io
import json
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tfopt.data.dialect import decode, guess_header
from tfopt.data.guesses import shown
from tfopt.data.raw import RawTable, stem
from tfopt.data.spelling import level_text, quoted
from tfopt.data.surroundings import is_footnote, names_in_two_lines, said_of_names, said_of_titles, titles_of
from tfopt.data.unpacking import check_excel, check_parquet, check_zip
from tfopt.errors import UserError


def typed_table(
    frame: pd.DataFrame, name: str, source: str, sha256: str = "", *, notes: list[str] | None = None
) -> RawTable:
    """Return a data frame as a table; its index is a column where it has a name.

    Raises:
        UserError: When it has no rows, or a column that cannot be read.
    """
    if isinstance(frame.columns, pd.MultiIndex):
        raise UserError(f"columns with names on several levels ({source}). Join them: frame.columns.map('_'.join).")
    frame = with_index(frame)
    names = list(map(str, frame))
    for column in names:
        check_once(frame, column, source)
    if not len(frame):
        raise UserError(f"no rows ({source}: columns {shown(names, 6)}). Add rows.")
    columns = {name: plain(frame[name], name, source) for name in names}
    return RawTable(name, source, sha256, pd.DataFrame(columns, copy=False), notes=notes or [])


def with_index(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a data frame whose columns have texts as names; the levels of its index that have names are among them."""
    unnamed = all(name is None for name in frame.index.names)
    return frame.reset_index(drop=unnamed, allow_duplicates=True).rename(columns=str)


def check_once(frame: pd.DataFrame, name: str, source: str) -> None:
    """Complain about a name of several columns."""
    if isinstance(frame[name], pd.DataFrame):
        raise UserError(f"two columns are named {quoted(name)}, or a column and the index ({source}). Rename one.")


def plain(values: pd.Series, name: str, source: str) -> pd.Series:
    """Return a column as numbers, truth values, times, categories or text, or complain about it."""
    values = values.rename(name)
    if isinstance(values.dtype, pd.SparseDtype):
        return pd.Series(np.asarray(values), index=values.index, name=name)
    if isinstance(values.dtype, pd.PeriodDtype):
        return values.dt.to_timestamp()
    _check_utf8(values.cat.categories if isinstance(values.dtype, pd.CategoricalDtype) else values, name, source)
    if values.dtype.kind == "c":
        raise UserError(f"complex numbers in column {quoted(name)} ({source}). Split it into two columns of numbers.")
    if values.dtype == object:
        present = values.dropna()
        if len(present) and not all(map(pd.api.types.is_hashable, present)):
            kind = next(type(value).__name__ for value in present if not pd.api.types.is_hashable(value))
            raise UserError(
                f"column {quoted(name)} holds a {kind} in each row ({source}). Split it into columns of its own."
            )
        return values.infer_objects()
    return values


def _check_utf8(texts: pd.Series | pd.Index, name: str, source: str) -> None:
    """Complain about texts that pyarrow holds and no reader has looked at: it fails only where one is shown."""
    if getattr(texts.dtype, "storage", "") != "pyarrow" and not isinstance(texts.dtype, pd.ArrowDtype):
        return
    try:
        texts.array.__arrow_array__().validate(full=True)
    except ValueError:
        raise UserError(
            f"column {quoted(name)} holds text that is not UTF-8 ({source}). Write it again in UTF-8, or give a CSV "
            "file with its --encoding."
        ) from None


# What NumPy, pyarrow, openpyxl and what they stand on raise for archives with bytes changed or missing.
DAMAGES = (
    *(ValueError, TypeError, KeyError, IndexError, AttributeError, SyntaxError, NotImplementedError),
    *(OSError, EOFError, zipfile.BadZipFile, zlib.error),
)


def read_npz(data: bytes, source: str, max_unpacked: int, with_targets: bool) -> tuple[RawTable, tuple[str, ...]]:
    """Return the arrays `x` and `y` as a table, and the names of the columns of `y`."""
    held, names = read_arrays(data, source, max_unpacked, ("x", "y"))
    if not with_targets and "x" in held and held["x"].ndim:
        return typed_table(_x_frame(held["x"]), stem(source), source), ()
    if not {"x", "y"} <= set(held):
        raise UserError(f"an NPZ file must hold 'x' and 'y' ({source} holds {shown(names) or 'nothing'}). Rename them.")
    x, y = held["x"], held["y"]
    if x.ndim < 1 or not y.ndim or len(x) != len(y):
        raise UserError(
            f"'x' and 'y' differ in rows ({source}: x has shape {x.shape}, y {y.shape}). "
            "Give both a row for each example."
        )
    if not len(x):
        raise UserError(f"no rows ({source}: x has shape {x.shape}). Add rows.")
    frame = _x_frame(x)
    y = y.reshape(len(y), -1)
    targets = ["y"] if y.shape[1] == 1 else [f"y_{place}" for place in range(y.shape[1])]
    frame = pd.concat([frame, pd.DataFrame(y, columns=targets)], axis=1)
    return typed_table(frame, stem(source), source), tuple(targets)


def read_arrays(
    data: bytes, source: str, max_unpacked: int, only: Sequence[str] | None = None
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return the arrays of an NPZ file, or some of them, and the names of all: numbers, truth values, dates, text."""
    advice = "Save it with numpy.savez(path, x=..., y=...)."
    if not zipfile.is_zipfile(io.BytesIO(data)):
        raise UserError(f"not an NPZ file ({source}). {advice}")
    try:
        check_zip(data, source, max_unpacked)
        _complain_about_claims(data, source)
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            names = list(archive.files)
            held = {name: archive[name] for name in names if only is None or name in only}
    except UserError:
        raise
    except (*DAMAGES, MemoryError) as error:
        raise UserError(f"not an NPZ file ({source}: {error}). {advice}") from None
    for name, array in held.items():
        if array.dtype.kind not in "biufSUMm":
            kind = "complex numbers" if array.dtype.kind == "c" else f"values of type {str(array.dtype)[:60]}"
            raise UserError(f"array {name!r} holds {kind} ({source}). Save numbers, truth values, dates or text.")
    return held, names


def _complain_about_claims(data: bytes, source: str) -> None:
    """Refuse arrays whose header claims more than the file holds, before memory for them is asked for."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for member in archive.infolist():
            if not member.filename.endswith(".npy"):
                continue
            with archive.open(member) as file:
                version = np.lib.format.read_magic(file)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, _, dtype = read(file)
                held = member.file_size - file.tell()
            claimed = int(np.prod([*map(int, shape)], dtype=object)) * dtype.itemsize
            if not dtype.hasobject and (claimed != held or not dtype.itemsize):
                raise UserError(
                    f"array {member.filename[:-4]!r} claims shape {shape}, {claimed:,} bytes, and holds {held:,} "
                    f"({source}). Save it again."
                )


def _x_frame(x: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(x.reshape(len(x), -1), columns=element_names("x", x.shape[1:]))


def element_names(stem_name: str, shape: tuple[int, ...]) -> list[str]:
    """Return a name for each element of an array: `x`, or `x_0_3`."""
    if not shape:
        return [stem_name]
    return ["_".join([stem_name, *map(str, place)]) for place in np.ndindex(*shape)]


@contextlib.contextmanager
def parquet_damage_said(source: str) -> Iterator[None]:
    """Say in one line what pyarrow complains of while a file is read."""
    import pyarrow  # an extra

    try:
        yield
    except UserError:
        raise
    except (*DAMAGES, pyarrow.ArrowException) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise UserError(f"not a Parquet file ({source}: {reason}). Write it again, or give a CSV file.") from None


def read_parquet(data: bytes, source: str, max_unpacked: int) -> RawTable:
    """Return a Parquet file's columns."""
    if not importlib.util.find_spec("pyarrow"):
        raise UserError(f"Parquet needs a reader ({source}). Install it: pip install pyarrow.")
    with parquet_damage_said(source):
        check_parquet(data, source, max_unpacked)
        frame = pd.read_parquet(io.BytesIO(data), engine="pyarrow")
    return typed_table(frame, stem(source), source)


def read_excel(data: bytes, source: str, max_unpacked: int, header: str) -> RawTable:
    """Return the first sheet of an Excel file."""
    if not importlib.util.find_spec("openpyxl"):
        raise UserError(f"Excel files need a reader ({source}). Install it: pip install openpyxl, or save it as CSV.")
    try:
        check_excel(data, source, max_unpacked)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # openpyxl's, about styles and validation that it leaves out
            book = pd.ExcelFile(io.BytesIO(data), engine="openpyxl")
            frame = book.parse(0, header=None, dtype=object, keep_default_na=False, na_values=["", " ", "  ", "\xa0"])
    except UserError:
        raise
    except DAMAGES as error:
        raise UserError(f"not an Excel file ({source}: {error}). Save it again as .xlsx, or as CSV.") from None
    sheets = list(map(str, book.sheet_names))
    notes = [f"read the first of {len(sheets)} sheets, {quoted(sheets[0])}"] if len(sheets) > 1 else []
    frame = frame.dropna(how="all").dropna(how="all", axis=1).reset_index(drop=True)
    if frame.empty:
        raise UserError(f"the first sheet is empty ({source}). Give a table with a header line and rows.")
    written = _texts(frame)
    if header != "no" and (num_titles := titles_of(written)):
        notes.append(said_of_titles(written[:num_titles]))
        frame = frame.iloc[num_titles:].dropna(how="all", axis=1)
        written = _texts(frame)
    while len(frame) > 2 and is_footnote(frame.iloc[-1]):
        notes.append(f"read without the note below: {quoted(str(frame.iloc[-1].dropna().iloc[0]))}")
        frame = frame.iloc[:-1]
    if header != "no" and (two := names_in_two_lines(written)):
        notes.append(said_of_names(written))
        frame = frame.iloc[1:]
        written = [two, *written[2:]]
    has_header, doubt = guess_header(written) if header == "auto" else (header == "yes", "")
    notes += [doubt] if doubt else []
    names = [f"column_{place}" for place in range(1, len(frame.columns) + 1)]
    nameless: tuple[str, ...] = ()
    if has_header:
        nameless = tuple(name for name, cell in zip(names, written[0], strict=True) if not cell)
        notes += [f"{name} has no name in the sheet" for name in nameless]
        names = [cell or name for name, cell in zip(names, written[0], strict=True)]
        frame = frame.iloc[1:]
    else:
        notes.append(f"read as having no header line (change with --header); columns are column_1 to {names[-1]}")
    raw = typed_table(frame.set_axis(names, axis=1), stem(source), source, notes=notes)
    raw.has_header, raw.unnamed = has_header, nameless
    return raw


def _texts(frame: pd.DataFrame) -> list[list[str]]:
    return [["" if pd.isna(cell) else level_text(cell) for cell in row] for row in frame.head(500).to_numpy()]


def read_json(data: bytes, source: str, encoding: str) -> RawTable:
    """Return JSON lines (an object a row), or a JSON list of objects, as columns."""
    text, notes = decode(data, source, encoding)
    rows: list[Any] = []
    number = 0
    try:
        if text.lstrip()[:1] == b"[":
            rows = json.loads(text)
        else:
            for number, line in enumerate(text.splitlines(), start=1):  # noqa: B007 the message below has it
                if line.strip():
                    rows.append(json.loads(line))
    except json.JSONDecodeError as error:
        place = error.lineno if text.lstrip()[:1] == b"[" else number
        raise UserError(
            f'line {place} is not JSON ({source}: {error.msg}). Write an object on each line: {{"a": 1, "y": 2}}.'
        ) from None
    wrong = next((place for place, row in enumerate(rows, start=1) if not isinstance(row, dict)), 0)
    if wrong:
        kind = type(rows[wrong - 1]).__name__
        raise UserError(f'row {wrong} is a {kind}, not an object ({source}). Write {{"a": 1, "y": 2}} for each row.')
    return typed_table(pd.DataFrame(rows), stem(source), source, notes=notes)
