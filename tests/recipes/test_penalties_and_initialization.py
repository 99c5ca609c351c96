"""The recipes on penalties and on initialisation run, small, and end in a verdict on every claim."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

RECIPES = Path(__file__).parents[2] / "recipes"
VERDICTS = {"holds", "does not hold", "can't be told here"}


def run(name, folder):
    done = subprocess.run(
        [sys.executable, str(RECIPES / f"{name}.py"), "--smoke", "--out", str(folder)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(RECIPES.parent)},  # this tree, installed or not
    )
    result = json.loads((folder / f"{name}.json").read_text())
    assert result["recipe"] == name
    assert set(result["verdicts"].values()) <= VERDICTS
    for claim, verdict in result["verdicts"].items():
        assert f"{claim}: {verdict}" in done.stdout
    assert (folder / f"{name}.png").stat().st_size > 20_000
    return result


@pytest.mark.slow
def test_l1_l2_vs_lasso_ridge(tmp_path):
    result = run("l1_l2_vs_lasso_ridge", tmp_path)
    assert result["verdicts"]["after conversion L1 is the Lasso and L2 is Ridge"] == "holds"
    assert result["verdicts"]["the same number means the same penalty"] == "does not hold"
    assert result["verdicts"]["Keras's L1 sets weights to zero"] == "does not hold"
    assert result["verdicts"]["grid search and tuner agree after conversion"] == "holds"
    assert max(row["difference"] for row in result["table"]) < 1e-6
    assert all(row["same_zeros"] for row in result["table"])
    assert all(math.isfinite(value) for values in result["error_lowered_by"].values() for value in values)


@pytest.mark.slow
def test_initialization(tmp_path):
    result = run("initialization", tmp_path)
    assert result["verdicts"]["zeros: hidden layers learn nothing"] == "holds"
    assert result["verdicts"]["zeros: nothing is learned at all"] == "does not hold"
    assert result["verdicts"]["random weights of the wrong size vanish"] == "holds"
    assert result["verdicts"]["He keeps the signal through ReLU, Glorot does not"] == "holds"
    assert len(result["forward"]["relu, He"]) == result["depth"]
