"""How wrong models are, by numbers that can be counted by hand."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import binomtest

from tfopt.report import error_figures, load_run
from tfopt.report.errors import _events, errors


def test_regression_is_wrong_in_the_targets_own_units(run_folder):
    section = errors(load_run(run_folder))
    assert section.text == "Errors in price ($)."
    [(_, table)] = section.tables
    assert table.headings == ["model", "MAE", "RMSE", "half are within", "90% are within", "largest", "R²"]
    # Residuals are 3 and -1 in turn; the target's variance is (60² - 1) / 12.
    [network] = [row for row in table.rows if row[0] == "network"]
    assert network[1:] == ["2.00", "2.24", "2.00", "3.00", "3.00", "0.983"]
    assert [table.rows[place][0] for place in table.marked] == ["network"]
    assert [picture.name for picture in section.pictures] == [
        "predicted_network",
        "predicted_baseline",
        "residuals",
        "residuals_by_size",
    ]


def test_two_targets_have_their_rows(run_folder):
    target = np.random.default_rng(0).normal(size=(40, 2))
    arrays = {"target": target, "rows": np.arange(40) % 20, "folds": np.arange(40) // 20}
    np.savez(run_folder / "predictions.npz", **arrays, **{"prediction network": target + np.array([1.0, -2.0])})
    section = errors(load_run(run_folder))
    [(_, table)] = section.tables
    assert [row[:3] for row in table.rows] == [["network", "price ($)", "1.00"], ["network", "target 2", "2.00"]]
    assert section.note == "All 40 predictions for rows that were held out, each row 2 times."


@pytest.fixture
def classes(run_folder):
    def write(target, names, **predictions):
        for file, more in (
            ("result.json", {"task": "classification"}),
            ("environment.json", {"data": {"classes": names}}),
        ):
            held = json.loads((run_folder / file).read_text())
            (run_folder / file).write_text(json.dumps(held | more))
        arrays = {f"prediction {model}": values for model, values in predictions.items()}
        rows = np.arange(len(target))
        np.savez(run_folder / "predictions.npz", target=target, rows=rows, folds=rows % 2, **arrays)
        return errors(load_run(run_folder))

    return write


def test_ties_of_probabilities_stay_ties(classes):
    """Sums of 1 - 1e-16 and 1 may not put rows of the same probability in an order."""
    thirds = np.array([[1 / 3, 2 / 3], [1 / 3, 2 / 3], [0.9, 0.1], [0.2, 0.8]])
    thirds[1, 0] -= 1e-12
    section = classes(np.array([0, 1, 0, 1]), ["no", "yes"], network=thirds)
    [(_, table)] = section.tables
    assert table.rows[0][-1] == "0.875"  # 3 of 4 pairs in order, and one tie


def test_two_classes(classes):
    sure = np.array([0.1, 0.4, 0.6, 0.9])
    section = classes(
        [0, 1, 0, 1], ["no", "yes"], network=np.column_stack([1 - sure, sure]), svm=np.array([0, 1, 1, 1])
    )
    rows = {row[0]: row[1:] for row in section.tables[0][1].rows}
    assert rows["svm"] == ["0.750", "0.750", "–", "–", "–"]  # it gives no probabilities
    log_loss = -np.log([0.9, 0.4, 0.4, 0.9]).mean()
    # One of the four pairs of a yes and a no stands the wrong way round.
    assert rows["network"] == ["0.500", "0.500", f"{log_loss:.3f}", f"{(0.01 + 0.36 + 0.36 + 0.01) / 4:.3f}", "0.750"]
    assert {picture.name for picture in section.pictures} == {
        "confusion_network",
        "confusion_baseline",
        "roc",
        "reliability",
    }


def test_many_classes_and_more_than_have_names(classes):
    outputs = np.eye(3)[[0, 1, 2, 2, 1, 0]] * 0.6 + 0.4 / 3
    section = classes([0, 1, 2, 2, 0, 1], ["a", "b"], network=outputs)
    [row] = section.tables[0][1].rows
    assert row[1:3] == ["0.667", "0.667"]
    confusion = section.pictures[0].figure.axes[0]
    assert [label.get_text() for label in confusion.get_xticklabels()] == ["a", "b", "class 2"]


def test_run_without_predictions_has_no_such_section(run_folder):
    (run_folder / "predictions.npz").unlink()
    assert errors(load_run(run_folder)) is None
    assert errors(SimpleNamespace(folder=run_folder, leaderboard=[])) is None


def test_reliability_is_a_frequency_with_its_interval():
    probability = np.repeat([0.2, 0.8], 50)
    came_true = np.array([True] * 10 + [False] * 40 + [True] * 45 + [False] * 5)
    ax = error_figures.reliability([("network", True, probability, came_true)])
    dots = ax.lines[1]
    np.testing.assert_allclose(dots.get_xydata(), [[0.2, 0.2], [0.8, 0.9]])
    bars = [path.vertices[:, 1] for path in ax.collections[0].get_paths()]
    intervals = [binomtest(count, 50).proportion_ci(method="wilson") for count in (10, 45)]
    np.testing.assert_allclose(bars, [[each.low, each.high] for each in intervals], rtol=1e-6)


def test_scatter_of_many_rows_is_drawn_in_part():
    values = np.arange(5000.0)
    ax = error_figures.predicted_against_true(values, values)
    assert len(ax.lines[1].get_xdata()) == error_figures.MOST_POINTS


def test_reliability_is_that_of_the_predicted_class():
    sure = np.array([[0.7, 0.2, 0.1], [0.5, 0.3, 0.2], [0.1, 0.3, 0.6]])
    probability, came_true = _events(np.array([0, 2, 2]), sure)
    assert probability.tolist() == [0.7, 0.5, 0.6]
    assert came_true.tolist() == [True, False, True]
