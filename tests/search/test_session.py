"""A whole search, small: what it leaves behind, how it goes on after a crash, and what it must never do."""

import filecmp
import json
import re
import shutil
import types
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import r2_score

from tfopt.data import load_table, read_rows, to_inputs
from tfopt.errors import UserError
from tfopt.search.journal import Journal
from tfopt.search.nested import NetworkSearch
from tfopt.search.oracles import default_values
from tfopt.search.plan import prepare
from tfopt.search.progress import Progress, TimeLimit
from tfopt.search.run_folder import locked
from tfopt.search.saved import choose_model, load_model, read_importance, read_oof
from tfopt.search.session import run
from tfopt.search.user_space import load_space


def lines(folder: Path, kind: str) -> list[dict]:
    records = [json.loads(line) for line in (folder / "trials.jsonl").read_text(encoding="utf-8").splitlines()]
    return [record for record in records if record["kind"] == kind]


def best_of(trials: list[dict], fold: int | str) -> dict:
    return max((trial for trial in trials if trial["fold"] == fold), key=lambda trial: trial["score"])


def scores(outcome) -> dict[str, float]:
    return dict(zip(outcome.comparison.leaderboard["model"], outcome.comparison.leaderboard["score"], strict=True))


@pytest.mark.slow
def test_a_search_leaves_a_complete_run_folder(whole):
    folder = whole.run_folder
    written = ("config.json", "environment.json", "trials.jsonl", "leaderboard.csv", "result.json", "best.keras")
    for name in (*written, "best.skops", "predictions.npz"):
        assert (folder / name).stat().st_size > 0, name
    assert not list(folder.glob("*partial*"))

    stored = json.loads((folder / "config.json").read_text())
    assert stored["seed"] == 0
    assert stored["epochs"] == 3
    assert stored["target"] == ["price"]
    assert stored["objective"] == "r2"

    result = json.loads((folder / "result.json").read_text())
    assert {row["model"] for row in result["leaderboard"]} >= {"network", "ridge", "dummy"}
    assert {row["kind"] for row in result["leaderboard"]} == {"keras", "sklearn"}
    assert all(row["low"] <= row["score"] <= row["high"] for row in result["leaderboard"])
    assert re.search("[Kk]eep (the simpler )?ridge", result["verdict"]), "the table is linear, and 3 epochs are few"
    assert pd.read_csv(folder / "leaderboard.csv")["model"].tolist() == [r["model"] for r in result["leaderboard"]]

    # Three configurations in each of two outer folds, and what they chose on all rows; two inner scores each.
    trials = lines(folder, "trial")
    assert len([trial for trial in trials if trial["fold"] != "final"]) == 3 * 2
    assert len({json.dumps(best_of(trials, fold)["values"]) for fold in (0, 1)}) == len(trials) - 3 * 2
    assert all(len(trial["inner_scores"]) == 2 for trial in trials)
    assert whole.num_completed == len(trials)
    fits = [
        fit
        for kind in ("trial", "refit", "final", "final ensemble")
        for line in lines(folder, kind)
        for fit in line["fits"]
    ]
    assert {(fit["engine"], fit["reason"]) for fit in fits} == {("population", "")}
    assert result["engines"] == f"{len(fits)} fits by engine: {len(fits)} population"


def test_best_keras_takes_raw_columns_and_is_a_choice_of_the_folds(whole, table_path):
    folder = whole.run_folder
    model = keras.models.load_model(folder / "best.keras")
    table = load_table(str(table_path))
    predicted = model.predict(to_inputs(table.features, table.columns), verbose=0)
    assert predicted.shape == (60, 1)
    rows = read_rows(table_path, model.columns, target_names=model.target_names)
    np.testing.assert_array_equal(model.predict(to_inputs(rows, model.columns), verbose=0), predicted)
    assert abs(predicted.mean() - table.target.mean()) < 3 * table.target.std(), "in the target's own units"

    trials = lines(folder, "trial")
    chosen = lines(folder, "final")[0]["values"]
    assert chosen == best_of(trials, "final")["values"]
    assert chosen in [best_of(trials, fold)["values"] for fold in (0, 1)]


