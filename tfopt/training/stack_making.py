"""Making a stack from a configuration's build, and deciding that it may be used."""

import copy
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfopt._private.keras_models import layers_of
from tfopt._private.keras_random import seeded
from tfopt._private.needs import missing
from tfopt._private.tensorflow_graphs import variables_alike
from tfopt.errors import CannotStack, one_line
from tfopt.training.builds import BuildSnapshot, take_snapshot
from tfopt.training.first_step import stack_differs
from tfopt.training.fits import Build, FitRequest, checked
from tfopt.training.graph_random import quiet_tensorflow
from tfopt.training.graph_stack import GraphStack
from tfopt.training.model_walk import ModelWalk
from tfopt.training.numpy_stack.model import NumpyStack
from tfopt.training.plain import needs_plain_fit
from tfopt.training.rows import Examples
from tfopt.training.stack import Stack

_log = logging.getLogger("tfopt")

_CONVOLUTIONS = (
    keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D, keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose, keras.layers.SeparableConv1D,
    keras.layers.SeparableConv2D, keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D, keras.layers.ConvLSTM1D,
    keras.layers.ConvLSTM2D, keras.layers.ConvLSTM3D,
)  # fmt: skip


Candidates = Sequence[tuple[FitRequest, BuildSnapshot]]  # configurations of one structure, and their snapshots


def make_numpy_stack(
    build: Build,
    candidates: Candidates,
    varying: Iterable[str],
    train: Examples,
    validation: Examples | None,
    measure: bool,
) -> Stack:
    """Make a stack that NumPy trains with the first candidate's build; check its first step with the last it takes.

    Args:
        build: Returns the compiled model of a configuration.
        candidates: Configurations of one structure.
        varying: Names of the numbers that differ between them.
        train: Rows of training.
        validation: The examples that rows of validation are from, if there are any.
        measure: Whether to measure gradients.

    Raises:
        CannotStack: The model is not a dense network on a CPU, or the check refuses.
    """
    lacking = missing("loss and metrics", "moments", "learning rate")
    if lacking or tf.config.list_logical_devices("GPU"):
        raise CannotStack(lacking or "there is a GPU")

    def dense(model: keras.Model, walk: ModelWalk, extra: dict[str, Any]) -> Stack:
        return NumpyStack(model, walk, extra, varying, train, validation, measure)

    return _made(dense, build, candidates, train, validation)


def make_graph_stack(
    build: Build, candidates: Candidates, varying: Iterable[str], streams: int,
    train: Examples, validation: Examples | None, measure: bool,
) -> Stack:  # fmt: skip
    """Trace a stack, and check it, as `make_numpy_stack` does; `streams` is the number of distinct random ones.

    Raises:
        CannotStack: TensorFlow or the check refuses.
    """
    lacking = missing("stacked optimizer", "learning rate", "batching rules")
    if lacking:
        raise CannotStack(lacking)

    def traced(model: keras.Model, walk: ModelWalk, extra: dict[str, Any]) -> Stack:
        with quiet_tensorflow():
            return GraphStack(model, walk, extra, varying, streams, train, validation, measure)

    return _made(traced, build, candidates, train, validation)


def _made(
    kind: Callable[[keras.Model, ModelWalk, dict[str, Any]], Stack], build: Build,
    candidates: Candidates, train: Examples, validation: Examples | None,
) -> Stack:  # fmt: skip
    request, snapshot = candidates[0]
    if snapshot.draws:
        raise CannotStack("its build draws from `tf.random`")
    try:
        extra = {}
        if snapshot.extra:
            with seeded(request.seed):
                extra = take_snapshot(build, request, train)[2].variables
        with seeded(request.seed), variables_alike():
            # Of its own, as numbers are replaced where they are, which may be in the configuration itself.
            model = checked(build(copy.deepcopy(request.hyperparameters)))
            reason = needs_plain_fit(model) or _never_stacked(model)
            if reason:
                raise CannotStack(reason)
            walk = ModelWalk(model)
            if set(walk.numbers) != set(snapshot.numbers):
                raise CannotStack("its numbers change when its optimizer is built")
            stack = kind(model, walk, extra)
        fitting = [pair for pair in candidates if stack.mismatch(pair[1].numbers) is None]
        chosen = [fitting[0], fitting[-1]] if len(fitting) > 1 else fitting
        states = [[*own.state, *own.extra, own.generator] for _, own in chosen]
        numbers = [own.numbers for _, own in chosen]
        differs = stack_differs(stack, states, numbers, len(chosen) - 1, build, chosen[-1][0], train, validation)
    except CannotStack:
        raise
    except Exception as error:  # of any kind: from the user's code, Keras or TensorFlow, in a graph that is new
        _log.debug("stacking failed", exc_info=True)
        raise CannotStack(f"its graph cannot be stacked ({one_line(error)})") from error
    if differs:
        raise CannotStack(differs)
    return stack


def _never_stacked(layer: keras.layers.Layer) -> str | None:
    """Return which layer within has no batched form, before a graph is traced in vain; None if none is known."""
    if isinstance(layer, _CONVOLUTIONS):
        return f"TensorFlow cannot batch the filters of {type(layer).__name__}"
    return next(filter(None, map(_never_stacked, layers_of(layer))), None)
