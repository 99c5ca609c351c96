"""The leaderboard and the verdict: every way in which a comparison can end."""

import json

import numpy as np
import pytest
from scipy import stats

from tfopt.comparison import (
    FoldResult,
    Split,
    bootstrap_scores,
    bootstrap_weights,
    compare,
    get_objective,
    mean_interval,
    paired_difference,
)

_R2 = get_objective("r2", "regression")
_SPLITS = [Split(np.setdiff1d(np.arange(50), t), t) for t in np.array_split(np.arange(50), 5)] * 2
_NOISE = np.array([0.01, -0.02, 0.015, 0.0, -0.005, 0.01, 0.02, -0.01, -0.02, 0.0])
_WOBBLE = np.array([0.4, -0.3, 0.1, -0.2, 0.5, -0.5, 0.2, -0.1, -0.4, 0.3])


def _model(name, scores, kind="sklearn", **fields):
    scores = np.broadcast_to(scores, 10)
    return [FoldResult(name, kind, fold, float(score), **fields) for fold, score in enumerate(scores)]


def _network(scores, name="network", **fields):
    return _model(name, scores, "keras", **{"fit_seconds": 2.0, **fields})


_DUMMY = _model("dummy", -0.01 + _NOISE / 10)
_RIDGE = _model("ridge", 0.487 + _NOISE, fit_seconds=0.01)
_LASSO = _model("lasso", 0.480 + _NOISE[::-1], fit_seconds=0.02)


def test_worse_is_said_with_numbers():
    result = compare([*_DUMMY, *_RIDGE, *_LASSO, *_network(0.447 + _NOISE + 0.03 * _WOBBLE)], _SPLITS, _R2)
    assert result.outcome == "worse"
    assert (result.network, result.best_baseline) == ("network", "ridge")
    assert result.verdict == (
        "Keep ridge: it scores 0.487 against the network's 0.447; the network is worse by 0.040 (95 % interval 0.054 "
        "worse to 0.026 worse), P(worse by more than 0.01) > 0.99; p < 0.001, corrected for 3 baselines."
    )


def test_better():
    result = compare([*_DUMMY, *_RIDGE, *_network(0.547 + _NOISE + 0.03 * _WOBBLE)], _SPLITS, _R2)
    assert result.outcome == "better"
    assert result.verdict.startswith("Use the network: it scores 0.547 against ridge's 0.487; it is better")


def test_practically_the_same_prefers_the_simpler_and_faster():
    result = compare([*_DUMMY, *_RIDGE, *_network(0.488 + _NOISE + 0.005 * _WOBBLE)], _SPLITS, _R2)
    assert result.outcome == "equivalent"
    assert result.verdict.startswith("Keep ridge: the network scores 0.488 against ridge's 0.487, practically the same")
    assert "ridge is the simpler, and faster (0.01 s against 2 s a fit)." in result.verdict


def test_practically_the_same_but_the_network_is_faster():
    forest = _model("random_forest", 0.487 + _NOISE, fit_seconds=9.0)
    result = compare([*_DUMMY, *forest, *_network(0.487 + _NOISE)], _SPLITS, _R2)
    assert result.verdict.startswith("Either will do:")
    assert "random_forest is simpler, the network is faster (2 s against 9 s a fit)." in result.verdict


@pytest.mark.parametrize(("shift", "side"), [(0.02, "0.020 ahead of ridge"), (-0.02, "0.020 behind ridge")])
def test_undecided(shift, side):
    result = compare([*_DUMMY, *_RIDGE, *_network(0.487 + shift + 0.1 * (_WOBBLE - _WOBBLE.mean()))], _SPLITS, _R2)
    assert result.outcome == "undecided"
    assert f"the network is {side}, the best baseline" in result.verdict
    assert "keep the simpler ridge or add repeats" in result.verdict


def test_only_networks():
    result = compare(_network(0.4 + _NOISE), _SPLITS, _R2)
    assert result.outcome == "only networks"
    assert result.best_baseline is None
    assert result.verdict == (
        "No verdict: the network has r2 0.400, but no baseline was tuned, so it is not known whether something simpler "
        "does as well."
    )


def test_only_baselines():
    result = compare([*_DUMMY, *_RIDGE], _SPLITS, _R2)
    assert result.outcome == "only baselines"
    assert result.verdict == "No network was compared: ridge is the best baseline with r2 0.487."


def test_only_the_dummy_beside_the_network():
    result = compare([*_DUMMY, *_network(0.4 + _NOISE)], _SPLITS, _R2)
    assert result.outcome == "only dummy"
    assert result.verdict.startswith("The network beats guessing by 0.410")
    assert "no real baseline was tuned beside it" in result.verdict


