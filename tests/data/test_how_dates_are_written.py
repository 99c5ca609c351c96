"""Dates as people write them: formats, the order of day and month, and what counts as missing."""

import numpy as np
import pandas as pd
import pytest

from tfopt.data import load_table, read_rows
from tfopt.errors import UserError

NUM_ROWS = 60
RNG = np.random.default_rng(0)
VALUES = RNG.normal(50, 20, NUM_ROWS).round(2)
TARGET = (3 * VALUES + RNG.normal(0, 5, NUM_ROWS)).round(2)


def texts(values):
    return [f"{value:.2f}" for value in values]


def every(values, step, word):
    return [word if place % step == 0 else value for place, value in enumerate(values)]


def dates(days, form):
    return [day.strftime(form).replace("q", str(day.quarter)) for day in days]


MONTHS = pd.date_range("2015-01-01", periods=NUM_ROWS, freq="MS")
WEEKS = pd.date_range("2015-01-04", periods=NUM_ROWS, freq="7D")
MONDAYS = pd.date_range("2014-12-29", periods=NUM_ROWS, freq="7D")
QUARTERS = pd.date_range("2015-01-01", periods=NUM_ROWS, freq="QS")
LOW_DAYS = pd.DatetimeIndex([pd.Timestamp(2015, place * 7 % 12 + 1, place * 5 % 12 + 1) for place in range(NUM_ROWS)])


@pytest.mark.parametrize(
    ("days", "form", "how"),
    [
        (MONTHS, "%d/%m/%Y", "day first, which makes them a series"),
        (MONTHS, "%m/%d/%Y", "month first, which makes them a series"),
        (MONTHS, "%d-%m-%y", "day first, which makes them a series"),
        (WEEKS, "%d/%m/%Y", "day first"),
        (WEEKS, "%m/%d/%Y %H:%M", "month first"),
        (LOW_DAYS.sort_values(), "%d/%m/%Y", "day first, which makes them a series"),
        (LOW_DAYS, "%m/%d/%Y", "month first, though the day may come first"),
        (WEEKS, "%d.%m.%Y", "day first"),
        (WEEKS, "%Y-%m-%d", ""),
        (WEEKS, "%Y-%m-%d %H:%M:%S UTC", ""),
        (WEEKS, "%Y-%m-%dT%H:%M:%SZ", ""),
        (WEEKS, "%Y/%m/%d %H:%M:%S", ""),
        (MONTHS, "%Y-%m", ""),
        (MONTHS, "%b %Y", ""),
        (WEEKS, "%d %B %Y", ""),
        (MONTHS, "%B-%y", ""),
        (MONDAYS, "%G-W%V", ""),
        (QUARTERS, "%Y-Qq", ""),
        (QUARTERS, "Qq %Y", ""),
        (WEEKS, "%m/%d/%Y %I:%M %p", "month first"),
        (WEEKS, "%Y%m%d", "year first"),
        (WEEKS, "%Y%m%dT%H%M%S", ""),
        (WEEKS, "%a, %d %b %Y %H:%M:%S GMT", ""),
        (WEEKS, "%A, %B %d, %Y", ""),
        (WEEKS, "So., %d.%m.%y", "day first"),
        (WEEKS, "%a %b %d %H:%M:%S %Y", ""),
        (WEEKS, "%d/%b/%Y:%H:%M:%S +0000", ""),
        (WEEKS, "%d/%b/%Y", ""),
    ],
)
def test_dates(read, days, form, how, said):
    table = read({"date": dates(days, form), "z": texts(VALUES), "y": texts(TARGET)})
    assert table.columns[0].kind == "date"
    np.testing.assert_array_equal(table.features["date"].to_numpy(), days.to_numpy())
    note = said(table, "read as dates", "'date'")
    assert how in note
    if "which" in how or "though" in how:
        other = "month-first" if "day first, which" in how else "day-first"
        assert f"--column date={other}" in note


