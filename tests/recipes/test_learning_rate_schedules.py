"""The recipe runs as its header says, and leaves a table, verdicts, a picture and numbers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

RECIPE = Path(__file__).parents[2] / "recipes" / "learning_rate_schedules.py"


@pytest.mark.slow
def test_smoke(tmp_path):
    command = [sys.executable, str(RECIPE), "--smoke", "--out", str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(RECIPE.parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads((tmp_path / "learning_rate_schedules.json").read_text())
    assert (tmp_path / "learning_rate_schedules.svg").read_text().startswith("<?xml")
    assert set(result["verdicts"].values()) <= {"holds", "does not hold", "can't be told here"}
    for claim, verdict in result["verdicts"].items():
        assert f"{verdict}: {claim}" in done.stdout
    assert result["schedules"][0] == "linear"
    assert result["distance_over_linear"][0] == 1.0
    distances = np.array(result["distance"]["iris"])
    assert np.all(distances > 0)  # L-BFGS's optimum lies below every trained model
    assert distances.argmax() in (result["schedules"].index("constant"), result["schedules"].index("step"))
    assert np.mean(result["mean_rank"]) == pytest.approx((1 + len(result["schedules"])) / 2)