def test_nobody_beats_the_dummy():
    result = compare(
        [*_model("dummy", -0.001), *_model("ridge", -0.02 + _NOISE), *_network(-0.1 + _NOISE)], _SPLITS, _R2
    )
    assert result.outcome == "guessing"
    assert result.verdict == (
        "Nothing beats the dummy: the best of the others is ridge, and ridge scores -0.020 against the dummy's -0.001."
    )


def test_a_lead_over_the_dummy_that_chance_may_explain():
    result = compare([*_model("dummy", -0.001), *_model("ridge", 0.01 + 0.05 * _WOBBLE)], _SPLITS, _R2)
    assert result.outcome == "guessing"
    assert result.verdict.startswith("Nothing is clearly better than guessing: the best is ridge")
    assert "95 % interval" in result.verdict


def test_a_failed_network():
    scores = 0.4 + _NOISE
    scores[3] = np.nan
    result = compare([*_DUMMY, *_RIDGE, *_network(scores)], _SPLITS, _R2)
    assert result.outcome == "only baselines"
    assert result.verdict == (
        "Keep ridge: no network has a score on every fold (network failed), and ridge is the best baseline with r2 "
        "0.487."
    )
    last = result.leaderboard.iloc[-1]
    assert (last["model"], last["failed_folds"]) == ("network", 1)
    assert np.isnan(last["score"])
    assert result.to_dict()["leaderboard"][-1]["rank"] is None


def test_a_model_that_misses_a_fold_has_failed():
    result = compare([*_DUMMY, *_RIDGE[:-1], *_LASSO, *_network(0.3 + _NOISE)], _SPLITS, _R2)
    assert result.best_baseline == "lasso"
    assert result.leaderboard.set_index("model").loc["ridge", "failed_folds"] == 1


def test_failed_baselines_are_not_passed_over():
    result = compare([*_model("ridge", np.nan), *_network(0.3 + _NOISE)], _SPLITS, _R2)
    assert result.outcome == "only networks"
    assert "no baseline has a score on every fold (ridge failed)" in result.verdict


def test_everything_failed():
    result = compare([*_model("ridge", np.nan), *_network(np.nan)], _SPLITS, _R2)
    assert result.outcome == "nothing"
    assert result.verdict == "No verdict: no model has a score on every fold (ridge, network failed)."
    assert result.leaderboard["rank"].isna().all()


def test_of_several_networks_the_inner_score_chooses_and_ensembles_stand_aside():
    lucky = _network(0.60 + _NOISE, name="wide", inner_score=0.40)
    chosen = _network(0.55 + _NOISE, name="deep", inner_score=0.50)
    ensemble = _network(0.62 + _NOISE, name="ensemble of 3 seeds", num_members=3)
    result = compare([*_DUMMY, *_RIDGE, *lucky, *chosen, *ensemble], _SPLITS, _R2)
    assert result.network == "deep"
    assert "Use network 'deep': it scores 0.550" in result.verdict
    board = result.leaderboard.set_index("model")
    assert list(board.index[:3]) == ["ensemble of 3 seeds", "wide", "deep"]
    assert board.loc["ensemble of 3 seeds", "num_members"] == 3
    assert board.loc["deep", "optimism"] == pytest.approx(-0.05)
    only = compare([*_DUMMY, *_RIDGE, *chosen, *ensemble], _SPLITS, _R2)
    assert "Use the network: it scores 0.550" in only.verdict


def _one_sided(difference):
    error = difference.std(ddof=1) * np.sqrt(1 / len(difference) + 1 / 4)
    return stats.t.cdf(difference.mean() / error, len(difference) - 1)


