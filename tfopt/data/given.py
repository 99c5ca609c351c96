"""Tables that Python holds: data frames, pairs of arrays, scikit-learn's bunches."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from tfopt.data.formats import element_names
from tfopt.errors import UserError


def as_frame(data: Any) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return a table with the names of its targets, which are unknown for a data frame.

    Args:
        data: A pandas data frame; `(x, y)`, arrays or frames; or a `Bunch` of scikit-learn, with or without frames.

    Raises:
        UserError: It is something else, or its parts differ in rows.
    """
    if isinstance(data, pd.DataFrame):
        return data, ()
    if isinstance(data, Mapping) and {"data", "target"} <= data.keys():
        return _bunch(data)
    if isinstance(data, tuple | list) and len(data) == 2:
        return _joined(_features(data[0]), _targets(data[1]))
    raise UserError(
        "Argument `data` must be a path, the name of an embedded data set, a pandas data frame, a pair (x, y) of "
        f"arrays, or a scikit-learn Bunch. Received: {type(data).__name__}. Make a data frame of it."
    )


def as_series(data: Any, source: str = "the given data") -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return a time series as a table, with the names of its targets, where they are known.

    Args:
        data: A data frame or series; `(x, y)`; an array with a row for each time.
        source: What errors name.

    Raises:
        UserError: It is something else.
    """
    if isinstance(data, pd.Series):
        return data.to_frame("y" if data.name is None else str(data.name)), ()
    if isinstance(data, pd.DataFrame | tuple | Mapping):
        return as_frame(data)
    array = np.asarray(data)
    if array.ndim not in (1, 2) or array.dtype.kind not in "biuf":
        raise UserError(
            f"a series is a data frame, (x, y), or an array of numbers with a row for each time ({source}: "
            f"{type(data).__name__} of shape {array.shape}). Give one of these."
        )
    return (_targets(array) if array.ndim == 1 else _features(array)), ()


def _bunch(data: Mapping[str, Any]) -> tuple[pd.DataFrame, tuple[str, ...]]:
    features, target, names = data["data"], data["target"], data.get("target_names")
    if isinstance(features, pd.DataFrame):
        return _joined(features, _targets(target))
    features = _features(features, data.get("feature_names"))
    values = np.asarray(target)
    if names is None:
        return _joined(features, _targets(values))
    if values.ndim == 1 and values.dtype.kind in "iu" and values.max() < len(names):
        values = np.array([str(name) for name in names], dtype=object)[values]  # labels of classes, given as codes
        return _joined(features, _targets(values))
    columns = list(map(str, names)) if values.ndim == 2 and len(names) == values.shape[1] else None
    return _joined(features, _targets(values, columns))


def _features(x: Any, names: Any = None) -> pd.DataFrame:
    if isinstance(x, pd.DataFrame):
        return x.rename(columns=str)
    array = np.asarray(x.toarray() if hasattr(x, "toarray") else x)
    if array.ndim == 0:
        raise UserError(
            f"Argument `data` must hold a table and its targets. Received: {type(x).__name__} as the table."
        )
    if names is None or array.ndim != 2 or len(names) != array.shape[1]:
        names = element_names("x", array.shape[1:])
    return pd.DataFrame(array.reshape(len(array), -1), columns=list(map(str, names))).infer_objects()


def _targets(y: Any, names: list[str] | None = None) -> pd.DataFrame:
    if isinstance(y, pd.DataFrame):
        return y.rename(columns=str)
    if isinstance(y, pd.Series):
        return y.to_frame("y" if y.name is None else str(y.name))
    array = np.asarray(y)
    array = array.reshape(len(array), -1) if array.ndim else array.reshape(1, 1)
    several = array.shape[1] > 1
    return pd.DataFrame(
        array, columns=names or [f"y_{place}" if several else "y" for place in range(array.shape[1])]
    ).infer_objects()


def _joined(features: pd.DataFrame, targets: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    if len(features) != len(targets):
        raise UserError(
            f"Argument `data` must hold as many rows of x as of y. Received: {len(features):,} and {len(targets):,}."
        )
    both = [part.reset_index(drop=True) for part in (features, targets)]
    return pd.concat(both, axis=1), tuple(map(str, targets))
