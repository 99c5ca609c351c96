"""What a system refuses a search is one line that says what and how to go on, and then it goes on to the same board.

`python -m pytest tests/attacks/test_faults.py --hypothesis-profile long` runs a whole search for each; the suite has
the messages in `tests/test_errors.py` and `tests/cli/test_search.py`.
"""

import json
import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="faults are made with a shell's ulimit"),
]
SEARCH = "search diabetes --space small --max-trials 2 --epochs 2 --folds 2 --inner-folds 2 --seeds 1 --workers 1"
SEARCH += " --baselines dummy,ridge --no-progress --format json"
TFOPT = f"exec {sys.executable} -m tfopt"

FAULTS = {
    "files of no more than 1 kB": f"ulimit -f 2; {TFOPT} {SEARCH} --out run",
    "files of no more than 16 kB": f"ulimit -f 32; {TFOPT} {SEARCH} --out run",
    "few open files": f"ulimit -n 24; {TFOPT} {SEARCH} --out run",
    "no place for temporary files": f"TMPDIR=/nowhere {TFOPT} {SEARCH} --out run",
    "a deleted working folder": f"mkdir gone; cd gone; rmdir ../gone; {TFOPT} {SEARCH} --out run",
    "a name of 300 characters": f"{TFOPT} {SEARCH} --out {'x' * 300}",
    "a folder below a file": f"touch file; {TFOPT} {SEARCH} --out file/run",
    "a device for a folder": f"{TFOPT} {SEARCH} --out /dev/null",
}


def board(text):
    return [(row["model"], row["score"], row["low"]) for row in json.loads(text)["leaderboard"]]


@pytest.mark.long
def test_each_fault_is_said_and_can_be_gone_on_from(tmp_path):
    def shell(command, folder):
        return subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, text=True, timeout=600)

    whole = board(shell(f"{TFOPT} {SEARCH} --out whole", tmp_path).stdout)
    for place, (fault, command) in enumerate(FAULTS.items()):
        folder = tmp_path / str(place)
        folder.mkdir()
        done = shell(command, folder)
        if done.returncode == 0:  # as where no place for temporary files is needed
            assert board(done.stdout) == whole, fault
            continue
        last = done.stderr.splitlines()[-1]
        assert done.returncode == 2, (fault, last)
        assert last.startswith("error: "), (fault, last)
        assert "unexpected" not in last, (fault, last)
        assert "Traceback" not in done.stderr, fault
        if (folder / "run" / "config.json").exists():
            assert "tfopt search --resume run" in last, (fault, last)
            done = shell(f"{TFOPT} search --resume run --format json", folder)
        else:
            done = shell(f"{TFOPT} {SEARCH} --out again", folder)
        assert board(done.stdout) == whole, (fault, done.stderr[-500:])
