"""Read a CSV-like file of unknown encoding, separator and header, and say exactly where it is broken."""

import gzip
import hashlib
import io
import itertools
import re
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from tfopt.data.dialect import (
    SEPARATORS,
    SPELLINGS,
    decode,
    first_records,
    guess_decimal,
    guess_header,
    guess_separator,
    read_records,
)
from tfopt.data.spelling import MISSING_TEXT
from tfopt.errors import UserError, nearest

_NUMBERED = re.compile(r"column_\d+")


@dataclass
class RawTable:
    """A file's columns before anyone has decided what they mean.

    Args:
        name: The file's name without its endings.
        source: The path as the user wrote it.
        sha256: Hash of the file's bytes.
        frame: Numbers where a whole column reads as numbers, text otherwise; missing values as NaN.
        has_header: Whether the file names its columns.
        notes: What was guessed.
        text: The decoded text, for finding line numbers (delimited files only).
        separator: What separates fields (delimited files only).
        read_text: Reads the named columns again, as written (delimited files only): `007` is the number 7 and a level.
    """

    name: str
    source: str
    sha256: str
    frame: pd.DataFrame
    has_header: bool = True
    notes: list[str] = field(default_factory=list)
    text: str = ""
    separator: str = ","
    read_text: Callable[[list[str]], pd.DataFrame] | None = None

    def where(self, row: int) -> str:
        """Return the place of a row (counted from 0) for a message: its line in a text file, else its number."""
        if not self.text:
            return f"row {row + 1}"
        for number, (line, _) in enumerate(read_records(self.text, self.separator)):
            if number == row + self.has_header:
                return f"line {line}"
        return f"row {row + 1}"


def read_delimited(
    path: str | Path,
    *,
    header: str = "auto",
    encoding: str = "auto",
    separator: str = "auto",
    known_names: Collection[str] = (),
) -> RawTable:
    """Read a CSV or TSV file.

    Args:
        path: The file; gzip is recognised by its first bytes.
        header: `"yes"`, `"no"`, or `"auto"` to guess.
        encoding: A Python codec's name, or `"auto"`: UTF-8 (with or without BOM), UTF-16 with BOM, GB18030, then
            Windows-1252.
        separator: A character, one of `comma semicolon tab pipe space`, or `"auto"`.
        known_names: Names that its columns should have. A first line with one of them is a header, and then one column
            may be all there is; if all are of the form `column_1`, a first line with none of them is no header.

    Raises:
        UserError: When there is no such file, it is no text, or its rows are not all of one width.
    """
    source = str(path)
    data = read_bytes(source)
    sha256 = hashlib.sha256(data).hexdigest()
    text, notes = decode(_unzip(data, source), source, encoding)
    if not text.strip():
        raise UserError(f"the file is empty ({source}). Give a table with a header line and rows.")
    if separator == "auto":
        separator = _separator_of_names(text, known_names) or guess_separator(text)
        if separator != ",":
            notes.append(f"read as separated by {SEPARATORS[separator]} (change with --separator)")
    else:
        separator = SPELLINGS.get(separator, separator)
        if len(separator) != 1:
            raise UserError(
                f"a separator is one character (received {separator!r}). "
                f"Use a character or one of {' '.join(SPELLINGS)}."
            )
    records = first_records(text, separator)
    if not records:
        raise UserError(f"no columns, only quotes and blanks ({source}). Give a table with a header line and rows.")
    names_known = any(name in known_names for name in _tidy(records[0]))
    unnamed = bool(known_names) and all(map(_NUMBERED.fullmatch, known_names))
    if len(records[0]) == 1 and not (names_known or unnamed):
        _complain_about_one_column(source, records, separator)
    if header == "auto":
        has_header = names_known or (not unnamed and guess_header(records))
    else:
        has_header = header == "yes"
    decimal = "." if separator == "," else guess_decimal(records[has_header:])
    if decimal == ",":
        notes.append("read with decimal commas")
    if has_header:
        names = _names(records[0], source, notes)
    else:
        names = [f"column_{place}" for place in range(1, len(records[0]) + 1)]
        guessed = "read as having no header line (change with --header); " if header == "auto" else ""
        notes.append(f"{guessed}columns are named column_1 to column_{len(names)}")
    names, trailing = _allow_trailing_separator(records, names, has_header)
    if has_header and sum(1 for _ in itertools.islice(read_records(text, separator), 2)) < 2:
        raise UserError(f"a header and no rows ({source}: {_short(names)}). Add rows, or pass --no-header.")
    frame, read_text = _parse(text, names + trailing, separator, decimal, has_header, source)
    frame = frame[names]
    return RawTable(
        name=stem(source),
        source=source,
        sha256=sha256,
        frame=frame,
        has_header=has_header,
        notes=notes,
        text=text,
        separator=separator,
        read_text=read_text,
    )


