"""How wrong the models are on rows that they had not learned: in the target's own units, class by class."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn import metrics

from tfopt.comparison.objective import get_objective
from tfopt.data.table import Task
from tfopt.errors import UserError
from tfopt.report import error_figures as draw
from tfopt.report.board import figure as number
from tfopt.report.board import shown_model
from tfopt.report.page import PageTable, Section, picture
from tfopt.report.run import SearchRun
from tfopt.search.saved import OutOfFold, read_oof


@dataclass(frozen=True)
class _Said:
    """What one model said of the held-out rows: values, or the probabilities of classes, or codes of classes."""

    model: str
    is_network: bool
    outputs: np.ndarray

    @property
    def codes(self) -> np.ndarray:
        return self.outputs if self.outputs.ndim == 1 else self.outputs.argmax(axis=1)

    @property
    def probabilities(self) -> np.ndarray | None:
        return self.outputs.astype(np.float64) if self.outputs.ndim == 2 else None


def errors(run: SearchRun) -> Section | None:
    """Return the section; None where the run has no predictions."""
    try:
        oof = read_oof(run.folder)
    except UserError:  # the search has not got that far
        return None
    said = [
        _Said(row["model"], row["kind"] == "keras", oof.predictions[row["model"]])
        for row in run.leaderboard
        if row["model"] in oof.predictions and np.isfinite(oof.predictions[row["model"]]).all()
    ]
    shown = [
        each
        for name in (run.result.get("network"), run.result.get("best_baseline"))
        for each in said
        if each.model == name
    ]
    if not said:
        return None
    section = Section("How wrong it is")
    times = len(oof.rows) / len(np.unique(oof.rows))
    section.note = f"All {len(oof.rows):,} predictions for rows that were held out" + (
        f", each row {times:g} times." if times > 1 else "."
    )
    data = run.environment.get("data", {})
    if run.result.get("task") == "classification":
        _classes(section, oof, said, shown, [str(name) for name in data.get("classes", ())])
    else:
        _values(section, oof, said, shown, [_in_units(column) for column in data.get("target_columns", ())])
    return section


def _values(
    section: Section, oof: OutOfFold, said: Sequence[_Said], shown: Sequence[_Said], names: Sequence[str]
) -> None:
    target = oof.target.reshape(len(oof.rows), -1)
    names = [*names, *(f"target {place + 1}" for place in range(len(names), target.shape[1]))]
    several = target.shape[1] > 1
    rows = []
    for each in said:
        for place in range(target.shape[1]):
            true, predicted = target[:, place], each.outputs.reshape(target.shape)[:, place]
            within = np.quantile(np.abs(predicted - true), [0.5, 0.9, 1.0])
            cells = [_short(value) for value in [*_metrics(("mae", "rmse"), "regression", true, predicted), *within]]
            cells += map(number, _metrics(("r2",), "regression", true, predicted))
            rows.append([shown_model(each.model), *([names[place]] if several else []), *cells])
    headings = [
        "model",
        *(["target"] if several else []),
        "MAE",
        "RMSE",
        "half are within",
        "90% are within",
        "largest",
        "R²",
    ]
    marked = [place for place, row in enumerate(rows) if said[place // target.shape[1]].is_network]
    section.tables.append(("", PageTable(headings, rows, range(1 + several), marked)))
    section.text = f"Errors in {names[0]}." if not several else "Errors in each target's own units."
    first = [(shown_model(e.model), e.is_network, e.outputs.reshape(target.shape)[:, 0]) for e in shown]
    of_first = f", of {names[0]}, the first target" if several else ""
    for model, is_network, predicted in first:
        section.pictures.append(
            picture(
                f"predicted_{'network' if is_network else 'baseline'}",
                f"{model}: predicted against true",
                f"On the line a prediction is right{of_first}.{_shown_rows(len(predicted))}",
                draw.predicted_against_true(target[:, 0], predicted, name=names[0], is_network=is_network),
            )
        )
    if first:
        section.pictures.append(
            picture(
                "residuals",
                "Residuals",
                f"Predicted minus true{of_first}: right of the line is too high.",
                draw.residuals(target[:, 0], first, name=names[0]),
            )
        )
        section.pictures.append(
            picture(
                "residuals_by_size",
                "Residuals by prediction",
                "The median, and the range of the middle 80 %, of rows with like predictions: a line away from 0 is a "
                "bias, a band that widens an error that grows.",
                draw.residuals_by_prediction(target[:, 0], first, name=names[0]),
            )
        )


def _classes(
    section: Section, oof: OutOfFold, said: Sequence[_Said], shown: Sequence[_Said], names: Sequence[str]
) -> None:
    target = oof.target.astype(int).ravel()
    count = max(len(names), target.max() + 1, *(e.outputs.shape[1] for e in said if e.outputs.ndim == 2))
    names = [*names, *(f"class {code}" for code in range(len(names), count))]
    rows = []
    for each in said:
        values = _metrics(("accuracy", "balanced_accuracy"), "classification", target, each.codes)
        if each.probabilities is not None:
            values += _metrics(("log_loss", "brier", "roc_auc"), "classification", target, each.probabilities)
        rows.append([shown_model(each.model), *map(number, [*values, *[None] * (5 - len(values))])])
    headings = ["model", "accuracy", "balanced accuracy", "log loss", "Brier score", "ROC AUC"]
    section.tables.append(("", PageTable(headings, rows, (0,), [n for n, e in enumerate(said) if e.is_network])))
    for each in shown:
        if count <= 20:
            section.pictures.append(
                picture(
                    f"confusion_{'network' if each.is_network else 'baseline'}",
                    f"{shown_model(each.model)}: confusion matrix",
                    "Rows of the table by their true class (down) and the predicted one (across); the darker, "
                    "the larger the part of the true class.",
                    draw.confusion(metrics.confusion_matrix(target, each.codes, labels=range(count)), names),
                )
            )
    sure_ones = [(shown_model(e.model), e.is_network, p) for e in shown if (p := e.probabilities) is not None]
    if sure_ones:
        of = f"class {names[1]!r}" if count == 2 else "each class against the others, all pooled"
        section.pictures.append(
            picture(
                "roc",
                "ROC curve",
                f"True against false positives at every threshold, {of}; the nearer to the upper left, the better.",
                draw.roc([(name, net, *_pooled(target, sure)) for name, net, sure in sure_ones]),
            )
        )
        of = f"class {names[1]!r}" if count == 2 else "the predicted class"
        section.pictures.append(
            picture(
                "reliability",
                "Reliability of the probabilities",
                f"How often {of} was the true one, for rows with like probabilities of it, with 95 % intervals; on the "
                "line the probabilities mean what they say.",
                draw.reliability([(name, net, *_events(target, sure)) for name, net, sure in sure_ones]),
            )
        )


def _metrics(names: Sequence[str], task: Task, target: np.ndarray, prediction: np.ndarray) -> list[float]:
    """Return metrics in their own directions."""
    objectives = [get_objective(name, task) for name in names]
    return [each.raw(each.score(target, prediction)) for each in objectives]


def _pooled(target: np.ndarray, sure: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return false and true positive rates at every threshold."""
    true, score = (
        (target == 1, sure[:, 1]) if sure.shape[1] == 2 else (np.eye(sure.shape[1])[target].ravel(), sure.ravel())
    )
    false_positive, true_positive, _ = metrics.roc_curve(true, score)
    return false_positive, true_positive


def _events(target: np.ndarray, sure: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities, and whether what they were given for came true."""
    if sure.shape[1] == 2:
        return sure[:, 1], target == 1
    return sure.max(axis=1), sure.argmax(axis=1) == target


def _in_units(column: dict) -> str:
    unit = column.get("unit")
    return f"{column['name']} ({unit})" if unit else str(column["name"])


def _short(value: float) -> str:
    return (
        f"{value:#.3g}".rstrip(".") if abs(value) < 999.5 else f"{value:,.0f}" if abs(value) < 1e9 else f"{value:.3e}"
    )


def _shown_rows(count: int) -> str:
    return f" {draw.MOST_POINTS:,} of {count:,} are drawn." if count > draw.MOST_POINTS else ""
