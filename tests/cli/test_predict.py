import csv
import io
import json
import re
import shutil
from pathlib import Path

import keras
import keras_tuner
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from sklearn.metrics import r2_score, roc_auc_score

from tfopt.cli import main
from tfopt.data import Column, TableEncoder, TableModel, TablePreprocessing
from tfopt.errors import UserError
from tfopt.search.result import load as tfopt_load
from tfopt.search.user_space import load_space

# Raised by Keras 3.15 as it saves: NumPy 2 asks tf.Variable for a copy.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture
def tfopt(tfopt):
    """Predict with the network, whatever the verdict says."""
    return lambda *words: tfopt(*words, "--model", "network")


def network(kernel, bias):
    model = keras.Sequential([keras.Input((len(kernel),)), keras.layers.Dense(len(bias))])
    model.layers[0].set_weights([np.array(kernel, "float32"), np.array(bias, "float32")])
    return model


def preprocessing(*names):
    columns = [Column(name, "numeric") for name in names]
    rows = pd.DataFrame({name: [0.0, 1.0, 2.0] for name in names})
    return TablePreprocessing.from_encoder(TableEncoder(columns, scaling="none").fit(rows))


@pytest.fixture
def run_folder(tmp_path):
    """Write a run folder round a model."""

    def write(model, config=None, **data):
        folder = tmp_path / "run"
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(config or {}))
        (folder / "environment.json").write_text(json.dumps({"data": data}))
        model.save(folder / "best.keras")
        return folder

    return write


@pytest.fixture
def regression(run_folder):
    """A run whose network says (2 size + 3 年龄 + 1) · 2 + 10."""
    model = TableModel(
        preprocessing("size", "年龄"),
        network([[2.0], [3.0]], [1.0]),
        task="regression",
        output="values",
        target_names=("price, net",),
        target_mean=[10.0],
        target_scale=[2.0],
    )
    return run_folder(model, ignored=["note", "parcel"], identifiers=["parcel"])


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_regression_gives_a_column_named_as_the_target(regression, tfopt, tmp_path):
    table = tmp_path / "new.csv"
    table.write_text("年龄,size,note\n1,2,x\n0.5,-1,y\n")
    code, out, err = tfopt("predict", regression, table)
    assert (code, err) == (0, "")
    assert [float(row["price, net"]) for row in rows_of(out)] == pytest.approx([26.0, 11.0])


def test_classification_gives_the_class_and_every_probability(run_folder, tfopt, tmp_path):
    kernel, bias = [[1.0, 0.0, -1.0], [0.0, 2.0, 0.0]], [0.0, 0.5, 0.0]
    model = TableModel(
        preprocessing("a", "b"), network(kernel, bias), task="classification", output="logits", classes=("x", "y", "z")
    )
    table = tmp_path / "new.csv"
    table.write_text("a,b\n3,0\n-1,1\n-4,-2\n")
    code, out, _ = tfopt("predict", run_folder(model), table)
    rows = rows_of(out)
    assert code == 0
    assert list(rows[0]) == ["prediction", "probability_x", "probability_y", "probability_z"]
    assert [row["prediction"] for row in rows] == ["x", "y", "z"]
    logits = np.array([[3.0, 0.0], [-1.0, 1.0], [-4.0, -2.0]]) @ np.array(kernel) + bias
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    given = [[float(row[f"probability_{name}"]) for name in "xyz"] for row in rows]
    np.testing.assert_allclose(given, expected, rtol=1e-5)


def test_output_goes_to_a_file(regression, tfopt, tmp_path):
    (tmp_path / "new.csv").write_text("size,年龄\n2,1\n")
    code, out, _ = tfopt("predict", regression, tmp_path / "new.csv", "--output", tmp_path / "out.csv")
    assert (code, out) == (0, "")
    assert (tmp_path / "out.csv").read_text() == '"price, net"\n26\n'
    code, _, err = tfopt("predict", regression, tmp_path / "new.csv", "--output", tmp_path / "new.csv" / "out.csv")
    assert code == 2
    assert "cannot be written" in err


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("size\n1\n", "column '年龄' is missing"),
        ("size,年龄s\n1,2\n", "column '年龄' is missing"),
        ("size,年龄\n1,old\n2,3\n", "'年龄'"),
        ("", "empty"),
    ],
)
def test_table_that_does_not_fit_is_one_line(text, told, regression, tfopt, tmp_path):
    table = tmp_path / "new.csv"
    table.write_text(text)
    code, out, err = tfopt("predict", regression, table)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert told in err
    assert "new.csv" in err


