"""Columns, target and task are decided as a user would; what cannot be used is refused in one line."""

import importlib.util

import numpy as np
import pandas as pd
import pytest
from sklearn import datasets

from tfopt.data import load_table, sources
from tfopt.data.rows import coded_targets
from tfopt.errors import UserError

NUM_ROWS = 40


@pytest.fixture
def write(tmp_path):
    def write(columns, name="t.csv"):
        path = tmp_path / name
        if isinstance(columns, str):
            path.write_text(columns, encoding="utf-8")
        else:
            pd.DataFrame(columns).to_csv(path, index=False)
        return path

    return write


def cycle(*values):
    return [values[k % len(values)] for k in range(NUM_ROWS)]


def numbers():
    return [round(float(x), 3) for x in np.random.default_rng(0).normal(size=NUM_ROWS)]


def kinds(table):
    return {column.name: column.kind for column in table.columns}


@pytest.mark.parametrize(
    ("name", "task", "shape", "outputs"),
    [
        ("digits", "classification", (1797, 61), 10),
        ("diabetes", "regression", (442, 10), 1),
        ("breast_cancer", "classification", (569, 30), 2),
        ("wine", "classification", (178, 13), 3),
        ("iris", "classification", (150, 4), 3),
        ("linnerud", "regression", (20, 3), 3),
        ("friedman1", "regression", (1000, 10), 1),
        ("friedman2", "regression", (1000, 4), 1),
        ("friedman3", "regression", (1000, 4), 1),
        ("moons", "classification", (1000, 2), 2),
    ],
)
def test_embedded_sets(name, task, shape, outputs):
    table = load_table(name)
    assert (table.task, table.features.shape, table.num_outputs) == (task, shape, outputs)
    assert table.sha256 == load_table(name).sha256
    assert set(kinds(table).values()) == {"numeric"}
    assert table.target.shape == ((20, 3) if name == "linnerud" else (shape[0],))
    assert table.target.dtype == (np.int64 if task == "classification" else np.float64)
    assert all("dropped" in note for note in table.notes)


def test_every_embedded_set_has_its_own_hash():
    assert len({load_table(name).sha256 for name in sources.EMBEDDED}) == len(sources.EMBEDDED)


def test_embedded_values_are_scikit_learns():
    bunch = datasets.load_breast_cancer()
    table = load_table("breast_cancer")
    np.testing.assert_array_equal(table.features.to_numpy(), bunch.data)
    assert [table.classes[code] for code in table.target] == [bunch.target_names[code] for code in bunch.target]
    digits = load_table("digits")
    assert digits.features.columns[0] == "pixel_0_1"  # pixel_0_0 is always 0
    np.testing.assert_array_equal(digits.features["pixel_3_5"], datasets.load_digits().images[:, 3, 5])
    np.testing.assert_array_equal(digits.target, datasets.load_digits().target)
    assert load_table("linnerud").target_names == ("Weight", "Waist", "Pulse")
    assert load_table("linnerud", target="Pulse").features.shape == (20, 5)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (numbers(), "numeric"),
        (list(range(0, 2 * NUM_ROWS, 2)), "numeric"),
        (cycle(1, 2, 3), "numeric"),
        (cycle(0, 1), "numeric"),
        (cycle(2019, 2020, 2021), "numeric"),
        (cycle(20200101, 20200102), "numeric"),
        (cycle(*([*numbers()[:39], "oops"])), "numeric"),
        (cycle("1", "2", "A"), "categorical"),
        (cycle("red", "blue"), "categorical"),
        (cycle("red", None, "blue"), "categorical"),
        (cycle(*"abcdefghijklmnopqrs"), "categorical"),
        (cycle("TRUE", "FALSE"), "boolean"),
        (cycle("yes", "No", None), "boolean"),
        (cycle("t", "f"), "boolean"),
        (cycle("yes", "no", "maybe"), "categorical"),
        (cycle("true", "no"), "categorical"),
        (cycle("2020-01-01", "2020-02-03"), "date"),
        (cycle("2020-01-01 10:00:00", "2020-02-03 11:30:15"), "date"),
        (cycle("2020-01-01T10:00:00Z", "2020-02-03T11:30:15+02:00"), "date"),
        (cycle("1/31/2020", "2/1/2020"), "date"),
        (cycle("31.1.2020", "1.2.2020", None), "date"),
        (cycle("2020年1月3日", "2021年11月13日"), "date"),
        (cycle("3 Jan 2020", "4 Feb 2021"), "date"),
        (cycle("10:30", "11:45"), "numeric"),
        (cycle("1:0", "2:2", "3:1"), "categorical"),
        (cycle("3 Jän 2020", "4 févr. 2021", "1 Sept 2021"), "date"),
        (cycle("2020-W05", "2021-W52"), "date"),
        (cycle("1-2", "3-4"), "categorical"),
        (cycle("192.168.0.1", "10.0.0.1"), "categorical"),
    ],
)
def test_kinds(write, values, kind):
    table = load_table(write({"v": values, "y": cycle("a", "b")}))
    assert kinds(table) == {"v": kind}
    (column,) = table.columns
    assert column.has_missing == bool(table.features["v"].isna().any()) == (None in values or "oops" in values)
    assert column.num_levels == (table.features["v"].nunique() if kind == "categorical" else 0)


