"""New rows are read as the training rows were, whatever order, header or spelling they come in."""

import numpy as np
import pandas as pd
import pytest

from tfopt.data import Column, load_table, read_rows, to_inputs
from tfopt.data.rows import canonical
from tfopt.errors import UserError

NUM_ROWS = 40
RNG = np.random.default_rng(0)
TRAINING = pd.DataFrame(
    {
        "id": range(NUM_ROWS),
        "size": RNG.normal(size=NUM_ROWS).round(3),
        "colour": [["red", "blue", "dark red"][k % 3] for k in range(NUM_ROWS)],
        "code": [["007", "7", "1.0", "A"][k % 4] for k in range(NUM_ROWS)],
        "open": [["yes", "no"][k % 2] for k in range(NUM_ROWS)],
        "when": [f"{k % 28 + 1}/{k % 12 + 1}/2020" for k in range(NUM_ROWS)],
        "y": [["good", "bad"][k % 2] for k in range(NUM_ROWS)],
    }
)


@pytest.fixture
def table(tmp_path):
    TRAINING.to_csv(tmp_path / "train.csv", index=False)
    return load_table(tmp_path / "train.csv")


@pytest.fixture
def read(tmp_path, table):
    def read(frame, **options):
        path = tmp_path / "new.csv"
        if isinstance(frame, str):
            path.write_text(frame, encoding="utf-8")
        else:
            frame.to_csv(path, index=False, sep=options.pop("sep", ","))
        options = {"target_names": table.target_names, "ignored": table.ignored, **options}
        return read_rows(path, table.columns, **options)

    return read


def texts(frame, columns):
    return {name: [str(value) for value in values] for name, values in to_inputs(frame, columns).items()}


def test_the_training_file_itself(table, read):
    rows = read(TRAINING)
    assert texts(rows, table.columns) == texts(table.features, table.columns)
    assert list(rows) == ["size", "colour", "code", "open", "when"]


@pytest.mark.parametrize("leave", [["y"], ["id"], ["id", "y"]])
@pytest.mark.parametrize("sep", [",", ";", "\t"])
def test_any_order_separator_and_without_what_is_not_needed(table, read, leave, sep):
    shuffled = TRAINING.drop(columns=leave)[::-1].iloc[:, ::-1]
    rows = read(shuffled, sep=sep)
    assert texts(rows, table.columns) == texts(table.features[::-1], table.columns)


def test_one_row_and_levels_that_look_like_numbers(table, read):
    rows = read("size,colour,code,open,when\n1,red,007,0,25/12/2021\n,,7,TRUE,\n2,never seen,1,,2022-01-02\n")
    inputs = to_inputs(rows, table.columns)
    assert inputs["code"].tolist() == ["007", "7", "1"]
    assert inputs["colour"].tolist() == ["red", "", "never seen"]
    assert inputs["when"].tolist() == ["2021-12-25 00:00:00", "", "2022-01-02 00:00:00"]
    np.testing.assert_array_equal(inputs["open"], [0.0, 1.0, np.nan])
    np.testing.assert_array_equal(inputs["size"], [1.0, np.nan, 2.0])
    assert {name: values.dtype for name, values in inputs.items()} == {
        "size": np.dtype("float64"),
        "colour": np.dtype(object),
        "code": np.dtype(object),
        "open": np.dtype("float64"),
        "when": np.dtype(object),
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "size,colours,code,open,when\n1,red,A,yes,1/1/2020\n",
            "column 'colour' is missing ({path}). Did you mean 'colours'?",
        ),
        (
            "size,code\n1,A\n",
            "column 'colour' and 2 more are missing ({path}). The model needs size, colour, code, open, when.",
        ),
        (
            "size,colour,code,open,when\n1,red,A,yes,1/1/2020\nbig,red,A,yes,1/1/2020\n",
            "column 'size' holds 'big' (line 3) where training had a number ({path}). Write a number, or leave",
        ),
        (
            "size,colour,code,open,when\n1,red,A,perhaps,1/1/2020\n",
            "column 'open' holds 'perhaps' (line 2) where training had true or false ({path}). Write true or false (or",
        ),
        (
            "size,colour,code,open,when\n1,red,A,no,31/31/2020\n",
            "column 'when' holds '31/31/2020' (line 2) where training had a date ({path}). Write a date, or",
        ),
        ("size,colour,code,open,when\ninf,red,A,no,1/1/2020\n", "1 infinite value in column 'size' ({path}, line 2)"),
        ("size,colour,code,open,when\n", "a header and no rows ({path}"),
        ("1,red,A\n2,blue,A\n", "no header line and 3 columns, where 5 can be matched by position ({path})"),
    ],
)
def test_rows_that_do_not_fit(tmp_path, read, content, message):
    with pytest.raises(UserError) as error:
        read(content)
    assert message.format(path=tmp_path / "new.csv") in str(error.value)
    assert "\n" not in str(error.value)


