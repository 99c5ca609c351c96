"""Which models a network is compared with, and which of them suit a table."""

import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tfopt.comparison.fold_result import DUMMY
from tfopt.data.table import Table, Task
from tfopt.errors import UserError, nearest

if TYPE_CHECKING:
    from tfopt.comparison.objective import Objective

# A kernel matrix, or the distances of every row to every other, grow with the square of the rows.
_QUADRATIC_ROWS = 20_000


@dataclass(frozen=True)
class Family:
    """A kind of model with a grid of its own.

    Args:
        name: Short name, such as `"ridge"`.
        task: The kind of target.
        title: What it is, in words.
        fast: Whether it is one of the `"fast"` families.
        probabilities: Whether it predicts class probabilities.
        weights: Whether its fit uses example weights.
        max_rows: Rows beyond which it is left out unless asked for by name, or None.
        library: What must be installed beside scikit-learn, or None.
        kind: Of the examples that it is for; `"table"` for those that take any columns.

    Example:
        ```python
        objective = tfopt.comparison.get_objective("r2", "regression")
        dummy, ridge = tfopt.baselines.select_families("ridge", "regression", objective, num_rows=100)
        print(ridge.name, ridge.title)  # ridge linear regression with an L2 penalty
        ```
    """

    name: str
    task: Task
    title: str
    fast: bool = True
    probabilities: bool = True
    weights: bool = True
    max_rows: int | None = None
    library: str | None = None
    kind: str = "table"

    @property
    def is_installed(self) -> bool:
        """Whether what it needs is installed."""
        return self.library is None or importlib.util.find_spec(self.library) is not None


@dataclass(frozen=True)
class OwnFamily(Family):
    """A family of the user's own.

    Args:
        source: `PATH.py:function`, which returns an estimator, or an estimator and its grid.
        content: The file's bytes: a worker on another machine has no such file.
    """

    source: str = ""
    content: bytes = b""


STRONGER = (
    "stronger opponents can be had: pip install 'tfopt[boosting]' adds LightGBM, XGBoost and CatBoost to the baselines."
)


def _boosting(task: Task) -> tuple[Family, ...]:
    return (
        Family("lightgbm", task, "gradient boosted trees of LightGBM", library="lightgbm"),
        Family("xgboost", task, "gradient boosted trees of XGBoost", fast=False, library="xgboost"),
        Family("catboost", task, "gradient boosted trees of CatBoost", fast=False, library="catboost"),
    )


_REGRESSION = (
    Family(DUMMY, "regression", "mean or median of the training targets"),
    Family("linear", "regression", "least squares"),
    Family("ridge", "regression", "linear regression with an L2 penalty"),
    Family("lasso", "regression", "linear regression with an L1 penalty"),
    Family("elastic_net", "regression", "linear regression with both penalties", fast=False),
    Family("svm", "regression", "support vector regression, Gaussian kernel", max_rows=_QUADRATIC_ROWS),
    Family("knn", "regression", "nearest neighbours", weights=False, max_rows=_QUADRATIC_ROWS),
    Family("random_forest", "regression", "random forest"),
    Family("hist_gradient_boosting", "regression", "gradient boosted trees on binned features"),
    Family("mlp", "regression", "scikit-learn's multi-layer perceptron", fast=False),
    *_boosting("regression"),
)
_CLASSIFICATION = (
    Family(DUMMY, "classification", "frequencies of the training classes"),
    Family("logistic", "classification", "logistic regression with an L1 or L2 penalty"),
    Family("ridge_classifier", "classification", "ridge regression on the classes", probabilities=False),
    Family(
        "svm",
        "classification",
        "support vector machine, Gaussian kernel",
        probabilities=False,
        max_rows=_QUADRATIC_ROWS,
    ),
    Family("knn", "classification", "nearest neighbours", weights=False, max_rows=_QUADRATIC_ROWS),
    Family("random_forest", "classification", "random forest"),
    Family("hist_gradient_boosting", "classification", "gradient boosted trees on binned features"),
    Family("mlp", "classification", "scikit-learn's multi-layer perceptron", fast=False),
    *_boosting("classification"),
)


def _of_examples(task: Task) -> tuple[Family, ...]:
    return (
        # A pipeline's last step is what takes weights, and scikit-learn's does not hand them on.
        Family("pca_linear", task, "linear model on principal components of the pixels", weights=False, kind="image"),
        Family("hog_linear", task, "linear model on histograms of gradients", weights=False, kind="image"),
        Family("summary_linear", task, "linear model on summaries and lags", weights=False, kind="sequence"),
        Family("summary_forest", task, "random forest on summaries and lags", weights=False, kind="sequence"),
        Family("tfidf_linear", task, "linear model on TF-IDF of words", kind="text"),
    )


_FORECASTS = (
    Family("naive", "regression", "the last value", weights=False, kind="forecast"),
    Family(
        "seasonal_naive", "regression", "the earlier value that did best in training", weights=False, kind="forecast"
    ),
)
# Windows of a series are sequences too.
_ALSO = {"forecast": ("table", "sequence", "forecast")}

_FAMILIES: dict[Task, tuple[Family, ...]] = {
    "regression": (*_REGRESSION, *_of_examples("regression"), *_FORECASTS),
    "classification": (
        *_CLASSIFICATION,
        *_of_examples("classification"),
        Family("tfidf_naive_bayes", "classification", "naive Bayes on TF-IDF of words", kind="text"),
    ),
}


