"""Live numbers of many members at once: each member of a stack reads its own."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import tensorflow as tf

from tfopt.search.engines.live_numbers import LiveNumber, LiveNumbers, Values


class StackedNumbers(LiveNumbers):
    """The live numbers of a stack of members, a row a member.

    Inside `member(rows)` a number is the scalar of the member that the rows belong to; inside `columns()` it is the
    (members, 1) column of all, which broadcasts against weights stored as (members, size); else it is the first's.

    Args:
        values: The numbers' values of the member that the graph is traced with.
        capacity: Most tensors that the graph may read of each dtype.
    """

    def __init__(self, values: Values, capacity: int = 128):
        super().__init__(values, 1)
        self._capacity = capacity
        self._members: Sequence[Values] = [values]
        self._tables = {
            dtype: tf.Variable(tf.zeros((1, capacity), dtype), shape=(None, capacity), trainable=False)
            for dtype in self._slots
        }
        self._rows: dict[str, tf.Tensor] | None = None
        self._in_columns = False

    def set_members(self, members: Sequence[Values]) -> None:
        """Give every member its values; the next call of the graph reads them."""
        self._members = members
        for dtype in self._tables:
            self._fill(dtype)

    def rows(self) -> dict[str, tf.Tensor]:
        """Return the (members, capacity) tables to map over."""
        return {dtype: table.read_value() for dtype, table in self._tables.items()}

    @contextmanager
    def member(self, rows: dict[str, tf.Tensor]) -> Iterator[None]:
        """Read the member's own numbers: `rows` are its rows of the tables."""
        self._rows = rows
        try:
            yield
        finally:
            self._rows = None

    @contextmanager
    def columns(self) -> Iterator[None]:
        """Read the (members, 1) columns of all members' numbers."""
        self._in_columns = True
        try:
            yield
        finally:
            self._in_columns = False

    def read(self, number: LiveNumber, dtype: str) -> tf.Tensor:
        """Return the number of the member being mapped, the column of all members', or the first member's."""
        readers = self._slots[dtype]
        if number.name not in readers:
            if len(readers) == self._capacity:
                raise RuntimeError(f"More than {self._capacity} live numbers of type {dtype}.")
            readers[number.name] = number
            with tf.init_scope():
                self._fill(dtype)
        slot = list(readers).index(number.name)
        if self._rows is not None:
            return self._rows[dtype][slot]
        return self._tables[dtype][:, slot : slot + 1] if self._in_columns else self._tables[dtype][0, slot]

    def _fill(self, dtype: str) -> None:
        padding = [0] * (self._capacity - len(self._slots[dtype]))
        rows = [
            [reader.value_in(values) for reader in self._slots[dtype].values()] + padding for values in self._members
        ]
        self._tables[dtype].assign(tf.constant(rows, dtype))
