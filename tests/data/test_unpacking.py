"""A file that unpacks to more than is allowed is refused before that much memory is taken, whatever its format."""

import gzip
import io
import tracemalloc
import zipfile

import numpy as np
import openpyxl
import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest

from tfopt.cli import main
from tfopt.data import load_table, read_rows
from tfopt.data.column import Column
from tfopt.data.files import read_files
from tfopt.errors import UserError

ROWS = 300_000
LIMIT = 100_000


def gzipped_csv():
    return gzip.compress(b"a,y\n" + b"1,2\n" * ROWS, mtime=0)


def npz():
    file = io.BytesIO()
    np.savez_compressed(file, x=np.zeros((ROWS, 1)), y=np.zeros(ROWS))
    return file.getvalue()


def excel():
    book, file = openpyxl.Workbook(), io.BytesIO()
    book.active.append(["a", "y"])
    book.active.append(["x" * 30_000, 1])
    for place in range(20):
        book.create_sheet(f"more {place}").append(["x" * 30_000 + str(place), 1])
    book.save(file)
    return file.getvalue()


def excel_with_a_cell_far_off():
    book, file = openpyxl.Workbook(), io.BytesIO()
    for place in range(1, 4):
        book.active.append([place, place * place])
    book.active.cell(100, 100, 1)
    book.save(file)
    return file.getvalue()


def parquet(column):
    file = io.BytesIO()
    pd.DataFrame({"a.b": column, "y": np.arange(len(column))}).to_parquet(file)
    return file.getvalue()


def parquet_of_one_number():
    return parquet(np.zeros(ROWS))


def parquet_of_one_text():
    return parquet(["x" * 10_000] * 100)


def parquet_of_columns(**columns):
    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), file)
    return file.getvalue()


FILES = [gzipped_csv, npz, excel, excel_with_a_cell_far_off, parquet_of_one_number, parquet_of_one_text]


@pytest.mark.parametrize("make", FILES)
def test_a_file_that_unpacks_to_too_much_is_refused(tmp_path, make):
    path = tmp_path / "bomb"
    path.write_bytes(make())
    size = path.stat().st_size
    assert len(read_files(str(path))[0].frame)
    tracemalloc.start()
    with pytest.raises(UserError) as caught:
        read_files(str(path), max_unpacked=LIMIT)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert str(caught.value) == (
        f"the file's {size:,} bytes unpack to more than 100,000 ({path}). If it is meant to be so large, unpack it "
        "first, or give more to the --max-unpacked of search and predict, such as 16GB."
    )
    assert peak < 2 * size + 4 * LIMIT + 200_000


def test_what_unpacks_to_less_than_the_limit_is_read(tmp_path):
    path = tmp_path / "rows.parquet"
    path.write_bytes(parquet(["x" * 90, "y" * 80] * 400))
    assert load_table(path, max_unpacked=100_000).num_rows == 800  # as texts 68,000 bytes, and 8 a number
    with pytest.raises(UserError, match="unpack to more than 70,000"):
        load_table(path, max_unpacked=70_000)


def test_rows_to_predict_and_the_command_line_have_the_limit(tmp_path, capsys):
    path = tmp_path / "rows.csv.gz"
    path.write_bytes(gzipped_csv())
    with pytest.raises(UserError, match="--max-unpacked"):
        read_rows(path, [Column("a", "number")], max_unpacked=LIMIT)
    assert main(["search", str(path), "--dry-run", "--max-unpacked", "1MB"]) == 2
    assert "unpack to more than 1,000,000" in capsys.readouterr().err


def test_an_array_of_values_without_a_size_is_refused(tmp_path):
    header = b"{'descr': '|S0', 'fortran_order': False, 'shape': (1000000000000,), }"
    npy = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    path = tmp_path / "empty.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", npy)
        archive.writestr("y.npy", npy)
    with pytest.raises(UserError, match="'x' claims shape"):
        load_table(path)


OPTIONAL, REQUIRED = b"\x25\x02\x18\x04size", b"\x25\x00\x18\x04size"  # of a column in a Parquet file's footer
DAMAGED = {
    "pyarrow ends the process over this one where it is asked about a column": (
        parquet_of_columns(size=range(9), y=range(9)).replace(OPTIONAL, REQUIRED), "not a Parquet file .*histogram",
    ),
    "a text is not UTF-8, which pyarrow says only where it is shown": (
        parquet_of_columns(
            size=pyarrow.Array.from_buffers(
                pyarrow.string(), 3, [None, *map(pyarrow.py_buffer, [np.int32([0, 1, 2, 3]), b"\xff\xfe\xfd"])]
            ), y=[1, 2, 3],
        ), "column 'size' holds text that is not UTF-8",
    ),
    "a list unpacks to as much as it likes, in one row": (
        parquet_of_columns(size=[np.zeros(ROWS)], y=[1]), "column 'size' holds a list in each row",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_parquet_file_is_refused_in_a_line(tmp_path, name):
    content, message = DAMAGED[name]
    path = tmp_path / "rows.parquet"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_files(str(path))