def test_what_a_search_leaves_for_use_is_read_back(whole, table_path):
    folder, result = whole.run_folder, whole.result
    assert choose_model(folder) == ("ridge", result["why"])
    table, oof = load_table(str(table_path)), read_oof(folder)
    assert sorted(oof.rows) == list(range(60))
    np.testing.assert_array_equal(oof.target, table.target[oof.rows])
    for row in result["leaderboard"]:
        if row["model"] == "network":  # whose score is the mean of its seeds'
            of_seeds = [
                line["scores"] for line in lines(folder, "refit") if line["fold"] in (0, 1) and len(line["scores"]) > 1
            ]
            assert row["score"] == pytest.approx(np.mean(of_seeds), abs=1e-12)
        else:
            parts = [
                (oof.target[oof.folds == fold], oof.predictions[row["model"]][oof.folds == fold]) for fold in (0, 1)
            ]
            assert np.mean([r2_score(*part) for part in parts]) == pytest.approx(row["score"], abs=1e-12)
    ridge = load_model(folder)
    assert ridge.parameters == result["chosen"]["ridge"]
    assert r2_score(table.target, ridge.predict(pd.read_csv(table_path))) > 0.99
    frame, network = pd.read_csv(table_path), load_model(folder, "network")
    ensemble = load_model(folder, "ensemble")
    first, second = ensemble.network.networks
    for weight, other in zip(first.get_weights(), network.network.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, other)
    assert not np.allclose(first.get_weights()[0], second.get_weights()[0])
    ensemble.network.networks = [second]
    other = ensemble.predict(frame, verbose=0)
    mean = (network.predict(frame, verbose=0) + other) / 2
    np.testing.assert_allclose(load_model(folder, "ensemble").predict(frame, verbose=0), mean, rtol=1e-6)
    assert filecmp.cmp(folder / "best.skops", folder / "models" / "ridge.skops", shallow=False)
    importance = read_importance(folder)
    assert importance["models"] == {"network": "network", "baseline": "ridge"}
    assert {row["column"] for row in importance["columns"]} == {"size", "age", "city"}
    assert importance["columns"][0]["column"] == "size"
    assert importance["columns"][0]["baseline"]["mean"] > 1
    effects = {row["column"]: row for row in importance["effects"]}
    np.testing.assert_allclose(
        np.diff(np.ravel(effects["size"]["baseline"])) / np.diff(effects["size"]["values"]), 3, rtol=0.1
    )
    assert effects["city"]["values"] == ["Bonn", "Köln", "Trier"]
    with pytest.raises(UserError, match=r"Did you mean 'ridge'\? It has network, dummy, ridge, and baseline"):
        choose_model(folder, "rigde")


def test_a_configuration_scores_the_same_alone_and_in_company(whole, quick):
    alone = run(quick(max_trials=1, baselines="none"))
    mine = {(t["fold"], t["trial_id"]): t["inner_scores"] for t in lines(whole.run_folder, "trial")}
    for trial in lines(alone.run_folder, "trial"):
        if trial["fold"] == "final":
            continue
        assert mine[trial["fold"], trial["trial_id"]] == trial["inner_scores"]


@pytest.mark.parametrize("tuner", ["grid", "bayesian"])  # Hyperband: below
def test_every_tuner_searches_and_resumes(quick, rates, tuner):
    config = quick(space=rates, tuner=tuner, baselines="none", max_trials=4, holdout=0.3, seeds=1, ensemble=0)
    whole = run(config)
    journal = whole.run_folder / "trials.jsonl"
    text = journal.read_text().splitlines(keepends=True)
    cut = len([line for line in text if '"trial"' in line]) // 2
    journal.write_text("".join(text[:cut]) + text[cut][:20])
    for name in ("leaderboard.csv", "result.json", "best.keras"):
        (whole.run_folder / name).unlink()
    resumed = run(replace(config, resume=config.out))
    assert scores(resumed) == scores(whole)
    once = sorted(
        (t["fold"], t["trial_id"]) for t in map(json.loads, text) if t["kind"] == "trial" and t["fold"] != "final"
    )
    assert (
        sorted((t["fold"], t["trial_id"]) for t in lines(resumed.run_folder, "trial") if t["fold"] != "final") == once
    )
    assert (whole.run_folder / "best.keras").exists()


