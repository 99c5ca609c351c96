"""What every schedule asks of its arguments, and how it reads them inside a formula."""

import itertools
import numbers
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
from keras import ops

from tfopt._arguments import is_live
from tfopt.errors import nearest


def compute_dtype() -> str:
    """Return ``"float64"``, in which steps are exact up to 2**53; JAX has only float32 unless it is told otherwise."""
    return "float32" if keras.backend.backend() == "jax" else "float64"


def read(value: Any) -> Any:
    """Return a number, a stack, a tensor or a variable as a tensor of `compute_dtype`."""
    if is_live(value):
        return ops.cast(value, compute_dtype())
    return ops.convert_to_tensor(value, dtype=compute_dtype())


def plain(value: Any) -> Any:
    """Return a number as it is, and the current value of anything else as a number or nested list."""
    if is_live(value):
        return ops.convert_to_numpy(ops.convert_to_tensor(value)).tolist()
    return value.tolist() if isinstance(value, np.ndarray) else value


def number(
    name: str,
    value: Any,
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
    below: float | None = None,
) -> Any:
    """Return `value` as a float, or as the stack, tensor or variable that it is, once its bounds are checked.

    A tensor or variable is checked by its type only: its value may change at any time.
    """
    if is_live(value):
        return value
    if isinstance(value, bool) or not isinstance(value, (numbers.Real, np.ndarray, list, tuple)):
        raise TypeError(
            f"Argument `{name}` must be a number, a stack of numbers, a tensor or a variable. Received: "
            f"{name}={value!r} of type {type(value).__name__}."
        )
    array = np.asarray(value)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"Argument `{name}` must hold numbers. Received: {name}={value!r}.")
    array = array.astype("float64")
    wishes = []
    if minimum is not None and not np.all(array >= minimum):
        wishes.append(f">= {minimum:g}")
    if above is not None and not np.all(array > above):
        wishes.append(f"> {above:g}")
    if below is not None and not np.all(array < below):
        wishes.append(f"< {below:g}")
    if maximum is not None and not np.all(array <= maximum):
        wishes.append(f"<= {maximum:g}")
    if not np.all(np.isfinite(array)):
        wishes = ["finite"]
    if wishes:
        raise ValueError(f"Argument `{name}` must be {' and '.join(wishes)}. Received: {name}={value!r}.")
    return array if array.ndim else float(array)


def num_steps(name: str, value: Any, minimum: int = 1) -> Any:
    """Return a count of optimizer steps as an int, or as the tensor or variable that it is."""
    if is_live(value):
        return value
    whole = isinstance(value, numbers.Real) and not isinstance(value, bool) and float(value).is_integer()
    if not whole:
        raise TypeError(
            f"Argument `{name}` must be a whole number of optimizer steps, a tensor or a variable. Received: "
            f"{name}={value!r}. From epochs: tfopt.schedules.num_updates(data, epochs, batch_size)."
        )
    if value < minimum:
        raise ValueError(f"Argument `{name}` must be >= {minimum}. Received: {name}={value!r}.")
    return int(value)


def choice(name: str, value: Any, choices: Iterable[str]) -> str:
    """Return `value` if it is one of `choices`."""
    choices = list(choices)
    if not isinstance(value, str) or value not in choices:
        hint = nearest(value, choices) if isinstance(value, str) else ""
        raise ValueError(f"Argument `{name}` must be one of {choices}. Received: {name}={value!r}.{hint}")
    return value


def increasing_steps(name: str, value: Any, minimum: int = 1, at_least: int = 1, strictly: bool = True) -> list[Any]:
    """Return a list of step counts, each greater than the one before, or as great; tensors are taken on trust."""
    if not isinstance(value, (list, tuple, np.ndarray)) or len(value) < at_least:
        raise TypeError(
            f"Argument `{name}` must be a list of at least {at_least} step numbers. Received: {name}={value!r}."
        )
    steps = [num_steps(name, item, minimum) for item in value]
    known = [step for step in steps if not is_live(step)]
    if any(later < earlier or (strictly and later == earlier) for earlier, later in itertools.pairwise(known)):
        wish = "increase" if strictly else "not decrease"
        raise ValueError(f"Argument `{name}` must {wish}. Received: {name}={value!r}.")
    return steps


def positive_if_exponential(name: str, value: Any, shape: str) -> Any:
    """Return a rate ≥ 0, or > 0 where the shape is geometric and would never reach 0."""
    return number(name, value, minimum=0, above=0 if shape == "exponential" else None)
