"""The check that a stack must pass before its results are used: one step of one member against plain Keras."""

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfopt._private.keras_random import seeded, set_global_generator
from tfopt._private.streams import random_streams_kept
from tfopt.callbacks.learning_rate_multipliers import LearningRateMultipliers
from tfopt.training.builds import BuildSnapshot, take_snapshot
from tfopt.training.epoch_graph import EpochGraph, log_value
from tfopt.training.fits import Build, FitRequest, State, state_of
from tfopt.training.rows import Examples
from tfopt.training.stack import Stack

# Batched products round differently. A weight whose gradient is this far below the largest may move by rounding alone
# (Adam turns a gradient of 1e-9, such as that of a bias before batch normalisation, into a step), so it says nothing.
_NOISE = 1e-4
_STEP, _STATE, _LOG = 2e-3, 1e-4, 1e-4


def stack_differs(
    stack: Stack, snapshots: Sequence[BuildSnapshot], build: Build, request: FitRequest, examples: Examples,
    validation: Examples | None, multipliers: LearningRateMultipliers | None = None,
) -> str | None:  # fmt: skip
    """Return how the last of some members, whose request it is, steps otherwise in the stack than in Keras; or None."""
    with _unrounded_products():
        return _stack_differs(stack, snapshots, build, request, examples, validation, multipliers)


@contextmanager
def _unrounded_products() -> Iterator[None]:
    """Multiply float32 as it is: a GPU rounds the factors to ten bits (TF32), ten times what a check allows."""
    rounds = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(rounds)


def _stack_differs(
    stack: Stack, snapshots: Sequence[BuildSnapshot], build: Build, request: FitRequest, examples: Examples,
    validation: Examples | None, multipliers: LearningRateMultipliers | None,
) -> str | None:  # fmt: skip
    size, tested, member = min(request.batch_size, len(examples)), 0, len(snapshots) - 1
    states = [[*own.state, *own.extra, own.generator] for own in snapshots]
    stack.load(states, [own.numbers for own in snapshots])
    stack_logs = stack.train([np.arange(size)] * len(states), size)
    own = stack.state(stack.arrays(), member)[: stack.length]
    own_logs = {name: value[member] for name, value in stack_logs.items() if name != "grad_norm"}
    if validation is not None:
        tested = min(request.batch_size, len(validation))
        tests = stack.evaluate([np.arange(tested)] * len(states), tested)
        own_logs |= {f"val_{name}": value[member] for name, value in tests.items()}
    batch = examples.take(np.arange(size))
    held = () if validation is None else validation.take(np.arange(tested))
    difference = None
    # An eager step is cheap, but loops that draw random numbers differ from traced ones: a traced step then decides.
    for traced in (False, True):
        with random_streams_kept(), seeded(request.seed):
            model = take_snapshot(build, request, examples)[1]
            if multipliers is not None:
                multiplying = LearningRateMultipliers.from_config(multipliers.get_config())
                multiplying.set_model(model)
                multiplying.on_train_begin()
            step, test = _plain_steps(model, batch, held, traced, stack.compiled)
            logs, gradients = step()
            plain_logs = {name: log_value(value) for name, value in logs.items()}
            gradients = [None if gradient is None else gradient.numpy() for gradient in gradients]
            plain = state_of(model)
            model.reset_metrics()
            if validation is not None:
                plain_logs |= {f"val_{name}": log_value(value) for name, value in test().items()}
        difference = _logs_differ(own_logs, plain_logs) or _states_differ(own, plain, states[member], model, gradients)
        if difference is None:
            return None
    return difference


def _logs_differ(own: dict[str, Any], plain: dict[str, Any]) -> str | None:
    if set(own) != set(plain):
        return f"it logs {', '.join(sorted(own))}, Keras {', '.join(sorted(plain))}"
    for name, value in plain.items():
        if not np.allclose(own[name], value, rtol=_LOG, atol=1e-5, equal_nan=True):
            return f"{name} is {own[name]} after one step, Keras's {value}"
    return None