def test_hyperbands_rungs_go_on_after_a_resumption_too(quick, rates, tmp_path):
    """A promoted trial goes on from its state; where that is gone, training it from the start comes to the same."""
    small = {"baselines": "none", "max_trials": None, "holdout": 0.3, "seeds": 1, "ensemble": 0}
    config = quick(space=rates, tuner="hyperband", epochs=4, **small)

    def promoted(folder: Path) -> dict:
        trials = [t for t in lines(folder, "trial") if t["values"].get("tuner/epochs") == 4]
        return {(t["fold"], t["trial_id"]): t for t in trials if _is_promoted(t)}

    folder = run(config).run_folder
    whole = promoted(folder)
    assert whole
    assert all(t["epochs"] == [4, 4] and len(t["curve"]["loss"]) < 4 for t in whole.values())
    scored = {(t["fold"], t["trial_id"]): t["inner_scores"] for t in lines(folder, "trial")}

    class Interrupted(Progress):
        def advance(self, phase, text="", amount=1):
            if promoted(Path(cut.out)):
                raise KeyboardInterrupt

    cut = replace(config, out=str(tmp_path / "cut"))
    with pytest.raises(KeyboardInterrupt):
        run(cut, Interrupted())
    assert len(promoted(Path(cut.out))) == 1
    shutil.copytree(cut.out, tmp_path / "stateless")
    states = list((tmp_path / "stateless").glob("tuner/fold-*/trial_*/state_last_*.npz"))
    assert states
    for path in states:
        path.unlink()
    resumed = run(replace(cut, resume=cut.out)).run_folder
    assert {(t["fold"], t["trial_id"]): t["inner_scores"] for t in lines(resumed, "trial")} == scored
    assert set(promoted(resumed)) == set(whole)
    stateless = run(replace(cut, out=str(tmp_path / "stateless"), resume=str(tmp_path / "stateless"))).run_folder
    assert len(promoted(stateless)) < len(whole)
    for trial in lines(stateless, "trial"):
        assert trial["inner_scores"] == pytest.approx(scored[trial["fold"], trial["trial_id"]], abs=1e-4)


def test_of_hyperbands_trials_the_longest_are_chosen_from():
    def trial(epochs, score, status="COMPLETED"):
        return {"values": {"tuner/epochs": epochs}, "score": score, "status": status}

    trials = [trial(2, 0.9), trial(4, 0.5), trial(4, 0.6), trial(8, 0.7, "FAILED")]
    search = SimpleNamespace(trials=lambda key: trials)
    assert NetworkSearch.to_choose_from(search, SimpleNamespace(key=0)) == trials[1:3]


def _is_promoted(record: dict) -> bool:
    return record["kind"] == "trial" and any("first_epoch" in fit for fit in record["fits"])


def write_space(tmp_path: Path, body: str) -> str:
    path = tmp_path / "space.py"
    path.write_text(
        "import keras\n"
        "def build(hp):\n"
        "    units = hp.Choice('units', [2, 3, 4, 5])\n"
        f"    {body}\n"
        "    model = keras.Sequential([keras.layers.Dense(units), keras.layers.Dense(1)])\n"
        "    model.compile('adam', 'mse')\n"
        "    return model\n"
    )
    return f"{path}:build"


@pytest.mark.long
def test_a_space_that_raises_now_and_then_is_searched_all_the_same(quick, tmp_path):
    space = write_space(tmp_path, "if units == 3: raise ValueError('three is odd')")
    outcome = run(quick(space=space, tuner="grid", max_trials=None, baselines="dummy"))
    assert outcome.num_failed == 2, "once in each of two folds"
    assert outcome.first_failure == "ValueError: three is odd"
    assert outcome.num_completed > 0
    assert "network" in scores(outcome)


@pytest.mark.long("1")
@pytest.mark.parametrize("workers", [1, 2])
def test_where_every_fit_fails_nothing_is_left_to_train(quick, tmp_path, workers):
    path = tmp_path / "space.py"
    path.write_text(
        "import keras\n"
        "def build(hp):\n"
        "    model = keras.Sequential([keras.layers.Dense(hp.Int('units', 2, 40)), keras.layers.Dense(1)])\n"
        "    model.compile(keras.optimizers.SGD(1e12), 'mse')\n"
        "    return model\n"
    )
    progress = Notes()
    config = quick(space=f"{path}:build", max_trials=9, epochs=30, baselines="dummy", workers=workers)
    outcome = run(config, progress)
    assert outcome.num_completed == 0
    assert 3 * 2 <= outcome.num_failed < 9 * 2
    assert "The first 3 configurations failed in every fold, so no further one is tried." in progress.notes
    assert list(scores(outcome)) == ["dummy"]


def test_a_search_in_which_all_fails_ends_after_three_configurations_and_leaves_the_baselines(quick, tmp_path):
    progress = Notes()
    space = write_space(tmp_path, "raise ValueError('never')")
    outcome = run(quick(space=space, tuner="grid", max_trials=None, baselines="dummy"), progress)
    assert (outcome.num_completed, outcome.num_failed) == (0, 3 * 2)
    assert "The first 3 configurations failed in every fold, so no further one is tried." in progress.notes
    assert outcome.first_failure == "ValueError: never"
    assert list(scores(outcome)) == ["dummy"]
    assert not (outcome.run_folder / "best.keras").exists()


