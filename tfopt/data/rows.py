"""New rows for a trained model: read as the training table was, and in the form that an exported model takes."""

import logging
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tfopt.data.column import Column
from tfopt.data.date_formats import ISO, naive, parse_dates, without_placeholders
from tfopt.data.drafts import Cells
from tfopt.data.files import read_files
from tfopt.data.formats import check_once, plain, with_index
from tfopt.data.number_formats import starts_as_limit, to_numbers
from tfopt.data.raw import RawTable
from tfopt.data.spelling import is_missing_mark, quoted
from tfopt.data.text import as_words
from tfopt.data.unpacking import MAX_UNPACKED
from tfopt.data.values import checked, examples, is_numeric, to_categories, to_truth
from tfopt.errors import UserError, nearest

_LOGGER = logging.getLogger("tfopt")
_GIVEN = "the given frame"
_NUMBERED = re.compile(r"column_(\d+)")


@dataclass(frozen=True)
class NewRows:
    """The rows of a file that are to be predicted.

    Args:
        features: (rows, columns) values in the form of `Table.features`.
        targets: Those targets that the file has, read as in training, by name.
        others: The file's other columns, as written.
        unknown: Names of the columns that the training table had not.
        unnamed: Those of them that have no name in the file, as a row index has none.
        left_out: Notes on rows of the file that are not here.
    """

    features: pd.DataFrame
    targets: dict[str, pd.Series]
    others: pd.DataFrame
    unknown: tuple[str, ...]
    unnamed: tuple[str, ...]
    left_out: tuple[str, ...]


def read_rows(
    path: str | Path, columns: Sequence[Column], *, target_names: Sequence[str] = (), **options: Any
) -> pd.DataFrame:
    """Read the rows of a file that are to be predicted; columns that the model does not know are left aside.

    Args:
        path: A file that `load_table` could read.
        columns: The training table's columns.
        target_names: The training table's targets, which a file without a header line may have or not.
        **options: `ignored`, `header`, `encoding` and `separator`, as for `read_new_rows`.

    Returns:
        (rows, columns) values in the form of `Table.features`.

    Raises:
        UserError: When a column is missing, or holds what its kind cannot.

    Example:
        ```python
        import pandas as pd

        pd.DataFrame({"size": ["12 kg", None], "colour": ["red", "blue"]}).to_csv("new.csv", index=False)
        columns = [
            tfopt.data.Column("size", "numeric", has_missing=True, unit="kg"),
            tfopt.data.Column("colour", "categorical", num_levels=2),
        ]
        print(tfopt.data.read_rows("new.csv", columns)["size"].tolist())  # [12.0, nan]
        ```
    """
    rows = read_new_rows(path, columns, targets=[Column(name, "text") for name in target_names], **options)
    if rows.unknown:
        _LOGGER.info("%s: not used: %s", path, ", ".join(rows.unknown))
    return rows.features


def read_new_rows(
    path: str | Path,
    columns: Sequence[Column],
    *,
    targets: Sequence[Column] = (),
    ignored: Sequence[str] = (),
    header: str = "auto",
    encoding: str = "auto",
    separator: str = "auto",
    max_unpacked: int = MAX_UNPACKED,
) -> NewRows:
    """Read a file's rows with all that it holds beside the features.

    Columns are matched by name; in a file without a header line, by position.

    Args:
        path: A file that `load_table` could read.
        columns: The training table's columns.
        targets: The training table's targets, as in `Table.target_columns`; the file may have them or not.
        ignored: Other columns of the training table, as in `Table.ignored`.
        header: Whether the first line names the columns: `"yes"`, `"no"`, or `"auto"` to guess.
        encoding: A Python codec's name, or `"auto"`.
        separator: What separates fields, or `"auto"`.
        max_unpacked: Bytes that a compressed file may unpack to.

    Raises:
        UserError: When a column is missing, or holds what its kind cannot.
    """
    allowed = [*(column.name for column in (*columns, *targets)), *ignored]
    raw, _ = read_files(
        str(path),
        header=header,
        encoding=encoding,
        separator=separator,
        max_unpacked=max_unpacked,
        known_names=allowed,
    )
    return rows_of(raw, columns, targets=targets, ignored=ignored)


