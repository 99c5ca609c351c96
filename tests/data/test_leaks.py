"""Columns that give the target away are named, and no honest column is."""

import numpy as np
import pandas as pd
import pytest

from tfopt.data import load_table
from tfopt.data.leaks import leaks
from tfopt.data.repeats import repeated_rows


@pytest.fixture
def read(tmp_path):
    def make(frame, **options):
        frame.to_csv(tmp_path / "rows.csv", index=False)
        return load_table(tmp_path / "rows.csv", **options)

    return make


def named(found):
    return [column.name for column, _ in found]


def honest(seed=0, num_rows=200):
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(random.normal(size=(num_rows, 3)).round(3), columns=["a", "b", "c"])
    frame["city"] = random.choice(["Bonn", "Köln", "Trier"], num_rows)
    frame["price"] = (np.exp(frame["a"] + 0.3 * random.normal(size=num_rows)) * 100).round(2)
    frame["class"] = np.where(frame["a"] + 0.3 * random.normal(size=num_rows) > 0, "yes", "no")
    return frame


REGRESSION = {
    "another currency": lambda f: (f["price"] * 1.0853).round(2),
    "logarithm": lambda f: np.log(f["price"]).round(4),
    "rank": lambda f: f["price"].rank(method="first") * 3 + 0.5,
    "with noise": lambda f: f["price"] * 1.19 + np.random.default_rng(1).normal(0, 0.05 * f["price"].std(), len(f)),
    "with gaps": lambda f: (f["price"] * 2).mask(f["a"] > 1),
}


@pytest.mark.parametrize("copy", REGRESSION)
def test_copies_of_a_number(copy, read):
    frame = honest().drop(columns="class")
    frame.insert(2, "copy", REGRESSION[copy](frame))
    assert named(leaks(read(frame, target="price"))) == ["copy"]


def test_of_several_targets_those_that_are_given_are_named(read):
    frame = honest().drop(columns="class")
    frame["dose"] = frame["b"] * 1e-9
    assert [(c.name, targets) for c, targets in leaks(read(frame, target=["price", "dose"]))] == [("b", ["dose"])]


def test_a_smooth_course_over_time(read):
    frame = honest().drop(columns=["class", "price"])
    frame["when"] = pd.Timestamp("2020-01-01") + pd.to_timedelta(np.arange(200) * 1.5, unit="D")
    frame["heat"] = (10 * np.sin(np.arange(200) / 25)).round(3)
    assert named(leaks(read(frame, target="heat"))) == ["when"]


def test_one_target_for_each_of_many_levels(read):
    frame = honest().drop(columns="class")
    frame["pupil"] = [f"p{row % 15}" for row in range(200)]
    frame["price"] = frame["pupil"].map({f"p{place}": 3.7 * place**2 % 11 for place in range(15)})
    assert named(leaks(read(frame, target="price"))) == ["pupil"]


CLASSES = {
    "in words": lambda f: f["class"].map({"yes": "granted", "no": "refused"}),
    "in codes": lambda f: f["class"].map({"yes": 7, "no": 3}),
    "only where it happened": lambda f: (f["b"] + 20).where(f["class"] == "yes"),
    "word of many": lambda f: f["class"] + " " + f["city"],
    "place in a sorted file": lambda f: (
        f["class"].map({"yes": 1000.5, "no": 2000.5}) + f.groupby("class").cumcount() * 2.5
    ),
    "with one slip": lambda f: f["class"].map({"yes": "granted", "no": "refused"}).mask(f.index == 5, "granted"),
}


@pytest.mark.parametrize("copy", CLASSES)
def test_copies_of_a_class(copy, read):
    frame = honest().drop(columns="price")
    frame.insert(2, "copy", CLASSES[copy](frame))
    assert named(leaks(read(frame, target="class"))) == ["copy"]


@pytest.mark.parametrize("seed", range(5))
def test_honest_columns_are_not_named(seed, read):
    for num_rows in (12, 40, 300):
        frame = honest(seed, num_rows)
        assert leaks(read(frame.drop(columns="class"), target="price")) == []
        assert leaks(read(frame.drop(columns="price"), target="class")) == []


@pytest.mark.parametrize("name", ["iris", "breast_cancer", "wine", "diabetes", "linnerud", "friedman2", "digits"])
def test_embedded_tables_have_no_leak(name):
    assert leaks(load_table(name)) == []


def test_a_rare_class_is_not_told_apart_by_chance(read):
    frame = honest(1, 400)
    frame["class"] = np.where(np.arange(400) < 4, "rare", "common")
    frame["at"] = np.arange(400) * 0.37
    assert leaks(read(frame.drop(columns="price"), target="class")) == []


def test_copies_of_rows_have_one_code(read):
    frame = honest()
    table = read(pd.concat([frame, frame.iloc[[3, 3, 50]]]), target="class")
    codes = repeated_rows(table)
    assert codes[3] == codes[200] == codes[201]
    assert codes[50] == codes[202]
    assert len(np.unique(codes)) == 200
    assert len(np.unique(repeated_rows(read(pd.concat([frame, frame]), target="price")))) == 200


def test_rows_that_differ_in_the_target_alone_are_no_copies(read):
    frame = honest()
    other = frame.iloc[[3]].assign(price=1.0)
    assert repeated_rows(read(pd.concat([frame, other]), target="price")) is None
    assert repeated_rows(read(frame, target="price")) is None


def test_rows_of_a_few_values_are_equal_without_being_copies(read):
    random = np.random.default_rng(0)
    frame = pd.DataFrame({name: random.choice(["x", "y"], 300) for name in "abcd"} | {"n": random.integers(0, 5, 300)})
    assert repeated_rows(read(frame, target="d")) is None
    inactive = honest().assign(a=lambda f: f["a"].where(f.index % 5 > 0, 0.0))
    inactive.loc[::5, ["b", "c"]] = 0.0
    inactive.loc[::5, ["city", "class"]] = "Bonn", "no"
    assert repeated_rows(read(inactive.drop(columns="price"), target="class")) is None
