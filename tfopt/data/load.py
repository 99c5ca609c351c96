"""A data set by name or path, ready for folds."""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from tfopt.data.columns import ENOUGH, as_numbers, examples, finite, mostly_numbers, understand
from tfopt.data.delimited import RawTable
from tfopt.data.sources import EMBEDDED, read_source
from tfopt.data.table import Column, Table, Task
from tfopt.data.values import to_categories
from tfopt.errors import UserError, nearest

_LOGGER = logging.getLogger("tfopt")
# A target of whole numbers with at most so many different ones is taken for class labels.
_MAX_NUMBERED_CLASSES = 20


def load_table(
    source: str | Path,
    *,
    target: str | Sequence[str] | None = None,
    task: str = "auto",
    drop: Sequence[str] = (),
    group: str | None = None,
    weights: str | None = None,
    header: str = "auto",
    encoding: str = "auto",
    separator: str = "auto",
) -> Table:
    """Read a data set and decide what its columns are.

    Args:
        source: An embedded set (`digits`, `diabetes`, `breast_cancer`, `wine`, `iris`, `linnerud`; generated:
            `friedman1`, `friedman2`, `friedman3`, `moons`), a CSV, TSV, Parquet or NPZ file (`x`, `y`), `openml:NAME`
            or `keras:NAME`.
        target: The target column, or several for regression; None takes the last column and says so in `notes`.
        task: `"regression"`, `"classification"`, or `"auto"` to tell from the target.
        drop: Columns to leave out.
        group: A column whose equal values must stay together in one fold; not a feature.
        weights: A column of example weights; not a feature.
        header: Whether the file's first line names the columns: `"yes"`, `"no"`, or `"auto"` to guess.
        encoding: A Python codec's name, or `"auto"`.
        separator: What separates fields, or `"auto"`.

    Raises:
        UserError: When the table cannot be used as asked; one line that names the file, line or column.

    Example:
        >>> from tfopt.data import load_table
        >>> table = load_table("iris")
        >>> table.task, table.features.shape, table.classes
        ('classification', (150, 4), ('setosa', 'versicolor', 'virginica'))
    """
    for option, value, choices in (
        ("task", task, ("auto", "regression", "classification")),
        ("header", header, ("auto", "yes", "no")),
    ):
        if value not in choices:
            raise UserError(f"--{option} is one of {', '.join(choices)} (received {value!r}).{nearest(value, choices)}")
    raw, default_targets = read_source(str(source), header=header, encoding=encoding, separator=separator)
    notes = list(raw.notes)
    frame = raw.frame.rename(columns=str)
    target_names = _choose_target(target, default_targets, frame, raw, notes, {*drop, group, weights})
    dropped = [_column_named(name, frame, raw, "--drop") for name in drop]
    reserved = {"--group": group and _column_named(group, frame, raw, "--group")}
    reserved["--weights"] = weights and _column_named(weights, frame, raw, "--weights")
    for option, name in [*(("--drop", name) for name in dropped), *reserved.items()]:
        if name in target_names:
            raise UserError(
                f"{name!r} is the target and cannot be given to {option} ({raw.source}). Choose another column."
            )
    chosen_task, target_values, classes = _read_target(frame, target_names, task, raw, notes)
    away = {*target_names, *dropped, *(name for name in reserved.values() if name)}
    features, columns = _read_features(frame.drop(columns=list(away)), raw, notes)
    return Table(
        name=raw.name,
        source=raw.source,
        sha256=raw.sha256,
        task=chosen_task,
        features=features,
        columns=columns,
        target=target_values,
        target_names=tuple(target_names),
        classes=classes,
        groups=_read_groups(frame, reserved["--group"], raw),
        weights=_read_weights(frame, reserved["--weights"], raw),
        notes=notes,
        ignored=tuple(
            name for name in map(str, frame) if name not in target_names and name not in {c.name for c in columns}
        ),
    )


