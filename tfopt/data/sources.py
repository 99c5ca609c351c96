"""Where tables come from: embedded sets, generated sets, OpenML, Keras, files and data frames."""

import contextlib
import hashlib
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tfopt.data.files import STANDARD_INPUT, files_of, is_table, read_files
from tfopt.data.formats import element_names, typed_table
from tfopt.data.raw import RawTable
from tfopt.data.spelling import quoted
from tfopt.errors import UserError, nearest, one_line

_LOADED = ("digits", "diabetes", "breast_cancer", "wine", "iris", "linnerud")
_GENERATED = ("friedman1", "friedman2", "friedman3", "moons")
EMBEDDED = _LOADED + _GENERATED
_PICTURES = ("mnist", "fashion_mnist", "cifar10", "cifar100")
_KERAS = (*_PICTURES, "california_housing", "boston_housing")

_Source = tuple[RawTable, tuple[str, ...]]


def _as_text(frame: pd.DataFrame) -> pd.DataFrame:
    try:
        return frame.astype("str")
    except (UnicodeDecodeError, ArithmeticError) as error:  # bytes that are no text; a decimal that signals
        raise UserError(f"the given frame holds what cannot be read ({one_line(error)}). Mend or drop it.") from None


def read_source(
    source: str | pd.DataFrame,
    *,
    header: str,
    encoding: str,
    separator: str,
    max_unpacked: int,
    one_column: bool = False,
) -> _Source:
    """Return the columns of a data set and its own targets, empty where the last column is to be guessed."""
    if isinstance(source, pd.DataFrame):
        hashed = pd.util.hash_pandas_object(_as_text(source), index=False).to_numpy().tobytes()
        digest = hashlib.sha256(hashed + "\n".join(map(str, source)).encode()).hexdigest()
        return typed_table(source, "table", "the given frame", digest), ()
    if source in EMBEDDED:
        return _embedded(source)
    prefix, _, name = source.partition(":")
    if prefix == "openml" and name:
        return _openml(name)
    if prefix == "keras" and name:
        return _keras(name)
    if prefix in {"openml", "keras"} and source.endswith(":"):
        raise UserError(f"{source!r} names no data set. Write it as openml:credit-g or keras:mnist.")
    if files_of(source) == [source] and not (source == STANDARD_INPUT or os.path.exists(source) or os.sep in source):
        tables = [entry.name for entry in Path().iterdir() if is_table(entry)]
        hint = nearest(source, [*EMBEDDED, *tables]) or nearest(prefix, ["openml", "keras"])
        raise UserError(
            f"{quoted(source)} is neither a file here nor an embedded data set.{hint} Embedded: {', '.join(EMBEDDED)}."
        )
    as_text = {"header": header, "encoding": encoding, "separator": separator}
    return read_files(source, **as_text, max_unpacked=max_unpacked, one_column=one_column)


def _embedded(name: str) -> _Source:
    from sklearn import datasets  # a second of import that a CSV file can do without

    makers: dict[str, Callable[[], tuple[np.ndarray, np.ndarray]]] = {
        "friedman1": lambda: datasets.make_friedman1(n_samples=1000, n_features=10, noise=1.0, random_state=0),
        "friedman2": lambda: datasets.make_friedman2(n_samples=1000, noise=125.0, random_state=0),
        "friedman3": lambda: datasets.make_friedman3(n_samples=1000, noise=0.1, random_state=0),
        "moons": lambda: datasets.make_moons(n_samples=1000, noise=0.3, random_state=0),
    }
    if name in makers:
        x, y = makers[name]()
        frame = pd.DataFrame(x, columns=[f"x{place}" for place in range(1, x.shape[1] + 1)])
        return _arrays(name, name, frame, {"y": y})
    bunch = getattr(datasets, f"load_{name}")()
    if name == "digits":
        names = [f"pixel_{row}_{column}" for row in range(8) for column in range(8)]
    else:
        names = [str(feature) for feature in bunch.feature_names]
    frame = pd.DataFrame(bunch.data, columns=names)
    if name == "linnerud":
        return _arrays(name, name, frame, dict(zip(bunch.target_names, bunch.target.T, strict=True)))
    if name == "diabetes":
        return _arrays(name, name, frame, {"progression": bunch.target})
    labels = np.array([str(label) for label in bunch.target_names], dtype=object)
    target_name = {"digits": "digit", "breast_cancer": "diagnosis", "wine": "cultivar", "iris": "species"}[name]
    return _arrays(name, name, frame, {target_name: pd.Categorical(labels[bunch.target])})


def _arrays(name: str, source: str, frame: pd.DataFrame, targets: dict[str, Any]) -> _Source:
    frame = pd.concat([frame, pd.DataFrame(targets, index=frame.index)], axis=1)
    digest = hashlib.sha256()
    for column in frame:
        digest.update(str(column).encode())
        values = frame[column]
        digest.update(
            "\n".join(map(str, values)).encode() if values.dtype.kind == "O" else np.ascontiguousarray(values).tobytes()
        )
    return RawTable(name=name, source=source, sha256=digest.hexdigest(), frame=frame), tuple(targets)


def _openml(name: str) -> _Source:
    from sklearn.datasets import fetch_openml

    number = {"data_id": int(name)} if name.isdigit() else {"name": name}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # one for each retry; the error below says it once
            bunch = fetch_openml(**number, as_frame=True, parser="auto")
    except (OSError, ValueError) as error:
        raise UserError(
            f"openml:{name} could not be fetched ({_first_line(error)}). Check the name and the connection, "
            "or download it and give the file."
        ) from None
    frame, targets = bunch.frame, [str(target) for target in bunch.target_names]
    digest = hashlib.sha256(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes()).hexdigest()
    return typed_table(frame.reset_index(drop=True), name, f"openml:{name}", digest), tuple(targets)


def load_keras(name: str) -> Any:
    """Return what `keras.datasets.NAME.load_data()` does.

    Raises:
        UserError: It is not known, or cannot be downloaded.
    """
    if name not in _KERAS:
        raise UserError(f"keras:{name} is not known here.{nearest(name, _KERAS)} Known: {', '.join(_KERAS)}.")
    import keras  # only here does loading a table import TensorFlow

    try:
        with contextlib.redirect_stdout(sys.stderr):  # Keras writes its download's progress to standard output
            return getattr(keras.datasets, name).load_data()
    except Exception as error:
        # Keras raises a bare `Exception` when a download fails.
        raise UserError(
            f"keras:{name} could not be downloaded ({_first_line(error)}). Check the connection, or put the file into "
            "~/.keras/datasets."
        ) from None


def _keras(name: str) -> _Source:
    (x_train, y_train), (x_test, y_test) = load_keras(name)
    x, y = np.concatenate([x_train, x_test]), np.concatenate([y_train, y_test])
    stem_name = "pixel" if name in _PICTURES else "x"
    frame = pd.DataFrame(x.reshape(len(x), -1), columns=element_names(stem_name, x.shape[1:]))
    labels: Any = pd.Categorical(y.reshape(-1).astype(str)) if name in _PICTURES else y
    return _arrays(name, f"keras:{name}", frame, {"label" if name in _PICTURES else "price": labels})


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
