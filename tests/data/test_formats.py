"""Excel, JSON lines, several files, standard input and data frames give the table that a CSV file gives."""

import importlib.util
import io
import json
import zipfile
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tfopt.data import load_table, read_rows
from tfopt.data.rows import read_new_rows
from tfopt.errors import UserError

NUM_ROWS = 40
RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "size": RNG.normal(size=NUM_ROWS).round(3),
        "price": [f"{value:,.2f} €" for value in RNG.normal(5000, 1000, NUM_ROWS)],
        "colour": [("red", "blue")[k % 2] for k in range(NUM_ROWS)],
        "open": [k % 3 > 0 for k in range(NUM_ROWS)],
        "when": pd.date_range("2020-01-01", periods=NUM_ROWS, freq="D"),
        "count": pd.array([None if k % 7 == 0 else k % 5 for k in range(NUM_ROWS)], dtype="Int64"),
        "y": RNG.normal(size=NUM_ROWS),
    }
)


def same(table, other):
    pd.testing.assert_frame_equal(table.features, other.features, check_dtype=False, check_categorical=False)
    assert [column.kind for column in table.columns] == [column.kind for column in other.columns]
    np.testing.assert_allclose(table.target, other.target)


@pytest.fixture
def expected(tmp_path):
    FRAME.to_csv(tmp_path / "expected.csv", index=False)
    return load_table(tmp_path / "expected.csv")


def test_a_data_frame_goes_through_the_same_door(expected):
    before = FRAME.copy(deep=True)
    table = load_table(FRAME, target="y")
    same(table, expected)
    pd.testing.assert_frame_equal(FRAME, before)
    assert (table.name, table.source) == ("table", "the given frame")
    assert table.sha256 == load_table(FRAME).sha256 != load_table(FRAME.iloc[:-1]).sha256
    assert any("the unit €" in note for note in table.notes)


def test_a_data_frame_of_every_kind_of_column():
    frame = pd.DataFrame(
        {
            "sparse": pd.arrays.SparseArray([0.0, 1.0] * 20),
            "period": pd.period_range("2020-01", periods=NUM_ROWS, freq="M"),
            "exact": [Decimal(k) / 8 for k in range(NUM_ROWS)],
            "mixed": [k if k % 2 else f"{k}.5" for k in range(NUM_ROWS)],
            "level": pd.Categorical([k % 3 for k in range(NUM_ROWS)]),
            "y": np.arange(NUM_ROWS) / 7,
        },
    )
    frame.index = pd.Index(RNG.normal(size=NUM_ROWS), name="depth")
    table = load_table(frame, target="y")
    kinds = {column.name: column.kind for column in table.columns}
    dates, levels = {"period": "date"}, {"level": "categorical"}
    assert kinds == {**dict.fromkeys(["depth", "sparse", "exact", "mixed"], "numeric"), **dates, **levels}
    np.testing.assert_array_equal(table.features["exact"], np.arange(NUM_ROWS) / 8)
    np.testing.assert_array_equal(table.features["mixed"].iloc[:3], [0.5, 1.0, 2.5])
    assert table.features["period"].iloc[1] == pd.Timestamp("2020-02-01")


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame({"a": [1j, 2j], "y": [1, 2]}), "complex numbers in column 'a' (the given frame)"),
        (pd.DataFrame({"a": [[1], [2]], "y": [1, 2]}), "column 'a' holds a list in each row"),
        (pd.DataFrame([[1, 2], [3, 4]], columns=["a", "a"]), "two columns are named 'a'"),
        (pd.DataFrame({"a": [], "y": []}), "no rows (the given frame: columns a, y)"),
        (pd.DataFrame({("a", "b"): [1, 2], ("c", "d"): [1, 2]}), "columns with names on several levels"),
    ],
)
def test_data_frames_that_are_no_tables(frame, message):
    with pytest.raises(UserError) as error:
        load_table(frame)
    assert message in str(error.value)


def test_excel(tmp_path, expected):
    path = tmp_path / "t.xlsx"
    FRAME.to_excel(path, index=False)
    same(load_table(path), expected)
    rows = read_rows(path, expected.columns, target_names=["y"])
    pd.testing.assert_frame_equal(rows, expected.features, check_dtype=False, check_categorical=False)
    with pd.ExcelWriter(path) as writer:
        FRAME.to_excel(writer, sheet_name="data", index=False, startrow=2, startcol=1)
        pd.DataFrame({"a": [1]}).to_excel(writer, sheet_name="notes", index=False)
    table = load_table(path)
    same(table, expected)
    assert "read the first of 2 sheets, 'data'" in table.notes
    FRAME.to_excel(path, index=False, header=False)
    assert load_table(path, target="7").target_names == ("column_7",)


