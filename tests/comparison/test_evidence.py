"""The rule of evidence: by hand, and by a small share of the simulation whose tables are in docs/evidence.md."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from tfopt.comparison import FoldResult, Split, compare, get_objective
from tfopt.comparison.evidence import clear, error_of_all, error_of_any

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
simulation = importlib.import_module("simulate_verdict")

_ACCURACY = simulation.METRICS[0]


def test_the_least_sure_of_all_decides_and_the_surest_of_any_is_corrected():
    assert error_of_all([0.99, 0.96, 0.98]) == pytest.approx(0.04)
    assert error_of_any([0.2, 0.99, 0.5]) == pytest.approx(0.03)
    assert error_of_any([0.2, 0.3]) == 1
    assert clear([0.05, 0.0501, np.nan]).tolist() == [True, False, False]
    assert clear([0.04, 0.0401, np.nan], holdout=True).tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("metric", "rows", "design", "situation"),
    [
        (_ACCURACY, 60, "5x1", "models alike"),
        (simulation.METRICS[1], 200, "5x2", "steady network"),
        (simulation.METRICS[2], 60, "10x1", "steady network"),
        (simulation.METRICS[2], 200, "hold-out", "models alike"),
        (_ACCURACY, 20_000, "hold-out", "steady network"),
    ],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_conclusions_about_equal_models_are_rare_and_intervals_cover(metric, rows, design, situation):
    found = simulation.cell(metric, rows, situation, design, simulations=600, seed=11)
    three_errors = 3 * np.sqrt(0.05 * 0.95 / 600)
    for rates in found["false"].values():
        assert max(rates["better"], rates["worse"]) <= 0.05 + three_errors
    assert found["covers score"] > 0.92
    assert found["covers difference"] > 0.92


def test_a_lead_that_is_there_is_found_more_often_with_more_rows():
    few, many = (simulation.cell(_ACCURACY, n, "models alike", "5x1", 200, seed=1) for n in (60, 1000))
    assert few["better by 0.05, 1"] < 0.3 < 0.6 < many["better by 0.05, 1"]
    assert few["worse by 0.05, 8"] + 0.2 < many["worse by 0.05, 8"]


def test_the_simulation_concludes_what_the_comparison_does():
    random = np.random.default_rng(4)
    rows = simulation.draw(random, _ACCURACY, 60, 60, (0.6, 0.6))
    scores = simulation.fold_scores(random, _ACCURACY, rows, "5x2", 60)[:, :4]
    scores[:, 0] += np.linspace(-0.2, 0.2, 60)
    mean, error, freedom = simulation.of_folds(scores[:, :1] - scores[:, 1:], 1 / 4, 1 / 60)
    tests = [*np.array_split(np.arange(60), 5)] * 2
    splits = [Split(np.setdiff1d(np.arange(60), test), test) for test in tests]
    said = []
    for case in range(60):
        results = [
            FoldResult(f"model {model}", "sklearn" if model else "keras", fold, float(scores[fold, model, case]))
            for model in range(4)
            for fold in range(10)
        ]
        outcome = compare(results, splits, get_objective("accuracy", "classification")).outcome
        drawn = simulation.conclusions(mean[:, [case]], error[:, [case]], freedom, 3)
        assert drawn == {word: float(outcome == {"same": "equivalent"}.get(word, word)) for word in drawn}
        said.append(outcome)
    assert {"better", "worse", "undecided"} <= set(said)


def test_the_page_has_the_tables_of_what_was_kept():
    kept = json.loads((simulation.RESULTS / "verdict.json").read_text(encoding="utf-8"))
    page = simulation.PAGE.read_text(encoding="utf-8")
    for part, text in simulation.tables(kept).items():
        assert f"<!-- {part}: begin -->\n\n{text}\n\n<!-- {part}: end -->" in page, part
    rates = [rate for cell in kept["simulations"]["cells"].values() for rate in cell["false"].values()]
    assert max(max(rate["better"], rate["worse"]) for rate in rates) <= 0.05 + 0.01
