"""The number a comparison is about: an unpenalised metric, turned so that higher is better."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tfopt.data.table import Task
from tfopt.errors import UserError, nearest

Needs = Literal["values", "labels", "probabilities"]


@dataclass(frozen=True)
class Objective:
    """A metric by which models are tuned and compared; `score` is always higher-is-better.

    Use `get_objective`, which knows the metrics and their common other names. An error such as `rmse` is negated:
    a score of -54.2 is a root mean squared error of 54.2.

    Args:
        name: The metric's name, such as `"r2"` or `"rmse"`.
        task: Which kind of target it measures.
        greater_is_better: Direction of the raw metric; False for errors, whose scores are negated.
        needs: What a prediction has to hold: values (regression), class labels, or class probabilities.
        scorer: The same metric as a scikit-learn scoring string.

    Example:
        ```python
        import numpy as np
        from tfopt.comparison import get_objective
        rmse = get_objective("rmse", "regression")
        print(f"{rmse.score(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 5.0])):.4f}")  # -1.1547
        ```
    """

    name: str
    task: Task
    greater_is_better: bool
    needs: Needs
    scorer: str

    def score(self, target: np.ndarray, prediction: np.ndarray, sample_weight: np.ndarray | None = None) -> float:
        """Return the score of `prediction`, higher is better, or NaN where a prediction is not a finite number.

        Args:
            target: (rows,) class codes 0..K-1, or (rows,) or (rows, targets) values.
            prediction: (rows,) labels or values, (rows, targets) values, or (rows, K) probabilities. Probabilities
                are welcome where labels are needed; the most likely class is taken.
            sample_weight: (rows,) weights of the rows.

        Raises:
            ValueError: When the shapes do not fit, or rows of probabilities do not sum to 1.
        """
        target = np.asarray(target)
        prediction = np.asarray(prediction)
        if len(prediction) != len(target):
            raise ValueError(
                f"A prediction must have one row for each target. Received: {len(prediction)} predictions, "
                f"{len(target)} targets."
            )
        if prediction.dtype.kind == "f" and not np.isfinite(prediction).all():
            return float("nan")
        prediction = self.read(target, prediction)
        raw = _METRICS[self.task][self.name].function(target, prediction, sample_weight)
        return float(raw) if self.greater_is_better else -float(raw)

    @property
    def compares_rows(self) -> bool:
        """Whether the metric compares rows with one another, so that it says nothing of one row."""
        return self.name in ("r2", "explained_variance")

    def read(self, target: np.ndarray, prediction: np.ndarray) -> np.ndarray:
        """Return `prediction` in the form that the metric takes: float64 values, class codes or probabilities."""
        return _READERS[self.needs](np.asarray(target), np.asarray(prediction))

    @property
    def bounds(self) -> tuple[float, float]:
        """Lowest and highest score there can be."""
        if not self.greater_is_better:
            return -np.inf, 0.0
        return _LOWEST.get(self.name, 0.0), 1.0

    def raw(self, score: float) -> float:
        """Return the metric in its own direction: 54.2 for an `rmse` score of -54.2."""
        return score if self.greater_is_better else -score


@dataclass(frozen=True)
class _Metric:
    """A metric, where `function(target, prediction, sample_weight)` gives the raw value."""

    function: Callable[[np.ndarray, np.ndarray, np.ndarray | None], float]
    scorer: str
    greater_is_better: bool = True
    needs: Needs = "values"
    aliases: tuple[str, ...] = ()


def _sklearn(name: str, **options: Any) -> Callable[[np.ndarray, np.ndarray, np.ndarray | None], float]:
    """Return scikit-learn's metric `name`, imported at its first use: the command line checks names without it."""

    def function(target: np.ndarray, prediction: np.ndarray, sample_weight: np.ndarray | None) -> float:
        metric = getattr(importlib.import_module("sklearn.metrics"), name)
        return metric(target, prediction, sample_weight=sample_weight, **options)

    return function


def _error(name: str) -> _Metric:
    """Return scikit-learn's error of this name, which is one of its other names."""
    return _Metric(_sklearn(name), f"neg_{name}", greater_is_better=False, aliases=(name,))


def _max_error(target: np.ndarray, prediction: np.ndarray, sample_weight: np.ndarray | None) -> float:
    del sample_weight  # the largest error is the largest, however much its row weighs
    return float(np.abs(target - prediction).max())


