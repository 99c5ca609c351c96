"""Rows that stand in a table more than once."""

import numpy as np
import pandas as pd

from tfopt.data.table import Table

# So many times more equal pairs than columns that know nothing of one another would give are no coincidence.
_SURPLUS = 20


def repeated_rows(table: Table) -> np.ndarray | None:
    """Return a code for each row, equal for rows that are copies in every feature and the target; None without copies.

    Where every column has a few values only, rows are equal without being copies. So there must be twenty times as
    many equal pairs as there would be if each column were shuffled on its own, and no row may be a twentieth of all.
    """
    targets = pd.DataFrame(table.target.reshape(table.num_rows, -1))
    hashes = [pd.util.hash_pandas_object(frame, index=False).to_numpy() for frame in (table.features, targets)]
    codes = pd.factorize(hashes[0] * np.uint64(3) + hashes[1])[0]
    copies = np.bincount(codes)
    if copies.max() == 1 or copies.max() > max(2, table.num_rows / 20):
        return None
    equal, by_chance = _equal_pairs(codes), _pairs(table.num_rows)
    for values in (frame[name] for frame in (targets, table.features) for name in frame):
        if equal >= _SURPLUS * by_chance:
            break
        by_chance *= _equal_pairs(pd.factorize(values, use_na_sentinel=False)[0]) / _pairs(table.num_rows)
    return codes if equal >= _SURPLUS * by_chance else None


def kept_together(groups: np.ndarray | None, codes: np.ndarray) -> np.ndarray:
    """Return the smallest groups that hold whole `groups` and whole sets of copies."""
    if groups is None:
        return codes
    from scipy.sparse import coo_array  # late: most tables have no copies
    from scipy.sparse.csgraph import connected_components

    groups = np.unique(groups, return_inverse=True)[1]
    first = groups.max() + 1
    edges = coo_array((np.ones(len(codes)), (groups, first + codes)), shape=(first + codes.max() + 1,) * 2)
    return connected_components(edges, directed=False)[1][groups].astype(np.int64)


def _pairs(count: float) -> float:
    return count * (count - 1) / 2


def _equal_pairs(codes: np.ndarray) -> float:
    counts = np.bincount(codes).astype(np.float64)
    return float((counts * (counts - 1) / 2).sum())
