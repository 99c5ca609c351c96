"""Engines by name."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from tfopt.errors import nearest
from tfopt.search.engines.plain import PlainEngine
from tfopt.search.engines.request import Build, Engine, Shuffle
from tfopt.search.engines.rows import Nest
from tfopt.search.engines.shared_graph import SharedGraphEngine

Kind = Literal["auto", "population", "shared", "plain"]
ENGINES = ("auto", "population", "shared", "plain")


def engine_for(
    kind: str,
    build: Build,
    x: Nest,
    y: Nest,
    sample_weight: np.ndarray | None = None,
    validation: Sequence[Any] | None = None,
    *,
    shuffle: Shuffle = True,
    memory: int | None = None,
    probe: bool = True,
) -> Engine:
    """Return the engine of this name over these rows.

    Args:
        kind: `"plain"`: a build and a `model.fit` for each fit. `"shared"`: one traced epoch a model shape.
            `"auto"`: the fastest that gives the same results.
        build: Returns the compiled model of a configuration.
        x: Inputs.
        y: Targets.
        sample_weight: A weight a row.
        validation: `(x, y)` or `(x, y, sample_weight)`.
        shuffle: See `Engine`.
        probe: Whether to look for hyperparameters that act without a trace in the model.
        memory: Bytes that stacked members may take.

    Raises:
        ValueError: There is no such engine.
    """
    if kind not in ENGINES:
        known = ", ".join(ENGINES)
        raise ValueError(f"Argument `engine` must be one of {known}. Received: {kind}.{nearest(kind, ENGINES)}")
    if kind == "plain":
        return PlainEngine(build, x, y, sample_weight, validation, shuffle)
    return SharedGraphEngine(build, x, y, sample_weight, validation, shuffle, probe=probe)
