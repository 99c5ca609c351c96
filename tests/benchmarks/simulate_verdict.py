"""Simulate how often the verdict is wrong, how often it is right, and how often printed intervals cover.

python tests/benchmarks/simulate_verdict.py        # simulate again, some minutes, and write docs/evidence.md's tables
python tests/benchmarks/simulate_verdict.py --design hold-out  # simulate this design alone again, and write the tables
python tests/benchmarks/simulate_verdict.py write  # the tables alone, from tests/benchmarks/results/verdict.json

Scores of a fold are made from rows: whether a row is predicted rightly, or its squared error, of which models share a
part. On top comes what a training part does to a model, so that differences of two models correlate by `CORRELATION`
between folds. Real fits of quick scikit-learn models on data drawn anew say what correlations there are, and how often
the rule is wrong for them. From 1 000 rows on, rows are means of equally many, drawn as normal.
"""

import argparse
import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from results import RESULTS, environment, keep, markdown, write_into
from scipy import special

from tfopt.comparison import bootstrap_weights
from tfopt.comparison.evidence import clear, error_of_all, error_of_any
from tfopt.comparison.statistics import student_half_width

DESIGNS = {"5x1": (5, 1), "5x2": (5, 2), "10x1": (10, 1), "hold-out": (1, 1)}
NUM_ROWS = (60, 200, 1000, 20_000)
NUM_BASELINES = (1, 3, 8, 12)
CORRELATION = 0.05
ROPE = 0.01
LEADS = (0.02, 0.05, 0.1)
# How much of a row's error the network, and each baseline, shares with all the others.
SITUATIONS = {"models alike": (0.6, 0.6), "steady network": (0.9, 0.4)}
PAGE = Path(__file__).parents[2] / "docs" / "evidence.md"
_MODELS = 1 + max(NUM_BASELINES)
_MEANS = 200  # rows that stand for all of 1 000 or more
_SAMPLES = 300  # of the bootstrap


@dataclass(frozen=True)
class Metric:
    """A score as a function of means over rows.

    Args:
        name: What it is.
        truth: What models score by it on new rows.
        least_error: That of `tfopt.comparison`, times the rows.
        means: True means of the columns of `rows` before those of the models, and of each of those.
        rows: (random, rows, simulations, shares) to (rows, columns, simulations), the last columns one for each model.
        score: (means of columns, what the training part adds, rows) to (models, simulations).
    """

    name: str
    truth: float
    least_error: float
    means: tuple[float, ...]
    rows: Callable[[Any, int, int, tuple[float, float]], np.ndarray]
    score: Callable[[np.ndarray, Any, float], np.ndarray]


def _errors(random: Any, rows: int, simulations: int, shares: tuple[float, float]) -> np.ndarray:
    """Return (rows, models, simulations) standard normal numbers of which models share a part."""
    share = np.array([shares[0], *[shares[1]] * (_MODELS - 1)], np.float32).reshape(1, -1, 1)
    common = random.standard_normal((rows, 1, simulations), np.float32)
    own = random.standard_normal((rows, _MODELS, simulations), np.float32)
    return np.sqrt(share) * common + np.sqrt(1 - share) * own


def accuracy(value: float) -> Metric:
    """Return accuracy, of models that have this one."""

    def rows(random: Any, number: int, simulations: int, shares: tuple[float, float]) -> np.ndarray:
        return (_errors(random, number, simulations, shares) < special.ndtri(value)).astype(np.float32)

    def score(means: np.ndarray, moved: Any, number: float) -> np.ndarray:
        return np.clip(np.round((means + moved) * number) / number, 0, 1)

    return Metric("accuracy", value, 1.0, (value,), rows, score)


def _r2_rows(random: Any, number: int, simulations: int, shares: tuple[float, float]) -> np.ndarray:
    """Return y, y² and the models' squared errors; half of the variance of y is noise, a quarter is missed besides."""
    noise, signal = np.sqrt(0.5) * random.standard_normal((2, number, 1, simulations), np.float32)
    missed = noise + 0.5 * _errors(random, number, simulations, shares)
    return np.concatenate([noise + signal, (noise + signal) ** 2, missed**2], axis=1)


def _r2_score(means: np.ndarray, moved: Any, number: float) -> np.ndarray:
    del number
    return 1 - (means[..., 2:, :] + moved) / (means[..., 1:2, :] - means[..., :1, :] ** 2)


METRICS = (accuracy(0.85), accuracy(0.97), Metric("r2", 0.25, 0.0, (0.0, 1.0, 0.75), _r2_rows, _r2_score))


