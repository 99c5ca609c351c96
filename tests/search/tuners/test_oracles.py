"""Where KerasTuner's oracles go wrong (1.4.8), and what ours do there."""

import math
from collections import Counter

import keras_tuner
import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from tfopt.search.tuners import (
    BayesianOptimizationOracle,
    GridSearchOracle,
    HyperbandOracle,
    RandomSearchOracle,
    bayesian,
)
from tfopt.search.tuners.gaussian_process import Coding, _squeezed, suggest

SCORE = keras_tuner.Objective("score", "max")
NAN = float("nan")
THEIRS = keras_tuner.oracles
OURS = {
    "random": lambda **kwargs: RandomSearchOracle(objective=SCORE, **kwargs),
    "grid": lambda **kwargs: GridSearchOracle(objective=SCORE, **kwargs),
    "bayesian": lambda **kwargs: BayesianOptimizationOracle(objective=SCORE, **kwargs),
    "hyperband": lambda max_trials=None, **kwargs: HyperbandOracle(objective=SCORE, max_epochs=9, **kwargs),
}


def choices(*sizes: int) -> keras_tuner.HyperParameters:
    hp = keras_tuner.HyperParameters()
    for index, size in enumerate(sizes):
        hp.Choice(f"c{index}", list(range(size)))
    return hp


def floats(count: int) -> keras_tuner.HyperParameters:
    hp = keras_tuner.HyperParameters()
    for index in range(count):
        hp.Float(f"x{index}", 0, 1)
    return hp


def distinct(tried: list[dict]) -> int:
    return len({tuple((n, v) for n, v in values.items() if not n.startswith("tuner/")) for values in tried})


def test_random_search_tries_a_finite_space_to_its_end(drive):
    theirs = drive(THEIRS.RandomSearchOracle(SCORE, max_trials=200, seed=1, hyperparameters=choices(3, 3, 3, 3)), len)
    assert distinct(theirs) < 81
    ours = drive(RandomSearchOracle(objective=SCORE, max_trials=200, seed=1, hyperparameters=choices(3, 3, 3, 3)), len)
    assert len(ours) == distinct(ours) == 81


def test_seed_0_is_a_seed(drive):
    assert len({THEIRS.RandomSearchOracle(SCORE, seed=0).seed for _ in range(20)}) > 1
    runs = [drive(RandomSearchOracle(objective=SCORE, seed=0, hyperparameters=floats(2)), len) for _ in range(2)]
    assert runs[0] == runs[1]
    assert runs[0] != drive(RandomSearchOracle(objective=SCORE, seed=1, hyperparameters=floats(2)), len)


@pytest.mark.slow
@pytest.mark.parametrize("kind", OURS)
def test_a_batch_of_another_size_proposes_the_same(kind, drive):
    score = lambda values: values["x0"] + values.get("tuner/epochs", 0)  # noqa: E731
    runs = [
        drive(OURS[kind](max_trials=14, seed=3, hyperparameters=floats(2)), score, batch=batch) for batch in (1, 5, 64)
    ]
    if kind == "hyperband":  # two brackets' rungs may be finished in another order
        runs = [sorted(run, key=str) for run in runs]
    assert runs[0] == runs[1] == runs[2]
    assert all(type(value) in (int, float, str) for values in runs[0] for value in values.values()), "plain numbers"


def test_failures_do_not_end_a_search_that_also_succeeds(drive):
    fails = lambda values: NAN if values["x0"] < 0.5 else 1.0  # noqa: E731
    with pytest.raises(RuntimeError, match="consecutive failures"):
        drive(THEIRS.RandomSearchOracle(SCORE, max_trials=30, seed=1, hyperparameters=floats(1)), fails)
    tried = drive(RandomSearchOracle(objective=SCORE, max_trials=30, seed=1, hyperparameters=floats(1)), fails)
    assert len(tried) == 30
    assert [values["x0"] < 0.5 for values in tried[:5]] == [False, True, True, True, True]


