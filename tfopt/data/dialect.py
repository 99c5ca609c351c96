"""What a text file is written in: its encoding, separator, header and decimal sign, guessed from its beginning."""

import csv
import io
import itertools
import re
from collections import Counter
from collections.abc import Iterator

from tfopt.data.spelling import MISSING_TEXT, quoted
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
_FOREIGN = re.compile(r"[^\x00-\x7f]+")
_BESIDE_LETTERS = re.compile(r"[A-Za-z][^\x00-\x7f]+|[^\x00-\x7f]+[A-Za-z]")
_SAMPLE_CHARACTERS = 200_000
_SAMPLE_LINES = 10
_SAMPLE_RECORDS = 500
_SAMPLE_HEADER = 200
_SAMPLE_COLUMNS = 500
_SAMPLE_FIELDS = 20_000
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?|[+-]?(inf|Inf|infinity|Infinity)")
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,(\d{1,2}|\d{4,})")
_LOOSE_COMMA = re.compile(r"(?<!\d),|,(?!\d)")  # one that belongs to no number
_SEPARATOR_LINE = re.compile(rb"[\"']?sep=([^\r\n])[\"']?[ \t]*(\r\n|\r|\n)", re.IGNORECASE)
_COMMENTS = re.compile(rb"(#[^\r\n]*(\r\n|\r|\n)|[ \t]*(\r\n|\r|\n))+")
# Codecs that Python has, and that are never how a file is written.
_NOT_OF_FILES = {
    "punycode",
    "idna",
    "unicode_escape",
    "raw_unicode_escape",
    "undefined",
    "mbcs",
    "oem",
    "utf_7",
    "utf7",
}
_DECIMAL_POINT = re.compile(r"[+-]?\d*\.\d+")
_DATE = re.compile(r"\d{1,4}[-/.年]\d{1,2}([-/.月]\d{1,4}日?)?([ T].*)?")


def decode(data: bytes, source: str, encoding: str) -> tuple[bytes, list[str]]:
    """Return the text as UTF-8 without a mark, and a note where the encoding had to be guessed."""
    if encoding != "auto":
        try:
            if encoding.lower().replace("-", "_") in _NOT_OF_FILES:
                raise LookupError
            return data.decode(encoding).removeprefix("\ufeff").encode(), []
        except UnicodeDecodeError as error:
            raise UserError(
                f"not {encoding} (byte 0x{data[error.start]:02x} at offset {error.start} of {source}). "
                "Name its encoding with --encoding, or leave the option away to have it guessed."
            ) from None
        except (LookupError, ValueError):
            raise UserError(
                f"no such encoding of files (--encoding {quoted(encoding)}). Try utf-8, gb18030 or cp1252."
            ) from None
    if wide := _wide_encoding(data):
        try:
            return data.decode(wide).removeprefix("\ufeff").encode(), [f"read as {wide.upper()[:6]}"]
        except UnicodeError:
            raise UserError(_not_text(data, source)) from None
    if b"\0" in data:
        raise UserError(_not_text(data, source))
    try:
        if not data.isascii():
            data.decode("utf-8")
        return data.removeprefix(b"\xef\xbb\xbf"), []
    except UnicodeDecodeError as error:
        offset, byte = error.start, data[error.start]
    guess = "cp1252"
    try:
        text = data.decode("gb18030")
        foreign = Counter(character for character in text if character > "\x7f")
        common = sum(count for character, count in foreign.items() if _in_gb2312(character))
        # An umlaut stands between letters of its word; Chinese seldom stands beside Latin letters.
        between = len(_BESIDE_LETTERS.findall(text)) * 2 > len(_FOREIGN.findall(text))
        if common >= 0.8 * sum(foreign.values()) and not between:
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
    note = f"not UTF-8 (byte 0x{byte:02x} at offset {offset}), read as {named} (change with --encoding)"
    return text.encode(), [note]


def _wide_encoding(data: bytes) -> str:
    """Return the encoding of text in units of two or four bytes, told by its mark or by where its zero bytes are."""
    if data.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return "utf-32"
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    sample = data[: _SAMPLE_CHARACTERS - _SAMPLE_CHARACTERS % 2]
    first, second = sample[::2].count(0), sample[1::2].count(0)
    if len(data) % 2 or min(first, second) * 20 > max(first, second) or max(first, second) * 10 < len(sample):
        return ""
    return "utf-16-le" if second > first else "utf-16-be"


