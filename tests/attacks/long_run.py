"""Memory and seconds a trial over a long search, by engine: they must stay flat.

    python tests/attacks/long_run.py --trials 2000 --workers 1 --engine auto

Prints a line for each tenth of the search and fails where the last fifth needs more than half as much time again as
the second, or where a trial adds more memory than its own record. So far: tests/attacks/results/long_run.txt.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import keras
import numpy as np
import pandas as pd

import tfopt
from tfopt.search.progress import Progress
from tfopt.training import ENGINES

MOST_BYTES = 40_000  # that a trial may add: its record, its curve and what the oracle knows of it


def resident() -> int:
    """Return the bytes of this process and of its worker processes."""
    total, page = 0, os.sysconf("SC_PAGE_SIZE")
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if os.getpid() in (int(entry.name), parent):
                total += page * int((entry / "statm").read_text().split()[1])
        except OSError:
            continue
    return total


class Measured(Progress):
    """Takes down time and memory as trials end, and prints them ten times."""

    def __init__(self, trials: int):
        self.rows: list[tuple[float, float, float]] = []
        self._trials, self._last = trials, (0.0, time.monotonic())

    def advance(self, phase, text="", amount=1):
        if phase != "network":
            return
        done, now = amount + (self.rows[-1][0] if self.rows else 0), time.monotonic()
        self.rows.append((done, now, resident()))
        if done - self._last[0] >= self._trials / 10:
            pace = 1e3 * (now - self._last[1]) / (done - self._last[0])
            print(f"{done:6.0f}  {pace:10.1f}  {self.rows[-1][2] / 1e6:10.0f}", flush=True)
            self._last = done, now


def build(hp):
    """Return a network of three shapes and endless numbers."""
    penalty = keras.regularizers.L2(hp.Float("l2", 1e-6, 1e-2, sampling="log"))
    hidden = keras.layers.Dense(hp.Choice("units", [4, 8, 16]), "relu", kernel_regularizer=penalty)
    model = keras.Sequential([keras.Input((2,)), hidden, keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(hp.Float("learning_rate", 1e-3, 1e-1, sampling="log")), "mse")
    return model


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--engine", choices=ENGINES, default="auto")
    parser.add_argument("--tuner", default="random")
    arguments = parser.parse_args()
    random = np.random.default_rng(0)
    table = pd.DataFrame(random.normal(size=(60, 3)), columns=["a", "b", "y"])
    measured = Measured(arguments.trials)
    print(f"{arguments.trials} trials, engine {arguments.engine}, tuner {arguments.tuner}, {arguments.workers} workers")
    print("trials  ms a trial   MB in all", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        tfopt.search.run(
            table, "y", progress=measured, max_trials=arguments.trials, workers=arguments.workers, space=build,
            engine=arguments.engine, tuner=arguments.tuner, baselines="none", seeds=1, epochs=2, holdout=0.3,
            inner_folds=2, out=os.path.join(folder, "run"),
        )  # fmt: skip
    rows = np.array(measured.rows)
    # Trials end in batches: each tenth is what lies between the first ends after its bounds.
    places = np.searchsorted(rows[:, 0], np.linspace(0.1, 1, 10) * rows[-1, 0])
    trials, seconds, memory = rows[places].T
    early = (seconds[4] - seconds[1]) / (trials[4] - trials[1])
    late = (seconds[9] - seconds[6]) / (trials[9] - trials[6])
    added = (memory[9] - memory[4]) / (trials[9] - trials[4])
    print(f"late / early seconds {late / early:.2f}; {added / 1e3:.1f} kB a trial in the second half")
    return int(late > 1.5 * early or added > MOST_BYTES)


if __name__ == "__main__":
    sys.exit(main())