@pytest.mark.parametrize("batch", [1, 64])
def test_a_search_in_which_all_fails_ends_as_keras_tuners_does(drive, batch):
    for kwargs, limit in (({}, 3), ({"max_consecutive_failed_trials": 2}, 2)):
        for kind in (THEIRS.RandomSearchOracle, RandomSearchOracle):
            oracle = kind(objective=SCORE, max_trials=100, seed=1, hyperparameters=floats(1), **kwargs)
            with pytest.raises(RuntimeError, match=f"Number of consecutive failures exceeded the limit of {limit}"):
                drive(oracle, lambda values: NAN, batch if kind is RandomSearchOracle else 1)
            assert [trial.status for trial in oracle.trials.values()].count("FAILED") == limit
    few = RandomSearchOracle(objective=SCORE, max_trials=2, seed=1, hyperparameters=floats(1))
    assert len(drive(few, lambda values: NAN)) == 2


def test_of_trials_that_run_together_those_proposed_first_say_whether_all_fails(drive, tmp_path):
    """Whatever ends first in a batch: here the last three, which fail; the first will complete."""
    oracle = RandomSearchOracle(objective=SCORE, max_trials=9, seed=1, hyperparameters=floats(1))
    drive(oracle, lambda values: 1.0, limit=0)  # its folder
    trials = [oracle.create_trial(str(number)) for number in range(5)]
    for trial in trials[2:]:
        trial.status, trial.message = "FAILED", "diverged"
        oracle.end_trial(trial)
    oracle.update_trial(trials[0].trial_id, {"score": 1.0})
    for trial, status in zip(trials[:2], ("COMPLETED", "FAILED"), strict=True):
        trial.status = status
        oracle.end_trial(trial)
    assert oracle.create_trial("0").status == "RUNNING"


def test_a_failed_trial_is_never_among_the_best(drive):
    oracles = [
        THEIRS.RandomSearchOracle(
            SCORE, max_trials=2, seed=1, hyperparameters=floats(1), max_consecutive_failed_trials=9
        ),
        RandomSearchOracle(objective=SCORE, max_trials=2, seed=1, hyperparameters=floats(1)),
    ]
    for oracle in oracles:
        drive(oracle, lambda values: NAN)
    assert [trial.status for trial in oracles[0].get_best_trials(1)] == ["FAILED"]
    assert oracles[1].get_best_trials(1) == []


@pytest.mark.slow
def test_bayesian_search_leaves_a_region_where_training_diverges(drive):
    """The best place is beside the cliff: KerasTuner proposes one point beyond it until it gives up."""
    cliff = lambda values: NAN if values["x0"] > 0.5 else values["x0"]  # noqa: E731
    theirs = THEIRS.BayesianOptimizationOracle(SCORE, max_trials=25, seed=1, hyperparameters=floats(1))
    theirs.gpr.n_restarts_optimizer = 0  # its suggestions are no worse for it, and take a fifth of the time
    with threadpool_limits(1), pytest.raises(RuntimeError, match="consecutive failures"):
        drive(theirs, cliff)
    assert len(theirs.trials) < 25
    for seed in range(2):
        ours = BayesianOptimizationOracle(objective=SCORE, max_trials=25, seed=seed, hyperparameters=floats(1))
        tried = drive(ours, cliff, batch=4)
        assert len(tried) == distinct(tried) == 25
        assert max(v["x0"] for v in tried if v["x0"] <= 0.5) > 0.45
        assert sum(v["x0"] > 0.5 for v in tried[6:]) < 12


