import json

import pytest

from tfopt.report import load_run
from tfopt.report.matters import effect, importance, matters

MODELS = {"network": "network", "baseline": "svm"}
COLUMNS = [
    {
        "column": "bmi",
        "kind": "numeric",
        "network": {"mean": 0.2, "low": 0.1, "high": 0.3},
        "baseline": {"mean": 0.15, "low": None, "high": None},
    },
    {"column": "a $ ward", "kind": "categorical", "network": {"mean": 0.0, "low": -0.1, "high": 0.1}},
]
EFFECTS = [
    {"column": "bmi", "values": [20.0, None, 30.0], "network": [[1.0], [9.0], [2.0]], "baseline": None},
    {"column": "a $ ward", "values": ["A", "B"], "network": [[1.0], [3.0]], "baseline": [[2.0], [2.5]]},
]


@pytest.fixture
def measured(run_folder):
    found = {"models": MODELS, "columns": COLUMNS, "effects": EFFECTS, "outputs": ["price"]}
    (run_folder / "importance.json").write_text(json.dumps(found))
    return load_run(run_folder)


def test_columns_are_side_by_side_and_curves_follow(measured):
    section = matters(measured)
    assert [each.name for each in section.pictures] == ["importance", "effect_1", "effect_2"]
    [(_, table)] = section.folded
    assert table.rows[0] == ["bmi", "numeric", "0.200", "0.100 … 0.300", "0.150", "– … –"]
    assert table.rows[1] == ["a $ ward", "categorical", "0.000", "-0.100 … 0.100", "–", "–"]


def test_figures_show_what_was_measured():
    ax = importance(COLUMNS, MODELS)
    assert [label.get_text() for label in ax.get_yticklabels()] == [r"a \$ ward", "bmi"]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["network", "svm"]
    numbers, levels = effect(EFFECTS[0], MODELS), effect(EFFECTS[1], MODELS)
    assert numbers.lines[0].get_xydata().tolist() == [[20.0, 1.0], [30.0, 2.0]]  # a missing cell has no place
    assert [label.get_text() for label in levels.get_xticklabels()] == ["A", "B"]
    assert levels.lines[1].get_ydata().tolist() == [2.0, 2.5]


def test_what_was_not_measured_has_no_section(run_folder):
    assert matters(load_run(run_folder)) is None
