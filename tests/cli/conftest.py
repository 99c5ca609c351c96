"""Running the command line in this process and in a fresh one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tfopt.cli import main

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch):
    for name in list(os.environ):
        if name.startswith("TFOPT_"):
            monkeypatch.delenv(name)


@pytest.fixture
def tfopt(capsys):
    """Run `tfopt` here; return its exit code, standard output and standard error."""

    def run(*words):
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

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
            env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
            **({"stdin": subprocess.DEVNULL} | settings),
        )

    return run
