"""Refits of a fold's chosen configuration on all its training rows, scored on its test rows."""

import functools
import hashlib
import json
import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tfopt._files import replace
from tfopt.comparison.folds import Split
from tfopt.errors import one_line
from tfopt.search.coding import SplitCoder
from tfopt.search.fitting import Fitting, Task, scaling_of
from tfopt.search.fold_study import fit_facts, seed_of
from tfopt.search.journal import Journal, Record
from tfopt.search.loop import Trainer
from tfopt.search.tuners.oracle import Member
from tfopt.training.fits import FitResult

_log = logging.getLogger("tfopt")


class Refits:
    """Fits of configurations on whole folds, each from several seeds, kept in the journal.

    Args:
        fitting: Makes the fits.
        coder: Encodes the rows to predict.
        journal: Holds what is finished.
        folder: The run folder, where predictions are written.
        seed: The search's seed.
        num_outputs: Columns of a prediction.
        score: Returns the objective of a prediction for rows of the table.
        note: Told of every refit that fails.
    """

    def __init__(
        self,
        fitting: Fitting,
        coder: SplitCoder,
        journal: Journal,
        folder: Path,
        seed: int,
        num_outputs: int,
        score: Callable[[np.ndarray, np.ndarray], float],
        note: Callable[[str], None],
    ):
        self._fitting, self._coder, self._journal, self._folder = fitting, coder, journal, folder
        self._seed, self._num_outputs, self._score, self._note = seed, num_outputs, score, note

    def find(self, key: int | str, values: dict[str, Any], num_seeds: int = 1) -> Record | None:
        """Return the record of a fold's refits of this configuration, if there are as many."""
        found = self._journal.find("refit", fold=key, values=values)
        return found if found is not None and len(found["scores"]) >= num_seeds else None

    def submit(
        self,
        trainer: Trainer,
        key: int | str,
        split: Split,
        values: dict[str, Any],
        num_seeds: int,
        epochs: int,
        done: Callable[[], None],
    ) -> None:
        """Have a configuration trained on a fold's rows with several seeds; `done` is called when its line is written.

        What the journal holds is not trained again.
        """
        if self.find(key, values, num_seeds) is not None:
            done()
            return
        tasks = [Task(split, seed_of(self._seed, "refit", index), epochs) for index in range(num_seeds)]
        members = [Member(task.seed) for task in tasks]
        predictions = np.full((num_seeds, len(split.test), self._num_outputs), np.nan)
        last: dict[str, Any] = {"left": num_seeds, "predict_seconds": math.nan}

        def ended(position: int, result: FitResult) -> None:
            fits[position].ended(result)
            prediction = self._fitting.prediction(values, tasks[position], result)
            if prediction is None:
                self._say(key, result.failure or "it predicted nothing")
            else:
                predictions[position] = prediction
                if math.isnan(last["predict_seconds"]):
                    last["predict_seconds"] = self._seconds_to_predict(values, tasks[position], result)
            result.state = result.outputs = None
            last["left"] -= 1
            if not last["left"]:
                self._write(key, split, values, members, predictions, last["predict_seconds"])
                done()

        try:
            fits = [self._fitting.fit(values, task, member) for task, member in zip(tasks, members, strict=True)]
        except Exception as error:
            _log.info("a refit could not be built", exc_info=True)
            self._say(key, error)
            self._write(key, split, values, [], predictions, math.nan)
            done()
        else:
            trainer.submit(fits, ended)

    def _write(
        self,
        key: int | str,
        split: Split,
        values: dict[str, Any],
        members: list[Member],
        predictions: np.ndarray,
        predict_seconds: float,
    ) -> None:
        digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:8]
        path = Path("predictions") / f"network-fold-{key}-{digest}.npy"
        replace(self._folder / path, functools.partial(np.save, arr=predictions))
        self._journal.append(
            {
                "kind": "refit",
                "fold": key,
                "values": values,
                "scores": [self._score(prediction, split.test) for prediction in predictions],
                "fit_seconds": float(np.mean([member.seconds for member in members])) if members else math.nan,
                "predict_seconds": predict_seconds,
                "predictions": path.as_posix(),
                "fits": [fit_facts(member) for member in members],
            }
        )

    def _seconds_to_predict(self, values: dict[str, Any], task: Task, result: FitResult) -> float:
        model = self._fitting.trained(values, task, result)
        features = self._coder.features(task.split.train, task.split.test, scaling_of(values))[1]
        started = time.perf_counter()
        model(features, training=False)
        return time.perf_counter() - started

    def _say(self, key: int | str, error: Exception | str) -> None:
        self._note(f"A refit of the network in fold {key} failed: {one_line(error)}")