def split_preamble(text: bytes) -> tuple[list[bytes], bytes, str]:
    """Return the lines before the table (`sep=;` and comments), the rest, and the separator that `sep=` names."""
    lines, separator = [], ""
    if match := _SEPARATOR_LINE.match(text):
        lines, separator = [b""], match[1].decode()
        text = text[match.end() :]
    if text.startswith(b"#"):
        match = _COMMENTS.match(text)
        if match and match.end() < len(text):
            lines += match[0].splitlines()
            text = text[match.end() :]
    return lines, text, separator


def blank_out_comments(preamble: list[bytes], text: bytes, separator: str) -> tuple[bytes, int]:
    """Return the whole text with blank lines in place of comments, so that lines keep their numbers; count them.

    A last comment of as many fields as the table has is its header.
    """
    comments = [line for line in preamble if line.startswith(b"#")]
    records = first_records(text, separator)
    width = len(records[0]) if records else 0
    if comments and width > 1:
        header = first_records(comments[-1], separator)
        if header and len(header[0]) == width and not guess_header(records)[0]:
            comments.pop()
            names = preamble.pop()
            text = (names if names[1:].lstrip().startswith(separator.encode()) else names[1:].lstrip()) + b"\n" + text
    num_comments = len(comments)
    if b"#" in text and b"\n#" in text and b'"' not in text:
        lines = text.split(b"\n")
        for place, line in enumerate(lines):
            if line.startswith(b"#") and place and line.count(separator.encode()) + 1 != width:
                lines[place], num_comments = b"", num_comments + 1
        text = b"\n".join(lines)
    return b"\n" * len(preamble) + text if preamble else text, num_comments


def _in_gb2312(character: str) -> bool:
    try:
        character.encode("gb2312")
    except UnicodeEncodeError:
        return False
    return True


def _not_text(data: bytes, source: str) -> str:
    known = {b"PK\x03\x04": "an Excel or zip file", b"\x89PNG": "a PNG picture", b"%PDF": "a PDF"}
    kind = next((f"; it looks like {what}" for start, what in known.items() if data.startswith(start)), "")
    return f"not a text file ({source}{kind}). Save it as CSV."


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


def first_records(text: bytes, separator: str) -> list[list[str]]:
    """Return the first records, as many as a guess needs."""
    end = 0
    for _ in range(_SAMPLE_LINES):  # a line of pixels can be longer than the sample
        end = text.find(b"\n", end) + 1 or len(text)
    sample = text[: max(end, _SAMPLE_CHARACTERS)].decode(errors="ignore")  # the last character may be cut
    found = [record for _, record in itertools.islice(read_records(sample, separator), _SAMPLE_RECORDS)]
    return (
        found[:-1] if max(end, _SAMPLE_CHARACTERS) < len(text) and len(found) > 1 else found
    )  # the last may be cut short


def guess_separator(text: bytes) -> str:
    """Return the separator that gives most records the same number of fields, holding no other separator."""
    best, best_score = "", 0.5
    for separator in SEPARATORS:
        records = first_records(text, separator)
        width, count = Counter(map(len, records)).most_common(1)[0] if records else (0, 0)
        if width <= 1:
            continue
        others = {" ": ";\t|", ",": ";\t|"}.get(separator, ";\t|".replace(separator, ""))
        fields = list(itertools.islice((cell for record in records[:50] for cell in record), _SAMPLE_FIELDS))
        mixed = sum(
            any(other in cell for other in others)
            or (separator != "," and _LOOSE_COMMA.search(cell) is not None and (separator != " " or cell.endswith(",")))
            for cell in fields
        )
        score = count / len(records) - mixed / len(fields)
        if score > best_score + 1e-9:
            best, best_score = separator, score
    if best:
        return best
    widths = {s: Counter(map(len, first_records(text, s))) for s in ",;\t|"}
    ragged = max(widths, key=lambda s: max(widths[s], default=0))
    return ragged if max(widths[ragged], default=0) > 1 else ","


