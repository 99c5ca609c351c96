"""The ensemble over trials: the greedy weights, what they may see, and the model that is left for use."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tfopt.errors import UserError
from tfopt.search.ensemble import Weighted, _climb, greedy_weights, merged
from tfopt.search.journal import Journal
from tfopt.search.nested import NetworkSearch
from tfopt.search.plan import prepare
from tfopt.search.progress import Progress
from tfopt.search.result import SearchResult
from tfopt.search.saved import TRIALS, TRIALS_FILE, choose_model, load_model, read_oof
from tfopt.search.session import run
from tfopt.search.user_space import load_space


def test_the_greedy_weights_are_those_of_the_averages_themselves():
    """Against the selection as Caruana et al. describe it, on predictions, without products of errors."""
    random = np.random.default_rng(0)
    target = random.normal(size=200)
    predictions = target + random.normal(size=(7, 200)) * random.uniform(0.3, 1, size=(7, 1)) + 0.2
    errors = predictions - target
    chosen, losses = [], []
    for _ in range(25):
        tried = [np.mean((predictions[[*chosen, model]].mean(axis=0) - target) ** 2) for model in range(7)]
        chosen.append(int(np.argmin(tried)))
        losses.append(min(tried))
    best = chosen[: int(np.argmin(losses)) + 1]
    expected = np.bincount(best, minlength=7) / len(best)
    np.testing.assert_allclose(_climb(errors @ errors.T), expected)
    bagged = greedy_weights(errors @ errors.T, seed=0, most=3)
    assert np.count_nonzero(bagged) == 3
    assert bagged.sum() == pytest.approx(1)
    assert np.mean((bagged @ errors) ** 2) < np.mean(errors**2, axis=1).min()


def test_equal_configurations_are_one_member_and_the_lightest_are_cut():
    parts = [Weighted({"units": units}, weight) for units, weight in ((1, 0.2), (2, 0.5), (1, 0.2), (3, 0.1))]
    assert merged(parts, 2) == [Weighted({"units": 2}, 0.5 / 0.9), Weighted({"units": 1}, 0.4 / 0.9)]


def records(folder, kind):
    lines = (json.loads(line) for line in (folder / "trials.jsonl").read_text(encoding="utf-8").splitlines())
    return [record for record in lines if record["kind"] == kind]


def ensembles(folder, config):
    plan = prepare(config)
    search = NetworkSearch(plan, load_space("small"))
    search.open(Journal(folder / "trials.jsonl"), folder, Progress())
    search.ensemble.choose()
    return [search.ensemble.members(fold) for fold in plan.outer]


@pytest.fixture(scope="module")
def searched(configure, tmp_path_factory):
    config = configure(tmp_path_factory.mktemp("ensemble") / "run", max_trials=3, epochs=12, baselines="dummy")
    return config, run(config)


def test_the_row_is_the_weighted_mean_of_refits_and_the_model_that_of_its_members(searched, table_path):
    config, outcome = searched
    folder = outcome.run_folder
    assert TRIALS in outcome.comparison.leaderboard["model"].tolist()
    oof, refits = read_oof(folder), records(folder, "refit")
    for fold, members in enumerate(ensembles(folder, config)):
        assert sum(member.weight for member in members) == pytest.approx(1)
        mean = 0.0
        for member in members:
            [refit] = [each for each in refits if (each["fold"], each["values"]) == (fold, member.values)]
            mean += member.weight * np.load(folder / refit["predictions"])[0]
        np.testing.assert_allclose(oof.predictions[TRIALS][oof.folds == fold], mean, rtol=1e-12)
    for trial in records(folder, "trial"):
        if trial["fold"] != "final":
            kept = np.load(folder / trial["predictions"])
            assert (kept.dtype, kept.shape) == (np.float32, (30, 1))
    frame = pd.read_csv(table_path)
    model = load_model(folder, "trials")
    shares = np.array(model.member_weights) / sum(model.member_weights)
    parts = [member.predict(frame, verbose=0) for member in model.members]
    np.testing.assert_allclose(model.predict(frame, verbose=0), np.average(parts, axis=0, weights=shares), rtol=1e-12)
    assert choose_model(folder, "ensemble of trials") == (TRIALS, "as asked")
    result = SearchResult(folder)
    np.testing.assert_array_equal(result.predict(frame, model="trials"), model.predict(frame, verbose=0)[:, 0])
    assert [each["weight"] for each in result.params("trials")["members"]] == list(model.member_weights)


def test_it_is_made_anew_by_a_resumption_and_left_out_when_asked(searched, quick):
    config, outcome = searched
    folder, board = outcome.run_folder, outcome.comparison.leaderboard
    (folder / TRIALS_FILE).unlink()
    with pytest.raises(UserError, match="has no such ensemble"):
        choose_model(folder, "trials")
    lost = records(folder, "trial")[1]
    (folder / lost["predictions"]).unlink()
    again = run(replace(config, resume=config.out)).comparison.leaderboard
    drop = ["tune_seconds", "fit_seconds", "predict_seconds"]
    pd.testing.assert_frame_equal(again.drop(columns=drop), board.drop(columns=drop))
    assert (folder / TRIALS_FILE).exists()
    without = run(quick(ensemble=0, max_trials=1, baselines="dummy"))
    assert TRIALS not in without.comparison.leaderboard["model"].tolist()
    assert not list((without.run_folder / "predictions").glob("trial*"))


def test_the_weights_see_no_row_that_judges_them(searched, quick, table_path, tmp_path):
    config, outcome = searched
    frame = pd.read_csv(table_path)
    test = prepare(config).outer[0].test
    frame.loc[test, "price"] = frame.loc[test, "price"].to_numpy()[::-1] * 7
    frame.loc[test, "size"] += 1000
    frame.to_csv(tmp_path / "other.csv", index=False)
    other = quick(data=str(tmp_path / "other.csv"), max_trials=3, epochs=12, baselines="dummy")
    run(other)
    assert ensembles(Path(other.out), other)[0] == ensembles(outcome.run_folder, config)[0]
