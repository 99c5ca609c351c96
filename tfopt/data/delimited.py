"""Read a CSV-like file of unknown encoding, separator and header, and say exactly where it is broken."""

import io
import re
import warnings
from collections import Counter
from collections.abc import Callable, Collection
from functools import cache

import numpy as np
import pandas as pd

from tfopt.data.dialect import (
    SEPARATORS,
    SPELLINGS,
    blank_out_comments,
    decode,
    first_records,
    guess_decimal,
    guess_header,
    guess_separator,
    read_records,
    split_preamble,
)
from tfopt.data.guesses import shown
from tfopt.data.raw import RawTable, stem
from tfopt.data.spelling import MISSING_TEXT, quoted
from tfopt.data.surroundings import without_surroundings
from tfopt.data.values import is_whole
from tfopt.errors import UserError

_NUMBERED = re.compile(r"column_\d+")
_CHUNK = 1 << 20
_UNCLEAR = {sign: re.compile(rf"[-+]?[1-9]\d{{0,2}}\{sign}\d{{3}}") for sign in ".,"}


def read_delimited(
    data: bytes,
    source: str,
    *,
    header: str = "auto",
    encoding: str = "auto",
    separator: str = "auto",
    known_names: Collection[str] = (),
    one_column: bool = False,
    bare: bool = False,
) -> RawTable:
    """Read a CSV or TSV file.

    Args:
        data: The file's bytes.
        source: Its path, for messages.
        header: `"yes"`, `"no"`, or `"auto"` to guess.
        encoding: A Python codec's name, or `"auto"`: UTF-8 and UTF-16 (with or without a mark), GB18030, then
            Windows-1252.
        separator: A character, one of `comma semicolon tab pipe space`, or `"auto"`.
        known_names: Names that its columns should have. A first line with one of them is a header, and then one column
            may be all there is; if all are of the form `column_1`, a first line with none of them is no header.
        one_column: Whether one column may be all there is.
        bare: Whether nothing but names and rows is expected: titles, comments and notes are rows of a wrong width then.

    Raises:
        UserError: When it is no text, or its rows are not all of one width.
    """
    text, notes = decode(data, source, encoding)
    if text.isspace() or not text:
        raise UserError(f"the file is empty ({source}). Give a table with a header line and rows.")
    preamble, text, named = ([], text, "") if bare else split_preamble(text)
    if separator == "auto":
        separator = named or _separator_of_names(text, known_names) or guess_separator(text)
        if separator != ",":
            notes.append(f"read as separated by {SEPARATORS.get(separator, separator)} (change with --separator)")
    else:
        separator = SPELLINGS.get(separator, separator)
        if len(separator) != 1:
            raise UserError(
                f"a separator is one character (received {quoted(separator)}). "
                f"Use a character or one of {' '.join(SPELLINGS)}."
            )
    text, num_comments = (text, 0) if bare else blank_out_comments(preamble, text, separator)
    if num_comments:
        notes.append(f"{num_comments} line{'s' * (num_comments > 1)} beginning with '#' left out")
    text, said = (text, []) if bare or header == "no" else without_surroundings(text, separator)
    notes += said
    records = first_records(text, separator)
    if not records:
        raise UserError(f"no columns, only quotes and blanks ({source}). Give a table with a header line and rows.")
    names_known = any(name in known_names for name in _tidy(records[0]))
    unnamed = bool(known_names) and all(map(_NUMBERED.fullmatch, known_names))
    if len(records[0]) == 1 and not (names_known or unnamed or one_column):
        _complain_about_one_column(source, records, separator)
    has_header = header == "yes"
    if header == "auto":
        has_header, doubt = (True, "") if names_known else (False, "") if unnamed else guess_header(records)
        notes += [doubt] if doubt else []
    if has_header:
        text, num_copies = _without_copies_of_header(text)
        notes += [f"{num_copies} more line{'s' * (num_copies > 1)} with the names left out"] if num_copies else []
        records = first_records(text, separator)
    decimal = guess_decimal(records[has_header:])
    nameless: list[str] = []
    if has_header:
        names, nameless = _names(records[0], source)
        notes += [f"column {name.removeprefix('column_')} has no name, called {name}" for name in nameless]
    else:
        names = [f"column_{place}" for place in range(1, len(records[0]) + 1)]
        guessed = "read as having no header line (change with --header); " if header == "auto" else ""
        notes.append(f"{guessed}columns are named column_1 to column_{len(names)}")
    names, trailing = _allow_trailing_separator(records, names, has_header)
    if has_header and len(records) < 2:
        raise UserError(f"a header and no rows ({source}: {shown(names, 6)}). Add rows, or pass --no-header.")
    frame, read_text = _parse(text, names + trailing, separator, decimal, has_header, source)
    if trailing and frame[trailing].notna().any(axis=None):
        _complain_about_ragged_rows(text.decode(), len(names), separator, has_header, source)
    frame = frame[names] if trailing else frame

    @cache
    def lines() -> list[int]:
        return [line for line, _ in read_records(text.decode(), separator)][has_header:]

    return RawTable(
        name=stem(source),
        source=source,
        sha256="",
        frame=frame,
        has_header=has_header,
        notes=notes,
        separator=separator,
        decimal=decimal,
        unclear=_unclear(frame, records[has_header:], decimal),
        padded=_padded(text, frame, separator, read_text),
        unnamed=tuple(nameless),
        read_text=read_text,
        line_of=lambda row: f"line {lines()[row]}" if row < len(lines()) else f"row {row + 1}",
    )


