"""A data set by name or path, ready for folds."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from tfopt._escape import printable
from tfopt.data.column import TOLD_KINDS, Column
from tfopt.data.columns import read_columns
from tfopt.data.drafts import Reading
from tfopt.data.guesses import Guesses, shown
from tfopt.data.identifiers import is_identifier
from tfopt.data.raw import RawTable
from tfopt.data.readings import Readings
from tfopt.data.sources import EMBEDDED, read_source
from tfopt.data.spelling import quoted
from tfopt.data.surroundings import is_total
from tfopt.data.table import Table, Task
from tfopt.data.unpacking import MAX_UNPACKED
from tfopt.data.values import examples, extremes, is_whole, to_categories, to_seconds
from tfopt.errors import UserError, nearest, with_name

# A target of whole numbers with at most so many different ones is taken for class labels.
_MAX_NUMBERED_CLASSES = 20
_LONGEST_LABEL = 1000
EMPTY, CONSTANT, IDENTIFIER = "empty", "constant", "an identifier, another value in each row"


def load_table(
    source: str | Path | pd.DataFrame | RawTable | Sequence[str | Path],
    *,
    target: str | Sequence[str] | None = None,
    task: str = "auto",
    drop: Sequence[str] = (),
    group: str | None = None,
    weights: str | None = None,
    time: str | None = None,
    columns: Mapping[str, str] | None = None,
    header: str = "auto",
    encoding: str = "auto",
    separator: str = "auto",
    max_unpacked: int = MAX_UNPACKED,
    featureless: bool = False,
) -> Table:
    """Read a data set and decide what its columns are.

    Every column is decided by itself, on all its rows. What is guessed is in `notes`, with the way to say otherwise.

    Args:
        source: An embedded set (`digits`, `diabetes`, `breast_cancer`, `wine`, `iris`, `linnerud`; generated:
            `friedman1`, `friedman2`, `friedman3`, `moons`), a CSV, TSV, Excel, JSON lines, Parquet or NPZ file (`x`,
            `y`), several files of the same columns, a folder of them, `-` for standard input, a pandas data frame,
            `openml:NAME` or `keras:NAME`; or the rows of a file that were read already.
        target: The target column, or several for regression; None takes the last column and says so in `notes`.
        task: `"regression"`, `"classification"`, or `"auto"` to tell from the target.
        drop: Columns to leave out.
        group: A column whose equal values must stay together in one fold; not a feature.
        weights: A column of example weights; not a feature.
        time: A column of dates or numbers that orders the rows; a feature too, unless it is also in `drop`.
        columns: What columns are, by name, where the guess would be wrong: `"number"`, `"decimal-comma"`,
            `"decimal-point"`, `"category"`, `"date"`, `"day-first"`, `"month-first"`, `"text"` or `"drop"`.
        header: Whether the file's first line names the columns: `"yes"`, `"no"`, or `"auto"` to guess.
        encoding: A Python codec's name, or `"auto"`.
        separator: What separates fields, or `"auto"`.
        max_unpacked: Bytes that a compressed file may unpack to (gzip, Excel, NPZ, Parquet).
        featureless: Whether a table of nothing but targets will do, as of a time series.

    Returns:
        The table, with how each column is read and what was guessed.

    Raises:
        UserError: When the table cannot be used as asked; one line that names the file, line or column.

    Example:
        ```python
        table = tfopt.data.load_table("iris")
        print(table.task, table.features.shape)  # classification (150, 4)
        ```
    """
    for option, value, choices in (
        ("task", task, ("auto", "regression", "classification")),
        ("header", header, ("auto", "yes", "no")),
    ):
        if value not in choices:
            raise UserError(f"--{option} is one of {', '.join(choices)} (received {value!r}).{nearest(value, choices)}")
    if isinstance(source, RawTable):
        raw, default_targets = source, ()  # type: tuple[RawTable, tuple[str, ...]]
    else:
        if not isinstance(source, pd.DataFrame):
            source = ",".join(map(str, source)) if isinstance(source, list | tuple) else str(source)
        raw, default_targets = read_source(
            source,
            header=header,
            encoding=encoding,
            separator=separator,
            max_unpacked=max_unpacked,
            one_column=featureless,
        )
    frame = raw.frame.rename(columns=str)
    told = _told(columns or {}, frame, raw)
    notes, guesses = list(raw.notes), Guesses()
    dropped = [_column_named(name, frame, raw, "--drop") for name in drop]
    dropped += [name for name, kind in told.items() if kind == "drop" and name not in dropped]
    target_names = _choose_target(target, default_targets, frame, raw, notes, {*dropped, group, weights})
    reserved = {"--group": group and _column_named(group, frame, raw, "--group")}
    reserved["--weights"] = weights and _column_named(weights, frame, raw, "--weights")
    ordering = _column_named(time, frame, raw, "--time") if time else None
    if ordering in target_names:
        raise UserError(f"{quoted(ordering)} is the target and cannot be given to --time ({raw.source}).")
    for option, name in [*(("--drop", name) for name in dropped), *reserved.items()]:
        if name in target_names:
            raise UserError(
                f"{quoted(str(name))} is the target and cannot be given to {option} ({raw.source}). "
                "Choose another column."
            )
    of_numbers = [name for name in target_names if _are_categories_of_numbers(frame[name])]
    if of_numbers:
        frame = frame.assign(**{name: np.asarray(frame[name]) for name in of_numbers})
        task = "classification" if task == "auto" else task
    if task != "regression" and _are_codes(target_names, frame, told, raw):
        told |= {target_names[0]: "category"}
        guesses.add("labels kept as written", target_names[0], quoted(raw.padded[target_names[0]]), "number")
    unread = {*dropped, reserved["--group"]} - {ordering}
    to_read = frame[[name for name in frame if name not in unread]] if unread else frame
    readings = read_columns(raw, to_read, told, guesses)
    targets = [readings[name] for name in target_names]
    chosen_task, target_values, classes = _read_target(targets, frame, task, raw, notes)
    weight = readings[reserved["--weights"]] if reserved["--weights"] else None
    away = {*target_names, *dropped, reserved["--weights"]}
    features, kept, identifiers = _read_features(readings, away, set(told), raw, notes, featureless)
    used = {*target_names, *(column.name for column in kept)}
    return Table(
        name=raw.name,
        source=raw.source,
        sha256=raw.sha256,
        task=chosen_task,
        features=features,
        columns=kept,
        target=target_values,
        target_names=tuple(target_names),
        target_columns=tuple(reading.column for reading in targets),
        classes=classes,
        groups=_read_groups(frame, reserved["--group"], raw),
        weights=_read_weights(weight, frame, raw),
        times=_read_times(readings[ordering], frame, raw) if ordering else None,
        times_are_dates=ordering is not None and readings[ordering].column.kind == "date",
        time_name=ordering or "",
        notes=[printable(note) for note in [*notes, *guesses.notes({*target_names, *features})]],
        ignored=tuple(name for name in map(str, frame) if name not in used),
        identifiers=tuple(identifiers),
        source_columns=tuple(map(str, frame)),
    )


def _told(columns: Mapping[str, str], frame: pd.DataFrame, raw: RawTable) -> dict[str, str]:
    """Return the given kinds by the columns' own names."""
    for name, kind in columns.items():
        if kind not in TOLD_KINDS:
            raise UserError(
                f"--column {name}={kind} is not one of the kinds {', '.join(TOLD_KINDS)}.{nearest(kind, TOLD_KINDS)}"
            )
    return {_column_named(name, frame, raw, "--column"): kind for name, kind in columns.items()}