@pytest.mark.long
def test_divergence_is_a_failed_trial(quick, tmp_path):
    path = tmp_path / "space.py"
    path.write_text(
        "import keras\n"
        "def build(hp):\n"
        "    rate = hp.Choice('learning_rate', [0.01, 1e12])\n"
        "    model = keras.Sequential([keras.layers.Dense(8), keras.layers.Dense(1)])\n"
        "    model.compile(keras.optimizers.SGD(rate), 'mse')\n"
        "    return model\n"
    )
    outcome = run(quick(space=f"{path}:build", tuner="grid", max_trials=None, epochs=30, baselines="dummy"))
    assert outcome.num_failed > 0
    assert outcome.first_failure.startswith("The loss became")
    assert np.isfinite(scores(outcome)["network"])


def test_the_time_limit_starts_no_further_trial_and_of_the_baselines_the_dummy(quick, rates):
    progress = Notes()
    outcome = run(quick(space=rates, time_limit=0.001, max_trials=3), progress)
    assert {t["trial_id"] for t in lines(outcome.run_folder, "trial") if t["fold"] != "final"} == {"default"}
    assert set(scores(outcome)) >= {"network", "dummy"}
    assert "ridge" not in scores(outcome)
    assert "The time limit of 0.001 s leaves out ridge." in progress.notes
    assert "The time limit of 0.001 s is reached: no further trial starts." in progress.notes


def test_a_time_limit_leaves_the_time_for_refits(quick, rates, monkeypatch):
    """On a clock by which each line of the journal takes a second, whatever it stands for; the date goes back."""
    clock = types.SimpleNamespace(now=0.0, monotonic=lambda: clock.now, time=lambda: -clock.now)
    append = Journal.append

    def takes_a_second(self, record):
        clock.now += 1.0
        return append(self, record)

    monkeypatch.setattr(Journal, "append", takes_a_second)
    trained = TimeLimit.trained
    monkeypatch.setattr(TimeLimit, "trained", lambda self, steps, seconds: trained(self, steps, 1.0))
    for module in ("search.progress", "search.loop", "search.parallel", "training.fits"):
        monkeypatch.setattr(f"tfopt.{module}.time", clock)
    config = quick(space=rates, time_limit=40, max_trials=60, baselines="none", workers=1)
    progress = Notes()
    outcome = run(config, progress, replace(prepare(config), started=0.0))
    assert "The time limit of 40 s is reached: no further trial starts." in progress.notes
    assert not any("is near" in note for note in progress.notes)
    folder = outcome.run_folder
    assert 30 < clock.now <= 40
    assert [len(refit["scores"]) for refit in lines(folder, "refit")].count(2) == 2, "both seeds in both folds"
    assert (folder / "best.keras").exists()


def test_a_hold_out_gives_bootstrap_intervals(quick, rates):
    outcome = run(quick(space=rates, holdout=0.3, max_trials=1))
    board = outcome.comparison.leaderboard.set_index("model")
    assert board.loc["ridge", "low"] < board.loc["ridge", "score"] <= board.loc["ridge", "high"]
    assert board.loc["network", "low"] < board.loc["network", "score"] < board.loc["network", "high"]


def test_classes_and_several_targets(quick):
    iris = run(quick(data="iris", baselines="dummy,knn", max_trials=1, seeds=1, ensemble=0, holdout=0.3))
    assert scores(iris)["knn"] > 0.9
    model = keras.models.load_model(iris.run_folder / "best.keras")
    assert model.classes == ("setosa", "versicolor", "virginica")
    several = {"target": ("Weight", "Waist", "Pulse"), "max_trials": 1, "seeds": 1, "baselines": "none"}
    linnerud = run(quick(data="linnerud", **several, overwrite=True))
    assert keras.models.load_model(linnerud.run_folder / "best.keras").target_names == ("Weight", "Waist", "Pulse")


def test_patience_shortens_trials_and_refits(quick):
    outcome = run(quick(epochs=40, patience=1, max_trials=2, baselines="none", seeds=1))
    assert any(epochs < 40 for trial in lines(outcome.run_folder, "trial") for epochs in trial["epochs"])
    lengths = {len(record["curve"]["loss"]) for record in lines(outcome.run_folder, "final")}
    assert all(length < 40 for length in lengths)


class Notes(Progress):
    """Keeps what a search says."""

    def __init__(self):
        self.notes: list[str] = []
        self.texts: list[str] = []

    def note(self, text):
        self.notes.append(text)

    def advance(self, phase, text="", amount=1):
        self.texts.append(text)


