"""Known good configurations are read by the space's own hyperparameters, tried first, and kept by the run."""

import json
from dataclasses import replace

import pytest

import tfopt
from tfopt.errors import UserError
from tfopt.search.config import SearchConfig
from tfopt.search.oracles import discover, fold_oracle, known_values
from tfopt.search.problem import Problem
from tfopt.search.spaces import Space
from tfopt.search.tries import as_text, best_of, parsed

PROBLEM = Problem("regression", num_features=3, num_outputs=1, num_rows=90, epochs=4, table_rows=100)
CONFIG = SearchConfig(data="wine", space="mine.py:build", max_trials=6)


def declare(hp, problem):
    hp.Int("units", 16, 128, step=16)
    hp.Float("dropout", 0.0, 0.5)
    hp.Boolean("batch norm")
    kind = hp.Choice("optimizer", ["adam", "sgd"])
    with hp.conditional_scope("optimizer", ["sgd"]):
        if kind == "sgd":
            hp.Choice("momentum", [0.5, 0.9])


@pytest.fixture(scope="module")
def hp():
    return discover(Space("mine", declare), PROBLEM)


def known(hp, *tries, liked=(), **changes):
    return known_values(hp, replace(CONFIG, tries=tries, **changes), liked)


def test_texts_have_the_type_of_their_hyperparameter_and_the_rest_its_default(hp):
    tried, said = known(hp, "units=64 dropout=2e-1 'batch norm=true'", "optimizer=sgd momentum=.9")
    assert [repr(values) for values in tried] == [
        "{'units': 64, 'dropout': 0.2, 'batch norm': True, 'optimizer': 'adam'}",
        "{'units': 16, 'dropout': 0.0, 'batch norm': False, 'optimizer': 'sgd', 'momentum': 0.9}",
    ]
    assert said == []
    assert known(hp, *map(as_text, tried))[0] == tried, "as config.json keeps them"
    assert known(hp, "units=16", "units=32", "units=32.0")[0] == known(hp, "units=32")[0], "each once, no default"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("unit=64", "mine.py:build has no hyperparameter 'unit'. Did you mean 'units'"),
        ("units=640", "'units' must be between 16 and 128. Received: 640."),
        ("units=64.5", "'units' must be a whole number. Received: 64.5."),
        ("dropout=nan", "'dropout' must be a number. Received: nan."),
        ("dropout=much", "'dropout' must be a number. Received: much."),
        ("optimizer=adm", "'optimizer' must be one of adam, sgd. Received: adm. Did you mean 'adam'"),
        ("'batch norm=2'", "'batch norm' must be one of False, True. Received: 2."),
        ("momentum=0.9", "'momentum' is not used with optimizer=adam"),
        ("units", "takes NAME=VALUE, with spaces between: 'units=64 dropout=0.2'. Received: 'units'"),
        ("units=64 units=32", "names 'units' twice"),
        ("units='64", "cannot be read: No closing quotation"),
        ("", "names no hyperparameter"),
    ],
    ids=str,
)
def test_what_the_space_does_not_hold_is_said(hp, text, told):
    with pytest.raises(UserError) as raised:
        known(hp, text)
    assert told in str(raised.value)


def test_more_than_there_are_trials_is_refused(hp):
    with pytest.raises(UserError, match=r"--max-trials 2 leaves room for 1 beside the default, and 2 .* Give .* 3 or"):
        known(hp, "units=32", "units=48", max_trials=2)


def test_of_an_earlier_runs_what_does_not_fit_is_named_and_left_at_its_default(hp):
    [values], said = known(hp, liked=("units=64 dropout=0.9 depth=3",))
    assert values == {"units": 64, "dropout": 0.0, "batch norm": False, "optimizer": "adam"}
    assert said[1] == "what mine.py:build does not have is at its default there: depth, dropout=0.9"


@pytest.mark.parametrize("tuner", ["random", "grid", "bayesian"])
def test_oracles_propose_them_first_and_never_again(hp, tuner, tmp_path):
    tried, _ = known(hp, "units=64", "optimizer=sgd")
    oracle = fold_oracle(tuner, hp, 6, 4, 0, tmp_path, tried)
    proposed = []
    while (trial := oracle.create_trial("one")).status == "RUNNING":
        proposed.append(trial.hyperparameters.values)
        trial.status = "COMPLETED"
        oracle.update_trial(trial.trial_id, {"score": 0.0})
        oracle.end_trial(trial)
    assert proposed[:2] == tried
    assert len(proposed) == 6
    assert not any(values in tried for values in proposed[2:])


def test_the_best_of_a_run_are_those_above_their_folds_median(tmp_path):
    (tmp_path / "config.json").write_text("{}")

    def trial(fold, units, score, status="COMPLETED"):
        return {
            "kind": "trial", "fold": fold, "trial_id": "0", "values": {"units": units, "tuner/bracket": 1},
            "status": status, "score": score, "inner_scores": [], "epochs": [1], "seconds": 1.0, "message": None,
            "curve": {}, "fits": [],
        }  # fmt: skip

    # 48 has the highest score of all, in an easy fold; 32 is the best in both.
    records = [trial(0, 16, 0.1), trial(0, 32, 0.3), trial(0, 64, 0.2)]
    records += [trial(1, 48, 0.9), trial(1, 32, 0.95), trial(1, 64, 0.91), trial(1, 80, None, "FAILED")]
    (tmp_path / "trials.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    assert best_of(str(tmp_path), 2) == ("units=32", "units=64")
    assert parsed(best_of(str(tmp_path), 9)[-1]) == {"units": "16"}


@pytest.mark.slow
def test_a_search_tries_them_first_in_every_fold_and_the_next_one_like_it(table_path, tmp_path):
    """The run's own files say so: config.json and the journal."""
    settings = {
        "space": "small", "epochs": 2, "folds": 2, "inner_folds": 2, "seeds": 1, "ensemble": 0, "workers": 1,
        "baselines": "none", "progress": False,
    }  # fmt: skip
    tfopt.search.run(table_path, max_trials=2, tries=[{"learning_rate": 0.01}], out=tmp_path / "a", **settings)

    def tried(run, name):
        lines = map(json.loads, (tmp_path / run / "trials.jsonl").read_text().splitlines())
        trials = [r for r in lines if r["kind"] == "trial" and r["trial_id"] == name]
        return {r["fold"]: r["values"] for r in trials}

    assert {fold: values["learning_rate"] for fold, values in tried("a", "0").items()} == {0: 0.01, 1: 0.01}
    like = {"like": tmp_path / "a", "tuner": "hyperband", "max_trials": 4, "out": tmp_path / "b"}
    result = tfopt.search.run(table_path, **like, **settings)
    assert tried("b", "known-0") == tried("a", "0"), "trained to the end, beside the brackets"
    assert any("2 in all" in note for note in result.notes), "the default is one of them"
    assert result.config["like"] == str(tmp_path / "a")
