"""One oracle for each fold: it proposes hyperparameters and is told scores, which are always to be maximised.

Resuming does not rely on its project folder: the same oracle, told the same scores, proposes the same again.
"""

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras_tuner

from tfopt.errors import UserError, nearest
from tfopt.search.config import DEFAULT_TRIALS, SearchConfig
from tfopt.search.problem import Problem
from tfopt.search.spaces import SPACES, Space
from tfopt.search.tries import parsed
from tfopt.search.tuners import BayesianOptimizationOracle, GridSearchOracle, HyperbandOracle, RandomSearchOracle
from tfopt.search.tuners import space as spaces
from tfopt.search.tuners.files import write_state
from tfopt.search.tuners.oracle import BatchOracle
from tfopt.search.user_space import check_reloads
from tfopt.training.timeout import limited

_log = logging.getLogger("tfopt")

OBJECTIVE = keras_tuner.Objective("score", direction="max")
LARGEST_GRID = 1000


def discover(space: Space, problem: Problem, timeout: float = math.inf) -> keras_tuner.HyperParameters:
    """Return the hyperparameters that the space declares, conditional ones included, at their defaults.

    A space that raises, or takes longer than the timeout, still declares what came before: its trials will fail and
    say why.

    Raises:
        UserError: A learning rate may be negative, or a network could not be loaded again once it is saved.
    """

    def build(hp: keras_tuner.HyperParameters) -> None:
        try:
            with limited(timeout):
                model = space.build(hp, problem)
        except Exception:
            _log.debug("the space raised while it was explored", exc_info=True)
            return
        if space.name not in SPACES:
            check_reloads(model, space.name)

    hp = keras_tuner.HyperParameters()
    spaces.explore(hp, build)
    _check_learning_rates(hp)
    return hp


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


def known_values(
    hp: keras_tuner.HyperParameters, config: SearchConfig, liked: Sequence[str] = ()
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the configurations to be tried first, each once and none the default, and what is to be said of them.

    Args:
        hp: The space, as `discover` gave it.
        config: Its `tries` must fit the space.
        liked: Those of an earlier run; what does not fit the space is left at its default, and said.

    Raises:
        UserError: A try names what the space does not hold, or there are more than trials.
    """
    known = {parameter.name for parameter in hp.space}
    found, left_out = [], set()
    for text in config.tries:
        texts = parsed(text)
        for name in texts:
            if name not in known:
                raise UserError(
                    f"--try {text!r}: {config.space} has no hyperparameter {name!r}.{nearest(name, known)} "
                    f"It has: {', '.join(sorted(known))}."
                )
        try:
            values = spaces.read(hp.space, texts)
        except ValueError as error:
            raise UserError(f"--try {text!r}: {error}") from None
        if idle := [name for name in texts if name not in values]:
            deciding = {c.name for p in hp.space if p.name == idle[0] for c in p.conditions} & values.keys()
            others = ", ".join(f"{name}={values[name]}" for name in sorted(deciding))
            raise UserError(f"--try {text!r}: {idle[0]!r} is not used with {others}. Change that, or leave it out.")
        found.append(values)
    for text in liked:
        texts = {name: value for name, value in parsed(text).items() if name in known}
        left_out |= parsed(text).keys() - texts.keys()
        for parameter in hp.space:
            try:
                spaces.read([parameter], texts)
            except ValueError:
                left_out.add(f"{parameter.name}={texts.pop(parameter.name)}")
        found.append(spaces.read(hp.space, texts))
    default = default_values(hp)
    distinct = [v for place, v in enumerate(found) if v != default and v not in found[:place]]
    if config.max_trials is not None and len(distinct) >= config.max_trials:
        raise UserError(
            f"--max-trials {config.max_trials} leaves room for {config.max_trials - 1} beside the default, and "
            f"{len(distinct)} configurations are to be tried first. Give --max-trials {len(distinct) + 1} or more."
        )
    said = []
    if liked:
        said.append(f"tried first: the best of {config.like}, {len(liked)} in all")
    if left_out:
        said.append(f"what {config.space} does not have is at its default there: {', '.join(sorted(left_out))}")
    return distinct, said


def grid_size(hp: keras_tuner.HyperParameters) -> int:
    """Return the number of grid points, conditional hyperparameters counted as if always active; floats as ten."""
    return math.prod(len(spaces.grid(parameter)) for parameter in hp.space)


def check_grid(hp: keras_tuner.HyperParameters, max_trials: int | None) -> None:
    """Raise `UserError` for a grid too large to be meant."""
    if max_trials is None and grid_size(hp) > LARGEST_GRID:
        raise UserError(
            f"the grid of this space has about {grid_size(hp):,} points. "
            "Give --max-trials to try the first of them, or use --space small."
        )


def fold_oracle(
    tuner: str,
    hp: keras_tuner.HyperParameters,
    max_trials: int | None,
    epochs: int,
    seed: int,
    folder: Path,
    first: Sequence[dict[str, Any]] = (),
) -> BatchOracle:
    """Return the oracle of one fold's search.

    Args:
        tuner: `"random"`, `"grid"`, `"bayesian"` or `"hyperband"`.
        hp: The space, as `discover` gave it.
        max_trials: Most trials to propose; None for the tuner's own number. Hyperband proposes as many as it has.
        epochs: Epochs of a full training; Hyperband gives most trials fewer.
        seed: Folds of one seed are proposed the same random trials.
        folder: KerasTuner's project folder for this fold.
        first: Configurations that the oracle proposes first; Hyperband none. What they do not name has its default.
    """
    kwargs: dict[str, Any] = {
        "objective": OBJECTIVE,
        "hyperparameters": hp.copy(),
        "seed": seed,
        # Failures are counted over all folds, by whoever runs them.
        "max_consecutive_failed_trials": 10**9,
    }
    oracle: BatchOracle
    if tuner == "hyperband":
        oracle = HyperbandOracle(max_epochs=epochs, **kwargs)
    elif tuner == "grid":
        oracle = GridSearchOracle(max_trials=max_trials, **kwargs)
    elif tuner == "bayesian":
        initial = max(2, (max_trials or DEFAULT_TRIALS) // 3)
        oracle = BayesianOptimizationOracle(max_trials=max_trials, num_initial_points=initial, batch_trials=1, **kwargs)
    else:
        oracle = RandomSearchOracle(max_trials=max_trials, **kwargs)
    if tuner != "hyperband":
        oracle.first = first
    oracle.place(folder)
    write_state(folder / "tuner0.json", {})  # KerasTuner opens a project folder that has one
    return oracle
