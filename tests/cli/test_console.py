import argparse
import io
import os
import re
import select
import subprocess
import sys
from pathlib import Path

import pytest

from tfopt.cli import console, output
from tfopt.cli.console import LineProgress, QuietProgress, TerminalProgress, clock

ROOT = Path(__file__).parents[2]


def arguments(**given):
    return argparse.Namespace(**{"quiet": False, "no_progress": False, "verbose": 0, "debug": False, **given})


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("stream", "given", "environment", "kind"),
    [
        (Terminal(), {}, {}, TerminalProgress),
        (Terminal(), {"no_progress": True}, {}, LineProgress),
        (Terminal(), {}, {"TERM": "dumb"}, LineProgress),
        (io.StringIO(), {}, {}, LineProgress),
        (Terminal(), {"quiet": True}, {}, QuietProgress),
        (io.StringIO(), {"watch": True}, {}, LineProgress),
    ],
)
def test_progress_suits_the_terminal_and_the_user(stream, given, environment, kind, monkeypatch):
    monkeypatch.setenv("TERM", environment.get("TERM", "xterm"))
    assert type(console.progress(arguments(**given), stream)) is kind


def test_a_line_for_each_finished_unit_with_the_time_left(monkeypatch):
    now = iter([100.0, 110.0, 130.0, 131.0])
    monkeypatch.setattr(console.time, "monotonic", lambda: next(now))
    stream = io.StringIO()
    with LineProgress(stream) as progress:
        progress.note("guessed")
        progress.start("networks", 12)
        progress.advance("networks", "trial 0000: r2 0.47", amount=2)
        progress.advance("networks", amount=4)
        progress.finish("networks")
        progress.advance("surprise", "done")
    assert stream.getvalue().splitlines() == [
        "note: guessed",
        "networks 2/12  trial 0000: r2 0.47  (50s left)",  # 10 s for 2 of 12
        "networks 6/12  (30s left)",
        "surprise 1  done",
    ]


def test_what_an_earlier_run_finished_does_not_hasten_the_time_left(monkeypatch):
    now = iter([100.0, 110.0])
    monkeypatch.setattr(console.time, "monotonic", lambda: next(now))
    stream = io.StringIO()
    with LineProgress(stream) as progress:
        progress.start("networks", 12)
        progress.keep("networks", "trial 0000: r2 0.47", amount=10)
        progress.advance("networks")
    assert stream.getvalue().splitlines() == ["networks 10/12  trial 0000: r2 0.47", "networks 11/12  (10s left)"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0s"), (59.6, "1m00s"), (185, "3m05s"), (3599.6, "1h00m"), (3725, "1h02m")]
)
def test_clock(seconds, text):
    assert clock(seconds) == text


def on_a_terminal(program, **environment):
    """Run a program whose standard error is a terminal of 80 columns; return what it wrote there."""
    import pty
    import termios

    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "80", **environment},
    ) as process:
        os.close(theirs)
        seen = b""
        while select.select([ours], [], [], 60)[0]:
            try:
                chunk = os.read(ours, 65536)
            except OSError:  # Linux says so when the other end is closed
                break
            if not chunk:
                break
            seen += chunk
        assert process.stdout.read() == b""
    os.close(ours)
    assert process.returncode == 0, seen
    return seen.decode()


def test_time_left_is_said_for_the_whole():
    for watch, shown in ((False, []), (True, ["best r2 0.5000  ▁▃▃█", "now: networks 3s, svm 1m15s"])):
        progress = TerminalProgress(Terminal(), watch)
        for score in (0.2, 0.3, 0.1, 0.5):
            progress.scored("r2", score)
        assert [line.plain for line in progress._below()] == shown[:1]
        progress.follow(lambda: 100.0, lambda: [("fits", 3.2), ("svm", 75.0), ("", 1.0)])
        *above, last = [line.plain for line in progress._below()]
        assert above == shown
        assert last.endswith("so far, time left about 1m40s")
    progress.follow(lambda: None, list)
    assert [line.plain for line in progress._below()][-1].endswith("time left not known yet")


PROGRAM = """
import argparse, sys
sys.argv = ["tfopt"]
from tfopt.cli import console
with console.progress(argparse.Namespace(quiet=False, no_progress=False)) as progress:
    progress.note("the last column, [bold]'y'[/], is the target")
    progress.start("networks", 3)
    for number in range(2):
        progress.advance("networks", f"trial {number}: 0.4{number}")
    progress.finish("networks")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are a thing of Unix")
def test_bars_on_a_real_terminal():
    seen = on_a_terminal(PROGRAM)
    assert "\x1b[" in seen  # it is drawn in place
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen)
    assert "note: the last column, [bold]'y'[/], is the target" in plain
    assert re.search(r"networks .*2/3", plain)
    assert all(len(line) <= 80 for line in re.split(r"[\r\n]+", plain))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are a thing of Unix")
def test_no_color_is_obeyed():
    colours = r"\x1b\[[0-9;]*(3[0-7]|38;5;\d+|9[0-7])m"
    assert re.search(colours, on_a_terminal(PROGRAM))
    assert not re.search(colours, on_a_terminal(PROGRAM, NO_COLOR="1"))


ROWS = [
    {
        "model": name,
        "kind": "sklearn",
        "score": score,
        "low": score - 0.07,
        "high": score + 0.07,
        "difference": score - 0.5,
        "p_better": 0.1,
        "p_equivalent": 0.7,
        "p_worse": 0.2,
        "num_configurations": 24,
        "tune_seconds": 12.3,
        "fit_seconds": 0.1,
    }
    for name, score in {"hist_gradient_boosting": 0.5, "网络 (ensemble of 3 seeds)": 0.4, "x": float("nan")}.items()
]


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
def test_table_is_never_wider_than_the_terminal(width, capsys):
    from rich.cells import cell_len

    result = {"leaderboard": ROWS, "objective": "r2", "rope": 0.01, "best_baseline": "x"}
    output.print_table({**result, "verdict": "Nothing can be told apart. " * 4}, width=width)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(cell_len, lines)) <= width
    assert "score" in lines[0]
    assert "0.500" in lines[1]
    assert ("95% interval" in lines[0]) == (width >= 60)
    assert ("tune s" in lines[0]) == (width == 200)


def test_warnings_of_libraries_are_for_who_asks(capsys):
    import logging
    import warnings

    for given, told in (({}, False), ({"verbose": 1}, True)):
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            with console.messages(arguments(**given)):
                warnings.warn("lbfgs failed to converge", stacklevel=1)
                logging.getLogger("matplotlib.font_manager").warning("findfont: no bold face")
                logging.getLogger("tfopt").info("detail")
        err = capsys.readouterr().err
        assert ("lbfgs failed to converge" in err) is told
        assert ("findfont" in err) is told
        assert ("detail" in err) is told
        assert logging.getLogger("tfopt").handlers == []  # as it was found
