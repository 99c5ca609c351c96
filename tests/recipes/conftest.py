"""Running a recipe small, once for all tests that look at it."""

import contextlib
import io
import json
import os
import runpy
import subprocess
import sys
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import keras
import pytest

RECIPES = Path(__file__).parents[2] / "recipes"

# Recipes whose tests look at what they define, or run them on a table of one's own as well: their small run is made in
# this process. The others are run as the programs that they are; so must be whatever changes Keras's kind of floats.
IN_THIS_PROCESS = frozenset(
    {
        "adaptive_regularization",
        "batch_size",
        "data_augmentation",
        "dropout",
        "gradient_descent_and_adam",
        "gradient_norms",
        "mixed_precision_and_quantization",
        "normalization",
        "regularization_cocktail",
        "search_strategies",
        "vectorization",
    }
)


@dataclass
class Smoke:
    """What a recipe left, and what it printed."""

    folder: Path  # the working directory; its results are in `out`
    printed: str
    result: dict[str, Any]
    names: dict[str, Any] = field(default_factory=dict)  # what it defines, if it ran in this process

    def verdict(self, claim):
        (found,) = [entry["verdict"] for entry in self.result["claims"] if entry["id"] == claim]
        return found


def result_of(name, folder):
    return json.loads((folder / "out" / f"{name}.json").read_text(encoding="utf-8"))


def run(name, folder, *words):
    """Run a recipe with `--smoke` in a folder; return what it left in `out` there."""
    folder.mkdir(exist_ok=True)
    command = [sys.executable, str(RECIPES / f"{name}.py"), "--smoke", "--out", "out", *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": str(RECIPES.parent)}  # this tree, installed or not
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, cwd=folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return Smoke(folder, done.stdout, result_of(name, folder))


def run_here(name, folder):
    """Do the same in this process."""
    folder.mkdir(exist_ok=True)
    floats, policy = keras.config.floatx(), keras.config.dtype_policy()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as printed:
        patch.chdir(folder)
        patch.setattr(sys, "argv", [f"{name}.py", "--smoke", "--out", str(folder / "out")])
        patch.setattr(sys, "excepthook", sys.excepthook)
        try:
            names = runpy.run_path(str(RECIPES / f"{name}.py"))
        finally:
            keras.config.set_floatx(floats)
            keras.config.set_dtype_policy(policy)
    return Smoke(folder, printed.getvalue(), result_of(name, folder), names)


@pytest.fixture
def run_recipe(tmp_path):
    """Return a function that runs a recipe small, with options of its own."""
    return lambda name, *words: run(name, tmp_path / name, *words)


@pytest.fixture(scope="session")
def smoke(tmp_path_factory):
    """Return a function that gives a recipe's small run."""
    base = tmp_path_factory.mktemp("smoke")
    return cache(lambda name: (run_here if name in IN_THIS_PROCESS else run)(name, base / name))


@pytest.fixture(scope="session")
def recipe_names(smoke):
    """Return a function that gives everything a recipe defines, after its small run in this process."""

    def names(name):
        assert name in IN_THIS_PROCESS, f"{name} is not among IN_THIS_PROCESS, and is run as a program"
        return smoke(name).names

    return names
