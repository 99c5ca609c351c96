"""Files of every dialect read as the same table; broken ones are refused with their place."""

import csv
import gzip
import io

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tfopt.data import TableEncoder, load_table
from tfopt.data.files import read_files
from tfopt.data.surroundings import names_in_two_lines
from tfopt.errors import UserError

ROWS = [(f"{k * 0.25}", "red" if k % 3 else "dark blue", f"{k % 2}") for k in range(24)]
LINES = ["x,colour,y", *(",".join(row) for row in ROWS)]
PLAIN = "\n".join(LINES) + "\n"


def read_raw(path, **options):
    return read_files(str(path), **options)[0]


@pytest.fixture
def write(tmp_path):
    def write(content, name="table.csv", encoding="utf-8"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
        return path

    return write


def check_plain(frame):
    assert list(frame) == ["x", "colour", "y"]
    np.testing.assert_array_equal(frame["x"], np.arange(24) * 0.25)
    assert frame["colour"].tolist() == [row[1] for row in ROWS]
    assert frame["y"].tolist() == [k % 2 for k in range(24)]


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t"),
        PLAIN.replace(",", "|"),
        PLAIN.replace(",", ", "),
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\n", "\r"),
        PLAIN.replace("\n", "\n\n"),
        PLAIN.rstrip("\n"),
        "  \n" + PLAIN.replace("\n", "\n   \n"),
        PLAIN.replace("\n", ",\n"),
        PLAIN.replace("dark blue", '"dark blue"'),
        PLAIN.replace(",", " ").replace("dark blue", '"dark blue"'),
        PLAIN.replace(",", "   ").replace("dark blue", '"dark blue"').replace("\n", "  \n  "),
        gzip.compress(PLAIN.encode(), mtime=0),
        b"\xef\xbb\xbf" + PLAIN.encode(),
        PLAIN.encode("utf-16"),
    ],
    ids=lambda content: repr(content[:24]),
)
def test_every_dialect_reads_as_the_same_table(write, content):
    check_plain(read_raw(write(content)).frame)


@pytest.mark.parametrize("separator", ["^", ":", "tab", "\t", "space"])
def test_a_separator_that_is_named(write, separator):
    character = {"tab": "\t", "space": " "}.get(separator, separator)
    content = PLAIN.replace("dark blue", "dark").replace(",", character)
    frame = read_raw(write(content), separator=separator).frame
    np.testing.assert_array_equal(frame["x"], np.arange(24) * 0.25)


def test_decimal_commas(write):
    content = "länge;tiefe;y\n" + "".join(f"{k},25;{k}00,5;{k % 2}\n" for k in range(20))
    raw = read_raw(write(content))
    np.testing.assert_array_equal(raw.frame["länge"], np.arange(20) + 0.25)
    assert raw.decimal == ","


@pytest.mark.slow
def test_lines_longer_than_the_sample(write):
    width = 18_000
    header = ",".join(f"pixel {place}" for place in range(width))
    lines = [",".join([value] * width) for value in "123"]
    frame = read_raw(write("\n".join([header, *lines]))).frame
    assert frame.shape == (3, width)
    assert frame["pixel 17999"].tolist() == [1, 2, 3]


def test_a_comma_within_a_name_and_in_every_number(write):
    lines = ["price, incl. tax;weight,kg;y", *(f"{k},25;1,{k};{k}" for k in range(9))]
    assert list(read_raw(write("\n".join(lines))).frame) == ["price, incl. tax", "weight,kg", "y"]


def test_a_header_broken_over_lines(write):
    raw = read_raw(write('"size\n (cm)",y\n1,2\n3,4\n5,x\n'))
    assert list(raw.frame) == ["size (cm)", "y"]
    assert raw.where(2) == "line 5"


def test_separators_and_newlines_inside_quotes(write):
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(["text", "y"])
    texts = [f'line {k}\nwith "quotes", commas; and\ttabs' for k in range(12)]
    writer.writerows([text, k] for k, text in enumerate(texts))
    raw = read_raw(write(buffer.getvalue()))
    assert raw.frame["text"].tolist() == texts
    assert raw.where(0) == "line 3"
    assert raw.where(11) == "line 25"


