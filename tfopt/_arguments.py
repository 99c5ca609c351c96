"""Arguments that may be a number, a stack of numbers, a tensor or a variable, and the configs made from them."""

import inspect
import math
import numbers
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

Value = Any  # a float, a float64 array, a tensor, or a Keras or TensorFlow variable


def value_argument(
    value: Any, owner: str, name: str, minimum: float | None = 0.0, maximum: float | None = None
) -> Value:
    """Check a hyperparameter and return it as a float, a float64 array, or untouched when it is a tensor or variable.

    Tensors and variables are not checked: their numbers may not be known yet, or change later.
    """
    if is_live(value):
        return value
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    is_stack = isinstance(value, (list, tuple, np.ndarray, np.generic)) and np.asarray(value).dtype.kind in "iuf"
    if not (is_number or is_stack):
        raise TypeError(
            f"Argument `{name}` of {owner} must be a number, a list of numbers, a tensor or a variable. "
            f"Received: {name}={value!r} (a {type(value).__name__})."
        )
    array = np.asarray(value, dtype=np.float64)
    low = -math.inf if minimum is None else minimum
    high = math.inf if maximum is None else maximum
    if not np.all(np.isfinite(array)) or np.any(array < low) or np.any(array > high):
        bounds = [f">= {minimum:g}"] if minimum is not None else []
        bounds += [f"<= {maximum:g}"] if maximum is not None else []
        constraint = " and ".join(["finite", *bounds])
        raise ValueError(f"Argument `{name}` of {owner} must be {constraint}. Received: {name}={value!r}.")
    return float(array) if np.ndim(array) == 0 else array


def number_argument(
    value: Any,
    owner: str,
    name: str,
    minimum: float | None = None,
    maximum: float | None = None,
    exclusive: bool = False,
) -> float:
    """Check a plain number; `exclusive` leaves the bounds themselves out."""
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        raise TypeError(f"Argument `{name}` of {owner} must be a number. Received: {name}={value!r}.")
    number = float(value)
    too_low = minimum is not None and (number <= minimum if exclusive else number < minimum)
    too_high = maximum is not None and (number >= maximum if exclusive else number > maximum)
    if not math.isfinite(number) or too_low or too_high:
        sign = "" if exclusive else "="
        bounds = [f">{sign} {minimum:g}"] if minimum is not None else []
        bounds += [f"<{sign} {maximum:g}"] if maximum is not None else []
        constraint = " and ".join(["finite", *bounds])
        raise ValueError(f"Argument `{name}` of {owner} must be {constraint}. Received: {name}={value!r}.")
    return number


def count_argument(value: Any, owner: str, name: str, minimum: int = 1) -> int:
    """Check a whole number."""
    if not isinstance(value, numbers.Integral) or isinstance(value, bool):
        raise TypeError(f"Argument `{name}` of {owner} must be a whole number. Received: {name}={value!r}.")
    if value < minimum:
        raise ValueError(f"Argument `{name}` of {owner} must be >= {minimum}. Received: {name}={value!r}.")
    return int(value)


def choice_argument(value: Any, owner: str, name: str, choices: Sequence[str]) -> str:
    """Check a named choice."""
    if value not in choices:
        raise ValueError(f"Argument `{name}` of {owner} must be one of {list(choices)}. Received: {name}={value!r}.")
    return value


class Held:
    """Keeps a value out of sight of Keras's tracking, which would make a caller's variable a weight of the layer."""

    def __init__(self, value: Value):
        self.value = value


def is_live(value: Any) -> bool:
    """True for tensors and variables."""
    return isinstance(value, keras.Variable) or ops.is_tensor(value) or hasattr(value, "assign_add")


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


def plain(value: Any, owner: str, name: str) -> Any:
    """`value` as it goes into a config: what a tensor or variable holds now becomes numbers."""
    if is_live(value):
        try:
            value = value.numpy() if hasattr(value, "numpy") else np.asarray(value)
        except (NotImplementedError, AttributeError, ValueError) as error:
            raise TypeError(
                f"Argument `{name}` of {owner} is a tensor inside a graph, which has no value to save. "
                "Pass a number or a variable."
            ) from error
        value = _shortest(value)
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, tuple):
        return list(value)
    return value


def _shortest(array: np.ndarray) -> np.ndarray:
    """The float64 numbers with the fewest digits that round to those of `array`: 0.3 for float32's 0.30000001."""
    return np.vectorize(lambda number: float(str(number)), otypes=[np.float64])(array)


def config_of(instance: Any) -> dict[str, Any]:
    """The arguments of `instance`, read from the attributes of the same names."""
    owner = type(instance).__name__
    return {
        name: plain(getattr(instance, name), owner, name)
        for name in inspect.signature(type(instance).__init__).parameters
        if name not in {"self", "kwargs"}
    }


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
        names = ", ".join(sorted(snake_case(cls.__name__) for cls in classes))
        raise ValueError(f"Unknown {what}: {identifier!r}. tfopt has: {names}; or any of Keras's own names.") from error
