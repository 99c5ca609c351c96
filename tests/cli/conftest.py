"""Running the command line in this process and in a fresh one."""

import os

import pytest

from tfopt.cli import main


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
