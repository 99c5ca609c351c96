"""The check that a traced graph must pass before its results are used: one step of it against one plain Keras step."""

from typing import TYPE_CHECKING

import numpy as np

from tfopt._private.keras_internals import random_streams_kept, seeded, set_global_generator
from tfopt.search.engines.request import Build, FitRequest, State
from tfopt.search.engines.rows import Table
from tfopt.search.engines.shadow import Shadow, cast_shadow

if TYPE_CHECKING:
    from tfopt.search.engines.traced_graph import Graph

# Relative to the step's largest change of the same variable. An eager step rounds differently; a second trace does not.
_EAGER, _TRACED = 1e-3, 1e-6
_LOSS = 1e-5


def first_step_differs(
    graph: "Graph", build: Build, request: FitRequest, shadow: Shadow, table: Table, rows: tuple
) -> str | None:
    """Return how the graph's first step differs from Keras's own; None if it does not.

    The plain step runs eagerly. Where rounding alone can make it differ (Adam turns a gradient of 1e-9, such as that
    of a bias before batch normalisation, into a full step) a second, plain trace decides.

    Args:
        graph: The graph to check.
        build: Returns the compiled model of a configuration.
        request: A configuration of the graph's structure, best one that it was not traced with.
        shadow: Its shadow.
        table: Training rows.
        rows: The same as tensors.
    """
    order = np.arange(min(request.batch_size, len(table)))
    with random_streams_kept():
        graph.load(shadow)
        own_logs, own = graph.epoch(order, len(order), rows), graph.state()
        with seeded(request.seed):
            _, model, _ = cast_shadow(build, request, table)
            logs = model.train_step(table.take(order))
            plain = [np.array(variable.value) for variable in (*model.variables, *model.optimizer.variables)]
        difference = _difference(own, plain, shadow.state, _EAGER)
        if difference is None and not _close(own_logs["loss"], float(logs["loss"])):
            difference = f"the loss is {own_logs['loss']:.7g}, Keras's {float(logs['loss']):.7g}"
        if difference is None:
            return None
        with seeded(request.seed):
            _, model, walk = cast_shadow(build, request, table)
            reference = type(graph)(model, walk, frozenset(), table)
            reference.load(shadow)
            logs = reference.epoch(order, len(order), rows)
        set_global_generator(graph.generator)
        if (
            _close(own_logs["loss"], logs["loss"])
            and _difference(own, reference.state(), shadow.state, _TRACED) is None
        ):
            return None
    return f"its first step differs from Keras's: {difference}"


def _difference(own: State, plain: State, before: State, tolerance: float) -> str | None:
    for index, (a, b, start) in enumerate(zip(own, plain, before, strict=True)):
        if not np.issubdtype(b.dtype, np.floating):
            if not np.array_equal(a, b):
                return f"variable {index} is {a}, Keras's {b}"
            continue
        a, b, start = (np.asarray(values, "float64") for values in (a, b, start))
        worst = np.max(np.abs(a - b), initial=0.0)
        allowed = tolerance * np.max(np.abs(b - start), initial=0.0) + 1e-6 * np.max(np.abs(b), initial=0.0)
        if not worst <= allowed and not np.array_equal(a, b, equal_nan=True):
            return f"variable {index} of {len(own)} by {worst:.2g}, where {allowed:.2g} is rounding"
    return None


def _close(own: float, plain: float) -> bool:
    return bool(np.isclose(own, plain, rtol=_LOSS, atol=1e-7, equal_nan=True))