def test_stray_text_known_from_training_is_missing_again(tmp_path):
    values = [str(k * 0.5) for k in range(NUM_ROWS)]
    values[3] = "unknown"
    path = tmp_path / "t.csv"
    pd.DataFrame({"v": values, "y": TRAINING["y"]}).to_csv(path, index=False)
    table = load_table(path)
    rows = read_rows(path, table.columns, target_names=table.target_names)
    assert np.flatnonzero(rows["v"].isna()).tolist() == [3]


def test_files_without_a_header_are_matched_by_position(tmp_path):
    path = tmp_path / "t.csv"
    frame = pd.DataFrame(
        {"level": TRAINING["colour"], "y": TRAINING["y"], "id": range(NUM_ROWS), "x": TRAINING["size"]}
    )
    frame.to_csv(path, index=False, header=False)
    table = load_table(path, target="2")
    assert (table.ignored, [column.name for column in table.columns]) == (("column_3",), ["column_1", "column_4"])
    for leave in ([], ["y"], ["id", "y"]):
        frame.drop(columns=leave)[:3].to_csv(path, index=False, header=False)
        rows = read_rows(path, table.columns, target_names=table.target_names, ignored=table.ignored)
        assert rows["column_1"].tolist() == ["red", "blue", "dark red"]
        np.testing.assert_array_equal(rows["column_4"], TRAINING["size"][:3])
    path.write_text("red,blue,1,2,3\n")
    with pytest.raises(UserError, match="no header line and 5 columns, where 3 or 2 can be matched by position"):
        read_rows(path, table.columns, target_names=table.target_names)
    path.write_text("red\n")
    with pytest.raises(UserError, match="no header line and 1 column, where"):
        read_rows(path, table.columns, target_names=table.target_names)