def test_numbers_of_the_leaderboard_come_from_the_tests():
    network = 0.47 + _NOISE[::-1] + 0.01 * _WOBBLE
    result = compare(
        [
            *_DUMMY,
            *_LASSO,
            *_RIDGE,
            *_network(network, seed_scores=[0.46, 0.48], inner_score=0.5, default_score=0.3, tune_seconds=3.0),
        ],
        _SPLITS,
        _R2,
        rope=0.02,
    )
    board = result.leaderboard.set_index("model")
    assert list(board.index) == ["ridge", "lasso", "network", "dummy"]
    assert list(board["rank"]) == [1, 2, 3, 4]
    row = board.loc["network"]
    interval = mean_interval(network, 1 / 4)
    assert (row["score"], row["low"], row["high"]) == pytest.approx((interval.mean, interval.low, interval.high))
    ridge, lasso = (np.array([r.score for r in model]) for model in (_RIDGE, _LASSO))
    expected = paired_difference(network, ridge, 1 / 4, rope=0.02)
    assert row["difference"] == pytest.approx(expected.mean)
    assert row["p_worse"] == pytest.approx(expected.p_worse)
    # One-sided p of the t-test against the surest of three baselines, times three.
    assert row["p_corrected"] == pytest.approx(3 * min(_one_sided(network - ridge), _one_sided(network - lasso)))
    assert row["optimism"] == pytest.approx(0.5 - network.mean())
    assert row["fold_sd"] == pytest.approx(network.std(ddof=1))
    assert row["seed_sd"] == pytest.approx(np.sqrt(0.0002))
    assert row["tune_seconds"] == pytest.approx(30)
    assert row["default_score"] == pytest.approx(0.3)
    best = board.loc["ridge"]
    assert best["difference"] == pytest.approx(-row["difference"])
    assert best["p_better"] == pytest.approx(row["p_worse"])
    assert best["p_corrected"] == row["p_corrected"]
    assert board.loc["lasso", "p_corrected"] == pytest.approx(min(1, 2 * _one_sided(lasso - ridge)))


def test_errors_are_told_in_their_own_direction():
    rmse = get_objective("rmse", "regression")
    dummy, ridge, network = _model("dummy", -77.0), _model("ridge", -54.2 + _NOISE), _network(-57.9 + _WOBBLE)
    result = compare([*dummy, *ridge, *network], _SPLITS, rmse)
    assert result.rope == pytest.approx(0.542)
    assert result.verdict.startswith(
        "Keep ridge: its rmse is 54.2 against the network's 57.9; the network is worse by 3.7 (95 % interval "
    )
    assert result.leaderboard["score"].iloc[0] == pytest.approx(-54.2)
    assert result.to_dict()["negated"] is True


def test_an_interval_ends_where_the_metric_does():
    accuracy = get_objective("accuracy", "classification")
    nearly = np.array([1.0] * 9 + [0.9])
    assert mean_interval(nearly, 1 / 4).high > 1.03
    assert compare(_model("svm", nearly), _SPLITS, accuracy).leaderboard["high"].iloc[0] == 1
    rmse = get_objective("rmse", "regression")
    assert compare(_model("svm", 10 * (nearly - 1)), _SPLITS, rmse).leaderboard["high"].iloc[0] == 0
    assert compare(_model("svm", 0.1 + _WOBBLE), _SPLITS, _R2).leaderboard["low"].iloc[0] < 0


def test_counts_of_rows_that_are_the_same_in_every_fold_are_not_certain():
    accuracy = get_objective("accuracy", "classification")
    results = [*_model("dummy", 0.4), *_model("svm", 1.0), *_network(0.96)]
    board = compare(results, _SPLITS, accuracy).leaderboard.set_index("model")
    row = 1 / 50  # the least standard error: one of 50 test rows
    assert board.loc["svm", "low"] == pytest.approx(1 - stats.t.isf(0.025, 9) * row)
    assert board.loc["network", "p_value"] == pytest.approx(2 * stats.t.sf(0.04 / row, 9))


def test_folds_of_few_rows_have_wider_intervals_where_the_score_has_no_lowest_value():
    splits = [Split(np.setdiff1d(np.arange(50), t), t) for t in np.array_split(np.arange(50), 10)]
    row = compare(_model("ridge", 0.4 + _WOBBLE), splits, _R2).leaderboard.iloc[0]
    wide = mean_interval(0.4 + _WOBBLE, 1 / 9, confidence=0.99)
    assert (row["low"], row["high"]) == pytest.approx((wide.low, wide.high))


def test_json_holds_no_nan():
    result = compare([*_RIDGE, *_network(np.nan)], _SPLITS, _R2)
    text = json.dumps(result.to_dict(), allow_nan=False)
    assert json.loads(text)["leaderboard"][0]["seed_sd"] is None
    assert json.loads(text)["leaderboard"][1]["score"] is None


def _holdout(random, num_rows=400):
    target = random.normal(size=num_rows)
    split = Split(np.arange(200), np.arange(200, num_rows))
    truth = target[split.test]

    def result(name, kind, noise):
        prediction = truth + random.normal(0, noise, len(truth)) if noise else np.zeros(len(truth))
        return FoldResult(name, kind, 0, _R2.score(truth, prediction), prediction=prediction, fit_seconds=1.0)

    return target, split, result


