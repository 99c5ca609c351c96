"""A log that is on disk the moment a step or an epoch ends."""

import json
import os
import time
from pathlib import Path
from typing import Any, TextIO

import keras

from tfopt._arguments import flag
from tfopt._files import as_json
from tfopt._logged import LoggedCallback, plot_series


class RunLog(LoggedCallback):
    """Writes one JSON line a step or an epoch, flushed at once, and goes on where an earlier run stopped.

    What has ended is in the file even if the process is killed a moment later. A new fit with the same path appends;
    a line that was cut in half stays alone on its line and is skipped by `read`. List it after the callbacks whose
    numbers it should keep, such as `GradientNorms`; `tfopt.diagnose` reads the file.

    Every line has `event` (`"begin"`, `"step"`, `"epoch"` or `"end"`), `time` (seconds since 1970), and:
    `begin` the model's name, optimizer and versions; `step` the `step` since this fit began, `epoch`, `batch` and
    `logs`; `epoch` the `epoch`, its `seconds` and `logs`. What is not finite is written `"nan"`, `"inf"` or `"-inf"`,
    since JSON has no number for it.

    Args:
        path: The file, by habit `….jsonl`. Its folder is made.
        steps: Also write a line for every step (for every execution where `steps_per_execution` > 1).

    Raises:
        TypeError: `path` is no path.
        ValueError: `path` is a folder.

    Example:
        ```python
        model = keras.Sequential([keras.layers.Dense(1)])
        model.compile("adam", "mse")
        log = tfopt.callbacks.RunLog("runs/first.jsonl")
        norms = tfopt.callbacks.GradientNorms()
        model.fit(np.ones((8, 2)), np.ones(8), epochs=2, callbacks=[norms, log], verbose=0)
        epochs = [line["logs"] for line in tfopt.callbacks.RunLog.read("runs/first.jsonl") if line["event"] == "epoch"]
        print(len(epochs), "grad_norm" in epochs[0])  # 2 True
        ```
    """

    def __init__(self, path: str | os.PathLike[str], steps: bool = False) -> None:
        super().__init__()
        if not isinstance(path, str | os.PathLike):
            raise TypeError(f"Argument `path` must be the path of a file. Received: path={path!r}.")
        self.path, self.steps = Path(path), flag("steps", steps)
        if self.path.is_dir():
            raise ValueError(f"Argument `path` must be a file. Received a folder: path={str(path)!r}.")
        self._file: TextIO | None = None
        self._epoch, self._step, self._started = 0, 0, 0.0

    def __getstate__(self) -> dict[str, Any]:
        """Copies open the file themselves."""
        return self.__dict__ | {"_model": None, "params": None, "_file": None}

    def on_train_begin(self, logs: Any = None) -> None:
        """Open the file at its end and say which model is trained."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._close()
        self._file = open(self.path, "a+", encoding="utf-8")  # noqa: SIM115 - closed in on_train_end
        self._step = 0
        if self._is_cut():
            self._file.write("\n")
        optimizer = self.model.optimizer
        self._write(
            "begin",
            model=self.model.name,
            optimizer=None if optimizer is None else type(optimizer).__name__,
            num_parameters=self.model.count_params() if self.model.built else None,
            epochs=(self.params or {}).get("epochs"),
            keras=keras.__version__,
        )

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Start the epoch's clock."""
        self._epoch, self._started = epoch, time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Write a step."""
        if self.steps:
            self._write("step", step=self._step, epoch=self._epoch, batch=batch, logs=dict(logs or {}))
        self._step += 1

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Write an epoch."""
        seconds = time.perf_counter() - self._started
        self._write("epoch", epoch=epoch, seconds=round(seconds, 6), logs=dict(logs or {}))

    def on_train_end(self, logs: Any = None) -> None:
        """Close the file."""
        self._write("end")
        self._close()

    def _is_cut(self) -> bool:
        with open(self.path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            if not size:
                return False
            file.seek(size - 1)
            return file.read(1) != b"\n"

    def _write(self, event: str, **values: Any) -> None:
        if self._file is None:
            raise RuntimeError("RunLog writes what `model.fit` does; pass it to `fit(callbacks=[...])`.")
        line = {"event": event, "time": round(time.time(), 3)} | as_json(values, non_finite=str)
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def __del__(self) -> None:
        if getattr(self, "_file", None) is not None:  # fit raised, so on_train_end never came
            self._close()

    def plot(self, ax: Any = None) -> Any:
        """Draw the numbers of the last training in the file, by epoch; return the axes."""
        series: dict[str, dict[int, float]] = {}
        for line in self.read(self.path) if self.path.exists() else ():
            if line["event"] == "begin":
                series = {}
            elif line["event"] == "epoch":
                numbers = {key: value for key, value in line["logs"].items() if isinstance(value, int | float)}
                for key, value in numbers.items():
                    series.setdefault(key, {})[line["epoch"]] = value
        return plot_series(series, ax) if series else super().plot(ax)

    @staticmethod
    def read(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
        """The whole lines of a log, numbers that are not finite included; lines cut by a crash are left out."""
        lines = []
        with open(path, encoding="utf-8") as file:
            for text in file:
                try:
                    line = json.loads(text)
                except json.JSONDecodeError:
                    continue
                if isinstance(line, dict) and "event" in line:
                    if isinstance(line.get("logs"), dict):
                        line["logs"] = {key: _number(value) for key, value in line["logs"].items()}
                    lines.append(line)
        return lines


def _number(value: Any) -> Any:
    return float(value) if value in ("nan", "inf", "-inf") else value