def _separator_of_names(text: str, known_names: Collection[str]) -> str:
    """Return the separator that splits the first line into the most known names, `""` where none does."""
    known = {}
    for separator in SEPARATORS if known_names else ():
        records = first_records(text, separator)
        known[separator] = sum(name in known_names for name in _tidy(records[0])) if records else 0
    best = max(known, key=known.__getitem__, default="")
    return best if known.get(best) else ""


def read_bytes(source: str) -> bytes:
    """Return a file's bytes, or say what is wrong with the path."""
    path = Path(source)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        folder = path.parent
        names = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
        hint = nearest(path.name, names) if folder.is_dir() else f" There is no folder {str(folder)!r}."
        raise UserError(f"no such file ({source}).{hint or ' Check the path.'}") from None
    except IsADirectoryError:
        tables = sorted(entry.name for entry in path.iterdir() if entry.suffix in {".csv", ".tsv", ".gz", ".parquet"})
        hint = f", such as {Path(source, tables[0])}" if tables else ""
        raise UserError(f"a folder, not a file ({source}). Give the table's file{hint}.") from None
    except OSError as error:
        raise UserError(f"the file cannot be read ({source}: {error.strerror}). Check its permissions.") from None
    if not data:
        raise UserError(f"the file is empty, 0 bytes ({source}). Give a table with a header line and rows.")
    return data


def stem(source: str) -> str:
    """Return a file's name without folder and endings."""
    return Path(source).name.split(".")[0] or Path(source).name


def _unzip(data: bytes, source: str) -> bytes:
    if not data.startswith(b"\x1f\x8b"):
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"a damaged gzip file ({source}: {error}). Fetch or compress it again.") from None


def _complain_about_one_column(source: str, records: list[list[str]], separator: str) -> None:
    first = records[0][0]
    shown = first if len(first) <= 60 else f"{first[:57]}…"
    better = next((s for s in SEPARATORS if s != separator and s in first.strip()), "")
    if better:
        fix = (
            f"It looks separated by {SEPARATORS[better]}: pass --separator {SEPARATORS[better].replace('white ', '')}."
        )
    else:
        fix = "A table needs a feature and a target; if another character separates them, name it with --separator."
    split = SEPARATORS.get(separator, repr(separator))
    raise UserError(f"one column only, split at {split} ({source}, line 1: {shown!r}). {fix}")


def _tidy(cells: list[str]) -> list[str]:
    """Return header cells without outer blanks and without the line breaks of spreadsheets."""
    return [re.sub(r"\s*[\r\n]+\s*", " ", cell.strip()) for cell in cells]


def _names(cells: list[str], source: str, notes: list[str]) -> list[str]:
    names = _tidy(cells)
    while len(names) > 1 and not names[-1]:
        names.pop()  # a separator at the end of the header line
    for place, name in enumerate(names, start=1):
        if not name:
            names[place - 1] = f"column_{place}"
            notes.append(f"column {place} has no name, called column_{place}")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        places = [place for place, name in enumerate(names, start=1) if name == twice[0]]
        raise UserError(
            f"two columns are named {twice[0]!r} ({source}, line 1, columns {_short(map(str, places))}). Rename one; "
            "if the file has no header line, pass --no-header."
        )
    return names