def _states_differ(own: State, plain: State, before: State, model: keras.Model, gradients: list) -> str | None:
    weights = {id(v): gradient for v, gradient in zip(model.trainable_variables, gradients, strict=True)}
    largest = max((float(np.max(np.abs(g), initial=0.0)) for g in gradients if g is not None), default=0.0)
    variables = [*model.variables, *model.optimizer.variables]
    for variable, mine, theirs, start in zip(variables, own, plain, before, strict=False):
        gradient = weights.get(id(variable))
        if gradient is None or not np.issubdtype(theirs.dtype, np.floating):
            difference = _difference(mine, theirs, start, 0.0, _STATE, 1e-6 * largest)
        else:
            told = np.abs(gradient) > _NOISE * largest
            difference = _difference(mine[told], theirs[told], start[told], _STEP)
        if difference:
            return f"its first step differs from Keras's: {variable.path} {difference}"
    return None


def _difference(
    own: Any, plain: Any, before: Any, of_step: float, of_value: float = 1e-6, least: float = 0.0
) -> str | None:
    """Return how a variable differs from Keras's by more than these shares of its change and of its size."""
    if not np.issubdtype(plain.dtype, np.floating):
        return None if np.array_equal(own, plain) else f"is {own}, Keras's {plain}"
    own, plain, before = (np.asarray(values, "float64") for values in (own, plain, before))
    worst, moved, size = (np.max(np.abs(each), initial=0.0) for each in (own - plain, plain - before, plain))
    allowed = of_step * moved + of_value * size + least
    if worst <= allowed or np.array_equal(own, plain, equal_nan=True):
        return None
    return f"by {worst:.2g}, where {allowed:.2g} is rounding"


def _plain_steps(
    model: keras.Model, batch: tuple, held: tuple, traced: bool, compiled: bool
) -> tuple[Callable[[], tuple[dict, list]], Callable[[], dict]]:
    """Return functions that take one step of `fit`, for its logs and gradients, and one of `evaluate`."""
    apply = model.optimizer.apply_gradients
    noted: list[Any] = []

    def note(pairs: Any) -> None:
        pairs = list(pairs)
        noted.extend(None if gradient is None else tf.convert_to_tensor(gradient) for gradient, _ in pairs)
        apply(pairs)

    def step() -> tuple[dict, list]:
        noted.clear()
        return dict(model.train_step(batch)), list(noted)

    def test() -> dict:
        return dict(model.test_step(held))

    vars(model.optimizer)["apply_gradients"] = note  # of this one instance
    if traced:
        graph = functools.partial(tf.function, autograph=False, jit_compile=compiled)
        return graph(step), graph(test)
    return step, test


# Relative to the step's largest change of the same variable. An eager step rounds differently; a second trace does not.
_EAGER, _TRACED = 1e-3, 1e-6
_LOSS = 1e-5


def first_step_differs(
    graph: EpochGraph, build: Build, request: FitRequest, snapshot: BuildSnapshot, examples: Examples, rows: tuple
) -> str | None:
    """Return how the graph's first step differs from Keras's own; None if it does not.

    The plain step runs eagerly. Where rounding alone can make it differ (Adam turns a gradient of 1e-9, such as that
    of a bias before batch normalisation, into a full step) a second, plain trace decides.
    """
    order = np.arange(min(request.batch_size, len(examples)))
    with random_streams_kept():
        graph.load(snapshot)
        own_logs, own = graph.epoch(order, len(order), rows), graph.state()
        with seeded(request.seed):
            _, model, _ = take_snapshot(build, request, examples)
            logs = model.train_step(examples.take(order))
            plain = state_of(model)
        difference = _changed(own, plain, snapshot.state, _EAGER)
        if difference is None and not _close(own_logs["loss"], float(logs["loss"])):
            difference = f"the loss is {own_logs['loss']:.7g}, Keras's {float(logs['loss']):.7g}"
        if difference is None:
            return None
        with seeded(request.seed):
            _, model, walk = take_snapshot(build, request, examples)
            reference = type(graph)(model, walk, frozenset(), examples)
            reference.load(snapshot)
            logs = reference.epoch(order, len(order), rows)
        set_global_generator(graph.generator)
        if _close(own_logs["loss"], logs["loss"]) and _changed(own, reference.state(), snapshot.state, _TRACED) is None:
            return None
    return f"its first step differs from Keras's: {difference}"


def _changed(own: State, plain: State, before: State, tolerance: float) -> str | None:
    for index, parts in enumerate(zip(own, plain, before, strict=True)):
        if difference := _difference(*parts, tolerance):
            return f"variable {index} of {len(own)} {difference}"
    return None


def _close(own: float, plain: float) -> bool:
    return bool(np.isclose(own, plain, rtol=_LOSS, atol=1e-7, equal_nan=True))
