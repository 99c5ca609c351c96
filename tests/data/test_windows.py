"""Windows of a time series: what is in them, what they forecast and when, and what no window can be cut out of."""

import json
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest

from tfopt.data.example_sources import load_series
from tfopt.data.given import as_series
from tfopt.data.load import load_table
from tfopt.data.steps import Steps
from tfopt.data.windows import Series, windows_like, windows_of
from tfopt.errors import UserError

DAYS = pd.date_range("2026-01-30", periods=8, name="day")
FRAME = pd.DataFrame({"heat": np.arange(8.0) ** 2, "who": list("abababab"), "sold": np.sin(np.arange(8))}, DAYS)


def windows(frame, window=3, horizon=2, target="sold", **options):
    return windows_of(load_table(frame, target=target, task="regression", featureless=True, **options), window, horizon)


def new(frame, examples, window=3, horizon=2):
    config = {"window": window, "horizon": horizon, "max_unpacked": 10**9}
    return windows_like(frame, examples.series, config, examples.target_names)


def test_a_window_holds_the_targets_past_and_forecasts_what_comes_later():
    examples = windows(FRAME)
    sold, heat = FRAME["sold"].to_numpy(), FRAME["heat"].to_numpy()
    assert examples.x.shape == (4, 3, 2)
    for row, window in enumerate(examples.x):
        np.testing.assert_allclose(window, np.column_stack([sold, heat])[row : row + 3], rtol=1e-6)
    np.testing.assert_array_equal(examples.target, sold[4:])
    np.testing.assert_array_equal(examples.times, [4, 5, 6, 7])
    np.testing.assert_allclose(examples.features.to_numpy()[1], examples.x[1].ravel())
    said = " | ".join(examples.notes)
    assert "windows of 3 rows of 'sold', 'heat' forecast 'sold' 2 rows later" in said
    assert "not numbers, and left out: 'who'" in said
    assert "times of 'day': 2026-01-30 to 2026-02-06, each 1 day after the one before" in said


def test_several_targets_and_a_series_of_one_column():
    both = windows(FRAME, target=["sold", "heat"])
    assert (both.target.shape, both.shape, both.x.shape) == ((4, 2), (2,), (4, 3, 2))
    alone = windows(as_series(np.arange(9.0) % 4)[0], window=2, horizon=1, target=None)
    np.testing.assert_array_equal(alone.x[..., 0], np.lib.stride_tricks.sliding_window_view(np.arange(8.0) % 4, 2))
    found = new(as_series(np.arange(3.0))[0], alone, 2, 1)
    assert (found.x[..., 0].tolist(), found.others) == ([[0, 1], [1, 2]], {"row": ["3", "4"]})


def test_a_file_of_one_column_is_a_series(tmp_path):
    path = tmp_path / "sold.csv"
    path.write_text("sold\n" + "\n".join(map(str, [3.5, 1.5, 2.5, 4.5, 0.5])))
    examples = windows_of(load_table(path, featureless=True), 2, 1)
    assert (examples.x[:, 0, 0].tolist(), examples.target.tolist()) == ([3.5, 1.5, 2.5], [2.5, 4.5, 0.5])
    assert new(str(path), examples, 2, 1).others == {"row": ["3", "4", "5", "6"]}
    with pytest.raises(UserError, match="one column only"):
        load_table(path)


def test_new_rows_are_forecast_to_a_time_and_scored_where_it_has_come():
    examples = windows(FRAME)
    found = new(FRAME.drop(columns="who"), examples)
    assert found.others == {"day": [f"2026-02-0{day}" for day in range(3, 9)]}
    np.testing.assert_allclose(found.targets["sold"], [*FRAME["sold"][4:], np.nan, np.nan], rtol=1e-6)
    last = new(FRAME[-3:].reset_index(), examples)
    assert (len(last.x), last.others, last.targets) == (1, {"day": ["2026-02-08"]}, {})
    assert "forecasts of 'day' 2026-02-08, each 2 rows after the last row of its window" in last.notes
    with pytest.raises(UserError, match=r"a window has 3 rows, and there are 2"):
        new(FRAME[-2:], examples)
    with pytest.raises(UserError, match=r"the rows are 1 hour apart, and those of training were 1 day"):
        new(FRAME.set_index(pd.date_range("2026-03-01", periods=8, freq="h", name="day")), examples)


