"""One small bug at a time, and whether the nearest tests notice it.

    python tests/mutation/run.py [--only GLOB ...] [--left] [--jobs 2]

`mutations.toml` lists the bugs: `old` in `file` is replaced by `new`, and one of `tests` must fail. First all these
tests run once without a bug. What came of each goes to `result.jsonl`, where an entry of the same bug is replaced.
TensorFlow is imported once; each bug has a fork of this process and a copy of the tree.
"""

import argparse
import datetime
import fnmatch
import importlib
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import tomllib
import traceback
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
RESULT = HERE / "result.jsonl"
TIMEOUT = 300  # seconds of the processor for the tests of one bug: one that never ends is noticed, too
PATIENCE = 4  # times as many seconds of the clock, for one that waits for ever; other programs may hold it up
# What the tests import, but for tfopt.
SHARED = [
    "joblib",
    "jinja2",
    "keras",
    "keras_tuner",
    "matplotlib.pyplot",
    "numpy",
    "pandas",
    "pyarrow.parquet",
    "pytest",
    "rich.console",
    "scipy.optimize",
    "scipy.stats",
    "sklearn.compose",
    "sklearn.datasets",
    "sklearn.ensemble",
    "sklearn.gaussian_process",
    "sklearn.linear_model",
    "sklearn.model_selection",
    "sklearn.multioutput",
    "sklearn.neighbors",
    "sklearn.neural_network",
    "sklearn.svm",
    "tensorflow",
    "threadpoolctl",
]


def mutations() -> list[dict]:
    """Return the list: `file`, `old`, `new`, `tests`, `why`, and `survives` (an argument) where no test can notice."""
    found = tomllib.loads((HERE / "mutations.toml").read_text(encoding="utf-8"))["mutation"]
    return [{**each, "tests": each["tests"].split()} for each in found]


def key(bug: dict) -> tuple[str, str, str]:
    """Return what one bug is known by, in the list and in the result."""
    return bug["file"], bug["old"], bug["new"]


def copied(into: Path, source: Path = ROOT) -> Path:
    for folder in ("tfopt", "tests", "recipes", "docs"):
        shutil.copytree(source / folder, into / folder)
    for file in ("pyproject.toml", "README.md"):
        shutil.copy2(source / file, into / file)
    return into


class Failures:
    """Writes the tests that fail to a file."""

    def __init__(self, path: Path):
        self.path = path

    def pytest_runtest_logreport(self, report):
        if report.failed:
            with self.path.open("a") as file:
                file.write(report.nodeid + "\n")