def _column_named(name: str, frame: pd.DataFrame, raw: RawTable, option: str) -> str:
    name = str(name)
    if name in frame:
        return name
    if not raw.has_header and name.isdigit() and f"column_{name}" in frame:
        return f"column_{name}"
    wrong = f"no column {quoted(name)} for {option} ({raw.source})."
    if not raw.has_header and len(frame) and name in {str(cell).removesuffix(".0") for cell in frame.iloc[0]}:
        raise UserError(f"{wrong} Its first line holds it, but is read as a row: pass --header if it names them.")
    raise UserError(f"{wrong}{nearest(name, map(str, frame))} Its columns are {shown(map(str, frame))}.")


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
    targets: list[Reading], frame: pd.DataFrame, task: str, raw: RawTable, notes: list[str]
) -> tuple[Task, np.ndarray, tuple[str, ...]]:
    if len(frame) < 2:
        raise UserError(
            f"one row only ({raw.source}). A comparison needs at least a row for training and one for testing."
        )
    if len(targets) > 1:
        if task == "classification":
            raise UserError(f"{len(targets)} targets and --task classification ({raw.source}). Name one target.")
        columns = [_numeric_target(reading, frame, raw, task) for reading in targets]
        return "regression", np.column_stack(columns), ()
    (reading,) = targets
    name, kind = reading.column.name, reading.column.kind
    inferred = task == "auto"
    say_task = inferred and raw.source not in EMBEDDED
    if kind == "date" and task != "classification":
        raise UserError(
            f"the target {quoted(name)} holds dates ({raw.source}: {reading.values.dropna().iloc[0]:%Y-%m-%d}). "
            "Name another target, write it as a number, such as the days since a first day, or pass --task "
            "classification if these are classes."
        )
    if inferred:
        task = _infer_task(reading)
    if task == "regression":
        numbers = _numeric_target(reading, frame, raw, "auto" if inferred else task)
        if say_task:
            notes.append(f"task: regression, {quoted(name)} holds numbers (change with --task)")
        return "regression", numbers, ()
    _complain_about_missing(reading, frame, "the target", raw, "Fill them in or take these rows out.")
    labels = to_categories(reading.values if kind in ("numeric", "categorical") else frame[name])
    labels = _in_one_spelling(labels, name, notes) if kind == "boolean" else labels
    counts = labels.value_counts()
    if say_task:
        many = ", which is many" if len(counts) > _MAX_NUMBERED_CLASSES else ""
        notes.append(f"task: classification, {quoted(name)} has {len(counts)} classes{many} (change with --task)")
    if len(counts) < 2:
        raise UserError(
            f"one class only ({raw.source}, column {quoted(name)}: every row is {quoted(str(counts.index[0]))}). "
            "Choose another target, or add rows of another class."
        )
    if counts.max() == 1 and len(counts) > 2:
        raise UserError(
            f"every row is a class of its own ({raw.source}, column {quoted(name)}). Choose another target."
        )
    classes = _in_order(list(labels.cat.categories))
    _say_of_levels(name, classes, notes)
    longest = max(classes, key=len)
    if len(longest) > _LONGEST_LABEL:
        raise UserError(
            f"a class label of {len(longest):,} characters in column {quoted(name)} ({raw.source}: {quoted(longest)}). "
            f"Labels have at most {_LONGEST_LABEL}; choose another target."
        )
    labels = labels.cat.reorder_categories(classes)
    return "classification", labels.cat.codes.to_numpy().astype(np.int64), tuple(classes)


