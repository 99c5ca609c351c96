"""A search without enough memory says so in one line.

`python -m pytest tests/attacks/test_memory.py --hypothesis-profile long` tries limits up to where the search ends well.
With less than some 600 MB OpenBLAS, which SciPy loads, waits for ever.
"""

import subprocess
import sys

import pytest

resource = pytest.importorskip("resource", reason="this system has no limits of that kind")
pytestmark = pytest.mark.slow
SEARCH = "search diabetes --space small --max-trials 2 --epochs 2 --folds 2 --inner-folds 2 --seeds 1"
SEARCH += " --workers 1 --baselines dummy --no-progress"


def test_a_limit_on_memory_is_named(tmp_path, long):
    limits = range(800, 6001, 400) if long else [1200]  # megabytes, of addresses: TensorFlow alone takes 2 500
    codes = []
    for limit in limits:
        done = subprocess.run(
            [sys.executable, "-m", "tfopt", *SEARCH.split(), "--out", str(tmp_path / str(limit))],
            preexec_fn=lambda limit=limit: resource.setrlimit(resource.RLIMIT_AS, (limit * 10**6, limit * 10**6)),
            capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        codes.append(done.returncode)
        if done.returncode == 2:
            assert done.stderr.splitlines()[-1].startswith("error: memory ran out. Free some, raise its limit"), limit
            assert "Traceback" not in done.stderr
        else:
            assert done.returncode in (0, 3), (limit, done.returncode, done.stderr[-500:])
    assert codes[0] == 2
    assert codes[-1] == 0 or not long
