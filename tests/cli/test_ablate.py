"""`tfopt ablate` from end to end, on a table small enough for seconds."""

import json

import numpy as np
import pandas as pd
import pytest

from tfopt.search import ablation

SHARING = ("kernel_initializer", "schedule", "dropout", "weight_decay")  # a shape, and so one graph


@pytest.fixture
def houses(tmp_path):
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"size": random.normal(100, 20, 60), "city": random.choice(["Bonn", "Köln", "Trier"], 60)})
    frame["price"] = 3 * frame["size"] + 40 * (frame["city"] == "Köln")
    frame.to_csv(tmp_path / "houses.csv", index=False)
    return tmp_path / "houses.csv"


@pytest.fixture
def few_ingredients(monkeypatch):
    kept = tuple(each for each in ablation.INGREDIENTS if each.name in SHARING)
    monkeypatch.setattr(ablation, "ingredients_of", lambda problem: kept)


@pytest.mark.slow
@pytest.mark.usefixtures("few_ingredients")
def test_it_leaves_sentences_a_chart_and_a_space_that_search_takes(tfopt, houses, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [
        "houses.csv",
        "--target",
        "price",
        "--epochs",
        2,
        "--folds",
        2,
        "--seeds",
        1,
        "--workers",
        1,
        "--out",
        "abl",
    ]
    code, out, err = tfopt("ablate", *words)
    assert code == 0, err
    assert len(out.splitlines()) == 4
    assert "32 fits; the intervals hold" in err
    assert "tfopt search houses.csv --target price --space abl/space.py:build  " in err
    rows = json.loads((tmp_path / "abl" / "effects.json").read_text())
    assert [row["effect"] for row in rows] == sorted((row["effect"] for row in rows), reverse=True)
    assert {path.name for path in (tmp_path / "abl").iterdir()} >= {"effects.svg", "effects.png", "space.py"}
    journal = (tmp_path / "abl" / "trials.jsonl").read_bytes()
    assert tfopt("ablate", *words)[:2] == (0, out)
    assert (tmp_path / "abl" / "trials.jsonl").read_bytes() == journal, "nothing is trained again"
    code, _, err = tfopt("ablate", *words, "--seed", 1)
    assert (code, "holds an ablation of other data or with other settings" in err) == (2, True)
    small = ["--max-trials", 1, "--epochs", 1, "--holdout", 0.3, "--seeds", 1, "--ensemble", 0, "--baselines", "none"]
    small += ["--workers", 1, "--out", "run"]
    code, _, err = tfopt("search", "houses.csv", "--space", "abl/space.py:build", *small)
    assert code == 0, err


def test_what_it_cannot_do_is_one_line(tfopt, houses, tmp_path):
    (tmp_path / "note").write_text("mine")
    code, _, err = tfopt("ablate", houses, "--out", tmp_path)
    assert (code, err.count("\n") <= 3, "holds something else than an ablation" in err) == (2, True, True)
    code, _, err = tfopt("ablate", houses, "--max-trials", 3)
    assert (code, "--max-trials" in err) == (2, True)
