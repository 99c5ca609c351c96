"""Bayesian search: learn from the trials so far where to look next."""

import math
from typing import Any

import keras_tuner
import numpy as np
from scipy.stats import qmc

from tfopt.search.tuners import space
from tfopt.search.tuners.gaussian_process import Coding, suggest
from tfopt.search.tuners.oracle import BatchOracle, ScoreEpoch
from tfopt.search.tuners.tuner import BatchTuner

BATCH_TRIALS = 4


class BayesianOptimizationOracle(BatchOracle, keras_tuner.oracles.BayesianOptimizationOracle):
    """Proposes well-spread configurations first, then those of the highest expected improvement, in small batches.

    Args:
        batch_trials: Trials proposed before the scores of the first of them are known.
        num_initial_points: Trials before the first one that learns; by default three for each hyperparameter, but
            at most a third of `max_trials`, and three at the least.
        **kwargs: Those of `BatchOracle` and of `keras_tuner.oracles.BayesianOptimizationOracle`.
    """

    def __init__(self, batch_trials: int = BATCH_TRIALS, num_initial_points: int | None = None, **kwargs: Any):
        if not isinstance(batch_trials, int) or batch_trials < 1:
            raise ValueError(f"Argument `batch_trials` must be an integer >= 1. Received: {batch_trials!r}.")
        super().__init__(num_initial_points=num_initial_points, **kwargs)
        self.batch_trials = batch_trials

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Return the trial's values, that its batch must wait for the one before, or that the space is exhausted."""
        number = int(trial_id)
        coding = Coding(self.hyperparameters.space)
        initial = self.initial_trials(coding.dimensions)
        if number < initial:
            values = self._spread(coding, number, initial)
        else:
            start = initial + (number - initial) // self.batch_trials * self.batch_trials
            before = [trial for trial in self.trials.values() if trial.number < start]
            if not all(trial.ended for trial in before):
                return {"status": "IDLE"}
            before.sort(key=lambda trial: trial.number)
            sign = -1 if self.objective.direction == "max" else 1
            values = suggest(
                coding,
                [trial.hyperparameters.values for trial in before],
                np.array([math.nan if trial.score is None else sign * trial.score for trial in before]),
                [trial.hyperparameters.values for trial in self.trials.values() if start <= trial.number < number],
                self.tried(),
                self.alpha,
                np.random.default_rng([self.seed, number]),
            )
        return {"status": "STOPPED"} if values is None else {"status": "RUNNING", "values": values}

    def initial_trials(self, dimensions: int) -> int:
        """Return how many trials are proposed before any score is known."""
        if self.num_initial_points:
            return self.num_initial_points
        return max(3, min(3 * dimensions, (self.max_trials or 10**9) // 3))

    def _spread(self, coding: Coding, number: int, count: int) -> space.Values | None:
        if coding.dimensions:
            points = qmc.Sobol(coding.dimensions, seed=self.seed).random_base2(max(1, math.ceil(math.log2(count))))
            values = coding.values(points[number])
            if space.key(values) not in self.tried():
                return values
        return self.random_values(number)


class BayesianOptimization(BatchTuner):
    """Trains configurations that a Gaussian process expects to improve most; replaces `keras_tuner`'s of this name.

    Where to use it: when a trial is dear and there are few hyperparameters, up to about ten. No configuration is
    tried twice; one that fails counts as the worst one seen, so that the search leaves its region.

    Args:
        hypermodel: `build(hp)` returning a compiled model, or a `keras_tuner.HyperModel`.
        objective: A log's name such as `"val_accuracy"`, a `keras_tuner.Objective`, or a list of these.
        max_trials: Configurations to try at most.
        num_initial_points: Trials before the first one that learns from others; by default three for each
            hyperparameter, at most a third of `max_trials`.
        alpha: Variance of the scores' noise at the least, in units of the scores' variance.
        beta: Unused: kept for KerasTuner's signature. Expected improvement weighs exploration by itself.
        seed: Any integer; the same one gives the same configurations, initial weights and scores.
        hyperparameters: A space declared beforehand.
        tune_new_entries: Whether to tune what `build` declares beyond `hyperparameters`.
        allow_new_entries: Whether `build` may declare anything beyond `hyperparameters`.
        max_retries_per_trial: Further attempts, with other seeds, of a trial that fails.
        max_consecutive_failed_trials: Failures in a row that end the search; None ends it only if all trials fail.
        score_epoch: `"best"` scores a trial by its best epoch, as KerasTuner does; `"last"` by its last one.
        batch_trials: Trials trained together. Each believes the process's prediction for those before it in the
            batch; 1 waits for every score.
        **kwargs: Those of `BatchTuner`: `directory`, `project_name`, `overwrite`, `executions_per_trial`, `engine` …

    Raises:
        ValueError: It is not known whether the objective should be high or low.

    Example:
        >>> tuner = tfopt.search.BayesianOptimization(build, objective="val_loss", max_trials=50, seed=1)
        >>> tuner.search(x, y, validation_split=0.2, epochs=20, verbose=0)

    Reference:
        Snoek, Larochelle and Adams (2012), Practical Bayesian optimization of machine learning algorithms, NIPS.
    """

    def __init__(
        self,
        hypermodel: Any = None,
        objective: Any = None,
        max_trials: int = 10,
        num_initial_points: int | None = None,
        alpha: float = 1e-4,
        beta: float = 2.6,
        seed: int | None = None,
        hyperparameters: keras_tuner.HyperParameters | None = None,
        tune_new_entries: bool = True,
        allow_new_entries: bool = True,
        max_retries_per_trial: int = 0,
        max_consecutive_failed_trials: int | None = None,
        score_epoch: ScoreEpoch = "best",
        batch_trials: int = BATCH_TRIALS,
        **kwargs: Any,
    ):
        oracle = BayesianOptimizationOracle(
            batch_trials=batch_trials,
            objective=objective,
            max_trials=max_trials,
            num_initial_points=num_initial_points,
            alpha=alpha,
            beta=beta,
            seed=seed,
            hyperparameters=hyperparameters,
            tune_new_entries=tune_new_entries,
            allow_new_entries=allow_new_entries,
            max_retries_per_trial=max_retries_per_trial,
            max_consecutive_failed_trials=max_consecutive_failed_trials,
            score_epoch=score_epoch,
        )
        super().__init__(oracle, hypermodel, **kwargs)