def test_an_excel_file_under_another_name_and_a_damaged_one(tmp_path, expected, monkeypatch):
    FRAME.to_excel(tmp_path / "t.xlsx", index=False)
    (tmp_path / "t.csv").write_bytes((tmp_path / "t.xlsx").read_bytes())
    same(load_table(tmp_path / "t.csv"), expected)
    with zipfile.ZipFile(tmp_path / "broken.xlsx", "w") as archive:
        archive.writestr("xl/workbook.xml", "nonsense")
    with pytest.raises(UserError, match=r"not an Excel file \(.*broken.xlsx"):
        load_table(tmp_path / "broken.xlsx")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"Excel files need a reader .* pip install openpyxl"):
        load_table(tmp_path / "t.xlsx")


@pytest.mark.parametrize("lines", [True, False])
def test_json(tmp_path, expected, lines):
    path = tmp_path / ("t.jsonl" if lines else "t.json")
    FRAME.to_json(path, orient="records", lines=lines, date_format="iso", date_unit="s", double_precision=15)
    same(load_table(path), expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "y": 2}\n{"a": 1, "y": }\n', "line 2 is not JSON"),
        ('{"a": 1}\n[1, 2]\n', "row 2 is a list, not an object"),
        ('{"a": {"b": 1}, "y": 1}\n{"a": {"b": 2}, "y": 2}\n', "column 'a' holds a dict in each row"),
    ],
)
def test_broken_json(tmp_path, text, message):
    (tmp_path / "t.jsonl").write_text(text)
    with pytest.raises(UserError) as error:
        load_table(tmp_path / "t.jsonl")
    assert message in str(error.value)


@pytest.mark.parametrize("how", ["list", "commas", "pattern", "folder"])
def test_several_files_are_one_table(tmp_path, expected, how):
    folder = tmp_path / "parts"
    folder.mkdir()
    for place, (start, stop) in enumerate(((0, 13), (13, 30), (30, NUM_ROWS))):
        part = FRAME.iloc[start:stop]
        part[list(part)[:: -1 if place == 1 else 1]].to_csv(folder / f"part-{place}.csv", index=False)
    paths = sorted(folder.glob("*.csv"))
    source = {"list": paths, "commas": ",".join(map(str, paths)), "pattern": folder / "part-*.csv", "folder": folder}[
        how
    ]
    table = load_table(source)
    same(table, expected)
    assert "3 files read as one table of 40 rows" in table.notes


def test_a_column_is_decided_over_all_files(tmp_path):
    (tmp_path / "a.csv").write_text("x;y\n" + "".join(f"{k};{k * 7 % 11}\n" for k in range(20)))
    (tmp_path / "b.csv").write_text("x;y\n" + "".join(f"{k},5;{k * 3 % 11}\n" for k in range(19)) + "7;inf\n")
    with pytest.raises(UserError, match=r"1 infinite value in column 'y' \(.*, .*b.csv, line 21\)"):
        load_table([tmp_path / "a.csv", tmp_path / "b.csv"])
    (tmp_path / "b.csv").write_text("x;y\n" + "".join(f"{k},5;{k * 3 % 11}\n" for k in range(20)))
    table = load_table([tmp_path / "a.csv", tmp_path / "b.csv"])
    np.testing.assert_array_equal(table.features["x"], [*range(20), *np.arange(20) + 0.5])


def test_files_that_differ_in_their_columns(tmp_path):
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    (tmp_path / "b.csv").write_text("z,y\n1,2\n")
    with pytest.raises(UserError, match=r"b.csv and .*a.csv differ in their columns \('x', 'z'\)"):
        load_table(tmp_path)


@pytest.mark.parametrize("form", ["csv", "gzip", "parquet", "excel", "json"])
def test_standard_input(monkeypatch, expected, tmp_path, form):
    path = tmp_path / "t"
    if form in ("csv", "gzip"):
        FRAME.to_csv(path, index=False, compression="gzip" if form == "gzip" else None)
    elif form == "parquet":
        FRAME.to_parquet(path)
    elif form == "excel":
        FRAME.to_excel(path, index=False, engine="openpyxl")
    else:
        FRAME.to_json(path, orient="records", lines=True, date_format="iso", date_unit="s", double_precision=15)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(path.read_bytes())))
    table = load_table("-")
    same(table, expected)
    assert table.source == "standard input"


def test_standard_input_that_is_empty(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"")))
    with pytest.raises(UserError, match="standard input is empty"):
        load_table("-")


