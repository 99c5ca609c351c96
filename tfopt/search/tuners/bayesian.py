"""Bayesian search: learn from the trials so far where to look next."""

import math
from typing import Any

import keras_tuner
import numpy as np
from scipy.stats import qmc

from tfopt._arguments import count_argument, number_argument
from tfopt.search.tuners import space
from tfopt.search.tuners.gaussian_process import Coding, suggest
from tfopt.search.tuners.oracle import BatchOracle, ScoreEpoch, has_ended, number_of, was_given
from tfopt.search.tuners.tuner import Tuner

BATCH_TRIALS = 4


class BayesianOptimizationOracle(BatchOracle, keras_tuner.oracles.BayesianOptimizationOracle):
    """Proposes well-spread configurations first, then those that promise most by what is known, in small batches.

    Trials that were put into `trials` with a score count among those before the first one that learns.

    Args:
        objective: As `BatchOracle`'s.
        max_trials: Trials at most; None goes on until a finite space is exhausted.
        num_initial_points: Trials before the first one that learns; by default three for each hyperparameter, but
            at most a third of `max_trials`, and three at the least.
        alpha: Variance of the scores' noise at the least, in units of the scores' variance.
        beta: Standard deviations that the lower confidence bound lies below the mean, as in KerasTuner; None proposes
            by expected improvement instead.
        batch_trials: Trials proposed before the scores of the first of them are known.
        **kwargs: Those of `BatchOracle` and of `keras_tuner.oracles.BayesianOptimizationOracle`.

    Raises:
        TypeError: A count is no whole number.
        ValueError: An argument is out of its range.

    Example:
        ```python
        oracle = tfopt.search.BayesianOptimizationOracle("val_accuracy", max_trials=20, seed=1)
        print(oracle.max_trials, oracle.objective.direction)  # 20 max
        ```
    """

    kind = "BayesianOptimization"

    def __init__(
        self,
        objective: Any = None,
        max_trials: int | None = 10,
        num_initial_points: int | None = None,
        alpha: float = 1e-4,
        beta: float | None = None,
        *,
        batch_trials: int = BATCH_TRIALS,
        **kwargs: Any,
    ):
        count_argument(batch_trials, self.kind, "batch_trials")
        if num_initial_points is not None:
            count_argument(num_initial_points, self.kind, "num_initial_points")
        number_argument(alpha, self.kind, "alpha", 0.0)
        if beta is not None:
            number_argument(beta, self.kind, "beta", 0.0)
        super().__init__(
            objective, max_trials=max_trials, num_initial_points=num_initial_points, alpha=alpha, beta=beta, **kwargs
        )
        self.batch_trials = batch_trials

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Return the trial's values, that its batch must wait for the one before, or that the space is exhausted."""
        number = self.number_for(trial_id)
        coding = Coding(self.hyperparameters.space)
        given = [trial for trial in self.trials.values() if was_given(trial)]
        initial = max(0, self.initial_trials(coding.dimensions) - len(given))
        start = initial + (number - initial) // self.batch_trials * self.batch_trials
        proposed = [trial for trial in self.trials.values() if not was_given(trial)]
        before = [trial for trial in proposed if number_of(trial) < start]
        if number >= initial and not all(map(has_ended, before)):
            return {"status": "IDLE"}
        known = sorted([*given, *before], key=number_of)
        if number < initial or not known:
            values = self._spread(coding, number, max(initial, number + 1))
        else:
            sign = -1 if self.objective.direction == "max" else 1
            values = suggest(
                coding,
                [trial.hyperparameters.values for trial in known],
                np.array([math.nan if trial.score is None else sign * trial.score for trial in known]),
                [trial.hyperparameters.values for trial in proposed if start <= number_of(trial) < number],
                self.tried(),
                self.alpha,
                np.random.default_rng([self.seed, number]),
                self.beta,
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


class BayesianOptimization(Tuner):
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
        beta: Standard deviations that the lower confidence bound lies below the mean, as in KerasTuner, which uses 2.6;
            None proposes by expected improvement, which needs no such number.
        seed: Integer >= 0; the same one gives the same configurations, initial weights and scores.
        hyperparameters: A space declared beforehand.
        tune_new_entries: Whether to tune what `build` declares beyond `hyperparameters`.
        allow_new_entries: Whether `build` may declare anything beyond `hyperparameters`.
        max_retries_per_trial: Further attempts, with other seeds, of a trial that fails.
        max_consecutive_failed_trials: Failures of the first trials that end the search if none has completed.
        score_epoch: `"best"` scores a trial by its best epoch, as KerasTuner does; `"last"` by its last one.
        batch_trials: Trials trained together. Each believes the process's prediction for those before it in the
            batch; 1 waits for every score.
        **kwargs: Those of `Tuner`: `directory`, `project_name`, `overwrite`, `executions_per_trial`, `engine` …

    Raises:
        ValueError: It is not known whether the objective should be high or low.

    Example:
        ```python
        def build(hp):
            model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
            model.compile(keras.optimizers.SGD(hp.Float("learning_rate", 1e-3, 0.1, sampling="log")), "mse")
            return model

        x, y = np.ones((16, 2)), np.ones(16)
        tuner = tfopt.search.BayesianOptimization(build, "val_loss", max_trials=4, seed=1, directory="runs",
            project_name="mine")
        tuner.search(x, y, validation_split=0.25, epochs=2, verbose=0)
        print(len(tuner.oracle.trials))  # 4
        print(list(tuner.get_best_hyperparameters()[0].values))  # ['learning_rate']
        ```

    References:
        - Snoek, Larochelle, Adams (2012), "Practical Bayesian optimization of machine learning algorithms",
          https://arxiv.org/abs/1206.2944
    """

    def __init__(
        self,
        hypermodel: Any = None,
        objective: Any = None,
        max_trials: int = 10,
        num_initial_points: int | None = None,
        alpha: float = 1e-4,
        beta: float | None = None,
        seed: int | None = None,
        hyperparameters: keras_tuner.HyperParameters | None = None,
        tune_new_entries: bool = True,
        allow_new_entries: bool = True,
        max_retries_per_trial: int = 0,
        max_consecutive_failed_trials: int | None = 3,
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