def test_a_table_of_words_without_a_header_keeps_its_first_row(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("".join(f"{a},{b}\n" for a, b in zip(TRAINING["colour"], TRAINING["y"], strict=True)))
    table = load_table(path)
    path.write_text("blue\n")
    rows = read_rows(path, table.columns, target_names=table.target_names)
    assert rows["column_1"].tolist() == ["blue"]


def test_one_column_with_a_header(tmp_path):
    path = tmp_path / "new.csv"
    path.write_text("x\n1.5\n2.5\n")
    assert read_rows(path, [Column("x", "numeric")], target_names=["y"])["x"].tolist() == [1.5, 2.5]


def test_one_column_of_words_is_not_split_at_their_blanks(tmp_path):
    path = tmp_path / "new.csv"
    path.write_text("city\nNew York\nSan Juan\nLos Angeles\n")
    rows = read_rows(path, [Column("city", "categorical", 3)], target_names=["y"])
    assert rows["city"].tolist() == ["New York", "San Juan", "Los Angeles"]


def test_binary_files(tmp_path, table):
    TRAINING.to_parquet(tmp_path / "new.parquet")
    rows = read_rows(tmp_path / "new.parquet", table.columns, target_names=["y"], ignored=["id"])
    assert texts(rows, table.columns) == texts(table.features, table.columns)
    x = RNG.normal(size=(12, 2))
    np.savez(tmp_path / "train.npz", x=x, y=np.arange(12) % 2)
    trained = load_table(tmp_path / "train.npz")
    np.savez(tmp_path / "new.npz", x=x[:3])
    rows = read_rows(tmp_path / "new.npz", trained.columns, target_names=trained.target_names)
    np.testing.assert_array_equal(rows.to_numpy(), x[:3])


@pytest.mark.parametrize("level", [1, 1.0, "1", "1.0", np.int64(1), np.float32(1)])
def test_inputs_from_any_frame(level):
    columns = [Column("c", "categorical", 2), Column("b", "boolean"), Column("d", "date", date_format="ISO8601")]
    for truth in (True, "Yes", 1, 1.0, "true"):
        frame = pd.DataFrame({"c": [level], "b": [truth], "d": ["2020-03-01"]})
        inputs = to_inputs(frame, columns)
        assert {name: values.tolist() for name, values in inputs.items()} == {
            "c": ["1"],
            "b": [1.0],
            "d": ["2020-03-01 00:00:00"],
        }
    with pytest.raises(UserError, match=r"column 'c' is missing \(the given frame\)\. Did you mean 'cc'"):
        to_inputs(frame.rename(columns={"c": "cc"}), columns)


PERIODS = {f"periods by {freq}": pd.period_range("2020-01", periods=12, freq=freq) for freq in "YQMWDh"}


@pytest.mark.parametrize(
    "frame",
    [
        *(pd.DataFrame({name: values}) for name, values in PERIODS.items()),
        pd.DataFrame({"spans": pd.Series(pd.to_timedelta(np.arange(12) % 7, unit="h"), dtype=object)}),
        pd.DataFrame(np.arange(24.0).reshape(12, 2) % 5),  # 0 and 1 are the names of its columns
        pd.DataFrame(np.arange(24.0).reshape(12, 2) % 5, columns=[None, pd.Timestamp("2024-01-01")]),
        pd.DataFrame({"a": np.arange(12) % 5}, index=pd.Index(np.arange(12) % 4 + 2000, name="year")),
        pd.DataFrame(
            {"a": np.arange(12) % 5}, index=pd.MultiIndex.from_product([[1, 2, 3], list("abcd")], names=[1, "letter"])
        ),
    ],
    ids=lambda frame: ", ".join(map(str, frame)),
)
def test_the_training_frame_itself(frame):
    frame["target"] = np.arange(12.0)
    table = load_table(frame)
    assert len(table.columns) == len(frame.columns) - 1 + sum(name is not None for name in frame.index.names)
    pd.testing.assert_frame_equal(
        canonical(frame.tail(5), table.columns), table.features.tail(5).reset_index(drop=True)
    )
    new = to_inputs(frame, table.columns)
    for name, values in to_inputs(table.features, table.columns).items():
        np.testing.assert_array_equal(new[name], values)


@pytest.mark.parametrize(
    "frame", [pd.DataFrame([[1, 2]], columns=["a", "a"]), pd.DataFrame({"a": [1]}).set_index("a", drop=False)]
)
def test_two_columns_of_one_name(frame):
    with pytest.raises(UserError, match="two columns are named 'a'"):
        to_inputs(frame, [Column("a", "numeric")])
    with pytest.raises(UserError, match="two columns are named 'a'"):
        load_table(frame)
    assert to_inputs(frame.assign(b=1), [Column("b", "numeric")])["b"] == [1]


def test_one_column_of_stars_has_no_footnotes(tmp_path):
    path = tmp_path / "new.csv"
    path.write_text("stars\n*\n**\nNote: none\n***\n")
    rows = read_rows(path, [Column("stars", "categorical", num_levels=3)])
    assert rows["stars"].tolist() == ["*", "**", "Note: none", "***"]