def _balanced_accuracy(target: np.ndarray, prediction: np.ndarray, sample_weight: np.ndarray | None) -> float:
    """Mean recall of the classes that stand in `target`."""
    recall = _sklearn("recall_score", labels=np.unique(target), average="macro", zero_division=0)
    return recall(target, prediction, sample_weight)


def _log_loss(target: np.ndarray, probabilities: np.ndarray, sample_weight: np.ndarray | None) -> float:
    loss = _sklearn("log_loss", labels=np.arange(probabilities.shape[1]))
    return loss(target, summing_to_one(probabilities), sample_weight)


def summing_to_one(probabilities: np.ndarray) -> np.ndarray:
    """Return rows that sum to 1 in float64: a softmax in float32 or bfloat16 does so within rounding only.

    Not for ranking metrics: divided by sums of 1 ± 1e-16, equal probabilities of two rows would differ.
    """
    return probabilities / probabilities.sum(axis=1, keepdims=True)


def _brier(target: np.ndarray, probabilities: np.ndarray, sample_weight: np.ndarray | None) -> float:
    """Squared distance to the one-hot target: summed over the classes, halved for two classes as is usual."""
    squared = (probabilities - np.eye(probabilities.shape[1])[target]) ** 2
    by_row = squared[:, 1] if squared.shape[1] == 2 else squared.sum(axis=1)
    return float(np.average(by_row, weights=sample_weight))


def _one_against_rest(name: str) -> Callable[[np.ndarray, np.ndarray, np.ndarray | None], float]:
    """Return the ranking metric of class 1 for two classes, the mean over classes against the rest for more.

    Classes that a (grouped) fold's test part lacks are left out of the mean; scikit-learn has no value for them.
    """

    def function(target: np.ndarray, probabilities: np.ndarray, sample_weight: np.ndarray | None) -> float:
        present = np.unique(target)
        if len(present) < 2:
            raise UserError(
                f"`{name}` has no value where the test part of a fold holds one class only (class code "
                f"{present[0]}). Use fewer folds, or another objective such as log_loss."
            )
        binary = _sklearn({"roc_auc": "roc_auc_score", "average_precision": "average_precision_score"}[name])
        classes = [1] if probabilities.shape[1] == 2 else present
        return float(np.mean([binary(target == code, probabilities[:, code], sample_weight) for code in classes]))

    return function


_METRICS: dict[str, dict[str, _Metric]] = {
    "regression": {
        "r2": _Metric(_sklearn("r2_score"), "r2", aliases=("r2_score", "r_squared")),
        "mse": _error("mean_squared_error"),
        "rmse": _error("root_mean_squared_error"),
        "mae": _error("mean_absolute_error"),
        "median_absolute_error": _error("median_absolute_error"),
        "mape": _error("mean_absolute_percentage_error"),
        "max_error": _Metric(_max_error, "neg_max_error", False),
        "explained_variance": _Metric(
            _sklearn("explained_variance_score"), "explained_variance", aliases=("explained_variance_score",)
        ),
    },
    "classification": {
        "accuracy": _Metric(
            _sklearn("accuracy_score"),
            "accuracy",
            needs="labels",
            aliases=("acc", "accuracy_score", "sparse_categorical_accuracy"),
        ),
        "balanced_accuracy": _Metric(
            _balanced_accuracy, "balanced_accuracy", needs="labels", aliases=("balanced_accuracy_score",)
        ),
        "f1": _Metric(
            _sklearn("f1_score", average="macro"),
            "f1_macro",
            needs="labels",
            aliases=("f1_score", "f1_macro", "macro_f1"),
        ),
        "f1_weighted": _Metric(_sklearn("f1_score", average="weighted"), "f1_weighted", needs="labels"),
        "matthews_corrcoef": _Metric(
            _sklearn("matthews_corrcoef"), "matthews_corrcoef", needs="labels", aliases=("mcc",)
        ),
        "log_loss": _Metric(
            _log_loss, "neg_log_loss", False, "probabilities", ("cross_entropy", "sparse_categorical_crossentropy")
        ),
        "brier": _Metric(_brier, "neg_brier_score", False, "probabilities", ("brier_score", "brier_score_loss")),
        "roc_auc": _Metric(
            _one_against_rest("roc_auc"),
            "roc_auc_ovr",
            needs="probabilities",
            aliases=("auc", "roc_auc_score", "roc_auc_ovr"),
        ),
        "average_precision": _Metric(
            _one_against_rest("average_precision"),
            "average_precision",
            needs="probabilities",
            aliases=("average_precision_score", "pr_auc"),
        ),
    },
}