def _allow_trailing_separator(
    records: list[list[str]], names: list[str], has_header: bool
) -> tuple[list[str], list[str]]:
    """Return the names to keep, and one for the empty field after a separator that ends every line."""
    body = records[has_header:]
    width = len(names) + has_header
    if body and all(len(record) == width and not record[-1].strip() for record in body):
        return (names, ["(nothing)"]) if has_header else (names[:-1], ["(nothing)"])
    return names, []


def _parse(
    text: str, names: list[str], separator: str, decimal: str, has_header: bool, source: str
) -> tuple[pd.DataFrame, Callable[[list[str]], pd.DataFrame]]:
    def read(**options: object) -> pd.DataFrame:
        return pd.read_csv(  # type: ignore[call-overload]
            io.StringIO(text, newline=""),
            sep=r"\s+" if separator == " " else separator,
            decimal=decimal,
            header=0 if has_header else None,
            names=names,
            index_col=False,
            keep_default_na=False,
            na_values=[*MISSING_TEXT, *(f"{text} " for text in MISSING_TEXT)],
            skipinitialspace=True,
            low_memory=False,
            **options,
        )

    def read_text(chosen: list[str]) -> pd.DataFrame:
        columns = read(usecols=chosen, dtype="str")
        for name in chosen:
            stripped = columns[name].str.strip()
            columns[name] = stripped.mask(stripped.isin(MISSING_TEXT))
        return columns

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = read()
    except (pd.errors.ParserError, pd.errors.ParserWarning, pd.errors.EmptyDataError) as error:
        if "EOF inside string" in str(error):
            ends = [0, *(line for line, _ in read_records(text, separator))]
            raise UserError(
                f"a quote opened on line {ends[-2] + 1} is not closed ({source}). Close or remove it."
            ) from None
        _complain_about_ragged_rows(text, len(names), separator, has_header, source)
        raise UserError(f"not readable as a table ({source}: {str(error).strip()}). Check its quotes.") from None
    if frame.iloc[:, -1].isna().any():  # only then can a row have been too short
        _complain_about_ragged_rows(text, len(names), separator, has_header, source)
    as_text = [name for name in map(str, frame) if frame[name].dtype == bool or frame[name].dtype == object]
    if as_text:  # pandas reads TRUE and True as one value; keep what was written
        frame[as_text] = read_text(as_text)[as_text]
    for name in frame.columns[frame.dtypes == "str"]:
        stripped = frame[name].str.strip()
        frame[name] = stripped.mask(stripped.isin(MISSING_TEXT))
    return frame, read_text


def _complain_about_ragged_rows(text: str, width: int, separator: str, has_header: bool, source: str) -> None:
    end = 0
    for number, (line, record) in enumerate(read_records(text, separator)):
        start, end = end + 1, line
        if len(record) == width or (number == 0 and has_header):
            continue
        fields = f"{len(record)} field{'s' * (len(record) != 1)}"
        expected = f"the header has {width}" if has_header else f"line 1 has {width}"
        if '"' in text and (line > start or any("\n" in cell for cell in record)):
            advice = "Check for a quote that is not closed"
        elif len(record) > width:
            advice = f"Check for an unquoted {SEPARATORS.get(separator, repr(separator))}"
        else:
            advice = "Complete it"
        where = f"line {line}" if line <= start or separator == " " else f"the row of lines {start} to {line}"
        raise UserError(
            f"{where} has {fields}, {expected} ({source}). {advice}, or name the separator with --separator."
        )


def _short(names: Iterable[str], most: int = 6) -> str:
    words = list(names)
    return ", ".join(words[:most]) + (f" … ({len(words)} in all)" if len(words) > most else "")
