"""What happens to files during a search, event by event, and what is then on the disk."""

import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tfopt.search.config import SearchConfig
from tfopt.search.session import run

CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link"}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC


@pytest.fixture(scope="session")
def config(tmp_path_factory):
    """Return a function that configures a search of seconds in a folder."""
    folder = tmp_path_factory.mktemp("attacked")
    random = np.random.default_rng(0)
    frame = pd.DataFrame(random.normal(size=(40, 3)), columns=["a", "b", "c"])
    frame.assign(y=frame["a"] - 2 * frame["b"]).to_csv(folder / "table.csv", index=False)

    def make(out, **changes):
        values = {
            "data": str(folder / "table.csv"), "space": "small", "max_trials": 2, "epochs": 2, "folds": 2,
            "inner_folds": 2, "seeds": 2, "baselines": "dummy,ridge", "workers": 1, "out": str(out),
        }  # fmt: skip
        return SearchConfig(**(values | changes))

    return make


@pytest.fixture
def found():
    """Return a function that runs a search and returns what it found, without what differs from time to time."""

    def search(config):
        result = run(config).result
        kept = {name: result[name] for name in ("verdict", "best_network", "chosen", "trials", "recommended")}
        return kept, [(row["model"], row["score"], row["low"], row["high"]) for row in result["leaderboard"]]

    return search


class FileEvents:
    """Calls a function before each change of the names of files below a folder, or opening of one to write.

    Python's audit hooks cannot be taken away, so that there is one, which tells whoever is `watching`.
    """

    def __init__(self):
        self.watching = None
        self.folder = ""
        self._inside = False
        sys.addaudithook(self._hear)

    def _hear(self, event, arguments):
        if self.watching is None or self._inside:
            return
        if event == "open":
            if not isinstance(arguments[2], int) or not arguments[2] & _WRITES:
                return
        elif event not in CHANGES:
            return
        paths = [path for path in arguments if isinstance(path, str | bytes)]
        if any(os.fsdecode(path).startswith(self.folder) for path in paths):
            self._inside = True
            try:
                self.watching(event, os.fsdecode(paths[0]))
            finally:
                self._inside = False


@pytest.fixture(scope="session")
def _events():
    return FileEvents()


@pytest.fixture
def file_events(_events):
    """Have a function called before each file event below a folder, until the test ends."""

    def watch(folder, function):
        _events.folder, _events.watching = str(Path(folder)), function
        return _events

    yield watch
    _events.watching = None