def shown(names: Iterable[str], most: int = 8) -> str:
    """Return a list of names for a message, shortened when it is long."""
    words = list(names)
    return ", ".join(words[:most]) + (f" … ({len(words)} in all)" if len(words) > most else "")


def _column_named(name: str, frame: pd.DataFrame, raw: RawTable, option: str) -> str:
    name = str(name)
    if name in frame:
        return name
    if not raw.has_header and name.isdigit() and f"column_{name}" in frame:
        return f"column_{name}"
    raise UserError(
        f"no column {name!r} for {option} ({raw.source}).{nearest(name, map(str, frame))} "
        f"Its columns are {shown(map(str, frame))}."
    )


def _choose_target(
    target: str | Sequence[str] | None,
    default: tuple[str, ...],
    frame: pd.DataFrame,
    raw: RawTable,
    notes: list[str],
    reserved: set[str | None],
) -> list[str]:
    if target is None and default:
        return list(default)
    if target is None:
        free = [name for name in map(str, frame) if name not in reserved]
        if not free:
            raise UserError(f"no column is left for the target ({raw.source}). Drop fewer, or name it with --target.")
        notes.append(f"target: {free[-1]!r}, the last column (change with --target)")
        return [free[-1]]
    names = [_column_named(name, frame, raw, "--target") for name in ([target] if isinstance(target, str) else target)]
    if not names:
        raise UserError(f"no target was named ({raw.source}). Give a column to --target: {shown(map(str, frame))}.")
    if len(set(names)) < len(names):
        raise UserError(f"a target is named twice ({shown(names)}). Name each once.")
    return names


def _read_target(
    frame: pd.DataFrame, names: list[str], task: str, raw: RawTable, notes: list[str]
) -> tuple[Task, np.ndarray, tuple[str, ...]]:
    for name in names:
        _complain_about_missing(frame[name], "the target", raw, "Fill them in or take these rows out.")
    if len(frame) < 2:
        raise UserError(
            f"one row only ({raw.source}). A comparison needs at least a row for training and one for testing."
        )
    if len(names) > 1:
        if task == "classification":
            raise UserError(f"{len(names)} targets and --task classification ({raw.source}). Name one target.")
        return "regression", np.column_stack([_numeric_target(frame[name], raw, task) for name in names]), ()
    values = frame[names[0]]
    if pd.api.types.is_numeric_dtype(values.dtype) and values.dtype != bool:
        values = finite(values, raw)
    inferred = task == "auto"
    say_task = inferred and raw.source not in EMBEDDED
    if inferred:
        task = _infer_task(values)
    if task == "regression":
        numbers = _numeric_target(values, raw, "auto" if inferred else task)
        if say_task:
            notes.append(f"task: regression, {names[0]!r} holds numbers (change with --task)")
        return "regression", numbers, ()
    labels = to_categories(values)
    counts = labels.value_counts()
    if say_task:
        many = ", which is many" if len(counts) > _MAX_NUMBERED_CLASSES else ""
        notes.append(f"task: classification, {names[0]!r} has {len(counts)} classes{many} (change with --task)")
    if len(counts) < 2:
        raise UserError(
            f"one class only ({raw.source}, column {names[0]!r}: every row is {str(counts.index[0])!r}). "
            "Choose another target, or add rows of another class."
        )
    classes = _in_order(list(labels.cat.categories))
    labels = labels.cat.reorder_categories(classes)
    return "classification", labels.cat.codes.to_numpy().astype(np.int64), tuple(classes)


