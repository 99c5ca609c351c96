"""Numbers that stay symbolic in a traced graph, so that they can change without a new trace.

Keras bakes Python numbers (a dropout rate, beta_1, a decay rate) into the graph that it traces. Here such a number is
replaced by a `SymbolicNumber`: used in a tensor it is read from a variable, and combined with other Python numbers it
is computed on the host in double precision first, as Python would have (`1 - beta_1` rounds once, as in Keras). Where
Python must know the value itself (`if rate > 0`, `float(x)`), the answer is given and noted as a guard, as
torch.dynamo does; values that would answer differently need a trace of their own.
"""

import math
import numbers
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfopt._private.tensorflow_graphs import numbers_kept_from_c

Values = Mapping[str, float | int]


def traced_otherwise(traced: Values, numbers: Values) -> str | None:
    """Return which number a graph was traced with another value of; None if there is none."""
    for name, value in traced.items():
        new = numbers[name]
        if new != value and not (new != new and value != value):
            return f"{name} is {new} and was traced as {value}"
    return None


_DTYPES = ("float32", "float64", "float16", "bfloat16", "int32", "int64")


class NumberTable:
    """The symbolic numbers of one graph, and the variables that the graph reads them from.

    Args:
        values: The numbers' present values by name; of these, `number` makes symbolic ones.
        capacity: Most tensors that the graph may read of each dtype. Variables cannot be made while tracing.
    """

    def __init__(self, values: Values, capacity: int = 256):
        self.values = values
        self.guards: list[Guard] = []
        self._guarded: set[str] = set()
        self._slots: dict[str, dict[str, SymbolicNumber]] = {
            dtype: {} for dtype in _DTYPES
        }  # by name, which is the formula
        self._variables = {dtype: tf.Variable(tf.zeros((capacity,), dtype), trainable=False) for dtype in _DTYPES}
        self._capacity = capacity

    def number(self, name: str) -> "SymbolicNumber":
        """Return the symbolic number that stands for `values[name]`."""
        return SymbolicNumber(self, lambda values: values[name], name)

    def set(self, values: Values) -> None:
        """Give every symbolic number its new value; the next call of the graph reads it."""
        self.values = values
        for dtype, readers in self._slots.items():
            if readers:
                self._fill(dtype)

    def broken_guard(self, values: Values) -> str | None:
        """Return what Python code would decide differently under these values; None if nothing."""
        for guard in self.guards:
            try:
                kept = guard.holds(values)
            except (ArithmeticError, ValueError) as error:
                return f"{guard.text}: {error}"
            if not kept:
                return guard.text
        return None

    def read(self, number: "SymbolicNumber", dtype: str) -> tf.Tensor:
        """Return the number as a tensor, read from its variable."""
        return self._variables[dtype][self._slot(number, dtype)]

    def _slot(self, number: "SymbolicNumber", dtype: str) -> int:
        """Return the number's place in the variable of this dtype, a new one at its first use."""
        readers = self._slots[dtype]
        if number.name not in readers:
            if len(readers) == self._capacity:
                raise RuntimeError(f"More than {self._capacity} symbolic numbers of type {dtype}.")
            readers[number.name] = number
            with tf.init_scope():
                self._fill(dtype)
        return list(readers).index(number.name)

    def _fill(self, dtype: str) -> None:
        row = [reader.value_in(self.values) for reader in self._slots[dtype].values()]
        self._variables[dtype].assign(tf.constant(row + [0] * (self._capacity - len(row)), dtype))

    def guard(self, number: "SymbolicNumber", test: Callable[[Any], Any], answer: Any, text: str) -> None:
        """Note that Python asked for a value and was told `answer`."""
        text = f"{number.name} {text}"
        if text not in self._guarded:
            self._guarded.add(text)
            self.guards.append(Guard(number, test, answer, text))


class Guard:
    """A decision that Python took while the graph was traced."""

    def __init__(self, number: "SymbolicNumber", test: Callable[[Any], Any], answer: Any, text: str):
        self._number, self._test, self._answer, self.text = number, test, answer, text

    def holds(self, values: Values) -> bool:
        """Return whether these values lead to the same decision."""
        return self._test(self._number.value_in(values)) == self._answer


