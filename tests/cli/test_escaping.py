"""Names and labels of a table reach no terminal, page or spreadsheet as commands."""

import ast
import csv
import io
import json
import re

import keras
import pandas as pd
import pytest

from tfopt._escape import csv_cell, docstring, json_text, markdown, printable
from tfopt.cli.output import print_result
from tfopt.data import Column, TableEncoder, TableModel, TablePreprocessing

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

COLUMNS = ("size\x1b[31m|", "=cmd()", "\x9b2J`")
LABELS = ("=1+1", "\x1b[2Jred|", "`b`\r\ud800", "\u202e+")
COMMANDS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\ud800-\udfff]")


def test_texts():
    assert printable("a\x1b[0m\r\n\x9b\u202e\ud800é名\xa0\u200d") == "a\\x1b[0m\\r\\n\\x9b\\u202e\\ud800é名\xa0\u200d"
    assert printable("a\nb\t", lines=True) == "a\nb\\t"
    assert json.loads(json_text({"\x9b": ["\x1b", "\n名\u2028"]})) == {"\x9b": ["\x1b", "\n名\u2028"]}
    assert ast.literal_eval(f'"""a{docstring(chr(34) * 3)}, {docstring("b" + chr(92))}"""') == 'a""", b' + chr(92)
    assert markdown("a|b`c\\\n<") == "a\\|b\\`c\\\\\\\\n\\<"


@pytest.mark.parametrize("text", ["-1.5", "+3", "-1,234.50", "-1e-5", "+12 %", "-", "+", "=", "a=b", "49-1", ""])
def test_what_a_spreadsheet_may_have(text):
    assert csv_cell(text) == text


@pytest.mark.parametrize("text", ["=1", "=cmd()", "@SUM(A1)", "+A1", "-1+2", "-cmd|' /C calc'!A0", "=\nA1"])
def test_what_a_spreadsheet_would_compute(text):
    assert csv_cell(text) == f"'{text}"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "t\x1b[31m|.csv"
    rows = [[k % 7 + len(label), k % 5 / 3, ("\x1b[1mu", "=v")[k % 2], label] for k in range(12) for label in LABELS]
    labelled = [[*row[:-1], row[-1].encode("utf-8", "replace").decode()] for row in rows]  # no file holds half a letter
    with open(path, "w", newline="", encoding="utf-8") as out:
        csv.writer(out).writerows([[*COLUMNS, "y"], *labelled])
    return path


@pytest.mark.parametrize("form", ["table", "json"])
def test_dry_run(tfopt, file, form):
    code, out, err = tfopt("search", file, "--dry-run", "--baselines", "dummy", "--format", form)
    assert code == 0
    assert not COMMANDS.search(out + err)
    if form == "json":
        assert [column["name"] for column in json.loads(out)["columns"]] == list(COLUMNS)
        assert json.loads(out)["classes"][0].startswith("\x1b")


@pytest.fixture
def run_folder(tmp_path):
    """A run of a network that was never trained, with those names wherever a run has names."""
    columns = [Column(COLUMNS[0], "numeric"), Column(COLUMNS[2], "categorical", num_levels=2)]
    frame = pd.DataFrame({COLUMNS[0]: [0.0, 1.0], COLUMNS[2]: ["\x1b[1mu", "=v"]})
    encoder = TableEncoder(columns).fit(frame)
    network = keras.Sequential([keras.Input((encoder.width,)), keras.layers.Dense(4)])
    preprocessing = TablePreprocessing.from_encoder(encoder)
    labels = [label.encode("utf-8", "replace").decode() for label in LABELS]
    model = TableModel(preprocessing, network, "classification", "logits", labels, target_names=["y"])
    folder = tmp_path / "run"
    folder.mkdir()
    model.save(folder / "best.keras")
    row = {"model": LABELS[1], "kind": "keras", "score": 0.5, "low": 0.4, "high": 0.6}
    result = {"objective": "accuracy", "verdict": f"Keep {LABELS[1]}.", "leaderboard": [row], "notes": [LABELS[1]]}
    data = {"name": LABELS[1], "rows": 48, "ignored": [COLUMNS[1]]}
    for name, content in (("config", {"data": LABELS[1]}), ("environment", {"data": data}), ("result", result)):
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def test_predict(tfopt, file, run_folder):
    new = file.with_name("new.csv")
    new.write_text(file.read_text(encoding="utf-8").replace("=v", "=w\x1b[0m").replace("y", "why"), encoding="utf-8")
    for table in (file, new):
        code, out, err = tfopt("predict", run_folder, table, "--id", f"{COLUMNS[1]},{COLUMNS[2]}")
        assert code == 0, err
        assert not COMMANDS.search(out + err)
        cells = [cell for row in csv.reader(io.StringIO(out)) for cell in row]
        assert not any(cell.startswith(("=", "@")) for cell in cells)
        assert any(cell.startswith("'=") for cell in cells)
    assert "'=w\\x1b[0m'" in err


@pytest.mark.parametrize("form", ["html", "json", "md"])
def test_report(tfopt, run_folder, form):
    code, out, err = tfopt("report", run_folder, "--format", form)
    assert code == 0, err
    page = (run_folder / "report.html").read_text(encoding="utf-8") if form == "html" else ""
    assert not COMMANDS.search(out + err + page)
    if form == "md":
        assert "| \\\\x1b[2Jred\\| | keras |" in out


@pytest.mark.parametrize("form", ["table", "csv", "json", "md"])
def test_the_result_of_a_search(capsys, run_folder, form):
    print_result(json.loads((run_folder / "result.json").read_text()), form)
    assert not COMMANDS.search(capsys.readouterr().out)
