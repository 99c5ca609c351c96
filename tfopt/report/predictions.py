"""What comes of a run's model on new rows: the predictions as CSV, what is new in the rows, and their score."""

import csv
import io
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tfopt._escape import csv_cell
from tfopt.comparison.objective import get_objective
from tfopt.data.column import Column
from tfopt.data.new_examples import NewExamples
from tfopt.data.raw import RawTable
from tfopt.data.rows import NewRows, coded_targets, read_as
from tfopt.data.spelling import quoted
from tfopt.errors import UserError

if TYPE_CHECKING:
    from tfopt.comparison.conformal import Band


def surprises(model: Any, inputs: dict[str, np.ndarray]) -> Iterator[str]:
    """Yield what the model has not met in training: levels, and missing values where there were none."""
    levels = model.levels
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


def score(
    model: Any, rows: NewRows | NewExamples, outputs: np.ndarray, config: dict[str, Any], band: "Band | None" = None
) -> Iterator[str]:
    """Yield the score of the predictions, and how many of the band's promises hold, where the rows hold the targets."""
    if not rows.targets or len(rows.targets) < len(model.target_names):
        return
    objective = get_objective(config.get("objective"), model.task)
    target, known = coded_targets([rows.targets[name] for name in model.target_names], model.classes)
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
    if band is not None:
        held = band.holds(target[known], outputs[known])
        yield f"{held.sum()} of {held.size} targets are in their {'sets' if band.classes else 'intervals'}"


def _weights(rows: NewRows | NewExamples, name: str | None) -> np.ndarray | None:
    if name is None or isinstance(rows, NewExamples) or name not in rows.others:
        return None
    raw = RawTable(name="rows", source="the weights", sha256="", frame=rows.others)
    return read_as(Column(name, "numeric"), rows.others[name], raw).fillna(0.0).to_numpy(dtype=np.float64)


def as_csv(
    model: Any,
    outputs: np.ndarray,
    copied: Mapping[str, Sequence[str]] | None = None,
    band: "Band | None" = None,
) -> str:
    """Return predictions as CSV text, with all the digits that the model knows, behind the columns `copied`.

    With a band each target is followed by `TARGET_low` and `TARGET_high`, and a class by `set`, its labels joined by
    `|` (a `|` within a label is written `\\|`).
    """
    labels = [*map(csv_cell, model.classes)]
    if model.task == "regression":
        targets = model.target_names or [f"prediction_{place}" for place in range(1, outputs.shape[1] + 1)]
        columns = dict(zip(targets, map(_written, outputs.T, model.target_scale), strict=True))
        if band is not None:
            low, high = (dict(zip(targets, side.T, strict=True)) for side in band.bounds(outputs))
            scales = dict(zip(targets, model.target_scale, strict=True))
            columns = {
                f"{name}{ending}": texts if side is None else _written(side[name], scales[name])
                for name, texts in columns.items()
                for ending, side in (("", None), ("_low", low), ("_high", high))
            }
    elif outputs.ndim == 1:
        columns = {"prediction": [labels[code] for code in outputs]}
    else:
        columns = {"prediction": [labels[code] for code in outputs.argmax(axis=1)]}
        if band is not None:
            names = [name.replace("|", r"\|") for name in model.classes]
            columns["set"] = [csv_cell("|".join(itertools.compress(names, held))) for held in band.sets(outputs)]
        for name, shares in zip(model.classes, outputs.T.tolist(), strict=True):
            columns[f"probability_{name}"] = [f"{share:.7g}" for share in shares]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    copied = copied or {}
    writer.writerow(map(csv_cell, [*copied, *columns]))
    writer.writerows(zip(*(map(csv_cell, cells) for cells in copied.values()), *columns.values(), strict=True))
    return text.getvalue()


def _written(values: np.ndarray, scale: float) -> list[str]:
    """Return numbers to a ten-millionth of the target's spread, which is what float32 resolves before it is scaled."""
    with np.errstate(divide="ignore"):
        digits = 8 + np.floor(np.log10(np.abs(values) / scale))
    digits = np.clip(np.nan_to_num(digits), 1, 17).astype(int)
    return [f"{value:.{places}g}" for value, places in zip(values.tolist(), digits.tolist(), strict=True)]
