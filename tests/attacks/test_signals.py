"""A search on several processes that is ended at any moment: nobody outlives it, and it goes on to the same board.

`python -m pytest tests/attacks/test_signals.py --hypothesis-profile long` ends it at moments from 1 s to its end; the
suite has one moment for each signal, in `tests/cli/test_search_workers.py`.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked up in /proc"),
]
WORDS = [
    "search",
    "diabetes",
    "--space",
    "small",
    "--max-trials",
    "8",
    "--epochs",
    "5",
    "--folds",
    "2",
    "--workers",
    "3",
]
WORDS += ["--inner-folds", "2", "--seeds", "1", "--baselines", "dummy,ridge,tree", "--format", "json", "--no-progress"]


def begin(folder, *words):
    return subprocess.Popen(
        [sys.executable, "-m", "tfopt", *words], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def group(number):
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group, *_ = path.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(its_group) == number and state != "Z":
            found.append(int(path.parent.name))
    return found


def board(text):
    return [(row["model"], row["score"], row["low"]) for row in json.loads(text)["leaderboard"]]


def test_signals_to_a_process_group_at_any_moment(tmp_path, long):
    if not long:
        pytest.skip("many whole searches: --hypothesis-profile long")
    begun = time.monotonic()
    out, err = begin(tmp_path, *WORDS, "--out", "whole").communicate(timeout=600)
    whole, seconds = board(out), time.monotonic() - begun
    signals = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGKILL]
    for place in range(4 * len(signals)):
        number, run = signals[place % len(signals)], f"run-{place}"
        program = begin(tmp_path, *WORDS, "--out", run)
        try:
            program.wait(1 + seconds * place / (4 * len(signals)))
        except subprocess.TimeoutExpired:
            if place % 2:
                os.killpg(program.pid, number)  # as a terminal does
            else:
                program.send_signal(number)
        _, err = program.communicate(timeout=60)
        assert "Traceback" not in err, (number, place, err)
        deadline = time.monotonic() + 30
        while group(program.pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert group(program.pid) == [], (number, place)
        resumed = (tmp_path / run / "config.json").exists()
        again = ["search", "--resume", run, "--format", "json"] if resumed else [*WORDS, "--out", run]
        out, err = begin(tmp_path, *again).communicate(timeout=600)
        assert board(out) == whole, (number, place, err)
