"""One row for each model, scored on the same outer folds, and how sure its difference to the best baseline is."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tfopt._files import as_json
from tfopt.comparison.bootstrap import bootstrap_difference, bootstrap_interval, bootstrap_scores, bootstrap_weights
from tfopt.comparison.evidence import error_of_all, error_of_any
from tfopt.comparison.fold_result import DUMMY, FoldResult
from tfopt.comparison.folds import Split
from tfopt.comparison.forward import time_blocks
from tfopt.comparison.objective import Objective
from tfopt.comparison.statistics import Interval, PairedDifference, mean_interval, paired_difference
from tfopt.comparison.verdict import Contest, Contestant, judge, recommend

CORRECTED = "corrected resampled t-test"
BOOTSTRAP = "paired bootstrap of the hold-out"
FORWARD = f"{CORRECTED} over folds that follow one another in time"
BLOCKS = "paired bootstrap of the hold-out in blocks of time"

# A hold-out of more than 50 000 rows gets fewer bootstrap samples than 2000: two bytes for each row and sample.
_MOST_COUNTS = 100_000_000

# Of fewer test rows in a fold, scores without a lowest value (R²) are so skewed that a 99 % interval covers 95 %.
_FEW_ROWS = 10

_NOTHING = PairedDifference(*[float("nan")] * 7)


@dataclass(frozen=True)
class Comparison:
    """The leaderboard and the verdict of a comparison, with the numbers behind them.

    Args:
        leaderboard: One row for each model, best first. Scores are higher-is-better: errors are negated.
            `rank` (missing for a model that failed in a fold), `model`, `kind`, `score` (mean over folds), `low` and
            `high` (its 95 % interval, cut where the metric ends), `fold_sd`, `seed_sd` (pooled over folds; networks
            only), `default_score` (untuned), `inner_score`, `optimism` (inner minus outer score: the winner's curse),
            `difference` to the best baseline (the best baseline's own row: to the network) with `difference_low`,
            `difference_high`, `p_value`, `p_better`, `p_equivalent`, `p_worse`; `p_corrected`, the error probability of
            "better than each baseline" or of "worse than one of them", the smaller of both; `num_configurations` in a
            fold, `tune_seconds` in all, `fit_seconds` and `predict_seconds` of one fold; `num_members` (above 1: an
            ensemble), `failed_folds`. A search adds `interval_coverage`, the share of the outer rows that their 90 %
            intervals (classes: sets) cover, and `interval_size`, their width (classes in a set).
        verdict: One sentence.
        outcome: `"better"`, `"worse"`, `"equivalent"` or `"undecided"`, about the network against the best baseline;
            `"only the network learns"` (undecided, but no baseline clearly beats the dummy); or `"guessing"` (nothing
            clearly beats it), `"only dummy"`, `"only networks"`, `"only baselines"`, `"nothing"`.
        objective: The metric.
        rope: Half width of the region of practical equivalence, in units of the score.
        method: How intervals and p-values were computed.
        network: The network that the verdict is about, or None.
        best_baseline: The best baseline, or None.

    Example:
        ```python
        splits = [tfopt.comparison.Split(np.arange(8), np.arange(8, 10)) for _ in range(2)]
        results = [tfopt.comparison.FoldResult("ridge", "sklearn", fold, 0.4 + fold / 10) for fold in range(2)]
        objective = tfopt.comparison.get_objective("r2", "regression")
        comparison = tfopt.comparison.compare(results, splits, objective)
        print(comparison.outcome, comparison.recommended)  # only baselines ridge
        ```
    """

    leaderboard: pd.DataFrame
    verdict: str
    outcome: str
    objective: Objective
    rope: float
    method: str
    network: str | None
    best_baseline: str | None

    @property
    def recommended(self) -> str | None:
        """The model to use by the verdict: where the network is not better, the best baseline."""
        return recommend(self.outcome, self.network, self.best_baseline)[0]

    @property
    def why(self) -> str:
        """Why it is that one, in words that follow its name."""
        return recommend(self.outcome, self.network, self.best_baseline)[1]

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as JSON has it, null in place of NaN."""
        rows = self.leaderboard.astype(object).where(self.leaderboard.notna(), None).to_dict(orient="records")
        return {
            "objective": self.objective.name,
            "greater_is_better": True,
            "negated": not self.objective.greater_is_better,
            "rope": as_json(self.rope),
            "method": self.method,
            "network": self.network,
            "best_baseline": self.best_baseline,
            "recommended": self.recommended,
            "why": self.why,
            "outcome": self.outcome,
            "verdict": self.verdict,
            "leaderboard": as_json(rows),
        }


@dataclass
class _Model:
    """The fold results of one model in the order of the splits; None where a fold is missing."""

    name: str
    kind: str
    results: list[FoldResult | None]

    @property
    def scores(self) -> np.ndarray:
        return self.values("score")

    @property
    def score(self) -> float:
        return float(self.scores.mean())

    @property
    def num_members(self) -> int:
        return max(result.num_members for result in self.results if result is not None)

    def values(self, field: str) -> np.ndarray:
        return np.array([math.nan if result is None else getattr(result, field) for result in self.results], float)


def compare(
    results: Sequence[FoldResult],
    splits: Sequence[Split],
    objective: Objective,
    *,
    rope: float | None = None,
    target: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    weights: np.ndarray | None = None,
    times: np.ndarray | None = None,
) -> Comparison:
    """Rank the models and say whether the network is better than the best baseline.

    Several splits are compared by the corrected resampled t-test and its Bayesian counterpart, one split by a paired
    bootstrap of its test rows. A model that failed or is missing in a fold is ranked last, without a score.

    The best baseline is the one with the best outer score, so it is partly lucky, and differences to it are tilted
    against the network. The verdict therefore looks at every baseline: better means better than each of them; worse
    means worse than one, corrected for their number (`tfopt.comparison.evidence`).

    Of several networks the one with the best inner score speaks for them, which no outer fold has influenced;
    ensembles (`num_members` above 1) only where there is no single network.

    Args:
        results: One for each model and fold.
        splits: The outer splits, which `FoldResult.fold` counts.
        objective: What the scores are.
        rope: Half width of the region of practical equivalence, in units of the score; None takes 0.01 where higher is
            better (accuracies, R²), and 1 % of the best baseline's error for errors.
        target: Targets of the whole table; needed with a single split.
        groups: Groups of the whole table, so that a hold-out is bootstrapped by groups.
        weights: Example weights of the whole table, for the bootstrap of a hold-out.
        times: Times of the whole table where the splits follow one another in time. Such folds are not exchangeable:
            their training parts grow, and neighbours are alike. The test is the same, with the mean ratio of test to
            training rows, and the verdict says what it takes for granted; a hold-out without groups is bootstrapped in
            blocks of time.

    Returns:
        The leaderboard, the verdict and the numbers behind it.

    Raises:
        ValueError: When there are no results or splits, a fold is given twice, or a single split comes without targets.

    Example:
        ```python
        splits = [tfopt.comparison.Split(np.arange(8), np.arange(8, 10)) for _ in range(3)]
        scores = {"ridge": ("sklearn", [0.40, 0.45, 0.43]), "network": ("keras", [0.52, 0.55, 0.54])}
        results = [
            tfopt.comparison.FoldResult(model, kind, fold, score)
            for model, (kind, values) in scores.items()
            for fold, score in enumerate(values)
        ]
        comparison = tfopt.comparison.compare(results, splits, tfopt.comparison.get_objective("r2", "regression"))
        print(comparison.outcome)  # better
        print(comparison.leaderboard["model"].tolist())  # ['network', 'ridge']
        ```
    """
    models = _by_model(results, len(splits))
    scored = [model for model in models if np.isfinite(model.scores).all()]
    baselines = sorted((m for m in scored if m.kind == "sklearn"), key=lambda m: -m.score)
    networks = [model for model in scored if model.kind == "keras"]
    network = _spokesman(networks)
    best = baselines[0] if baselines else None
    if rope is None:
        rope = _default_rope(objective, best or network)
    if times is not None and groups is None and len(splits) == 1:
        groups = np.zeros(len(times), dtype=np.int64)
        groups[splits[0].test] = time_blocks(times[splits[0].test])
    intervals, pair = _estimators(scored, splits, objective, rope, target, groups, weights)
    differences = _differences(networks, baselines, network, pair)
    dummy = next((model for model in baselines if model.name == DUMMY), None)
    real = [model for model in baselines if model is not dummy]
    candidates = [*real, *([network] if network else [])]
    leading = max(candidates, key=lambda m: m.score, default=None)
    num_single = sum(model.num_members == 1 for model in networks)
    contest = Contest(
        objective=objective,
        rope=rope,
        holdout=len(splits) == 1,
        ordered=times is not None,
        network=_contestant(network, num_single),
        baseline=_contestant(best),
        differences={} if network is None else {model.name: pair(network, model) for model in baselines},
        dummy=_contestant(dummy),
        leading=_contestant(leading, num_single),
        over_dummy={} if dummy is None else {model.name: pair(model, dummy) for model in candidates},
        only_dummy=all(model.name == DUMMY for model in models if model.kind == "sklearn"),
        failed=tuple(model.name for model in models if model not in scored),
    )
    outcome, verdict = judge(contest)
    rows = [
        _row(model, intervals.get(model.name), objective.bounds, *differences.get(model.name, (_NOTHING, math.nan)))
        for model in sorted(models, key=lambda m: (m not in scored, -m.score if m in scored else 0.0))
    ]
    leaderboard = pd.DataFrame(rows)
    ranks = [rank if model["failed_folds"] == 0 else pd.NA for rank, model in enumerate(rows, start=1)]
    leaderboard.insert(0, "rank", pd.Series(ranks, dtype="Int64"))
    return Comparison(
        leaderboard=leaderboard,
        verdict=verdict,
        outcome=outcome,
        objective=objective,
        rope=rope,
        method=_method(len(splits) == 1, times is not None),
        network=network.name if network else None,
        best_baseline=best.name if best else None,
    )


def _method(holdout: bool, ordered: bool) -> str:
    if holdout:
        return BLOCKS if ordered else BOOTSTRAP
    return FORWARD if ordered else CORRECTED


def _by_model(results: Sequence[FoldResult], num_folds: int) -> list[_Model]:
    if not results or not num_folds:
        raise ValueError(
            f"There must be results and splits to compare. Received: {len(results)} results, {num_folds} splits."
        )
    models: dict[str, _Model] = {}
    for result in results:
        model = models.setdefault(result.model, _Model(result.model, result.kind, [None] * num_folds))
        if not 0 <= result.fold < num_folds:
            raise ValueError(
                f"Fold {result.fold} of model {result.model!r} is not one of the {num_folds} splits (counted from 0)."
            )
        if model.results[result.fold] is not None or model.kind != result.kind:
            raise ValueError(f"Model {result.model!r} is given twice for fold {result.fold}.")
        model.results[result.fold] = result
    return list(models.values())


def _spokesman(networks: list[_Model]) -> _Model | None:
    single = [model for model in networks if model.num_members == 1] or networks
    if not single:
        return None
    inner = [float(model.values("inner_score").mean()) for model in single]
    by_inner = bool(np.isfinite(inner).all())
    return max(zip(single, inner, strict=True), key=lambda pair: pair[1] if by_inner else pair[0].score)[0]


def _default_rope(objective: Objective, reference: _Model | None) -> float:
    if objective.greater_is_better or reference is None:
        return 0.01
    return 0.01 * abs(reference.score)


Pair = Callable[[_Model, _Model], PairedDifference]


def _estimators(
    models: list[_Model],
    splits: Sequence[Split],
    objective: Objective,
    rope: float,
    target: np.ndarray | None,
    groups: np.ndarray | None,
    weights: np.ndarray | None,
) -> tuple[dict[str, Interval], Pair]:
    """Return the interval of each model, and a function that compares two."""
    least = _least_error(objective, splits)
    if len(splits) > 1:
        test_to_train = sum(len(split.test) for split in splits) / sum(len(split.train) for split in splits)
        sure = 0.95 if least or min(len(split.test) for split in splits) >= _FEW_ROWS else 0.99
        intervals = {
            model.name: mean_interval(model.scores, test_to_train, confidence=sure, least_error=least)
            for model in models
        }
        return intervals, lambda one, two: paired_difference(
            one.scores, two.scores, test_to_train, rope=rope, least_error=least
        )
    if target is None:
        raise ValueError("A comparison on one split needs `target`, to bootstrap the test rows.")
    test = splits[0].test
    target, groups, weights = _part(target, test), _part(groups, test), _part(weights, test)
    assert target is not None
    num_samples = int(np.clip(_MOST_COUNTS // len(test), 200, 2000))
    counts = bootstrap_weights(len(test), num_samples=num_samples, groups=groups)
    samples = {model.name: _samples(model, objective, target, counts, weights) for model in models}
    units = len(test) if groups is None else len(np.unique(groups))
    intervals = {model.name: bootstrap_interval(model.score, samples[model.name], units, least) for model in models}
    return intervals, lambda one, two: bootstrap_difference(
        one.score, two.score, samples[one.name], samples[two.name], units, rope=rope, least_error=least
    )


def _least_error(objective: Objective, splits: Sequence[Split]) -> float:
    """Return what one test row more or less would change, of a score that has a lowest and a highest value."""
    low, high = objective.bounds
    rows = np.unique(np.concatenate([split.test for split in splits]))
    return (high - low) / len(rows) if np.isfinite(high - low) else 0.0


def _part(values: np.ndarray | None, rows: np.ndarray) -> np.ndarray | None:
    return None if values is None else np.asarray(values)[rows]


def _samples(
    model: _Model, objective: Objective, target: np.ndarray, counts: np.ndarray, weights: np.ndarray | None
) -> np.ndarray:
    """Return bootstrap scores of a hold-out: for a network the mean over its refit seeds, as its score is."""
    result = model.results[0]
    assert result is not None
    predictions = result.seed_predictions or [result.prediction]
    if len(predictions[0]) == 0:
        return np.full(len(counts), np.nan)
    return np.mean([bootstrap_scores(objective, target, each, counts, weights) for each in predictions], axis=0)


def _differences(
    networks: list[_Model], baselines: list[_Model], network: _Model | None, pair: Pair
) -> dict[str, tuple[PairedDifference, float]]:
    """Return each model's difference to the best baseline (the best baseline's: to the network), and `p_corrected`."""
    if not baselines:
        return {}
    best = baselines[0]
    found: dict[str, tuple[PairedDifference, float]] = {}
    for model in [*networks, *baselines]:
        rivals = {baseline.name: pair(model, baseline) for baseline in baselines if baseline is not model}
        if rivals:
            above = np.array([one.p_above for one in rivals.values()])
            error = float(np.minimum(error_of_all(above), error_of_any(1 - above)))
            found[model.name] = rivals.get(best.name, _NOTHING), error
    if network is not None:
        found[best.name] = pair(best, network), found[network.name][1]
    return found


def _mean_of_known(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else math.nan


def _contestant(model: _Model | None, num_networks: int = 1) -> Contestant | None:
    if model is None:
        return None
    return Contestant(
        name=model.name,
        is_network=model.kind == "keras",
        score=model.score,
        fit_seconds=_mean_of_known(model.values("fit_seconds")),
        only_network=num_networks == 1,
    )


def _row(
    model: _Model,
    interval: Interval | None,
    bounds: tuple[float, float],
    difference: PairedDifference,
    p_corrected: float,
) -> dict[str, Any]:
    interval = interval or Interval(math.nan, math.nan, math.nan)
    low, high = np.clip([interval.low, interval.high], *bounds).tolist()  # Student's tails know no end, a metric does
    scores = model.scores
    inner = float(model.values("inner_score").mean())
    variances = [np.var(r.seed_scores, ddof=1) for r in model.results if r is not None and len(r.seed_scores) > 1]
    return {
        "model": model.name,
        "kind": model.kind,
        "score": interval.mean,
        "low": low,
        "high": high,
        "fold_sd": float(scores.std(ddof=1)) if len(scores) > 1 else math.nan,
        "seed_sd": float(np.sqrt(np.mean(variances))) if variances else math.nan,
        "default_score": float(model.values("default_score").mean()),
        "inner_score": inner,
        "optimism": inner - interval.mean,
        "difference": difference.mean,
        "difference_low": difference.low,
        "difference_high": difference.high,
        "p_value": difference.p_value,
        "p_corrected": p_corrected,
        "p_better": difference.p_better,
        "p_equivalent": difference.p_equivalent,
        "p_worse": difference.p_worse,
        "num_configurations": round(float(np.nanmean(model.values("num_configurations")))),
        "tune_seconds": float(np.nansum(model.values("tune_seconds"))),
        "fit_seconds": _mean_of_known(model.values("fit_seconds")),
        "predict_seconds": _mean_of_known(model.values("predict_seconds")),
        "num_members": model.num_members,
        "failed_folds": int((~np.isfinite(scores)).sum()),
    }
