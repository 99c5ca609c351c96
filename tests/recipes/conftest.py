"""Running a recipe small, once for all tests that look at it."""

import fcntl
import json
import os
import runpy
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

RECIPES = Path(__file__).parents[2] / "recipes"


@dataclass
class Smoke:
    """What a recipe left, and what it printed."""

    folder: Path  # the working directory; its results are in `out`
    printed: str
    result: dict[str, Any]

    def verdict(self, claim):
        (found,) = [entry["verdict"] for entry in self.result["claims"] if entry["id"] == claim]
        return found


def run(name, folder, *words):
    """Run a recipe with `--smoke` in a folder; return what it left in `out` there."""
    folder.mkdir(exist_ok=True)
    command = [sys.executable, str(RECIPES / f"{name}.py"), "--smoke", "--out", "out", *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": str(RECIPES.parent)}  # this tree, installed or not
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, cwd=folder)
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads((folder / "out" / f"{name}.json").read_text(encoding="utf-8"))
    return Smoke(folder, done.stdout, result)


@pytest.fixture
def run_recipe(tmp_path):
    """Return a function that runs a recipe small, with options of its own."""
    return lambda name, *words: run(name, tmp_path / name, *words)


@pytest.fixture(scope="session")
def smoke(tmp_path_factory):
    """Return a function that gives a recipe's small run; the test processes share one run of each."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def once(name):
        folder, printed = base / f"smoke-{name}", base / f"smoke-{name}.txt"
        with open(base / f"smoke-{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not printed.exists():
                printed.write_text(run(name, folder).printed, encoding="utf-8")
        result = json.loads((folder / "out" / f"{name}.json").read_text(encoding="utf-8"))
        return Smoke(folder, printed.read_text(encoding="utf-8"), result)

    return once


@pytest.fixture(scope="session")
def recipe_names(tmp_path_factory):
    """Return a function that gives everything a recipe defines, after a small run in this process."""

    @cache
    def names(name):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", [f"{name}.py", "--smoke", "--out", str(tmp_path_factory.mktemp("out"))])
            patch.setattr(sys, "excepthook", sys.excepthook)
            return runpy.run_path(str(RECIPES / f"{name}.py"))

    return names