def test_dates_are_read_right(write):
    table = load_table(
        write(
            {
                "us": cycle("1/31/2020", "2/1/2020"),
                "eu": cycle("31/1/2020 14:30", "1/2/2020 00:05"),
                "zone": cycle("2020-01-01T23:00:00-02:00", "2020-02-03T11:30:15Z"),
                "y": cycle("a", "b"),
            }
        )
    )
    first = table.features.iloc[0]
    assert first["us"] == pd.Timestamp("2020-01-31")
    assert first["eu"] == pd.Timestamp("2020-01-31 14:30")
    assert first["zone"] == pd.Timestamp("2020-01-02 01:00")
    assert table.columns[1].date_format == "%d/%m/%Y %H:%M"


def test_useless_columns_are_dropped_and_said(write):
    path = write(
        {
            "id": range(100, 100 + NUM_ROWS),
            "customer_id": [k * k + 7 for k in range(NUM_ROWS)],
            "key": [f"k{k}" for k in range(NUM_ROWS)],
            "constant": cycle(3),
            "word": cycle("same"),
            "nothing": cycle(None),
            "one or missing": cycle(3, None),
            "unique float": numbers(),
            "unique integer": [k * k for k in range(NUM_ROWS)],
            "y": cycle("a", "b"),
        }
    )
    table = load_table(path)
    assert kinds(table) == dict.fromkeys(["one or missing", "unique float", "unique integer"], "numeric")
    notes = " | ".join(table.notes)
    assert "dropped as an identifier, another value in each row: id, customer_id, key" in notes
    assert "dropped as constant: constant, word" in notes
    assert "dropped as empty: nothing" in notes
    assert set(table.ignored) == {"id", "customer_id", "key", "constant", "word", "nothing"}


def test_stray_text_in_a_column_of_numbers_is_missing_and_said(write):
    values = numbers()
    values[3] = values[30] = "unknown"
    table = load_table(write({"v": values, "y": cycle("a", "b")}))
    assert np.flatnonzero(table.features["v"].isna()).tolist() == [3, 30]
    assert table.columns[0].missing_text == ("unknown",)
    assert (
        "read as missing among numbers: 'v' (2 cells: 'unknown' in 2); change with --column v=category" in table.notes
    )


@pytest.mark.parametrize(
    ("values", "task", "classes"),
    [
        (cycle("b", "a"), "classification", ("a", "b")),
        (cycle("TRUE", "FALSE"), "classification", ("FALSE", "TRUE")),
        (cycle(0, 1), "classification", ("0", "1")),
        (cycle(1.0, 2.0), "classification", ("1", "2")),
        (cycle(2, 10, 1), "classification", ("1", "2", "10")),
        (cycle("yes", "no"), "classification", ("no", "yes")),
        (cycle(0.5, 1.5), "regression", ()),
        (cycle(*range(15)), "regression", ()),  # fewer than five rows for each
        (list(range(NUM_ROWS)), "regression", ()),
        (numbers(), "regression", ()),
    ],
)
def test_the_task_is_inferred_and_said(write, values, task, classes):
    table = load_table(write({"x": numbers(), "target": values}))
    assert (table.task, table.classes) == (task, classes)
    if classes:
        given = [table.classes[code] for code in table.target]
        assert given == [str(value).removesuffix(".0") for value in values]
    else:
        np.testing.assert_allclose(table.target, values)
    notes = " | ".join(table.notes)
    assert f"task: {task}, 'target'" in notes
    assert "(change with --task)" in notes
    assert "target: 'target', the last column (change with --target)" in notes


def test_many_classes_are_said(write):
    table = load_table(write({"x": numbers(), "y": [f"c{k % 25}" for k in range(NUM_ROWS)]}))
    assert "task: classification, 'y' has 25 classes, which is many (change with --task)" in table.notes


