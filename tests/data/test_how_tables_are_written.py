"""Tables as people write them: cells and lines are read as what they are, guesses are said, new rows are read alike."""

import numpy as np
import pytest

from tfopt.data import load_table, read_rows
from tfopt.data.cautions import cautions
from tfopt.errors import UserError

NUM_ROWS = 60
RNG = np.random.default_rng(0)
VALUES = (RNG.normal(50, 20, NUM_ROWS)).round(2)
AMOUNTS = np.abs(RNG.normal(5000, 2000, NUM_ROWS)).round(2) + 1000
TARGET = (3 * VALUES + RNG.normal(0, 5, NUM_ROWS)).round(2)


def texts(values, form="{:.2f}"):
    return [form.format(value) for value in values]


def comma(values, form="{:.2f}"):
    return [text.replace(".", ",") for text in texts(values, form)]


def swapped(values):
    return [text.translate(str.maketrans(",.", ".,")) for text in texts(values, "{:,.2f}")]


def every(values, step, word):
    return [word if place % step == 0 else value for place, value in enumerate(values)]


@pytest.mark.parametrize(
    ("written", "how"),
    [
        (texts(AMOUNTS, "{:,.2f}"), "thousands commas"),
        (texts(AMOUNTS, "${:,.2f}"), "the unit $"),
        (texts(AMOUNTS, "US$ {:.2f}"), "the unit US$"),
        (texts(AMOUNTS, "{:.2f} USD"), "the unit USD"),
        (texts(AMOUNTS, "{:.2f} kg"), "the unit kg"),
        (texts(AMOUNTS, "{:.2f} km/h"), "the unit km/h"),
        (texts(AMOUNTS, "{:.2f} m2"), "the unit m²"),
        (texts(AMOUNTS, "{:.2f}%"), "the unit %"),
        (texts(AMOUNTS, "{:.2f} °C"), "the unit °C"),
        (["€ " + text for text in swapped(AMOUNTS)], "decimal commas and thousands points and the unit €"),
        (swapped(AMOUNTS), "decimal commas and thousands points"),
        (
            [text.replace(".", "\u202f") + " zł" for text in swapped(AMOUNTS)],
            "blanks between thousands and the unit zł",
        ),
        ([text.replace(".", "\u00a0") for text in swapped(AMOUNTS)], "decimal commas and blanks between thousands"),
        ([text.replace(",", "'") for text in texts(AMOUNTS, "{:,.2f}")], "apostrophes between thousands"),
        ([text.replace(",", "’") for text in texts(AMOUNTS, "CHF {:,.2f}")], "apostrophes between thousands"),
        (comma(AMOUNTS), "decimal commas"),
        (texts(AMOUNTS, "Rs. {:,.2f}/-"), "thousands commas and the unit Rs."),
        (comma(AMOUNTS / 1e6, "{:.8e}"), "decimal commas"),
    ],
)
@pytest.mark.parametrize("separator", [";", ",", "\t"])
def test_positive_numbers_of_every_country(read, written, how, separator, said):
    amounts = AMOUNTS / 1e6 if "e" in written[0] and "€" not in written[0] and "kg" not in written[0] else AMOUNTS
    table = read({"amount": written, "y": texts(TARGET)}, separator)
    np.testing.assert_allclose(table.features["amount"], amounts, rtol=1e-7)
    assert said(table, "read as numbers", how, "'amount'", "--column amount=")
    table = read({"x": texts(VALUES), "amount": written}, separator)
    assert table.task == "regression"
    np.testing.assert_allclose(table.target, amounts, rtol=1e-7)


@pytest.mark.parametrize(
    ("form", "how"),
    [
        (lambda v: f"{v:.2f}".replace("-", "−"), "other minus signs"),
        (lambda v: f"({-v:,.2f})" if v < 0 else f"{v:,.2f}", "brackets for minus"),
        (lambda v: f"$({-v:,.2f})" if v < 0 else f"${v:,.2f}", "brackets for minus"),
        (lambda v: f"-${-v:.2f}" if v < 0 else f"${v:.2f}", "the unit $"),
        (lambda v: f"$-{-v:.2f}" if v < 0 else f"${v:.2f}", "the unit $"),
        (lambda v: f"{-v:.2f}-" if v < 0 else f"{v:.2f}", "read as numbers"),
        (lambda v: f"{v:+.2f}", ""),
    ],
)
def test_negative_numbers(read, form, how, said):
    values = VALUES - 50
    table = read({"a": [form(value) for value in values], "y": texts(TARGET)})
    np.testing.assert_allclose(table.features["a"], values, atol=1e-9)
    assert said(table, how)


