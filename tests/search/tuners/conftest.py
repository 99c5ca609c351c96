"""Objectives that are plain functions of the hyperparameters, for oracles and for whole tuners."""

import contextlib
import io
import warnings
from collections.abc import Callable
from types import SimpleNamespace

import keras_tuner
import numpy as np
import pytest

from tfopt.training.fits import Engine, FitResult


class CurveEngine(Engine):
    """Fits nothing: the score of epoch e is `curve(values, e, seed)`; the state is epochs and seed."""

    name = "curve"

    def __init__(self, curve: Callable[[dict, int, int], float], build=None, x=(0.0,), y=(0.0,), *args, **kwargs):
        super().__init__(build, np.asarray(x), np.asarray(y))
        self.curve, self.requests = curve, []

    def fit(self, requests, callbacks=None, done=None):
        results = []
        for index, request in enumerate(requests):
            self.requests.append(request)
            result = FitResult(engine=self.name)
            try:
                epochs = range(request.initial_epoch, request.epochs)
                scores = [float(self.curve(request.hyperparameters.values, e, request.seed)) for e in epochs]
                result.history = {"loss": [1.0] * len(scores), "score": scores}
                result.state = [np.array([request.epochs, request.seed])]
                result.best_state = result.state
            except ArithmeticError as error:
                result.failure = f"{type(error).__name__}: {error}"
            results.append(result)
            if done is not None:
                done(index, result)
        return results

    def model(self, request, state):
        return SimpleNamespace(get_build_config=dict, save_weights=lambda path: path.write_bytes(b"w"), state=state)


@pytest.fixture
def fake(monkeypatch):
    """Return a function that puts a `CurveEngine` in place of every engine, and gives it back."""

    def install(curve) -> CurveEngine:
        engine = CurveEngine(curve)
        monkeypatch.setattr("tfopt.search.tuners.tuner.engine_for", lambda *args, **kwargs: engine)
        return engine

    return install


@pytest.fixture
def drive(tmp_path):
    """Return a function that runs an oracle, KerasTuner's or ours, on a function of the values."""

    def run(oracle, function, batch=1, limit=10_000) -> list[dict]:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            if type(oracle).__module__.startswith("keras_tuner."):
                warnings.simplefilter("ignore")
            keras_tuner.engine.base_tuner.BaseTuner(
                oracle, directory=str(tmp_path), project_name=f"{type(oracle).__module__}-{id(oracle)}", overwrite=True
            )
            oracle.verbose = 0
            tried = []
            while len(tried) < limit:
                trials = []
                for index in range(batch):
                    trial = oracle.create_trial(f"t{index}")
                    if trial.status != "RUNNING":
                        break
                    trials.append(trial)
                if not trials:
                    return tried
                for trial in trials:
                    values = dict(trial.hyperparameters.values)
                    tried.append(values)
                    value = function(values)
                    if np.isfinite(value):
                        oracle.update_trial(trial.trial_id, {"score": value})
                        trial.status = "COMPLETED"
                    else:
                        trial.status, trial.message = "FAILED", "the score was not finite"
                    oracle.end_trial(trial)
            return tried

    return run
