"""The recipe of the main job runs, small, and ends in a verdict."""

import subprocess
import sys
from pathlib import Path

import pytest

RECIPE = Path(__file__).parents[2] / "recipes" / "search_vs_baselines.py"


@pytest.mark.slow
def test_it_prints_a_leaderboard_and_a_verdict(tmp_path):
    folder = tmp_path / "run"
    done = subprocess.run(
        [sys.executable, str(RECIPE), "--smoke", "--out", str(folder)], capture_output=True, text=True, check=True
    )
    assert "network" in done.stdout
    assert any(end in done.stdout for end in ("The claim holds", "The claim does not hold", "The claim can't be told"))
    assert (folder / "best.keras").exists()