def test_what_is_not_there_is_said_before_tensorflow_starts(regression, tfopt, tmp_path, monkeypatch):
    from tfopt.cli import startup

    monkeypatch.setattr(startup, "start", None)
    (tmp_path / "new.csv").write_text("size\n1\n")
    assert "Did you mean" in tfopt("predict", regression, tmp_path / "mew.csv")[2]
    assert "no run folder" in tfopt("predict", tmp_path / "nowhere", tmp_path / "new.csv")[2]
    (regression / "best.keras").unlink()
    code, _, err = tfopt("predict", regression, tmp_path / "new.csv")
    assert code == 2
    assert "has no best.keras: the search did not get that far" in err


OWN = """
import keras

class Own(keras.layers.Dense):
    def call(self, inputs):
        return super().call(inputs) + 100

def build(hp):
    model = keras.Sequential([Own(1)])
    model.compile("sgd", "mse")
    return model
"""


def test_the_users_own_classes_come_from_the_file_that_the_user_names(run_folder, tfopt, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(OWN)
    space = load_space(f"{tmp_path / 'mine.py'}:build")
    own = space.build(keras_tuner.HyperParameters(), None)
    own.build((None, 1))
    own.layers[0].set_weights([np.array([[2.0]], "float32"), np.array([0.0], "float32")])
    model = TableModel(
        preprocessing("size"), own, task="regression", output="values", target_mean=[0.0], target_scale=[1.0]
    )
    stranger = tmp_path / "stranger.py"
    stranger.write_text(f"import pathlib\npathlib.Path({str(tmp_path / 'mark')!r}).touch()\n{OWN}")
    folder = run_folder(model, {"data": "x", "space": "stranger.py:build"})
    (folder / "result.json").write_text(
        json.dumps({"task": "regression", "data": "x", "leaderboard": [], "verdict": None})
    )
    shutil.copy(stranger, folder)
    table = tmp_path / "new.csv"
    table.write_text("size\n1\n3\n")
    for place in (tmp_path, folder):  # what a relative path may be relative to
        monkeypatch.chdir(place)
        code, out, err = tfopt("predict", folder, table)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert err.startswith(f"error: {folder / 'best.keras'} holds a class that is not known here (")
        assert "--space FILE (the search's was stranger.py)" in err
        assert "import own_classes" not in tfopt("show", folder, "--code")[1]
        with pytest.raises(UserError, match="custom_objects="):
            tfopt_load(folder).predict(table)
    assert tfopt_load(folder).report().exists()
    for given in (tmp_path / "mine.py", f"{tmp_path / 'mine.py'}:build"):
        code, out, err = tfopt("predict", folder, table, "--space", given)
        assert (code, err) == (0, "")
        assert [float(line) for line in out.splitlines()[1:]] == [102, 106]
    assert tfopt_load(folder, {"Own": type(own.layers[0])}).predict(table).tolist() == [102, 106]
    code, program, _ = tfopt("show", folder, "--code", "--space", tmp_path / "mine.py")
    assert f"own_classes({str(tmp_path / 'mine.py')!r})" in program
    assert not (tmp_path / "mark").exists()
    load_space(f"{stranger}:build")
    assert (tmp_path / "mark").exists(), "importing the file leaves a mark"


def test_what_names_the_rows_stands_before_the_predictions(regression, tfopt, tmp_path):
    table = tmp_path / "new.csv"
    table.write_text(",note,parcel,size,年龄\n7,x,007,2,1\n9,y,00012345678901234567,-1,0.5\n")
    code, out, err = tfopt("predict", regression, table)
    assert (code, err) == (0, "")
    rows = rows_of(out)
    assert list(rows[0])[1:] == ["parcel", "price, net"]
    assert [next(iter(row.values())) for row in rows] == ["7", "9"]
    assert [row["parcel"] for row in rows] == ["007", "00012345678901234567"]
    assert [float(row["price, net"]) for row in rows] == pytest.approx([26.0, 11.0])
    code, out, _ = tfopt("predict", regression, table, "--id", "note,size")
    assert list(rows_of(out)[0]) == ["note", "size", "price, net"]
    code, out, err = tfopt("predict", regression, table, "--id", "parcle")
    assert (code, out) == (2, "")
    assert "no column 'parcle' for --id. Did you mean 'parcel'?" in err


def test_columns_that_the_model_does_not_know_are_said(regression, tfopt, tmp_path):
    (tmp_path / "new.csv").write_text("size,colour\x1b[2J,年龄,z\n2,red,1,0\n")
    code, out, err = tfopt("predict", regression, tmp_path / "new.csv")
    assert (code, rows_of(out)) == (0, [{"price, net": "26"}])
    assert err == "not used: colour\\x1b[2J, z, unknown to the model\n"
    assert tfopt("--quiet", "predict", regression, tmp_path / "new.csv")[2] == ""


def test_a_row_of_totals_that_gets_no_prediction_is_said(regression, tfopt, tmp_path):
    table = tmp_path / "new.csv"
    table.write_text("shop,size,年龄\n" + "".join(f"s{k},{k},1\n" for k in range(6)) + "Total,15,6\n", encoding="utf-8")
    code, out, err = tfopt("predict", regression, table)
    assert (code, out.count("\n")) == (0, 1 + 6)
    assert "the last row left out, as a row of totals: 'Total' in 'shop'\n" in err


def test_the_table_may_come_from_standard_input(regression, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("size,年龄\n2,1\n".encode())))
    assert main(["predict", str(regression), "-"]) == 0
    assert capsys.readouterr() == ('"price, net"\n26\n', "model: network, the search has no verdict yet\n")


