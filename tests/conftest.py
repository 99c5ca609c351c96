"""Every test runs on the CPU, off screen, with TensorFlow's start-up log off; a file's tests in one process."""

import gc
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")
# Else each process that a test starts compiles the whole package anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Property tests draw new examples on a developer's machine, and the same ones where a change is judged.
settings.register_profile("default", deadline=None, max_examples=40, derandomize="CI" in os.environ)
settings.register_profile("long", deadline=None, max_examples=2000)
settings.load_profile("default")  # `--hypothesis-profile long` for the other

# What starts processes, runs a recipe or searches is slow, whichever test asks for it.
SLOW_FIXTURES = {
    "fresh_python",
    "fresh_keras",
    "smoke",
    "run_recipe",
    "recipe_names",
    "quick",
    "searched",
    "whole",
    "workers",
}


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Spare the garbage collector the imports, of which all stays: a second of eight."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Mark what is slow by what it uses; files with most of it come first, lest one worker ends late.

    `@pytest.mark.long("a", "b")` marks the parameters with these ids only.
    """
    slow, unknown = Counter(), {}
    for item in items:
        for mark in [mark for mark in item.own_markers if mark.name == "long" and mark.args]:
            name = item.nodeid.partition("[")[0]
            unknown[name] = unknown.get(name, set(mark.args)) - {item.callspec.id}
            if item.callspec.id not in mark.args:
                item.own_markers.remove(mark)
        if SLOW_FIXTURES & set(item.fixturenames) or item.get_closest_marker("long"):
            item.add_marker("slow")
        slow[item.path] += item.get_closest_marker("slow") is not None
    items.sort(key=lambda item: -slow[item.path])
    if any(unknown.values()) and not any("::" in argument for argument in config.args):
        raise pytest.UsageError(f"The mark `long` must name ids of parameters. Received others: {unknown}.")


def pytest_configure(config):
    config.option.loadscopereorder = False  # by number of tests, which says little
    if config.getoption("hypothesis_profile") == "long" and config.option.markexpr == "not long":
        config.option.markexpr = ""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Give a file's tests to one process, and so all that look at one recipe: what they share is made once."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            path = nodeid.partition("::")[0]
            small_run = re.fullmatch(r".*/test_every_recipe\.py::test_it_runs_small\w*\[(\w+)\]", nodeid)
            return f"{path.rpartition('/')[0]}/test_{small_run[1]}.py" if small_run else path

    return ByFile(config, log) if config.getoption("dist") == "load" else None


@pytest.fixture(autouse=True, scope="module")
def _old_objects_are_set_aside():
    """Spare the garbage collector what lives already, a million objects of TensorFlow and all that earlier files left.

    Keras collects in each `clear_session`, Python now and then: 0.3 s a time in a fresh process, 3 s in an old one.
    """
    gc.collect()
    gc.freeze()


def pytest_sessionfinish():
    gc.freeze()  # spares the collections with which pytest ends, as below


@pytest.fixture(scope="session")
def _forks():
    """Begin a process that programs are forked from, and end it with the tests."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    script = Path(__file__).with_name("forks.py")
    with subprocess.Popen(
        [sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        yield process
        process.stdin.close()


@pytest.fixture(scope="session")
def fresh_keras(_forks, tmp_path_factory):
    """Run a Python program in a process that has loaded Keras, and nothing of this tree yet."""

    def run(program, *arguments, cwd=None):
        folder = tmp_path_factory.mktemp("program")
        files = [folder / "output", folder / "errors"]
        words = [program, [str(each) for each in arguments], *map(str, (cwd or folder, *files))]
        _forks.stdin.write(json.dumps(words) + "\n")
        _forks.stdin.flush()
        returncode = int(_forks.stdout.readline())
        return subprocess.CompletedProcess(program, returncode, *(file.read_text("utf-8") for file in files))

    return run


@pytest.fixture
def fresh_python():
    """Run a Python program in a fresh process that imports this tree."""

    def run(*arguments, environment=None, **settings):
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=300,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), **(environment or {})},
            **({"stdin": subprocess.DEVNULL} | settings),
        )

    return run


class Searches:
    """`tfopt search` in process groups of their own, and who is left of one."""

    @staticmethod
    def begin(folder, *words):
        return subprocess.Popen(
            [sys.executable, "-m", "tfopt", "search", *map(str, words), "--no-progress", "--format", "csv"],
            cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background ignores it
        )  # fmt: skip

    @staticmethod
    def board(text):
        """Return the rows without the seconds, which differ from run to run."""
        heading, *rows = (line.split(",") for line in text.splitlines())
        timed = [place for place, name in enumerate(heading) if name.endswith("_seconds")]
        return [[cell for place, cell in enumerate(row) if place not in timed] for row in rows]

    @staticmethod
    def members(program):
        """Return the processes of a search's group that are alive."""
        found = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                state, _, its_group, *_ = path.read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(its_group) == program.pid and state != "Z":
                found.append(int(path.parent.name))
        return found

    @classmethod
    def left_behind(cls, program):
        """Return the processes of an ended search that are still there half a minute later."""
        deadline = time.monotonic() + 30
        while cls.members(program) and time.monotonic() < deadline:
            time.sleep(0.02)  # and they are looked for again
        return cls.members(program)


@pytest.fixture(scope="session")
def searches():
    """Begin searches that can be killed with all their workers, and look for who is left."""
    if not Path("/proc/self/stat").exists():
        pytest.skip("this system has no /proc, in which processes are looked up")
    return Searches


@pytest.fixture
def eagerly():
    """Have TensorFlow trace nothing, which takes longer than a few steps."""
    import tensorflow as tf  # here, as a run of few files does without

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture
def long(request):
    """Whether the long form of a test is asked for: --hypothesis-profile long."""
    return request.config.getoption("hypothesis_profile") == "long"