def test_a_holdout_is_bootstrapped():
    target, split, result = _holdout(np.random.default_rng(0))
    ridge, network = result("ridge", "sklearn", 0.5), result("network", "keras", 0.8)
    comparison = compare([result("dummy", "sklearn", 0), ridge, network], [split], _R2, target=target)
    assert comparison.method == "paired bootstrap of the hold-out"
    assert comparison.outcome == "worse"
    assert "95 % bootstrap interval" in comparison.verdict
    row = comparison.leaderboard.set_index("model").loc["network"]
    counts = bootstrap_weights(200)
    samples = bootstrap_scores(_R2, target[200:], network.prediction, counts)
    half = stats.t.isf(0.025, 199) * samples.std(ddof=1) * np.sqrt(200 / 199)
    assert (row["low"], row["high"]) == pytest.approx((network.score - half, network.score + half))
    gap = samples - bootstrap_scores(_R2, target[200:], ridge.prediction, counts)
    assert row["p_worse"] == pytest.approx((gap < -0.01).mean(), abs=0.01)
    assert np.isnan(row["fold_sd"])
    with pytest.raises(ValueError, match="needs `target`"):
        compare([ridge, network], [split], _R2)


def test_groups_of_a_holdout_widen_its_interval():
    target, split, result = _holdout(np.random.default_rng(1))
    groups = np.repeat(np.arange(20), 20)
    shift = np.repeat(np.random.default_rng(2).normal(0, 0.7, 10), 20)
    network = FoldResult("network", "keras", 0, 0.0, prediction=target[200:] + shift)
    network.score = _R2.score(target[200:], network.prediction)
    ridge = result("ridge", "sklearn", 0.5)
    widths = []
    for given in (None, groups):
        board = compare([ridge, network], [split], _R2, target=target, groups=given).leaderboard.set_index("model")
        widths.append(board.loc["network", "high"] - board.loc["network", "low"])
    assert widths[1] > 1.5 * widths[0]


def test_a_holdout_without_predictions_has_no_interval():
    _, split, _ = _holdout(np.random.default_rng(0))
    results = [FoldResult("ridge", "sklearn", 0, 0.5), FoldResult("network", "keras", 0, 0.4)]
    comparison = compare(results, [split], _R2, target=np.zeros(400))
    assert comparison.outcome == "undecided"
    assert comparison.verdict.endswith("but there is no interval to judge the difference by.")


def test_misuse():
    with pytest.raises(ValueError, match="must be results and splits"):
        compare([], _SPLITS, _R2)
    with pytest.raises(ValueError, match="given twice for fold 0"):
        compare([_RIDGE[0], _RIDGE[0]], _SPLITS, _R2)
    with pytest.raises(ValueError, match="Fold 12 of model 'ridge' is not one of the 10 splits"):
        compare([FoldResult("ridge", "sklearn", 12, 0.1)], _SPLITS, _R2)


@pytest.mark.parametrize(
    ("results", "recommended", "why"),
    [
        ([*_DUMMY, *_RIDGE, *_network(0.6 + _NOISE)], "network", "the network is better than ridge, the best baseline"),
        ([*_DUMMY, *_RIDGE, *_network(0.4 + _NOISE)], "ridge", "the network is worse"),
        ([*_DUMMY, *_RIDGE, *_network(0.487 + 0.9 * _NOISE)], "ridge", "the network is practically the same, and this"),
        ([*_DUMMY, *_RIDGE, *_network(0.487 + _WOBBLE)], "ridge", "the simpler; whether the network is better is"),
        (_network(0.6 + _NOISE), "network", "no baseline was compared with it"),
        ([*_DUMMY, *_network(0.6 + _NOISE)], "network", "only guessing was compared with it"),
        ([*_DUMMY, *_RIDGE], "ridge", "the best baseline, and no network was compared"),
        ([*_DUMMY, *_model("ridge", -0.5 + _NOISE)], "dummy", "the best baseline, though nothing is clearly better"),
    ],
)
def test_the_model_to_use_is_the_one_that_the_verdict_keeps(results, recommended, why):
    result = compare(results, _SPLITS, _R2)
    assert result.recommended == recommended, result.outcome
    assert result.why.startswith(why)
    assert (result.to_dict()["recommended"], result.to_dict()["why"]) == (recommended, result.why)


_FLAT = _model("dummy", -0.001)


def test_an_ensemble_is_called_one():
    ensemble = _network(0.01 + 0.05 * _WOBBLE, "network (ensemble of 3 seeds)", num_members=3)
    result = compare([*_FLAT, *ensemble], _SPLITS, _R2)
    assert "the best is the ensemble of 3 seeds, and the ensemble of 3 seeds scores 0.010 against" in result.verdict


