"""Write a run's predictions for the rows of a table, as CSV.

Regression gives a column for each target. Classification gives `prediction`, and `probability_CLASS` for each class.
Columns that name the rows stand before them. Where the table holds the targets, the predictions are scored.
"""

import argparse
import csv
import io
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfopt._files import write_text
from tfopt.cli.parser import Parser, names
from tfopt.data.column import Column
from tfopt.data.spelling import quoted
from tfopt.errors import UserError, nearest, one_line, printable
from tfopt.search.run_folder import check_existing

if TYPE_CHECKING:
    from tfopt.data.rows import NewRows

EXAMPLES = """
  tfopt predict runs/houses__0__… new.csv > predictions.csv
  tfopt predict runs/houses__0__… new.csv --output predictions.csv --id parcel
  zcat new.csv.gz | tfopt predict runs/houses__0__… -
"""
USAGE = "tfopt predict RUN TABLE [options]"


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `tfopt predict`."""
    group = parser.add_argument_group("what to predict")
    group.add_argument("run", metavar="RUN", help="run folder that tfopt search made")
    group.add_argument(
        "table",
        metavar="TABLE",
        help="file with the columns of the training table, - for standard input; where it has the targets, they are "
        "scored",
    )
    group.add_argument(
        "--id",
        type=names,
        default=None,
        metavar="NAME[,…]",
        help="columns to copy before the predictions (default: the training table's identifiers, and a row index)",
    )
    group.add_argument("--output", "-o", metavar="FILE", help="write here instead of to standard output")
    reading = parser.add_argument_group("how to read TABLE")
    reading.add_argument(
        "--header", action="store_const", const="yes", default="auto", help="the first line holds names"
    )
    reading.add_argument(
        "--no-header", dest="header", action="store_const", const="no", help="it does not (default: guessed)"
    )
    reading.add_argument("--encoding", default="auto", metavar="NAME", help="such as gb18030 (default: guessed)")
    reading.add_argument("--separator", default="auto", metavar="CHARACTER", help="such as ';' (default: guessed)")
    machine = parser.add_argument_group("the machine")
    machine.add_argument("--device", default="auto", metavar="DEVICE", help="auto, cpu, gpu or gpu:N (default: auto)")


def run(arguments: argparse.Namespace) -> int:
    """Predict."""
    from tfopt.cli.console import say
    from tfopt.cli.startup import start
    from tfopt.data.files import STANDARD_INPUT
    from tfopt.report.run import load_run

    folder = check_existing(arguments.run, "best.keras")
    table = Path(arguments.table)
    if arguments.table != STANDARD_INPUT and "," not in arguments.table and not table.exists():
        siblings = [str(table.parent / entry.name) for entry in table.parent.glob("*")]
        raise UserError(f"no file {table}.{nearest(str(table), siblings)}")  # before TensorFlow, which takes seconds
    with start(arguments.device, debug=arguments.debug):
        from tfopt.data.rows import read_new_rows, to_inputs

    searched = load_run(folder)
    model = _load(folder, searched.config.get("space", ""))
    trained = searched.environment.get("data", {})
    rows = read_new_rows(
        arguments.table,
        model.columns,
        targets=_targets(model, trained),
        ignored=trained.get("ignored", ()),  # columns that the search left out
        header=arguments.header,
        encoding=arguments.encoding,
        separator=arguments.separator,
    )
    inputs = to_inputs(rows.features, model.columns)
    copied = _copied(rows, arguments.id, trained.get("identifiers", ()))
    outputs = model.predict(inputs, verbose=0)
    _write(as_csv(model, outputs, copied), arguments.output)
    if not arguments.quiet:
        unused = [name for name in rows.unknown if name not in copied]
        lines = [f"not used: {', '.join(unused)}, unknown to the model"] if unused else []
        for line in [*lines, *_surprises(model, inputs), *_score(model, rows, outputs, searched.config)]:
            say(printable(line))
    return 0


def _targets(model: Any, trained: dict[str, Any]) -> list[Column]:
    """Return how targets are read: numbers as in the training table, class labels as written."""
    stored = {column["name"]: column for column in trained.get("target_columns", ())}
    kind: Any = "numeric" if model.task == "regression" else "categorical"
    columns = []
    for name in model.target_names:
        held = stored.get(name, {"kind": kind})
        if model.task == "classification" and held["kind"] != "numeric":
            held = {"kind": "categorical"}  # yes and no are labels
        columns.append(Column(**{**held, "name": name, "missing_text": tuple(held.get("missing_text", ()))}))
    return columns


def _copied(rows: "NewRows", asked: list[str] | None, identifiers: Sequence[str]) -> dict[str, list[str]]:
    """Return the columns that name the rows, as written."""
    held = {**rows.others, **rows.features, **rows.targets}
    if asked is None:
        asked = [*rows.unnamed, *(name for name in identifiers if name in rows.others)]
    for name in asked:
        if name not in held:
            raise UserError(f"no column {name!r} for --id.{nearest(name, held)} There are {', '.join(held)}.")
    return {name: ["" if value is None or value != value else str(value) for value in held[name]] for name in asked}


def _surprises(model: Any, inputs: dict[str, np.ndarray]) -> Iterator[str]:
    """Yield what the model has not met in training: levels, and missing values where there were none."""
    levels = model.preprocessing.levels
    for column in model.columns:
        values = inputs[column.name]
        missing = np.isnan(values) if values.dtype.kind == "f" else values == ""
        if missing.any() and not column.has_missing and column.kind != "text":
            yield f"{column.name!r}: {missing.sum()} of {len(values)} cells are missing, where training had every one"
        if column.kind == "categorical":
            others = values[~missing & ~np.isin(values, levels[column.name])]
            if len(others):
                known = len(levels[column.name])
                beyond = f", or not among the {known} most frequent there" if column.num_levels > known else ""
                shown = ", ".join(map(quoted, list(dict.fromkeys(others.tolist()))[:3]))
                cells = f"{len(others)} of {len(values)} cells"
                yield f"{column.name!r}: {cells} hold a level unseen in training{beyond}: {shown}"


def _score(model: Any, rows: "NewRows", outputs: np.ndarray, config: dict[str, Any]) -> Iterator[str]:
    """Yield the score of the predictions, where the rows hold the targets."""
    from tfopt.comparison.objective import get_objective

    if not rows.targets or len(rows.targets) < len(model.target_names):
        return
    objective = get_objective(config.get("objective"), model.task)
    target, known = _target(model, rows)
    if not known.any():
        yield f"not scored: no row holds a {' and '.join(model.target_names)} that the model knows"
        return
    prediction = outputs[:, 0] if model.task == "regression" and outputs.shape[1] == 1 else outputs
    weights = _weights(rows, config.get("weights"))
    try:
        score = objective.score(target[known], prediction[known], None if weights is None else weights[known])
    except UserError as error:
        yield f"not scored: {error}"
        return
    gone = f"; {(~known).sum()} without a known {' and '.join(model.target_names)} left out" if not known.all() else ""
    weighted = ", weighted" if weights is not None else ""
    yield f"{objective.name} {objective.raw(score):.6g} on {known.sum()} rows{weighted}{gone}"


def _target(model: Any, rows: "NewRows") -> tuple[np.ndarray, np.ndarray]:
    """Return the targets as an objective takes them, and which rows have them."""
    from tfopt.data.values import to_categories

    columns = [rows.targets[name] for name in model.target_names]
    if model.task == "regression":
        values = np.column_stack([column.to_numpy(dtype=np.float64) for column in columns])
        return values[:, 0] if len(columns) == 1 else values, np.isfinite(values).all(axis=1)
    labels = to_categories(columns[0])
    codes = {name: code for code, name in enumerate(model.classes)}
    places = np.array([*(codes.get(name, -1) for name in labels.cat.categories), -1])
    target = places[labels.cat.codes.to_numpy()]
    return target, target >= 0


def _weights(rows: "NewRows", name: str | None) -> np.ndarray | None:
    from tfopt.data.raw import RawTable
    from tfopt.data.rows import read_as

    if name is None or name not in rows.others:
        return None
    raw = RawTable(name="rows", source="the weights", sha256="", frame=rows.others)
    return read_as(Column(name, "numeric"), rows.others[name], raw).fillna(0.0).to_numpy(dtype=np.float64)


def _load(folder: Path, space: str) -> Any:
    """Return a run's model; what it holds of the user's own classes is in the file of its space."""
    import keras

    path = Path(space.rpartition(":")[0])
    classes: dict[str, type] = {}
    if path.suffix == ".py" and path.is_file():
        from tfopt.search.user_space import own_classes

        classes = own_classes(space)
    try:
        return keras.models.load_model(folder / "best.keras", custom_objects=classes, compile=False)
    except (TypeError, ValueError) as error:
        if path.suffix != ".py":
            raise
        raise UserError(
            f"{folder / 'best.keras'} holds a class that is not known here ({one_line(error)[:200]}). Restore {path}, "
            "which the search took its space from."
        ) from error


def as_csv(model: Any, outputs: np.ndarray, copied: Mapping[str, Sequence[str]] | None = None) -> str:
    """Return predictions as CSV text, with all the digits that the network knows, behind the columns `copied`."""
    if model.task == "regression":
        targets = model.target_names or [f"prediction_{place}" for place in range(1, outputs.shape[1] + 1)]
        columns = dict(zip(targets, map(_written, outputs.T, model.target_scale), strict=True))
    else:
        columns = {"prediction": [model.classes[code] for code in outputs.argmax(axis=1)]}
        for name, shares in zip(model.classes, outputs.T.tolist(), strict=True):
            columns[f"probability_{name}"] = [f"{share:.7g}" for share in shares]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    copied = copied or {}
    writer.writerow([*copied, *columns])
    writer.writerows(zip(*copied.values(), *columns.values(), strict=True))
    return text.getvalue()


def _written(values: np.ndarray, scale: float) -> list[str]:
    """Return numbers to a ten-millionth of the target's spread, which is what float32 resolves before it is scaled."""
    with np.errstate(divide="ignore"):
        digits = 8 + np.floor(np.log10(np.abs(values) / scale))
    digits = np.clip(np.nan_to_num(digits), 1, 17).astype(int)
    return [f"{value:.{places}g}" for value, places in zip(values.tolist(), digits.tolist(), strict=True)]


def _write(text: str, output: str | None) -> None:
    if output is None:
        sys.stdout.write(text)
        return
    try:
        write_text(Path(output), text)
    except OSError as error:
        raise UserError(f"--output {output} cannot be written: {error.strerror}.") from None