def test_each_trial_of_a_batch_knows_the_scores_before_the_batch_and_the_trials_before_it(drive, monkeypatch):
    seen = []

    def spied(coding, known, scores, pending, *rest):
        seen.append(([each["x0"] for each in known], [each["x0"] for each in pending]))
        return suggest(coding, known, scores, pending, *rest)

    monkeypatch.setattr(bayesian, "suggest", spied)
    options = {"max_trials": 12, "num_initial_points": 4, "batch_trials": 4, "seed": 1, "hyperparameters": floats(1)}
    x = [v["x0"] for v in drive(BayesianOptimizationOracle(objective=SCORE, **options), lambda v: v["x0"], batch=4)]
    assert seen == [(x[:start], x[start:end]) for start in (4, 8) for end in range(start, start + 4)]


@pytest.mark.slow
def test_bayesian_search_repeats_no_point(drive):
    def whole():
        hp = keras_tuner.HyperParameters()
        hp.Int("a", 0, 4)
        hp.Int("b", 0, 4)
        return hp

    hill = lambda values: -((values["a"] - 3) ** 2) - (values["b"] - 1) ** 2  # noqa: E731
    theirs = THEIRS.BayesianOptimizationOracle(SCORE, max_trials=14, seed=1, hyperparameters=whole())
    theirs.gpr.n_restarts_optimizer = 0
    with threadpool_limits(1):
        tried = drive(theirs, hill)
    assert distinct(tried) < len(tried)
    ours = drive(BayesianOptimizationOracle(objective=SCORE, max_trials=40, seed=1, hyperparameters=whole()), hill, 4)
    assert len(ours) == distinct(ours) == 25, "all of the space, once, and then it ends"
    assert {"a": 3, "b": 1} in ours[:16]


@pytest.mark.slow
@pytest.mark.long("8")
@pytest.mark.parametrize("batch", [1, 8])
def test_bayesian_search_finds_what_random_search_does_not(drive, batch):
    """Choices, conditional ranges and logarithms together; the same optimum, in batches as one by one."""

    def mixed():
        hp = keras_tuner.HyperParameters()
        hp.Choice("kind", ["adam", "sgd", "rmsprop"])
        hp.Float("rate", 1e-5, 1.0, sampling="log")
        hp.Boolean("norm")
        with hp.conditional_scope("kind", ["sgd"]):
            hp.Float("momentum", 0, 0.99)
        return hp

    def loss(values):
        return -(
            (math.log10(values["rate"]) + 2) ** 2
            + {"adam": 0.5, "sgd": 0.0, "rmsprop": 1.0}[values["kind"]]
            + 0.3 * values["norm"]
            + 2 * (values.get("momentum", 0.8) - 0.8) ** 2
        )

    best = {}
    for oracle in (BayesianOptimizationOracle, RandomSearchOracle):
        extra = {"batch_trials": batch} if oracle is BayesianOptimizationOracle else {}
        runs = [
            drive(oracle(objective=SCORE, max_trials=32, seed=seed, hyperparameters=mixed(), **extra), loss, batch)
            for seed in range(3)
        ]
        best[oracle] = np.mean([max(map(loss, run)) for run in runs])
    assert best[BayesianOptimizationOracle] > best[RandomSearchOracle]
    assert best[BayesianOptimizationOracle] > -0.1


def test_a_failure_counts_as_the_worst_loss():
    squeezed = _squeezed(np.array([1.0, NAN, 3.0, 2.0, 1.5]))
    assert squeezed[1] == squeezed[2] == squeezed.max()


def test_the_features_tell_apart_what_differs_and_nothing_else():
    hp = keras_tuner.HyperParameters()
    hp.Choice("kind", ["a", "b", "c"])
    hp.Float("rate", 1e-4, 1.0, sampling="log")
    hp.Fixed("fixed", 3)
    with hp.conditional_scope("kind", ["b"]):
        hp.Int("depth", 1, 4)
    coding = Coding(hp.space)
    rows = coding.features([{"kind": "a", "rate": 1e-4, "fixed": 3}, {"kind": "b", "rate": 1e-2, "depth": 4}])
    np.testing.assert_allclose(rows, [[1, 0, 0, 0, 0.5], [0, 1, 0, 0.5, 0.875]])
    for values in ({"kind": "c", "rate": 1e-3, "fixed": 3}, {"kind": "b", "rate": 0.5, "fixed": 3, "depth": 2}):
        again = coding.values(coding.point(values))
        assert again == pytest.approx(values)


