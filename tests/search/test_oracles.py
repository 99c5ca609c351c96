"""The oracles propose what KerasTuner's do, and survive what KerasTuner's do not."""

import keras_tuner
import numpy as np
import pytest

from tfopt.errors import UserError
from tfopt.search.oracles import check_grid, default_values, discover, fold_oracle, grid_size
from tfopt.search.problem import Problem
from tfopt.search.spaces import SPACES, Space

PROBLEM = Problem("regression", num_features=3, num_outputs=1, num_rows=90, epochs=4, table_rows=100)


def declared(hp, problem):
    kind = hp.Choice("optimizer", ["adam", "sgd"])
    hp.Float("dropout", 0.0, 0.5)
    with hp.conditional_scope("optimizer", ["sgd"]):
        if kind == "sgd":
            hp.Float("momentum", 0.0, 0.9, default=0.5)


@pytest.fixture
def hp() -> keras_tuner.HyperParameters:
    return discover(Space("test", declared), PROBLEM)


def run(oracle, score=lambda values: 0.0) -> list[dict]:
    tried = []
    while (trial := oracle.create_trial("one")).status == "RUNNING":
        tried.append(trial.hyperparameters.values)
        trial.status, trial.message = "COMPLETED", "no score"
        value = score(tried[-1])
        if value is None:
            trial.status = "FAILED"
        else:
            oracle.update_trial(trial.trial_id, {"score": value})
        oracle.end_trial(trial)
    oracle.save()
    return tried


def test_discovery_finds_conditional_hyperparameters_and_keeps_the_defaults(hp):
    assert [parameter.name for parameter in hp.space] == ["optimizer", "dropout", "momentum"]
    assert default_values(hp) == {"optimizer": "adam", "dropout": 0.0}


def test_discovery_keeps_what_a_raising_space_declared_before():
    def raises(hp, problem):
        hp.Choice("units", [1, 2])
        raise RuntimeError("broken")

    assert [parameter.name for parameter in discover(Space("test", raises), PROBLEM).space] == ["units"]


@pytest.mark.parametrize(
    "declare",
    [
        lambda hp, problem: hp.Float("learning_rate", -0.1, 0.1),
        lambda hp, problem: hp.Choice("learning_rate", [0.1, -1.0]),
        lambda hp, problem: hp.Float("sgd_learning_rate", -1.0, 0.0),
    ],
)
def test_a_negative_learning_rate_is_refused_before_any_training(declare):
    with pytest.raises(UserError, match=r"learning_rate' be -.* must not be negative"):
        discover(Space("test", declare), PROBLEM)


def test_folds_of_one_seed_get_the_same_random_trials_and_seed_0_is_a_seed(hp, tmp_path):
    first = run(fold_oracle("random", hp, 6, 4, 0, tmp_path / "a"))
    again = run(fold_oracle("random", hp, 6, 4, 0, tmp_path / "b"), score=lambda values: values["dropout"])
    other = run(fold_oracle("random", hp, 6, 4, 1, tmp_path / "c"))
    assert first == again
    assert first != other
    assert len(first) == 6


def test_scores_are_maximised_whatever_the_metric(hp, tmp_path):
    """KerasTuner 1.4.8 minimises a metric named `val_r2_score`; here the best trial is the one with the highest."""
    oracle = fold_oracle("bayesian", hp, 14, 4, 0, tmp_path / "a")
    tried = run(oracle, score=lambda values: -((values["dropout"] - 0.4) ** 2))
    assert np.mean([values["dropout"] for values in tried[8:]]) > np.mean([values["dropout"] for values in tried[:4]])
    assert abs(tried[-1]["dropout"] - 0.4) < 0.1
    assert all(type(value) in (str, float) for values in tried for value in values.values()), "plain Python values"


def test_a_search_in_which_every_trial_fails_still_ends(hp, tmp_path):
    """KerasTuner 1.4.8 raises after three failures in a row."""
    assert len(run(fold_oracle("random", hp, 8, 4, 0, tmp_path / "a"), score=lambda values: None)) == 8


def test_the_project_folder_can_be_read_by_keras_tuner(hp, tmp_path):
    run(fold_oracle("random", hp, 3, 4, 0, tmp_path / "project"), score=lambda values: values["dropout"])
    tuner = keras_tuner.RandomSearch(
        lambda hp: None,
        objective=keras_tuner.Objective("score", "max"),
        hyperparameters=hp,
        directory=str(tmp_path),
        project_name="project",
    )
    trials = tuner.oracle.get_best_trials(3)
    assert [trial.score for trial in trials] == sorted((trial.score for trial in trials), reverse=True)
    assert len(trials) == 3


def test_grid_covers_every_point_once(tmp_path):
    def small(hp, problem):
        hp.Choice("a", [1, 2, 3])
        hp.Boolean("b")

    space = discover(Space("test", small), PROBLEM)
    tried = run(fold_oracle("grid", space, None, 4, 0, tmp_path / "a"))
    assert sorted((values["a"], values["b"]) for values in tried) == [(a, b) for a in (1, 2, 3) for b in (False, True)]


def test_hyperband_trains_few_epochs_first_and_promotes_the_best(hp, tmp_path):
    tried = run(fold_oracle("hyperband", hp, None, 9, 0, tmp_path / "a"), score=lambda values: values["dropout"])
    epochs = [values["tuner/epochs"] for values in tried]
    assert min(epochs) < 9
    assert max(epochs) == 9
    first = [values["dropout"] for values in tried if values["tuner/bracket"] == 2 and values["tuner/round"] == 0]
    promoted = [values["dropout"] for values in tried if values["tuner/bracket"] == 2 and values["tuner/round"] == 1]
    assert promoted
    assert min(promoted) >= sorted(first)[-len(promoted)]


def test_a_grid_too_large_to_be_meant_is_refused_unless_trials_are_given():
    wide = discover(Space("wide", SPACES["wide"]), PROBLEM)
    assert grid_size(wide) > 1e6
    with pytest.raises(UserError, match=r"--max-trials .* --space small"):
        check_grid(wide, None)
    check_grid(wide, 10)
    check_grid(discover(Space("small", SPACES["small"]), PROBLEM), None)
