"""Arguments that may be a number, a stack of numbers, a tensor or a variable, and the configs made from them."""

import inspect
import numbers
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from types import ModuleType
from typing import Any

import keras
import numpy as np
from keras import ops

from tfopt._names import known_as
from tfopt.errors import nearest

_SMALLEST_SEED = -(2**63)
Value = Any  # a float, a float64 array, a tensor, or a Keras or TensorFlow variable
# What may be given for one: a number, numbers for a stack of members, a tensor or a variable.
Number = float | Sequence[float] | np.ndarray | keras.Variable | keras.KerasTensor


def number(
    name: str,
    value: Any,
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
    below: float | None = None,
    owner: str | None = None,
    stacked: bool = True,
) -> Value:
    """Check a number and return it as a float; a list of numbers, for a stack of members, as a float64 array.

    Tensors and variables are returned untouched and not checked: their numbers may not be known yet, or change later.

    Args:
        name: The argument's.
        value: What was given for it.
        minimum: It must be at least this.
        maximum: It must be at most this.
        above: It must be greater than this.
        below: It must be less than this.
        owner: The class or function that was given it, where errors should say so.
        stacked: Whether lists, tensors and variables are taken at all.

    Raises:
        TypeError: It is no number.
        ValueError: It, or one of a list, is out of bounds or not finite.
    """
    if stacked and is_live(value):
        return value
    array = _array(value, stacked)
    if array is None:
        kinds = "a number, a list of numbers, a tensor or a variable" if stacked else "a number"
        raise TypeError(f"{_must(name, owner)} be {kinds}. Received: {name}={_cut(value)} (a {type(value).__name__}).")
    bounds = {">=": minimum, "<=": maximum, ">": above, "<": below}
    wish = " and ".join(f"{sign} {bound:g}" for sign, bound in bounds.items() if bound is not None)
    if not np.all(np.isfinite(array)):
        wish = "finite"
    elif np.any(np.abs(array) > _LARGEST):
        wish = f"within ±{_LARGEST:.3g}, what a float32 holds"
    elif all(np.all(_COMPARE[sign](array, bound)) for sign, bound in bounds.items() if bound is not None):
        return array if array.ndim else float(array)
    raise ValueError(f"{_must(name, owner)} be {wish}. Received: {name}={_cut(value)}.")


_LARGEST = float(np.finfo("float32").max)
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    ">=": np.greater_equal,
    "<=": np.less_equal,
    ">": np.greater,
    "<": np.less,
}


def _array(value: Any, stacked: bool) -> np.ndarray | None:
    if _is_number(value):
        try:
            with np.errstate(over="ignore"):  # of a long double
                return np.array(value, "float64")
        except OverflowError:  # an int of more than 308 digits
            return np.array(np.inf)
    if not stacked or not isinstance(value, (list, tuple, np.ndarray)) or np.ma.is_masked(value):
        return None
    try:
        array = np.asarray(value)
    except ValueError:  # rows of unequal length
        return None
    return array.astype("float64") if array.dtype.kind in "iuf" and array.size else None


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, (bool, np.bool_))