# Of the metrics whose best value is 1; all others of them cannot fall below 0.
_LOWEST = {"r2": -np.inf, "explained_variance": -np.inf, "matthews_corrcoef": -1.0}

_DEFAULTS = {"regression": "r2", "classification": "accuracy"}


def objective_names(task: Task) -> tuple[str, ...]:
    """Return the names that `get_objective` knows for `task`, the default first.

    Args:
        task: `"regression"` or `"classification"`.

    Example:
        ```python
        print(tfopt.comparison.objective_names("regression")[:3])  # ('r2', 'mse', 'rmse')
        ```
    """
    return tuple(_METRICS[task])


def get_objective(name: str | None, task: Task) -> Objective:
    """Return the objective called `name`, or the task's default: `r2` for regression, `accuracy` for classification.

    Other usual names are understood: Keras's and scikit-learn's, with or without `neg_`.

    Args:
        name: The metric's name; None for the task's default.
        task: `"regression"` or `"classification"`.

    Raises:
        UserError: For a loss or a validation metric of the training (`val_…`, `loss`), for a metric of the other
            task, and for an unknown name.

    Example:
        ```python
        objective = tfopt.comparison.get_objective("neg_root_mean_squared_error", "regression")
        print(objective.name, objective.greater_is_better)  # rmse False
        ```
    """
    if name is None:
        name = _DEFAULTS[task]
    canonical = _canonical(name, task)
    if canonical is None:
        raise UserError(_refusal(name, task))
    metric = _METRICS[task][canonical]
    return Objective(canonical, task, metric.greater_is_better, metric.needs, metric.scorer)


def _canonical(name: str, task: Task) -> str | None:
    plain = name.removeprefix("neg_")
    for canonical, metric in _METRICS[task].items():
        if plain == canonical or plain in metric.aliases:
            return canonical
    return None


def _refusal(name: str, task: Task) -> str:
    known = ", ".join(_METRICS[task])
    if name == "loss" or name.startswith(("val_", "loss")):
        bare = name.removeprefix("val_")
        right = _canonical(bare, task)
        if right is None:
            right = {"loss": {"regression": "mse", "classification": "log_loss"}[task]}.get(bare, _DEFAULTS[task])
        return (
            f"Objective {name!r} is a number of the training, and a loss holds the penalty that is being tuned, so "
            f"that choosing by it favours weak penalties. Use the plain metric: --objective {right}."
        )
    other: Task = "classification" if task == "regression" else "regression"
    if _canonical(name, other) is not None:
        return f"Objective {name!r} is for {other}, but the target is for {task}. Use one of: {known}."
    spelled = {alias: key for key, metric in _METRICS[task].items() for alias in (key, *metric.aliases)}
    return f"Unknown objective {name!r}.{nearest(name, spelled)} Known for {task}: {known}."


def _as_values(target: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    if prediction.shape != target.shape and prediction.size == target.size:
        prediction = prediction.reshape(target.shape)  # (rows, 1) and (rows,) say the same
    if prediction.shape != target.shape:
        raise ValueError(f"A prediction must have the target's shape {target.shape}. Received: {prediction.shape}.")
    return prediction.astype(np.float64)


def _as_labels(target: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    del target
    if prediction.ndim == 2 and prediction.shape[1] > 1:
        return prediction.argmax(axis=1)
    if prediction.ndim == 1 and (prediction == np.floor(prediction)).all():
        return prediction.astype(np.int64)
    raise ValueError(
        f"A prediction must hold class codes (rows,) or probabilities (rows, classes). Received: shape "
        f"{prediction.shape}, {prediction.dtype}."
    )


def _as_probabilities(target: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    if prediction.ndim != 2 or prediction.shape[1] <= target.max(initial=1):
        raise ValueError(
            f"A prediction must hold probabilities (rows, classes), a column for each of the classes 0..."
            f"{target.max(initial=1)}. Received: shape {prediction.shape}."
        )
    prediction = prediction.astype(np.float64)
    total = prediction.sum(axis=1, keepdims=True)
    if prediction.min(initial=0.0) < 0 or np.abs(total - 1).max(initial=0.0) > 0.02:
        raise ValueError(
            f"Rows of probabilities must be non-negative and sum to 1. Received: smallest {prediction.min():.3g}, "
            f"sums from {total.min():.3g} to {total.max():.3g}."
        )
    return prediction


_READERS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "values": _as_values,
    "labels": _as_labels,
    "probabilities": _as_probabilities,
}