def family_names(task: Task) -> tuple[str, ...]:
    """Return the names of all families for `task`.

    Args:
        task: `"regression"` or `"classification"`.

    Example:
        ```python
        print("lasso" in tfopt.baselines.family_names("regression"))  # True
        ```
    """
    return tuple(family.name for family in _FAMILIES[task])


def select_families(
    choice: str, task: Task, objective: "Objective", num_rows: int, kind: str = "table"
) -> tuple[Family, ...]:
    """Return the families that `choice` means, in the order of `family_names`.

    Args:
        choice: `"fast"`, `"all"`, `"none"`, or names separated by commas. The dummy is always among them.
        task: The kind of target.
        objective: What they are tuned for; families that cannot give probabilities are left out where it needs them.
        num_rows: Rows of the table; families whose cost grows with their square are left out of large ones, unless
            asked for by name.
        kind: Of the examples: `"image"`, `"sequence"`, `"text"`, `"forecast"` (windows of a series), `"other"` or
            `"table"`.

    Raises:
        UserError: For a name that is unknown, not installed, belongs to the other task, or cannot serve the objective.

    Example:
        ```python
        objective = tfopt.comparison.get_objective("accuracy", "classification")
        families = tfopt.baselines.select_families("fast", "classification", objective, num_rows=150)
        print([family.name for family in families][:3])  # ['dummy', 'logistic', 'ridge_classifier']
        ```
    """
    named = _named(choice, task)
    suited = _ALSO.get(kind, ("table", kind))
    if named is None:
        left_out = left_out_families(choice, task, objective, num_rows)
        return tuple(
            family for family in _of_choice(choice, task) if family.name not in left_out and family.kind in suited
        )
    for family in named:
        if family.kind not in suited:
            raise UserError(
                f"Baseline {family.name!r} is for {family.kind}s, which the data do not hold. Leave it out."
            )
        if not family.is_installed:
            raise UserError(
                f"Baseline {family.name!r} needs {family.library}. pip install 'tfopt[boosting]' brings it."
            )
        if objective.needs == "probabilities" and not family.probabilities:
            raise UserError(
                f"Baseline {family.name!r} gives no class probabilities, which objective {objective.name!r} needs. "
                f"Leave it out, or use an objective of labels such as accuracy."
            )
    return named


def left_out_families(choice: str, task: Task, objective: "Objective", num_rows: int) -> dict[str, str]:
    """Return why families of `"fast"` or `"all"` are not among `select_families`: a sentence for each name.

    Args:
        choice: As for `select_families`, as the three arguments that follow.
        task: The kind of target.
        objective: What they are tuned for.
        num_rows: Rows of the table.

    Example:
        ```python
        objective = tfopt.comparison.get_objective("log_loss", "classification")
        left_out = tfopt.baselines.left_out_families("fast", "classification", objective, num_rows=150)
        print(list(left_out)[:2])  # ['ridge_classifier', 'svm'], which give no probabilities
        ```
    """
    reasons: dict[str, str] = {}
    if _named(choice, task) is not None:
        return reasons
    for family in _of_choice(choice, task):
        if not family.is_installed:
            reasons[family.name] = STRONGER
        elif objective.needs == "probabilities" and not family.probabilities:
            reasons[family.name] = f"{family.name} is left out: it gives no class probabilities for {objective.name}."
        elif family.max_rows is not None and num_rows > family.max_rows:
            reasons[family.name] = (
                f"{family.name} is left out: its cost grows with the square of the rows, {num_rows} here and at most "
                f"{family.max_rows} unless it is asked for by name."
            )
    return reasons


def unweighted_families(families: Iterable[Family], table: Table) -> tuple[str, ...]:
    """Return the names of the families that fit without the weights of examples or classes that the others fit with.

    Args:
        families: What was selected.
        table: The data, which says whether there are weights.

    Example:
        ```python
        table = tfopt.data.load_table("iris")
        objective = tfopt.comparison.get_objective("accuracy", "classification")
        families = tfopt.baselines.select_families("knn,logistic", "classification", objective, table.num_rows)
        table.class_weight = "balanced"
        print(tfopt.baselines.unweighted_families(families, table))  # ('knn',)
        ```
    """
    weighted = table.weights is not None or table.class_weight != "none"
    return tuple(family.name for family in families if weighted and not family.weights)


def _of_choice(choice: str, task: Task) -> tuple[Family, ...]:
    chosen = {"all": lambda family: True, "fast": lambda family: family.fast, "none": lambda family: False}[choice]
    return tuple(family for family in _FAMILIES[task] if chosen(family) or family.name == DUMMY)


def _named(choice: str, task: Task) -> tuple[Family, ...] | None:
    """Return the families named in `choice`, None where it is one of the three words."""
    if choice in ("fast", "all", "none"):
        return None
    names = [name.strip() for name in choice.split(",") if name.strip()]
    known = family_names(task)
    other: Task = "classification" if task == "regression" else "regression"
    if not names:
        raise UserError(f"No baseline is named. Use fast, all, none, or some of {','.join(known)}.")
    for name in names:
        if name not in known and name in family_names(other):
            raise UserError(f"Baseline {name!r} is for {other}. Known for {task}: {', '.join(known)}.")
        if name not in known:
            hint = nearest(name, (*known, "fast", "all", "none"))
            raise UserError(f"Unknown baseline {name!r}.{hint} Known: fast, all, none, {', '.join(known)}.")
    return tuple(family for family in _FAMILIES[task] if family.name in names or family.name == DUMMY)
