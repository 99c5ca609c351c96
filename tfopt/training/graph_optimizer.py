"""Keras optimizers that train a stack of members: weights (members, size), every member with numbers of its own."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfopt._private.keras_optimizers import (
    averages_of,
    clip_with,
    forget_gradients_of_any_shape,
    free_shape,
    learning_rate_of,
    pass_exemptions_on,
    replace_learning_rate,
    unfix,
)
from tfopt.errors import CannotStack
from tfopt.training.fits import State

# Each weight's step depends on its own gradient and history alone, and on numbers that broadcast.
_ELEMENTWISE = frozenset(("SGD", "Adam", "AdamW", "Adamax", "Nadam", "RMSprop", "Adagrad", "Adadelta", "Ftrl", "Lion"))

Place = tuple[Any, tuple[int, ...]]


class StackedOptimizer:
    """An optimizer of the user's, built on stacked weights.

    Clipping is done member by member, the learning rate is a column of the members' own, and the first axis of every
    variable is freed so that the stack may hold any number of members.

    Raises:
        CannotStack: The optimizer is not known to treat each weight by itself.
    """

    def __init__(
        self, optimizer: keras.optimizers.Optimizer, weights: Sequence[keras.Variable],
        originals: Sequence[keras.Variable],
    ):  # fmt: skip
        kind = type(optimizer)
        if kind.__module__.split(".")[0] != "keras" or kind.__name__ not in _ELEMENTWISE:
            raise CannotStack(f"its optimizer {kind.__name__} is not known to treat each weight by itself")
        self._optimizer, self._weights = optimizer, list(weights)
        original = learning_rate_of(optimizer)
        self.schedule = None if isinstance(original, keras.Variable) else original
        known = list(optimizer.variables)
        self.iterations = known[0]  # all steps; `optimizer.iterations` leaves out those that only accumulate
        optimizer.build(self._weights)
        self._rate_variable = original if self.schedule is None else None
        self._rates = tf.Variable(tf.zeros((1, 1)), shape=(None, 1), trainable=False)
        attributes = vars(optimizer)  # through the dictionary, as Keras locks the attributes of what is built
        self._columns: dict[int, keras.Variable] = {}
        for name, own in list(attributes.items()):
            # A number that is multiplied up from step to step, as Nadam does: a column of the members' own.
            if isinstance(own, keras.Variable) and not own.shape.rank and not among(own, known):
                column = unfix(keras.Variable(keras.ops.reshape(own.value, (1, 1)), dtype=own.dtype))
                free_shape(column)
                attributes[name] = self._columns[id(own)] = column
        self._slots = [v for v in optimizer.variables if not among(v, known) and id(v) not in self._columns]
        self._shapes = [_owner_shape(optimizer, slot, originals) for slot in self._slots]
        self._now = _RateColumn()
        replace_learning_rate(optimizer, self._now)
        clip_with(optimizer, self._clip)
        forget_gradients_of_any_shape(optimizer)
        pass_exemptions_on(optimizer, originals, self._weights)
        for slot in self._slots:
            unfix(slot)
        for variable in (*self._weights, *self._slots):
            free_shape(variable)

    def places(self) -> list[Place]:
        """Return where the optimizer's part of a state lives: each variable, and the shape of one member's."""
        homes: dict[int, Any] = {id(self._rate_variable): self._rates, **self._columns}
        shapes = {id(slot): shape for slot, shape in zip(self._slots, self._shapes, strict=True)}
        return [
            (homes.get(id(variable), variable), shapes.get(id(variable), ())) for variable in self._optimizer.variables
        ]

    def finalized(self, state: State, trained: Sequence[int]) -> State:
        """Return a state with the averages in place of the weights (at `trained`) where the optimizer keeps them."""
        if not self._optimizer.use_ema:
            return state
        variables = list(self._optimizer.variables)
        first = len(state) - len(variables)
        for index, average in zip(trained, averages_of(self._optimizer), strict=True):
            state[index] = state[first + [average is v for v in variables].index(True)].copy()
        return state

    def apply(self, gradients: Sequence[Any], rates: tf.Tensor | None) -> None:
        """Take the optimizer's step at these (members, 1) learning rates; None for the members' constant ones."""
        self._now.rates = self._rates.read_value() if rates is None else rates
        self._optimizer.apply(list(gradients), self._weights)

    def _clip(self, gradients: Sequence[Any]) -> list[Any]:
        """Clip member by member as Keras clips the gradients of one model."""
        optimizer, kind = self._optimizer, gradients[0].dtype
        if optimizer.clipnorm and optimizer.clipnorm > 0:
            limit = tf.convert_to_tensor(optimizer.clipnorm, kind)
            return [tf.clip_by_norm(gradient, limit, axes=[1]) for gradient in gradients]
        if optimizer.global_clipnorm and optimizer.global_clipnorm > 0:
            limit, norm = tf.convert_to_tensor(optimizer.global_clipnorm, kind), norms(gradients)
            scale = limit * tf.minimum(1.0 / norm, 1.0 / limit) + (norm - norm)
            return [gradient * scale for gradient in gradients]
        if optimizer.clipvalue and optimizer.clipvalue > 0:
            limit = tf.convert_to_tensor(optimizer.clipvalue, kind)
            return [tf.clip_by_value(gradient, -limit, limit) for gradient in gradients]
        return list(gradients)


class _RateColumn(keras.optimizers.schedules.LearningRateSchedule):
    """Stands in for a learning rate or schedule: the column of the members' rates at this step."""

    rates: Any = None

    def __call__(self, step: Any) -> Any:
        return self.rates


def among(variable: Any, variables: Sequence[Any]) -> bool:
    """Return whether a variable itself is one of these."""
    return any(variable is other for other in variables)


def norms(gradients: Sequence[Any]) -> tf.Tensor:
    """Return the (members, 1) norms of all gradients of each member."""
    squares = [tf.reduce_sum(tf.square(g), axis=1, keepdims=True) for g in gradients if g is not None]
    return tf.sqrt(tf.add_n(squares))


def _owner_shape(
    optimizer: keras.optimizers.Optimizer, slot: keras.Variable, originals: Sequence[keras.Variable]
) -> tuple[int, ...]:
    """Return the shape of the weight that a slot belongs to: slots are kept in lists as long as the weights'."""
    for slots in vars(optimizer).values():
        if isinstance(slots, list) and len(slots) == len(originals):
            for own, entry in zip(originals, slots, strict=True):
                if entry is slot:
                    return tuple(own.shape)
    raise CannotStack(f"the optimizer's variable {slot.path} belongs to no weight")