CELLS = st.one_of(
    st.floats(-1e6, 1e6).map(lambda value: f"{value:.4f}"),
    st.integers(-999, 999).map(str),
    st.text("abcXYZ äß红 ,;|\"'", min_size=1, max_size=8).map(str.strip).filter(bool),
)


@given(
    rows=st.integers(2, 4).flatmap(lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width), min_size=3)),
    separator=st.sampled_from(",;\t|"),
)
def test_what_csv_writes_is_read_back(tmp_path_factory, rows, separator):
    records = [[f"name {place}" for place in range(len(rows[0]))], *rows]
    assume(not names_in_two_lines(records))  # words above nothing but numbers are their units
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=separator, quoting=csv.QUOTE_ALL).writerows(records)
    frame = read_raw(path, separator=separator, header="yes").frame
    assert frame.shape == (len(rows), len(rows[0]))
    for place, name in enumerate(frame):
        written = [row[place] for row in rows]
        if frame[name].dtype == "str":
            assert frame[name].tolist() == written
        else:
            np.testing.assert_allclose(frame[name], [float(cell) for cell in written])


AWKWARD = (
    "$5",
    "1.234",
    "1,234",
    "(5)",
    "<1",
    "12 kg",
    "5%",
    "01/02/2015",
    "−3",
    "#x",
    "sep=;",
    "1e308",
    "9" * 20,
    "-",
    "0x1",
)


@given(
    lines=st.lists(
        st.lists(
            st.sampled_from(["1", "2.5", "a", '"', "", "?", "inf", "1e999", "2020-01-01", "x y", "红", "1,5", *AWKWARD])
        ).map(",".join),
        min_size=1,
        max_size=12,
    )
)
def test_any_text_is_a_table_or_a_mistake_of_the_user(tmp_path_factory, lines):
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    try:
        table = load_table(path)
    except UserError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert np.isfinite(TableEncoder(table.columns).fit_transform(table.features)).all()


@pytest.mark.parametrize(
    ("encoding", "text", "note"),
    [
        ("gb18030", "尺寸,颜色,结果", "read as GB18030"),
        ("cp1252", "Größe,Café,Prénom", "read as Windows-1252"),
        ("cp1252", "größe,a,b", "read as Windows-1252"),
        ("utf-8", "尺寸,颜色,结果", ""),
        ("utf-16", "尺寸,Café,结果", "read as UTF-16"),
    ],
)
def test_encodings_are_guessed_and_said(write, encoding, text, note):
    content = text + "\n" + "".join(f"{k}.5,{text.split(',')[1]}{k % 3},{k % 2}\n" for k in range(20))
    raw = read_raw(write(content, encoding=encoding))
    assert list(raw.frame) == text.split(",")
    assert note in " ".join(raw.notes)
    named = read_raw(write(content, encoding=encoding), encoding=encoding)
    pd.testing.assert_frame_equal(raw.frame, named.frame)


@pytest.mark.parametrize("word", ["", "?", "NA", "N/A", "NaN", "null", " ? "])
def test_missing_values(write, word):
    frame = read_raw(write(PLAIN.replace("0.25", word).replace("dark blue", word))).frame
    assert frame["x"].isna().sum() == 1
    assert frame["x"].dtype == "float64"
    assert frame["colour"].isna().sum() == 8


@pytest.mark.parametrize(
    ("content", "has_header"),
    [
        ("a,b\n1,2\n3,4\n", True),
        ("1,2\n3,4\n5,6\n", False),
        ("a,b\nx,y\nz,w\n", True),
        ("x,y\nz,y\nx,w\n", False),
        ("0,1,2\n0.5,a,1\n0.7,b,2\n", True),
        ("2020-01-01,a\n2020-01-02,b\n", False),
        ("?,a\n1,b\n2,a\n", False),
        ('A11,6,"A34",1\nA12,48,"A32",2\nA11,3,"A34",2\n', False),
        (" 1.5   2\n 2.5   3\n", False),
        ("name,2019,2020\na,1,2\nb,3,4\n", True),
    ],
)
def test_the_header_is_guessed(write, content, has_header):
    raw = read_raw(write(content))
    assert raw.has_header == has_header
    assert any("no header" in note for note in raw.notes) == (not has_header)
    assert len(raw.frame) == content.count("\n") - has_header
    assert read_raw(write(content), header="no").frame.shape[0] == content.count("\n")