def draw(random: Any, metric: Metric, number: int, simulations: int, shares: tuple[float, float]) -> np.ndarray:
    """Return the rows of data sets of so many rows, or means that stand for them."""
    if number < 1000:
        return metric.rows(random, number, simulations, shares)
    few = metric.rows(random, 50_000, 1, shares)[:, :, 0]
    root = np.linalg.cholesky(np.cov(few.T) * _MEANS / number + 1e-12 * np.eye(few.shape[1])).astype(np.float32)
    normal = random.standard_normal((_MEANS, few.shape[1], simulations), np.float32)
    means = [*metric.means, *[metric.means[-1]] * (_MODELS - 1)]
    return np.matmul(root, normal) + np.array(means, np.float32)[:, None]


def fold_scores(
    random: Any, metric: Metric, rows: np.ndarray, design: str, number: int, correlation: float = CORRELATION
) -> np.ndarray:
    """Return (splits, models, simulations) scores on all folds of a design over `number` rows."""
    folds, repeats = DESIGNS[design]
    own = (rows[:, -_MODELS] - rows[:, 1 - _MODELS]).var() / 2 * folds / len(rows)  # variance of a fold's score
    size = np.sqrt(correlation / (1 - 2 * correlation) * own)
    shape = (_MODELS, rows.shape[-1])
    always = random.standard_normal(shape, np.float32)
    scores = []
    for repeat, fold in itertools.product(range(repeats), range(folds)):
        part = rows[fold::folds] if repeat else np.split(rows, folds)[fold]
        moved = size * (always + random.standard_normal(shape, np.float32))
        scores.append(metric.score(part.mean(axis=0), moved, number / folds))
    return np.array(scores)


def of_folds(scores: np.ndarray, test_to_train: float, least_error: float) -> tuple[np.ndarray, np.ndarray, int]:
    """Return means over splits, their corrected standard errors, and degrees of freedom, as the package has them."""
    freedom = len(scores) - 1
    half = student_half_width(scores, test_to_train)
    return scores.mean(axis=0), np.maximum(half / special.stdtrit(freedom, 0.975), least_error), freedom


def of_holdout(
    metric: Metric, rows: np.ndarray, seed: int, number: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int]:
    """Return scores and errors of the models, then of network minus each baseline, and degrees of freedom."""
    counts = bootstrap_weights(len(rows), num_samples=_SAMPLES, seed=seed).astype(np.float32) / len(rows)
    means = np.tensordot(counts, rows, (1, 0))
    samples = metric.score(means, 0.0, 1e9)
    scores = metric.score(rows.mean(axis=0), 0.0, 1e9)
    few = len(rows) / (len(rows) - 1)
    least = (metric.least_error / number) ** 2

    def error(values: np.ndarray) -> np.ndarray:
        return np.sqrt(values.var(axis=0, ddof=1) * few + least)

    differences = samples[:, :1] - samples[:, 1:]
    return scores, error(samples), scores[:1] - scores[1:], error(differences), len(rows) - 1


def conclusions(
    difference: np.ndarray, error: np.ndarray, freedom: int, baselines: int, holdout: bool = False
) -> dict[str, float]:
    """Return how often each conclusion is drawn about a network and so many baselines, (baselines, simulations)."""
    difference, error = difference[:baselines], np.maximum(error[:baselines], 1e-9)
    above = special.stdtr(freedom, difference / error)
    near = special.stdtr(freedom, (difference + ROPE) / error)
    best = difference.argmin(axis=0)[None]
    within = np.take_along_axis(near - special.stdtr(freedom, (difference - ROPE) / error), best, 0)
    same = clear(error_of_all(np.concatenate([within, near])), holdout)
    better, worse = (clear(e, holdout) & ~same for e in (error_of_all(above), error_of_any(1 - above)))
    return {"better": float(better.mean()), "worse": float(worse.mean()), "same": float(same.mean())}


def cell(metric: Metric, number: int, situation: str, design: str, simulations: int, seed: int) -> dict[str, Any]:
    """Return false conclusions between equal models, coverage and power of one design."""
    random = np.random.default_rng(seed)
    folds, _ = DESIGNS[design]
    tested = number if folds > 1 else number // 5
    rows = draw(random, metric, tested, simulations, SITUATIONS[situation])
    if folds > 1:
        scores = fold_scores(random, metric, rows, design, number)
        least = metric.least_error / number
        score, score_error, freedom = of_folds(scores, 1 / (folds - 1), least)
        difference, error, _ = of_folds(scores[:, :1] - scores[:, 1:], 1 / (folds - 1), least)
        truth = scores.mean(axis=(0, 2))[:, None]
        sure = 0.995 if not least and number / folds < 10 else 0.975
    else:
        score, score_error, difference, error, freedom = of_holdout(metric, rows, seed, tested)
        truth, sure = np.full((_MODELS, 1), metric.truth), 0.975
    quantile = special.stdtrit(freedom, 0.975)
    between, single = truth[:1] - truth[1:], folds == 1
    found: dict[str, Any] = {
        "false": {str(m): conclusions(difference - between, error, freedom, m, single) for m in NUM_BASELINES},
        "covers score": float((np.abs(score - truth) <= special.stdtrit(freedom, sure) * score_error).mean()),
        "covers difference": float((np.abs(difference - between) <= quantile * error).mean()),
        "half width of a score": float(np.median(special.stdtrit(freedom, sure) * score_error)),
    }
    for m, lead in itertools.product((1, 8), LEADS):
        for sign, word in ((1, "better"), (-1, "worse")):
            drawn = conclusions(difference - between + sign * lead, error, freedom, m, single)
            found[f"{word} by {lead}, {m}"] = drawn[word]
    found["same at the rope"] = max(
        conclusions(difference - between + sign * ROPE, error, freedom, 1, single)["same"] for sign in (-1, 1)
    )
    return found