def header_of(shape, dtype):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.ones((4, 2)) * 1j, "y": np.arange(4)}, "array 'x' holds complex numbers"),
        ({"x": np.zeros(4, dtype=[("a", "f8"), ("b", "f8")]), "y": np.arange(4)}, "array 'x' holds values of type [("),
        (
            {"x": header_of((10**12,), "<f8"), "y": np.arange(4)},
            "array 'x' claims shape (1000000000000,), 8,000,000,000",
        ),
        ({"x": header_of((10**30, 7), "<f8"), "y": np.arange(4)}, "array 'x' claims shape"),
    ],
)
def test_arrays_that_are_no_table(tmp_path, arrays, message):
    with zipfile.ZipFile(tmp_path / "t.npz", "w") as archive:
        for name, array in arrays.items():
            file = io.BytesIO()
            if isinstance(array, np.ndarray):
                np.save(file, array)
            archive.writestr(f"{name}.npy", file.getvalue() or array)
    with pytest.raises(UserError) as error:
        load_table(tmp_path / "t.npz")
    assert message in str(error.value)
    assert len(str(error.value)) < 400 + len(str(tmp_path))


@pytest.mark.parametrize("role", ["feature", "target", "weights"])
@pytest.mark.parametrize("number", ["1e308", "-1e39", "4e38"])
def test_numbers_beyond_float32_are_refused(tmp_path, role, number):
    columns = {"feature": np.arange(20) % 7, "weights": np.arange(20) % 5, "target": np.arange(20) / 3}
    frame = pd.DataFrame(columns).astype(str)
    frame.loc[3, role] = number
    frame.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(UserError, match=rf"beyond what float32 holds, .*, in column '{role}' \(.*, line 5\)"):
        load_table(tmp_path / "t.csv", weights="weights")


@pytest.mark.parametrize("encoding", ["punycode", "idna", "unicode_escape", "rot13", "base64", "utf\0"])
def test_encodings_that_no_file_has(tmp_path, encoding):
    (tmp_path / "t.csv").write_text("a,y\n1,2\n3,4\n")
    with pytest.raises(UserError, match="no such encoding"):
        load_table(tmp_path / "t.csv", encoding=encoding)