def test_the_task_can_be_told(write):
    path = write({"x": numbers(), "y": cycle(1, 2, 3)})
    assert load_table(path, task="regression").target.dtype == np.float64
    assert load_table(path, task="classification").classes == ("1", "2", "3")
    assert not any("task:" in note for note in load_table(path, task="regression").notes)


def test_group_weights_and_drop(write):
    path = write({"x": numbers(), "z": cycle("a", "b"), "who": cycle("p", "q", "r"), "w": cycle(1, 2), "y": numbers()})
    table = load_table(path, group="who", weights="w", drop=["z"])
    assert list(kinds(table)) == ["x"]
    np.testing.assert_array_equal(table.groups, [k % 3 for k in range(NUM_ROWS)])
    np.testing.assert_array_equal(table.weights, [k % 2 + 1 for k in range(NUM_ROWS)])
    assert table.weights.dtype == np.float64
    assert set(table.ignored) == {"z", "who", "w"}


def test_several_targets(write):
    path = write({"a": numbers(), "x": numbers(), "b": cycle(1, 2)})
    table = load_table(path, target=["b", "a"])
    assert table.target_names == ("b", "a")
    np.testing.assert_array_equal(table.target, np.column_stack([cycle(1, 2), numbers()]))
    with pytest.raises(UserError, match="2 targets and --task classification"):
        load_table(path, target=["b", "a"], task="classification")


def test_columns_without_a_header_can_be_named_by_number(write):
    path = write("\n".join(f"{a},{b},{k % 2}" for k, (a, b) in enumerate(zip(numbers(), numbers()[::-1], strict=True))))
    table = load_table(path, target="1", drop=["column_3"])
    assert table.target_names == ("column_1",)
    assert list(kinds(table)) == ["column_2"]


def test_parquet_and_npz(tmp_path):
    frame = pd.DataFrame(
        {
            "x": numbers(),
            "level": pd.Categorical(cycle("1", "2", "3")),
            "flag": pd.array(cycle(True, False, None), dtype="boolean"),
            "when": pd.to_datetime(cycle("2020-01-01", "2021-01-01")),
            "took": pd.to_timedelta([k**2 for k in range(NUM_ROWS)], unit="s"),
            "y": cycle(True, False),
        }
    )
    frame.to_parquet(tmp_path / "t.parquet")
    table = load_table(tmp_path / "t.parquet")
    assert list(kinds(table).values()) == ["numeric", "categorical", "boolean", "date", "numeric"]
    assert table.classes == ("False", "True")
    x = np.random.default_rng(0).normal(size=(NUM_ROWS, 2, 3))
    np.savez(tmp_path / "t.npz", x=x, y=np.array(cycle("a", "b")))
    table = load_table(tmp_path / "t.npz")
    np.testing.assert_array_equal(table.features["x_1_2"], x[:, 1, 2])
    assert table.classes == ("a", "b")
    np.savez(tmp_path / "two.npz", x=x, y=x[:, 0, :2])
    assert load_table(tmp_path / "two.npz").target_names == ("y_0", "y_1")


GOOD = {"x": numbers(), "colour": cycle("red", "blue"), "size": cycle(1, 2, 3), "price": numbers()[::-1]}


