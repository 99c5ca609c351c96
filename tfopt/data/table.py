"""What a data set is once it has been read: features as the user's raw columns, and a target."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd

from tfopt.data.column import Column, Kind

__all__ = ["Column", "Kind", "Table", "Task"]

Task = Literal["regression", "classification"]


@dataclass
class Table:
    """A data set ready for folds.

    Args:
        name: Short name for reports.
        source: Where it came from: a path or the name of an embedded set.
        sha256: Hash of the data, to recognise the same data at `--resume`.
        task: What kind of target it has.
        features: (rows, columns) values, one column for each entry of `columns`. Numeric columns are numbers with
            NaN for missing, boolean columns 0.0, 1.0 or NaN, categorical columns pandas categories of strings, date
            columns `datetime64`, text columns strings with NaN for missing.
        columns: How each feature is encoded, in the order of `features`.
        target: Regression: float64, (rows,) or (rows, targets). Classification: int64 codes into `classes`, (rows,).
        target_names: Name of each target column.
        target_columns: How each target was read.
        classes: The class labels as strings, sorted, for classification; empty otherwise.
        groups: (rows,) int codes of the rows' groups, or None.
        weights: (rows,) float64 example weights, or None.
        class_weight: `"balanced"` where each class is to weigh the same in training, `"none"` where each row is.
        times: (rows,) float64 times that order the rows, seconds since 1970 for dates; None where they have no order.
        times_are_dates: Whether `times` are seconds.
        time_name: The column that they are from.
        notes: What was guessed or dropped, one sentence each, for saying aloud.
        ignored: Columns of the source that are neither feature nor target: dropped, group, weights. New rows may have
            them.
        identifiers: Those of them that were dropped because they name the row.
        source_columns: All columns of the source, in its order.
        test_rows: Rows that are set apart for testing; None if none are.

    Example:
        ```python
        table = tfopt.data.load_table("iris")
        print(table.task, table.num_rows, table.classes)  # classification 150 ('setosa', 'versicolor', 'virginica')
        ```
    """

    name: str
    source: str
    sha256: str
    task: Task
    features: pd.DataFrame
    columns: tuple[Column, ...]
    target: np.ndarray
    target_names: tuple[str, ...]
    target_columns: tuple[Column, ...] = ()
    classes: tuple[str, ...] = ()
    groups: np.ndarray | None = None
    weights: np.ndarray | None = None
    class_weight: str = "none"
    times: np.ndarray | None = None
    times_are_dates: bool = False
    time_name: str = ""
    notes: list[str] = field(default_factory=list)
    ignored: tuple[str, ...] = ()
    identifiers: tuple[str, ...] = ()
    source_columns: tuple[str, ...] = ()
    test_rows: np.ndarray | None = None

    @property
    def num_rows(self) -> int:
        """Number of rows."""
        return len(self.target)

    @property
    def num_outputs(self) -> int:
        """Number of classes, or of regression targets."""
        if self.task == "classification":
            return len(self.classes)
        return 1 if self.target.ndim == 1 else self.target.shape[1]

    def training_weights(self, rows: np.ndarray) -> np.ndarray | None:
        """Return the weights that these rows are learned with, None where all weigh the same.

        Balanced, each class that is among them has the same sum, and the sum of all is what it was: without weights of
        their own n / (K n_k) for each of the n_k rows of one of K classes, as in scikit-learn.
        """
        weights = None if self.weights is None else self.weights[rows]
        if self.class_weight == "none" or self.task == "regression":
            return weights
        weights = np.ones(len(rows)) if weights is None else weights
        return weights * balancing(np.bincount(self.target[rows], weights))[self.target[rows]]


def balancing(sums: np.ndarray) -> np.ndarray:
    """Return by what to multiply the weights of each class, whose sums these are, so that all weigh the same."""
    return np.divide(sums.sum() / (sums > 0).sum(), sums, out=np.zeros(len(sums)), where=sums > 0)
