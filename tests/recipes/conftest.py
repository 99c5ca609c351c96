"""Running a recipe small, once for all tests that look at it."""

import contextlib
import io
import json
import os
import runpy
import subprocess
import sys
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import tfopt

RECIPES = Path(__file__).parents[2] / "recipes"

# Recipes that are run as the programs that they are; the others in this process, where TensorFlow is loaded already.
AS_PROGRAMS = {"l1_l2_vs_lasso_ridge": "changes Keras's kind of floats"}
# What is run small in the default run; the others, and the tests that look at what they leave, are left to `-m long`.
# Between them these use most of `tfopt.report.recipe`, whose other parts have tests of their own.
CHEAP = {"gradient_descent_and_adam", "learning_rate_schedules", "vectorization"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark the other recipes' tests before pytest selects."""
    for item in items:
        if item.path.parent == Path(__file__).parent and {"smoke", "recipe_names"} & set(item.fixturenames):
            recipe = item.path.stem.removeprefix("test_")
            if recipe == "every_recipe":
                recipe = item.callspec.params["name"]
            if recipe not in CHEAP:
                item.add_marker("long")


@dataclass
class Smoke:
    """What a recipe left, and what it printed."""

    folder: Path  # the working directory; its results are in `out`
    printed: str
    result: dict[str, Any]
    names: dict[str, Any] = field(default_factory=dict)  # what it defines, if it ran in this process
    seeds: list[int] = field(default_factory=list)  # what it seeded NumPy and Keras with, if it ran in this process

    def verdict(self, claim):
        (found,) = [entry["verdict"] for entry in self.result["claims"] if entry["id"] == claim]
        return found


def result_of(name, folder):
    return json.loads((folder / "out" / f"{name}.json").read_text(encoding="utf-8"))


def run(name, folder, *words):
    """Run a recipe with `--smoke --seed 1` in a folder; return what it left in `out` there."""
    folder.mkdir(exist_ok=True)
    script, words = str(RECIPES / f"{name}.py"), ["--smoke", "--seed", "1", "--out", "out", *map(str, words)]
    return (_as_a_program if name in AS_PROGRAMS else _here)(name, folder, script, words)


def _as_a_program(name, folder, script, words):
    environment = {**os.environ, "PYTHONPATH": str(RECIPES.parent)}  # this tree, installed or not
    command = [sys.executable, script, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, cwd=folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return Smoke(folder, done.stdout, result_of(name, folder))


def _here(name, folder, script, words):
    floats, policy = keras.config.floatx(), keras.config.dtype_policy()
    seeds = []

    def noted(function):
        def called(seed=None, *args, **kwargs):
            if sys._getframe(1).f_code.co_filename == script:  # and not a library's own
                seeds.append(seed[0] if isinstance(seed, list) else seed)
            return function(seed, *args, **kwargs)

        return called

    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as printed:
        patch.chdir(folder)
        patch.setattr(sys, "argv", [f"{name}.py", *words])
        patch.setattr(sys, "excepthook", sys.excepthook)
        patch.setattr(tfopt.search, "run", partial(tfopt.search.run, workers=1))  # others would take longer to start
        for owner, function in ((np.random, "default_rng"), (keras.utils, "set_random_seed")):
            patch.setattr(owner, function, noted(getattr(owner, function)))
        try:
            names = runpy.run_path(script)
        finally:
            keras.config.set_floatx(floats)
            keras.config.set_dtype_policy(policy)
    return Smoke(folder, printed.getvalue(), result_of(name, folder), names, seeds)


@pytest.fixture
def run_recipe(tmp_path):
    """Return a function that runs a recipe small, with options of its own."""
    return lambda name, *words: run(name, tmp_path / name, *words)


@pytest.fixture(scope="session")
def smoke(tmp_path_factory):
    """Return a function that gives a recipe's small run."""
    base = tmp_path_factory.mktemp("smoke")
    return cache(lambda name: run(name, base / name))


@pytest.fixture(scope="session")
def recipe_names(smoke):
    """Return a function that gives everything a recipe defines, after its small run in this process."""

    def names(name):
        assert name not in AS_PROGRAMS, f"{name} is run as a program"
        return smoke(name).names

    return names
