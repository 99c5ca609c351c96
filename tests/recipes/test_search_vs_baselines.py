"""The recipe of the main job."""

import numpy as np
import pytest


def test_it_leaves_a_leaderboard_and_a_run_folder(smoke):
    done = smoke("search_vs_baselines")
    results = done.result["results"]
    rows = {row["model"]: row for row in results["leaderboard"]}
    assert {"network", "knn", "dummy"} <= set(rows)
    assert len(results["inner"]) == len(results["tuned"]) == len(results["untuned"]) == 2
    assert np.mean(results["tuned"]) == pytest.approx(rows["network"]["score"], abs=1e-5)
    assert np.mean(results["untuned"]) == pytest.approx(rows["network"]["default_score"], abs=1e-5)
    assert np.mean(results["inner"]) == pytest.approx(rows["network"]["inner_score"], abs=1e-5)
    folder = done.folder / "out" / results["run_folder"]
    assert (folder / "best.keras").exists()
    assert results["verdict"] in done.printed
