import json

import pytest


def test_dry_run_says_what_would_be_done_and_writes_nothing(tfopt, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["search", "iris", "--max-trials", 6, "--folds", 4, "--seeds", 2, "--baselines", "dummy,ridge_classifier"]
    code, out, _ = tfopt(*words, "--dry-run", "--format", "json")
    plan = json.loads(out)
    assert code == 0
    assert (plan["rows"], plan["task"], plan["objective"]) == (150, "classification", "accuracy")
    assert plan["classes"] == ["setosa", "versicolor", "virginica"]
    assert [column["kind"] for column in plan["columns"]] == ["numeric"] * 4
    assert (plan["outer_folds"], plan["inner_folds"], plan["trials_per_fold"]) == (4, 3, 6)
    # Trials on inner folds; for each outer fold 2 seeds, the default, an ensemble of up to 6, and its choice on all
    # rows; then the best of these and an ensemble on all rows.
    assert plan["network_fits"] == 6 * 3 * 4 + 4 * (2 + 1 + 6 + 3) + 1 + 6
    assert plan["baselines"] == ["dummy", "ridge_classifier"]
    assert "learning_rate" in plan["hyperparameters"]
    code, out, _ = tfopt(*words, "--dry-run")
    assert code == 0
    assert "iris: 150 rows, 4 columns (4 numeric)" in out
    assert "up to 127 of the network" in out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_dry_run_with_a_tuner_that_chooses_its_own_number(tfopt):
    words = ["search", "iris", "--baselines", "none", "--dry-run"]
    plan = json.loads(tfopt(*words, "--tuner", "hyperband", "--format", "json")[1])
    assert plan["trials_per_fold"] is plan["network_fits"] is None
    out = tfopt(*words, "--tuner", "hyperband")[1]
    assert "as many as Hyperband's brackets hold" in out
    grid = json.loads(tfopt(*words, "--tuner", "grid", "--space", "small", "--format", "json")[1])
    assert grid["trials_per_fold"] == grid["grid_points"] == 72


def test_bad_space_file_is_one_line(tfopt, tmp_path):
    (tmp_path / "mine.py").write_text("def build(hp):\n    return None\n")
    for space, told in (
        ("mine.py:biuld", "has no 'biuld'. Did you mean 'build'?"),
        ("mime.py:build", "no file"),
    ):
        code, out, err = tfopt("search", "iris", "--dry-run", "--space", tmp_path / space)
        assert (code, out) == (2, "")
        assert told in err.splitlines()[-1]
    assert len(err.splitlines()) == 1, "a file that is not there is named before the table is read"
