"""What a text file is written in: its encoding, separator, header and decimal sign, guessed from its beginning."""

import csv
import io
import itertools
import re
from collections import Counter
from collections.abc import Iterator

from tfopt.data.spelling import MISSING_TEXT
from tfopt.errors import UserError

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe", " ": "white space"}
SPELLINGS = {
    "comma": ",",
    "semicolon": ";",
    "tab": "\t",
    "\\t": "\t",
    "pipe": "|",
    "space": " ",
    "whitespace": " ",
    "\\s+": " ",
}
_SAMPLE_CHARACTERS = 200_000
_SAMPLE_LINES = 20
_SAMPLE_RECORDS = 500
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?|[+-]?(inf|Inf|infinity|Infinity)")
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
_DECIMAL_POINT = re.compile(r"[+-]?\d*\.\d+")
_DATE = re.compile(r"\d{1,4}[-/.年]\d{1,2}([-/.月]\d{1,4}日?)?([ T].*)?")


def decode(data: bytes, source: str, encoding: str) -> tuple[str, list[str]]:
    """Return the text and a note where the encoding had to be guessed."""
    if encoding != "auto":
        try:
            return data.decode(encoding).removeprefix("\ufeff"), []
        except LookupError:
            raise UserError(f"no such encoding (--encoding {encoding}). Try utf-8, gb18030 or cp1252.") from None
        except UnicodeDecodeError as error:
            raise UserError(
                f"not {encoding} (byte 0x{data[error.start]:02x} at offset {error.start} of {source}). "
                "Name its encoding with --encoding, or leave the option away to have it guessed."
            ) from None
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        try:
            return data.decode("utf-16"), ["read as UTF-16"]
        except UnicodeDecodeError:
            raise UserError(_not_text(data, source)) from None
    if b"\0" in data:
        raise UserError(_not_text(data, source))
    try:
        return data.decode("utf-8-sig"), []
    except UnicodeDecodeError as error:
        offset, byte = error.start, data[error.start]
    guess = "cp1252"
    try:
        text = data.decode("gb18030")
        foreign = Counter(character for character in text if character > "\x7f")
        common = sum(count for character, count in foreign.items() if _in_gb2312(character))
        if common >= 0.8 * sum(foreign.values()):
            guess = "gb18030"
    except UnicodeDecodeError:
        pass  # then it is not GB18030, and the guess stands
    text = data.decode(guess, errors="replace")
    odd = sum(
        (character < " " and character not in "\t\r\n\f\v") or character == "\ufffd" for character in text[:100_000]
    )
    if odd > 0.001 * min(len(text), 100_000):
        raise UserError(_not_text(data, source))
    named = {"gb18030": "GB18030", "cp1252": "Windows-1252"}[guess]
    return text, [f"not UTF-8 (byte 0x{byte:02x} at offset {offset}), read as {named} (change with --encoding)"]


def _in_gb2312(character: str) -> bool:
    try:
        character.encode("gb2312")
    except UnicodeEncodeError:
        return False
    return True


def _not_text(data: bytes, source: str) -> str:
    known = {b"PK\x03\x04": "an Excel or zip file", b"\x89PNG": "a PNG picture", b"%PDF": "a PDF", b"PAR1": "Parquet"}
    kind = next((f"; it looks like {what}" for start, what in known.items() if data.startswith(start)), "")
    fix = "Rename it to end in .parquet." if data.startswith(b"PAR1") else "Save it as CSV."
    return f"not a text file ({source}{kind}). {fix}"


def read_records(text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each record that is not blank with the line on which it ends."""
    if separator == " " and '"' not in text:
        for number, line in enumerate(io.StringIO(text), start=1):
            if fields := line.split():
                yield number, fields
        return
    lines: Iterator[str] = io.StringIO(text, newline="")
    if separator == " ":
        lines = (line.strip() + "\n" for line in lines)
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True)
    csv.field_size_limit(2**31 - 1)
    try:
        for record in reader:
            if record and not (len(record) == 1 and not record[0].strip()):
                yield reader.line_num, record
    except csv.Error as error:
        raise UserError(f"not readable as a table (line {reader.line_num}: {error}). Check the quotes.") from None


def first_records(text: str, separator: str) -> list[list[str]]:
    """Return the first records, as many as a guess needs."""
    end = 0
    for _ in range(_SAMPLE_LINES):  # a line of pixels can be longer than the sample
        end = text.find("\n", end) + 1 or len(text)
    sample = text[: max(end, _SAMPLE_CHARACTERS)]
    found = [record for _, record in itertools.islice(read_records(sample, separator), _SAMPLE_RECORDS)]
    return found[:-1] if len(sample) < len(text) and len(found) > 1 else found  # the last may be cut short


def guess_separator(text: str) -> str:
    """Return the separator that gives most records the same number of fields, holding no other separator."""
    best, best_score = "", 0.5
    for separator in SEPARATORS:
        records = first_records(text, separator)
        width, count = Counter(map(len, records)).most_common(1)[0] if records else (0, 0)
        if width <= 1:
            continue
        others = ";\t|" if separator == " " else ",;\t|".replace(separator, "")
        fields = [cell for record in records[:50] for cell in record]
        mixed = sum(
            any(other in cell for other in others) or (separator == " " and cell.endswith(","))
            for cell in fields
            if not _DECIMAL_COMMA.fullmatch(cell)
        )
        score = count / len(records) - mixed / len(fields)
        if score > best_score + 1e-9:
            best, best_score = separator, score
    if best:
        return best
    widths = {s: Counter(map(len, first_records(text, s))) for s in ",;\t|"}
    ragged = max(widths, key=lambda s: max(widths[s], default=0))
    return ragged if max(widths[ragged], default=0) > 1 else ","


def guess_header(records: list[list[str]]) -> bool:
    """Return whether the first record names the columns: it holds no number, no date, and nothing that recurs below."""
    first = [cell.strip() for cell in records[0]]
    if first == [str(place) for place in range(len(first))] or first == ["", *map(str, range(len(first) - 1))]:
        return True  # what pandas writes for a frame without names
    if any(_NUMBER.fullmatch(cell) or _DATE.fullmatch(cell) or cell == "?" for cell in first):
        return False
    below = [{record[place].strip() for record in records[1:] if place < len(record)} for place in range(len(first))]
    recurring = sum(cell in values for cell, values in zip(first, below, strict=True) if cell)
    numeric_below = any(values and all(_is_number_or_missing(value) for value in values) for values in below)
    return numeric_below or recurring == 0


def _is_number_or_missing(text: str) -> bool:
    return text in MISSING_TEXT or _NUMBER.fullmatch(text) is not None


def guess_decimal(records: list[list[str]]) -> str:
    """Return `","` where the first records hold numbers with decimal commas and none with points."""
    cells = [cell.strip() for record in records[:200] for cell in record]
    commas = sum(_DECIMAL_COMMA.fullmatch(cell) is not None for cell in cells)
    points = sum(_DECIMAL_POINT.fullmatch(cell) is not None for cell in cells)
    return "," if commas and not points else "."
