"""What `.search(...)` was called with, as fits of an engine."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import scipy.sparse

from tfopt._arguments import count_argument
from tfopt.training.rows import Examples, Fold, folds_of

_LARGEST_DENSE = 2**28  # bytes that a sparse matrix may take as an array


@dataclass
class Fits:
    """One table, and how every trial is fitted to it.

    Args:
        examples: Inputs, targets and weights.
        class_weight: A weight for each class, in training only.
        validation: Rows for all fits to be validated on; None with folds, or without any.
        folds: Training and validation rows of each fold; None without cross-validation.
        epochs: Epochs of a trial.
        batch_size: Rows a step; None leaves it to a hyperparameter of this name, or else to Keras: 32.
        shuffle: Whether each epoch takes the rows in a new order.
        callbacks: Callbacks, to be copied for each fit.
    """

    examples: Examples
    class_weight: dict[int, float] | None = None
    validation: tuple | None = None
    folds: list[Fold] | None = None
    epochs: int = 1
    batch_size: int | None = None
    shuffle: bool = True
    callbacks: list[keras.callbacks.Callback] = field(default_factory=list)


def fits_of(args: Sequence[Any], kwargs: dict[str, Any], folds: Any, seed: int) -> Fits | None:
    """Return the fits that arguments of `keras.Model.fit` mean; None if only `model.fit` itself can do them.

    Raises:
        TypeError: `epochs` or `batch_size` are no whole numbers.
        ValueError: Arguments contradict each other, or are out of their range.
    """
    try:
        given = inspect.signature(keras.Model.fit).bind(None, *args, **kwargs).arguments
    except TypeError:
        return None
    for name in ("epochs", "batch_size"):
        if given.get(name) is not None:
            given[name] = count_argument(given[name], "search", name)
    known = {
        "self", "x", "y", "batch_size", "epochs", "verbose", "callbacks", "validation_split", "validation_data",
        "shuffle", "class_weight", "sample_weight",
    }  # fmt: skip
    if any(name not in known and value is not None for name, value in given.items()):
        return None
    x, y, validation = map(_dense, (given.get("x"), given.get("y"), given.get("validation_data")))
    if not (_arrays(x) and _arrays(y)):
        return None
    if isinstance(validation, tuple | list):
        validation = tuple(part for part in validation if part is not None)
    if validation is not None and not (isinstance(validation, tuple) and all(map(_arrays, validation))):
        return None
    class_weight, sample_weight = given.get("class_weight"), given.get("sample_weight")
    if class_weight is not None and sample_weight is not None:
        raise ValueError("Arguments `class_weight` and `sample_weight` exclude each other, as in `model.fit`.")
    fits = Fits(
        Examples(x, y, sample_weight),
        class_weight,
        epochs=given.get("epochs") or 1,
        batch_size=given.get("batch_size"),
        shuffle=bool(given.get("shuffle", True)),
        callbacks=_listed(given.get("callbacks")),
    )
    split = given.get("validation_split") or 0.0
    if folds is not None:
        if validation is not None or split:
            raise ValueError(
                "Argument `folds` brings its own validation rows. Do not pass `validation_data` or `validation_split` "
                "beside it."
            )
        fits.folds = folds_of(folds, fits.examples.y, seed)
    elif validation is not None:
        fits.validation = validation
    elif split:
        _hold_out(fits, split)
    return fits


def _hold_out(fits: Fits, split: float) -> None:
    """Take the last rows for validation, as Keras does."""
    if not 0 < split < 1:
        raise ValueError(f"Argument `validation_split` must be between 0 and 1. Received: {split}.")
    rows = len(fits.examples)
    first = int(np.floor(rows * (1 - split)))
    if first in (0, rows):
        raise ValueError(f"Argument `validation_split` leaves one part empty. Received: {split} of {rows} rows.")
    fits.validation = fits.examples.take(slice(first, None))
    fits.examples = Examples(*fits.examples.take(slice(first)))


def _arrays(nest: Any) -> bool:
    """Return whether this is an array of numbers, or a nest of them: no data set, no generator, not ragged, no text."""
    if nest is None:
        return False
    leaves = keras.tree.flatten(nest)
    return bool(leaves) and all(
        getattr(leaf, "shape", None) is not None
        and len(leaf.shape) > 0
        and not any(word in type(leaf).__name__ for word in ("Ragged", "Sparse", "Dataset"))
        and not scipy.sparse.issparse(leaf)
        and not _is_text(leaf)
        for leaf in leaves
    )


def _is_text(array: Any) -> bool:
    """Return whether an array or a tensor holds texts, of which `model.fit` makes what a model takes."""
    dtype = getattr(array, "dtype", None)
    kind = getattr(dtype, "kind", "")
    return "string" in str(dtype) or kind in ("U", "S") or (kind == "O" and isinstance(next(iter(array), None), str))


def _dense(nest: Any) -> Any:
    """Return SciPy's sparse matrices as arrays; one that would be too large stays, and `model.fit` alone takes it."""

    def array(leaf: Any) -> Any:
        if scipy.sparse.issparse(leaf) and np.prod(leaf.shape) * leaf.dtype.itemsize <= _LARGEST_DENSE:
            return leaf.toarray()
        return leaf

    return None if nest is None else keras.tree.map_structure(array, nest)


def _listed(callbacks: Any) -> list:
    if callbacks is None:
        return []
    return list(callbacks) if isinstance(callbacks, list | tuple) else [callbacks]