def rungs(tried: list[dict]) -> dict[int, int]:
    epochs = [values["tuner/epochs"] for values in tried]
    return {epoch: epochs.count(epoch) for epoch in sorted(set(epochs))}


@pytest.mark.parametrize("size", [4, 8])
def test_hyperband_promotes_in_a_small_space(drive, size):
    score = lambda values: float(values["c0"])  # noqa: E731
    theirs = drive(THEIRS.HyperbandOracle(SCORE, max_epochs=27, factor=3, seed=1, hyperparameters=choices(size)), score)
    assert rungs(theirs) == {1: size}, "KerasTuner 1.4.8 trains each for one epoch, promotes none, and ends"
    ours = drive(
        HyperbandOracle(objective=SCORE, max_epochs=27, factor=3, seed=1, hyperparameters=choices(size)), score, 64
    )
    promoted = [values for values in ours if values["tuner/epochs"] == 27 and values["tuner/bracket"] == 3]
    assert [values["c0"] for values in promoted] == [size - 1], "the best one, trained to the end"
    rounds = Counter(values["tuner/round"] for values in ours if values["tuner/bracket"] == 3)
    assert rounds == {number: math.ceil(size / 3**number) for number in range(4)}, "a third of each rung goes on"


def test_hyperband_has_the_published_rungs_in_a_large_space_and_takes_the_best(drive):
    """R=27, η=3 in KerasTuner's sizes: what its own oracle runs with 200 configurations to choose from."""
    score = lambda values: values["x0"]  # noqa: E731
    theirs = drive(THEIRS.HyperbandOracle(SCORE, max_epochs=27, factor=3, seed=1, hyperparameters=floats(1)), score)
    ours = drive(
        HyperbandOracle(objective=SCORE, max_epochs=27, factor=3, seed=1, hyperparameters=floats(1)), score, 64
    )
    assert rungs(ours) == rungs(theirs)
    for bracket in (1, 2, 3):
        for number in range(bracket):
            here, above = (
                sorted(v["x0"] for v in ours if v["tuner/bracket"] == bracket and v["tuner/round"] == n)
                for n in (number, number + 1)
            )
            assert above == here[-len(above) :]


def test_hyperband_promotes_although_trials_fail(drive):
    fails = lambda values: NAN if values["x0"] < 0.4 else values["x0"]  # noqa: E731
    oracle = HyperbandOracle(objective=SCORE, max_epochs=9, factor=3, seed=1, hyperparameters=floats(1))
    assert 9 in {v["tuner/epochs"] for v in drive(oracle, fails, 64) if v["tuner/bracket"] == 2}


def test_hyperband_iterates(drive):
    oracle = HyperbandOracle(
        objective=SCORE, max_epochs=4, factor=2, hyperband_iterations=2, seed=1, hyperparameters=floats(1)
    )
    tried = drive(oracle, lambda values: values["x0"], 64)
    first = [values for values in tried if "tuner/iteration" not in values]
    assert rungs(first) == rungs([values for values in tried if values.get("tuner/iteration") == 1])


def test_grid_search_goes_on_with_what_a_build_declares_later(tmp_path, drive):
    oracle = GridSearchOracle(objective=SCORE, hyperparameters=choices(2))
    found = []

    def run():
        while (trial := oracle.create_trial("t")).status == "RUNNING":
            trial.hyperparameters.Boolean("late")
            found.append(dict(trial.hyperparameters.values))
            oracle.update_trial(trial.trial_id, {"score": 1.0})
            trial.status = "COMPLETED"
            oracle.end_trial(trial)

    drive(oracle, len, limit=0)
    run()
    assert sorted((v["c0"], v["late"]) for v in found) == [(0, False), (0, True), (1, False), (1, True)]


