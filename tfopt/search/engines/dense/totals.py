"""What an epoch logs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfopt.search.engines.stack import Logs

Array = np.ndarray


class Totals:
    """Means over rows of the loss and the metrics, for each member.

    Args:
        metrics: Functions of outputs and targets by name.
        unpenalized: Names under which the loss is logged without its penalties.
        members: Their number.
    """

    def __init__(self, metrics: Mapping[str, Any], unpenalized: Sequence[str], members: int):
        self._metrics, self._unpenalized, self._rows = metrics, unpenalized, 0
        self._sums = {name: np.zeros(members) for name in ("loss", *metrics, *unpenalized)}

    def add(self, rows: int, loss: Array, penalty: Array, out: Array, y: Array) -> None:
        """Add a batch of so many rows: its mean losses (members,), penalties (members,), outputs and targets."""
        self._rows += rows
        self._sums["loss"] += rows * (loss + penalty)
        for name in self._unpenalized:
            self._sums[name] += rows * loss
        for name, metric in self._metrics.items():
            self._sums[name] += metric(out, y).sum(axis=1)

    def means(self) -> Logs:
        """Return the mean of each."""
        return {name: total / self._rows for name, total in self._sums.items()}
