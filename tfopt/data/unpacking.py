"""How much a compressed file may unpack to: a few kilobytes can stand for more than any memory holds."""

import functools
import gzip
import io
import re
import zipfile
import zlib
from typing import Any

from tfopt.data.spelling import quoted
from tfopt.errors import UserError

MAX_UNPACKED = 4 * 10**9  # bytes
_TEXTS = ("string", "large_string", "binary", "large_binary")
_EXCEL_CELL = 16  # bytes that a cell takes as its sheet is read, an empty one too
_VALUE = 8  # bytes that a value takes in a table, at least: a number, or the place of a text


def gunzip(data: bytes, source: str, most: int) -> bytes:
    """Return what a gzip file holds, or the bytes as they are where it is none.

    Raises:
        UserError: It is damaged, or unpacks to more than `most` bytes.
    """
    if not data.startswith(b"\x1f\x8b"):
        return data
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            unpacked = file.read(most + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"a damaged gzip file ({source}: {error}). Fetch or compress it again.") from None
    _check(len(unpacked), len(data), source, most)
    return unpacked


def check_zip(data: bytes, source: str, most: int) -> None:
    """Complain about a ZIP file (Excel, NPZ) whose parts unpack to more than `most` bytes."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        _check(sum(part.file_size for part in archive.infolist()), len(data), source, most)


def check_excel(data: bytes, source: str, most: int) -> None:
    """Complain about an Excel file whose parts, or whose sheets with their empty cells, take more than `most` bytes."""
    check_zip(data, source, most)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for name in archive.namelist():
            if name.startswith("xl/worksheets/") and name.endswith(".xml"):
                _check(_EXCEL_CELL * _num_cells(archive.read(name)), len(data), source, most)


def _num_cells(sheet: bytes) -> int:
    """Return the cells up to the last row and column that a sheet's XML places something in."""
    rows, columns = {1}, {b"A"}
    for place in re.finditer(rb"""\br=["']([A-Z]{0,3})([0-9]{1,18})["']""", sheet):
        columns.add(place[1])
        rows.add(int(place[2]))
    return max(rows) * max(map(_column, columns))


def _column(letters: bytes) -> int:
    """Return the number of a column: A is 1, AA is 27."""
    return functools.reduce(lambda number, letter: 26 * number + letter - 64, letters, 0)


def check_parquet(data: bytes, source: str, most: int) -> None:
    """Complain about a Parquet file whose columns unpack to more than `most` bytes.

    In its own count of uncompressed bytes a value that is repeated, or in a dictionary, stands once.
    """
    import pyarrow.parquet  # an extra

    file = pyarrow.parquet.ParquetFile(io.BytesIO(data))
    for field in file.schema_arrow:
        if pyarrow.types.is_nested(field.type):
            kind = str(field.type).partition("<")[0]
            raise UserError(
                f"column {quoted(field.name)} holds a {kind} in each row ({source}). Split it into columns of its own."
            )
    # What is said of a column in a group is not asked for: where it is damaged, pyarrow ends the process.
    groups = [file.metadata.row_group(place) for place in range(file.num_row_groups)]
    least = sum(max(group.total_byte_size, _VALUE * group.num_rows * group.num_columns) for group in groups)
    _check(least, len(data), source, most)
    texts = [field.name for field in file.schema_arrow if str(field.type) in _TEXTS]
    # No text is longer than the group that holds it.
    longest = sum(group.total_byte_size * group.num_rows for group in groups) if texts else 0
    if least + longest <= most:
        return
    coded = pyarrow.parquet.ParquetFile(io.BytesIO(data), read_dictionary=texts)
    for place in range(coded.num_row_groups):
        for column in coded.read_row_group(place, columns=texts).columns:
            least += sum(map(_decoded_bytes, column.chunks))
            _check(least, len(data), source, most)


def _decoded_bytes(coded: Any) -> int:
    """Return how long the texts of a dictionary's column are together."""
    import pyarrow.compute

    lengths = pyarrow.compute.binary_length(coded.dictionary).take(coded.indices)
    return pyarrow.compute.sum(lengths).as_py() or 0


def _check(unpacked: int, packed: int, source: str, most: int) -> None:
    if unpacked > most:
        raise UserError(
            f"the file's {packed:,} bytes unpack to more than {most:,} ({source}). If it is meant to be so large, "
            "unpack it first, or give more to the --max-unpacked of search and predict, such as 16GB."
        )