@pytest.mark.parametrize("share", ["all", "half", "largest"])
def test_thousands_commas_in_some_cells_only(read, share, said):
    numbers = (np.arange(NUM_ROWS) * 37 + {"all": 3000, "half": 100, "largest": 262}[share]) % 5000
    numbers = np.minimum(numbers, 999) if share == "largest" else numbers
    numbers[-1] = 1784
    table = read({"income": texts(numbers, "{:,.0f}"), "z": texts(VALUES), "y": ["hi", "lo"] * (NUM_ROWS // 2)})
    np.testing.assert_array_equal(table.features["income"], numbers)
    assert said(table, "thousands commas", "'income'")


@pytest.mark.parametrize("digits", ["0123456789", "٠١٢٣٤٥٦٧٨٩", "०१२३४५६७८९"])
def test_every_number_is_the_nearest_double(read, digits):
    numbers = np.concatenate([RNG.uniform(0, 10.0 ** RNG.integers(-3, 15, 50)), [0.1, 0.3, 1 / 3, 9007199254740993.5]])
    written = [f"{number:,.{place % 9}f} km" for place, number in enumerate(numbers)]
    table = read({"a": [text.translate(str.maketrans("0123456789", digits)) for text in written], "y": texts(numbers)})
    expected = [float(text.replace(",", "").removesuffix(" km")) for text in written]
    assert table.features["a"].tolist() == expected


@pytest.mark.parametrize(
    ("form", "value"), [("{}.{},-", 5251), ("{}.{},--", 5251), ("{},{}.-", 5251), ("{}'{}.–", 5251), ("{},{}/-", 5251)]
)
def test_a_dash_in_place_of_decimals_tells_the_decimal_sign(read, form, value):
    table = read({"price": [form.format(5 + k, 251 + k) for k in range(NUM_ROWS)], "y": texts(TARGET)})
    assert table.features["price"].tolist() == [value + 1001 * k for k in range(NUM_ROWS)]


def test_whole_thousands_beside_decimal_commas(read, said):
    thousands = np.arange(NUM_ROWS) * 731 + 1234
    table = read({"a": swapped(thousands), "b": comma(VALUES), "y": comma(TARGET)}, ";")
    np.testing.assert_array_equal(table.features["a"], thousands)
    written = [text.removesuffix(",00") for text in swapped(thousands)]
    table = read({"income": written, "b": comma(VALUES), "y": comma(TARGET)}, ";")
    np.testing.assert_array_equal(table.features["income"], thousands)
    assert said(table, "thousands points", "'income'", "--column income=decimal-point")
    told = read({"income": written, "b": comma(VALUES), "y": comma(TARGET)}, ";", columns={"income": "decimal-point"})
    assert told.features["income"].iloc[0] == 1.234


def test_each_column_has_its_own_decimal_sign(read, said):
    versions = [f"{place % 3 + 1}.{place % 7}" for place in range(NUM_ROWS)]
    table = read({"a": comma(VALUES), "version": versions, "y": comma(TARGET)}, ";")
    np.testing.assert_allclose(table.features["version"], [float(version) for version in versions])
    np.testing.assert_allclose(table.features["a"], VALUES)
    assert said(table, "decimal points", "'version'")
    assert said(table, "decimal commas", "'a'", "'y'")


def test_the_decision_rests_on_all_rows(read):
    whole = [str(place) for place in range(300)]
    table = read({"a": [*whole, *(f"{place},5" for place in range(300))], "y": ["u", "v"] * 300}, ";")
    np.testing.assert_array_equal(table.features["a"], [*range(300), *np.arange(300) + 0.5])


def test_what_three_digits_mean_where_nothing_else_tells(read, said):
    three = [f"{place % 9 + 1}.{100 + place * 13 % 900}" for place in range(NUM_ROWS)]
    values = [float(text) for text in three]
    y = ["u", "v"] * (NUM_ROWS // 2)
    np.testing.assert_allclose(read({"a": three, "y": y}).features["a"], values)
    table = read({"a": three, "y": y}, ";")
    np.testing.assert_allclose(table.features["a"], values)
    assert said(table, "decimal points", "--column a=decimal-comma")
    with_commas = [text.replace(".", ",") for text in three]
    np.testing.assert_allclose(read({"a": with_commas, "y": y}).features["a"], np.array(values) * 1000)
    np.testing.assert_allclose(read({"a": with_commas, "y": y}, ";").features["a"], values)
    below = [*(str(place * 17 % 899 + 100) for place in range(50)), *(f"1.0{place:02d}" for place in range(10))]
    np.testing.assert_allclose(
        read({"a": below, "y": y}, ";").features["a"], [float(text.replace(".", "")) for text in below]
    )


@pytest.mark.parametrize(
    "mark",
    ["-", "--", ".", "None", "#DIV/0!", "n.a.", "N.A.", "missing", "(null)", "<NA>", "unknown", "k.A.", "absent", "*"],
)
def test_marks_for_missing_numbers(read, mark, said):
    written = every(texts(VALUES), 8, mark)
    table = read({"x": written, "z": texts(AMOUNTS), "y": texts(TARGET)})
    np.testing.assert_array_equal(table.features["x"], [np.nan if text == mark else float(text) for text in written])
    assert table.columns[0].has_missing
    if mark != "<NA>":  # missing everywhere, no guess
        assert said(table, "missing among numbers", "'x' (8 cells", repr(mark), "--column x=category")


def test_a_column_may_be_mostly_marks(read, said):
    written = ["-" if place % 4 else f"{value:.2f}" for place, value in enumerate(VALUES)]
    table = read({"x": written, "z": texts(AMOUNTS), "y": texts(TARGET)})
    assert table.features["x"].notna().sum() == NUM_ROWS // 4
    assert said(table, "missing among numbers", "'-' in 45")


def test_marks_are_levels_in_a_column_of_words(read):
    table = read({"x": every(["red", "blue", "green"] * 20, 8, "-"), "y": texts(TARGET)})
    assert sorted(table.features["x"].cat.categories) == ["-", "blue", "green", "red"]


def test_bounds_are_missing_and_said_apart(read, said):
    written = every(every(texts(VALUES), 6, "<0.5"), 7, "-")
    table = read({"x": written, "y": texts(TARGET)})
    assert said(table, "bounds read as missing", "'<0.5'")
    assert said(table, "missing among numbers", "'-'")
    assert table.features["x"].isna().sum() == sum(text in ("<0.5", "-") for text in written)


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ([f"{value} {'kg' if value > 50 else 'g'}" for value in VALUES], " g' in"),
        ([f"{value} {('m', 'km')[place % 2]}" for place, value in enumerate(VALUES)], "m' in"),
        ([f"{value}{(' m', '')[place % 2]}" for place, value in enumerate(VALUES)], ""),
        ([f"{value}{(' K', ' °C')[place % 2]}" for place, value in enumerate(VALUES)], "°C"),
        (every([str(place % 4) for place in range(NUM_ROWS)], 8, "3+"), "'3+'"),
        (every([str(place % 4) for place in range(NUM_ROWS)], 8, "1OT"), "'1OT'"),
        (every([("01", "23", "46")[place % 3] for place in range(NUM_ROWS)], 3, "7p"), "'7p'"),
        (every(texts(VALUES, "{:.0f}%"), 8, "0.5"), "'0.5'"),
        ([text if place % 3 else "abc"[place % 2] for place, text in enumerate(texts(VALUES))], "'a'"),
        (texts(VALUES, "~{:.1f}"), "~"),
        ([f"{place % 24}:3" for place in range(NUM_ROWS)], ":"),
        ([f"{place % 5}0-{place % 5}9" for place in range(NUM_ROWS)], "'10-19' in 12"),
        ([f"{place % 5}0-" for place in range(NUM_ROWS)], "'10-' in 12"),
    ],
)
def test_what_looks_like_numbers_and_is_not_read_so_is_said(read, written, words, said):
    table = read({"x": written, "z": texts(VALUES), "y": texts(TARGET)})
    assert said(table, "not read as numbers", "'x'", words, "--column x=")


@pytest.mark.parametrize(
    ("written", "values"),
    [
        (["950", "1.2k", "3M", "2.5 bn", "0"], [950, 1200, 3e6, 2.5e9, 0]),
        (["€565K", "€110.5M", "€0", "-€3m"], [565e3, 110.5e6, 0, -3e6]),
        (["1,5 Mio. €", "2 Mrd. €", "700 €", "30 Tsd. €"], [1.5e6, 2e9, 700, 3e4]),
        (["3 万", "1.5亿", "20"], [3e4, 1.5e8, 20]),
        (["13:45", "00:00", "23:59"], [49500, 0, 86340]),
        (["1:30 pm", "12:05 AM", "9 p.m."], [48600, 300, 75600]),
        (["00:05:12", "1:00:00.5", "-0:00:01"], [312, 3600.5, -1]),
        (["58:12", "1:02:33", "3:07"], [3492, 3753, 187]),
        (["1:23.45", "0:59.99"], [83.45, 59.99]),
        (["1h 20m", "45 min", "2 hours", "1d 3h", "30 sec", "13h45"], [4800, 2700, 7200, 97200, 30, 49500]),
        (["0 days 00:10:00", "2 days 01:00:00"], [600, 176400]),
        (["1 year 2 months", "5 mo", "3 wks"], [14 * 2629800, 5 * 2629800, 21 * 86400]),
        (["40°30'N", "33° 15′ 36″ S", "0°0'36\"W", "12.5° E"], [40.5, -33.26, -0.01, 12.5]),
        (["40.5° N", "33.25° S"], [40.5, -33.25]),
    ],
)
def test_factors_times_and_durations(read, tmp_path, written, values, said):
    cells = (written * NUM_ROWS)[:NUM_ROWS]
    table = read({"x": cells, "z": texts(VALUES), "y": texts(TARGET)}, ";")
    np.testing.assert_allclose(table.features["x"], (values * NUM_ROWS)[:NUM_ROWS], rtol=1e-12)
    how = "south and west below zero" if "°" in written[0] else "multiplied"
    how = "read as seconds" if any(sign in "".join(written) for sign in ":h") else how
    assert said(table, how, "'x'", "--column x=category")
    (tmp_path / "new.csv").write_text(f"x;z\n{written[0]};1\n", encoding="utf-8")
    assert read_rows(tmp_path / "new.csv", table.columns)["x"].tolist() == values[:1]


def test_missing_values_of_the_target_are_named(read):
    with pytest.raises(UserError, match=r"1 missing value in the target 'y' \(.*: '-' \(line 12\)\)"):
        read({"x": texts(VALUES), "y": [*texts(TARGET)[:10], "-", *texts(TARGET)[11:]]})


def test_leading_zeros_are_said_and_can_be_levels(read, said):
    codes = [f"0{1234 + place % 5}" for place in range(NUM_ROWS)]
    table = read({"zip": codes, "y": texts(TARGET)})
    assert said(table, "leading zeros", "'zip'", "--column zip=category")
    table = read({"zip": codes, "y": texts(TARGET)}, columns={"zip": "category"})
    assert table.features["zip"].iloc[0] == "01234"
    for gap in ("", "-"):
        assert said(read({"zip": every(codes, 9, gap), "y": texts(TARGET)}), "leading zeros", "'zip'")


def test_a_unit_may_be_plural(read):
    table = read({"stay": [f"{k % 3 + 1} night{'s' * (k % 3 > 0)}" for k in range(NUM_ROWS)], "y": texts(TARGET)})
    assert table.features["stay"].tolist() == [k % 3 + 1 for k in range(NUM_ROWS)]


@pytest.mark.parametrize("unit", ["kg", "USD", "GB", "Stk", "x"])
def test_letters_behind_numbers_are_a_unit_where_most_have_them_or_all_know_them(read, unit, said):
    known = unit in ("kg", "USD", "GB")
    written = [f"{place % 7}{unit if place % 3 < (1 if known else 2) else ''}" for place in range(NUM_ROWS)]
    table = read({"x": written, "y": texts(TARGET)})
    assert table.features["x"].tolist() == [place % 7 for place in range(NUM_ROWS)]
    few = [f"{place}{unit if place == 9 else ''}" for place in range(NUM_ROWS)]
    table = read({"x": few, "y": texts(TARGET)}, columns={"x": "number"})
    assert table.features["x"].isna().sum() == (not known)
    assert known or said(table, "missing among numbers", f"'9{unit}'")


@pytest.mark.parametrize("ending", ["/100", " out of 5 stars", " l/100 km"])
def test_numbers_that_all_end_alike(read, tmp_path, ending, said):
    table = read({"x": every([f"{v:.1f}{ending}" for v in VALUES], 9, "-"), "y": texts(TARGET)})
    numbers = [np.nan if place % 9 == 0 else float(f"{value:.1f}") for place, value in enumerate(VALUES)]
    np.testing.assert_allclose(table.features["x"], numbers)
    assert said(table, f"the unit {ending.strip()}", "'x'")
    (tmp_path / "new.csv").write_text(f"x\n7{ending}\n", encoding="utf-8")
    assert read_rows(tmp_path / "new.csv", table.columns)["x"].tolist() == [7]


def test_codes_with_a_sign_between_are_no_numbers(read, said):
    table = read(
        {"code": [f"{8352 + place}-GBBCA" for place in range(NUM_ROWS)], "z": texts(VALUES), "y": texts(TARGET)}
    )
    assert said(table, "dropped as an identifier", "code")
    assert not said(table, "not read as numbers")


def test_nines_far_from_all_other_numbers_are_named(read):
    table = read({"a": every(texts(VALUES), 9, "-999"), "b": every(texts(VALUES), 9, "99"), "y": texts(TARGET)})
    (note,) = (note for note in cautions(table, "r2") if "missing" in note)
    assert note.startswith("'a' is -999 in several rows and otherwise")
    table = read(
        {"nox": every(texts(np.abs(AMOUNTS), "{:.0f}"), 9, "-200"), "b": texts(VALUES - 50), "y": texts(TARGET)}
    )
    (note,) = cautions(table, "r2")
    assert note.startswith("'nox' is -200 in several rows")
    (note,) = cautions(read({"a": texts(VALUES), "y": every(texts(TARGET), 9, "9999")}), "r2")
    assert note.startswith("'y' is 9999")


def test_a_metric_that_hangs_on_a_few_rows_is_said(read, said):
    far = read({"x": texts(VALUES), "y": [*texts(np.abs(TARGET))[:-1], "90000"]})
    (note,) = cautions(far, "r2")
    assert note.startswith("r2 hangs on 1 row of 60, where 'y' is as far off as 90000: 98% of all squared")
    assert "logarithm" in note
    assert cautions(far, "mae") == cautions(read({"x": texts(VALUES), "y": texts(TARGET)}), "r2") == []


def test_digits_of_one_width_are_labels_as_written(read, said):
    codes = [f"{1 + place % 12:02}" for place in range(NUM_ROWS)]
    table = read({"x": texts(VALUES), "month": codes}, target="month")
    assert table.classes == tuple(f"{month:02}" for month in range(1, 13))
    assert said(table, "as written", "month=number")
    assert read({"x": texts(VALUES), "month": codes}, target="month", columns={"month": "number"}).classes[0] == "1"
    uneven = ["07", *(str(place % 3) for place in range(1, NUM_ROWS))]
    assert "7" in read({"x": texts(VALUES), "y": uneven}).classes


def test_an_empty_target_is_called_so(read):
    with pytest.raises(UserError, match=r"the target 'z' is empty \(.*\)\. Choose another column"):
        read({"x": texts(VALUES), "z": [""] * NUM_ROWS})


COLUMNS = {"a": comma(VALUES), "y": comma(TARGET)}


@pytest.mark.parametrize(
    ("options", "separator"),
    [
        ({"before": "sep=;\n"}, ";"),
        ({"before": '"sep=;"\r\n'}, ";"),
        ({"before": "sep=^\n"}, "^"),
        ({"before": "# exported\n# by a tool, today\n"}, ";"),
        ({"before": "#\n\n# exported; by a tool\n"}, ";"),
        ({"encoding": "utf-16-le"}, ";"),
        ({"encoding": "utf-16-be"}, ";"),
        ({"encoding": "utf-16"}, ";"),
        ({"encoding": "utf-32"}, ";"),
    ],
)
def test_what_stands_around_a_table(read, options, separator):
    table = read(COLUMNS, separator, **options)
    np.testing.assert_allclose(table.features["a"], VALUES)
    np.testing.assert_allclose(table.target, TARGET)


def test_joined_files_have_their_header_twice(tmp_path):
    path = tmp_path / "t.csv"
    part = "a,y\n" + "".join(f"{value},{value / 3}\n" for value in VALUES)
    path.write_text(part + part)
    table = load_table(path)
    assert table.num_rows == 2 * NUM_ROWS
    assert "1 more line with the names left out" in table.notes


def test_a_nameless_column_within_the_table_is_a_feature(read):
    table = read({"z": texts(VALUES), "": texts(np.arange(NUM_ROWS) % 41, "{:.0f}"), "y": texts(TARGET)})
    assert [column.name for column in table.columns] == ["z", "column_2"]


@pytest.mark.parametrize(
    ("names", "columns", "has_header"),
    [
        (["country", "2019", "2020", "2021"], "wvvv", True),
        (["region", "2019", "unit", "price"], "wvwv", True),
        (["sample", "1100", "1102", "1104", "y"], "wvvvv", True),
        (["country", "1", "2", "3", "4", "5", "6", "8", "9", "y"], "wvvvvvvvvw", True),
        (["a", "1", "2", "3", "4", "6", "7", "8", "5"], "wvvvvvvvv", False),
        (["0.5", "1.0", "1.5", "y"], "vvvv", True),
        (["dose", "1e-9", "time", "y"], "vvvv", True),
        (["0", "1", "2", "y"], "vvvv", True),
        (["class", "odor", "y"], "cww", True),
        (["a", "b"], "ww", False),
        (["12.5", "31.0", "71.25"], "vvv", False),
        (["b", "40.25", "44.5"], "wvv", False),
    ],
)
def test_the_first_line(tmp_path, names, columns, has_header, said):
    kinds = {"w": ["a", "b"] * 30, "v": texts(VALUES), "c": ["class", "order"] * 30}
    lines = [names, *zip(*(kinds[kind] for kind in columns), strict=True)]
    path = tmp_path / "t.csv"
    path.write_text("\n".join(",".join(line) for line in lines))
    table = load_table(path)
    assert table.num_rows == NUM_ROWS + (not has_header)
    assert (table.target_names == (names[-1],)) == has_header
    assert has_header or said(table, "no header line", "--header")


def test_new_rows_are_read_by_the_decisions_of_training(tmp_path):
    path = tmp_path / "t.csv"
    lines = [f"{a};{b};{y}" for a, b, y in zip(swapped(AMOUNTS), comma(VALUES), comma(TARGET), strict=True)]
    path.write_text("\n".join(["a;b;y", *lines]))
    table = load_table(path)
    path.write_text("a;b\n5.251;7\n-;1,5\n")  # by itself 5.251 could be a decimal number
    rows = read_rows(path, table.columns, target_names=["y"])
    np.testing.assert_array_equal(rows["a"], [5251.0, np.nan])
    np.testing.assert_array_equal(rows["b"], [7.0, 1.5])
    path.write_text("a;b\n1;2.5\n")
    with pytest.raises(UserError, match=r"column 'b' holds '2.5' \(line 2\) where training had a number"):
        read_rows(path, table.columns, target_names=["y"])
