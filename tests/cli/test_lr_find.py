"""`tfopt lr-find`."""

import json

import keras
import numpy as np
import pytest

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.mark.slow
def test_a_table_gives_one_line_of_json_and_a_picture(tfopt, tmp_path):
    code, out, err = tfopt("lr-find", "iris", "--num-steps", 60, "--hidden", 16, "-o", tmp_path / "lr.png")
    assert (code, err) == (0, "")
    result = json.loads(out)
    assert result["suggestion"] == result["suggestions"]["valley"]
    assert 1e-4 < result["suggestion"] < 1
    assert (tmp_path / "lr.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_saved_model_and_a_regression_table(tfopt, tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 3))
    rows = "\n".join(",".join(f"{v:.4f}" for v in (*row, row @ [100.0, 200.0, -50.0])) for row in x)
    (tmp_path / "table.csv").write_text("a,b,c,price\n" + rows + "\n")
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.save(tmp_path / "model.keras")
    words = [tmp_path / "table.csv", "--target", "price", "--model", tmp_path / "model.keras", "--suggest", "steepest"]
    code, out, _ = tfopt("lr-find", *words)
    result = json.loads(out)
    assert code == 0
    assert result["suggestion"] == result["suggestions"]["steepest"]
    assert result["diverged"]


def test_no_suggestion_is_a_message(tfopt):
    code, out, err = tfopt("lr-find", "iris", "--min-lr", 5, "--max-lr", 50, "--num-steps", 20, "--optimizer", "SGD")
    assert code == 0
    assert json.loads(out)["suggestion"] is None
    assert err.startswith("no suggestion: ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["irsi"], "irsi"),
        (["iris", "--optimizer", "Adm"], "Did you mean 'Adam'?"),
        (["iris", "--model", "none.keras"], "no file none.keras"),
        (["iris", "--max-lr", "0"], "must be > 1e-07"),
        (["iris", "--hidden", "0"], "--hidden takes numbers of units >= 1"),
        (["iris", "-o", "x.gif"], "End the name in"),
    ],
)
def test_mistakes_are_one_line(tfopt, words, message):
    code, out, err = tfopt("lr-find", *words)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