def too_correlated(correlation: float, simulations: int) -> dict[str, float]:
    """Return the larger rate of false conclusions about equal models whose folds are correlated more than assumed."""
    random, metric, rates = np.random.default_rng(1), METRICS[0], {}
    rows = draw(random, metric, 1000, simulations, SITUATIONS["models alike"])
    for design in ("5x1", "5x2", "10x1"):
        scores = fold_scores(random, metric, rows, design, 1000, correlation)
        mean, error, freedom = of_folds(scores[:, :1] - scores[:, 1:], 1 / (DESIGNS[design][0] - 1), 0.0)
        found = conclusions(mean, error, freedom, 1)
        rates[design] = max(found["better"], found["worse"])
    return rates


def _friedman(random: Any, number: int) -> tuple[np.ndarray, np.ndarray]:
    x = random.random((number, 10))
    curved = np.sin(np.pi * x[:, 0] * x[:, 1]) * 2 + 4 * (x[:, 2] - 0.5) ** 2
    return x, curved + 2 * x[:, 3] + x[:, 4] + 0.6 * random.normal(size=number)


def _clouds(random: Any, number: int) -> tuple[np.ndarray, np.ndarray]:
    y = np.arange(number) % 3
    x = random.normal(size=(number, 8))
    x[:, 0] += 1.5 * (y == 1)
    x[:, 1] += 1.5 * (y == 2)
    return x, y


def real_fits(task: str, number: int, data_sets: int) -> dict[str, Any]:
    """Return correlations between folds, and false conclusions, of pairs of models on data sets drawn anew.

    The true difference of a pair is its mean over all data sets; less it, neither model is better.
    """
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.model_selection import KFold, StratifiedKFold
    from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    random = np.random.default_rng(0)
    if task == "regression":
        kind: Any = KFold
        models: Any = {"ridge": Ridge(), "knn": KNeighborsRegressor(), "tree": DecisionTreeRegressor(max_depth=3)}
    else:
        kind = StratifiedKFold
        models = {"logistic": LogisticRegression(), "knn": KNeighborsClassifier(7)}
        models["tree"] = DecisionTreeClassifier(max_depth=3)
    scores: dict[str, list[Any]] = {"5x2": [], "10x1": []}
    for _ in range(data_sets):
        x, y = (_friedman if task == "regression" else _clouds)(random, number)
        for design, found in scores.items():
            folds, repeats = DESIGNS[design]
            seeds = random.integers(2**31, size=repeats)
            splits = [s for seed in seeds for s in kind(folds, shuffle=True, random_state=int(seed)).split(x, y)]
            found.append([[m.fit(x[a], y[a]).score(x[b], y[b]) for m in models.values()] for a, b in splits])
    pairs = {}
    for one, two in itertools.combinations(range(len(models)), 2):
        rates: dict[str, Any] = {}
        for design, (folds, repeats) in {name: DESIGNS[name] for name in ("5x1", "5x2", "10x1")}.items():
            all_scores = np.array(scores["10x1" if folds == 10 else "5x2"]).transpose(1, 2, 0)
            gap = (all_scores[:, one] - all_scores[:, two])[: folds * repeats, None]
            mean, error, freedom = of_folds(
                gap - gap.mean(), 1 / (folds - 1), 0.0 if task == "regression" else 1 / number
            )
            drawn = conclusions(mean, error, freedom, 1)
            covariance = np.cov(gap[:, 0])
            repeat = np.arange(folds * repeats) // folds
            within = (repeat[:, None] == repeat) & ~np.eye(folds * repeats, dtype=bool)
            correlation = covariance[within].mean() / covariance.diagonal().mean()
            rates[design] = {"correlation": correlation, "better": drawn["better"], "worse": drawn["worse"]}
        names = list(models)
        pairs[f"{names[one]} - {names[two]}"] = rates
    return {"data sets": data_sets, "pairs": pairs}


