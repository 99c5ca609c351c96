"""One graph that trains a stack of models of the same structure: every variable has a leading axis of members."""

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfopt._private.keras_models import layers_of
from tfopt._private.keras_optimizers import unfix
from tfopt._private.keras_random import global_generator
from tfopt.errors import CannotStack
from tfopt.training.epoch_graph import concrete, each_batch, unrepeatable
from tfopt.training.fits import State, make_weights
from tfopt.training.graph_optimizer import StackedOptimizer, among, norms
from tfopt.training.graph_random import RandomStreams, vectorized
from tfopt.training.model_walk import ModelWalk
from tfopt.training.rows import Examples
from tfopt.training.shared import tensors
from tfopt.training.stack import Logs, Stack
from tfopt.training.symbolic import StackedNumberTable, Values

_ROWS = tf.TensorSpec((None, None), tf.int32)
_BATCH_SIZE = tf.TensorSpec((), tf.int32)
_PREDICTED = 65536  # rows of all members that are predicted at a time
_DRAWN_TOO_MANY = 1.5  # a graph may draw this many times as many random streams as there are
_OF_METRICS = ("model._compile_metrics", "model._compile_loss")  # made at the first batch, and kept apart here


class GraphStack(Stack):
    """A traced population, into which members of one structure are loaded, any number at a time.

    The model's own `call`, `compute_loss` and `compute_metrics` run under `tf.vectorized_map`, its own optimizer on
    weights stored as (members, size). Neither the number of members nor that of rows is part of the graph.
    """

    def __init__(
        self, model: keras.Model, walk: ModelWalk, extra: Mapping[str, Any], varying: Iterable[str], streams: int,
        train: Examples, validation: Examples | None = None, measure: bool = False,
    ):  # fmt: skip
        super().__init__(walk.numbers, varying)
        self.model, self.compiled = model, model.jit_compile
        self.streams = RandomStreams(streams, self.compiled)
        self.numbers = StackedNumberTable(dict(walk.numbers))
        for name in sorted(self.varying):
            setter = walk.setters[name]
            if setter is None:
                raise CannotStack(f"{name} cannot be changed from outside")
            setter(self.numbers.number(name))
        self._train, self._validation = tensors(train), None if validation is None else tensors(validation)
        self._measure = measure
        self._make_variables(walk, extra, train)
        rate_varies = any(name.startswith("model.optimizer._learning_rate") for name in self.varying)
        self._scheduled = rate_varies and self._optimizer.schedule is not None
        self._epoch = concrete(self._train_epoch, [_ROWS, _BATCH_SIZE])
        tests = functools.partial(self._epoch_of, self._test_step)
        self._evaluate = None if validation is None else concrete(tests, [_ROWS, _BATCH_SIZE])
        self._predict: Callable[..., Any] | None = None
        random = unrepeatable(filter(None, (self._epoch, self._evaluate)))
        if random:
            raise CannotStack(f"it uses {', '.join(random)}, whose results depend on what ran before")

    def mismatch(self, numbers: Values) -> str | None:
        """Return why this graph would train another model than one of these numbers; None if it would not."""
        return super().mismatch(numbers) or self.numbers.broken_guard(numbers)

    def takes_streams(self, number: int) -> bool:
        """Return whether members of so many distinct random streams fit, without too many drawn in vain."""
        return not self.streams.drawn or number <= self.streams.capacity <= max(2, _DRAWN_TOO_MANY * number)

    def _make_variables(self, walk: ModelWalk, extra: Mapping[str, Any], train: Examples) -> None:
        model = self.model
        optimizer = model.optimizer
        if optimizer.built:
            raise CannotStack("its optimizer is built before the training")
        outside = list(walk.variables.values())
        if not all(isinstance(variable, keras.Variable) for variable in outside):
            raise CannotStack("it uses a tf.Variable that is none of its weights")
        make_weights(model, train)
        model.reset_metrics()
        self._own = list(model.variables)
        self._trained = list(model.trainable_variables)
        generator = global_generator().state
        self._kept = [*(v for v in self._own if not among(v, self._trained)), *outside, generator]
        self._counted = list(model.metrics_variables)
        self._zeros = [keras.ops.convert_to_numpy(v) for v in self._counted]
        self._weights = [_column(v) for v in self._trained]
        self._states = [_stacked(v) for v in self._kept]
        self._counts = [_stacked(v) for v in self._counted]
        self._optimizer = StackedOptimizer(optimizer, self._weights, self._trained)
        self._norms = tf.Variable(tf.zeros((1, 2)), shape=(None, 2), trainable=False)  # their sum, finite steps
        self._seeds = [i for i, v in enumerate(self._own) if "seed_generator" in v.path]
        homes = {id(v): stacked for v, stacked in zip(self._trained, self._weights, strict=True)}
        homes |= {id(v): stacked for v, stacked in zip(self._kept, self._states, strict=True)}
        # Where each array of a `State`, and then each variable outside it, lives: (variable, shape of one member's).
        self._places = [(homes[id(v)], tuple(v.shape)) for v in self._own] + self._optimizer.places()
        self.length = len(self._places)
        for path in sorted(extra):
            if path in walk.variables:
                home = homes[id(walk.variables[path])]
            elif path.startswith(_OF_METRICS):
                home = _stacked(extra[path])
            else:
                raise CannotStack(f"it keeps {path} outside its weights")
            self._places.append((home, tuple(extra[path].shape)))
        self._places.append((homes[id(generator)], tuple(generator.shape)))

    def member_bytes(self, batch_size: int) -> int:
        """Return about how many bytes a member takes: variables, gradients, and the activations of a batch."""
        weights = sum(int(np.prod(v.shape)) for v in self._trained)
        held = sum(int(np.prod(shape)) for _, shape in self._places)
        outputs = 0
        for layer in layers_of(self.model):
            for tensor in keras.tree.flatten(getattr(layer, "output", [])):
                outputs += int(np.prod([size or 1 for size in tensor.shape[1:]]))
        return 4 * (held + 4 * weights + 8 * batch_size * outputs)

    def steps_taken(self, state: State) -> int:
        """Return how many steps the optimizer of a member in this state has taken, equal for all in a stack."""
        return int(state[len(self._own)])

    def load(self, states: Sequence[State], members: Sequence[Values]) -> None:
        """Put members into the stack."""
        for index, (variable, _) in enumerate(self._places):
            if variable is self._optimizer.iterations:
                variable.assign(states[0][index])
            else:
                values = np.stack([state[index] for state in states])
                variable.assign(values.reshape((len(states), *variable.shape[1:])))
        self.numbers.set_members(members)
        generators = [*self._seeds, len(self._places) - 1]
        self.streams.set(np.stack([np.concatenate([np.ravel(state[i]) for i in generators]) for state in states]))

    def arrays(self) -> list[np.ndarray]:
        """Return the values of all variables, stacked as they are."""
        return [variable.numpy() for variable, _ in self._places]

    def state(self, arrays: list[np.ndarray], member: int) -> State:
        """Return what `arrays` holds of one member, as `load` takes it."""
        return [
            (array if array.ndim == 0 else array[member]).reshape(shape).copy()
            for array, (_, shape) in zip(arrays, self._places, strict=True)
        ]

    def finished(self, state: State) -> State:
        """Return the model's and the optimizer's part of a state, as `fit` leaves it after its last epoch."""
        state = state[: self.length]
        return self._optimizer.finalized(state, [index for index, v in enumerate(self._own) if among(v, self._trained)])

    def train(self, orders: Sequence[np.ndarray], batch_size: int) -> Logs:
        """Train an epoch on each member's rows, which are as many, and return the logs, a value a member."""
        return _run(self._epoch, orders, batch_size)

    def evaluate(self, rows: Sequence[np.ndarray], batch_size: int) -> Logs:
        """Return the logs over each member's rows of the validation examples."""
        if self._evaluate is None:
            raise ValueError("This stack was made without rows of validation.")
        return _run(self._evaluate, rows, batch_size)

    def outputs(self, rows: Sequence[np.ndarray]) -> list[Any]:
        """Return each member's outputs for its rows of the training examples."""
        picked = np.stack(rows)
        if self._predict is None:
            self._predict = concrete(self._outputs, [_ROWS])
        pieces = -(-picked.size // _PREDICTED)
        parts = [self._predict(tf.constant(piece, tf.int32)) for piece in np.array_split(picked, pieces, axis=1)]
        stacked = keras.tree.map_structure(lambda *arrays: np.concatenate([a.numpy() for a in arrays], axis=1), *parts)
        return [
            keras.tree.map_structure(lambda array, member=member: array[member], stacked) for member in range(len(rows))
        ]

    def _outputs(self, rows: tf.Tensor) -> Any:
        def one(member: dict[str, Any]) -> Any:
            variables = list(zip([*self._trained, *self._kept], member["values"], strict=True))
            with self.numbers.member(member["numbers"]), keras.StatelessScope(state_mapping=variables):
                return self.model(member["x"], training=False)

        x = tf.nest.map_structure(lambda column: tf.gather(column, rows), self._train[0])
        values = [*self._shaped(), *(state.read_value() for state in self._states)]
        with self.streams.use():
            return vectorized(one, {"values": values, "numbers": self.numbers.rows(), "x": x})

    def _train_epoch(self, orders: tf.Tensor, batch_size: tf.Tensor) -> dict[str, tf.Tensor]:
        self._norms.assign(tf.zeros((tf.shape(orders)[0], 2)))
        logs = self._epoch_of(self._train_step, orders, batch_size)
        if self._measure:
            logs["grad_norm"] = tf.math.divide_no_nan(self._norms[:, 0], self._norms[:, 1])
        return logs

    def _epoch_of(
        self, step: Callable[[tf.Tensor], None], orders: tf.Tensor, batch_size: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        members, rows = tf.unstack(tf.shape(orders))
        for variable, zero in zip(self._counts, self._zeros, strict=True):
            variable.assign(tf.broadcast_to(zero, (members, *zero.shape)))
        each_batch(lambda start: step(orders[:, start : start + batch_size]), rows, batch_size)
        return vectorized(self._results, [count.read_value() for count in self._counts])

    def _results(self, counts: list[tf.Tensor]) -> dict[str, tf.Tensor]:
        with keras.StatelessScope(state_mapping=list(zip(self._counted, counts, strict=True))):
            return self.model.get_metrics_result()

    def _train_step(self, rows: tf.Tensor) -> None:
        weights = self._shaped()
        with tf.GradientTape() as tape:
            tape.watch(weights)
            losses, states, counts = self._map(weights, self._train, rows, True)
            total = tf.reduce_sum(losses)
        gradients = [
            None if gradient is None else tf.reshape(gradient, (-1, weight.shape[1]))
            for gradient, weight in zip(tape.gradient(total, weights), self._weights, strict=True)
        ]
        if self._measure:
            norm = norms(gradients)
            finite = tf.math.is_finite(norm)
            self._norms.assign_add(tf.concat([tf.where(finite, norm, 0.0), tf.cast(finite, norm.dtype)], axis=1))
        rates = self._rates()
        with self.numbers.columns():
            self._optimizer.apply(gradients, rates)
        self._constrain()
        self._store(states, counts)

    def _test_step(self, rows: tf.Tensor) -> None:
        _, states, counts = self._map(self._shaped(), self._validation, rows, False)
        self._store(states, counts)

    def _store(self, states: list[tf.Tensor], counts: list[tf.Tensor]) -> None:
        for variable, value in zip(self._states + self._counts, states + counts, strict=True):
            variable.assign(value)

    def _shaped(self) -> list[tf.Tensor]:
        return [tf.reshape(w.value, (-1, *v.shape)) for w, v in zip(self._weights, self._trained, strict=True)]

    def _map(self, weights: list[tf.Tensor], examples: Any, rows: tf.Tensor, training: bool) -> tuple:
        arguments = {
            "weights": weights,
            "states": [state.read_value() for state in self._states],
            "counts": [count.read_value() for count in self._counts],
            "numbers": self.numbers.rows(),
            "batch": tf.nest.map_structure(lambda column: tf.gather(column, rows), examples),
        }
        with self.streams.use():
            return vectorized(lambda member: self._member(training=training, **member), arguments)

    def _member(self, weights: list, states: list, counts: list, numbers: dict, batch: Any, training: bool) -> tuple:
        """What `train_step` and `test_step` do for one member, but for the update."""
        model = self.model
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
        values = [*weights, *states, *counts]
        scope = keras.StatelessScope(
            list(zip([*self._trained, *self._kept, *self._counted], values, strict=True)), collect_losses=True
        )
        with self.numbers.member(numbers), scope:
            told = {"training": training}
            predicted = model(x, **(told if _takes_training(model.call) else {}))
            loss = model.compute_loss(
                x, y, predicted, sample_weight, **(told if _takes_training(model.compute_loss) else {})
            )
            model.metrics[0].update_state(loss, sample_weight=tf.shape(tf.nest.flatten(x)[0])[0])
            model.compute_metrics(x, y, predicted, sample_weight=sample_weight)
        return (
            loss,
            [scope.get_current_value(v) for v in self._kept],
            [scope.get_current_value(v) for v in self._counted],
        )

    def _rates(self) -> tf.Tensor | None:
        """Return the (members, 1) column of learning rates of a schedule; None where there is no schedule."""
        schedule, step = self._optimizer.schedule, self.model.optimizer.iterations
        if schedule is None:
            return None
        if not self._scheduled:
            return tf.reshape(tf.convert_to_tensor(schedule(step)), (1, 1))

        def one(numbers: dict[str, tf.Tensor]) -> tf.Tensor:
            with self.numbers.member(numbers):
                return tf.convert_to_tensor(schedule(step))

        return vectorized(one, self.numbers.rows())[:, None]

    def _constrain(self) -> None:
        for weight, own in zip(self._weights, self._trained, strict=True):
            if own.constraint is None:
                continue

            def one(arguments: tuple, constraint: Any = own.constraint) -> tf.Tensor:
                value, numbers = arguments
                with self.numbers.member(numbers):
                    return constraint(value)

            held = vectorized(one, (tf.reshape(weight.value, (-1, *own.shape)), self.numbers.rows()))
            weight.assign(tf.reshape(held, (-1, weight.shape[1])))


def _run(function: Callable[..., Any], rows: Sequence[np.ndarray], batch_size: int) -> Logs:
    logs = function(tf.constant(np.stack(rows), tf.int32), tf.constant(batch_size, tf.int32))
    return {key: value.numpy() for key, value in logs.items()}


def _takes_training(function: Callable[..., Any]) -> bool:
    return "training" in inspect.signature(function).parameters


def _column(variable: keras.Variable) -> keras.Variable:
    value = keras.ops.convert_to_numpy(variable).reshape(1, -1)
    return unfix(keras.Variable(value, dtype=variable.dtype, name=variable.name))


def _stacked(variable: keras.Variable) -> tf.Variable:
    value = keras.ops.convert_to_numpy(variable)[None]
    return tf.Variable(value, shape=(None, *value.shape[1:]), trainable=False)
