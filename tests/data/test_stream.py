"""A table in blocks gives the rows that it gives read whole, each once, and names the place of what is wrong."""

import gzip

import numpy as np
import pandas as pd
import pytest

from tfopt.data import parquet_blocks, stream, text_blocks
from tfopt.data.load import load_table
from tfopt.data.stream import Stream, blocks_of, expected_bytes
from tfopt.errors import UserError

NUM_ROWS = 600


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Blocks of some thirty rows."""
    monkeypatch.setattr(text_blocks, "BYTES", 2048)
    monkeypatch.setattr(text_blocks, "_HEAD", 4096)
    monkeypatch.setattr(parquet_blocks, "_CELLS", 100)
    monkeypatch.setattr(parquet_blocks, "_LEAST_ROWS", 16)


@pytest.fixture
def frame():
    """Numbers with gaps, levels with line breaks and quotes, dates, truth values, codes, and a number for each row."""
    rng = np.random.default_rng(0)
    levels = np.array(["red", "two\nlines", 'say "x", y', "007", "ünder"])
    return pd.DataFrame(
        {
            "row": np.arange(NUM_ROWS),
            "size": pd.Series(rng.normal(size=NUM_ROWS).round(3)).mask(rng.random(NUM_ROWS) < 0.1),
            "colour": rng.choice(levels, NUM_ROWS),
            "day": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, NUM_ROWS), unit="D"),
            "open": rng.choice(["yes", "no"], NUM_ROWS),
            "empty until late": np.where(np.arange(NUM_ROWS) < 590, 1.5 + np.arange(NUM_ROWS) % 7, np.nan),
            "y": rng.choice(["a", "b", "c"], NUM_ROWS),
        }
    )


def written(frame, path, how="csv"):
    if how == "parquet":
        frame.to_parquet(path, row_group_size=150)
    elif how == "decimal commas":
        frame.to_csv(path, index=False, sep=";", decimal=",")
    elif how == "no header":
        frame.to_csv(path, index=False, header=False)
    elif how == "gzip":
        path.write_bytes(gzip.compress(frame.to_csv(index=False).encode()))
    elif how == "windows":
        path.write_bytes(b"\xef\xbb\xbf" + frame.to_csv(index=False, lineterminator="\r\n").encode() + b"\r\n\r\n")
    else:
        frame.to_csv(path, index=False)
    return str(path)


def everything(streamed, table):
    """The rows to train on and those to test by, in the order of the file."""
    parts = [*streamed.rows(table), (table.features.iloc[table.test_rows], table.target[table.test_rows])]
    assert len(parts) > 10  # else nothing was read in blocks
    features = pd.concat([part for part, _ in parts])
    number = features.columns[0]
    order = np.argsort(features[number].to_numpy(), kind="stable")
    features = features.iloc[order].reset_index(drop=True)
    texts = features.apply(lambda column: column.astype(str) if column.dtype == "category" else column)
    return texts, np.concatenate([target for _, target in parts])[order]


@pytest.mark.parametrize("how", ["csv", "parquet", "decimal commas", "no header", "gzip", "windows"])
def test_blocks_give_each_row_once_as_the_whole_table_does(frame, tmp_path, how):
    path = written(frame, tmp_path / f"t.{'parquet' if how == 'parquet' else 'csv'}", how)
    told = {"column_1": "number"} if how == "no header" else {"row": "number"}
    streamed = Stream(blocks_of(path), num_sample=100, seed=1)
    table = streamed.table(columns=told)
    checked = streamed.check(table)
    whole = load_table(path, columns=told)
    assert len(table.test_rows) == 100
    assert streamed.num_trained == NUM_ROWS - 100
    assert streamed.num_sampled == 100
    features, target = everything(streamed, table)
    expected = whole.features.apply(lambda column: column.astype(str) if column.dtype == "category" else column)
    pd.testing.assert_frame_equal(features, expected, check_dtype=False)
    np.testing.assert_array_equal(target, whole.target)
    assert table.classes == whole.classes
    assert [column.kind for column in table.columns] == [column.kind for column in whole.columns]
    assert [column.has_missing for column in checked.columns] == [column.has_missing for column in whole.columns]
    sample = set(table.features.iloc[:100, 0])
    tested = set(table.features.iloc[table.test_rows, 0])
    assert not sample & tested
    counted = np.bincount(target, minlength=3) - np.bincount(table.target[table.test_rows], minlength=3)
    assert streamed.class_counts.tolist() == counted.tolist()


def test_the_same_rows_are_drawn_whatever_the_blocks(frame, tmp_path, monkeypatch):
    path = written(frame, tmp_path / "t.csv")
    drawn = []
    for size in (2048, 10_000):
        monkeypatch.setattr(text_blocks, "BYTES", size)
        drawn.append(Stream(blocks_of(path), 50, seed=3).table(columns={"row": "number"}))
    pd.testing.assert_frame_equal(drawn[0].features, drawn[1].features)
    other = Stream(blocks_of(path), 50, seed=4).table(columns={"row": "number"})
    assert set(other.features["row"]) != set(drawn[0].features["row"])


def test_the_draw_is_uniform(frame, tmp_path):
    path = written(frame[["size", "y"]], tmp_path / "t.csv")
    counts = np.zeros((2, 3))  # of a third of the file, over draws
    blocks = blocks_of(path)
    for seed in range(60):
        drawn = Stream(blocks, 60, seed)
        for place, rows in enumerate((drawn._test, drawn._sample)):
            counts[place] += np.histogram(rows, bins=3, range=(0, NUM_ROWS))[0]
    assert np.abs(counts / (60 * 60) - 1 / 3).max() < 0.03  # four standard errors


def test_files_are_one_table_and_each_names_its_own_lines(frame, tmp_path):
    written(frame[:300], tmp_path / "a.csv")
    later = frame[300:].astype({"size": object})
    later.loc[550, "size"] = "large"
    written(later, tmp_path / "b.csv")
    streamed = Stream(blocks_of(str(tmp_path)), 100, seed=0)
    told = {"columns": {"row": "number", "size": "number"}}
    if 550 in streamed._sample or 550 in streamed._test:
        pytest.fail("choose a row that is not drawn")
    table = streamed.table(**told)
    text = (tmp_path / "b.csv").read_text()
    line = text[: text.index("large")].count("\n") + 1
    with pytest.raises(UserError, match=rf"'size' holds 'large'.*b\.csv, line {line}\b"):
        streamed.check(table)


def lines_of(frame, number, text):
    """The frame as text, one line replaced, and the number of that line."""
    lines = frame.drop(columns="colour").to_csv(index=False).splitlines()
    lines[number] = text(lines[number])
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda line: line.replace(",yes,", ",maybe,").replace(",no,", ",maybe,"), r"'open' holds 'maybe'.*line 501\b"),
        (lambda line: line[:-1], r"a missing value in the target 'y' \(t\.csv: line 501\)"),
        (lambda line: line[:-1] + "d", r"no row of the sample has, 'd' \(t\.csv: line 501\).*--sample"),
        (lambda line: line + ",1,2", r"line 501 has 8 fields, the header has 6"),
        (lambda line: '"' + line, r"quote|fields|more than"),
        (lambda line: line + "\udcff", r"line 501 is not utf-8 \(t\.csv\).*--encoding"),
    ],
    ids=["text in a truth value", "no target", "new class", "too wide", "open quote", "encoding"],
)
def test_what_is_wrong_in_a_late_block_is_told_with_its_line(frame, tmp_path, monkeypatch, change, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_bytes(lines_of(frame, 500, change).encode(errors="surrogateescape"))

    def read():
        streamed = Stream(blocks_of("t.csv"), 60, seed=5)  # a seed that does not draw line 501
        streamed.check(streamed.table(columns={"row": "number"}, target="y"))

    with pytest.raises(UserError, match=message):
        read()


def test_a_bad_number_in_parquet_is_told_with_its_row(frame, tmp_path):
    frame["size"] = frame["size"].fillna(0.0)
    frame.loc[400, "size"] = np.inf
    frame["y"] = frame["size"]
    path = written(frame.drop(columns="size"), tmp_path / "t.parquet", "parquet")
    streamed = Stream(blocks_of(path), 60, seed=0)
    assert 400 not in streamed._sample
    with pytest.raises(UserError, match=r"row 401\b"):
        streamed.check(streamed.table(columns={"row": "number"}))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"", "empty"),
        ("t.csv", b"a,y\n", "a header and no rows"),
        ("t.csv", b"a,y\n1,2\n3,4\n", "2 rows are too few to be streamed"),
        ("t.csv", "a,y\n1,2\n".encode("utf-16"), "save it as UTF-8"),
        ("t.jsonl", b'{"a": 1}\n', "only CSV, TSV and Parquet"),
        ("t.csv.gz", gzip.compress(b"a,y\n" + b"1,2\n" * 9000, mtime=0)[:-20], "damaged gzip"),
        ("t.parquet", b"PAR1 and no more", "not a Parquet file"),
    ],
)
def test_what_cannot_be_streamed_is_refused(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        Stream(blocks_of(str(tmp_path / name)), 100, seed=0)


def test_a_file_that_changes_meanwhile_is_noticed(frame, tmp_path):
    path = written(frame, tmp_path / "t.csv")
    streamed = Stream(blocks_of(path), 60, seed=0)
    table = streamed.table(columns={"row": "number"})
    written(frame[:300], tmp_path / "t.csv")
    with pytest.raises(UserError, match="has changed"):
        streamed.check(table)


def test_expected_memory_grows_with_the_file(frame, tmp_path):
    path = written(frame, tmp_path / "t.csv")
    assert expected_bytes(path) == stream._TIMES_TEXT * (tmp_path / "t.csv").stat().st_size
    whole = written(frame, tmp_path / "t.parquet", "parquet")
    assert expected_bytes(whole) == stream._TIMES_NUMBERS * 8 * NUM_ROWS * 7
    assert expected_bytes("iris") == 0
