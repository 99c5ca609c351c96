import math

import numpy as np
import pytest
from matplotlib.colors import to_hex

import tfopt.report.style as appearance
from tfopt.report import best_so_far, house_style, leaderboard, training_curves
from tfopt.report.style import ACCENT, INK, save

ROWS = [
    {"model": "net", "kind": "keras", "score": 0.90, "low": 0.88, "high": 0.92},
    {"model": "svm", "kind": "sklearn", "score": 0.95, "low": 0.93, "high": 0.97},
    {"model": "ridge", "kind": "sklearn", "score": 0.93, "low": 0.91, "high": 0.95},
]


def trial(fold, score):
    return {"fold": fold, "score": score, "status": "FAILED" if score is None else "COMPLETED"}


def texts(ax):
    return [text.get_text() for text in ax.texts]


def test_leaderboard_has_the_best_at_the_top_with_its_interval():
    ax = leaderboard(ROWS, objective="accuracy")
    assert [label.get_text() for label in ax.get_yticklabels()] == ["net", "ridge", "svm"]  # upwards
    intervals = [
        line.get_xdata()
        for line in ax.lines
        if len(line.get_xdata()) == 2 and line.get_xdata()[0] < line.get_xdata()[1]
    ]
    assert [tuple(ends) for ends in intervals if ends[1] != 1] == [(0.88, 0.92), (0.91, 0.95), (0.93, 0.97)]
    dots = {line.get_xdata()[0]: to_hex(line.get_color()) for line in ax.lines if line.get_marker() == "o"}
    assert dots == {0.90: ACCENT, 0.93: INK, 0.95: INK}
    assert "accuracy" in ax.get_xlabel()
    assert "0.950" in texts(ax)


def test_leaderboard_marks_the_best_baseline_and_its_rope():
    ax = leaderboard(ROWS, rope=0.02)
    assert "best baseline: svm ± 0.02" in texts(ax)
    (band,) = [patch for patch in ax.patches if patch.get_width() == pytest.approx(0.04)]
    assert band.get_x() == pytest.approx(0.93)
    without = leaderboard([ROWS[0]], rope=0.02)
    assert not without.patches
    assert not any("baseline" in text for text in texts(without))


def test_model_far_below_does_not_squeeze_the_rest():
    ax = leaderboard([*ROWS, {"model": "dummy", "kind": "sklearn", "score": -3.0, "low": -4.0, "high": -2.0}])
    assert ax.get_xlim()[0] > 0.8
    (arrow,) = [line for line in ax.lines if line.get_marker() == "<"]
    assert arrow.get_xdata()[0] == ax.get_xlim()[0]
    assert "−3.000" in texts(ax)


def test_leaderboard_without_intervals_or_rows():
    ax = leaderboard([{"model": "net", "kind": "keras", "score": 0.5, "low": math.nan, "high": None}])
    assert [line.get_marker() for line in ax.lines] == ["o"]
    assert leaderboard([]).get_yticks().tolist() == []


def test_best_so_far_is_the_running_maximum_and_its_mean_over_folds():
    first, second = [0.1, 0.5, 0.3, 0.3], [0.1, None, 0.2]
    trials = [*(trial(0, score) for score in first), *(trial(1, score) for score in second), trial("final", 0.9)]
    ax = best_so_far(trials, objective="r2", baseline=("ridge", 0.45))
    curves = [line.get_ydata()[:-1] for line in ax.lines if line.get_drawstyle() == "steps-post"]
    np.testing.assert_allclose(curves[0], [0.1, 0.5, 0.5, 0.5])
    np.testing.assert_allclose(curves[1], [0.1, 0.1, 0.2])
    np.testing.assert_allclose(curves[2], [0.1, 0.3, 0.35, 0.35])  # the fold that has ended keeps its best
    labels = ax.get_legend_handles_labels()[1]
    assert labels == ["network, mean of 2 folds", "one trial", "failed (1)", "best baseline: ridge"]
    (line,) = [line for line in ax.lines if line.get_label() == "best baseline: ridge"]
    assert set(line.get_ydata()) == {0.45}
    assert ax.get_ylabel() == "best inner r2 so far"


def test_best_so_far_begins_where_the_first_trial_completed():
    ax = best_so_far([trial("final", None), trial("final", -50.0), trial("final", 0.4), *[trial("final", 0.5)] * 20])
    (curve,) = [
        line.get_ydata() for line in ax.lines if line.get_drawstyle() == "steps-post" and line.get_zorder() == 4
    ]
    np.testing.assert_array_equal(curve[:4], [np.nan, -50.0, 0.4, 0.5])
    assert ax.get_ylim()[0] > -1  # one wild trial does not squeeze the rest


def test_best_so_far_when_nothing_completed():
    ax = best_so_far([trial(0, None), trial(0, None)])
    assert ax.get_legend_handles_labels()[1][-1] == "failed (2)"


def test_training_curves_show_loss_above_and_rate_below():
    loss, rate = [1.0, 0.5, 0.25], [0.1, 0.05, 0.0]
    upper, lower = training_curves({"loss": loss, "val_loss": [1.1, None, 0.4], "learning_rate": rate})
    np.testing.assert_array_equal(upper.lines[0].get_ydata(), loss)
    np.testing.assert_array_equal(upper.lines[1].get_ydata(), [1.1, np.nan, 0.4])
    np.testing.assert_array_equal(lower.lines[0].get_xydata(), [[1, 0.1], [2, 0.05], [3, 0.0]])
    assert texts(upper) == ["training", "validation"]
    assert upper.get_yscale() == "linear"
    assert training_curves({"loss": [100.0, 1.0], "learning_rate": []})[0].get_yscale() == "log"


def test_axes_of_ones_own_are_drawn_on():
    with house_style():
        from matplotlib.figure import Figure

        ax = Figure().subplots()
    assert leaderboard(ROWS, ax=ax) is ax
    assert best_so_far([trial(0, 1.0)], ax=ax) is ax


def test_files_are_the_same_bytes_every_time(tmp_path):
    for name in ("a", "b"):
        with house_style():
            figure = leaderboard(ROWS, rope=0.02).figure
        png, _ = save(figure, tmp_path / name, "leaderboard")
        assert png.read_bytes().startswith(b"\x89PNG")
    for suffix in ("png", "svg"):
        assert (tmp_path / "a" / f"leaderboard.{suffix}").read_bytes() == (
            tmp_path / "b" / f"leaderboard.{suffix}"
        ).read_bytes()


@pytest.mark.parametrize("known", [True, False])
def test_any_name_can_be_drawn(known, tmp_path, monkeypatch):
    if not known:  # a machine without a font that knows Chinese
        monkeypatch.setattr(appearance, "fonts", lambda: ["DejaVu Sans"])
    told = []
    monkeypatch.setattr(appearance._logger, "warning", lambda text, *values: told.append(text))
    appearance._tell_of_missing_font.cache_clear()
    rows = [{**ROWS[0], "model": "$x_1$ 网络 \\frac"}, {**ROWS[1], "model": "$"}]
    with house_style():
        figure = leaderboard(rows, rope=0.1).figure
    save(figure, tmp_path, "names")  # warnings are errors here: no glyph and no formula may raise one
    save(figure, tmp_path, "names")
    if not known:
        assert len(told) == 1
        assert "some letters of the figures have no font" in told[0]