def test_a_function_gives_a_series_as_frame_array_or_inputs_with_targets(tmp_path):
    (tmp_path / "own.py").write_text(
        "import numpy as np\nseries, cube = np.arange(9.0) ** 2, np.ones((2, 2, 2))\n"
        "pair = np.ones((9, 2)), np.eye(9)[:, :2]"
    )
    frame, targets = load_series(f"{tmp_path / 'own.py'}:series")
    assert (frame["y"].tolist(), targets) == ((np.arange(9.0) ** 2).tolist(), ())
    frame, targets = load_series(f"{tmp_path / 'own.py'}:pair")
    assert (frame.shape, targets) == ((9, 4), ("y_0", "y_1"))
    with pytest.raises(UserError, match=r"own.py:cube: ndarray of shape \(2, 2, 2\)"):
        load_series(f"{tmp_path / 'own.py'}:cube")


def test_a_series_is_stored_as_plain_values():
    series = windows(FRAME).series
    assert Series.from_dict(json.loads(json.dumps(asdict(series)))) == series


def test_windows_over_a_gap_are_left_out_in_training_and_after():
    days = DAYS[[0, 1, 2, 3, 4, 6, 7]]
    frame = pd.DataFrame({"sold": np.sin(np.arange(7))}, days)
    examples = windows(frame, window=2, horizon=1)
    np.testing.assert_array_equal(examples.times, [2, 3, 4])  # rows 5 and 6 would need what is before the gap
    assert "1 gap in 'day' (the first after 2026-02-03): rows are 1 day apart elsewhere, and 2 of 5" in " ".join(
        examples.notes
    )
    found = new(frame, examples, 2, 1)
    assert found.others == {"day": ["2026-02-01", "2026-02-02", "2026-02-03", "2026-02-04", "2026-02-07"]}
    np.testing.assert_array_equal(np.isnan(found.targets["sold"]), [False, False, False, True, True])


@pytest.mark.parametrize(
    ("frequency", "words"),
    [
        ("MS", "1 month"),
        ("QE", "1 quarter"),
        ("B", "1 business day"),
        ("2h", "2 hours"),
        ("W-SUN", "1 week"),
        ("YS", "1 year"),
        ("15min", "15 minutes"),
    ],
)
def test_steps_of_the_calendar_are_equal_steps(frequency, words):
    times = pd.date_range("2024-01-01", periods=8, freq=frequency).to_numpy("datetime64[s]")
    steps = Steps.of(times[:6], "day", "s")
    assert not len(steps.gaps)
    assert steps.in_words(True) == words
    np.testing.assert_array_equal(steps.later(times[4:6], 2), times[6:])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: f[::-1], r"not in the order of 'day' \(the given frame: row 2, 2026-02-05, follows 2026-02-06\)"),
        (lambda f: pd.concat([f[:2], f[1:]]), r"two rows are of one time in 'day' .*Give the rows of one series"),
        (lambda f: f[:4], r"4 rows are too few for windows of 3 rows and the target 2 later .*two examples need 6"),
        (lambda f: f.assign(heat=f["heat"].where(f["heat"] != 9)), r"1 missing value in column 'heat' .*row 4.*--drop"),
        (lambda f: f.iloc[[0, 1, 4, 5, 7]], r"rows are mostly .*2 of 2 windows reach over one of the .*Fill the gaps"),
    ],
)
def test_what_no_window_can_be_cut_out_of_is_said_in_one_line(change, said):
    window = 2 if "mostly" in said else 3
    with pytest.raises(UserError, match=said) as error:
        windows(change(FRAME), window=window)
    assert "\n" not in str(error.value)


def test_a_time_may_be_a_number_and_is_no_part_of_the_windows():
    frame = FRAME.reset_index(drop=True).assign(year=np.arange(2000, 2008))[["year", "heat", "sold"]]
    examples = windows(frame)
    assert (examples.series.time.name, [column.name for column in examples.series.columns]) == (
        "year",
        ["sold", "heat"],
    )
    assert new(frame[-3:], examples).others == {"year": ["2009"]}
    # A number that goes round, such as the day of the week, orders nothing.
    around = frame.assign(day=np.arange(8) % 3 + 1.5).drop(columns="year")[["day", "heat", "sold"]]
    assert windows(around).series.time is None
    named = windows(FRAME.reset_index().assign(other=DAYS[::-1])[["other", "day", "heat", "sold"]], time="day")
    assert named.series.time.name == "day"
