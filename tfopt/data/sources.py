"""Where tables come from: embedded sets, generated sets, files, OpenML and Keras."""

import contextlib
import hashlib
import importlib.util
import io
import sys
import warnings
import zipfile
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tfopt.data.delimited import RawTable, read_bytes, read_delimited, stem
from tfopt.data.spelling import MISSING_TEXT
from tfopt.errors import UserError, nearest

_LOADED = ("digits", "diabetes", "breast_cancer", "wine", "iris", "linnerud")
_GENERATED = ("friedman1", "friedman2", "friedman3", "moons")
EMBEDDED = _LOADED + _GENERATED
_PICTURES = ("mnist", "fashion_mnist", "cifar10", "cifar100")
_KERAS = (*_PICTURES, "california_housing", "boston_housing")
_FILE_ENDINGS = (".csv", ".tsv", ".txt", ".dat", ".data", ".gz", ".parquet", ".pq", ".npz")

_Source = tuple[RawTable, tuple[str, ...]]


def read_source(source: str, *, header: str, encoding: str, separator: str) -> _Source:
    """Return the columns of a data set and its own targets, empty where the last column is to be guessed."""
    if source in EMBEDDED:
        return _embedded(source)
    prefix, _, name = source.partition(":")
    if prefix == "openml" and name:
        return _openml(name)
    if prefix == "keras" and name:
        return _keras(name)
    if prefix in {"openml", "keras"} and source.endswith(":"):
        raise UserError(f"{source!r} names no data set. Write it as openml:credit-g or keras:mnist.")
    return read_file(source, header=header, encoding=encoding, separator=separator)


def read_file(
    source: str,
    *,
    header: str = "auto",
    encoding: str = "auto",
    separator: str = "auto",
    known_names: Collection[str] = (),
) -> _Source:
    """Return the columns of a file; its targets where its format tells them.

    With `known_names` the file holds rows to predict: an NPZ file may do without `y`.
    """
    path = Path(source)
    if not path.exists() and path.parent == Path(".") and not known_names:
        files = [entry.name for entry in Path().iterdir() if entry.suffix.lower() in _FILE_ENDINGS]
        hint = nearest(source, [*EMBEDDED, *files]) or nearest(source.partition(":")[0], ["openml", "keras"])
        raise UserError(
            f"{source!r} is neither a file here nor an embedded data set.{hint} Embedded: {', '.join(EMBEDDED)}."
        )
    ending = path.suffix.lower()
    if ending == ".npz":
        return _npz(source, with_targets=not known_names)
    if ending in {".parquet", ".pq"}:
        return _parquet(source), ()
    raw = read_delimited(source, header=header, encoding=encoding, separator=separator, known_names=known_names)
    return raw, ()


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


def _npz(source: str, with_targets: bool) -> _Source:
    data = read_bytes(source)
    if not zipfile.is_zipfile(io.BytesIO(data)):
        raise UserError(f"not an NPZ file ({source}). Save it with numpy.savez(path, x=..., y=...).")
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            held = {name: archive[name] for name in archive.files}
    except (ValueError, zipfile.BadZipFile, EOFError, OSError) as error:
        raise UserError(f"not an NPZ file ({source}: {error}). Save it with numpy.savez(path, x=..., y=...).") from None
    sha256 = hashlib.sha256(data).hexdigest()
    if not with_targets and "x" in held and held["x"].ndim:
        return RawTable(stem(source), source, sha256, _text_missing(_x_frame(held["x"]), source)), ()
    if not {"x", "y"} <= set(held):
        raise UserError(
            f"an NPZ file must hold 'x' and 'y' ({source} holds {', '.join(held) or 'nothing'}). Rename them."
        )
    x, y = held["x"], held["y"]
    if x.ndim < 1 or not y.ndim or len(x) != len(y):
        raise UserError(
            f"'x' and 'y' differ in rows ({source}: x has shape {x.shape}, y {y.shape}). "
            "Give both a row for each example."
        )
    if not len(x):
        raise UserError(f"no rows ({source}: x has shape {x.shape}). Add rows.")
    frame = _x_frame(x)
    y = y.reshape(len(y), -1)
    names = ["y"] if y.shape[1] == 1 else [f"y_{place}" for place in range(y.shape[1])]
    for name, values in zip(names, y.T, strict=True):
        frame[name] = values
    return RawTable(stem(source), source, sha256, _text_missing(frame, source)), tuple(names)


def _x_frame(x: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(x.reshape(len(x), -1), columns=_element_names("x", x.shape[1:]))


def _element_names(stem_name: str, shape: tuple[int, ...]) -> list[str]:
    if not shape:
        return [stem_name]
    return ["_".join([stem_name, *map(str, place)]) for place in np.ndindex(*shape)]


def _parquet(source: str) -> RawTable:
    data = read_bytes(source)
    if not any(importlib.util.find_spec(engine) for engine in ("pyarrow", "fastparquet")):
        raise UserError(f"Parquet needs a reader ({source}). Install one: pip install pyarrow.")
    try:
        frame = pd.read_parquet(io.BytesIO(data))
    except (ValueError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"not a Parquet file ({source}: {reason}). Write it again, or give a CSV file.") from None
    if frame.index.name is not None:
        frame = frame.reset_index()
    frame = frame.reset_index(drop=True)
    if not len(frame):
        raise UserError(f"no rows ({source}: columns {', '.join(map(str, frame.columns[:6]))}). Add rows.")
    return RawTable(
        name=stem(source), source=source, sha256=hashlib.sha256(data).hexdigest(), frame=_text_missing(frame, source)
    )


def _text_missing(frame: pd.DataFrame, source: str) -> pd.DataFrame:
    """Return the frame with empty and `?` texts as missing, as in a text file."""
    for name in frame.columns[(frame.dtypes == "str") | frame.dtypes.map(pd.api.types.is_object_dtype)]:
        present = frame[name].dropna()
        if len(present) and not pd.api.types.is_hashable(present.iloc[0]):
            kind = type(present.iloc[0]).__name__
            raise UserError(f"column {name!r} holds a {kind} in each row ({source}). Split it into columns of its own.")
        frame[name] = frame[name].mask(frame[name].isin(MISSING_TEXT))
    return frame


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
    frame = _text_missing(frame.reset_index(drop=True), f"openml:{name}")
    return RawTable(name=name, source=f"openml:{name}", sha256=digest, frame=frame), tuple(targets)


def _keras(name: str) -> _Source:
    if name not in _KERAS:
        raise UserError(f"keras:{name} is not a table.{nearest(name, _KERAS)} Known: {', '.join(_KERAS)}.")
    import keras  # only here does loading a table import TensorFlow

    try:
        with contextlib.redirect_stdout(sys.stderr):  # Keras writes its download's progress to standard output
            (x_train, y_train), (x_test, y_test) = getattr(keras.datasets, name).load_data()
    except Exception as error:
        # Keras raises a bare `Exception` when a download fails.
        raise UserError(
            f"keras:{name} could not be downloaded ({_first_line(error)}). Check the connection, or put the file into "
            "~/.keras/datasets."
        ) from None
    x, y = np.concatenate([x_train, x_test]), np.concatenate([y_train, y_test])
    stem_name = "pixel" if name in _PICTURES else "x"
    frame = pd.DataFrame(x.reshape(len(x), -1), columns=_element_names(stem_name, x.shape[1:]))
    labels: Any = pd.Categorical(y.reshape(-1).astype(str)) if name in _PICTURES else y
    return _arrays(name, f"keras:{name}", frame, {"label" if name in _PICTURES else "price": labels})


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
