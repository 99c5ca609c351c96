"""What a data set is once it has been read: features as the user's raw columns, and a target."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd

Kind = Literal["numeric", "categorical", "boolean", "date"]
Task = Literal["regression", "classification"]


@dataclass(frozen=True)
class Column:
    """One feature column.

    Args:
        name: The column's name in the table.
        kind: How it is encoded.
        num_levels: Distinct values in the whole table (categorical only). It fixes the width of the encoding so that
            every fold trains the same graph; which level goes where is learned on the training part of a fold.
        has_missing: Whether any value is missing in the whole table; adds a missing-value indicator.
    """

    name: str
    kind: Kind
    num_levels: int = 0
    has_missing: bool = False


@dataclass
class Table:
    """A data set ready for folds.

    Args:
        name: Short name for reports.
        source: Where it came from: a path or the name of an embedded set.
        sha256: Hash of the data, to recognise the same data at `--resume`.
        task: What kind of target it has.
        features: (rows, columns) raw values, pandas dtypes as read; one column for each entry of `columns`.
        columns: How each feature is encoded, in the order of `features`.
        target: Regression: float64, (rows,) or (rows, targets). Classification: int64 codes into `classes`, (rows,).
        target_names: Name of each target column.
        classes: The class labels as strings, sorted, for classification; empty otherwise.
        groups: (rows,) int codes of the rows' groups, or None.
        weights: (rows,) float64 example weights, or None.
        notes: What was guessed or dropped, one sentence each, for saying aloud.
    """

    name: str
    source: str
    sha256: str
    task: Task
    features: pd.DataFrame
    columns: tuple[Column, ...]
    target: np.ndarray
    target_names: tuple[str, ...]
    classes: tuple[str, ...] = ()
    groups: np.ndarray | None = None
    weights: np.ndarray | None = None
    notes: list[str] = field(default_factory=list)

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
