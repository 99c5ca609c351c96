"""MLflow's own store, a folder of this machine, read back by MLflow."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from tfopt.errors import UserError
from tfopt.search.config import SearchConfig, tracking_uri
from tfopt.search.tracking import MlflowTracker

TRIAL = {
    "kind": "trial",
    "fold": 0,
    "trial_id": "0003",
    "values": {"units": 32, "optimizer": "adam"},
    "status": "COMPLETED",
    "score": 0.47,
    "curve": {"loss": [3.0, 2.0], "val_loss": [4.0, None]},
}
BASELINE = {
    "kind": "baseline",
    "model": "svm",
    "fold": 1,
    "chosen": {"C": 10},
    "score": 0.5,
    "inner_score": None,
    "fit_seconds": 0.1,
    "tune_seconds": 2.0,
}
RESULT = {"leaderboard": [{"model": "network (ensemble of 3 seeds)", "score": 0.5}], "verdict": "Keep svm."}


@pytest.fixture
def mlflow(monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    return pytest.importorskip("mlflow", reason="no MLflow: pip install mlflow-skinny")


@pytest.fixture
def plan():
    return SimpleNamespace(table=SimpleNamespace(name="houses"), config=SearchConfig(data="houses.csv", folds=3))


@pytest.mark.filterwarnings("ignore::FutureWarning:mlflow.*", "ignore::DeprecationWarning:mlflow.*")
def test_trials_and_baselines_are_nested_runs(mlflow, plan, tmp_path):
    folder, store = tmp_path / "run", tmp_path / "store"
    folder.mkdir()
    (folder / "result.json").write_text("{}")
    tracker = MlflowTracker(str(store), plan, folder)
    tracker.told(TRIAL)
    tracker = MlflowTracker(str(store), plan, folder)  # resumed
    tracker.told(BASELINE)
    tracker.told({"kind": "refit"})
    tracker.ended(RESULT, folder)
    client = mlflow.MlflowClient(str(store))
    experiment = client.get_experiment_by_name("houses")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {"run", "fold 0 trial 0003", "fold 1 svm"}
    parent, trial, svm = runs["run"], runs["fold 0 trial 0003"], runs["fold 1 svm"]
    assert parent.data.params["folds"] == "3"
    assert parent.data.tags["verdict"] == "Keep svm."
    assert parent.data.metrics == {"score network _ensemble of 3 seeds_": 0.5}
    assert [file.path for file in client.list_artifacts(parent.info.run_id)] == ["result.json"]
    assert (trial.data.params, trial.data.metrics["score"]) == ({"units": "32", "optimizer": "adam"}, 0.47)
    history = client.get_metric_history(trial.info.run_id, "loss")
    assert [(each.step, each.value) for each in history] == [(1, 3.0), (2, 2.0)]
    assert svm.data.metrics == {"score": 0.5, "fit_seconds": 0.1, "tune_seconds": 2.0}
    assert trial.data.tags["mlflow.parentRunId"] == svm.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert {run.info.status for run in runs.values()} == {"FINISHED"}


@pytest.mark.filterwarnings("ignore::FutureWarning:mlflow.*", "ignore::DeprecationWarning:mlflow.*")
def test_store_that_is_gone_ends_the_tracking_and_not_the_search(mlflow, plan, tmp_path, caplog):
    folder = tmp_path / "run"
    folder.mkdir()
    tracker = MlflowTracker(str(tmp_path / "store"), plan, folder)
    tracker._experiment = "no such one"
    tracker.told(TRIAL)
    tracker.told(BASELINE)
    assert [record.message.partition(":")[0] for record in caplog.records if record.name == "tfopt"] == [
        "MLflow is no longer told, the search goes on"
    ]


def test_store_that_cannot_be_written_is_an_error_at_once(mlflow, plan, tmp_path):
    Path(tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"--track mlflow:.*Name a store that can be written"):
        MlflowTracker(str(tmp_path / "file" / "store"), plan, tmp_path)


def test_other_trackers_are_not_known():
    assert tracking_uri("mlflow") == ""
    assert tracking_uri("mlflow:http://host:5000") == "http://host:5000"
    with pytest.raises(UserError, match=r"--track must be mlflow or mlflow:URI\. Received: wandb"):
        SearchConfig(data="iris", track="wandb").validate()
