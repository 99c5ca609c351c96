"""One oracle for each fold: it proposes hyperparameters and is told scores, which are always to be maximised.

Resuming does not rely on its project folder: the same oracle, told the same scores, proposes the same again.
"""

import logging
from pathlib import Path
from typing import Any

import keras_tuner
import numpy as np

from tfopt.errors import UserError
from tfopt.search.config import DEFAULT_TRIALS
from tfopt.search.problem import Problem
from tfopt.search.spaces import Space
from tfopt.search.tuners import (
    BayesianOptimizationOracle,
    GridSearchOracle,
    HyperbandOracle,
    RandomSearchOracle,
)
from tfopt.search.tuners import (
    space as spaces,
)

_log = logging.getLogger("tfopt")

OBJECTIVE = keras_tuner.Objective("score", direction="max")
LARGEST_GRID = 1000


def discover(space: Space, problem: Problem) -> keras_tuner.HyperParameters:
    """Return the hyperparameters that the space declares, conditional ones included, at their defaults.

    A space that raises still declares what came before: its trials will fail and say why.

    Raises:
        UserError: A learning rate may be negative.
    """
    hp = keras_tuner.HyperParameters()
    visited: list[Any] = []
    while True:
        try:
            space.build(hp, problem)
        except Exception:
            _log.debug("the space raised while it was explored", exc_info=True)
        visited += [scope for scope in hp.active_scopes if scope not in visited]
        unvisited = [scope for scope in hp.inactive_scopes if scope not in visited]
        if not unvisited:
            break
        for condition in unvisited[0]:
            hp.values[condition.name] = condition.values[0]
        spaces.complete(hp)
        visited.append(unvisited[0])
    defaults = keras_tuner.HyperParameters()
    defaults.merge(hp.space)
    _check_learning_rates(defaults)
    return defaults


def _check_learning_rates(hp: keras_tuner.HyperParameters) -> None:
    for parameter in hp.space:
        name = parameter.name.rsplit("/", 1)[-1]
        if name not in {"learning_rate", "lr"} and not name.endswith("learning_rate"):
            continue
        least = getattr(parameter, "min_value", None)
        values = [least] if least is not None else list(getattr(parameter, "values", []))
        bad = [value for value in values if isinstance(value, int | float) and value < 0]
        if bad:
            raise UserError(f"the space lets {parameter.name!r} be {bad[0]:g}. A learning rate must not be negative.")


def default_values(hp: keras_tuner.HyperParameters) -> dict[str, Any]:
    """Return the default of every active hyperparameter: the family's untuned configuration."""
    return {p.name: p.default for p in hp.space if hp.is_active(p)}


def grid_size(hp: keras_tuner.HyperParameters) -> int:
    """Return the number of grid points, conditional hyperparameters counted as if always active; floats as ten."""
    size = 1
    for parameter in hp.space:
        size *= len(spaces.grid(parameter))
    return size


def check_grid(hp: keras_tuner.HyperParameters, max_trials: int | None) -> None:
    """Raise `UserError` for a grid too large to be meant."""
    if max_trials is None and grid_size(hp) > LARGEST_GRID:
        raise UserError(
            f"the grid of this space has about {grid_size(hp):,} points. "
            "Give --max-trials to try the first of them, or use --space small."
        )


class FoldOracle:
    """One fold's search: `propose` a trial, `tell` its score.

    Args:
        tuner: `"random"`, `"grid"`, `"bayesian"` or `"hyperband"`.
        hp: The space, as `discover` gave it.
        max_trials: Most trials to propose; None for the tuner's own number.
        epochs: Epochs of a full training; Hyperband gives most trials fewer.
        seed: Folds of one seed are proposed the same random trials.
        folder: KerasTuner's project folder for this fold, written anew.
    """

    def __init__(
        self,
        tuner: str,
        hp: keras_tuner.HyperParameters,
        max_trials: int | None,
        epochs: int,
        seed: int,
        folder: Path,
    ):
        self._max_trials = max_trials
        self._num_proposed = 0
        kwargs: dict[str, Any] = {
            "objective": OBJECTIVE,
            "hyperparameters": hp.copy(),
            "seed": seed,
            # A region where the loss diverges is a finding, not a reason to stop.
            "max_consecutive_failed_trials": 10**9,
        }
        self._oracle: keras_tuner.Oracle
        if tuner == "hyperband":
            self._oracle = HyperbandOracle(max_epochs=epochs, **kwargs)
        elif tuner == "grid":
            self._oracle = GridSearchOracle(max_trials=max_trials, **kwargs)
        elif tuner == "bayesian":
            initial = max(2, (max_trials or DEFAULT_TRIALS) // 3)
            self._oracle = BayesianOptimizationOracle(
                max_trials=max_trials, num_initial_points=initial, batch_trials=1, **kwargs
            )
        else:
            self._oracle = RandomSearchOracle(max_trials=max_trials, **kwargs)
        # Only for its side effect of giving the oracle its project folder.
        self._tuner = keras_tuner.engine.base_tuner.BaseTuner(
            self._oracle, directory=str(folder.parent), project_name=folder.name, overwrite=True
        )

    def propose(self) -> keras_tuner.engine.trial.Trial | None:
        """Return the next trial to run, or None when the search is over."""
        if self._max_trials is not None and self._num_proposed >= self._max_trials:
            return None
        trial = self._oracle.create_trial("tfopt")
        if trial.status != "RUNNING":
            return None
        self._num_proposed += 1
        return trial

    def tell(self, trial: keras_tuner.engine.trial.Trial, score: float | None, message: str | None) -> None:
        """Report a finished trial; a score of None is a failure."""
        if score is None or not np.isfinite(score):
            trial.status, trial.message = "FAILED", message
        else:
            self._oracle.update_trial(trial.trial_id, {"score": float(score)})
            trial.status = "COMPLETED"
        self._oracle.end_trial(trial)
        self._tuner.save()
