"""Worker processes, with calls that need no TensorFlow."""

import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from tfopt.training.worker_process import CannotTravelError, WorkerDiedError, pack, unpack, write
from tfopt.training.workers import Call, Shared, Workers

ROOT = Path(__file__).parents[2]
HERE = os.getpid()
A_MOMENT = 0.02  # seconds that a call takes, lest this process makes them all before another one has begun


def outcomes(workers, calls):
    """Return what each call came to, by its place in the list."""
    ended = {}
    for place, call in enumerate(calls):
        call.done = lambda value, error, place=place: ended.__setitem__(place, (value, error))
        workers.submit(call)
    while workers.busy:
        workers.wait()
    return [ended[place] for place in range(len(calls))]


def test_one_worker_is_this_process():
    with Workers(1) as workers:
        assert outcomes(workers, [Call(lambda i=i: (i, os.getpid())) for i in range(3)]) == [
            ((i, HERE), None) for i in range(3)
        ]


@pytest.mark.slow
def test_calls_reach_all_workers_and_a_shared_value_is_sent_once(tmp_path):
    meeting = tmp_path / "meeting"

    def call(shared, i):
        # Each of two workers stays until the other one is there too.
        (tmp_path / f"{os.getpid()}").touch()
        while not meeting.exists() and len(list(tmp_path.iterdir())) < 2:
            time.sleep(0.01)
        meeting.touch()
        shared["sum"] = shared["array"].sum()
        shared["calls"] = shared.get("calls", 0) + 1
        return i, os.getpid(), shared["sum"], shared["calls"]

    with Workers(2) as workers:
        shared = Shared({"array": np.arange(1000.0)})
        values = [value for value, error in outcomes(workers, [Call(call, (i,), shared=shared) for i in range(6)])]
    assert [value[0] for value in values] == list(range(6))
    assert {value[2] for value in values} == {499500.0}
    by_process = {pid: [value[3] for value in values if value[1] == pid] for pid in {value[1] for value in values}}
    assert len(by_process) == 2
    assert HERE in by_process
    assert all(sorted(counts) == list(range(1, len(counts) + 1)) for counts in by_process.values())


@pytest.mark.slow
def test_an_exception_comes_back_with_its_traceback():
    def fails():
        if os.getpid() == HERE:
            time.sleep(A_MOMENT)
            return "here"
        raise KeyError("no such thing")

    with Workers(2) as workers:
        results = outcomes(workers, [Call(fails) for _ in range(30)])
    [error, *_] = [error for _, error in results if error is not None]
    assert isinstance(error, KeyError)
    assert "no such thing" in "".join(error.__notes__)
    assert "in fails" in "".join(error.__notes__)


@pytest.mark.slow
def test_what_cannot_be_sent_is_done_here_and_said_once(caplog):
    lock = threading.Lock()

    def locked():
        time.sleep(A_MOMENT)
        with lock:
            return os.getpid()

    with Workers(3) as workers, caplog.at_level(logging.WARNING, "tfopt"):
        assert outcomes(workers, [Call(locked) for _ in range(6)]) == [(HERE, None)] * 6
    assert caplog.text.count("cannot be sent to worker processes") == 1
    assert "cannot pickle '_thread.lock' object" in caplog.text


