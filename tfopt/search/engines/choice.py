"""Which engine trains a search's fits."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from tfopt.search.engines.plain import PlainEngine
from tfopt.search.engines.request import Build, Engine
from tfopt.search.engines.rows import Nest

Kind = Literal["auto", "population", "shared", "plain"]


def engine_for(
    kind: Kind, build: Build, x: Nest, y: Nest, sample_weight: np.ndarray | None = None,
    validation: Sequence[Any] | None = None, memory: int | None = None, shuffle: bool = True,
) -> Engine:  # fmt: skip
    """Return an engine of this kind over these rows; `"auto"` is the fastest one for them.

    Args:
        kind: `"auto"` or the name of an engine.
        build: Returns the compiled model of a configuration.
        x: Inputs.
        y: Targets.
        sample_weight: A weight a row; None for equal ones.
        validation: `(x, y)` or `(x, y, sample_weight)`, or None.
        memory: Bytes to stay within; None for what is free.
        shuffle: Whether each epoch takes the rows in a new order.

    Raises:
        ValueError: There is no such engine.
    """
    if kind not in ("auto", "plain"):
        raise ValueError(f"Argument `engine` must be 'auto' or 'plain'. Received: {kind!r}.")
    return PlainEngine(build, x, y, sample_weight, validation, shuffle=shuffle)