def _cut(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # an int of so many digits that Python does not write them
        return f"a {type(value).__name__} too long to write"
    return text if len(text) <= 200 else f"{text[:200]}…"


def _must(name: str, owner: str | None) -> str:
    return f"Argument `{name}` must" if owner is None else f"Argument `{name}` of {owner} must"


def whole_number(name: str, value: Any, minimum: int = 1, owner: str | None = None) -> int:
    """Check a count, given as an int or as a float without a fraction, and return it as an int."""
    return _whole(name, value, minimum, owner)


def num_steps(name: str, value: Any, minimum: int = 1) -> Any:
    """Check a count of optimizer steps and return it as an int, or as the tensor or variable that it is."""
    remedy = " From epochs: tfopt.schedules.num_updates(data, epochs, batch_size)."
    return value if is_live(value) else _whole(name, value, minimum, None, " of optimizer steps", remedy)


def _whole(name: str, value: Any, minimum: int, owner: str | None, unit: str = "", remedy: str = "") -> int:
    if not _is_whole(value):
        raise TypeError(f"{_must(name, owner)} be a whole number{unit}. Received: {name}={_cut(value)}.{remedy}")
    if not minimum <= value < 2**63:
        bound = f">= {minimum}" if value < minimum else "< 2**63"
        raise ValueError(f"{_must(name, owner)} be {bound}. Received: {name}={_cut(value)}.")
    return int(value)


def _is_whole(value: Any) -> bool:
    if not _is_number(value):
        return False
    return value.denominator == 1 if isinstance(value, numbers.Rational) else float(value).is_integer()


def whole_numbers(name: str, value: Any, minimum: int = 1, owner: str | None = None) -> list[int]:
    """Check a list of whole numbers, at least one."""
    return [whole_number(name, item, minimum, owner) for item in items(name, value, owner)]


def items(name: str, value: Any, owner: str | None = None) -> list[Any]:
    """Check that something is a list, a tuple or an array that holds something, and return it as a list."""
    if not is_list(value):
        raise TypeError(f"{_must(name, owner)} be a list. Received: {name}={_cut(value)} (a {type(value).__name__}).")
    if not len(value):
        raise ValueError(f"{_must(name, owner)} hold at least one number. Received: {name}={_cut(value)}.")
    return list(value)


def array_argument(name: str, value: Any, owner: str | None = None) -> np.ndarray:
    """Check that something is an array of numbers, and return it as float64."""
    try:
        return np.asarray(value, dtype="float64")
    except (TypeError, ValueError, OverflowError) as error:
        raise TypeError(f"{_must(name, owner)} be an array of numbers. Received: {name}={_cut(value)}.") from error


def is_list(value: Any) -> bool:
    """True for lists, tuples and arrays; strings and scalars are none."""
    if isinstance(value, np.ndarray):
        return value.ndim > 0
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def axis_argument(value: Any, owner: str, name: str = "axis") -> int:
    """Check an axis: a whole number, counted from the end where it is negative."""
    return _whole(name, value, -(2**31), owner)


def axes_argument(value: Any, owner: str, name: str = "axis") -> int | list[int]:
    """Check an axis, or a list of them."""
    if is_list(value):
        return [axis_argument(item, owner, name) for item in items(name, value, owner)]
    return axis_argument(value, owner, name)


def flag(name: str, value: Any, owner: str | None = None) -> bool:
    """Check a yes or no, given as True or False (or 1 or 0), and return it as a bool."""
    if not isinstance(value, (bool, np.bool_, int)) or value not in (0, 1):
        raise TypeError(f"{_must(name, owner)} be True or False. Received: {name}={_cut(value)}.")
    return bool(value)


def text(name: str, value: Any, owner: str | None = None) -> str:
    """Check that something is a string."""
    if not isinstance(value, str):
        raise TypeError(f"{_must(name, owner)} be a string. Received: {name}={_cut(value)}.")
    return value


def integer_seed(seed: Any, owner: str) -> int | None:
    """Check a seed of a layer: None or an integer."""
    return None if seed is None else _whole("seed", seed, _SMALLEST_SEED, owner)


def seed_argument(seed: Any, owner: str) -> Any:
    """Check a seed: None, an integer, a `SeedGenerator` or its config."""
    if isinstance(seed, dict):
        seed = keras.saving.deserialize_keras_object(seed)
    if seed is None or isinstance(seed, keras.random.SeedGenerator):
        return seed
    if isinstance(seed, bool) or not isinstance(seed, numbers.Integral):
        raise TypeError(
            f"{_must('seed', owner)} be None, an integer or a keras.random.SeedGenerator. Received: seed={_cut(seed)}."
        )
    return integer_seed(seed, owner)


def from_keras(name: str, value: Any, module: ModuleType, owner: str) -> Any:
    """Return what `get` of a module of Keras, such as `keras.activations`, makes of a name, a config or an instance."""
    try:
        return module.get(value)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{_must(name, owner)} be something that {module.__name__}.get takes. Received: {name}={_cut(value)}. "
            f"{error}"
        ) from error


def choice(name: str, value: Any, choices: Iterable[str], owner: str | None = None) -> str:
    """Check that `value` is one of `choices`."""
    choices = list(choices)
    if not isinstance(value, str) or value not in choices:
        hint = nearest(value, choices) if isinstance(value, str) else ""
        raise ValueError(f"{_must(name, owner)} be one of {choices}. Received: {name}={_cut(value)}.{hint}")
    return value


def value_argument(
    value: Any, owner: str, name: str, minimum: float | None = 0.0, maximum: float | None = None
) -> Value:
    """Check a hyperparameter of a piece that takes stacks, tensors and variables: see `number`."""
    return number(name, value, minimum, maximum, owner=owner)


def number_argument(
    value: Any,
    owner: str,
    name: str,
    minimum: float | None = None,
    maximum: float | None = None,
    exclusive: bool = False,
) -> float:
    """Check a plain number; `exclusive` leaves the bounds themselves out."""
    bounds = {"above": minimum, "below": maximum} if exclusive else {"minimum": minimum, "maximum": maximum}
    return number(name, value, **bounds, owner=owner, stacked=False)