def end_of_names(head: str, raw: RawTable) -> int:
    """Return the line on which the names of a table end, 0 where it has none or they are no line of their own."""
    names = list(map(str, raw.frame))
    for line, record in read_records(head, raw.separator) if raw.has_header else ():
        found = [name or f"column_{place}" for place, name in enumerate(_tidy(record), start=1)]
        if found[: len(names)] == names:
            return line
    return 0


def _without_copies_of_header(text: bytes) -> tuple[bytes, int]:
    """Return the text with blank lines in place of copies of its first line, which joined files have; count them."""
    start = len(text) - len(text.lstrip(b"\r\n"))
    end = text.find(b"\n", start)
    line = text[start : end + 1]
    num_copies = text.count(b"\n" + line, end) if end > 0 else 0
    if num_copies:
        text = text[:end] + text[end:].replace(b"\n" + line, b"\n\n")
    return text, num_copies


def _separator_of_names(text: bytes, known_names: Collection[str]) -> str:
    """Return the separator that splits the first line into the most known names, `""` where none does."""
    known = {}
    for separator in SEPARATORS if known_names else ():
        records = first_records(text, separator)
        known[separator] = sum(name in known_names for name in _tidy(records[0])) if records else 0
    best = max(known, key=known.__getitem__, default="")
    return best if known.get(best) else ""


def _complain_about_one_column(source: str, records: list[list[str]], separator: str) -> None:
    first = records[0][0]
    better = next((s for s in SEPARATORS if s != separator and s in first.strip()), "")
    if better:
        fix = (
            f"It looks separated by {SEPARATORS[better]}: pass --separator {SEPARATORS[better].replace('white ', '')}."
        )
    else:
        fix = "A table needs a feature and a target; if another character separates them, name it with --separator."
    split = SEPARATORS.get(separator, repr(separator))
    raise UserError(f"one column only, split at {split} ({source}, line 1: {quoted(first)}). {fix}")


def _tidy(cells: list[str]) -> list[str]:
    """Return header cells without outer blanks and without the line breaks of spreadsheets."""
    return [re.sub(r"\s*[\r\n]+\s*", " ", cell.strip()) for cell in cells]


def _names(cells: list[str], source: str) -> tuple[list[str], list[str]]:
    """Return the columns' names, and those that were made up for a blank in the header."""
    names = _tidy(cells)
    while len(names) > 1 and not names[-1]:
        names.pop()  # a separator at the end of the header line
    nameless = [f"column_{place}" for place, name in enumerate(names, start=1) if not name]
    names = [name or f"column_{place}" for place, name in enumerate(names, start=1)]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        places = [str(place) for place, name in enumerate(names, start=1) if name == twice[0]]
        raise UserError(
            f"two columns are named {quoted(twice[0])} ({source}, line 1, columns {shown(places, 6)}). Rename one; "
            "if the file has no header line, pass --no-header."
        )
    return names, nameless


def _allow_trailing_separator(
    records: list[list[str]], names: list[str], has_header: bool
) -> tuple[list[str], list[str]]:
    """Return the names to keep, and one for each empty field after separators that end every line."""
    body = records[has_header:]
    width = max(map(len, body), default=0)
    kept = len(names) if has_header else max((_last_filled(record) for record in body), default=0)
    if kept < width and all(len(record) == width for record in body):
        return names[:kept], [f"(nothing {place})" for place in range(kept, width)]
    return names, []


def _last_filled(record: list[str]) -> int:
    """Return how many fields there are up to the last that is not blank."""
    return next((place for place in range(len(record), 0, -1) if record[place - 1].strip()), 0)


