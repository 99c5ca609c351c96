"""What every schedule asks of its arguments, and how it reads them inside a formula."""

import itertools
from typing import Any

import numpy as np
from keras import ops

from tfopt._arguments import is_live, num_steps, number, widest_float


def read(value: Any) -> Any:
    """Return a number, a stack, a tensor or a variable as a tensor of `widest_float`."""
    if is_live(value):
        return ops.cast(value, widest_float())
    return ops.convert_to_tensor(value, dtype=widest_float())


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
