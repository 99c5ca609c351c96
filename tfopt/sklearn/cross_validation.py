"""Cross-validation of a network whose folds are trained together."""

import time
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn import model_selection
from sklearn.base import clone, is_classifier
from sklearn.metrics import check_scoring
from sklearn.utils import indexable

from tfopt.sklearn.network import NetworkEstimator, build
from tfopt.training.fits import FitRequest
from tfopt.training.population_engine import PopulationEngine


def cross_validate(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    cv: Any = None,
    groups: Any = None,
    scoring: Any = None,
    sample_weight: Any = None,
    return_train_score: bool = False,
) -> dict[str, Any]:
    """Train a network on every fold of a table at once, and score each on the rows that it has not seen.

    The scores are those of `sklearn.model_selection.cross_validate` with the same `random_state`, up to rounding, in
    the time of little more than one fit: the folds are members of one population. An estimator that is no
    `NetworkClassifier` or `NetworkRegressor` is handed to scikit-learn.

    Args:
        estimator: The estimator; it is cloned, and stays as it is.
        X: (rows, features).
        y: The targets.
        cv: Number of folds, a splitter, or pairs of row indices, as scikit-learn has it.
        groups: Of the rows, for a splitter that looks at them.
        scoring: A scorer or its name, or several in a list or dict; the estimator's own by default.
        sample_weight: A weight a row, for training.
        return_train_score: Whether to score the training rows too.

    Returns:
        `test_score` (or `test_NAME` for several), `fit_time` (an equal share of the whole), `score_time`, the trained
        `estimator` of each fold and the `indices` of its rows; `train_score` if asked for.

    Raises:
        ValueError: The table, the folds or a setting cannot be used.

    Example:
        ```python
        from sklearn.datasets import load_iris

        x, y = load_iris(return_X_y=True)
        network = tfopt.sklearn.NetworkClassifier(epochs=10, random_state=0)
        print(tfopt.sklearn.cross_validate(network, x, y, cv=3)["test_score"].shape)  # (3,)
        ```
    """
    if not isinstance(estimator, NetworkEstimator):
        params = None if sample_weight is None else {"sample_weight": sample_weight}
        return model_selection.cross_validate(
            estimator, X, y, groups=groups, cv=cv, scoring=scoring, params=params,
            return_train_score=return_train_score, return_estimator=True, return_indices=True,
        )  # fmt: skip
    X, y, groups = indexable(X, y, groups)
    splits = list(model_selection.check_cv(cv, y, classifier=is_classifier(estimator)).split(X, y, groups))
    begun = time.perf_counter()
    estimators = [clone(estimator) for _ in splits]
    weights = None if sample_weight is None else np.asarray(sample_weight)
    parts = [
        one.begin(_rows(X, train), _rows(y, train), None if weights is None else weights[train])
        for one, (train, _) in zip(estimators, splits, strict=True)
    ]
    # Each fold has a scaling of its own, so its rows stand in the examples once more, in a block of their own.
    blocks = np.cumsum([0, *(len(part.x) for part in parts)])
    requests = [_shifted(part.request, block) for part, block in zip(parts, blocks[:-1], strict=True)]
    engine = PopulationEngine(
        build,
        np.concatenate([part.x for part in parts]),
        np.concatenate([part.y for part in parts]),
        None if weights is None else np.concatenate([part.weights for part in parts]),
        probe=False,
    )
    for one, result, part in zip(estimators, engine.fit(requests), parts, strict=True):
        one.end(result, engine, part.request)
    found: dict[str, Any] = {
        "fit_time": np.full(len(splits), (time.perf_counter() - begun) / len(splits)),
        "estimator": estimators,
        "indices": {"train": [train for train, _ in splits], "test": [test for _, test in splits]},
    }
    scorer = check_scoring(estimator, scoring)
    found["score_time"] = np.zeros(len(splits))
    for place in range(1 + return_train_score):
        scores: dict[str, list[float]] = {}
        for index, (one, split) in enumerate(zip(estimators, splits, strict=True)):
            rows, begun = split[1 - place], time.perf_counter()
            score = scorer(one, _rows(X, rows), _rows(y, rows))
            if not place:
                found["score_time"][index] = time.perf_counter() - begun
            for name, value in (score if isinstance(score, dict) else {"score": score}).items():
                scores.setdefault(f"{('test', 'train')[place]}_{name}", []).append(value)
        found |= {name: np.array(values) for name, values in scores.items()}
    return found


def _rows(data: Any, rows: np.ndarray) -> Any:
    return data.iloc[rows] if hasattr(data, "iloc") else np.asarray(data)[rows]


def _shifted(request: FitRequest, by: int) -> FitRequest:
    """Return a request for rows that stand further down."""
    assert request.rows is not None  # all of them are named
    held = None if request.validation is None else request.validation + by
    return replace(request, rows=request.rows + by, validation=held)
