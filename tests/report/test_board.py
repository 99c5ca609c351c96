import pytest

from tfopt.baselines.families import STRONGER
from tfopt.report.board import Board, figure, to_csv

ROW = {"model": "x", "kind": "sklearn", "score": 0.4, "difference": -0.1, "p_better": 0.1, "num_configurations": 24}


def test_csv_holds_every_key_and_nested_values_as_json():
    text = to_csv([{"model": "a", "score": 0.1, "chosen": {"alpha": 1}}, {"model": "b", "score": None, "new": 2}])
    assert text == 'model,score,chosen,new\na,0.1,"{""alpha"": 1}",\nb,,,2\n'


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.47151, "0.472"), (None, "–"), (float("nan"), "–"), (-54321.0, "-5.432e+04"), (-54.2, "-54.200")],
)
def test_numbers_are_short(value, text):
    assert figure(value) == text


def test_best_baseline_is_named_and_not_compared_with_itself():
    rows = [{**ROW, "model": "trees", "score": 0.5}, ROW, {**ROW, "model": "a|b"}]
    board = Board({"objective": "rmse", "negated": True, "rope": 0.5, "best_baseline": "trees", "leaderboard": rows})
    assert board.legend == (
        "score: rmse, negated, so that higher is better; vs best: difference to trees, the best baseline, and how "
        "probably better, the same or worse, within 0.5 being the same."
    )
    lines = board.to_markdown().splitlines()
    assert lines[0] == "| model | kind | score | 95% interval | vs best | better | tried |"
    assert lines[2] == "| trees | sklearn | 0.500 | – … – | best |  | 24 |"
    assert lines[3] == "| x | sklearn | 0.400 | – … – | -0.100 | 10% | 24 |"
    assert lines[4].startswith("| a\\|b |")


def test_opponents_that_are_not_installed_are_named_under_the_board():
    result = {"objective": "r2", "leaderboard": [ROW]}
    assert "boosting" not in Board({**result, "notes": ["a guess"]}).legend
    assert Board({**result, "notes": [STRONGER]}).legend.endswith(
        "higher is better. Stronger opponents can be had: pip install 'tfopt[boosting]' adds LightGBM, XGBoost and "
        "CatBoost to the baselines."
    )