def rows_of(
    raw: RawTable, columns: Sequence[Column], *, targets: Sequence[Column] = (), ignored: Sequence[str] = ()
) -> NewRows:
    """Return the rows of a table as `read_new_rows` does, whose arguments these are.

    Raises:
        UserError: When a column is missing, or holds what its kind cannot.
    """
    target_names = [column.name for column in targets]
    allowed = [*(column.name for column in columns), *target_names, *ignored]
    frame = raw.frame.rename(columns=str)
    if not raw.has_header:
        frame = frame.rename(columns=_match_by_position(list(map(str, frame)), columns, target_names, ignored, raw))
    unknown = [name for name in map(str, frame) if name not in allowed]
    missing = [column.name for column in columns if column.name not in frame]
    if missing:
        others = f" and {len(missing) - 1} more are" if len(missing) > 1 else " is"
        raise UserError(
            f"column {missing[0]!r}{others} missing ({raw.source}).{nearest(missing[0], unknown)} "
            f"The model needs {_shown(columns)}."
        )
    read = [*columns, *(column for column in targets if column.name in frame)]
    names = {column.name for column in read}
    beside = [name for name in map(str, frame) if name not in names]
    again = [column.name for column in read if _is_ambiguous(column, frame[column.name], raw)] + beside
    if raw.read_text and again:
        raw_name = dict(zip(frame, raw.frame, strict=True))
        texts = raw.read_text([str(raw_name[name]) for name in again])
        frame = frame.assign(**{name: texts[raw_name[name]] for name in again})
    values = {column.name: read_as(column, frame[column.name], raw) for column in read}
    return NewRows(
        features=pd.DataFrame({column.name: values[column.name] for column in columns}),
        targets={name: values[name] for name in target_names if name in values},
        others=frame[beside],
        unknown=tuple(unknown),
        unnamed=tuple(name for name in unknown if name in raw.unnamed),
        left_out=raw.left_out,
    )


def target_column(column: Column, task: str) -> Column:
    """Return how the targets of new rows are read: numbers as in the training table, class labels as written."""
    labels = task == "classification" and column.kind != "numeric"  # yes and no are labels
    return Column(column.name, "categorical") if labels else column


