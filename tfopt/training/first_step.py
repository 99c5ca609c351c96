"""The check that a stack must pass before its results are used: one step of one member against plain Keras."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfopt._private.keras_random import seeded, set_global_generator
from tfopt._private.streams import random_streams_kept
from tfopt.callbacks.learning_rate_multipliers import LearningRateMultipliers
from tfopt.training.builds import BuildSnapshot, take_snapshot
from tfopt.training.epoch_graph import EpochGraph, log_value
from tfopt.training.fits import Build, FitRequest, State
from tfopt.training.rows import Examples
from tfopt.training.stack import Stack
from tfopt.training.symbolic import Values

# Batched products round differently. A weight whose gradient is this far below the largest may move by rounding alone
# (Adam turns a gradient of 1e-9, such as that of a bias before batch normalisation, into a step), so it says nothing.
_NOISE = 1e-4
_STEP, _STATE, _LOG = 2e-3, 1e-4, 1e-4


def stack_differs(
    stack: Stack, states: Sequence[State], numbers: Sequence[Values], member: int, build: Build, request: FitRequest,
    examples: Examples, validation: Examples | None, multipliers: LearningRateMultipliers | None = None,
) -> str | None:  # fmt: skip
    """Return how a member's first step in the stack differs from Keras's own; None if it does not.

    Args:
        stack: The stack to check; it is loaded anew.
        states: Fresh states of some members, at best of two seeds.
        numbers: Their numbers.
        member: Which of them is compared, at best one that the graph was not traced with.
        build: Returns the compiled model of a configuration.
        request: That member's.
        examples: Training rows.
        validation: Rows that the stack evaluates on, if any.
        multipliers: Of the learning rates, by weight; None for none.
    """
    difference = None
    # An eager step is cheap, but loops that draw random numbers differ from traced ones: a traced step then decides.
    for traced in (False, True):
        difference = _differs(stack, states, numbers, member, build, request, examples, validation, multipliers, traced)
        if difference is None:
            return None
    return difference


def _differs(
    stack: Stack, states: Sequence[State], numbers: Sequence[Values], member: int, build: Build, request: FitRequest,
    examples: Examples, validation: Examples | None, multipliers: LearningRateMultipliers | None, traced: bool,
) -> str | None:  # fmt: skip
    size = min(request.batch_size, len(examples))
    stack.load(states, numbers)
    stack_logs = stack.train([np.arange(size)] * len(states), size)
    own = stack.state(stack.arrays(), member)[: stack.length]
    own_logs = {name: value[member] for name, value in stack_logs.items() if name != "grad_norm"}
    tested = 0
    if validation is not None:
        tested = min(request.batch_size, len(validation))
        tests = stack.evaluate([np.arange(tested)] * len(states), tested)
        own_logs |= {f"val_{name}": value[member] for name, value in tests.items()}
    with random_streams_kept(), seeded(request.seed):
        _, model, _ = take_snapshot(build, request, examples)
        if multipliers is not None:
            multiplying = LearningRateMultipliers.from_config(multipliers.get_config())
            multiplying.set_model(model)
            multiplying.on_train_begin()
        held = () if validation is None else validation.take(np.arange(tested))
        step, test = _plain_steps(model, examples.take(np.arange(size)), held, traced)
        logs, gradients = step()
        plain_logs = {name: log_value(value) for name, value in logs.items()}
        gradients = [None if gradient is None else gradient.numpy() for gradient in gradients]
        variables = [*model.variables, *model.optimizer.variables]
        plain = [np.array(variable.value) for variable in variables]
        model.reset_metrics()
        if validation is not None:
            plain_logs |= {f"val_{name}": log_value(value) for name, value in test().items()}
    if set(own_logs) != set(plain_logs):
        return f"it logs {', '.join(sorted(own_logs))}, Keras {', '.join(sorted(plain_logs))}"
    for name, value in plain_logs.items():
        if not np.allclose(own_logs[name], value, rtol=_LOG, atol=1e-5, equal_nan=True):
            return f"{name} is {own_logs[name]} after one step, Keras's {value}"
    weights = {id(v): gradient for v, gradient in zip(model.trainable_variables, gradients, strict=True)}
    largest = max((float(np.max(np.abs(g), initial=0.0)) for g in gradients if g is not None), default=0.0)
    for variable, mine, theirs, before in zip(variables, own, plain, states[member], strict=False):
        told = None
        if id(variable) in weights and weights[id(variable)] is not None:
            told = np.abs(weights[id(variable)]) > _NOISE * largest
        difference = _difference(mine, theirs, before, told, largest)
        if difference:
            return f"its first step differs from Keras's: {variable.path} {difference}"
    return None


def _difference(own: Any, plain: Any, before: Any, told: np.ndarray | None, largest: float) -> str | None:
    if not np.issubdtype(plain.dtype, np.floating):
        return None if np.array_equal(own, plain) else f"is {own}, not {plain}"
    if told is not None:
        if not told.any():
            return None
        own, plain, before = own[told], plain[told], before[told]
    own, plain, before = (np.asarray(values, "float64") for values in (own, plain, before))
    worst = np.max(np.abs(own - plain), initial=0.0)
    moved = np.max(np.abs(plain - before), initial=0.0)
    scale = np.max(np.abs(plain), initial=0.0)
    allowed = _STEP * moved + 1e-6 * scale if told is not None else _STATE * scale + 1e-6 * largest
    if worst <= allowed or np.array_equal(own, plain, equal_nan=True):
        return None
    return f"by {worst:.2g}, where {allowed:.2g} is rounding"


def _plain_steps(
    model: keras.Model, batch: tuple, held: tuple, traced: bool
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
        return tf.function(step, autograph=False), tf.function(test, autograph=False)
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

    Args:
        graph: The graph to check.
        build: Returns the compiled model of a configuration.
        request: A configuration of the graph's structure, best one that it was not traced with.
        snapshot: Its snapshot.
        examples: Training rows.
        rows: The same as tensors.
    """
    order = np.arange(min(request.batch_size, len(examples)))
    with random_streams_kept():
        graph.load(snapshot)
        own_logs, own = graph.epoch(order, len(order), rows), graph.state()
        with seeded(request.seed):
            _, model, _ = take_snapshot(build, request, examples)
            logs = model.train_step(examples.take(order))
            plain = [np.array(variable.value) for variable in (*model.variables, *model.optimizer.variables)]
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