@pytest.mark.parametrize(
    ("oracle", "name", "value", "constraint"),
    [
        (RandomSearchOracle, "score_epoch", "mean", "one of"),
        (RandomSearchOracle, "max_trials", 0, ">= 1"),
        (RandomSearchOracle, "max_trials", float("inf"), "a whole number"),
        (GridSearchOracle, "max_trials", -1, ">= 1"),
        (GridSearchOracle, "max_trials", True, "a whole number"),
        (BayesianOptimizationOracle, "max_trials", 2.5, "a whole number"),
        (RandomSearchOracle, "max_retries_per_trial", -1, ">= 0"),
        (RandomSearchOracle, "max_consecutive_failed_trials", 0, ">= 1"),
        (RandomSearchOracle, "seed", "1", "a whole number"),
        (RandomSearchOracle, "seed", -1, ">= 0"),
        (GridSearchOracle, "grid_points", 1, ">= 2"),
        (BayesianOptimizationOracle, "batch_trials", 0, ">= 1"),
        (BayesianOptimizationOracle, "num_initial_points", 0, ">= 1"),
        (BayesianOptimizationOracle, "alpha", float("nan"), "finite"),
        (BayesianOptimizationOracle, "beta", -1, ">= 0"),
        (HyperbandOracle, "factor", 1, ">= 2"),
        (HyperbandOracle, "factor", 2.5, "a whole number"),
        (HyperbandOracle, "max_epochs", float("inf"), "a whole number"),
        (HyperbandOracle, "max_epochs", float("nan"), "a whole number"),
        (HyperbandOracle, "max_epochs", 0, ">= 1"),
        (HyperbandOracle, "hyperband_iterations", None, "a whole number"),
    ],
)
def test_bad_arguments_are_refused_at_once(oracle, name, value, constraint):
    owner = oracle.__name__.removesuffix("Oracle")
    with pytest.raises((TypeError, ValueError), match=f"`{name}` of {owner} must be .*{constraint}.*Received: {name}="):
        oracle(objective=SCORE, **{name: value})


def test_arguments_may_be_given_by_position_as_keras_tuners():
    assert RandomSearchOracle(SCORE, 7).max_trials == GridSearchOracle(SCORE, 7).max_trials == 7
    bayesian = BayesianOptimizationOracle(SCORE, 7, 3, 1e-3, 2.0)
    assert (bayesian.max_trials, bayesian.num_initial_points, bayesian.alpha, bayesian.beta) == (7, 3, 1e-3, 2.0)
    hyperband = HyperbandOracle(SCORE, 9, 2, 4)
    assert (hyperband.max_epochs, hyperband.factor, hyperband.hyperband_iterations) == (9, 2, 4)


def test_a_grid_repeats_no_run_whatever_was_declared_in_between(drive):
    """`a` is asked for in one branch only, `b` in the other: what a run never asks for cannot change it."""

    def asked(hp):
        hp.Choice("a", [0, 1, 2]) if hp.Boolean("branch") else hp.Choice("b", [3, 4, 5])

    for batch in (1, 4, 100):
        oracle = GridSearchOracle(objective=SCORE)
        drive(oracle, len, limit=0)
        runs = []
        while trials := [t for t in (oracle.create_trial(f"t{i}") for i in range(batch)) if t.status == "RUNNING"]:
            for trial in trials:
                asked(trial.hyperparameters)
                oracle.update_trial(trial.trial_id, {"score": 1.0})
                trial.status = "COMPLETED"
                oracle.end_trial(trial)
                runs.append(dict(trial.hyperparameters.values))
        without = [run for run in runs if not run["branch"]]
        assert sorted(run["b"] for run in without) == [3, 4, 5]
        assert {run["a"] for run in runs if run["branch"]} == {0, 1, 2}
        assert len(runs) == 3 + 3 * 3  # KerasTuner's count: `b` was known when the branch was entered