def test_the_network_not_its_ensemble_has_to_beat_guessing():
    learns, does_not = 0.3 + 0.4 * _WOBBLE, 0.02 + 0.4 * _WOBBLE
    weak = _model("ridge", -0.02 + _NOISE)
    noisy = _network(does_not, "network (ensemble of 3 seeds)", num_members=3)
    assert compare([*_FLAT, *weak, *noisy, *_network(learns)], _SPLITS, _R2).outcome == "better"
    steady = _network(learns, "network (ensemble of 3 seeds)", num_members=3)
    result = compare([*_FLAT, *weak, *steady, *_network(does_not)], _SPLITS, _R2)
    assert result.outcome == "guessing"
    assert "the network scores 0.020" in result.verdict


@pytest.mark.parametrize("p", [0.04, 0.06])
def test_guessing_and_the_verdict_have_one_threshold(p):
    """A lead whose one-sided p is 4 % is enough against the dummy and against a baseline, one of 6 % for neither."""
    error = _WOBBLE.std(ddof=1) * np.sqrt(1 / 10 + 1 / 4)
    lead = stats.t.isf(p, 9) * error - _WOBBLE.mean()
    against_guessing = compare([*_model("dummy", 0.0), *_model("ridge", -1.0), *_network(lead + _WOBBLE)], _SPLITS, _R2)
    against_ridge = compare([*_model("dummy", -9.0), *_model("ridge", 0.0), *_network(lead + _WOBBLE)], _SPLITS, _R2)
    outcomes = (against_guessing.outcome, against_ridge.outcome)
    assert outcomes == (("better", "better") if p < 0.05 else ("guessing", "undecided"))


def test_a_network_that_alone_learns_is_the_one_to_use_though_a_baseline_is_near():
    near = _model("ridge", 0.2 + 2 * _WOBBLE[::-1])
    result = compare([*_FLAT, *near, *_network(0.3 + 0.4 * _WOBBLE)], _SPLITS, _R2)
    assert result.outcome == "only the network learns"
    assert result.recommended == "network"
    assert result.why == "no baseline is clearly better than guessing"
    assert "it alone is clearly better than guessing, by 0.301" in result.verdict
    assert "is better than ridge, the best baseline (the network scores 0.300" in result.verdict


def test_worse_is_corrected_for_the_number_of_baselines():
    error = _WOBBLE.std(ddof=1) * np.sqrt(1 / 10 + 1 / 4)
    network = _network(0.5 + _WOBBLE - _WOBBLE.mean() - stats.t.isf(0.02, 9) * error)
    one, others = _model("ridge", 0.5), [_model(name, -9.0) for name in ("lasso", "svm", "knn")]
    assert compare([*one, *network], _SPLITS, _R2).outcome == "worse"
    assert compare([*one, *others[0], *network], _SPLITS, _R2).outcome == "worse"  # 2 x 0.02
    several = compare([*one, *(result for model in others for result in model), *network], _SPLITS, _R2)
    assert several.outcome == "undecided"  # 4 x 0.02
    assert several.leaderboard.set_index("model").loc["network", "p_corrected"] == pytest.approx(0.08)


def test_better_means_better_than_each_baseline_and_the_closest_is_named():
    scattered = _model("svm", 0.4 + 0.5 * _WOBBLE)
    leads = compare([*_FLAT, *_RIDGE, *scattered, *_network(0.6 + _NOISE)], _SPLITS, _R2)
    assert (leads.outcome, leads.best_baseline) == ("better", "ridge")
    assert leads.verdict.endswith("better than each of 3 baselines, p = 0.039 for svm.")
    wilder = _model("svm", 0.4 + _WOBBLE)
    assert compare([*_FLAT, *_RIDGE, *wilder, *_network(0.6 + _NOISE)], _SPLITS, _R2).outcome == "undecided"


def test_worse_than_a_steady_baseline_though_the_best_one_is_unsure():
    result = compare([*_RIDGE, *_model("svm", 0.5 + _WOBBLE), *_network(0.44 + _NOISE)], _SPLITS, _R2)
    assert (result.outcome, result.best_baseline) == ("worse", "svm")
    assert result.verdict.endswith("corrected for 2 baselines, most surely worse than ridge.")


@pytest.mark.parametrize(("sure", "outcome"), [(0.94, "undecided"), (0.96, "equivalent")])
def test_the_same_takes_as_much_as_better(sure, outcome):
    error = _WOBBLE.std(ddof=1) * np.sqrt(1 / 10 + 1 / 4)
    rope = stats.t.isf((1 - sure) / 2, 9) * error
    network = _network(0.5 + _WOBBLE - _WOBBLE.mean())
    assert compare([*_model("ridge", 0.5), *network], _SPLITS, _R2, rope=rope).outcome == outcome
