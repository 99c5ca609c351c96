"""Hyperband: many configurations for a few epochs, the better ones for more, each going on where it stopped."""

import math
from typing import Any

import keras_tuner

from tfopt._arguments import count_argument
from tfopt.search.tuners import space
from tfopt.search.tuners.oracle import BatchOracle, BatchTrial, ScoreEpoch, has_ended, number_of
from tfopt.search.tuners.tuner import Tuner


class HyperbandOracle(BatchOracle, keras_tuner.oracles.HyperbandOracle):
    """Proposes brackets of rungs: the first rungs of all brackets, then the second ones, and so on.

    A rung is promoted once all its trials have ended. If the space holds fewer configurations than a bracket asks
    for, its rungs shrink in proportion; if trials fail, the others are still promoted. Where each trial stands is
    read from the trials themselves.

    Args:
        objective: As `BatchOracle`'s.
        max_epochs: Epochs of a trial that is promoted to the end.
        factor: A rung keeps one in `factor` and trains it `factor` times as long.
        hyperband_iterations: How often the whole set of brackets is run.
        **kwargs: Those of `BatchOracle` and of `keras_tuner.oracles.HyperbandOracle`.

    Raises:
        TypeError: A count is no whole number.
        ValueError: An argument is out of its range.

    Example:
        ```python
        oracle = tfopt.search.HyperbandOracle("val_accuracy", max_epochs=27, seed=1)
        print(oracle.max_epochs, oracle.factor)  # 27 3
        ```
    """

    kind = "Hyperband"

    def __init__(
        self,
        objective: Any = None,
        max_epochs: int = 100,
        factor: int = 3,
        hyperband_iterations: int = 1,
        **kwargs: Any,
    ):
        count_argument(max_epochs, "Hyperband", "max_epochs")
        count_argument(factor, "Hyperband", "factor", 2)
        count_argument(hyperband_iterations, "Hyperband", "hyperband_iterations")
        super().__init__(
            objective, max_epochs=max_epochs, factor=factor, hyperband_iterations=hyperband_iterations, **kwargs
        )

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Return a new or a promoted trial's values, that a rung must end first, or that the search is over."""
        top = self.num_brackets() - 1
        iteration = 0
        while iteration < self.hyperband_iterations:
            trials = [trial for trial in self.trials.values() if _of(trial, "iteration") == iteration]
            for bracket in range(top, -1, -1):
                if len(_rung(trials, bracket, 0)) < self.size(bracket, 0):
                    values = self._fresh(self.number_for(trial_id), _rung(trials, bracket, 0))
                    if values is not None:
                        return self._running(values, iteration, bracket, 0, None)
            if not trials:
                return {"status": "STOPPED"}  # every configuration was trained to the end
            for number in range(1, top + 1):
                if not all(has_ended(trial) for trial in trials if _of(trial, "round") < number):
                    return {"status": "IDLE"}
                for bracket in range(top, number - 1, -1):
                    promoted = self._promotion(trials, bracket, number)
                    if promoted is not None:
                        return self._running(promoted.hyperparameters.values, iteration, bracket, number, promoted)
            if not all(has_ended(trial) for trial in trials):
                return {"status": "IDLE"}
            iteration += 1
        return {"status": "STOPPED"}

    def _fresh(self, number: int, rung: list[BatchTrial]) -> space.Values | None:
        values = self.random_values(number)
        if values is None:
            # All was tried: another bracket's configuration may be trained for longer here, unless it was to the end.
            done = [trial for trial in self.trials.values() if _of(trial, "epochs") >= self.max_epochs]
            values = self.random_values(number, {space.key(t.hyperparameters.values) for t in [*rung, *done]})
        return values

    def _promotion(self, trials: list[BatchTrial], bracket: int, number: int) -> BatchTrial | None:
        """Return the best trial of the rung below that is still to be promoted; None if there is none."""
        rung, below = _rung(trials, bracket, number), _rung(trials, bracket, number - 1)
        first = len(_rung(trials, bracket, 0))
        room = min(self.size(bracket, number), max(1, math.ceil(first * self.factor**-number)))
        if len(rung) >= room:
            return None
        gone = {trial.hyperparameters.values["tuner/trial_id"] for trial in rung}
        sign = -1 if self.objective.direction == "max" else 1
        left = [trial for trial in below if trial.status == "COMPLETED" and trial.trial_id not in gone]
        return min(left, key=lambda trial: (sign * trial.score, number_of(trial)), default=None)

    def _running(
        self, values: space.Values, iteration: int, bracket: int, number: int, past: BatchTrial | None
    ) -> dict[str, Any]:
        values = {name: value for name, value in values.items() if not name.startswith("tuner/")}
        values["tuner/epochs"] = self.epochs(bracket, number)
        values["tuner/initial_epoch"] = 0 if past is None else self.epochs(bracket, number - 1)
        values["tuner/bracket"], values["tuner/round"] = bracket, number
        if past is not None:
            values["tuner/trial_id"] = past.trial_id
        if iteration:
            values["tuner/iteration"] = iteration
        return {"status": "RUNNING", "values": values}

    def may_continue(self, trial: BatchTrial) -> bool:
        """Return whether there is a rung above the trial's."""
        return _of(trial, "epochs") < self.max_epochs

    def continued(self) -> set[str]:
        """Return the trials that may yet be trained on, or are being: whose last state must be kept."""
        parents = {t.hyperparameters.values.get("tuner/trial_id"): t for t in self.trials.values()}
        needed = {past for past, trial in parents.items() if past is not None and not has_ended(trial)}
        latest = max((_of(trial, "iteration") for trial in self.trials.values()), default=0)
        trials = [trial for trial in self.trials.values() if _of(trial, "iteration") == latest]
        wave = max((_of(trial, "round") for trial in trials), default=0)
        for trial in trials:
            # One wave back: a wave larger than a batch is promoted in parts.
            open_end = self.may_continue(trial) and trial.trial_id not in parents and trial.status != "FAILED"
            if open_end and _of(trial, "round") >= wave - 1:
                needed.add(trial.trial_id)
        return needed

    def size(self, bracket: int, number: int) -> int:
        """Return the trials of a rung in a space that is large enough."""
        last = math.ceil(1 + math.log(self.max_epochs, self.factor))
        return math.ceil(last / (bracket + 1) * self.factor ** (bracket - number))

    def epochs(self, bracket: int, number: int) -> int:
        """Return the epoch at which a rung ends."""
        return math.ceil(self.max_epochs / self.factor ** (bracket - number))

    def num_brackets(self) -> int:
        """Return the brackets of an iteration."""
        count = 0
        while self.max_epochs / self.factor**count >= self.min_epochs:
            count += 1
        return count

    def get_state(self) -> dict:
        """Return what KerasTuner's oracle reads, its brackets included."""
        trials = sorted(self.trials.values(), key=number_of)
        iteration = max((_of(trial, "iteration") for trial in trials), default=0)
        trials = [trial for trial in trials if _of(trial, "iteration") == iteration]
        current = min((_of(trial, "bracket") for trial in trials), default=self.num_brackets() - 1)
        brackets = [
            {
                "bracket_num": bracket,
                "rounds": [
                    [
                        {"past_id": trial.hyperparameters.values.get("tuner/trial_id"), "id": trial.trial_id}
                        for trial in _rung(trials, bracket, number)
                    ]
                    for number in range(bracket + 1)
                ],
            }
            for bracket in range(self.num_brackets() - 1, current - 1, -1)
        ]
        state = {"brackets": brackets, "current_bracket": current, "current_iteration": iteration}
        return {**super().get_state(), **state}