def test_a_default_configuration_that_raises_leaves_its_score_out(quick, tmp_path):
    space = write_space(tmp_path, "if units == 2: raise ValueError('two is too few\\nin two lines')")
    progress = Notes()
    outcome = run(quick(space=space, tuner="grid", max_trials=None, baselines="dummy"), progress)
    board = outcome.comparison.leaderboard.set_index("model")
    assert np.isfinite(board.loc["network", "score"])
    assert np.isnan(board.loc["network", "default_score"])
    assert (outcome.run_folder / "best.keras").exists()
    assert "trial default failed: ValueError: two is too few … in two lines" in progress.texts
    assert not any("\n" in text for text in progress.texts)


def space_that_raises_for(num_rows: int, folder: Path) -> str:
    """Return a space of batches of 8: 15 rows of an inner fold are 16 there, 30 of an outer one 32, all 60 are 64."""
    path = folder / "space.py"
    path.write_text(
        "import keras\n"
        "def build(hp, problem):\n"
        "    hp.Fixed('batch_size', 8)\n"
        f"    if problem.num_rows == {num_rows}: raise ValueError('no room')\n"
        "    model = keras.Sequential([keras.layers.Dense(hp.Choice('units', [2, 3])), keras.layers.Dense(1)])\n"
        "    model.compile('adam', 'mse')\n"
        "    return model\n"
    )
    return f"{path}:build"


def test_a_refit_that_raises_is_a_network_without_a_score(quick, tmp_path):
    progress = Notes()
    outcome = run(quick(space=space_that_raises_for(32, tmp_path), max_trials=1), progress)
    board = outcome.comparison.leaderboard.set_index("model")
    assert board.loc["network", "failed_folds"] == 2
    assert np.isfinite(board.loc["ridge", "score"])
    assert "A refit of the network in fold 1 failed: ValueError: no room" in progress.notes
    again = run(quick(space=f"{tmp_path / 'space.py'}:build", max_trials=1, resume=str(outcome.run_folder)))
    assert again.result["verdict"] == outcome.result["verdict"]


def test_a_network_that_cannot_be_trained_on_all_rows_is_not_exported(quick, tmp_path):
    progress = Notes()
    outcome = run(quick(space=space_that_raises_for(64, tmp_path), max_trials=1), progress)
    assert "The network could not be trained on all rows: ValueError: no room" in progress.notes
    assert np.isfinite(scores(outcome)["network"])
    assert not (outcome.run_folder / "best.keras").exists()
    assert outcome.result["best_network"] is None
    assert outcome.result["final_failure"] == "ValueError: no room"


def test_a_run_folder_has_one_writer(whole, configure, tmp_path):
    folder = shutil.copytree(whole.run_folder, tmp_path / "run")
    config = configure(folder)
    journal = (folder / "trials.jsonl").read_bytes()
    with locked(folder):
        for other in (replace(config, resume=config.out), replace(config, overwrite=True)):
            with pytest.raises(UserError, match="another search is writing to"):
                run(other)
    assert (folder / "trials.jsonl").read_bytes() == journal
    run(replace(config, resume=config.out))


def test_a_run_of_other_data_or_another_space_is_not_resumed(quick, tmp_path, table_path):
    config = quick(space=write_space(tmp_path, "pass"), max_trials=1, baselines="dummy")
    run(config)
    other = tmp_path / "other.csv"
    other.write_text(table_path.read_text() + "1,2,Bonn,3\n")
    with pytest.raises(UserError, match=r"was made from other data .*houses\.csv"):
        run(replace(config, data=str(other), resume=config.out))
    write_space(tmp_path, "units = units + 1")
    with pytest.raises(UserError, match=r"space\.py has changed since .* was begun"):
        run(replace(config, resume=config.out))


def test_patience_decides_how_long_hyperbands_choice_is_refitted(quick, tmp_path):
    config = quick(tuner="hyperband", epochs=30, patience=1)
    search = NetworkSearch(prepare(config), load_space("small"))
    journal = Journal(tmp_path / "trials.jsonl")
    search.open(journal, tmp_path, Progress())
    values = {**default_values(search.hyperparameters), "tuner/epochs": 10}
    trial = {"kind": "trial", "fold": "final", "trial_id": "0", "values": values, "status": "COMPLETED", "score": 1.0}
    journal.append({**trial, "epochs": [4, 6]})
    assert search.choose_final() == values
    _, curve, _ = search.train_final(values)
    assert len(curve["loss"]) == 5, "the median of the inner trainings, not Hyperband's 10"