def test_a_large_table_is_checked_for_short_rows_only_where_one_can_be(write):
    content = "a,b\n" + "1,2\n" * 1000 + "3,\n" + "4\n"
    with pytest.raises(UserError, match="line 1003 has 1 field, the header has 2"):
        read_raw(write(content))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty, 0 bytes ({path})"),
        ("\n \n\n", "the file is empty ({path})"),
        ("a,b,c\n", "a header and no rows ({path}: a, b, c)"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "not a text file ({path}; it looks like a PNG picture). Save it as CSV."),
        (b"PK\x03\x04\0\0", "it looks like an Excel or zip file"),
        (b"PAR1\0\0", "not a Parquet file ({path}"),
        (bytes(range(1, 256)) * 20, "not a text file ({path})"),
        (gzip.compress(PLAIN.encode(), mtime=0)[:40], "a damaged gzip file ({path}"),
        ("\n".join([*LINES[:9], "1,2,3,4", *LINES[9:]]), "line 10 has 4 fields, the header has 3 ({path})"),
        ("\n".join([*LINES[:9], "1,2", *LINES[9:]]), "line 10 has 2 fields, the header has 3 ({path})"),
        ("\n".join([LINES[0], "1,a,b,2", *LINES[1:]]), "line 2 has 4 fields, the header has 3 ({path})"),
        (PLAIN.replace(",0\n", ",0,9\n").replace(",1\n", ",1,9\n"), "line 2 has 4 fields, the header has 3"),
        ("1,2\n3,4\n5,6,7\n", "line 3 has 3 fields, line 1 has 2"),
        (PLAIN + '5.0,"red,1\n6.0,red,1\n', "a quote opened on line 26 is not closed ({path})"),
        (PLAIN + '5.0,"red,1\n6.0,red",1,2\n', "the row of lines 26 to 27 has 4 fields, the header has 3 ({path})"),
        ("a\n1\n2\n", "one column only, split at comma ({path}, line 1: 'a')"),
        ("a^b\n1^2\n", "if another character separates them, name it with --separator"),
        ("x,x,y\n1,2,3\n", "two columns are named 'x' ({path}, line 1, columns 1, 2)"),
    ],
)
def test_a_broken_file_is_refused(write, content, message):
    path = write(content)
    with pytest.raises(UserError) as error:
        read_raw(path)
    assert message.format(path=path) in str(error.value)
    assert "\n" not in str(error.value)


def test_the_wrong_separator(write):
    with pytest.raises(
        UserError, match=r"one column only, split at semicolon .* separated by comma: pass --separator comma"
    ):
        read_raw(write(PLAIN), separator=";")
    with pytest.raises(UserError, match="a separator is one character"):
        read_raw(write(PLAIN), separator="::")


def test_a_path_without_a_file(write, tmp_path):
    write(PLAIN, "houses.csv")
    with pytest.raises(UserError, match=r"no such file .*Did you mean 'houses.csv'"):
        read_raw(tmp_path / "house.csv")
    with pytest.raises(UserError, match=r"There is no folder .*nowhere"):
        read_raw(tmp_path / "nowhere" / "a.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"no table in the folder .*empty"):
        read_raw(tmp_path / "empty")
    for name in ("config.json", "environment.json"):
        (tmp_path / "empty" / name).write_text("{}")
    with pytest.raises(UserError, match=r"empty is the folder of a run, not a table"):
        read_raw(tmp_path / "empty")


def test_a_named_encoding_that_does_not_fit(write):
    with pytest.raises(UserError, match="no such encoding"):
        read_raw(write(PLAIN), encoding="klingon")
    with pytest.raises(UserError, match=r"not utf-8 \(byte 0xfc at offset 2"):
        read_raw(write(b"a,\xfc\n1,2\n"), encoding="utf-8")


def test_lines_keep_their_numbers_below_comments(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("# one\n# two\na,y\n1,2\n# three\n3,4,5\n")
    with pytest.raises(UserError, match=r"line 6 has 3 fields, the header has 2"):
        load_table(path)
    path.write_text(
        "# made by a tool\n#chrom\tpos\ty\n" + "".join(f"{k % 3}\t{k / 2}\t{k * 7 % 5}\n" for k in range(40))
    )
    assert list(load_table(path).features) == ["chrom", "pos"]
