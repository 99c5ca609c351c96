"""What stands around a table in files made for people: titles above the names, a second line of names, totals below."""

import csv
import io
import itertools
import re
from collections import Counter
from dataclasses import replace

import pandas as pd

from tfopt.data.dialect import first_records, is_number, is_number_or_missing, read_records
from tfopt.data.guesses import shown
from tfopt.data.raw import RawTable
from tfopt.data.spelling import is_missing_mark, quoted

_MOST_TITLES = 20
_TAIL = 1 << 16
_TOTAL = re.compile(
    r"((grand|sub|overall)[ -]?)?"
    r"(totals?|sum|summe|gesamt|gesamtsumme|insgesamt|somme|suma|totale|totaal|итого|合计|总计|合計|總計|小计|"
    r"average|mean|mittelwert|durchschnitt|moyenne|promedio|平均)( (général|general|geral|generale))?\s*:?",
    re.IGNORECASE,
)
_FOOTNOTE = re.compile(
    r"[\"']?(\*|†|(sources?|notes?|quellen?|anmerkung(en)?|fuentes?|fonte|remarks?)\s*:|(数据)?来源|资料来源|注\s*[::：])",
    re.IGNORECASE,
)


_WORD = re.compile(r"[^\W\d_]|[%‰°€$£¥#]")  # what a unit or a name has


def titles_of(records: list[list[str]]) -> int:
    """Return how many of the first records are titles: words in one field, or in fewer than the table has."""
    width = Counter(map(len, records)).most_common(1)[0][0]
    for place, record in enumerate(records[: _MOST_TITLES + 1]):
        filled = [cell for cell in record if cell.strip()]
        names, row = [*records[place + 1 : place + 3], [], []][:2]
        short = len(record) < width == len(names) and not any(map(is_number, names)) and any(map(is_number, row))
        if width < 2 or (len(filled) > 1 and not short) or any(map(is_number, filled)):
            return place
    return 0


def is_total(text: str) -> bool:
    """Whether a text is what a row of totals or averages is called."""
    return _TOTAL.fullmatch(text.strip()) is not None


def names_in_two_lines(records: list[list[str]]) -> list[str]:
    """Return the names of a table whose second record belongs to them, an empty list for other tables.

    It holds words over the columns of numbers, such as units, which are left out. Where the first record has blanks, as
    merged cells leave them, it holds the rest of the names.
    """
    if len(records) < 5 or any(map(is_number, records[1])):
        return []
    first, second = ([cell.strip() for cell in record] for record in records[:2])
    body = [record for record in records[2:] if len(record) == len(second)]
    numeric = [
        place
        for place in range(len(second))
        if body and all(is_number_or_missing(record[place].strip()) for record in body)
    ]
    worded = [place for place in numeric if _WORD.search(second[place]) and not is_missing_mark(second[place])]
    if 2 * len(worded) <= len(numeric) or len(first) != len(second):
        return []
    if all(first):
        return first
    names, above = [], ""
    for upper, lower in zip(first, second, strict=True):
        above = upper or above
        names.append(f"{above} {lower}".strip())
    return names


def without_surroundings(text: bytes, separator: str) -> tuple[bytes, list[str]]:
    """Return a text with blank lines for titles and with one line of names, lines keeping their numbers; and notes."""
    text, notes = _without_end(text, separator)
    records = first_records(text, separator)
    if num_titles := titles_of(records) if records else 0:
        text = _replaced(text, separator, num_titles, [])
        notes.append(said_of_titles(records[:num_titles]))
        records = first_records(text, separator)
    if names := names_in_two_lines(records):
        text = _replaced(text, separator, 2, names)
        notes.append(said_of_names(records))
    return text, notes


def _without_end(text: bytes, separator: str) -> tuple[bytes, list[str]]:
    """Return a text without the lines of separators alone, and the footnotes, at its end; and a note."""
    footnotes: list[str] = []
    has_fields = separator.encode() in text[:_TAIL]  # else every line is one field
    kept = tail = text[-_TAIL:]  # of a long text the rest is not copied
    while True:
        filled = len(kept.rstrip(b"\r\n\t " + separator.encode()))
        end = kept.find(b"\n", filled)
        kept = kept[: end + 1] if end > 0 else kept
        start = kept.rfind(b"\n", 0, filled) + 1
        line = kept[start:filled].decode(errors="replace")
        alone = separator not in line or kept[:start].endswith((b"\n\n", b"\n\r\n"))
        if not start or not alone or not has_fields or len(footnotes) == _MOST_TITLES or not _FOOTNOTE.match(line):
            break
        footnotes.insert(0, quoted(line))
        kept = kept[:start]
    notes = [f"read without the notes below: {shown(footnotes, 3)}"] if footnotes else []
    return text if len(kept) == len(tail) else text[: len(text) - len(tail) + len(kept)], notes


def said_of_titles(titles: list[list[str]]) -> str:
    """Return the note about titles."""
    words = [quoted(cell.strip()) for title in titles for cell in title if cell.strip()]
    return f"{len(titles)} line{'s' * (len(titles) > 1)} above the names left out{': ' * bool(words)}{shown(words, 3)}"


def said_of_names(records: list[list[str]]) -> str:
    """Return the note about a second line of names."""
    words = shown((quoted(cell.strip()) for cell in records[1] if cell.strip()), 3)
    if all(cell.strip() for cell in records[0]):
        return f"the line below the names holds no numbers and is left out: {words}"
    return f"the names stand in two lines, which are joined: {words}"


def _replaced(text: bytes, separator: str, num_records: int, names: list[str]) -> bytes:
    """Return the text with one line of names, or none, in place of its first records."""
    start = text[: 1 << 22]
    found = itertools.islice(read_records(start.decode(errors="ignore"), separator), num_records)
    lines = start.splitlines(keepends=True)[: max(line for line, _ in found)]
    rest = text[sum(map(len, lines)) :]
    written = io.StringIO()
    if names:
        csv.writer(written, delimiter=separator, lineterminator="").writerow(names)
    return b"\n" * (len(lines) - 1) + written.getvalue().encode() + b"\n" + rest


def is_footnote(row: pd.Series) -> bool:
    """Whether a row holds nothing but one text that begins as footnotes do."""
    filled = row.dropna()
    return len(row) > 1 and len(filled) == 1 and _FOOTNOTE.match(str(filled.iloc[0]).strip()) is not None


def without_totals(raw: RawTable) -> RawTable:
    """Return a table without a last row of totals, which is named as one in the first column of words."""
    words = next((name for name, dtype in raw.frame.dtypes.items() if dtype in ("str", object)), None)
    if words is None or len(raw.frame) < 5:
        return raw
    column = raw.frame[words]
    label = column.iloc[-1]
    if not isinstance(label, str) or not is_total(label) or (column == label).sum() > 1:
        return raw
    read_text = raw.read_text
    note = f"the last row left out, as a row of totals: {quoted(label)} in {quoted(str(words))}"

    def read_text_above(chosen: list[str]) -> pd.DataFrame:
        return read_text(chosen).iloc[:-1]  # type: ignore[misc]

    return replace(
        raw,
        frame=raw.frame.iloc[:-1],
        read_text=read_text and read_text_above,
        notes=[*raw.notes, note],
        left_out=(note,),
    )
