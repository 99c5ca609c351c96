"""CSV and TSV files in blocks of whole records, each read by `read_delimited`."""

import csv
import gzip
import hashlib
import io
import itertools
import re
import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, BinaryIO

import numpy as np

from tfopt.data.blocks import BYTES, Block, Blocks, Piece, Wanted
from tfopt.data.delimited import end_of_names, read_delimited
from tfopt.data.raw import RawTable, stem
from tfopt.data.spelling import quoted
from tfopt.errors import UserError

_LONGEST_RECORD = 1 << 26
_HEAD = 1 << 20  # bytes that names and separator are guessed from
_WIDE = (b"\xff\xfe", b"\xfe\xff")
_LINES = re.compile(r"\b(lines?) (\d+)(?: to (\d+))?")


class TextBlocks(Blocks):
    """CSV and TSV files, gzipped or not; see `read_delimited` for the arguments."""

    def __init__(
        self,
        files: Sequence[str],
        *,
        header: str = "auto",
        encoding: str = "auto",
        separator: str = "auto",
        known_names: Collection[str] = (),
    ):
        super().__init__(files)
        self._encoding = "utf-8" if encoding == "auto" else encoding
        self._guessed = encoding == "auto"
        self.in_order = any(map(_is_gzip, self.files))
        digest = hashlib.sha256()
        self._heads: list[RawTable] = []
        for file in range(len(self.files)):
            start, lines = self._read_head(file, header, separator, known_names)
            self._index(file, start, lines, digest)
        self.sha256 = digest.hexdigest()
        self._check_rows()
        self.notes = list(dict.fromkeys(note for head in self._heads for note in head.notes))

    def _read_head(self, file: int, header: str, separator: str, known_names: Collection[str]) -> tuple[int, int]:
        """Guess what a file is written in by its beginning; return the byte and the line where its rows begin."""
        path = self.files[file]
        with _opened(self.files[file]) as opened:
            head = opened.read(_HEAD + 1)
        if head.startswith(_WIDE) or b"\0" in head:
            raise UserError(f"no text in UTF-8 or a like encoding ({path}). To be read in blocks, save it as UTF-8.")
        if len(head) > _HEAD:
            ends = _ends(head)
            head = head[: ends[-1]] if len(ends) else head
        self._check_text(head, 0, path)
        raw = read_delimited(
            head, path, header=header, encoding=self._encoding, separator=separator, known_names=known_names
        )
        self._check_names(list(map(str, raw.frame)), path)
        self._heads.append(raw)
        if self._heads[0].separator != raw.separator or self._heads[0].has_header != raw.has_header:
            raise UserError(f"{path} is not written as {self.files[0]} is. Give both the same separator and header.")
        if not raw.has_header:
            return 3 * head.startswith(b"\xef\xbb\xbf"), 0
        line = end_of_names(head.decode(self._encoding, errors="replace").removeprefix("\ufeff"), raw)
        if not line:
            raise UserError(f"the names stand in no line of their own ({path}). To be read in blocks, they must.")
        return int(np.flatnonzero(np.frombuffer(head, np.uint8) == ord("\n"))[line - 1]) + 1, line

    def _index(self, file: int, start: int, lines: int, digest: Any) -> None:
        """Find where blocks of whole records begin."""
        first_row = self.num_rows
        with _opened(self.files[file]) as opened:
            digest.update(opened.read(start))
            data = opened.read(BYTES)
            while data:
                ends = _ends(data)
                more = opened.read(BYTES)
                if more and not len(ends):
                    if len(data) > _LONGEST_RECORD:
                        raise UserError(
                            f"a row of more than {_LONGEST_RECORD >> 20} MB begins on line {lines + 1} "
                            f"({self.files[file]}). Close or remove a quote that was opened there."
                        )
                    data += more
                    continue
                size = int(ends[-1]) if more else len(data)
                whole, rest = data[:size], data[size:]
                self._check_text(whole, lines, self.files[file])
                starts, _ = _records(whole)
                self.blocks.append(Block(file, start, size, first_row, len(starts), lines))
                digest.update(whole)
                first_row, start = first_row + len(starts), start + size
                lines += whole.count(b"\n")
                data = rest + more

    def _check_text(self, data: bytes, lines: int, path: str) -> None:
        """Complain about bytes that are not in the encoding, which nobody guesses of a part of a file."""
        try:
            if not data.isascii():
                data.decode(self._encoding)
        except UnicodeDecodeError as error:
            line = lines + data.count(b"\n", 0, error.start) + 1
            advice = " Name its encoding with --encoding, such as cp1252." if self._guessed else ""
            raise UserError(f"line {line} is not {self._encoding} ({path}).{advice}") from None
        except LookupError:
            raise UserError(f"no such encoding of files (--encoding {quoted(self._encoding)}).") from None

    def take(self, blocks: Iterable[Block], wanted: Wanted) -> Iterator[tuple[Piece, ...]]:
        """Yield the lines of the rows of each mask, block by block."""
        for file, group in itertools.groupby(blocks, lambda block: block.file):
            with _opened(self.files[file]) as opened:  # once, as what is gzipped cannot be begun in its middle
                for block in group:
                    opened.seek(block.start)
                    yield self._pieces(block, opened.read(block.size), wanted(block))

    def _pieces(self, block: Block, data: bytes, masks: Sequence[np.ndarray]) -> tuple[Piece, ...]:
        starts, ends = _records(data)
        if len(starts) != block.num_rows:
            raise UserError(f"{self.files[block.file]} has changed while it was read. Start again.")
        array = np.frombuffer(data, np.uint8)
        line_ends = np.flatnonzero(array == ord("\n")) + 1
        line_ends = line_ends if data.endswith(b"\n") else np.append(line_ends, len(data))
        pieces = []
        for mask in masks:
            change = np.zeros(len(data) + 1, np.int8)
            change[starts[mask]] += 1
            change[ends[mask]] -= 1
            kept = np.cumsum(change[:-1], dtype=np.int8).astype(bool)
            text = array[kept].tobytes()
            lines = block.first_line + 1 + np.flatnonzero(kept[line_ends - 1])
            pieces.append(Piece(block.file, text if text.endswith(b"\n") or not text else text + b"\n", lines))
        return tuple(pieces)

    def read(self, pieces: Sequence[Piece]) -> RawTable:
        """Return the table of pieces, which knows the line of each row."""
        head = self._heads[0]
        names = io.StringIO()
        csv.writer(names, delimiter=head.separator, lineterminator="\n").writerow(self.names)
        text = names.getvalue().encode(self._encoding) + b"".join(piece.content for piece in pieces)
        above = names.getvalue().count("\n")
        files = np.repeat([piece.file for piece in pieces], [len(piece.places) for piece in pieces])
        lines = np.concatenate([piece.places for piece in pieces])

        def placed(match: re.Match[str]) -> str:
            """Return the place in the file of a line of the text."""
            first, last = (int(number) - 1 - above if number else None for number in match.group(2, 3))
            if first is None or not 0 <= first < len(lines):
                return match[0]
            to = "" if last is None or last >= len(lines) else f" to {lines[last]}"
            return self._place(files[first], f"{match[1]} {lines[first]}{to}")

        try:
            raw = read_delimited(
                text,
                self.source,
                header="yes",
                encoding=self._encoding,
                separator=head.separator,
                known_names=self.names,
                bare=True,
            )
        except UserError as error:
            raise UserError(_LINES.sub(placed, str(error))) from None
        where = raw.line_of
        return replace(
            raw,
            name=stem(self.files[0]),
            sha256=self.sha256,
            has_header=head.has_header,
            unnamed=head.unnamed,
            line_of=None if where is None else lambda row: _LINES.sub(placed, where(row)),
        )


def _is_gzip(path: str) -> bool:
    with open(path, "rb") as opened:
        return opened.read(2) == b"\x1f\x8b"


@contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    """Open a file, to be unpacked where it is gzipped; that it is damaged is a `UserError`."""
    opener: Any = gzip.open if _is_gzip(path) else open
    try:
        with opener(path, "rb") as opened:
            yield opened
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"a damaged gzip file ({path}: {error}). Fetch or compress it again.") from None


def _ends(data: bytes) -> np.ndarray:
    """Return where the lines end that end a record: those outside of quotes."""
    array = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(array == ord("\n")) + 1
    if b'"' in data:
        quotes = np.flatnonzero(array == ord('"'))
        ends = ends[np.searchsorted(quotes, ends) % 2 == 0]
    return ends


def _records(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Return where each record begins and ends, without blank lines."""
    ends = _ends(data)
    if not len(ends) or ends[-1] < len(data):
        ends = np.append(ends, len(data))
    starts = np.concatenate([[0], ends[:-1]])
    array = np.frombuffer(data, np.uint8)
    blank = np.array([ord("\n"), ord("\r")])
    filled = (ends - starts > 2) | ~np.isin(array[np.minimum(starts, len(data) - 1)], blank)
    return starts[filled], ends[filled]
