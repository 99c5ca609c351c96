"""Write a run's predictions for the rows of a table, as CSV.

Regression gives a column for each target. Classification gives `prediction`, and `probability_CLASS` for each class.
"""

import argparse
import csv
import io
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tfopt._files import write_text
from tfopt.cli.parser import Parser
from tfopt.errors import UserError, nearest, one_line
from tfopt.search.run_folder import check_existing

EXAMPLES = """
  tfopt predict runs/houses__0__… new.csv > predictions.csv
  tfopt predict runs/houses__0__… new.csv --output predictions.csv
"""
USAGE = "tfopt predict RUN TABLE [options]"


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `tfopt predict`."""
    group = parser.add_argument_group("what to predict")
    group.add_argument("run", metavar="RUN", help="run folder that tfopt search made")
    group.add_argument(
        "table", metavar="TABLE", help="file with the columns of the training table; targets may be absent"
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
    from tfopt.cli.startup import start
    from tfopt.report.run import load_run

    folder = check_existing(arguments.run, "best.keras")
    table = Path(arguments.table)
    if not table.exists():  # before TensorFlow, which takes seconds to start
        siblings = [str(table.parent / entry.name) for entry in table.parent.glob("*")]
        raise UserError(f"no file {table}.{nearest(str(table), siblings)}")
    with start(arguments.device, debug=arguments.debug):
        from tfopt.data import read_rows, to_inputs

    searched = load_run(folder)
    model = _load(folder, searched.config.get("space", ""))
    frame = read_rows(
        table,
        model.columns,
        target_names=model.target_names,
        ignored=searched.environment.get("data", {}).get("ignored", ()),  # columns that the search left out
        header=arguments.header,
        encoding=arguments.encoding,
        separator=arguments.separator,
    )
    outputs = model.predict(to_inputs(frame, model.columns), verbose=0)
    _write(as_csv(model, outputs), arguments.output)
    return 0


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


def as_csv(model: Any, outputs: np.ndarray) -> str:
    """Return predictions as CSV text, with all the digits that the network knows."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if model.task == "regression":
        writer.writerow(model.target_names)
        writer.writerows(zip(*map(_written, outputs.T, model.target_scale), strict=True))
    else:
        writer.writerow(["prediction", *(f"probability_{name}" for name in model.classes)])
        for row in outputs.tolist():
            best = max(range(len(row)), key=row.__getitem__)
            writer.writerow([model.classes[best], *(f"{value:.7g}" for value in row)])
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
