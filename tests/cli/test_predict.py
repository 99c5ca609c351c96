import csv
import io
import json

import keras
import keras_tuner
import numpy as np
import pandas as pd
import pytest

from tfopt.data import Column, TableEncoder, TableModel, TablePreprocessing
from tfopt.search.user_space import load_space

# Raised by Keras 3.15 as it saves: NumPy 2 asks tf.Variable for a copy.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


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

    def write(model, ignored=()):
        folder = tmp_path / "run"
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        (folder / "environment.json").write_text(json.dumps({"data": {"ignored": ignored}}))
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
    return run_folder(model, ignored=["note"])


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
        ("size,年龄,colour\n1,2,red\n", "column 'colour' is unknown to the model"),
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


def test_classes_of_the_users_own_are_found_in_the_space_of_the_run(run_folder, fresh_python, tmp_path):
    (tmp_path / "mine.py").write_text(OWN)
    space = load_space(f"{tmp_path / 'mine.py'}:build")
    own = space.build(keras_tuner.HyperParameters(), None)
    own.build((None, 1))
    own.layers[0].set_weights([np.array([[2.0]], "float32"), np.array([0.0], "float32")])
    model = TableModel(
        preprocessing("size"), own, task="regression", output="values", target_mean=[0.0], target_scale=[1.0]
    )
    folder = run_folder(model)
    (folder / "config.json").write_text(json.dumps({"space": f"{tmp_path / 'mine.py'}:build"}))
    (tmp_path / "new.csv").write_text("size\n1\n3\n")
    predicted = fresh_python("-m", "tfopt", "predict", folder, tmp_path / "new.csv")
    assert predicted.stderr == ""
    assert [float(line) for line in predicted.stdout.splitlines()[1:]] == [102, 106]

    (tmp_path / "mine.py").unlink()
    refused = fresh_python("-m", "tfopt", "predict", folder, tmp_path / "new.csv")
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"error: {folder / 'best.keras'} holds a class that is not known here (")
    assert f"Restore {tmp_path / 'mine.py'}" in refused.stderr
    assert refused.stderr.count("\n") == 1