def _are_codes(target_names: list[str], frame: pd.DataFrame, told: Mapping[str, str], raw: RawTable) -> bool:
    """Whether the target holds a few labels of digits, all of one width with leading zeros, such as 01 to 12."""
    (name, *others) = target_names
    if others or name in told or name not in raw.padded or raw.read_text is None or not _are_few(frame[name]):
        return False
    return raw.read_text([name])[name].str.strip().str.len().nunique() == 1


def _are_categories_of_numbers(target: pd.Series) -> bool:
    """Whether a target's type says that its numbers or truth values are classes: the labels stay what they are."""
    return isinstance(target.dtype, pd.CategoricalDtype) and target.cat.categories.dtype.kind in "biuf"


def _infer_task(reading: Reading) -> str:
    if reading.column.kind != "numeric":
        return "classification"
    present = reading.values[reading.values.notna()]
    return "classification" if _are_few(present) and is_whole(present.to_numpy(dtype=np.float64)) else "regression"


def _are_few(numbers: pd.Series) -> bool:
    """Whether so few numbers differ that they may be classes."""
    return numbers.nunique() <= min(_MAX_NUMBERED_CLASSES, max(2, len(numbers) // 5))


def _numeric_target(reading: Reading, frame: pd.DataFrame, raw: RawTable, task: str) -> np.ndarray:
    name, numbers = reading.column.name, reading.values
    if reading.column.kind == "boolean":
        numbers = numbers.astype("float64")
    elif reading.column.kind != "numeric":
        numbers = pd.Series(np.nan, index=numbers.index)
    _complain_about_missing(reading, frame, "the target", raw, "Fill them in or take these rows out.")
    bad = numbers.isna().to_numpy()
    if bad.any():
        fix = "pass --task classification if these are classes" if task == "auto" else "name another target"
        raise UserError(
            f"text in the numeric target {quoted(name)} ({raw.source}: {examples(frame[name], bad, raw)}). "
            f"Correct these values, or {fix}."
        )
    if numbers.min() == numbers.max():
        raise UserError(
            f"the target {quoted(name)} is {numbers.iloc[0]:g} in every row ({raw.source}). Choose another target."
        )
    return numbers.to_numpy(dtype=np.float64)


def _complain_about_missing(reading: Reading, frame: pd.DataFrame, what: str, raw: RawTable, fix: str) -> None:
    missing = reading.values.isna().to_numpy()
    if missing.any():
        rows = np.flatnonzero(missing)
        written = missing & frame[reading.column.name].notna().to_numpy()
        if missing.all() and not written.any():
            raise UserError(f"{what} {quoted(reading.column.name)} is empty ({raw.source}). Choose another column.")
        places = ", ".join(raw.where(int(row)) for row in rows[:3]) + (", …" if len(rows) > 3 else "")
        places = examples(frame[reading.column.name], written, raw) if written.any() else places
        count = f"{len(rows)} missing value{'s' * (len(rows) > 1)}"
        names = " If the first line holds the names, pass --header." if rows[0] == 0 and not raw.has_header else ""
        raise UserError(f"{count} in {what} {quoted(reading.column.name)} ({raw.source}: {places}). {fix}{names}")


def _in_one_spelling(labels: pd.Series, name: str, notes: list[str]) -> pd.Series:
    """Return labels of two truth values with `yes`, `Yes` and `YES` as one class, spelled as most rows are."""
    common = labels.value_counts().index  # the commonest first
    spelling: dict[str, str] = {}
    for level in common:
        spelling.setdefault(level.casefold(), level)
    if others := [level for level in common if level not in spelling.values()]:
        notes.append(
            f"classes of {quoted(name)} that differ in case only are one: {shown(map(quoted, others))} as "
            f"{shown(map(quoted, spelling.values()))} (keep them apart with {with_name('--column', name, 'category')})"
        )
    return to_categories(labels.astype(object).map(lambda level: spelling[level.casefold()], na_action="ignore"))


def _say_of_levels(name: str, levels: list[str], notes: list[str]) -> None:
    first: dict[str, str] = {}
    twice = [(first[key], level) for level in levels if first.setdefault(key := level.casefold(), level) != level]
    if twice:
        listed = shown((f"{quoted(one)} and {quoted(other)}" for one, other in twice), 3)
        notes.append(f"levels of {quoted(name)} that differ in case only are kept apart: {listed}")
    if totals := [quoted(level) for level in levels if is_total(level)]:
        notes.append(f"rows where {quoted(name)} is {shown(totals, 3)} are kept; take them out if they sum up others")


def _in_order(labels: list[str]) -> list[str]:
    """Return labels in the order of their numbers where all are numbers, else alphabetically."""
    try:
        return sorted(labels, key=float)
    except ValueError:
        return sorted(labels)


def _read_features(
    readings: Readings, away: set[str | None], told: set[str], raw: RawTable, notes: list[str], featureless: bool
) -> tuple[pd.DataFrame, tuple[Column, ...], list[str]]:
    if readings.keys() <= away and not featureless:
        raise UserError(f"no feature column is left ({raw.source}). Drop fewer columns.")
    columns: list[Column] = []
    dropped: dict[str, list[str]] = {}
    num_rows = len(raw.frame)
    for name in readings:
        if name in away:
            continue
        column, constant, whole, num_missing = readings.facts(name)
        reason = EMPTY if num_missing == num_rows else CONSTANT if constant else ""
        codes = column.kind != "numeric" or (whole and not num_missing)  # or texts
        if not reason and codes and name not in told:
            others = (readings[other] for other in readings if other != name)
            nameless = name in raw.unnamed and name == str(raw.frame.columns[0])
            reason = IDENTIFIER if is_identifier(readings[name], others, nameless) else ""
        if reason:
            dropped.setdefault(reason, []).append(name)
            continue
        if whole and _is_nearly_unique(readings[name].values):
            notes.append(f"{quoted(name)} is nearly unique and may be an identifier; leave it out with --drop if it is")
        columns.append(column)
        if column.kind == "categorical":
            _say_of_levels(name, list(readings[name].values.cat.categories), notes)
    if not columns and not featureless:
        reasons = "; ".join(f"{reason}: {shown(names, 3)}" for reason, names in dropped.items())
        raise UserError(
            f"all columns were dropped ({raw.source}; {reasons}). A table needs a feature that varies; "
            "--column NAME=number or NAME=category keeps an identifier."
        )
    for reason, names in dropped.items():
        kind = {"numeric": "number", "categorical": "category"}.get(readings[names[0]].column.kind, "text")
        keep = f" (keep with {with_name('--column', names[0], kind)})" if reason == IDENTIFIER else ""
        notes.append(f"dropped as {reason}: {shown(names)}{keep}")
    names = [column.name for column in columns]
    features = readings.frame(names) if names else pd.DataFrame(index=pd.RangeIndex(num_rows))
    return features, tuple(columns), dropped.get(IDENTIFIER, [])


def _is_nearly_unique(values: pd.Series) -> bool:
    """Whether whole numbers as long as codes hardly ever recur."""
    if len(values) < 100 or extremes(values.to_numpy(dtype=np.float64))[0] < 10_000:
        return False
    return bool(values.nunique() >= 0.9 * len(values))


def _read_groups(frame: pd.DataFrame, name: str | None, raw: RawTable) -> np.ndarray | None:
    if not name:
        return None
    groups = to_categories(frame[name])
    _complain_about_missing(
        Reading(Column(name, "categorical"), groups), frame, "the group column", raw, "Give each row a group."
    )
    if len(groups.cat.categories) < 2:
        raise UserError(f"one group only ({raw.source}, column {quoted(name)}). Grouped folds need several groups.")
    return groups.cat.codes.to_numpy().astype(np.int64)


def _read_times(reading: Reading, frame: pd.DataFrame, raw: RawTable) -> np.ndarray:
    """Return the times of the rows: seconds since 1970 of dates, or the numbers."""
    name, kind = reading.column.name, reading.column.kind
    if kind not in ("date", "numeric"):
        first = examples(frame[name], frame[name].notna().to_numpy(), raw)
        raise UserError(
            f"no times in column {quoted(name)} ({raw.source}: {first}). Name a column of dates or numbers, or say how "
            f"it is to be read: {with_name('--column', name, 'date')}."
        )
    _complain_about_missing(reading, frame, "the time column", raw, "Fill them in or take these rows out.")
    if kind == "date":
        return to_seconds(reading.values).astype(np.float64)
    return reading.values.to_numpy(dtype=np.float64)


def _read_weights(reading: Reading | None, frame: pd.DataFrame, raw: RawTable) -> np.ndarray | None:
    if reading is None:
        return None
    name, values = reading.column.name, reading.values
    if reading.column.kind != "numeric":
        bad = frame[name].notna().to_numpy()
        raise UserError(
            f"text in the weights {quoted(name)} ({raw.source}: {examples(frame[name], bad, raw)}). Write numbers."
        )
    _complain_about_missing(reading, frame, "the weights column", raw, "Give each row a weight.")
    if values.min() < 0:
        row = int(values.to_numpy().argmin())
        raise UserError(
            f"a negative weight, {values.iloc[row]:g} ({raw.source}, column {quoted(name)}, {raw.where(row)}). "
            "Weights are >= 0."
        )
    if values.max() == 0:
        raise UserError(f"all weights are 0 ({raw.source}, column {quoted(name)}). Some must be positive.")
    return values.to_numpy(dtype=np.float64)