def replaced(name, place, value):
    values = list(GOOD[name])
    values[place] = value
    return {**GOOD, name: values}


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        (GOOD, {"target": "pric"}, "no column 'pric' for --target ({path}). Did you mean 'price'? Its columns are x, "),
        (GOOD, {"drop": ["color"]}, "no column 'color' for --drop ({path}). Did you mean 'colour'?"),
        (GOOD, {"group": "who"}, "no column 'who' for --group ({path})."),
        (GOOD, {"weights": "w"}, "no column 'w' for --weights ({path})."),
        (
            GOOD,
            {"target": "size", "header": "no"},
            "no column 'size' for --target ({path}). Its first line holds it, but",
        ),
        (GOOD, {"target": "x", "drop": ["x"]}, "'x' is the target and cannot be given to --drop ({path})"),
        (GOOD, {"target": ["x", "x"]}, "a target is named twice"),
        (GOOD, {"target": []}, "no target was named"),
        (
            GOOD,
            {"task": "regresion"},
            "--task is one of auto, regression, classification (received 'regresion'). Did you",
        ),
        (GOOD, {"header": "maybe"}, "--header is one of"),
        (GOOD, {"drop": ["x", "colour", "size"]}, "no feature column is left ({path})"),
        (
            {f"feature {k}": numbers() for k in range(30)},
            {"target": "z"},
            "Its columns are feature 0, feature 1, feature 2, feature 3, feature 4, feature 5, feature 6, feature 7 …",
        ),
        (
            {**GOOD, "price": cycle(1.5, None, 2.5, 3.5)},
            {},
            "10 missing values in the target 'price' ({path}: line 3, line 7, line 11, …). Fill them in",
        ),
        (replaced("price", 4, None), {}, "1 missing value in the target 'price' ({path}: line 6)"),
        ({"x": numbers(), "y": cycle("a")}, {}, "one class only ({path}, column 'y': every row is 'a')"),
        (
            {"x": numbers(), "y": [f"n{k}" for k in range(NUM_ROWS)]},
            {},
            "every row is a class of its own ({path}, column",
        ),
        ({"x": numbers(), "y": cycle(1.5)}, {}, "the target 'y' is 1.5 in every row ({path})"),
        (
            GOOD,
            {"target": "colour", "task": "regression"},
            "text in the numeric target 'colour' ({path}: 'red' (line 2), ",
        ),
        (replaced("price", 8, "cheap"), {}, "1 missing value in the target 'price' ({path}: 'cheap' (line 10)). Fill"),
        (replaced("x", 5, "inf"), {}, "1 infinite value in column 'x' ({path}, line 7)"),
        (replaced("x", 5, "-1e999"), {}, "1 infinite value in column 'x' ({path}, line 7)"),
        (replaced("price", 5, "inf"), {}, "1 infinite value in column 'price' ({path}, line 7)"),
        (replaced("x", 5, "inf"), {"weights": "x"}, "1 infinite value in column 'x' ({path}, line 7)"),
        (GOOD, {"weights": "x"}, "a negative weight, "),
        (GOOD, {"weights": "colour"}, "text in the weights 'colour' ({path}: 'red' (line 2)"),
        ({**GOOD, "w": cycle(0)}, {"weights": "w", "target": "x"}, "all weights are 0 ({path}, column 'w')"),
        (
            replaced("size", 3, None),
            {"weights": "size"},
            "1 missing value in the weights column 'size' ({path}: line 5)",
        ),
        (
            replaced("colour", 3, None),
            {"group": "colour"},
            "1 missing value in the group column 'colour' ({path}: line 5)",
        ),
        ({**GOOD, "g": cycle("a")}, {"group": "g", "target": "x"}, "one group only ({path}, column 'g')"),
        (
            {"a": cycle(1), "b": range(NUM_ROWS), "y": cycle(1, 2)},
            {},
            "all columns were dropped ({path}; constant: a; an identifier, another value in each row: b)",
        ),
        ("a,b\n1,2\n", {}, "one row only ({path})"),
    ],
)
def test_bad_tables(write, columns, options, message):
    path = write(columns)
    with pytest.raises(UserError) as error:
        load_table(path, **options)
    assert message.format(path=path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_name_that_is_neither_set_nor_file(write, monkeypatch):
    monkeypatch.chdir(write(GOOD, "houses.csv").parent)
    with pytest.raises(UserError, match=r"'diabetis' is neither .* Did you mean 'diabetes'\? Embedded: digits, "):
        load_table("diabetis")
    with pytest.raises(UserError, match=r"Did you mean 'houses.csv'\?"):
        load_table("house.csv")
    with pytest.raises(UserError, match=r"keras:mnst is not known here. Did you mean 'mnist'\?"):
        load_table("keras:mnst")
    with pytest.raises(UserError, match="names no data set"):
        load_table("openml:")


def test_a_download_that_fails_says_so_in_one_line(monkeypatch, capsys):
    def refuse(*args, **kwargs):
        print("Downloading data")
        raise OSError("Name or service not known\nmore")

    monkeypatch.setattr("sklearn.datasets.fetch_openml", refuse)
    with pytest.raises(UserError, match=r"^openml:credit-g could not be fetched \(Name or service not known\).*$"):
        load_table("openml:credit-g")
    import keras

    capsys.readouterr()
    monkeypatch.setattr(keras.datasets.mnist, "load_data", refuse)
    with pytest.raises(UserError, match=r"^keras:mnist could not be downloaded \(Name or service not known\).*$"):
        load_table("keras:mnist")
    assert "Downloading" not in capsys.readouterr().out


def test_downloaded_sets_become_tables(monkeypatch):
    import keras

    images = np.random.default_rng(0).integers(0, 256, (30, 28, 28), dtype=np.uint8)
    parts = (images[:20], np.arange(20) % 10), (images[20:], np.arange(10) % 10)
    monkeypatch.setattr(keras.datasets.mnist, "load_data", lambda: parts)
    table = load_table("keras:mnist")
    assert table.features.shape == (30, 784)
    np.testing.assert_array_equal(table.features["pixel_27_3"], images[:, 27, 3])
    assert table.classes == tuple("0123456789")

    frame = pd.DataFrame(
        {"a": pd.Categorical(cycle("u", "v")), "b": numbers(), "class": pd.Categorical(cycle("g", "b"))}
    )
    bunch = type("Bunch", (), {"frame": frame, "target_names": ["class"]})
    monkeypatch.setattr("sklearn.datasets.fetch_openml", lambda **options: bunch)
    table = load_table("openml:credit-g")
    assert (table.task, table.classes, kinds(table)) == (
        "classification",
        ("b", "g"),
        {"a": "categorical", "b": "numeric"},
    )


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.npz", b"nonsense", "not an NPZ file ({path})"),
        ("t.npz", {"x": np.ones((4, 2))}, "an NPZ file must hold 'x' and 'y' ({path} holds x)"),
        (
            "t.npz",
            {"x": np.ones((4, 2)), "y": np.ones(3)},
            "'x' and 'y' differ in rows ({path}: x has shape (4, 2), y (3,))",
        ),
        ("t.npz", {"x": np.ones((0, 2)), "y": np.ones(0)}, "no rows ({path}"),
        ("t.npz", {"x": np.array([{}, {}]), "y": np.ones(2)}, "not an NPZ file ({path}: Object arrays"),
        ("t.parquet", b"nonsense", "not a Parquet file ({path}"),
        ("t.parquet", pd.DataFrame({"a": [[1], [2]], "y": [1, 2]}), "column 'a' holds a list in each row ({path})"),
        ("t.parquet", pd.DataFrame({"a": [], "y": []}), "no rows ({path}: columns a, y)"),
    ],
)
def test_bad_binary_files(tmp_path, name, content, message):
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, dict):
        np.savez(path, **content)
    else:
        content.to_parquet(path)
    with pytest.raises(UserError) as error:
        load_table(path)
    assert message.format(path=path) in str(error.value)


