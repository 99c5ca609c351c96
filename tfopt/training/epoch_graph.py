"""One traced epoch of a model shape, and everything that a fit puts into it."""

import functools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfopt._private.keras_models import make_variables
from tfopt._private.keras_random import global_generator, set_global_generator
from tfopt._private.tensorflow_graphs import gradients_forgotten
from tfopt.training.builds import BuildSnapshot
from tfopt.training.fits import State
from tfopt.training.model_walk import ModelWalk
from tfopt.training.rows import Examples
from tfopt.training.symbolic import NumberTable, kept_symbolic, traced_otherwise

_PREDICTED = 65536  # rows predicted at a time
_UNREPEATABLE = {
    *("PyFunc", "EagerPyFunc", "RandomStandardNormal", "RandomUniform", "RandomUniformInt", "TruncatedNormal"),
    *("RandomShuffle", "RandomGamma", "Multinomial", "StatefulStandardNormalV2", "StatefulUniform"),
}


class CannotShareError(Exception):
    """A model that must be trained plainly, and why."""


class EpochGraph:
    """One traced epoch and the model in it.

    Attributes:
        second: Another graph of the same model, for another thread; None until one is wanted.
    """

    def __init__(self, model: keras.Model, walk: ModelWalk, varying: frozenset[str], examples: Examples):
        self.model, self.varying = model, varying
        self.second: EpochGraph | None = None
        self._walk = walk
        self._constants = {path: number for path, number in walk.numbers.items() if path not in varying}
        self._numbers = NumberTable(walk.numbers)
        self._stand_ins = {path: self._numbers.number(path) for path in varying}
        self._put(self._stand_ins)
        self.generator = global_generator()  # made before the trace; each fit gives it its own state
        make_variables(model, examples.take(np.arange(min(2, len(examples)))))
        self.variables = [*model.variables, *model.optimizer.variables]
        self._extra = [walk.variables[path] for path in sorted(walk.variables)]
        self._epochs: dict[tuple[str, int], Any] = {}
        self._kinds: dict[tuple[str, int], tuple] = {}  # the rows that each was traced for
        self._outputs: Callable[..., Any] | None = None
        changeable = [*self.variables, *self._extra]
        self._load = concrete(self._assign, [[tf.TensorSpec(v.shape, v.dtype) for v in changeable]])

    def mismatch(self, snapshot: BuildSnapshot) -> str | None:
        """Return why this graph would train another model than the snapshot's; None if it would not."""
        return traced_otherwise(self._constants, snapshot.numbers) or self._numbers.broken_guard(snapshot.numbers)

    def load(self, snapshot: BuildSnapshot, state: State | None = None) -> None:
        """Become the snapshot's model, fresh or in a state of it."""
        self._load([*(snapshot.state if state is None else state), *snapshot.extra])
        self._numbers.set(snapshot.numbers)
        self.generator.state.assign(snapshot.generator)
        set_global_generator(self.generator)

    def epoch(self, order: np.ndarray, batch_size: int, rows: tuple, check: tuple | None = None) -> dict[str, Any]:
        """Train an epoch on tensors of rows in this order; validate on those of `check`, if it is given.

        Returns:
            The logs.
        """
        logs = self._over("train", order, batch_size, rows)
        if check is not None:
            tests = self._over("test", check[0], batch_size, check[1])
            logs |= {f"val_{name}": value for name, value in tests.items()}
        return logs

    def _over(self, what: str, order: np.ndarray, batch_size: int, rows: tuple) -> dict[str, Any]:
        kind = what, len(rows)  # with or without weights
        if kind not in self._epochs:
            self._trace(kind, rows)
        logs = self._epochs[kind](tf.constant(order, tf.int32), tf.constant(batch_size, tf.int32), rows)
        return {name: log_value(value) for name, value in logs.items()}

    def _trace(self, kind: tuple[str, int], rows: tuple) -> None:
        self._kinds[kind] = rows
        signature = [tf.TensorSpec((None,), tf.int32), tf.TensorSpec((), tf.int32), _any_length(rows)]
        step = self.model.train_step if kind[0] == "train" else self.model.test_step
        self._epochs[kind] = concrete(functools.partial(self._epoch, as_fit_runs(self.model, step)), signature)

    def trace_as(self, other: "EpochGraph") -> None:
        """Trace now what another graph of the same model has traced: only the thread that builds models may."""
        for kind, rows in other._kinds.items():
            self._trace(kind, rows)
        if other._outputs is not None:
            self._trace_outputs(next(iter(other._kinds.values()))[0])

    def _trace_outputs(self, x: Any) -> None:
        self._outputs = concrete(lambda x: self.model(x, training=False), [_any_length(x)])

    def outputs(self, chosen: np.ndarray, rows: tuple) -> Any:
        """Return the model's outputs for these rows."""
        x = rows[0]
        if self._outputs is None:
            self._trace_outputs(x)
        assert self._outputs is not None
        parts = [
            self._outputs(keras.tree.map_structure(lambda array, index=index: tf.gather(array, index), x))
            for index in np.array_split(chosen, max(1, -(-len(chosen) // _PREDICTED)))
        ]
        return keras.tree.map_structure(lambda *arrays: np.concatenate([np.array(a) for a in arrays]), *parts)

    def unrepeatable(self) -> list[str]:
        """Return the operations in the traced epochs whose results depend on what ran before."""
        return unrepeatable(self._epochs.values())

    def state(self) -> State:
        """Return copies of the values of the model's and its optimizer's variables."""
        return [np.array(variable.value) for variable in self.variables]

    @contextmanager
    def plain(self) -> Iterator[keras.Model]:
        """Give the model with plain numbers in it, for Python code that looks at it."""
        self._put({path: self._numbers.values[path] for path in self.varying})
        try:
            yield self.model
        finally:
            self._put(self._stand_ins)

    def _put(self, numbers: dict[str, Any]) -> None:
        for path, number in numbers.items():
            setter = self._walk.setters[path]
            if setter is None:
                raise CannotShareError(f"{path} cannot be changed from outside")
            setter(number)

    def _assign(self, values: State) -> None:
        for variable, value in zip([*self.variables, *self._extra], values, strict=True):
            variable.assign(value)

    def _epoch(self, step: Callable[[tuple], Any], order: tf.Tensor, batch_size: tf.Tensor, rows: tuple) -> dict:
        def batch(start: tf.Tensor) -> None:
            chosen = order[start : start + batch_size]
            step(keras.tree.map_structure(lambda array: tf.gather(array, chosen), rows))

        self.model.reset_metrics()
        each_batch(batch, tf.shape(order)[0], batch_size)
        return self.model.get_metrics_result()


def as_fit_runs(model: keras.Model, step: Callable[..., Any]) -> Callable[..., Any]:
    """Return a step as `fit` runs it: compiled by XLA, which draws random numbers of its own, where the model says so.

    Keras says so by itself beside a GPU.
    """
    return tf.function(step, autograph=False, jit_compile=True) if model.jit_compile else step


def unrepeatable(traced: Iterable[Any]) -> list[str]:
    """Return the operations in traced functions whose results depend on what ran before."""
    graphs = [function.graph.as_graph_def() for function in traced]
    nodes = [node for graph in graphs for node in graph.node]
    nodes += [node for graph in graphs for function in graph.library.function for node in function.node_def]
    return sorted({node.op for node in nodes} & _UNREPEATABLE)


def concrete(function: Callable[..., Any], signature: list) -> Any:
    """Return the one graph of a function: as it cannot be retraced, TensorFlow does not warn that it might be."""
    with gradients_forgotten(), kept_symbolic():
        return tf.function(function, autograph=False, input_signature=signature).get_concrete_function()


def log_value(value: Any) -> Any:
    """Return a log as a float; as an array if it is no scalar."""
    array = np.asarray(value)
    return float(array) if array.ndim == 0 else array


def _any_length(rows: tuple) -> tuple:
    """Return the signature of rows of which there may be any number."""
    return keras.tree.map_structure(lambda array: tf.TensorSpec((None, *array.shape[1:]), array.dtype), rows)


def each_batch(step: Callable[[tf.Tensor], Any], num_rows: tf.Tensor, batch_size: tf.Tensor) -> None:
    """Call `step` with the first row of each batch."""

    def body(start: tf.Tensor) -> tuple[tf.Tensor]:
        step(start)
        return (start + batch_size,)

    tf.while_loop(lambda start: start < num_rows, body, (tf.constant(0),), parallel_iterations=1)
