"""A search without enough memory says so in one line, or goes on from where TensorFlow ended its process.

`python -m pytest tests/attacks/test_memory.py --hypothesis-profile long` tries limits up to where the search ends well.
With less than some 600 MB OpenBLAS, which SciPy loads, waits for ever.
"""

import signal
import subprocess
import sys

import pytest

resource = pytest.importorskip("resource", reason="this system has no limits of that kind")
pytestmark = pytest.mark.slow
CRASHES = (-signal.SIGSEGV, -signal.SIGABRT)  # of TensorFlow, where it gets no memory for a thread or a buffer
SEARCH = "diabetes --space small --max-trials 2 --epochs 2 --folds 2 --inner-folds 2 --seeds 1"
SEARCH += " --workers 1 --baselines dummy --no-progress"


def test_a_limit_on_memory_is_named(tmp_path, long):
    limits = range(800, 6001, 400) if long else [1200]  # megabytes, of addresses: TensorFlow alone takes 2 500
    codes = []
    for limit in limits:
        done = search(*SEARCH.split(), "--out", str(tmp_path / str(limit)), megabytes=limit)
        codes.append(done.returncode)
        if done.returncode == 2:
            assert done.stderr.splitlines()[-1].startswith("error: memory ran out. Free some, raise its limit"), limit
            assert "Traceback" not in done.stderr
        elif done.returncode in CRASHES:
            done = search("--resume", str(tmp_path / str(limit)))
            assert done.returncode == 0, (limit, done.stderr[-500:])
        else:
            assert done.returncode in (0, 3), (limit, done.returncode, done.stderr[-500:])
    assert codes[0] == 2
    assert codes[-1] == 0 or not long


def search(*words, megabytes=None):
    """Run `tfopt search` in a process of its own that may have so much memory."""
    limit = resource.RLIM_INFINITY if megabytes is None else megabytes * 10**6
    return subprocess.run(
        [sys.executable, "-m", "tfopt", "search", *words],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