def coded_targets(targets: Sequence[pd.Series], classes: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return targets in the form of `Table.target`, and which rows have one: a number, or one of the classes, if any.

    Args:
        targets: As `NewRows.targets` has them, in the order of the training table's.
        classes: The class labels; empty for regression.
    """
    if not classes:
        values = np.column_stack([column.to_numpy(dtype=np.float64) for column in targets])
        return values[:, 0] if len(targets) == 1 else values, np.isfinite(values).all(axis=1)
    labels = to_categories(targets[0])
    codes = {name.casefold(): code for code, name in enumerate(classes)} | {name: k for k, name in enumerate(classes)}
    places = np.array([*(codes.get(name, codes.get(name.casefold(), -1)) for name in labels.cat.categories), -1])
    target = places[labels.cat.codes.to_numpy()]
    return target, target >= 0


def cells_of(columns_of: pd.DataFrame | Mapping[str, Any], columns: Sequence[Column]) -> pd.DataFrame:
    """Return a dict of columns, or a data frame, as a data frame of those columns that it has, as in training."""
    names = [column.name for column in columns]
    if isinstance(columns_of, pd.DataFrame):
        columns_of = with_index(columns_of)
        for name in columns_of.columns.intersection(names):
            check_once(columns_of, name, _GIVEN)
    cells = {name: columns_of[name] for name in names if name in columns_of}
    frame = pd.DataFrame({name: np.ravel(v) if getattr(v, "ndim", 1) == 2 else v for name, v in cells.items()})
    return pd.DataFrame({name: plain(frame[name], name, _GIVEN) for name in cells}, copy=False)


def canonical(columns_of: pd.DataFrame | Mapping[str, Any], columns: Sequence[Column]) -> pd.DataFrame:
    """Return a data frame, or a dict of columns, with these columns in the form of `Table.features`.

    Raises:
        UserError: When a column is missing, or holds what its kind cannot.
    """
    frame = cells_of(columns_of, columns).reset_index(drop=True)
    raw = RawTable(name="rows", source=_GIVEN, sha256="", frame=frame)
    _check_columns(frame, columns, raw, columns_of)
    return pd.DataFrame({column.name: read_as(column, frame[column.name], raw) for column in columns})


def _check_columns(frame: pd.DataFrame, columns: Sequence[Column], raw: RawTable, given: Iterable[Any]) -> None:
    for column in columns:
        if column.name not in frame:
            raise UserError(
                f"column {column.name!r} is missing ({raw.source}).{nearest(column.name, map(str, given))} "
                f"The model needs {_shown(columns)}."
            )


def read_as(column: Column, values: pd.Series, raw: RawTable) -> pd.Series:
    """Return the canonical values of new rows in a column whose kind was decided in training.

    Raises:
        UserError: When a value is of another kind.
    """
    if column.kind == "categorical":
        return to_categories(values)
    if column.kind == "text":
        return Cells(values).strings()
    if column.kind == "boolean":
        truth = to_truth(values)
        _complain((truth.isna() & values.notna()).to_numpy(), values, column, raw, "true or false")
        return truth
    if pd.api.types.is_timedelta64_dtype(values.dtype):
        values = values.dt.total_seconds()
    if column.kind == "date" and pd.api.types.is_datetime64_any_dtype(values.dtype):
        return without_placeholders(naive(values))
    if column.kind == "numeric" and is_numeric(values):
        return checked(values, raw, math.inf)
    found = Cells(values)
    if column.kind == "date":
        texts = pd.Series(found.texts, dtype="str")
        read = parse_dates(texts, column.date_format)
        read = read if column.date_format == ISO else read.fillna(parse_dates(texts, ISO))
    else:
        read = pd.Series(to_numbers(found.texts, found.shapes, column.decimal, column.unit))
    bad = read.isna().to_numpy() & ~np.array([_is_gap(text, column) for text in found.texts], dtype=bool)
    _complain(found.where(bad), values, column, raw, "a date" if column.kind == "date" else "a number")
    if column.kind == "date":
        return found.spread(without_placeholders(read), np.datetime64("NaT", "s"))
    return checked(found.spread(read, np.nan), raw, math.inf)


def _is_gap(text: str, column: Column) -> bool:
    """Whether a text of a new row counts as missing, as it did in training."""
    if is_missing_mark(text) or text in column.missing_text:
        return True
    return starts_as_limit(text) and any(map(starts_as_limit, column.missing_text))


def _complain(bad: np.ndarray, values: pd.Series, column: Column, raw: RawTable, wanted: str) -> None:
    if bad.any():
        allowed = " (or yes and no, 1 and 0)" if column.kind == "boolean" else ""
        raise UserError(
            f"column {quoted(column.name)} holds {examples(values, bad, raw)} where training had {wanted} "
            f"({raw.source}). Write {wanted}{allowed}, or leave it empty for missing."
        )


def _is_ambiguous(column: Column, values: pd.Series, raw: RawTable) -> bool:
    """Whether plain numbers must be read again as text: as a level 007 is not 7, with decimal commas 5.251 is 5251."""
    if not pd.api.types.is_numeric_dtype(values.dtype):
        return False
    if column.kind == "numeric":
        return values.dtype == "float64" and (column.decimal != raw.decimal)
    return column.kind != "boolean"


def to_inputs(frame: pd.DataFrame | Mapping[str, Any], columns: Sequence[Column]) -> dict[str, np.ndarray]:
    """Return the columns as arrays in the form that `TableModel` takes.

    Args:
        frame: Rows as `Table.features` or `read_rows` has them, or a frame or a dict of columns of your own: numbers,
            categories of any type (`1`, `1.0` and `"1"` are the same level), truth values (`True`, `"yes"`, `0`), dates
            as text or times.
        columns: The training table's columns.

    Returns:
        For each column an array (rows,): float64 with NaN for missing (numeric, boolean), or text with `""` for missing
        (categorical; dates as `YYYY-MM-DD HH:MM:SS`; text as its words in lower case).

    Raises:
        UserError: When a column is missing, or holds what its kind cannot.

    Example:
        ```python
        import pandas as pd

        pd.DataFrame({"size": ["12 kg", None], "colour": ["red", "blue"]}).to_csv("new.csv", index=False)
        columns = [
            tfopt.data.Column("size", "numeric", has_missing=True, unit="kg"),
            tfopt.data.Column("colour", "categorical", num_levels=2),
        ]
        inputs = tfopt.data.to_inputs(tfopt.data.read_rows("new.csv", columns), columns)
        print(inputs["size"].tolist(), inputs["colour"].tolist())  # [12.0, nan] ['red', 'blue']
        ```
    """
    given, frame = frame, cells_of(frame, columns)
    raw = RawTable(name="rows", source=_GIVEN, sha256="", frame=frame)
    _check_columns(frame, columns, raw, given)
    inputs = {}
    for column in columns:
        if column.kind == "text":
            inputs[column.name] = np.array(as_words(frame[column.name]), dtype=object)
            continue
        values = read_as(column, frame[column.name], raw)
        if column.kind == "categorical":
            texts = np.array([*map(str, values.cat.categories), ""], dtype=object)
            inputs[column.name] = texts[values.cat.codes.to_numpy()]  # code -1, missing, takes the last
        elif column.kind == "date":
            times = values.to_numpy(dtype="datetime64[s]")
            written = np.char.replace(np.datetime_as_string(times), "T", " ").astype(object)
            inputs[column.name] = np.where(np.isnat(times), "", written)
        else:
            inputs[column.name] = values.to_numpy(dtype=np.float64)
    return inputs


def _match_by_position(
    given: list[str], columns: Sequence[Column], target_names: Sequence[str], ignored: Sequence[str], raw: RawTable
) -> dict[str, str]:
    """Return what the numbered columns of a file without a header line are called in the training table."""
    features = [column.name for column in columns]
    everything = [*features, *target_names, *ignored]
    numbers = [_NUMBERED.fullmatch(name) for name in everything]
    orders = [features]
    if all(numbers):  # the training table had no header line either, so every column's place is known
        place = {match.string: int(match.group(1)) for match in numbers if match}
        orders = [sorted(names, key=place.__getitem__) for names in (everything, [*features, *ignored], features)]
    for order in orders:
        if len(order) == len(given):
            return dict(zip(given, order, strict=True))
    counts = " or ".join(dict.fromkeys(str(len(order)) for order in orders))
    raise UserError(
        f"no header line and {len(given)} column{'s' * (len(given) > 1)}, where {counts} can be matched by position "
        f"({raw.source}). Add a header line with {_shown(columns)}."
    )


def _shown(columns: Sequence[Column], most: int = 8) -> str:
    names = [column.name for column in columns]
    return ", ".join(names[:most]) + (f" … ({len(names)} in all)" if len(names) > most else "")