class SymbolicNumber:
    """A number that a graph reads at each call. See the module.

    It is no float, because C code would then take its value in silence, but it is registered as a real number.
    """

    __array_ufunc__ = None
    __array_priority__ = 1e6
    shape = ()

    def __init__(self, owner: NumberTable, value_in: Callable[[Values], Any], name: str):
        self.owner, self.value_in, self.name = owner, value_in, name

    @property
    def value(self) -> float | int:
        """The present value."""
        return self.value_in(self.owner.values)

    @property
    def dtype(self) -> type:
        """`int` or `float`: Keras promotes it as it does Python's numbers."""
        return int if isinstance(self.value, int) else float

    def get_shape(self) -> tf.TensorShape:
        """Return the shape of a scalar."""
        return tf.TensorShape(())

    def tensor(self, dtype: Any = None) -> tf.Tensor:
        """Return the number as a scalar tensor; by default int32 or Keras's float type."""
        if dtype is None:
            dtype = "int32" if self.dtype is int else keras.config.floatx()
        return self.owner.read(self, tf.as_dtype(dtype).name)

    def __tf_tensor__(self, dtype: Any = None, name: str | None = None) -> tf.Tensor:
        return self.tensor(dtype)

    def map(self, function: Callable[[Any], Any], text: str) -> "SymbolicNumber":
        """Return the symbolic number `function(self)`, computed on the host."""
        return SymbolicNumber(self.owner, lambda values: function(self.value_in(values)), f"{text}({self.name})")

    def _combine(self, other: Any, function: Callable[[Any, Any], Any], text: str, reflected: bool) -> Any:
        if isinstance(other, SymbolicNumber) or _is_number(other):
            left, right = (_reader(other), self.value_in) if reflected else (self.value_in, _reader(other))
            name = f"({getattr(other, 'name', other)} {text} {self.name}{', reflected' if reflected else ''})"
            return SymbolicNumber(self.owner, lambda values: function(left(values), right(values)), name)
        tensor = self.tensor(getattr(other, "dtype", None))
        return function(other, tensor) if reflected else function(tensor, other)

    def _compare(self, other: Any, function: Callable[[Any, Any], Any], text: str) -> Any:
        if isinstance(other, SymbolicNumber):
            difference = SymbolicNumber(
                self.owner, lambda values: function(self.value_in(values), other.value_in(values)), self.name
            )
            answer = function(self.value, other.value)
            self.owner.guard(difference, lambda result: result, answer, f"{text} {other.name} is {answer}")
            return answer
        if _is_number(other):
            answer = function(self.value, other)
            self.owner.guard(self, lambda value: function(value, other), answer, f"{text} {other!r} is {answer}")
            return answer
        if other is None or isinstance(other, (str, bool, type, tuple, list)):
            return NotImplemented
        return function(self.tensor(getattr(other, "dtype", None)), other)

    def _fixed(self, kind: Callable[[Any], Any]) -> Any:
        value = self.value
        self.owner.guard(self, lambda new: new, value, f"is {value!r}, which is used as Python's {kind.__name__}")
        return kind(value)

    def __bool__(self) -> bool:
        answer = bool(self.value)
        self.owner.guard(self, bool, answer, f"as a truth value is {answer}")
        return answer

    def __float__(self) -> float:
        return self._fixed(float)

    def __int__(self) -> int:
        return self._fixed(int)

    def __index__(self) -> int:
        return self._fixed(operator.index)

    def __hash__(self) -> int:
        return id(self)

    def __neg__(self) -> "SymbolicNumber":
        return self.map(operator.neg, "-")

    def __pos__(self) -> "SymbolicNumber":
        return self

    def __abs__(self) -> "SymbolicNumber":
        return self.map(abs, "abs")

    def __repr__(self) -> str:
        return f"SymbolicNumber({self.name}={self.value!r})"

    def __copy__(self) -> "SymbolicNumber":
        return self

    def __deepcopy__(self, memo: dict) -> "SymbolicNumber":
        return self

    def __reduce__(self) -> tuple:
        return type(self.value), (self.value,)  # pickled, it is the plain number


def _is_number(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.ndim == 0
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


def _reader(value: Any) -> Callable[[Values], Any]:
    return value.value_in if isinstance(value, SymbolicNumber) else lambda values: value


def _add_operators(names: Iterable[str], make: Callable[[Callable[[Any, Any], Any], str], dict[str, Any]]) -> None:
    for name in names:
        for method, function in make(getattr(operator, name), name).items():
            setattr(SymbolicNumber, method, function)


_add_operators(
    ("add", "sub", "mul", "truediv", "pow", "mod", "floordiv"),
    lambda function, name: {
        f"__{name}__": lambda self, other: self._combine(other, function, name, False),
        f"__r{name}__": lambda self, other: self._combine(other, function, name, True),
    },
)
_add_operators(
    ("lt", "le", "gt", "ge", "eq", "ne"),
    lambda function, name: {f"__{name}__": lambda self, other: self._compare(other, function, name)},
)
numbers.Real.register(SymbolicNumber)


class SymbolicMath:
    """The module `math`, whose functions of one argument keep a symbolic number symbolic."""

    def __getattr__(self, name: str) -> Any:
        function = getattr(math, name)
        if not callable(function):
            return function

        def call(*arguments: Any) -> Any:
            if len(arguments) == 1 and isinstance(arguments[0], SymbolicNumber):
                return arguments[0].map(function, name)
            return function(*arguments)

        return call


@contextmanager
def kept_symbolic() -> Iterator[None]:
    """Keep numbers symbolic while a graph is traced, also where Keras itself hands a number to C."""
    with numbers_kept_from_c(_leaky_relu, SymbolicMath()):
        yield


def _leaky_relu(stock: Callable[..., Any], x: Any, negative_slope: Any = 0.2) -> Any:
    if isinstance(negative_slope, SymbolicNumber):  # tf.nn.leaky_relu would bake it in as an attribute of its operation
        x = tf.convert_to_tensor(x)
        return tf.where(x > 0, x, x * negative_slope.tensor(x.dtype))
    return stock(x, negative_slope)


class StackedNumberTable(NumberTable):
    """The symbolic numbers of a stack of members, a row a member.

    Inside `member(rows)` a number is the scalar of the member that the rows belong to; inside `columns()` it is the
    (members, 1) column of all, which broadcasts against weights stored as (members, size); else it is the first's.
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

    def read(self, number: SymbolicNumber, dtype: str) -> tf.Tensor:
        """Return the number of the member being mapped, the column of all members', or the first member's."""
        slot = self._slot(number, dtype)
        if self._rows is not None:
            return self._rows[dtype][slot]
        return self._tables[dtype][:, slot : slot + 1] if self._in_columns else self._tables[dtype][0, slot]

    def _fill(self, dtype: str) -> None:
        padding = [0] * (self._capacity - len(self._slots[dtype]))
        rows = [
            [reader.value_in(values) for reader in self._slots[dtype].values()] + padding for values in self._members
        ]
        self._tables[dtype].assign(tf.constant(rows, dtype))