def guess_header(records: list[list[str]]) -> tuple[bool, str]:
    """Return whether the first record names the columns, and a note where that is in doubt.

    Words over columns of numbers are names; so are numbers that stand out from the columns below them, such as years.
    In a table of words, names do not recur below.
    """
    records = [record[:_SAMPLE_COLUMNS] for record in records[:_SAMPLE_HEADER]]
    first = [cell.strip() for cell in records[0]]
    numbers = {place: cell for place, cell in enumerate(first) if _NUMBER.fullmatch(cell)}
    counted = list(numbers.values()) == [str(place) for place in range(len(numbers))]
    if counted and (len(numbers) >= 3 or len(numbers) + (first[0] == "") == len(first)):
        return True, ""  # what pandas writes for columns without names
    others = records[1:]
    others = [record for record in others if record != records[0]] or others  # joined files have the header twice
    below = [[record[place].strip() for record in others if place < len(record)] for place in range(len(first))]
    numeric = [bool(values) and all(map(is_number_or_missing, values)) for values in below]
    if any(cell == "?" or (_DATE.fullmatch(cell) and not _NUMBER.fullmatch(cell)) for cell in first):
        return False, ""
    words = sum(
        is_numeric and cell != "" and not is_number_or_missing(cell)
        for cell, is_numeric in zip(first, numeric, strict=True)
    )
    seen = [cell for cell, values in zip(first, below, strict=True) if cell and cell in values]
    if numbers:
        stand_out = all(_stands_out(cell, below[place]) for place, cell in numbers.items())
        regular = _are_names(list(numbers.values()))
        counting = _count_up(first) and not any(map(_count_up, records[1:]))
        named = (
            stand_out or regular or words > len(numbers)
            if words
            else ((stand_out and regular) or counting) and len(numbers) < len(first)
        )
        if seen or not named:
            return False, ""
        return (
            True,
            f"the first line is read as names, {quoted(next(iter(numbers.values())))} too (change with --no-header)",
        )
    if words or not seen:
        return True, ""
    # Of words, too, a first line that is a row holds what recurs wherever few values recur.
    repeating = [
        (cell, values) for cell, values in zip(first, below, strict=True) if 2 * len(set(values)) <= len(values)
    ]
    if sum(cell not in values for cell, values in repeating) < len(seen):
        return False, ""
    return True, f"the first line is read as names although {quoted(seen[0])} recurs below (change with --no-header)"


def _stands_out(cell: str, values: list[str]) -> bool:
    """Whether a number is a whole one outside of the range of those below it."""
    number = _value(cell)
    others = [_value(value) for value in values if _NUMBER.fullmatch(value)]
    return number.is_integer() and (not others or not min(others) <= number <= max(others))


def _are_names(cells: list[str]) -> bool:
    """Whether numbers are years, or at least three that are evenly spaced."""
    numbers = [*map(_value, cells)]
    if len(set(numbers)) == len(numbers) and all(1900 <= number <= 2100 for number in numbers):
        return True
    steps = {round(after - before, 9) for before, after in itertools.pairwise(numbers)}
    return len(numbers) >= 3 and len(steps) == 1 and 0 not in steps


def _count_up(cells: list[str]) -> bool:
    """Whether the numbers among cells are whole and go up, nearly always by the same step: years with a gap, say."""
    numbers = [_value(cell) for cell in cells if _NUMBER.fullmatch(cell.strip())]
    steps = Counter(after - before for before, after in itertools.pairwise(numbers))
    up = len(numbers) >= 5 and min(steps) > 0 and all(number.is_integer() for number in numbers)
    return up and max(steps.values()) >= 0.8 * steps.total()


def _value(number: str) -> float:
    return float(number.replace(",", "."))


def is_number(text: str) -> bool:
    """Whether a cell is a plain number."""
    return _NUMBER.fullmatch(text.strip()) is not None


def is_number_or_missing(text: str) -> bool:
    """Whether a cell without outer blanks is a plain number or empty."""
    return text in MISSING_TEXT or _NUMBER.fullmatch(text) is not None


def guess_decimal(records: list[list[str]]) -> str:
    """Return the decimal sign of most of the first records' numbers; every column is looked at by itself later."""
    fields = itertools.islice((cell for record in records[:200] for cell in record), _SAMPLE_FIELDS)
    cells = [field.strip() for field in fields]
    commas = sum(_DECIMAL_COMMA.fullmatch(cell) is not None for cell in cells)
    points = sum(_DECIMAL_POINT.fullmatch(cell) is not None for cell in cells)
    return "," if commas > points else "."
