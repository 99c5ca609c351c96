"""A search on several processes that is ended at any moment: nobody outlives it, and it goes on to the same board.

At moments from 1 s to its end; one moment for each signal is in `tests/cli/test_search_workers.py`, long too. The suite
has workers that outlive nobody, in `tests/training/test_workers.py`.
"""

import os
import signal
import subprocess
import time

import pytest

pytestmark = pytest.mark.slow
SEARCH = "diabetes --space small --max-trials 8 --epochs 5 --folds 2 --inner-folds 2 --seeds 1 --workers 3"
SEARCH += " --baselines dummy,ridge,random_forest"
SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGKILL]
SIGNALS = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]  # as SIGHUP is under nohup


@pytest.mark.long
def test_signals_to_a_process_group_at_any_moment(tmp_path, searches):
    begun = time.monotonic()
    out, err = searches.begin(tmp_path, *SEARCH.split(), "--out", "whole").communicate(timeout=600)
    whole, seconds = searches.board(out), time.monotonic() - begun
    assert len(whole) == 5, err
    for place in range(4 * len(SIGNALS)):
        number, run = SIGNALS[place % len(SIGNALS)], f"run-{place}"
        program = searches.begin(tmp_path, *SEARCH.split(), "--out", run)
        try:
            program.wait(1 + seconds * place / (4 * len(SIGNALS)))
        except subprocess.TimeoutExpired:
            if place % 2:
                os.killpg(program.pid, number)  # as a terminal does
            else:
                program.send_signal(number)
        _, err = program.communicate(timeout=60)
        assert "Traceback" not in err, (number, place, err)
        assert searches.left_behind(program) == [], (number, place)
        resumed = (tmp_path / run / "config.json").exists()
        again = ["--resume", run] if resumed else [*SEARCH.split(), "--out", run]
        out, err = searches.begin(tmp_path, *again).communicate(timeout=600)
        assert searches.board(out) == whole, (number, place, err)
