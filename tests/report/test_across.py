import json
import shutil

import pytest

from tfopt.report import load_run
from tfopt.report.across import differs, side_by_side


def copy_with(folder, name, config=None, environment=None, refits=()):
    other = folder.parent / name
    shutil.copytree(folder, other)
    for file, more in (("config.json", config), ("environment.json", environment)):
        held = json.loads((other / file).read_text())
        (other / file).write_text(json.dumps(held | (more or {})))
    values = {"learning_rate": 0.01, "units": 64}
    refit = {"kind": "refit", "fit_seconds": 0.1, "predict_seconds": 0.1, "predictions": "x.npy", "fits": []}
    with (other / "trials.jsonl").open("a") as file:
        for fold, scores in enumerate(refits):
            file.write(json.dumps({**refit, "fold": fold, "values": values, "scores": scores}) + "\n")
            default = {**refit, "fold": fold, "values": {"learning_rate": 9}, "scores": [-9.0]}
            file.write(json.dumps(default) + "\n")
    return load_run(other)


def test_networks_of_like_runs_are_compared_fold_by_fold(run_folder):
    first = copy_with(run_folder, "small", refits=[[0.1, 0.3], [0.4, 0.4]])
    second = copy_with(run_folder, "wide", refits=[[0.5], [0.5]], config={"max_trials": 99})
    headings, rows, notes = side_by_side([first, second])
    assert headings[-1] == "network less that of small"
    # Differences of 0.3 and 0.1: mean 0.2, and sd 0.1414 sqrt(1/2 + 1/1) = 0.1732 times t(0.975, 1) = 12.706.
    assert rows[0] == ["small", "r2", "0.472", "svm", "0.499", ""]
    assert rows[1] == ["wide", "r2", "0.472", "svm", "0.499", "+0.200 (-2.001 … +2.401)"]
    assert notes[1].startswith("wide: Keep the support vector machine")


@pytest.mark.parametrize(
    ("config", "environment", "why"),
    [
        ({"seed": 1, "folds": 5}, {}, "the folds differ (--folds, --seed)"),
        ({}, {"data": {"sha256": "other"}}, "the data differ"),
        ({"workers": 7, "tuner": "grid"}, {}, ""),
    ],
)
def test_what_differs_is_said(run_folder, config, environment, why):
    second = copy_with(run_folder, "second", config, environment)
    assert differs(load_run(run_folder), second) == why
    _, rows, notes = side_by_side([load_run(run_folder), second])
    assert rows[1][-1] == ("" if why else "–")  # no refits to compare
    assert any(why and why in note for note in notes) == bool(why)


def test_command_line_sets_runs_side_by_side(run_folder, capsys):
    from tfopt.cli import main

    copy_with(run_folder, "a|b")
    assert main(["report", str(run_folder), str(run_folder.parent / "a|b"), "--format", "md"]) == 0
    out = capsys.readouterr().out
    assert "| run | metric | network | best baseline | its score | network less that of diabetes__0 |\n|---|" in out
    assert "\n| a\\|b | r2 |" in out
