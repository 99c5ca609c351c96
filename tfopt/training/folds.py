"""Folds of rows to train and to validate on, as users ask for them."""

from typing import Any

import numpy as np

from tfopt.training.rows import Arrays, class_codes, flat

Fold = tuple[np.ndarray, np.ndarray]  # rows of training, rows of validation


def folds_of(folds: Any, y: Arrays, seed: int, by_class: bool = True) -> list[Fold]:
    """Return the rows of each fold.

    Args:
        folds: Their number, rows in an order drawn from the seed; a scikit-learn splitter; or `(train, validation)`
            pairs of row indices.
        y: Targets.
        seed: For folds given by number.
        by_class: Whether class labels are spread evenly over folds given by number, if there are enough of each.

    Raises:
        ValueError: There are fewer than two folds of rows, or one without rows.
    """
    from sklearn.model_selection import KFold, StratifiedKFold  # `import tfopt` does without

    target = flat(y)[0]
    rows = len(target)
    if isinstance(folds, int | np.integer):
        if not 2 <= folds <= rows:
            raise ValueError(f"Argument `folds` must be 2 to the number of rows. Received: folds={folds}, rows={rows}.")
        codes = class_codes(target)
        evenly = by_class and _is_classes(target) and min(np.unique(codes, return_counts=True)[1]) >= folds
        kind = StratifiedKFold if evenly else KFold
        pairs = kind(int(folds), shuffle=True, random_state=seed % 2**32).split(np.zeros(rows), codes)
    elif hasattr(folds, "split"):
        pairs = folds.split(np.zeros(rows), target)
    else:
        pairs = folds
    listed = [(np.asarray(train), np.asarray(held_out)) for train, held_out in pairs]
    if not listed or any(not len(part) for pair in listed for part in pair):
        raise ValueError("Argument `folds` must give at least one fold, each with training and validation rows.")
    return listed


def _is_classes(target: np.ndarray) -> bool:
    if target.ndim == 2 and target.shape[1] > 1:
        return bool(np.isin(target, (0, 1)).all() and (target.sum(axis=1) == 1).all())
    return not np.issubdtype(target.dtype, np.floating) or bool(np.isin(target, (0, 1)).all())
