"""Engines by name."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from tfopt.errors import nearest
from tfopt.search.config import ENGINES
from tfopt.search.engines.auto import AutoEngine
from tfopt.search.engines.plain import PlainEngine
from tfopt.search.engines.population import PopulationEngine
from tfopt.search.engines.request import Build, Engine, Shuffle
from tfopt.search.engines.rows import Nest
from tfopt.search.engines.shared_graph import SharedGraphEngine

Kind = Literal["auto", "population", "shared", "plain"]

_LEAST_MEMORY = 2**28
_GPU_MEMORY = 2**33  # of a GPU that does not say how much it has


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
    measure: bool = True,
) -> Engine:
    """Return the engine of this name over these rows.

    Args:
        kind: `"plain"`: a build and a `model.fit` for each fit. `"shared"`: one traced epoch a model shape.
            `"population"`: fits of one shape together, what cannot be stacked on the shared graph. `"auto"`: for each
            shape the faster of the two.
        build: Returns the compiled model of a configuration.
        x: Inputs.
        y: Targets.
        sample_weight: A weight a row.
        validation: `(x, y)` or `(x, y, sample_weight)`.
        shuffle: See `Engine`.
        memory: Bytes that stacked members may take; None for a quarter of what is free.
        probe: Whether to look for hyperparameters that act without a trace in the model.
        measure: Whether `"auto"` may time both; else it goes by shape and number alone, the same way in every run.

    Raises:
        ValueError: There is no such engine.
    """
    if kind not in ENGINES:
        known = ", ".join(ENGINES)
        raise ValueError(f"Argument `engine` must be one of {known}. Received: {kind}.{nearest(kind, ENGINES)}")
    rows = (build, x, y, sample_weight, validation, shuffle)
    if kind == "plain":
        return PlainEngine(*rows)
    if kind == "shared":
        return SharedGraphEngine(*rows, probe=probe)
    memory = memory or free_memory() // 4
    if kind == "population":
        return PopulationEngine(*rows, memory=memory, probe=probe)
    return AutoEngine(*rows, memory=memory, probe=probe, measure=measure)


def free_memory() -> int:
    """Return the bytes that the first GPU has free, or the machine where there is none."""
    for device in tf.config.list_logical_devices("GPU"):
        used = tf.config.experimental.get_memory_info(device.name)["current"]
        details = tf.config.experimental.get_device_details(tf.config.list_physical_devices("GPU")[0])
        return max(int(details.get("memory_limit", _GPU_MEMORY)) - used, _LEAST_MEMORY)
    with contextlib.suppress(OSError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable"):
                return max(1024 * int(line.split()[1]), _LEAST_MEMORY)
    return _LEAST_MEMORY * 4
