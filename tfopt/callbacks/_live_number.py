"""A number that stock Keras code takes for a Python one, and that a compiled graph reads from a variable."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops


class LiveNumber:
    """Stand in for a Python float as an attribute of an optimizer or a regularizer.

    Keras asks such attributes only whether they are 0 (``if self.momentum != 0``): a number that a schedule drives
    counts as not 0, so that the code behind it is in the graph. Arithmetic is float64 before it is rounded to Keras's
    float type: 1 - 0.999 in float32 would be off by 1e-5.
    """

    def __init__(self, variable: keras.Variable):
        self.variable = variable

    def _exact(self) -> Any:
        return ops.cast(self.variable, "float64")

    def _with(self, other: Any, function: Callable[[Any, Any], Any], swapped: bool = False) -> Any:
        if isinstance(other, LiveNumber):
            other = other._exact()
        if isinstance(other, (int, float)):
            exact = self._exact()
            other = ops.cast(other, "float64")
            return ops.cast(function(other, exact) if swapped else function(exact, other), keras.config.floatx())
        value = ops.cast(self.variable, other.dtype)
        return function(other, value) if swapped else function(value, other)

    def __add__(self, other: Any) -> Any:
        return self._with(other, ops.add)

    def __radd__(self, other: Any) -> Any:
        return self._with(other, ops.add, swapped=True)

    def __sub__(self, other: Any) -> Any:
        return self._with(other, ops.subtract)

    def __rsub__(self, other: Any) -> Any:
        return self._with(other, ops.subtract, swapped=True)

    def __mul__(self, other: Any) -> Any:
        return self._with(other, ops.multiply)

    def __rmul__(self, other: Any) -> Any:
        return self._with(other, ops.multiply, swapped=True)

    def __truediv__(self, other: Any) -> Any:
        return self._with(other, ops.divide)

    def __rtruediv__(self, other: Any) -> Any:
        return self._with(other, ops.divide, swapped=True)

    def __pow__(self, other: Any) -> Any:
        return self._with(other, ops.power)

    def __rpow__(self, other: Any) -> Any:
        return self._with(other, ops.power, swapped=True)

    def __neg__(self) -> Any:
        return -ops.cast(self.variable, keras.config.floatx())

    def _against_zero(self, other: Any, answer: bool) -> bool:
        if isinstance(other, (int, float)) and other == 0:
            return answer
        raise TypeError(
            "A hyperparameter that a schedule drives was compared with something other than 0 while the training graph "
            "was made; which branch to take would depend on the step. It cannot be scheduled."
        )

    def __eq__(self, other: object) -> bool:
        return self is other or (not isinstance(other, LiveNumber) and self._against_zero(other, False))

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __gt__(self, other: Any) -> bool:
        return self._against_zero(other, True)

    def __ge__(self, other: Any) -> bool:
        return self._against_zero(other, True)

    def __lt__(self, other: Any) -> bool:
        return self._against_zero(other, False)

    def __le__(self, other: Any) -> bool:
        return self._against_zero(other, False)

    def __bool__(self) -> bool:
        return True

    __hash__ = object.__hash__

    def __float__(self) -> float:
        return float(ops.convert_to_numpy(ops.convert_to_tensor(self.variable)))

    def __tf_tensor__(self, dtype: Any = None, name: str | None = None) -> Any:
        return ops.cast(self.variable, keras.backend.standardize_dtype(dtype) if dtype else keras.config.floatx())
