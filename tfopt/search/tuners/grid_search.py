"""Grid search in a fixed order that can be taken up again at any point."""

from collections.abc import Iterator
from typing import Any

import keras_tuner

from tfopt._arguments import count_argument
from tfopt.search.tuners import space
from tfopt.search.tuners.oracle import BatchOracle, ScoreEpoch
from tfopt.search.tuners.tuner import Tuner


class GridSearchOracle(BatchOracle, keras_tuner.oracles.GridSearchOracle):
    """Proposes every configuration of a grid once, the defaults first, the last hyperparameter changing fastest.

    Use it with `tfopt.search.Tuner`; `tfopt.search.GridSearch` is the two together.

    Args:
        objective: As `BatchOracle`'s.
        max_trials: Trials at most; None tries all.
        grid_points: Values of a range that is too fine to be tried whole, its two ends among them.
        **kwargs: Those of `BatchOracle` and of `keras_tuner.oracles.GridSearchOracle`.

    Raises:
        TypeError: A count is no whole number.
        ValueError: An argument is out of its range.

    Example:
        ```python
        oracle = tfopt.search.GridSearchOracle("val_loss", seed=1)
        print(oracle.max_trials)  # None: every configuration
        ```
    """

    kind = "GridSearch"

    def __init__(
        self,
        objective: Any = None,
        max_trials: int | None = None,
        *,
        grid_points: int = space.GRID_POINTS,
        **kwargs: Any,
    ):
        count_argument(grid_points, "GridSearch", "grid_points", 2)
        super().__init__(objective, max_trials=max_trials, **kwargs)
        self.grid_points = grid_points
        self._known = -1
        self._rest: Iterator[space.Values] = iter(())

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Return the next configuration, or that there is none."""
        tried = self._tried_by_names()
        for restart in (len(self.hyperparameters.space) != self._known, True):
            if restart:
                # A build declared something new, or a trial that has ended did, so that it stands for fewer runs.
                self._known = len(self.hyperparameters.space)
                self._rest = space.configurations(
                    self.hyperparameters.space, lambda parameter: space.grid(parameter, self.grid_points)
                )
            values = next((values for values in self._rest if not _is_among(values, tried)), None)
            if values is not None:
                return {"status": "RUNNING", "values": values}
        return {"status": "IDLE" if self.ongoing_trials or self.waiting else "STOPPED"}

    def _tried_by_names(self) -> dict[frozenset[str], set[space.Key]]:
        """Return the configurations of all trials, by the hyperparameters that each knew of."""
        tried: dict[frozenset[str], set[space.Key]] = {}
        for trial in self.trials.values():
            values = trial.hyperparameters.values
            tried.setdefault(frozenset(values), set()).add(space.key(values))
        return tried


def _is_among(values: space.Values, tried: dict[frozenset[str], set[space.Key]]) -> bool:
    """Return whether a trial had these values of all that it knew of: what it never asked for cannot change it."""
    return any(
        names <= values.keys() and space.key({name: values[name] for name in names}) in keys
        for names, keys in tried.items()
    )


class GridSearch(Tuner):
    """Trains every configuration of a grid; stands in for `keras_tuner.GridSearch`.

    Where to use it: on a handful of choices that must all be seen. A float without a step gives `grid_points` values
    from one end of its range to the other.

    Args:
        hypermodel: `build(hp)` returning a compiled model, or a `keras_tuner.HyperModel`.
        objective: A log's name such as `"val_accuracy"`, a `keras_tuner.Objective`, or a list of these.
        max_trials: Configurations to try at most; None tries all.
        seed: Integer >= 0; the same one gives the same initial weights and scores.
        hyperparameters: A space declared beforehand.
        tune_new_entries: Whether to tune what `build` declares beyond `hyperparameters`.
        allow_new_entries: Whether `build` may declare anything beyond `hyperparameters`.
        max_retries_per_trial: Further attempts, with other seeds, of a trial that fails.
        max_consecutive_failed_trials: Failures of the first trials that end the search if none has completed.
        score_epoch: `"best"` scores a trial by its best epoch, as KerasTuner does; `"last"` by its last one.
        grid_points: Values of a range that is too fine to be tried whole.
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
        tuner = tfopt.search.GridSearch(build, "val_loss", max_trials=3, directory="runs", project_name="mine")
        tuner.search(x, y, validation_split=0.25, epochs=2, verbose=0)
        print(len(tuner.oracle.trials))  # 3
        print(list(tuner.get_best_hyperparameters()[0].values))  # ['learning_rate']
        ```
    """

    def __init__(
        self,
        hypermodel: Any = None,
        objective: Any = None,
        max_trials: int | None = None,
        seed: int | None = None,
        hyperparameters: keras_tuner.HyperParameters | None = None,
        tune_new_entries: bool = True,
        allow_new_entries: bool = True,
        max_retries_per_trial: int = 0,
        max_consecutive_failed_trials: int | None = 3,
        score_epoch: ScoreEpoch = "best",
        grid_points: int = space.GRID_POINTS,
        **kwargs: Any,
    ):
        oracle = GridSearchOracle(
            grid_points=grid_points,
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