def count_argument(value: Any, owner: str, name: str, minimum: int = 1) -> int:
    """Check a whole number."""
    return whole_number(name, value, minimum, owner)


def choice_argument(value: Any, owner: str, name: str, choices: Sequence[str]) -> str:
    """Check a named choice."""
    return choice(name, value, choices, owner)


class Held:
    """Keeps a value out of sight of Keras's tracking, which would make a caller's variable a weight of the layer."""

    def __init__(self, value: Value):
        self.value = value


def is_live(value: Any) -> bool:
    """True for tensors and variables."""
    return isinstance(value, keras.Variable) or ops.is_tensor(value) or hasattr(value, "assign_add")


def widest_float() -> str:
    """Return `"float64"`, which holds whole numbers up to 2**53; JAX has only float32 unless it is told otherwise."""
    return "float32" if keras.backend.backend() == "jax" else "float64"


def as_tensor(value: Value, dtype: Any) -> Any:
    """`value` in `dtype`, read where it stands: a variable is read inside the graph, a float is not rounded twice."""
    if is_live(value):
        return ops.cast(value, dtype)
    return ops.convert_to_tensor(value, dtype=dtype)


def lifted(value: Value, x: Any) -> Any:
    """`value` as a tensor that broadcasts against `x`, its own axes (of a stack) in front."""
    tensor = as_tensor(value, x.dtype)
    return ops.reshape(tensor, tuple(tensor.shape) + (1,) * len(x.shape))


def total(elementwise: Any, x: Any) -> Any:
    """Sum over the axes of `x`, leaving those of a stack of values."""
    rank = len(x.shape)
    return ops.sum(elementwise, axis=tuple(range(-rank, 0))) if rank else elementwise


def plain(value: Any, owner: str = "", name: str = "") -> Any:
    """`value` as it goes into a config: what a tensor or variable holds now becomes numbers.

    A float32 variable that was made from 0.3 gives 0.3, not 0.30000001: the number with the fewest digits.
    """
    if is_live(value):
        try:
            value = value.numpy() if hasattr(value, "numpy") else np.asarray(value)
        except (NotImplementedError, AttributeError, ValueError) as error:
            raise TypeError(
                f"{_must(name, owner)} have a value to be saved. Received a tensor inside a graph. Pass a number or a "
                "variable."
            ) from error
        value = value if value.dtype.kind in "iub" else _shortest(value)
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return list(value) if isinstance(value, tuple) else value


def _shortest(array: np.ndarray) -> np.ndarray:
    return np.array([float(str(number)) for number in np.ravel(array)]).reshape(np.shape(array))


def config_of(instance: Any) -> dict[str, Any]:
    """The arguments of `instance`, read from the attributes of the same names."""
    owner = type(instance).__name__
    return {
        name: plain(getattr(instance, name), owner, name)
        for name in inspect.signature(type(instance).__init__).parameters
        if name not in {"self", "kwargs"}
    }


def repr_of(instance: Any, hidden: Collection[str] = ()) -> str:
    """Return `instance` as Python writes it, with what its variables hold now; inside a graph they are named."""
    names = [name for name in inspect.signature(type(instance)).parameters if name not in {"kwargs", *hidden}]
    return f"{type(instance).__name__}({', '.join(f'{name}={_shown(getattr(instance, name))}' for name in names)})"


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(_shown, value)) + "]"
    try:
        return repr(plain(value))
    except TypeError:  # inside a graph a variable has no value
        return repr(value)


def snake_case(name: str) -> str:
    """`GroupLasso` as `group_lasso`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z0-9])(?=[A-Z][a-z])", "_", name).lower()


def _names(cls: type) -> set[str]:
    return {cls.__name__, cls.__name__.lower(), snake_case(cls.__name__)}


def look_up(identifier: Any, classes: Iterable[type], keras_get: Callable[[Any], Any], what: str) -> Any:
    """Keras's `get` contract over `classes` first and Keras's own after: None, name, config, class, instance."""
    if isinstance(identifier, str):
        by_name = {name: cls for cls in classes for name in _names(cls)}
        if identifier in by_name:
            return by_name[identifier]()
    try:
        return keras_get(identifier)
    except ValueError as error:
        names = sorted(snake_case(cls.__name__) for cls in classes)
        hint = known_as(identifier, names) if isinstance(identifier, str) else ""
        raise ValueError(
            f"Unknown {what}: {identifier!r}.{hint} tfopt has: {', '.join(names)}; or any of Keras's own names."
        ) from error
