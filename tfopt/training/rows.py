"""Examples to train on, as `model.fit` takes them, picked by row; folds of rows, and the order in an epoch."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

Shuffle = bool | Literal["once"]
Arrays = Any  # an array, or a list, tuple or dict of arrays


class Examples:
    """Inputs, targets and weights of as many rows each.

    Args:
        x: An array, or a list, tuple or dict of arrays; the first axis counts the rows.
        y: Likewise.
        sample_weight: (rows,), or such an array for each output, in a list or dict like `y`; None for equal weights.

    Raises:
        ValueError: The arrays differ in rows, or hold none.
    """

    def __init__(self, x: Arrays, y: Arrays, sample_weight: Arrays | None = None):
        self.x, self.y = keras.tree.map_structure(as_array, x), keras.tree.map_structure(as_array, y)
        self.sample_weight = None if sample_weight is None else _weights(sample_weight, len(keras.tree.flatten(self.y)))
        lengths = {len(array) for array in keras.tree.flatten(self.parts())}
        if len(lengths) != 1 or 0 in lengths:
            raise ValueError(
                f"Inputs, targets and weights must have as many rows, at least one. Received: {sorted(lengths)} rows."
            )
        self.num_rows = lengths.pop()

    def __len__(self) -> int:
        return self.num_rows

    def parts(self) -> tuple:
        """Return `(x, y)` or `(x, y, sample_weight)`."""
        return (self.x, self.y) if self.sample_weight is None else (self.x, self.y, self.sample_weight)

    def take(self, rows: np.ndarray | slice | None) -> tuple:
        """Return `parts()` at these rows; all of them for None."""
        return self.parts() if rows is None else keras.tree.map_structure(lambda array: array[rows], self.parts())


def as_array(array: Any) -> np.ndarray:
    """Return an array whose floats have Keras's float type, as `fit` casts them."""
    array = np.asarray(array)
    return array.astype(keras.config.floatx()) if np.issubdtype(array.dtype, np.floating) else array


def _weights(sample_weight: Arrays, num_outputs: int) -> Arrays:
    """Return weights as arrays: one for all outputs, or a list, tuple or dict with one for each."""
    is_nest = isinstance(sample_weight, dict) or (
        isinstance(sample_weight, list | tuple) and any(np.ndim(one) for one in sample_weight)
    )
    if is_nest and num_outputs == 1 and len(sample_weight) == 1:
        [sample_weight] = sample_weight.values() if isinstance(sample_weight, dict) else sample_weight
        is_nest = False
    if not is_nest:
        return np.asarray(sample_weight, keras.config.floatx())
    return keras.tree.map_structure(lambda array: np.asarray(array, keras.config.floatx()), sample_weight)


def class_weights(y: Arrays, class_weight: Mapping[int, float]) -> np.ndarray:
    """Return a weight (rows,) for each target, 1 for a class without one.

    Raises:
        ValueError: There are several targets, or one of more than two axes.
    """
    targets = keras.tree.flatten(y)
    if len(targets) != 1 or targets[0].ndim > 2:
        raise ValueError(
            "Argument `class_weight` needs one target, of class numbers or one-hot. "
            f"Received: targets of shape {', '.join(str(target.shape) for target in targets)}. Pass `sample_weight`."
        )
    [target] = targets
    return np.array([class_weight.get(int(code), 1.0) for code in class_codes(target)], keras.config.floatx())


def class_codes(target: np.ndarray) -> np.ndarray:
    """Return the class (rows,) of each row, one-hot or a number; of other targets the first column."""
    return target.argmax(axis=-1) if target.ndim == 2 and target.shape[1] > 1 else target.reshape(len(target), -1)[:, 0]


_LARGEST_INT32 = 2**31 - 1


def row_order(shuffle: Shuffle, seed: int, num_rows: int, epoch: int) -> np.ndarray:
    """Return the order (num_rows,) of an epoch, as `Engine` describes it.

    It depends on the seed and the epoch's own number, so that a continued fit goes on as an uninterrupted one.
    """
    if shuffle == "once":
        return _as_keras(seed, num_rows)
    return np.random.default_rng((seed, epoch)).permutation(num_rows) if shuffle else np.arange(num_rows)


@lru_cache(maxsize=256)
def _as_keras(seed: int, num_rows: int) -> np.ndarray:
    """Return the order that `fit` draws after `set_random_seed`: a shuffle inside tf.data, anew for each epoch.

    Its operation seed is that of the first random operation of a function, 0, and its state starts afresh with every
    iterator. A function of its own keeps other draws from moving it.
    """
    seed %= _LARGEST_INT32
    operation_seed = 0 if seed else _LARGEST_INT32  # two zeros would ask for an unpredictable stream

    def draw():
        return tf.raw_ops.RandomShuffle(value=tf.range(num_rows), seed=seed, seed2=operation_seed)

    return tf.function(draw, autograph=False).get_concrete_function()().numpy()


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

    target = keras.tree.flatten(y)[0]
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
