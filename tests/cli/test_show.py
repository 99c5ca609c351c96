"""What `tfopt show` prints of a run."""

import json

import pandas as pd
import pytest

from tfopt.baselines import select_families, train_for_use
from tfopt.comparison import Split, get_objective
from tfopt.search.config import SearchConfig
from tfopt.search.plan import table_of

ROW = {"kind": "sklearn", "score": 0.5, "low": 0.4, "high": 0.6}
RESULT = {
    "data": "houses",
    "task": "regression",
    "objective": "r2",
    "leaderboard": [
        {**ROW, "model": "ridge"},
        {**ROW, "model": "network", "kind": "keras"},
        {**ROW, "model": "linear"},
    ],
    "best_baseline": "ridge",
    "recommended": "ridge",
    "why": "the network is worse",
    "verdict": "Keep ridge: it scores 0.500.",
    "chosen": {"linear": {}, "ridge": {"encode__scaling": "robust", "model__alpha": 0.1234567}},
    "best_network": {"units": 64, "learning_rate": 0.003},
}


@pytest.fixture
def run_folder(tmp_path):
    """A run with a ridge that was trained, and a network that was not kept."""
    frame = pd.DataFrame({"size": range(20), "age": [place % 7 for place in range(20)]})
    frame.assign(price=frame["size"] * 0.3 - frame["age"] ** 2).to_csv(tmp_path / "houses.csv", index=False)
    config = SearchConfig(data=str(tmp_path / "houses.csv"), target=("price",))
    table, objective = table_of(config), get_objective(None, "regression")
    [_, ridge] = select_families("ridge", "regression", objective, 20)
    split = Split(table.features.index.to_numpy()[:10], table.features.index.to_numpy()[10:])
    folder = tmp_path / "run"
    (folder / "models").mkdir(parents=True)
    train_for_use(table, ridge, [{"alpha": 0.5}], [split], objective, 0).save(folder / "models" / "ridge.skops")
    (folder / "config.json").write_text(json.dumps(config.to_dict()))
    (folder / "environment.json").write_text(json.dumps({"data": {"source": table.source, "sha256": table.sha256}}))
    (folder / "result.json").write_text(json.dumps(RESULT))
    return folder


def test_the_leaderboard_the_verdict_and_the_choices_are_shown(run_folder, tfopt):
    code, out, err = tfopt("show", run_folder)
    assert (code, err) == (0, "")
    assert out.index("Keep ridge") < out.index("  ridge    scaling=robust, alpha=0.123457\n")
    assert out.index("alpha") < out.index("  network  units=64, learning_rate=0.003\n")
    assert out.endswith("\nmodel to keep: ridge, the network is worse\n")


def test_the_model_to_keep_is_shown_as_a_program(run_folder, tfopt):
    code, out, err = tfopt("show", run_folder, "--code")
    assert (code, err) == (0, "")
    assert '("model", Ridge(alpha=0.5))' in out
    (run_folder / "best.keras").write_text("")
    code, out, _ = tfopt("show", run_folder, "--code", "--model", "network")
    assert code == 0
    compile(out, "model.py", "exec")
    assert f"load_model({str(run_folder / 'best.keras')!r}, compile=False)" in out


def test_what_cannot_be_shown_is_one_line(run_folder, tfopt):
    def refused(*words):
        code, out, err = tfopt("show", run_folder, *words)
        assert (code, out, err.count("\n")) == (2, "", 1)
        return err

    assert "has no best.keras" in refused("--code", "--model", "network")
    assert "has no such model" in refused("--code", "--model", "svm")
    assert "--model goes with --code" in refused("--model", "ridge")
    assert "--space goes with --code" in refused("--space", "mine.py")
    table = run_folder.parent / "houses.csv"
    table.write_text(table.read_text().replace("6", "7"))
    assert "was made from other data" in refused("--code")
    table.unlink()
    assert "houses.csv" in refused("--code")
    (run_folder / "models" / "ridge.skops").write_text("")
    (run_folder / "result.json").write_text("{")
    assert "result.json is damaged" in refused()
    (run_folder / "result.json").unlink()
    assert "has no result.json: the search did not get that far" in refused()