def test_whole_numbers_are_dates_where_all_of_them_are(read):
    days = [*dates(WEEKS[:-1], "%Y%m%d"), ""]
    for cells, kind in ((days, "date"), ([*days[:-1], "20150230"], "numeric")):
        table = read({"when": cells, "z": texts(VALUES), "y": texts(TARGET)})
        assert table.columns[0].kind == kind
    far = [*dates(pd.date_range("2015-01-04", periods=150), "%Y%m%d"), "1e30"]
    assert read({"when": far, "y": texts(range(151))}).columns[0].kind == "numeric"
    told = read({"when": days, "z": texts(VALUES), "y": texts(TARGET)}, columns={"when": "number"})
    assert told.columns[0].kind == "numeric"


@pytest.mark.parametrize("dtype", ["int32", "uint32", "Int64", "float64"])
def test_whole_numbers_of_a_frame_are_dates_too(dtype):
    numbers = pd.Series(dates(WEEKS, "%Y%m%d")).astype("int64").astype(dtype)
    table = load_table(pd.DataFrame({"when": numbers, "z": VALUES, "y": TARGET}))
    np.testing.assert_array_equal(table.features["when"].to_numpy(), WEEKS.to_numpy())


def test_dates_that_are_missing(read, said):
    written = every(every(dates(WEEKS, "%d/%m/%Y"), 7, "00/00/0000"), 11, "n.a.")
    table = read({"date": written, "y": texts(TARGET)})
    assert table.features["date"].isna().sum() == sum(text in ("00/00/0000", "n.a.") for text in written)
    assert said(table, "missing among dates", "'00/00/0000' in")
    written = every(every(dates(LOW_DAYS.sort_values(), "%d/%m/%Y"), 7, "-"), 11, "n.a.")
    assert said(read({"date": written, "y": texts(TARGET)}), "day first, which makes them a series")


def test_dates_of_the_years_1_and_9999_stand_for_none(read, tmp_path, said):
    written = every(every(dates(WEEKS, "%Y-%m-%d"), 2, "9999-12-31"), 11, "0001-01-01")
    table = read({"end": written, "z": texts(VALUES), "y": texts(TARGET)})
    assert table.features["end"].isna().tolist() == [text[:2] in ("99", "00") for text in written]
    assert said(table, "missing among dates", "'9999-12-31' in", "'0001-01-01' in")
    (tmp_path / "new.csv").write_text("end,z\n9999-01-01,1\n2020-01-01,2\n", encoding="utf-8")
    assert read_rows(tmp_path / "new.csv", table.columns)["end"].isna().tolist() == [True, False]
    typed = pd.DataFrame({"end": np.array(written, "datetime64[s]"), "z": VALUES, "y": TARGET})
    table = load_table(typed, target="y")
    assert said(table, "missing among dates", "of the years 1 or 9999")
    assert table.columns[0].has_missing


def test_the_order_of_dates_can_be_told_or_told_by_the_file(read, said):
    written = dates(LOW_DAYS, "%d/%m/%Y")
    table = read({"date": written, "y": texts(TARGET)}, columns={"date": "day-first"})
    np.testing.assert_array_equal(table.features["date"].to_numpy(), LOW_DAYS.to_numpy())
    table = read({"date": written, "y": [text.replace(".", ",") for text in texts(TARGET)]}, ";")
    np.testing.assert_array_equal(table.features["date"].to_numpy(), LOW_DAYS.to_numpy())
    assert said(table, "day first, as elsewhere in the file")
    table = read({"date": written, "other": dates(WEEKS, "%d/%m/%Y"), "y": texts(TARGET)})
    np.testing.assert_array_equal(table.features["date"].to_numpy(), LOW_DAYS.to_numpy())


def test_a_date_is_no_target(read):
    columns = {"z": texts(VALUES), "when": dates(LOW_DAYS, "%Y-%m-%d")}
    with pytest.raises(UserError, match=r"the target 'when' holds dates \(.*2015-01-01\). Name another target"):
        read(columns)
    assert read(columns, task="classification").classes[0] == "2015-01-01"
    assert read(columns, columns={"when": "category"}).task == "classification"
