"""Write a run's predictions for the rows of a table, as CSV.

Regression gives a column for each target. Classification gives `prediction`, and `probability_CLASS` for each class
where the model knows probabilities.
Columns that name the rows stand before them. Where the table holds the targets, the predictions are scored.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfopt._files import replace
from tfopt._words import names, share, size
from tfopt.cli.parser import Parser
from tfopt.data.column import Column
from tfopt.data.unpacking import MAX_UNPACKED
from tfopt.data.user_file import names_python
from tfopt.errors import UserError, nearest
from tfopt.search.run_folder import check_existing

if TYPE_CHECKING:
    from tfopt.comparison.conformal import Band
    from tfopt.data.rows import NewRows
    from tfopt.report.run import SearchRun

EXAMPLES = """
  tfopt predict runs/houses__0__… new.csv > predictions.csv
  tfopt predict runs/houses__0__… new.csv --output predictions.csv --id parcel
  tfopt predict runs/houses__0__… new.csv --model network
  tfopt predict runs/houses__0__… new.csv --interval 0.9
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
        help="file with the columns of the training table, - for standard input, or examples of the kind of the "
        "training ones (a folder, NPZ, PATH.py:function); where it has the targets, they are scored",
    )
    group.add_argument(
        "--id",
        type=names,
        default=None,
        metavar="NAME[,…]",
        help="columns to copy before the predictions (default: the training table's identifiers, and a row index)",
    )
    group.add_argument(
        "--model",
        metavar="NAME",
        help="network, ensemble (of its seeds), trials (the ensemble of trials), baseline (the best), or a name on the "
        "leaderboard (default: what the verdict says to keep)",
    )
    group.add_argument(
        "--interval",
        type=share,
        metavar="CONFIDENCE",
        help="such as 0.9: add TARGET_low and TARGET_high, or the set of classes, that hold the truth so often",
    )
    group.add_argument(
        "--space",
        metavar="FILE",
        help="the Python file that defines the network's own classes, or the baseline of your own",
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
    reading.add_argument(
        "--max-unpacked",
        type=size,
        default=MAX_UNPACKED,
        metavar="SIZE",
        help="what a compressed file may unpack to, such as 16GB (default: 4GB)",
    )
    reading.add_argument(
        "--stream",
        action="store_true",
        help="in blocks, so that it need not fit into memory (default: where memory is too little)",
    )
    machine = parser.add_argument_group("the machine")
    machine.add_argument("--device", default="auto", metavar="DEVICE", help="auto, cpu, gpu or gpu:N (default: auto)")


def run(arguments: argparse.Namespace) -> int:
    """Predict."""
    from tfopt.cli.console import say
    from tfopt.cli.startup import start
    from tfopt.data.files import STANDARD_INPUT
    from tfopt.report.run import load_run
    from tfopt.search.saved import choose_model, load_model, model_file, outputs_of

    folder = check_existing(arguments.run)
    name, why = choose_model(folder, arguments.model)
    check_existing(folder, model_file(name))
    table = Path(arguments.table)
    is_path = arguments.table != STANDARD_INPUT and "," not in arguments.table and not names_python(arguments.table)
    if is_path and not arguments.table.startswith("keras:") and arguments.table != "digits" and not table.exists():
        siblings = [str(table.parent / entry.name) for entry in table.parent.glob("*")]
        raise UserError(f"no file {table}.{nearest(str(table), siblings)}")  # before TensorFlow, which takes seconds
    # A baseline needs no TensorFlow, which takes seconds to start, unless a file of the user's own imports it.
    if model_file(name).endswith(".keras") or names_python(arguments.table):
        with start(arguments.device, debug=arguments.debug):
            pass
    from tfopt.data.rows import to_inputs
    from tfopt.report.predictions import Score, Surprises, as_csv

    searched = load_run(folder)
    classes = {}
    if arguments.space and model_file(name).endswith(".keras"):
        from tfopt.search.user_space import own_classes  # imports TensorFlow

        classes = own_classes(arguments.space)
    elif arguments.space:
        from tfopt.baselines.own import estimators_of  # imports scikit-learn

        classes = estimators_of(arguments.space)
    model = load_model(folder, name, classes)
    trained = searched.environment.get("data", {})
    band, covered = (None, "") if arguments.interval is None else _band(folder, name, model, arguments.interval)
    if "inputs" in trained:
        return _predict_examples(arguments, searched, model, band, [f"model: {name}, {why}", covered])
    surprises, score = Surprises(model), Score(model, searched.config, band)
    unused: list[str] = []
    left_out: list[str] = []

    def predicted() -> Iterator[str]:
        for place, rows in enumerate(_parts(arguments, model, trained)):
            surprises.add(to_inputs(rows.features, model.columns))
            copied = _copied(rows, arguments.id, trained.get("identifiers", ()))
            outputs = outputs_of(model, rows.features)
            score.add(rows, outputs)
            unused[:] = [name for name in rows.unknown if name not in copied]
            left_out.extend(rows.left_out)
            if place == 0 and arguments.model is None and not arguments.quiet:
                say(f"model: {name}, {why}")
            yield as_csv(model, outputs, copied, band, named=place == 0)

    _write(predicted(), arguments.output)
    if not arguments.quiet:
        lines = list(left_out)
        if unused:
            lines.append(f"not used: {', '.join(unused)}, unknown to the model")
        if band is not None:
            lines.append(covered)
        for line in [*lines, *surprises, *score]:
            say(line)
    return 0


def _parts(arguments: argparse.Namespace, model: Any, trained: dict[str, Any]) -> Iterator["NewRows"]:
    """Yield the rows of the table, all at once or, where memory is too little or it was asked for, in blocks."""
    from tfopt.cli.console import say
    from tfopt.data.rows import read_new_rows, rows_of
    from tfopt.data.stream import blocks_of, expected_bytes
    from tfopt.devices import free_ram

    targets, ignored = _targets(model, trained), trained.get("ignored", ())  # what the search left out
    reading = {name: getattr(arguments, name) for name in ("header", "encoding", "separator")}
    if not arguments.stream:
        needed, free = expected_bytes(arguments.table), free_ram()
        if free is None or needed <= free:
            most = arguments.max_unpacked
            yield read_new_rows(
                arguments.table, model.columns, targets=targets, ignored=ignored, max_unpacked=most, **reading
            )
            return
        if not arguments.quiet:
            say(f"read in blocks: whole, {arguments.table} may take {needed / 1e9:.3g} GB of memory")
    known = [*(column.name for column in (*model.columns, *targets)), *ignored]
    for raw in blocks_of(arguments.table, known_names=known, **reading).tables():
        yield rows_of(raw, model.columns, targets=targets, ignored=ignored)


def _predict_examples(
    arguments: argparse.Namespace, searched: "SearchRun", model: Any, band: Any, said: Sequence[str]
) -> int:
    """Predict examples that are no rows of a table."""
    from tfopt.cli.console import say
    from tfopt.data.new_examples import inputs_for, read_new_examples
    from tfopt.report.predictions import Score, as_csv
    from tfopt.search.saved import outputs_of

    if arguments.id:
        raise UserError("--id names columns of a table, and this run is about other examples. Leave it out.")
    trained, config = searched.environment["data"], searched.config
    asked = {name: getattr(arguments, name) for name in ("header", "encoding", "separator")}
    config = {**config, **{name: value for name, value in asked.items() if value != "auto"}}
    new = read_new_examples(arguments.table, trained["inputs"], config, model.target_names, model.classes)
    outputs = outputs_of(model, inputs_for(model, new.x, trained["inputs"], config))
    _write([as_csv(model, outputs, new.others, band)], arguments.output)
    if not arguments.quiet:
        score = Score(model, config, band)
        score.add(new, outputs)
        chosen, covered = said
        of_model = [] if arguments.model is not None else [chosen]
        for line in [*of_model, *([covered] if covered else []), *new.notes, *score]:
            say(line)
    return 0


def _band(folder: Path, name: str, model: Any, confidence: float) -> tuple["Band", str]:
    """Return what may be promised about a model's predictions, and how often such promises were kept."""
    from tfopt.search.saved import promises

    classes = model.task == "classification"
    band, covered, mean_size = promises(folder, name, confidence, classes)
    what = f"sets of classes, {mean_size:.3g} in each," if classes else "intervals"
    measured = "too few rows to measure how many they cover" if covered != covered else f"covered {covered:.0%}"
    return band, f"{100 * confidence:.4g}% {what} of {name} on the search's own test rows: {measured}"


def _targets(model: Any, trained: dict[str, Any]) -> list[Column]:
    """Return how targets are read, as `target_column` has it."""
    from tfopt.data.rows import target_column

    stored = {column["name"]: column for column in trained.get("target_columns", ())}
    kind: Any = "numeric" if model.task == "regression" else "categorical"
    columns = []
    for name in model.target_names:
        held = stored.get(name, {"kind": kind})
        column = Column(**{**held, "name": name, "missing_text": tuple(held.get("missing_text", ()))})
        columns.append(target_column(column, model.task))
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


def _write(texts: Iterable[str], output: str | None) -> None:
    if output is None:
        sys.stdout.writelines(texts)
        return

    def write(beside: Path) -> None:
        with beside.open("w", encoding="utf-8", newline="") as file:
            file.writelines(texts)

    try:
        replace(Path(output), write)
    except OSError as error:
        raise UserError(f"--output {output} cannot be written: {error.strerror}.") from None