def test_targets_in_the_table_are_scored(regression, tfopt, tmp_path):
    table = tmp_path / "new.csv"
    table.write_text('size,年龄,"price, net"\n2,1,27\n-1,0.5,11\n0,0,10\n1,1,\n')
    code, out, err = tfopt("predict", regression, table)
    assert code == 0
    predicted = [float(row["price, net"]) for row in rows_of(out)]
    assert predicted == pytest.approx([26, 11, 12, 22])
    expected = r2_score([27, 11, 10], predicted[:3])
    assert err == f"r2 {expected:.6g} on 3 rows; 1 without a known price, net left out\n"
    table.write_text('size,年龄,"price, net"\n2,1,27\n')
    assert tfopt("predict", regression, table)[2] == "not scored: r2 of 1 row is not defined\n"


@pytest.mark.slow
@pytest.mark.parametrize("how", ["--stream", "too large"])
def test_a_table_in_blocks_gets_the_same_predictions_and_the_same_words(regression, tfopt, tmp_path, monkeypatch, how):
    monkeypatch.setattr("tfopt.data.text_blocks.BYTES", 1000)
    table, output = tmp_path / "new.csv", tmp_path / "out.csv"
    rows = [f"p{k},{k / 7:.2f},{k % 5 or ''},{k},{k / 3:.1f}\n" for k in range(500)]
    table.write_text('parcel,size,年龄,z,"price, net"\n' + "".join(rows), encoding="utf-8")
    _, whole, said = tfopt("predict", regression, table)
    assert "on 500 rows" in said
    assert "'年龄': 100 of 500 cells are missing" in said
    if how == "too large":
        monkeypatch.setattr("tfopt.devices.free_ram", lambda: 1000)
        code, _, again = tfopt("predict", regression, table, "--output", output)
        expected = f"{6 * table.stat().st_size / 1e9:.3g} GB"
        assert again == f"read in blocks: whole, {table} may take {expected} of memory\n{said}"
    else:
        code, _, again = tfopt("predict", regression, table, "--output", output, "--stream")
        assert again == said
    assert code == 0
    assert output.read_text(encoding="utf-8") == whole
    table.write_text(table.read_text(encoding="utf-8").replace("p400,57.14", "p400,far"), encoding="utf-8")
    code, _, err = tfopt("predict", regression, table, "--output", output, "--stream")
    assert code == 2
    assert f"'size' holds 'far' (line 402) where training had a number ({table})" in err
    assert output.read_text(encoding="utf-8") == whole