@pytest.mark.slow
def test_a_module_that_the_worker_lacks_is_no_failure(caplog, monkeypatch, tmp_path):
    (tmp_path / "only_here.py").write_text(
        f"def f():\n    import os, time; time.sleep({A_MOMENT}); return os.getpid()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import only_here

    with Workers(2) as workers:
        assert {error for _, error in outcomes(workers, [Call(only_here.f) for _ in range(4)])} == {None}
    monkeypatch.undo()
    with Workers(2) as workers, caplog.at_level(logging.WARNING, "tfopt"):
        assert outcomes(workers, [Call(only_here.f) for _ in range(4)]) == [(HERE, None)] * 4
    assert "No module named 'only_here'" in caplog.text


@pytest.mark.slow
def test_log_records_of_a_worker_reach_this_process(caplog):
    def logs():
        time.sleep(A_MOMENT)
        if os.getpid() != HERE:
            try:
                1 / 0  # noqa: B018
            except ZeroDivisionError:
                logging.getLogger("tfopt").warning("fell over %s", "there", exc_info=True)

    with Workers(2) as workers, caplog.at_level(logging.WARNING, "tfopt"):
        outcomes(workers, [Call(logs) for _ in range(6)])
    assert "fell over there" in caplog.text
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.slow
def test_a_worker_that_dies_loses_its_call_only(caplog, tmp_path):
    def dies_once(i):
        time.sleep(A_MOMENT)
        if i == 3 and os.getpid() != HERE and not (tmp_path / "died").exists():
            (tmp_path / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return i

    # Of a kind that is the longest, so that it is not this process that makes the call.
    with Workers(3) as workers, caplog.at_level(logging.WARNING, "tfopt"):
        calls = [Call(dies_once, (i,), kind=str(i)) for i in range(40)]
        assert outcomes(workers, calls) == [(i, None) for i in range(40)]
        while not (tmp_path / "died").exists():
            assert outcomes(workers, [Call(dies_once, (3,)) for _ in range(3)]) == [(3, None)] * 3
    assert "A worker process ended (signal 9, as where memory runs out); what it was at is done again." in caplog.text


@pytest.mark.slow
def test_a_call_that_ends_two_workers_has_failed(caplog):
    def deadly():
        if os.getpid() != HERE:
            os._exit(7)
        time.sleep(A_MOMENT)
        return "here"

    with Workers(2) as workers:
        while True:
            results = outcomes(workers, [Call(deadly) for _ in range(12)])
            errors = [error for _, error in results if error is not None]
            if errors:
                break
    assert isinstance(errors[0], WorkerDiedError)
    assert "exit code 7" in str(errors[0])
    assert "again and again" in str(errors[0])


def test_the_longest_are_first_and_the_urgent_before_them():
    order = []
    with Workers(1) as workers:
        outcomes(workers, [Call(time.sleep, (0.001,), kind="a", work=1.0)])
        for name, work, urgent in (
            ("short", 1.0, False),
            ("long", 9.0, False),
            ("next", 0.1, True),
            ("mid", 5.0, False),
        ):
            workers.submit(Call(order.append, (name,), kind="a", work=work, urgent=urgent))
        while workers.busy:
            workers.wait()
    assert order == ["next", "long", "mid", "short"]


@pytest.mark.slow
def test_calls_may_be_added_while_others_run():
    seen = []

    def done(value, error):
        seen.append(value)
        if value < 5:
            workers.submit(Call(lambda: value + 1, done=done))

    with Workers(2) as workers:
        workers.submit(Call(lambda: 0, done=done))
        while workers.busy:
            workers.wait()
    assert seen == [0, 1, 2, 3, 4, 5]


def test_calls_that_are_dropped_are_not_made_and_nobody_is_told():
    made, told = [], []
    with Workers(1) as workers:
        calls = [Call(made.append, (i,), lambda value, error: told.append(value), work=9.0 - i) for i in range(5)]
        for call in calls:
            workers.submit(call)
        workers.wait()
        workers.drop(calls[1:3])
        while workers.busy:
            workers.wait()
    assert made == [0, 3, 4]
    assert told == [None] * 3


@pytest.mark.slow
def test_gpus_are_given_one_each_and_the_others_make_other_calls(tmp_path):
    def visible(i):
        (tmp_path / f"{os.getpid()}").touch()
        while len(list(tmp_path.iterdir())) < 3:
            time.sleep(0.01)
        return os.getpid(), os.environ.get("CUDA_VISIBLE_DEVICES")

    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    with Workers(3) as workers:
        workers.gpus = ["4", "GPU-bb"]
        values = [v for v, _ in outcomes(workers, [Call(visible, (i,), on_gpu=i < 9) for i in range(12)])]
    seen = dict(values)
    assert seen.pop(HERE) == before
    assert sorted(seen.values()) == ["-1", "GPU-bb"]
    [without] = [pid for pid, value in seen.items() if value == "-1"]
    assert all(pid != without for pid, _ in values[:9])


@pytest.mark.slow
def test_each_worker_has_its_share_of_the_cores(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "5")
    monkeypatch.setenv("TFOPT_CORES", "6")

    def shares():
        time.sleep(A_MOMENT)
        return os.getpid(), [
            os.environ.get(name) for name in ("TFOPT_CORES", "OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")
        ]

    with Workers(2) as workers:
        seen = {pid: shares for (pid, shares), _ in outcomes(workers, [Call(shares) for _ in range(40)])}
    assert seen.pop(HERE)[0] == "3"
    assert list(seen.values()) == [["3", "3", "5"]]
    assert os.environ["TFOPT_CORES"] == "6"


def test_pickles_of_large_arrays_are_mapped_and_private(tmp_path):
    value = {"a": np.arange(10.0), "f": lambda x: x + 1, "empty": np.zeros((0, 3)), "text": np.array(["x", None])}
    write(tmp_path / "value", value)
    for source in (str(tmp_path / "value"), pack(value)):
        back = unpack(source)
        assert np.array_equal(back["a"], value["a"])
        assert back["f"](2) == 3
        assert back["empty"].shape == (0, 3)
        assert list(back["text"]) == ["x", None]
        back["a"][0] = 7.0
    assert value["a"][0] in (0.0, 7.0)
    assert unpack(str(tmp_path / "value"))["a"][0] == 0.0
    with pytest.raises(CannotTravelError, match="TypeError"):
        pack(threading.Lock())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"number": 0}, "Argument `workers` must be at least 1. Received: 0."),
        ({"backend": "mpi"}, "Argument `backend` must be one of loky, ray, dask. Received: mpi."),
        ({"address": "h:1"}, "Argument `address` needs `backend` ray or dask."),
        ({"backend": "dask"}, "needs the address of a running cluster"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        Workers(**arguments)


PROGRAM = """
import os, signal, sys, time
from tfopt.training.workers import Call, Shared, Workers

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell lets what runs in the background ignore it

def busy(shared, i):
    os.write(1, b"%d\\n" % os.getpid())  # at once: what several processes print may mix
    end = time.monotonic() + 60
    while time.monotonic() < end:
        sum(range(10000))

with Workers(3) as workers:
    shared = Shared("sent once")
    for i in range(3):
        workers.submit(Call(busy, (i,), shared=shared))
    while workers.busy:
        workers.wait()
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("ended_by", ["SIGKILL", "SIGINT", "SIGTERM"])
def test_no_process_and_no_file_outlives_the_parent(ended_by, tmp_path):
    program = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TFOPT_LAZY": "1", "TMPDIR": str(tmp_path)},
        start_new_session=True,
    )
    pids = [int(program.stdout.readline()) for _ in range(3)]
    assert program.pid in pids
    number = getattr(signal, ended_by)
    if number == signal.SIGINT:
        os.killpg(program.pid, number)  # as a terminal does: workers get it too
    else:
        program.send_signal(number)
    _, said = program.communicate(timeout=30)  # which ends when nobody holds its pipes any more
    deadline = time.monotonic() + 30
    while any(map(_is_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert [pid for pid in pids if _is_alive(pid)] == []
    assert sys.platform != "linux" or list(tmp_path.iterdir()) == []
    assert said.count("Traceback") == (number == signal.SIGINT)


def _is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
