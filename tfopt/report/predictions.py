"""What comes of a run's model on new rows: the predictions as CSV, what is new in the rows, and their score."""

import csv
import io
import itertools
from collections import Counter
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

_MOST_SHOWN = 3

if TYPE_CHECKING:
    from tfopt.comparison.conformal import Band


class Surprises:
    """Counts what a model has not met in training: levels, and missing values where there were none."""

    def __init__(self, model: Any):
        self._model, self._num_rows = model, 0
        self._missing: Counter[str] = Counter()
        self._others: Counter[str] = Counter()
        self._shown: dict[str, dict[str, None]] = {}

    def add(self, inputs: dict[str, np.ndarray]) -> None:
        """Count rows that are in the form that the model takes."""
        levels = self._model.levels
        self._num_rows += len(next(iter(inputs.values()))) if inputs else 0
        for column in self._model.columns:
            values = inputs[column.name]
            missing = np.isnan(values) if values.dtype.kind == "f" else values == ""
            if missing.any() and not column.has_missing and column.kind != "text":
                self._missing[column.name] += int(missing.sum())
            if column.kind == "categorical":
                others = values[~missing & ~np.isin(values, levels[column.name])]
                shown = self._shown.setdefault(column.name, {})
                shown |= dict.fromkeys(list(dict.fromkeys(others.tolist()))[: _MOST_SHOWN - len(shown)])
                self._others[column.name] += len(others)

    def __iter__(self) -> Iterator[str]:
        for column in self._model.columns:
            name = column.name
            if count := self._missing[name]:
                yield f"{name!r}: {count} of {self._num_rows} cells are missing, where training had every one"
            if count := self._others[name]:
                known = len(self._model.levels[name])
                beyond = f", or not among the {known} most frequent there" if column.num_levels > known else ""
                cells, shown = f"{count} of {self._num_rows} cells", ", ".join(map(quoted, self._shown[name]))
                yield f"{name!r}: {cells} hold a level unseen in training{beyond}: {shown}"


class Score:
    """Scores predictions, and counts how many of the band's promises hold, where the rows hold the targets.

    Args:
        model: Who predicts.
        config: The search's settings.
        band: What was promised; None for nothing.
    """

    def __init__(self, model: Any, config: dict[str, Any], band: "Band | None" = None):
        self._model, self._config, self._band = model, config, band
        self._parts: list[tuple[np.ndarray, np.ndarray, np.ndarray | None]] = []
        self._num_unknown = self._held = self._promised = 0

    def add(self, rows: NewRows | NewExamples, outputs: np.ndarray) -> None:
        """Take down what was predicted for rows."""
        model, band = self._model, self._band
        if not rows.targets or len(rows.targets) < len(model.target_names):
            return
        target, known = coded_targets([rows.targets[name] for name in model.target_names], model.classes)
        self._num_unknown += int((~known).sum())
        weights = _weights(rows, self._config.get("weights"))
        self._parts.append((target[known], outputs[known], None if weights is None else weights[known]))
        if band is not None and known.any():
            held = band.holds(target[known], outputs[known])
            self._held, self._promised = self._held + int(held.sum()), self._promised + held.size

    def __iter__(self) -> Iterator[str]:
        if not self._parts:
            return
        model, named = self._model, " and ".join(self._model.target_names)
        targets, all_outputs, weighted = zip(*self._parts, strict=True)
        target, outputs = np.concatenate(targets), np.concatenate(all_outputs)
        if not len(target):
            yield f"not scored: no row holds a {named} that the model knows"
            return
        objective = get_objective(self._config.get("objective"), model.task)
        rows = f"{len(target)} row{'s' * (len(target) > 1)}"
        if objective.compares_rows and len(target) < 2:
            yield f"not scored: {objective.name} of {rows} is not defined"
            return
        prediction = outputs[:, 0] if model.task == "regression" and outputs.shape[1] == 1 else outputs
        weights = None if weighted[0] is None else np.concatenate(weighted)
        try:
            score = objective.score(target, prediction, weights)
        except UserError as error:
            yield f"not scored: {error}"
            return
        gone = f"; {self._num_unknown} without a known {named} left out" if self._num_unknown else ""
        said = ", weighted" if weights is not None else ""
        yield f"{objective.name} {objective.raw(score):.6g} on {rows}{said}{gone}"
        if self._band is not None:
            kind = "sets" if self._band.classes else "intervals"
            yield f"{self._held} of {self._promised} targets are in their {kind}"


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
    named: bool = True,
) -> str:
    """Return predictions as CSV text, with all the digits that the model knows, behind the columns `copied`.

    The columns' names are the first line, if they are to be `named`.

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
    if named:
        writer.writerow(map(csv_cell, [*copied, *columns]))
    writer.writerows(zip(*(map(csv_cell, cells) for cells in copied.values()), *columns.values(), strict=True))
    return text.getvalue()


def _written(values: np.ndarray, scale: float) -> list[str]:
    """Return numbers to a ten-millionth of the target's spread, which is what float32 resolves before it is scaled."""
    with np.errstate(divide="ignore"):
        digits = 8 + np.floor(np.log10(np.abs(values) / scale))
    digits = np.clip(np.nan_to_num(digits), 1, 17).astype(int)
    return [f"{value:.{places}g}" for value, places in zip(values.tolist(), digits.tolist(), strict=True)]