def test_classes_in_the_table_are_scored_and_what_is_new_is_counted(run_folder, tfopt, tmp_path):
    columns = [Column("city", "categorical", num_levels=2), Column("a", "numeric")]
    rows = pd.DataFrame({"city": pd.Categorical(["Bonn", "Ulm", "Bonn"]), "a": [0.0, 1.0, 2.0]})
    layer = TablePreprocessing.from_encoder(TableEncoder(columns, scaling="none").fit(rows))
    model = TableModel(
        layer,
        network([[1.0, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]], [0.0, 0.0]),
        task="classification",
        output="logits",
        classes=("no", "yes"),
        target_names=("granted",),
    )
    read = {"name": "granted", "kind": "boolean", "missing_text": []}
    config = {"objective": "roc_auc", "weights": "n"}
    folder = run_folder(model, config, ignored=["n"], target_columns=[read])
    table = tmp_path / "new.csv"
    table.write_text("city,a,granted,n\nBonn,3,no,1\nTrier,-1,yes,1\nKiel,0,no,5\nUlm,,perhaps,1\nBonn,1,yes,2\n")
    code, out, err = tfopt("predict", folder, table)
    assert code == 0
    shares = [float(row["probability_yes"]) for row in rows_of(out)]
    known = [0, 1, 2, 4]
    expected = roc_auc_score([0, 1, 0, 1], [shares[row] for row in known], sample_weight=[1, 1, 5, 2])
    assert err.splitlines() == [
        "'city': 2 of 5 cells hold a level unseen in training: 'Trier', 'Kiel'",
        "'a': 1 of 5 cells are missing, where training had every one",
        f"roc_auc {expected:.6g} on 4 rows, weighted; 1 without a known granted left out",
    ]
    table.write_text("city,a,granted\nBonn,3,yes\n")
    code, out, err = tfopt("predict", folder, table)
    assert (code, len(rows_of(out))) == (0, 1)
    assert "not scored: `roc_auc` has no value where the test part of a fold holds one class only" in err
    table.write_text("city,a,granted\nBonn,3,perhaps\n")
    assert "not scored: no row holds a granted that the model knows" in tfopt("predict", folder, table)[2]


def test_the_programs_of_the_docs_predict_and_serve(regression, tfopt, tmp_path, monkeypatch):
    (tmp_path / "runs").mkdir()
    regression.rename(tmp_path / "runs" / "visits")
    (tmp_path / "new.csv").write_text("parcel,size,年龄,why\n7,2,1,so\n8,-1,0.5,no\n")
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[2] / "docs" / "use-the-model.md").read_text(encoding="utf-8")
    _, predicts, serves, _ = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    names: dict = {}
    exec(predicts, names)
    np.testing.assert_allclose(names["predictions"], [[26.0], [11.0]], rtol=1e-6)
    exec(serves, names)
    served = tf.saved_model.load("served/1").signatures["serving_default"]
    given = served(size=tf.constant([2.0], tf.float64), column_2=tf.constant([1.0], tf.float64))
    np.testing.assert_allclose(given["output_0"], [[26.0]], rtol=1e-6)


def test_intervals_and_sets_stand_beside_the_predictions(regression, run_folder, tfopt, tmp_path):
    errors = np.arange(1.0, 20.0)  # of 19 rows the 18th largest, 18, is what 0.9 takes
    oof = {"rows": np.arange(19), "folds": np.arange(19) % 2, "target": errors, "prediction network": np.zeros((19, 1))}
    np.savez(regression / "predictions.npz", **oof)
    table = tmp_path / "new.csv"
    table.write_text('size,年龄,"price, net"\n2,1,30\n-1,0.5,50\n')
    code, out, err = tfopt("predict", regression, table, "--interval", "90%")
    assert code == 0
    assert out.splitlines() == ['"price, net","price, net_low","price, net_high"', "26,8,44", "11,-7,29"]
    assert "90% intervals of network on the search's own test rows: covered 95%\n" in err  # 18 of 19
    assert err.endswith("1 of 2 targets are in their intervals\n")
    code, _, err = tfopt("predict", regression, table, "--interval", "0.99")
    assert (code, err.count("\n")) == (2, 1)
    assert "Ask for 0.95 or less" in err
    assert "is not a share such as 0.9" in tfopt("predict", regression, table, "--interval", "90")[2]

    regression.rename(tmp_path / "first")
    classes = TableModel(
        preprocessing("a"),
        network([[0.5, 0.0, 0.0]], [0.0] * 3),
        task="classification",
        output="logits",
        classes=("a|b", "y", "z"),
    )
    folder = run_folder(classes)
    shares = np.tile([0.3, 0.3, 0.4], (40, 1))  # of the true class 0.3 at least 38 times in 40
    target = np.where(np.arange(40) < 38, 1, 2)
    np.savez(
        folder / "predictions.npz",
        rows=np.arange(40),
        folds=np.arange(40) % 2,
        target=target,
        **{"prediction network": shares},
    )
    table.write_text("a\n0\n4\n-4\n")
    code, out, err = tfopt("predict", folder, table, "--interval", "0.8")
    assert code == 0
    assert [row["set"] for row in rows_of(out)] == [r"a\|b|y|z", r"a\|b", "y|z"]
    assert "80% sets of classes, 3 in each, of network on the search's own test rows: covered 100%" in err