def begun(tree: Path, tests: list[str], *options: str, seconds: int = resource.RLIM_INFINITY) -> int:
    """Run tests in a fork, in a copy of the tree, for so many seconds of the processor; return its process id."""
    (tree / "failed").unlink(missing_ok=True)
    pid = os.fork()
    if pid:
        return pid
    code = 99
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.RLIM_INFINITY))
        log = os.open(tree / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.chdir(tree)
        sys.path.insert(0, str(tree))
        import pytest

        named = [f"tests/{test}" for test in tests]
        code = int(pytest.main(["-q", "-p", "no:cacheprovider", *options, *named], plugins=[Failures(tree / "failed")]))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def ended(pid: int, deadline: float) -> str | None:
    """Return what a fork came to, None while it runs."""
    done, status = os.waitpid(pid, os.WNOHANG)
    if done:
        code = os.waitstatus_to_exitcode(status)
        ends = {0: "survived", 1: "killed", -signal.SIGXCPU: "killed (no end)"}
        return ends.get(code, f"error {code}")
    if time.monotonic() < deadline:
        return None
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return "killed (no end)"


def failing(base: Path, tests: list[str]) -> set[str]:
    """Return those of the tests that fail without a bug."""
    pid, status = begun(base, tests), None
    deadline = time.monotonic() + 20 * TIMEOUT
    while status is None:
        time.sleep(0.2)  # and is looked at again
        status = ended(pid, deadline)
    if status not in ("survived", "killed"):
        sys.exit(f"error: the tests cannot be run ({status}):\n{(base / 'log').read_text()[-2000:]}")
    failed = (base / "failed").read_text().split("\n") if (base / "failed").exists() else []
    return {name.removeprefix("tests/") for name in failed if name}


class Trees:
    """A copy of the tree as it is, and one for each bug that is in at a time."""

    def __init__(self, folder: Path, jobs: int):
        self.base = copied(folder / "base")
        self.free = [copied(folder / f"tree-{place}", self.base) for place in range(jobs)]


def judged(chosen: list[dict], trees: Trees):
    """Yield each bug and what came of it, as it comes."""
    base, free = trees.base, trees.free
    broken = failing(base, sorted({test for each in chosen for test in each["tests"]}))
    for name in sorted(broken):
        print(f"fails without a bug: {name}", flush=True)
    waiting, running = list(chosen), {}
    try:
        while waiting or running:
            while waiting and free:
                bug = waiting.pop(0)
                if any(name.startswith(test) for name in broken for test in bug["tests"]):
                    yield bug, "its tests fail without it", 0.0
                    continue
                tree = free.pop()
                text = (base / bug["file"]).read_text(encoding="utf-8")
                if text.count(bug["old"]) != 1:
                    sys.exit(f"error: {bug['file']} holds {bug['old']!r} not once. Mend mutations.toml.")
                (tree / bug["file"]).write_text(text.replace(bug["old"], bug["new"]), encoding="utf-8")
                running[begun(tree, bug["tests"], "-x", seconds=TIMEOUT)] = bug, tree, time.monotonic()
            time.sleep(0.1)  # and all are looked at again
            for pid, (bug, tree, started) in list(running.items()):
                status = ended(pid, started + PATIENCE * TIMEOUT)
                if status is not None:
                    del running[pid]
                    shutil.copy2(base / bug["file"], tree / bug["file"])  # with its time: what was compiled holds again
                    free.append(tree)
                    yield bug, status, time.monotonic() - started
    finally:
        for pid in running:
            os.killpg(pid, signal.SIGKILL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="+", default=["*"], help="files, such as '*/search/*', each lot by itself")
    parser.add_argument("--left", action="store_true", help="those only that no test has noticed so far")
    parser.add_argument("--jobs", type=int, default=2, help="forks at a time")
    arguments = parser.parse_args()
    every = {key(bug): bug for bug in mutations()}
    lines = RESULT.read_text(encoding="utf-8").splitlines() if RESULT.exists() else []
    known = {key(each): each for each in map(json.loads, lines)}
    lots = []
    for glob in arguments.only:
        lot = [bug for bug in every.values() if fnmatch.fnmatch(bug["file"], glob)]
        lots += [
            [b for b in lot if not (arguments.left and known.get(key(b), {}).get("status", "").startswith("killed"))]
        ]
    os.environ |= {"CI": "1", "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3", "MPLBACKEND": "Agg"}
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    sys.dont_write_bytecode = True
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    for name in SHARED:
        importlib.import_module(name)
    with tempfile.TemporaryDirectory() as folder:
        trees = Trees(Path(folder), arguments.jobs)
        for bug, status, seconds in (result for lot in lots if lot for result in judged(lot, trees)):
            if status == "survived" and "survives" in bug:
                status = "argued"
            print(f"{status:9} {seconds:4.0f} s  {bug['file']}: {bug['why']}", flush=True)
            known[key(bug)] = {
                **{name: bug[name] for name in ("file", "old", "new", "why")},
                "status": status, "seconds": round(seconds), "date": str(datetime.date.today()),
            }  # fmt: skip
            lines = [json.dumps(known[each], ensure_ascii=False) + "\n" for each in every if each in known]
            RESULT.write_text("".join(lines), encoding="utf-8")
    counts = Counter(known[each]["status"] if each in known else "not run" for each in every)
    print(f"{len(every)} bugs: {', '.join(f'{number} {status}' for status, number in counts.most_common())}")


if __name__ == "__main__":
    main()
