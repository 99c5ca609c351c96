"""Random search that tries every configuration of a finite space before it says that none is left."""

from typing import Any

import keras_tuner

from tfopt.search.tuners.oracle import BatchOracle, ScoreEpoch
from tfopt.search.tuners.tuner import Tuner


class RandomSearchOracle(BatchOracle, keras_tuner.oracles.RandomSearchOracle):
    """Proposes configurations at random, each once.

    Use it with `tfopt.search.Tuner`; `tfopt.search.RandomSearch` is the two together.

    Args:
        objective: As `BatchOracle`'s.
        max_trials: Trials at most; None goes on until a finite space is exhausted.
        **kwargs: Those of `BatchOracle` and of `keras_tuner.oracles.RandomSearchOracle`.

    Example:
        ```python
        oracle = tfopt.search.RandomSearchOracle("val_loss", max_trials=20, seed=1)
        print(oracle.max_trials, oracle.objective.direction)  # 20 min
        ```
    """

    kind = "RandomSearch"

    def __init__(self, objective: Any = None, max_trials: int | None = 10, **kwargs: Any):
        super().__init__(objective, max_trials=max_trials, **kwargs)

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Return the trial's values, or that the space is exhausted."""
        values = self.random_values(self.number_for(trial_id))
        return {"status": "STOPPED"} if values is None else {"status": "RUNNING", "values": values}


class RandomSearch(Tuner):
    """Trains configurations drawn at random from the space; stands in for `keras_tuner.RandomSearch`.

    Where to use it: as the first search of a space, and as the one that the cleverer ones must beat. All trials are
    independent, so all are trained together.

    Args:
        hypermodel: `build(hp)` returning a compiled model, or a `keras_tuner.HyperModel`.
        objective: A log's name such as `"val_accuracy"`, a `keras_tuner.Objective`, or a list of these.
        max_trials: Configurations to try at most.
        seed: Integer >= 0; the same one gives the same configurations, initial weights and scores.
        hyperparameters: A space declared beforehand.
        tune_new_entries: Whether to tune what `build` declares beyond `hyperparameters`.
        allow_new_entries: Whether `build` may declare anything beyond `hyperparameters`.
        max_retries_per_trial: Further attempts, with other seeds, of a trial that fails.
        max_consecutive_failed_trials: Failures of the first trials that end the search if none has completed.
        score_epoch: `"best"` scores a trial by its best epoch, as KerasTuner does; `"last"` by its last one, which
            does not flatter a noisy curve.
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
        tuner = tfopt.search.RandomSearch(build, "val_loss", max_trials=3, seed=1, directory="runs",
            project_name="mine")
        tuner.search(x, y, validation_split=0.25, epochs=2, verbose=0)
        print(len(tuner.oracle.trials))  # 3
        print(list(tuner.get_best_hyperparameters()[0].values))  # ['learning_rate']
        ```

    References:
        - Bergstra, Bengio (2012), "Random search for hyper-parameter optimization",
          https://www.jmlr.org/papers/v13/bergstra12a.html
    """

    def __init__(
        self,
        hypermodel: Any = None,
        objective: Any = None,
        max_trials: int = 10,
        seed: int | None = None,
        hyperparameters: keras_tuner.HyperParameters | None = None,
        tune_new_entries: bool = True,
        allow_new_entries: bool = True,
        max_retries_per_trial: int = 0,
        max_consecutive_failed_trials: int | None = 3,
        score_epoch: ScoreEpoch = "best",
        **kwargs: Any,
    ):
        oracle = RandomSearchOracle(
            objective=objective,
            max_trials=max_trials,
            seed=seed,
            hyperparameters=hyperparameters,
            tune_new_entries=tune_new_entries,
            allow_new_entries=allow_new_entries,
            max_retries_per_trial=max_retries_per_trial,
            max_consecutive_failed_trials=max_consecutive_failed_trials,
            score_epoch=score_epoch,
        )
        super().__init__(oracle, hypermodel, **kwargs)