def _of(trial: BatchTrial, name: str) -> int:
    return trial.hyperparameters.values.get(f"tuner/{name}", 0)


def _rung(trials: list[BatchTrial], bracket: int, number: int) -> list[BatchTrial]:
    return [trial for trial in trials if _of(trial, "bracket") == bracket and _of(trial, "round") == number]


class Hyperband(Tuner):
    """Trains many configurations briefly and the better ones longer; stands in for `keras_tuner.Hyperband`.

    Where to use it: when a few epochs already tell bad configurations from good ones. A promoted trial goes on from
    its own last epoch: weights, optimizer and learning-rate schedule are where they were. (A schedule must be made
    for `max_epochs`.)

    Args:
        hypermodel: `build(hp)` returning a compiled model, or a `keras_tuner.HyperModel`.
        objective: A log's name such as `"val_accuracy"`, a `keras_tuner.Objective`, or a list of these.
        max_epochs: Epochs of a trial that is promoted to the end.
        factor: A rung keeps one in `factor` and trains it `factor` times as long.
        hyperband_iterations: How often the whole set of brackets is run.
        seed: Integer >= 0; the same one gives the same configurations, initial weights and scores.
        hyperparameters: A space declared beforehand.
        tune_new_entries: Whether to tune what `build` declares beyond `hyperparameters`.
        allow_new_entries: Whether `build` may declare anything beyond `hyperparameters`.
        max_retries_per_trial: Further attempts, with other seeds, of a trial that fails.
        max_consecutive_failed_trials: Failures of the first trials that end the search if none has completed.
        score_epoch: `"best"` scores a trial by its best epoch, as KerasTuner does; `"last"` by its last one.
        **kwargs: Those of `Tuner`: `directory`, `project_name`, `overwrite`, `executions_per_trial`, `engine` …

    Raises:
        ValueError: It is not known whether the objective should be high or low, or `factor` is below 2.

    Example:
        ```python
        def build(hp):
            model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
            model.compile(keras.optimizers.SGD(hp.Float("learning_rate", 1e-3, 0.1, sampling="log")), "mse")
            return model

        x, y = np.ones((16, 2)), np.ones(16)
        tuner = tfopt.search.Hyperband(build, "val_loss", max_epochs=3, seed=1, directory="runs", project_name="mine")
        tuner.search(x, y, validation_split=0.25, verbose=0)
        print(len(tuner.oracle.trials))  # 6
        print(tuner.get_best_hyperparameters()[0].values["tuner/epochs"])  # 3
        ```

    References:
        - Li, Jamieson, DeSalvo, Rostamizadeh, Talwalkar (2018), "Hyperband: a novel bandit-based approach to
          hyperparameter optimization", https://www.jmlr.org/papers/v18/16-558.html
    """

    def __init__(
        self,
        hypermodel: Any = None,
        objective: Any = None,
        max_epochs: int = 100,
        factor: int = 3,
        hyperband_iterations: int = 1,
        seed: int | None = None,
        hyperparameters: keras_tuner.HyperParameters | None = None,
        tune_new_entries: bool = True,
        allow_new_entries: bool = True,
        max_retries_per_trial: int = 0,
        max_consecutive_failed_trials: int | None = 3,
        score_epoch: ScoreEpoch = "best",
        **kwargs: Any,
    ):
        oracle = HyperbandOracle(
            objective=objective,
            max_epochs=max_epochs,
            factor=factor,
            hyperband_iterations=hyperband_iterations,
            seed=seed,
            hyperparameters=hyperparameters,
            tune_new_entries=tune_new_entries,
            allow_new_entries=allow_new_entries,
            max_retries_per_trial=max_retries_per_trial,
            max_consecutive_failed_trials=max_consecutive_failed_trials,
            score_epoch=score_epoch,
        )
        super().__init__(oracle, hypermodel, **kwargs)
