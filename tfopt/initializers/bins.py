"""Bin edges at the quantiles of data."""

from typing import Any

import numpy as np

from tfopt._arguments import array_argument, count_argument


def quantile_bins(x: Any, num_bins: int = 48) -> np.ndarray:
    """Return edges of bins that hold equally many rows of each column.

    Use it for piecewise-linear embeddings (`tfopt.layers.PiecewiseLinearEmbedding` calls it by itself). Edges that
    coincide count once: a column of few values has fewer bins, and the rest of its row repeats the last edge.

    Args:
        x: Array (rows, columns) of training rows; NaN is left out.
        num_bins: Int ≥ 1: most bins of a column.

    Returns:
        Array (columns, num_bins + 1), rising along each row.

    Raises:
        ValueError: `x` is not a matrix, has no rows, or has infinite values.

    Example:
        ```python
        rows = [[0.0], [1.0], [2.0], [10.0], [10.0]]
        print(tfopt.initializers.quantile_bins(rows, num_bins=4).tolist())  # [[0.0, 1.0, 2.0, 10.0, 10.0]]
        ```

    References:
        - Gorishniy, Rubachev, Babenko (2022), "On Embeddings for Numerical Features in Tabular Deep Learning", section
          3.2.1, https://arxiv.org/abs/2203.05556
    """
    count_argument(num_bins, "quantile_bins", "num_bins")
    rows = array_argument("x", x, "quantile_bins")
    if rows.ndim != 2 or not len(rows) or np.isinf(rows).any():
        raise ValueError(
            "Argument `x` of quantile_bins must be a matrix (rows, columns) of at least one row without infinite "
            f"values. Received: shape {rows.shape}{', with infinite values' if np.isinf(rows).any() else ''}."
        )
    edges = np.zeros((rows.shape[1], num_bins + 1))
    for column, own in zip(rows.T, edges, strict=True):
        known = column[~np.isnan(column)]
        if len(known):
            distinct = np.unique(np.quantile(known, np.linspace(0, 1, num_bins + 1)))
            own[: len(distinct)], own[len(distinct) :] = distinct, distinct[-1]
    return edges
