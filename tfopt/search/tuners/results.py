"""What a `run_trial` or `HyperModel.fit` of the user's own may return, as histories."""

from typing import Any

import keras
import keras_tuner
import numpy as np

from tfopt.training.fits import history_value


def histories_of(results: Any, objective: keras_tuner.Objective, function: str) -> list[dict[str, list[Any]]]:
    """Return a history for each execution.

    Raises:
        keras_tuner.errors.FatalTypeError: It is something else.
        keras_tuner.errors.FatalValueError: A dict lacks the objective.
    """
    if isinstance(results, list | tuple) and results:
        return [history for result in results for history in histories_of(result, objective, function)]
    if isinstance(results, int | float | np.number):
        return [{objective.name: [float(results)]}]
    if results is None:
        raise keras_tuner.errors.FatalTypeError(
            f"The return value of {function} must be the score or a dict of metrics. Received: None. Did you forget "
            "to return it?"
        )
    is_dict, is_history = isinstance(results, dict), isinstance(results, keras.callbacks.History)
    names = getattr(objective, "name_to_direction", [objective.name])
    missing = [name for name in names if is_dict and name not in results]
    if (missing or is_history) and objective.name == "default_objective":
        raise keras_tuner.errors.FatalTypeError(
            f"Expected the return value of {function} to be a single float when `objective` is left unspecified. "
            f"Received: {results!r}. Pass `objective` to the tuner, or return the number to minimise."
        )
    if missing:
        raise keras_tuner.errors.FatalValueError(
            f"Expected the dict that {function} returns to hold the objective {missing[0]!r}. Received: {results!r}. "
            "Return it under that name, or pass another `objective` to the tuner."
        )
    if is_dict:
        return [{name: [history_value(value)] for name, value in results.items()}]
    if is_history:
        return [{name: [history_value(value) for value in values] for name, values in results.history.items()}]
    raise keras_tuner.errors.FatalTypeError(
        f"Expected the return value of {function} to be one of float, dict, keras.callbacks.History, or a list of "
        f"these. Received: {results!r}."
    )