def test_parquet_without_an_engine(tmp_path, monkeypatch):
    path = tmp_path / "t.parquet"
    path.write_bytes(b"PAR1")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"Parquet needs a reader \(.*\)\. Install it: pip install pyarrow\."):
        load_table(path)


def test_reading_and_encoding_import_no_tensorflow_and_the_package_no_pandas(write, fresh_python):
    script = f"""
import sys
sys.argv[0] = "tfopt"
import tfopt.data
assert "pandas" not in sys.modules and "sklearn" not in sys.modules
from tfopt.data import TableEncoder, load_table
table = load_table({str(write(GOOD))!r})
assert "sklearn.datasets" not in sys.modules
TableEncoder(table.columns).fit_transform(table.features)
load_table("iris")
assert "tensorflow" not in sys.modules and "keras" not in sys.modules
"""
    done = fresh_python("-c", script)
    assert done.returncode == 0, done.stderr


def test_thousands_points_beside_decimal_commas_are_said(tmp_path):
    path = tmp_path / "europe.csv"
    path.write_text("income;price\n" + "".join(f"{k + 4}.{k:03};{k},5\n" for k in range(20)), encoding="utf-8")
    table = load_table(str(path), target="price")
    assert table.features["income"].tolist() == [1000.0 * (k + 4) + k for k in range(20)]
    (note,) = [note for note in table.notes if "income" in note]
    assert "thousands points" in note
    assert "20 cells" in note
    assert "--column income=decimal-point" in note


def test_levels_that_differ_in_case_are_said(write):
    path = write({"a": np.arange(40) / 3, "city": ["Rome", "ROME"] * 20, "y": ["Yes", "yes", "no", "NO"] * 10})
    notes = load_table(path).notes
    assert any(note.startswith("levels of 'city' that differ") for note in notes)
    assert any(note.startswith("classes of 'y' that differ in case only are one: ") for note in notes)
    assert load_table(path, columns={"y": "category"}).classes == ("NO", "Yes", "no", "yes")


def test_truth_values_of_a_target_are_two_classes_however_spelled(write):
    table = load_table(write({"a": np.arange(40) / 3, "y": ["Yes", "yes", "no", "yes ", "NO"] * 7 + ["no"] * 5}))
    assert table.classes == ("no", "yes")
    assert table.target.tolist() == [1, 1, 0, 1, 0] * 7 + [0] * 5
    target, known = coded_targets([pd.Series(["YES", "No", "perhaps"])], table.classes)
    assert (target[known].tolist(), known.tolist()) == ([1, 0], [True, True, False])