def _infer_task(values: pd.Series) -> str:
    if values.dtype == bool or not (pd.api.types.is_numeric_dtype(values.dtype) or values.dtype == "str"):
        return "classification"
    numbers = as_numbers(values) if mostly_numbers(values) else pd.Series(dtype="float64")
    if numbers.notna().mean() < ENOUGH or numbers.empty:
        return "classification"
    present = numbers[numbers.notna()]
    levels = present.nunique()
    whole = bool((present == np.floor(present)).all())
    few = levels <= min(_MAX_NUMBERED_CLASSES, max(2, len(present) // 5))
    return "classification" if whole and few else "regression"


def _numeric_target(values: pd.Series, raw: RawTable, task: str) -> np.ndarray:
    numbers = as_numbers(values)
    bad = numbers.isna()
    if bad.any():
        fix = "pass --task classification" if task != "auto" else "pass --task classification if these are classes"
        raise UserError(
            f"text in the numeric target {str(values.name)!r} ({raw.source}: {examples(values, bad, raw)}). "
            f"Correct these values, or {fix}."
        )
    numbers = finite(numbers, raw)
    if numbers.min() == numbers.max():
        raise UserError(
            f"the target {str(values.name)!r} is {numbers.iloc[0]:g} in every row ({raw.source}). "
            "Choose another target."
        )
    return numbers.to_numpy(dtype=np.float64)


def _complain_about_missing(values: pd.Series, what: str, raw: RawTable, fix: str) -> None:
    missing = np.flatnonzero(values.isna().to_numpy())
    if len(missing):
        places = ", ".join(raw.where(int(row)) for row in missing[:3]) + (", …" if len(missing) > 3 else "")
        count = f"{len(missing)} missing value{'s' * (len(missing) > 1)}"
        raise UserError(f"{count} in {what} {str(values.name)!r} ({raw.source}: {places}). {fix}")


def _in_order(labels: list[str]) -> list[str]:
    """Return labels in the order of their numbers where all are numbers, else alphabetically."""
    try:
        return sorted(labels, key=float)
    except ValueError:
        return sorted(labels)


def _read_features(frame: pd.DataFrame, raw: RawTable, notes: list[str]) -> tuple[pd.DataFrame, tuple[Column, ...]]:
    if not len(frame.columns):
        raise UserError(f"no feature column is left ({raw.source}). Drop fewer columns.")
    columns, values, dropped = [], {}, {}  # type: list[Column], dict[str, pd.Series], dict[str, list[str]]
    for name in frame:
        column, canonical = understand(frame[name], raw, notes, dropped)
        if column is not None:
            columns.append(column)
            values[column.name] = canonical
    if not columns:
        reasons = "; ".join(f"{reason}: {shown(names, 3)}" for reason, names in dropped.items())
        raise UserError(f"all columns were dropped ({raw.source}; {reasons}). A table needs a feature that varies.")
    notes += [f"dropped as {reason}: {shown(names)}" for reason, names in dropped.items()]
    return pd.DataFrame(values), tuple(columns)


def _read_groups(frame: pd.DataFrame, name: str | None, raw: RawTable) -> np.ndarray | None:
    if not name:
        return None
    _complain_about_missing(frame[name], "the group column", raw, "Give each row a group.")
    codes, groups = pd.factorize(frame[name], sort=False)
    if len(groups) < 2:
        raise UserError(f"one group only ({raw.source}, column {name!r}). Grouped folds need several groups.")
    return codes.astype(np.int64)


def _read_weights(frame: pd.DataFrame, name: str | None, raw: RawTable) -> np.ndarray | None:
    if not name:
        return None
    _complain_about_missing(frame[name], "the weights column", raw, "Give each row a weight.")
    values = as_numbers(frame[name])
    bad = values.isna()
    if bad.any():
        raise UserError(
            f"text in the weights {name!r} ({raw.source}: {examples(frame[name], bad, raw)}). Write numbers."
        )
    values = finite(values, raw)
    if values.min() < 0:
        row = int(values.to_numpy().argmin())
        raise UserError(
            f"a negative weight, {values.iloc[row]:g} ({raw.source}, column {name!r}, {raw.where(row)}). "
            "Weights are >= 0."
        )
    if values.max() == 0:
        raise UserError(f"all weights are 0 ({raw.source}, column {name!r}). Some must be positive.")
    return values.to_numpy(dtype=np.float64)