def test_a_grid_goes_on_where_a_running_trial_stood_for_others(drive):
    """`late` is declared while trials run, of which any might have shown it."""
    oracle = GridSearchOracle(objective=SCORE, hyperparameters=choices(2))
    drive(oracle, len, limit=0)

    def end(trial):
        trial.hyperparameters.Boolean("late")
        oracle.update_trial(trial.trial_id, {"score": 1.0})
        trial.status = "COMPLETED"
        oracle.end_trial(trial)

    first, second = oracle.create_trial("a"), oracle.create_trial("b")
    assert oracle.create_trial("c").status == "IDLE"
    end(first)
    third = oracle.create_trial("a")
    assert third.hyperparameters.values == {"c0": 0, "late": True}
    assert oracle.create_trial("c").status == "IDLE"
    end(second)
    assert oracle.create_trial("b").hyperparameters.values == {"c0": 1, "late": True}
    end(third)
    end(oracle.create_trial("b"))
    assert oracle.create_trial("a").status == "STOPPED"
    assert len(oracle.trials) == 4


def given(values: dict, score: float, hp: keras_tuner.HyperParameters) -> keras_tuner.engine.trial.Trial:
    trial = keras_tuner.engine.trial.Trial(hp.copy())
    trial.hyperparameters.values, trial.score, trial.status = values, score, "COMPLETED"
    return trial


@pytest.mark.parametrize("kind", OURS)
def test_trials_from_elsewhere_start_a_search(kind, drive, tmp_path):
    oracle = OURS[kind](max_trials=14, seed=1, hyperparameters=floats(1))
    trials = [given({"x0": i / 10}, -abs(i / 10 - 0.3), floats(1)) for i in range(10)]
    oracle.trials = {trial.trial_id: trial for trial in trials}
    assert oracle.get_best_trials()[0] is trials[3]
    tried = drive(oracle, lambda values: -abs(values["x0"] - 0.3), limit=4)
    assert len(tried) == 4
    assert not {values["x0"] for values in tried} & {i / 10 for i in range(10)}
    if kind == "bayesian":  # it learns from them at once
        assert all(0.15 < values["x0"] < 0.45 for values in tried)


def test_beta_weighs_exploration(drive):
    def first(beta):
        oracle = BayesianOptimizationOracle(SCORE, 20, beta=beta, seed=1, hyperparameters=floats(1))
        for i in range(9):
            trial = given({"x0": 0.2 + i / 100}, -abs(i / 100 - 0.04), floats(1))
            oracle.trials[trial.trial_id] = trial
        return drive(oracle, len, limit=1)[0]["x0"]

    assert abs(first(0.0) - 0.24) < 0.02, "the best mean is where the best trial was"
    assert abs(first(50.0) - 0.24) > 0.3, "the least known place is far away"


def test_a_folder_of_another_kind_is_refused(tmp_path, drive):
    kinds = [(OURS[kind], floats(1)) for kind in OURS] + [
        (lambda **kwargs: THEIRS.BayesianOptimizationOracle(SCORE, **kwargs), floats(1)),
        (lambda **kwargs: THEIRS.HyperbandOracle(SCORE, **kwargs), floats(1)),
    ]
    for index, (make, hp) in enumerate(kinds):
        oracle = make(hyperparameters=hp)
        oracle._set_project_dir(str(tmp_path), str(index))  # KerasTuner's own too
        oracle.save()
        for kind in OURS:
            again = OURS[kind](hyperparameters=hp)
            again.place(tmp_path / str(index))
            if kind == [*OURS, "bayesian", "hyperband"][index]:
                again.reload()
            else:
                with pytest.raises(RuntimeError, match=r"pass `overwrite=True`"):
                    again.reload()


def test_no_limit_of_failures_never_ends_a_search(drive):
    oracle = RandomSearchOracle(SCORE, 6, seed=1, hyperparameters=floats(1), max_consecutive_failed_trials=None)
    assert len(drive(oracle, lambda values: NAN)) == 6