def simulate(simulations: int, data_sets: int, only: str | None = None) -> None:
    """Simulate every cell, or those of one design alone, and keep what was found."""
    cells = {}
    if only:
        kept = json.loads((RESULTS / "verdict.json").read_text(encoding="utf-8"))["simulations"]
        cells, simulations = kept["cells"], kept["each"]
    every = itertools.product(NUM_ROWS, itertools.product(DESIGNS, METRICS, SITUATIONS))
    for seed, (number, (design, metric, situation)) in enumerate(every):
        if only in (None, design):
            name = f"{metric.name} {metric.truth}, {number} rows, {design}, {situation}"
            cells[name] = cell(metric, number, situation, design, simulations, seed)
    keep("verdict", "environment", environment("numpy", "scipy", "scikit-learn"))
    keep("verdict", "simulations", {"each": simulations, "correlation": CORRELATION, "cells": cells})
    if only:
        return
    keep("verdict", "too correlated", {str(c): too_correlated(c, simulations) for c in (0.1, 0.2)})
    fits = {
        f"{task}, {n} rows": real_fits(task, n, data_sets)
        for task in ("regression", "classification")
        for n in (60, 200)
    }
    keep("verdict", "real fits", fits)


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def tables(kept: dict[str, Any]) -> dict[str, str]:
    """Return the tables of the page from what was kept."""
    cells = kept["simulations"]["cells"]

    def of(*words: str) -> list[Any]:
        return [found for name, found in cells.items() if all(f", {word}," in f", {name}," for word in words)]

    wrong = [
        [
            design,
            *(
                " / ".join(_percent(max(c["false"][str(m)][w] for c in of(design))) for w in ("better", "worse"))
                for m in NUM_BASELINES
            ),
        ]
        for design in DESIGNS
    ]
    covered = [
        [
            design,
            *(
                " / ".join(
                    _percent(min(c[f"covers {what}"] for c in of(design, f"{n} rows")))
                    for what in ("score", "difference")
                )
                for n in NUM_ROWS
            ),
        ]
        for design in DESIGNS
    ]
    right = []
    for design, n in itertools.product(DESIGNS, NUM_ROWS):
        (found,) = of("accuracy 0.85", f"{n} rows", design, "models alike")
        said = [
            " / ".join(_percent(found[f"{w} by {lead}, {m}"]) for w in ("better", "worse"))
            for m in (1, 8)
            for lead in LEADS
        ]
        right.append(
            [
                f"{design}, {n:,} rows",
                f"±{found['half width of a score']:.3f}",
                *said,
                _percent(found["false"]["1"]["same"]),
            ]
        )
    fits = []
    for data, found in kept.get("real fits", {}).items():
        for pair, designs in found["pairs"].items():
            fits.append(
                [
                    f"{data}, {found['data sets']} data sets: {pair}",
                    *(
                        f"{d['correlation']:.2f}; {_percent(d['better'])} / {_percent(d['worse'])}"
                        for d in designs.values()
                    ),
                ]
            )
    more = kept["too correlated"]
    names = [str(m) if m > 1 else "1 baseline" for m in NUM_BASELINES]
    same = _percent(max(c["same at the rope"] for c in cells.values()))
    where = kept["environment"]
    return {
        "wrong": markdown(["", *names], wrong)
        + f'\n\nFalse "the same", of models that differ by {ROPE}: at most {same} %. With a correlation of '
        + "; of ".join(
            f"{c} instead, against one baseline: " + ", ".join(f"{d} {_percent(r)} %" for d, r in rates.items())
            for c, rates in more.items()
        )
        + ".",
        "covered": markdown(["", *(f"{n:,} rows" for n in NUM_ROWS)], covered),
        "right": markdown(
            ["", "interval of a score", *(f"{lead}, {m}" for m in (1, 8) for lead in LEADS), "the same"], right
        ),
        "fits": markdown(["", "5x1", "5x2", "10x1"], fits) if fits else "To be measured.",
        "made": f"{kept['simulations']['each']:,} simulations of each cell; "
        f"{where['date']}, {where['cores']} cores ({where['processor']}); "
        + ", ".join(f"{package} {version}" for package, version in where["versions"].items())
        + ".",
    }


def main() -> None:
    """Simulate unless only the tables are asked for; write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=("all", "write"), default="all")
    parser.add_argument("--simulations", type=int, default=4000)
    parser.add_argument("--data-sets", type=int, default=200)
    parser.add_argument("--design", choices=tuple(DESIGNS), help="simulate this one alone again, as often as before")
    given = parser.parse_args()
    if given.what == "all":
        simulate(given.simulations, given.data_sets, given.design)
    for part, text in tables(json.loads((RESULTS / "verdict.json").read_text(encoding="utf-8"))).items():
        write_into(PAGE, part, text)


if __name__ == "__main__":
    main()
