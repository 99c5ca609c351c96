"""Penalties of a stack's weights, which are elementwise: L1 and L2."""

from collections.abc import Sequence

import keras
import numpy as np

import tfopt.regularizers
from tfopt.errors import CannotStack
from tfopt.training.numpy_stack.numbers import Column, MemberNumbers

Array = np.ndarray

_STRENGTHS: dict[type, tuple[str, ...]] = {
    keras.regularizers.L1: ("l1",),
    keras.regularizers.L2: ("l2",),
    keras.regularizers.L1L2: ("l1", "l2"),
    tfopt.regularizers.L1L2: ("l1", "l2"),
}


class Penalties:
    """The sum of all penalties of each member.

    Args:
        weights: The model's trainable variables, stored one after another.
        numbers: The model's numbers.

    Raises:
        CannotStack: A regularizer is not known here.
    """

    def __init__(self, weights: Sequence[keras.Variable], numbers: MemberNumbers):
        self._strengths: dict[str, list[tuple[slice, Column]]] = {"l1": [], "l2": []}
        self._size = 0
        for variable in weights:
            start, self._size = self._size, self._size + int(np.prod(variable.shape))
            regularizer = variable.regularizer
            if regularizer is None:
                continue
            if type(regularizer) not in _STRENGTHS:
                raise CannotStack(f"the regularizer {type(regularizer).__name__} has no form in NumPy here")
            for name in _STRENGTHS[type(regularizer)]:
                column = numbers.column(getattr(regularizer, name))
                self._strengths[name].append((slice(start, self._size), column))

    def load(self, members: int) -> None:
        """Look up the members' strengths."""
        self._work = np.empty((members, self._size), "float32")
        self._l1, self._twice_l2 = self._spread("l1", 1, members), self._spread("l2", 2, members)

    def _spread(self, name: str, factor: int, members: int) -> Array | None:
        spread = np.zeros((members, self._size), "float32")
        for place, column in self._strengths[name]:
            spread[:, place] = factor * column()[:, None]
        return spread if spread.any() else None

    def add(self, weights: Array, gradients: Array | None = None) -> Array:
        """Return the (members,) penalties of (members, size) weights; add their gradients to these."""
        total = np.zeros(len(weights), "float32")
        if self._twice_l2 is not None:
            pull = np.multiply(self._twice_l2, weights, out=self._work)
            total += np.vecdot(pull, weights) / 2
            if gradients is not None:
                gradients += pull
        if self._l1 is not None:
            pull = np.sign(weights, out=self._work)
            pull *= self._l1
            total += np.vecdot(pull, weights)
            if gradients is not None:
                gradients += pull
        return total
