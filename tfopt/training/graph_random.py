"""Random numbers inside `tf.vectorized_map`, equal to those that each member would draw alone.

TensorFlow vectorises no stateless random operation whose seed differs between the members. Here each operation is run
once for every distinct stream and its result handed to the members of that stream: members of equal seed share the
draws, as fits of equal seed do. Converters are registered for the operations that have none in TensorFlow 2.21.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf

from tfopt._private.tensorflow_graphs import register_rules, run_again, wrapped
from tfopt.errors import CannotStack

_DRAWS = (
    "StatelessRandomGetKeyCounter",
    "StatelessRandomUniformV2",
    "StatelessRandomUniformIntV2",
    "StatelessRandomUniformFullIntV2",
    "StatelessRandomNormalV2",
    "StatelessTruncatedNormalV2",
)


class RandomStreams:
    """Which members draw from the same random streams.

    Args:
        capacity: Most distinct streams; the graph draws this many times.
        compiled: Whether XLA draws, which makes other numbers of the same bits.
    """

    _active: "RandomStreams | None" = None

    def __init__(self, capacity: int, compiled: bool = False):
        self.capacity, self._compiled = capacity, compiled
        self.drawn = False  # whether any operation drew
        self._first = tf.Variable(np.zeros(capacity, np.int32), trainable=False)  # a member of each stream
        self._stream = tf.Variable(np.zeros(1, np.int32), shape=(None,), trainable=False)  # the stream of each member
        self._read: tuple[tf.Tensor, tf.Tensor] | None = None

    def set(self, states: np.ndarray) -> None:
        """Group the members by the state of their generators, a row a member."""
        if not self.drawn:
            return
        _, first, stream = np.unique(states, axis=0, return_index=True, return_inverse=True)
        self._first.assign(np.pad(first, (0, self.capacity - len(first))).astype(np.int32))
        self._stream.assign(stream.reshape(-1).astype(np.int32))

    @contextmanager
    def use(self) -> Iterator[None]:
        """Convert the random operations of the `tf.vectorized_map` traced within."""
        register_rules(_DRAWS, _rule)
        before, RandomStreams._active = RandomStreams._active, self
        self._read = (self._first.read_value(), self._stream.read_value())
        try:
            yield
        finally:
            RandomStreams._active = before

    def convert(self, operation: Any) -> list:
        """Return the operation's outputs for every member."""
        self.drawn = True
        if self._read is None:
            raise RuntimeError("The streams are not in use.")
        first, stream = self._read
        inputs = [operation.input(index) for index in range(operation.num_inputs)]
        picked = [
            tf.unstack(tf.gather(tensor, first), self.capacity) if stacked else [tensor] * self.capacity
            for tensor, stacked, _ in inputs
        ]

        def draw(*own: tf.Tensor) -> list:
            return run_again(operation, own)

        if self._compiled:
            draw = tf.function(draw, autograph=False, jit_compile=True)
        drawn = [draw(*own) for own in zip(*picked, strict=True)]
        if self.capacity == 1 and not self._compiled:  # else what draws from the one key would not come here
            return wrapped(drawn[0], stacked=False)
        return wrapped([tf.gather(tf.stack(outputs), stream) for outputs in zip(*drawn, strict=True)], stacked=True)


def vectorized(function: Callable[[Any], Any], arguments: Any) -> Any:
    """Map over members; say why in one line where TensorFlow cannot."""
    try:
        return tf.vectorized_map(function, arguments, fallback_to_while_loop=False)
    except ValueError as error:  # "No pfor vectorization defined for Conv2D", then the operation at length
        lines = [line for line in str(error).splitlines() if line.strip()]
        raise CannotStack(lines[0] if lines else type(error).__name__) from error


@contextmanager
def quiet_tensorflow() -> Iterator[None]:
    """Keep TensorFlow from logging at length that an operation has no vectorised form, which is raised as well."""
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _rule(operation: Any) -> list | None:
    return None if RandomStreams._active is None else RandomStreams._active.convert(operation)
