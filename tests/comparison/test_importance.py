"""Permutation importance and effect curves against scikit-learn's, and what is told of columns of every kind."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.ensemble import RandomForestRegressor
from sklearn.inspection import partial_dependence, permutation_importance

from tfopt.comparison.importance import EVALUATIONS, MOST_COLUMNS, Probe, measure, summarize
from tfopt.comparison.objective import get_objective
from tfopt.data import Column, TableEncoder, load_table

R2 = get_objective("r2", "regression")


@pytest.fixture(scope="module")
def table():
    random = np.random.default_rng(0)
    frame = pd.DataFrame(random.normal(size=(90, 3)), columns=["a", "b", "c"])
    frame["city"] = random.choice(["Bonn", "Köln", "Trier"], 90)
    frame["day"] = pd.date_range("2024-01-01", periods=90)
    frame.loc[3, ["a", "city"]] = None
    frame["note"] = ["a fine old house", "a garden of roses", "needs a new roof"] * 30
    frame["y"] = 2 * frame["a"].fillna(0) + frame["b"] + (frame["city"] == "Bonn") + 0.1 * random.normal(size=90)
    return load_table(frame, target="y", columns={"note": "text"})


@pytest.fixture(scope="module")
def fitted(table):
    encoder = TableEncoder(table.columns).fit(table.features.iloc[:40])
    forest = RandomForestRegressor(20, random_state=0)
    return encoder, forest.fit(encoder.transform(table.features.iloc[:40]), table.target[:40])


def test_every_part_of_a_column_moves_together(table, fitted):
    encoder, _ = fitted
    for source, name in zip(encoder.sources, encoder.get_feature_names_out(), strict=True):
        assert name.startswith(source)
    assert len(encoder.sources) == encoder.width
    assert encoder.sources.count("city") == 3 + 2
    assert encoder.sources.count("day") == 1 + 6
    assert encoder.sources.count("a") == 2
    city, seen = np.array(encoder.sources) == "city", []
    measure(
        Probe.of(table, np.arange(40, 90), 0, 0, holdout=False),
        table, R2, encoder, lambda matrix: [seen.append(matrix), matrix[:, 0]][1],
    )  # fmt: skip
    assert (np.concatenate(seen)[:, city].sum(axis=1) == 1).all()


@pytest.mark.slow
def test_a_column_matters_as_much_as_scikit_learn_says(table, fitted):
    encoder, forest = fitted
    test = np.arange(40, 90)
    falls = []
    for fold in range(6):  # 30 shuffles in all
        probe = Probe.of(table, test, fold, 0, holdout=False)
        assert (sorted(probe.rows), probe.repeats) == (test.tolist(), 5)
        falls.append(measure(probe, table, R2, encoder, forest.predict)["drops"])
    # scikit-learn shuffles single columns of the matrix: `b` is one of them.
    place = encoder.sources.index("b")
    expected = permutation_importance(
        forest, encoder.transform(table.features.iloc[test]), table.target[test], n_repeats=30, random_state=0
    )
    mine = np.array([fall["b"] for fall in falls])
    tolerance = 4 * np.hypot(mine.std() / 6**0.5, expected.importances_std[place] / 30**0.5)
    assert mine.mean() == pytest.approx(expected.importances_mean[place], abs=tolerance)
    assert np.mean([fall["a"] for fall in falls]) > mine.mean() > 10 * abs(np.mean([fall["c"] for fall in falls]))


def test_an_effect_is_scikit_learns_partial_dependence(table, fitted):
    encoder, forest = fitted
    probe = Probe.of(table, np.arange(40, 90), 0, 0, holdout=False)
    found = measure(probe, table, R2, encoder, forest.predict, also=["c"])
    grid = encoder.transform(table.features.iloc[probe.grid["c"]])[:, encoder.sources.index("c")].astype(float)
    expected = partial_dependence(
        forest,
        encoder.transform(table.features.iloc[probe.rows]).astype(float),
        [encoder.sources.index("c")],
        custom_values={encoder.sources.index("c"): grid},
        method="brute",
    )
    np.testing.assert_allclose(np.ravel(found["effects"]["c"]), expected["average"][0], rtol=1e-6)


def test_folds_are_summed_up_with_their_interval(table, fitted):
    encoder, forest = fitted
    probe = Probe.of(table, np.arange(40, 90), 0, 0, holdout=False)
    effects = {"a": [[0.0]] * 9, "city": [[1.0]] * 3}
    folds = [
        {"drops": dict.fromkeys("abc", drop) | {"city": 0.0, "day": 9.0, "note": None}, "effects": effects}
        for drop in (1, 3)
    ]
    summary = summarize(table, {"network": folds}, probe, 0.5, "network")
    first, second = summary["columns"][:2]
    assert (first["column"], first["kind"], first["network"]["mean"]) == ("day", "date", 9.0)
    half = stats.t.ppf(0.975, 1) * np.sqrt(2 * (1 / 2 + 0.5))  # Nadeau and Bengio: variance 2, two folds
    assert second["network"] == pytest.approx({"mean": 2.0, "low": 2 - half, "high": 2 + half})
    curves = {curve["column"]: curve for curve in summary["effects"]}
    assert curves["city"]["values"] == ["Bonn", "Köln", "Trier"]
    assert curves["city"]["network"] == [[1.0]] * 3
    assert curves["day"]["network"] is None
    assert curves["day"]["values"][0].startswith("2024-01-0")
    alone = measure(Probe.of(table, np.arange(40, 90), 0, 0, holdout=True), table, R2, encoder, forest.predict)
    a = summarize(table, {"svm": [alone]}, probe, 0.5, "svm")["columns"][0]
    assert a["column"] == "a"
    assert a["svm"]["low"] < a["svm"]["mean"] < a["svm"]["high"]


def test_the_cost_has_an_end(make_table):
    random = np.random.default_rng(0)
    for width in (MOST_COLUMNS, MOST_COLUMNS + 1):
        features = pd.DataFrame(random.normal(size=(300, width))).add_prefix("x")
        columns = tuple(Column(name, "numeric") for name in features)
        table = replace(make_table(random.integers(0, 2, 300)), features=features, columns=columns)
        probe = Probe.of(table, np.arange(300), 0, 0, holdout=False)
        assert (probe is None) == (width > MOST_COLUMNS)
        if probe is not None:
            assert width * probe.repeats * len(probe.rows) <= 1.1 * EVALUATIONS
            assert set(table.target[probe.rows]) == {0, 1}
