"""`tfopt search` on two processes: the same board, whoever dies; and nobody is left behind."""

import contextlib
import io
import os
import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from tfopt.cli import main

# In the default run `training/test_workers.py` ends a smaller program, and its workers, in each of these ways, and
# `search/test_leaks.py` compares a search of two workers with that of one.
pytestmark = pytest.mark.long

SPACE = """
import keras
from units import UNITS  # a file beside this one

def build(hp):
    units, rate = hp.Choice("units", UNITS), hp.Float("learning_rate", 1e-3, 1e-1, sampling="log")
    model = keras.Sequential([keras.layers.Dense(units, "tanh"), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(rate), "mse")
    return model
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("workers")
    random = np.random.default_rng(0)
    x = random.normal(size=(80, 3))
    rows = np.column_stack([x, x @ [1.0, -2.0, 0.5] + 0.1 * random.normal(size=80)])
    np.savetxt(folder / "table.csv", rows, "%.4f", ",", header="a,b,c,y", comments="")
    (folder / "mine.py").write_text(SPACE)
    (folder / "units.py").write_text("UNITS = [2, 4, 8]\n")
    return folder


def settings(out, workers):
    words = "table.csv --space mine.py:build --max-trials 4 --epochs 3 --folds 2 --inner-folds 2 --seeds 2"
    return [*words.split(), "--baselines", "dummy,ridge", "--workers", workers, "--out", out]


def searched_here(folder, searches, *words):
    """Search in this process; return the board."""
    with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()) as out:
        assert main(["search", *words, "--no-progress", "--format", "csv"]) == 0
    return searches.board(out.getvalue())


@pytest.fixture(scope="module")
def alone(folder, searches):
    return searched_here(folder, searches, *settings("alone", "1"))


def worker_of(searches, program):
    """Return the worker process, once it is there."""
    while program.poll() is None:
        for pid in searches.members(program):
            try:
                command = Path(f"/proc/{pid}/cmdline").read_bytes()
            except OSError:
                continue
            if b"popen_loky" in command:
                return pid
        time.sleep(0.02)  # and is looked for again
    raise AssertionError(program.communicate()[1])


def read_until(program, pattern):
    for line in program.stderr:
        if re.search(pattern, line):
            return
    raise AssertionError(f"it never said {pattern}")


def test_a_worker_that_is_killed_changes_nothing(folder, alone, searches):
    program = searches.begin(folder, *settings("killed-worker", "2"))
    read_until(program, r"^network \d")
    os.kill(worker_of(searches, program), signal.SIGKILL)
    out, err = program.communicate(timeout=300)
    assert program.returncode == 0, err
    assert searches.board(out) == alone
    assert searches.left_behind(program) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_nobody_outlives_a_search_that_ends_early_and_it_goes_on_to_the_same_board(folder, alone, searches, number):
    run = f"ended-{number.name}"
    program = searches.begin(folder, *settings(run, "2"))
    worker_of(searches, program)
    read_until(program, "^(baselines|network) [1-9]")
    if number == signal.SIGINT:
        os.killpg(program.pid, number)  # as a terminal does
    else:
        program.send_signal(number)
    _, err = program.communicate(timeout=60)
    assert searches.left_behind(program) == []
    assert "Traceback" not in err
    if number == signal.SIGKILL:
        assert searched_here(folder, searches, "--resume", run, "--space", "mine.py:build", "--workers", "1") == alone
    else:
        assert f"go on with: tfopt search --resume {run}" in err