def _parse(
    text: bytes, names: list[str], separator: str, decimal: str, has_header: bool, source: str
) -> tuple[pd.DataFrame, Callable[[list[str]], pd.DataFrame]]:
    # Only before a quote, and for separators of blanks, does a leading blank matter; it takes time to look for.
    blanks = separator == " " or b'"' in text or b" " in text[:_CHUNK]

    def read(**options: object) -> pd.DataFrame:
        return pd.read_csv(  # type: ignore[call-overload]
            io.BytesIO(text),
            sep=r"\s+" if separator == " " else separator,
            decimal=decimal,
            header=0 if has_header else None,
            names=names,
            index_col=False,
            keep_default_na=False,
            na_values=[*MISSING_TEXT, *(f"{text} " for text in MISSING_TEXT)],
            skipinitialspace=blanks,
            **options,
        )

    def read_text(chosen: list[str]) -> pd.DataFrame:
        return read(usecols=chosen, dtype="str")

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            warnings.simplefilter("ignore", pd.errors.DtypeWarning)  # such columns are read again below
            frame = read()
    except (pd.errors.ParserError, pd.errors.ParserWarning, pd.errors.EmptyDataError) as error:
        whole = text.decode()
        if "EOF inside string" in str(error):
            ends = [0, *(line for line, _ in read_records(whole, separator))]
            raise UserError(
                f"a quote opened on line {ends[-2] + 1} is not closed ({source}). Close or remove it."
            ) from None
        _complain_about_ragged_rows(whole, len(names), separator, has_header, source)
        raise UserError(f"not readable as a table ({source}: {str(error).strip()}). Check its quotes.") from None
    # A row can have been too short only where the last column has a gap.
    if frame.iloc[:, -1].isna().any() and not _is_even(text, frame.shape, separator, has_header):
        _complain_about_ragged_rows(text.decode(), len(names), separator, has_header, source)
    as_text = [str(name) for name, dtype in frame.dtypes.items() if dtype in (bool, object)]
    if as_text:  # pandas reads TRUE and True as one value, and numbers beside words as both; keep what was written
        written = read_text(as_text)
        for name in as_text:
            frame[name] = written[name]
    return frame, read_text


def _is_even(text: bytes, shape: tuple[int, int], separator: str, has_header: bool) -> bool:
    """Whether the number of separators alone shows that no row is short (pandas has refused the long ones)."""
    num_lines = shape[0] + has_header
    return b'"' not in text and separator != " " and text.count(separator.encode()) == num_lines * (shape[1] - 1)


def _unclear(frame: pd.DataFrame, records: list[list[str]], decimal: str) -> tuple[str, ...]:
    """Return the columns whose decimal signs may separate thousands, as far as the first records tell."""
    found = []
    for place, (name, dtype) in enumerate(frame.dtypes.items()):
        if dtype != "float64":
            continue
        cells = (record[place].strip() for record in records if place < len(record) and decimal in record[place])
        clear = (_UNCLEAR[decimal].fullmatch(cell) is None for cell in cells)
        if any(clear):
            continue
        values = frame[name].to_numpy()
        if not (np.isnan(values) | (values == np.floor(values))).all() or any(
            place < len(record) and decimal in record[place] for record in records
        ):
            found.append(str(name))
    return tuple(found)


def _padded(
    text: bytes, frame: pd.DataFrame, separator: str, read_text: Callable[[list[str]], pd.DataFrame]
) -> dict[str, str]:
    """Return the columns of whole numbers that hold a number with a leading zero, each with one of them."""
    if not _has_padding(text, separator):
        return {}
    whole = [str(name) for name in frame if frame[name].dtype.kind in "if" and is_whole(frame[name].to_numpy())]
    written = read_text(whole)
    found = {}
    for name in whole:
        padded = written[name].str.match(r"\s*[-+]?0\d")
        if padded.any():
            found[name] = str(written[name][padded].iloc[0]).strip()
    return found


def _has_padding(text: bytes, separator: str) -> bool:
    """Whether a field begins with 0 and another digit, in the first or the last part of a long text."""
    starts = [*range(0, len(text), _CHUNK)]
    num_quotes, counted = 0, 0
    for start in starts if len(starts) <= 4 else starts[:2] + starts[-2:]:
        array = np.frombuffer(text, dtype=np.uint8, count=min(_CHUNK + 2, len(text) - start), offset=start)
        zeros = (array[1:-1] == ord("0")) & (array[2:] - ord("0") < 10)  # smaller ones wrap round to large ones
        before = np.flatnonzero(zeros)
        before = before[np.isin(array[before], list(f'{separator}\n\r" '.encode()))]
        if b'"' in text and len(before):  # no field begins within "1,005"
            quotes = np.flatnonzero(array == ord('"'))
            num_quotes, counted = num_quotes + text.count(b'"', counted, start), start
            within = (np.searchsorted(quotes, before, side="right") + num_quotes) % 2 == 1
            before = before[(array[before] == ord('"')) | ~within]
        if len(before):
            return True
    return False


def _complain_about_ragged_rows(text: str, width: int, separator: str, has_header: bool, source: str) -> None:
    for number, (line, record) in enumerate(read_records(text, separator)):
        start = line - sum(cell.count("\n") for cell in record)
        if len(record) == width or (number == 0 and has_header):
            continue
        fields = f"{len(record)} field{'s' * (len(record) != 1)}"
        expected = f"the header has {width}" if has_header else f"line 1 has {width}"
        if '"' in text and line > start:
            advice = "Check for a quote that is not closed"
        elif len(record) > width:
            advice = f"Check for an unquoted {SEPARATORS.get(separator, repr(separator))}"
        else:
            advice = "Complete it"
        where = f"line {line}" if line == start else f"the row of lines {start} to {line}"
        raise UserError(
            f"{where} has {fields}, {expected} ({source}). {advice}, or name the separator with --separator."
        )
