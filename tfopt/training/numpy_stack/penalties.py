"""Penalties of a stack's weights, which are elementwise: L1 and L2."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

import tfopt.regularizers
from tfopt.errors import CannotStack
from tfopt.training.numpy_stack.numbers import Column, MemberNumbers

Array = np.ndarray

Strengths = dict[str, Column]  # of "l1" and "l2"


def _named(*names: str) -> Callable[[Any, MemberNumbers], Strengths]:
    return lambda penalty, numbers: {name: numbers.column(getattr(penalty, name)) for name in names}


def _elastic_net(penalty: tfopt.regularizers.ElasticNet, numbers: MemberNumbers) -> Strengths:
    strength, ratio = numbers.column(penalty.strength), numbers.column(penalty.l1_ratio)
    return {"l1": lambda: strength() * ratio(), "l2": lambda: strength() * (1 - ratio()) / 2}


def _textbook(penalty: tfopt.regularizers.TextbookL2, numbers: MemberNumbers) -> Strengths:
    strength, rows = numbers.column(penalty.strength), numbers.column(penalty.num_samples)
    return {"l2": lambda: strength() / (rows() * (1 if penalty.loss == "mse" else 2))}


_STRENGTHS: dict[type, Callable[[Any, MemberNumbers], Strengths]] = {
    keras.regularizers.L1: _named("l1"),
    keras.regularizers.L2: _named("l2"),
    keras.regularizers.L1L2: _named("l1", "l2"),
    tfopt.regularizers.L1: _named("l1"),
    tfopt.regularizers.L2: _named("l2"),
    tfopt.regularizers.L1L2: _named("l1", "l2"),
    tfopt.regularizers.ElasticNet: _elastic_net,
    tfopt.regularizers.TextbookL2: _textbook,
}


class Penalties:
    """The sum of all penalties of each member.

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
            for name, column in _STRENGTHS[type(regularizer)](regularizer, numbers).items():
                self._strengths[name].append((slice(start, self._size), column))

    def load(self, members: int) -> None:
        """Look up the members' strengths."""
        self._work = np.empty((members, self._size), "float32")
        self._l1, self._twice_l2 = self._columns("l1", 1), self._columns("l2", 2)

    def _columns(self, name: str, factor: int) -> list[tuple[slice, Array]]:
        columns = [(place, (factor * column()[:, None]).astype("float32")) for place, column in self._strengths[name]]
        return [(place, column) for place, column in columns if column.any()]

    def add(self, weights: Array, gradients: Array | None = None) -> Array:
        """Return the (members,) penalties of (members, size) weights; add their gradients to these."""
        total = np.zeros(len(weights), "float32")
        for place, column in self._twice_l2:
            own = weights[:, place]
            pull = np.multiply(own, column, out=self._work[:, place])
            total += np.vecdot(pull, own) / 2
            if gradients is not None:
                gradients[:, place] += pull
        for place, column in self._l1:
            own = weights[:, place]
            pull = np.sign(own, out=self._work[:, place])
            pull *= column
            total += np.vecdot(pull, own)
            if gradients is not None:
                gradients[:, place] += pull
        return total
