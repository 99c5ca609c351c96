"""`tfopt search` on two processes: the same board, whoever dies; and nobody is left behind."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked up in /proc"),
]

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


def begin(folder, *words):
    return subprocess.Popen(
        [sys.executable, "-m", "tfopt", "search", *words, "--no-progress", "--format", "csv"],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored where tests run in the background
    )  # fmt: skip


def settings(out, workers):
    words = [
        "table.csv",
        "--space",
        "mine.py:build",
        "--max-trials",
        6,
        "--epochs",
        4,
        "--folds",
        2,
        "--inner-folds",
        2,
    ]
    return [*map(str, words), "--seeds", "2", "--baselines", "dummy,ridge,knn", "--workers", str(workers), "--out", out]


def board(text):
    """Return the rows without the seconds, which differ from run to run."""
    heading, *rows = (line.split(",") for line in text.splitlines())
    timed = [place for place, name in enumerate(heading) if name.endswith("_seconds")]
    return [[cell for place, cell in enumerate(row) if place not in timed] for row in rows]


@pytest.fixture(scope="module")
def alone(folder):
    out, err = begin(folder, *settings("alone", 1)).communicate(timeout=300)
    assert "by one process" in err
    return board(out)


def members(group):
    """Return the processes of a group that are alive."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group, *_ = path.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(its_group) == group and state != "Z":
            found.append(int(path.parent.name))
    return found


def worker_of(program):
    """Return the worker process, once it is there."""
    while program.poll() is None:
        for pid in members(program.pid):
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


def left_behind(program):
    """Return the processes of an ended search that are still there half a minute later."""
    deadline = time.monotonic() + 30
    while members(program.pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return members(program.pid)


def test_a_worker_that_is_killed_changes_nothing(folder, alone):
    program = begin(folder, *settings("killed-worker", 2))
    read_until(program, r"^network \d")
    os.kill(worker_of(program), signal.SIGKILL)
    out, err = program.communicate(timeout=300)
    assert program.returncode == 0, err
    assert board(out) == alone
    assert left_behind(program) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_nobody_outlives_a_search_that_ends_early_and_it_goes_on_to_the_same_board(folder, alone, number):
    run = f"ended-{number.name}"
    program = begin(folder, *settings(run, 2))
    worker_of(program)
    read_until(program, "^(baselines|network) [1-9]")
    if number == signal.SIGINT:
        os.killpg(program.pid, number)  # as a terminal does
    else:
        program.send_signal(number)
    _, err = program.communicate(timeout=60)
    assert left_behind(program) == []
    assert "Traceback" not in err
    if number == signal.SIGKILL:
        out, err = begin(folder, "--resume", run, "--workers", "2").communicate(timeout=300)
        assert board(out) == alone, err
    else:
        assert f"go on with: tfopt search --resume {run}" in err