def test_a_label_of_a_megabyte_and_control_characters(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,y\n" + "".join(f"{k % 7},{'z' * 10**6 if k == 3 else 'b'}\n" for k in range(20)))
    with pytest.raises(UserError, match=r"a class label of 1,000,000 characters in column 'y' \(.*'zzz") as error:
        load_table(path)
    assert len(str(error.value)) < 300 + len(str(path))
    path.write_text("a\x1b[31m,b,y\n" + "".join(f"{k % 7},{k % 3},{k / 3}\n" for k in range(20)))
    for options in ({"target": "c"}, {"target": "y", "drop": ["a\x1b[31m", "b"]}):
        with pytest.raises(UserError) as error:
            load_table(path, **options)
        assert str(error.value).isprintable()
    path.write_text("a\x1b[31m,y\n" + "".join(f"0{k},{k / 3}\n" for k in range(20)))
    assert all(note.isprintable() for note in load_table(path).notes)


def test_a_table_with_many_columns(tmp_path):
    path = tmp_path / "t.csv"
    values = RNG.normal(size=(12, 3000)).round(2)
    pd.DataFrame(values, columns=[f"x{k}" for k in range(3000)]).to_csv(path, index=False)
    table = load_table(path)
    np.testing.assert_array_equal(table.features.to_numpy(), values[:, :-1])


def test_json_numbers_keep_their_digits(tmp_path):
    rows = [{"key": 1234567890123456789 + k, "x": k / 3, "y": k % 2} for k in range(20)]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    table = load_table(tmp_path / "t.jsonl")
    assert table.ignored == ("key",)
    np.testing.assert_array_equal(table.features["x"], [k / 3 for k in range(20)])


@pytest.mark.parametrize("kind", ["csv", "xlsx"])
def test_what_spreadsheets_put_around_a_table(tmp_path, kind):
    rows = [[f"shop {k % 3}", k * 7 % 11, k / 4, "", ""] for k in range(30)]
    titles = [["Sales of 2024", "", "", "", ""], ["by Ann, Berlin", "", "", "", ""], [""] * 5]
    totals = ["Grand Total:", sum(row[1] for row in rows), sum(row[2] for row in rows), "", ""]
    frame = pd.DataFrame([*titles, ["shop", "sold", "price", "", " "], *rows, totals])
    path = tmp_path / f"t.{kind}"
    if kind == "csv":
        frame.to_csv(path, index=False, header=False, lineterminator="\r\n")
    else:
        pytest.importorskip("openpyxl")
        frame.to_excel(path, index=False, header=False)
    table = load_table(path)
    assert (table.num_rows, list(table.features), table.target_names) == (30, ["shop", "sold"], ("price",))
    assert table.target.sum() == totals[2]
    assert any("above the names left out: 'Sales of 2024', 'by Ann, Berlin'" in note for note in table.notes)
    assert any("a row of totals: 'Grand Total:' in 'shop'" in note for note in table.notes)
    rows = read_rows(path, table.columns, target_names=table.target_names)
    assert rows["sold"].tolist() == table.features["sold"].tolist()
    new = read_new_rows(path, table.columns)
    assert new.left_out == ("the last row left out, as a row of totals: 'Grand Total:' in 'shop'",)


@pytest.mark.parametrize("kind", ["csv", "xlsx"])
@pytest.mark.parametrize(
    ("first", "second", "names"),
    [
        (["2019", "", "2020", ""], ["low", "high", "low", "high"], ["2019 low", "2019 high", "2020 low", "2020 high"]),
        (["plant", "size", "", "y"], ["", "a", "b", "kg"], ["plant", "size a", "size b", "y kg"]),
        (["plant", "a", "b", "y"], ["", "cm", "mm", "kg"], ["plant", "a", "b", "y"]),
    ],
)
def test_names_in_two_lines(tmp_path, kind, first, second, names):
    rows = [[k % 5 / 2 if names[0] != "plant" else "AB"[k % 2], k % 7 / 4, k % 3, k / 8] for k in range(30)]
    path = tmp_path / f"t.{kind}"
    frame = pd.DataFrame([first, second, *rows])
    if kind == "csv":
        frame.to_csv(path, index=False, header=False)
    else:
        pytest.importorskip("openpyxl")
        frame.to_excel(path, index=False, header=False)
    table = load_table(path)
    assert [*table.features, *table.target_names] == names
    assert table.target.tolist() == [row[-1] for row in rows]
    assert any(all(repr(word) in note for word in second if word) for note in table.notes)


@pytest.mark.parametrize("separator", [",", ";"])
@pytest.mark.parametrize(
    ("before", "after", "notes"),
    [
        ("Report, made; today\n", ",,\n \n,,\n", ["above the names"]),
        ("", "\nSource: a ministry, 2024; revised\n* preliminary\n", ["below: 'Source: a"]),
        (
            "A title\n\n\n",
            'Durchschnitt,1,2\n\n"Note: all is well"\n',
            ["'A title'", "'Durchschnitt'", "Note: all is well"],
        ),
    ],
)
def test_what_people_write_around_a_table(tmp_path, separator, before, after, notes):
    path = tmp_path / "t.csv"
    rows = "shop,sold,price\n" + "".join(f"{'abc'[k % 3]},{k * 7 % 11},{k / 4}\n" for k in range(30)) + after
    path.write_text(before + rows.replace(",", separator))
    table = load_table(path)
    assert (list(table.features), table.target.tolist()) == (["shop", "sold"], [k / 4 for k in range(30)])
    assert all(any(note in said for said in table.notes) for note in notes)
    path.write_text(before + rows.replace("7.25", "7.25,1").replace(",", separator))
    with pytest.raises(UserError, match=f"line {len(before.splitlines()) + 31} has 4 fields"):
        load_table(path)


def test_lines_that_are_rows(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("colour,shape\n" + "".join(f"r{k},{'ab'[k % 2]},{'uv'[k % 3 > 1]}\n" for k in range(30)))
    with pytest.raises(UserError, match="line 2 has 3 fields, the header has 2"):  # names of rows, as R writes them
        load_table(path)
    path.write_text("what,n,y\n" + "".join(f"{('Note: x', 'Source: y')[k % 2]},{k},{k / 3}\n" for k in range(30)))
    assert load_table(path).num_rows == 30


def test_a_level_called_total_and_a_line_of_words_are_rows(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("sex,n\n" + "".join(f"{('f', 'm', 'total')[k % 3]},{k / 3}\n" for k in range(30)))
    table = load_table(path)
    assert table.num_rows == 30
    assert "rows where 'sex' is 'total' are kept; take them out if they sum up others" in table.notes
    path.write_text("a,b,y\nunknown,n.a.,1\n" + "".join(f"{k / 3},{k / 7},{k / 5}\n" for k in range(30)))
    assert load_table(path).num_rows == 31


def test_commas_in_names_of_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for place, name in enumerate(("a,b.csv", "c.csv", "d,e,f.csv")):
        Path(name).write_text("x,y\n" + "".join(f"{k},{k / 3 + place}\n" for k in range(20)))
    assert load_table("a,b.csv").num_rows == 20
    assert load_table(["a,b.csv", "c.csv", "d,e,f.csv"]).num_rows == 60
    with pytest.raises(UserError, match=r"'a,x\.csv'"):
        load_table("a,x.csv")
