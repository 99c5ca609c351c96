"""What a column is taken for: a feature, an identifier, a text; and what the user says it is."""

import numpy as np
import pytest

from tfopt.errors import UserError

NUM_ROWS = 60
RNG = np.random.default_rng(0)
VALUES = RNG.normal(50, 20, NUM_ROWS).round(2)
TARGET = (3 * VALUES + RNG.normal(0, 5, NUM_ROWS)).round(2)


def texts(values, form="{:.2f}"):
    return [form.format(value) for value in values]


@pytest.mark.parametrize(
    "name", ["amount_paid", "bid", "humid", "fluid", "covid", "prepaid", "price_index", "t", "x", "population"]
)
def test_features_whose_names_look_like_identifiers(read, name):
    numbers = RNG.permutation(np.arange(1000, 9000, 131))[:NUM_ROWS]
    table = read({name: texts(numbers, "{:.0f}"), "z": texts(VALUES), "y": texts(2 * numbers + VALUES)})
    assert [column.name for column in table.columns] == [name, "z"]


@pytest.mark.parametrize(
    ("name", "numbers"),
    [("year", np.arange(1964, 1964 + NUM_ROWS)), ("t", np.arange(NUM_ROWS)), ("age", np.arange(20, 20 + NUM_ROWS))],
)
def test_time_that_counts_up_is_a_feature(read, name, numbers):
    table = read({name: texts(numbers, "{:.0f}"), "y": texts(TARGET)})
    assert [column.name for column in table.columns] == [name]


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("customer_id", texts(RNG.permutation(np.arange(1000, 9000, 131))[:NUM_ROWS], "{:.0f}")),
        ("PassengerId", texts(np.arange(1, NUM_ROWS + 1), "{:.0f}")),
        ("order nr", texts(np.arange(NUM_ROWS) * 7, "{:.0f}")),
        ("Kundennr", texts(np.arange(NUM_ROWS) * 7, "{:.0f}")),
        ("contact", [f"ann.smith{place}@example.com" for place in range(NUM_ROWS)]),
        ("rownum", texts(np.arange(NUM_ROWS), "{:.0f}")),
        ("observation no", texts(np.arange(NUM_ROWS), "{:.0f}")),
        ("ref", [f"A{place * place}x" for place in range(NUM_ROWS)]),
        ("order_id", [str(1234567890123456789 + 3 * place) for place in range(NUM_ROWS)]),
        ("code", [str(1234567890123456789 + 3 * place) for place in range(NUM_ROWS)]),
        ("", texts(np.arange(NUM_ROWS), "{:.0f}")),
        ("", texts(RNG.permutation(np.arange(2 * NUM_ROWS))[:NUM_ROWS], "{:.0f}")),
        ("", texts(np.arange(NUM_ROWS) % 20, "{:.0f}")),
        ("", texts(RNG.integers(0, NUM_ROWS, NUM_ROWS), "{:.0f}")),
        ("", [f"Mazda RX{place}" for place in range(NUM_ROWS)]),
        ("Unnamed: 0", texts(RNG.permutation(NUM_ROWS), "{:.0f}")),
    ],
)
def test_identifiers_are_dropped_and_said(read, name, written, said):
    table = read({name: written, "z": texts(VALUES), "y": ["a", "b", "c"] * (NUM_ROWS // 3)})
    name = name or "column_1"
    assert [column.name for column in table.columns] == ["z"]
    note = said(table, "dropped as an identifier", name)
    assert "keep with --column" in note
    kept = read({name: written, "z": texts(VALUES), "y": ["a", "b", "c"] * 20}, columns={name: "category"})
    assert [column.name for column in kept.columns] == [name, "z"]


def test_codes_without_relation_to_anything_are_dropped(read):
    rows = 200
    codes = RNG.permutation(np.arange(10_000, 90_000, 7))[:rows]
    noise = RNG.normal(size=rows)
    columns = {"policy": texts(codes, "{:.0f}"), "z": texts(noise)}
    assert [column.name for column in read({**columns, "y": texts(noise + 1)}).columns] == ["z"]
    assert [column.name for column in read({**columns, "y": texts(codes / 100)}).columns] == ["policy", "z"]
    amounts = {"paid": texts(codes, "{:,.0f}"), "weight": texts(RNG.permutation(codes), "{:.0f} kg")}
    assert [column.name for column in read({**amounts, "y": texts(noise)}).columns] == ["paid", "weight"]
    bent = (codes - codes.mean()) ** 2 / 1e6
    assert [column.name for column in read({**columns, "y": texts(bent)}).columns] == ["policy", "z"]


def test_texts_of_several_words_are_kept(read, said):
    written = [f"the {('good', 'bad')[place % 2]} film number {place}" for place in range(NUM_ROWS)]
    table = read({"review": written, "z": texts(VALUES), "y": ["p", "n"] * (NUM_ROWS // 2)})
    assert table.columns[0].kind == "text"
    assert table.features["review"].tolist() == written
    assert said(table, "text of several words", "'review'", "--column review=category")


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("number", "numeric"), ("category", "categorical"), ("text", "text"), ("decimal-point", "numeric")],
)
def test_the_kind_of_a_column_can_be_told(read, kind, expected, said):
    written = ["many words" if place % 3 == 0 else str(place % 7) for place in range(NUM_ROWS)]
    table = read({"x": written, "z": texts(VALUES), "y": texts(TARGET)}, columns={"x": kind})
    assert table.columns[0].kind == expected
    assert said(table, "missing among numbers") or expected != "numeric"


def test_a_column_can_be_left_out_and_must_be_what_it_is_told_to_be(read):
    columns = {"x": texts(VALUES), "word": ["a", "b"] * (NUM_ROWS // 2), "y": texts(TARGET)}
    assert [column.name for column in read(columns, columns={"word": "drop"}).columns] == ["x"]
    with pytest.raises(UserError, match=r"no number in column 'word' \(.*: 'a', 'b'\), though --column word=number"):
        read(columns, columns={"word": "number"})
    with pytest.raises(UserError, match="no date in column 'word'"):
        read(columns, columns={"word": "date"})
    with pytest.raises(UserError, match=r"no column 'wrod' for --column .*Did you mean 'word'"):
        read(columns, columns={"wrod": "date"})
    with pytest.raises(UserError, match=r"--column word=kategory is not one of the kinds .*Did you mean 'category'"):
        read(columns, columns={"word": "kategory"})
