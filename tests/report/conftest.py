"""A run folder written by hand, as `tfopt search` would leave it."""

import json

import numpy as np
import pytest

SCORES = {"svm": 0.499, "ridge": 0.487, "network": 0.472, "knn": 0.431, "random_forest": 0.433, "dummy": -0.021}


def leaderboard():
    rows = []
    for model, score in SCORES.items():
        half = 0.01 if model == "dummy" else 0.07
        kind = "keras" if model == "network" else "sklearn"
        row = {"model": model, "kind": kind, "score": score, "low": score - half, "high": score + half}
        less = score - SCORES["svm"]
        row |= {"difference": less, "difference_low": less - 0.02, "difference_high": less + 0.02, "p_better": 0.01}
        rows.append({**row, "fit_seconds": 2.0 if kind == "keras" else 0.1, "num_configurations": 6})
    return rows


def baseline(model, fold, score, **chosen):
    return {
        **{"kind": "baseline", "model": model, "fold": fold, "score": score, "inner_score": score + 0.01},
        **{"default_score": score, "chosen": chosen, "num_configurations": 1},
        **dict.fromkeys(("tune_seconds", "fit_seconds", "predict_seconds"), 0.1),
    }


def trials():
    records = []
    for fold in (0, 1, "final"):
        for number, score in enumerate([0.21, 0.38, None, 0.33, 0.45, 0.40]):
            failed = score is None
            records.append(
                {
                    "kind": "trial",
                    "fold": fold,
                    "trial_id": f"{number:04d}",
                    "values": {"learning_rate": 0.01, "units": 64},
                    "status": "FAILED" if failed else "COMPLETED",
                    "score": None if failed else score + 0.01 * (fold == 1),
                    "inner_scores": [] if failed else [score] * 3,
                    "seconds": 1.5,
                    "message": "Traceback …\nDivergedError: loss is NaN" if failed else None,
                    "curve": {},
                    "epochs": [],
                    "fits": [],
                }
            )
    return records


def save_predictions(folder, target, **predictions):
    arrays = {f"prediction {model}": values for model, values in predictions.items()}
    folds, rows = np.arange(len(target)) % 2, np.arange(len(target))
    np.savez(folder / "predictions.npz", target=target, rows=rows, folds=folds, **arrays)


@pytest.fixture
def run_folder(tmp_path):
    """Return a finished run's folder."""
    return write_run(tmp_path / "diabetes__0")


@pytest.fixture(scope="module")
def same_run_folder(tmp_path_factory):
    """Return a finished run's folder, the same for a file's tests."""
    return write_run(tmp_path_factory.mktemp("run") / "diabetes__0")


def write_run(folder):
    folder.mkdir()
    config = {
        "data": "diabetes",
        "task": "regression",
        "folds": 2,
        "repeats": 1,
        "seed": 0,
        "holdout": None,
        "rope": None,
    }
    (folder / "config.json").write_text(json.dumps(config))
    environment = {
        "data": {
            "name": "diabetes",
            "rows": 442,
            "target_columns": [{"name": "price", "kind": "numeric", "unit": "$"}],
        },
        "versions": {"keras": "3.15.1"},
        "command": ["/usr/bin/tfopt", "search", "<x> & y"],
    }
    (folder / "environment.json").write_text(json.dumps(environment))
    result = {
        "data": "diabetes",
        "task": "regression",
        "rows": 442,
        "objective": "r2",
        "rope": 0.01,
        "leaderboard": leaderboard(),
        "outcome": "worse",
        "network": "network",
        "best_baseline": "svm",
        "verdict": "Keep svm: the network is worse.",
        "notes": ["The last column, 'target', is the target."],
        "seconds": 61.2,
    }
    (folder / "result.json").write_text(json.dumps(result))
    save_predictions(
        folder,
        target=np.arange(60.0),
        network=(np.arange(60.0) + [3.0, -1.0] * 30)[:, None],
        svm=np.full((60, 1), 30.0),
    )
    baselines = [
        baseline(model, fold, score) for model, score in SCORES.items() if model != "network" for fold in (0, 1)
    ]
    epochs = range(40)
    curve = {
        "loss": [1 / (1 + epoch) + 0.05 for epoch in epochs],
        "val_loss": [],
        "learning_rate": [0.01 * (1 - epoch / 40) for epoch in epochs],
    }
    final = {
        "kind": "final",
        "values": {"learning_rate": 0.01, "units": 64, "optimizer": "adamw"},
        "curve": curve,
        "fits": [],
    }
    lines = [json.dumps(record) for record in [*baselines, *trials(), final]]
    (folder / "trials.jsonl").write_text("\n".join(lines) + "\n")
    return folder
