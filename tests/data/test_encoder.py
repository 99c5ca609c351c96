"""The encoder's numbers against scikit-learn and hand-made ones; its width and its finiteness under everything."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tfopt.data import Column, TableEncoder

SCALINGS = ["none", "standard", "robust", "common"]


def numeric_frame(seed=0, num_rows=50, num_columns=4):
    values = np.random.default_rng(seed).normal(3.0, [1.0, 10.0, 0.1, 5.0][:num_columns], (num_rows, num_columns))
    return pd.DataFrame(values, columns=list("abcd")[:num_columns])


def numeric_columns(frame, **options):
    return [Column(name, "numeric", **options) for name in frame]


def test_standard_is_scikit_learns():
    train, test = numeric_frame(0), numeric_frame(1)
    encoder = TableEncoder(numeric_columns(train)).fit(train)
    expected = StandardScaler().fit(train).transform(test)
    given = encoder.transform(test)
    assert given.dtype == np.float32
    np.testing.assert_allclose(given, expected, rtol=1e-6, atol=1e-6)


def test_robust_by_hand():
    # Sorted 0 1 2 3 100: median 2, quartiles 1 and 3, so z = (x - 2) / 2; then z / sqrt(1 + (z/3)^2).
    frame = pd.DataFrame({"a": [3.0, 0.0, 100.0, 1.0, 2.0]})
    given = TableEncoder(numeric_columns(frame), scaling="robust").fit_transform(frame)[:, 0]
    np.testing.assert_allclose(given, [0.4931970, -0.9486833, 2.9943930, -0.4931970, 0.0], atol=1e-6)


def test_robust_with_equal_quartiles_uses_half_the_range():
    frame = pd.DataFrame({"a": [5.0] * 8 + [1.0, 9.0]})
    given = TableEncoder(numeric_columns(frame), scaling="robust").fit_transform(frame)[:, 0]
    np.testing.assert_allclose(given[:8], 0.0)
    np.testing.assert_allclose(given[8:], [-0.9486833, 0.9486833], atol=1e-6)  # z = ±1


def test_common_divides_all_columns_by_one_number():
    frame = numeric_frame()
    centred = frame.to_numpy() - frame.to_numpy().mean(axis=0)
    given = TableEncoder(numeric_columns(frame), scaling="common").fit_transform(frame)
    np.testing.assert_allclose(given, centred / np.sqrt((centred**2).mean()), rtol=1e-5, atol=1e-6)


def test_none_gives_values_as_read_with_medians_for_missing():
    frame = pd.DataFrame({"a": [1.0, np.nan, 4.0, 10.0]})
    given = TableEncoder(numeric_columns(frame, has_missing=True), scaling="none").fit_transform(frame)
    np.testing.assert_array_equal(given, [[1, 0], [4, 1], [4, 0], [10, 0]])


def test_everything_is_learned_on_the_training_rows_alone():
    train, far = numeric_frame(0), numeric_frame(1) + 1000.0
    encoder = TableEncoder(numeric_columns(train)).fit(train)
    before = encoder.transform(train)
    assert encoder.transform(far).min() > 10
    np.testing.assert_array_equal(encoder.transform(train), before)


def test_slots_hold_the_most_frequent_training_levels():
    column = Column("c", "categorical", num_levels=5, has_missing=True)
    train = pd.DataFrame({"c": pd.Categorical(["b", "a", "b", None, "c", "c", "b", "z"])})
    encoder = TableEncoder([column], max_levels=2).fit(train)
    assert encoder.get_feature_names_out().tolist() == ["c=b", "c=c", "c=(other)", "c=(missing)"]
    new = pd.DataFrame({"c": ["c", "a", "never seen", None, "b", "", "?"]})
    expected = [[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 0], [0, 0, 0, 1], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 1]]
    np.testing.assert_array_equal(encoder.transform(new), expected)


def test_levels_absent_from_a_fold_leave_their_slots_empty():
    column = Column("c", "categorical", num_levels=4)
    encoder = TableEncoder([column]).fit(pd.DataFrame({"c": ["x", "x", "y"]}))
    assert encoder.width == 5
    names = ["c=x", "c=y", "c=(unused 2)", "c=(unused 3)", "c=(other)"]
    assert encoder.get_feature_names_out().tolist() == names
    np.testing.assert_array_equal(encoder.transform(pd.DataFrame({"c": ["q", "y", None]}))[:, 4], [1, 0, 1])


def test_the_one_hots_of_each_category_are_its_levels():
    frame = pd.DataFrame({"size": [1.0, 2.0, 3.0], "c": ["x", None, "y"], "full": ["a", "b", "c"], "d": list("pqq")})
    kinds = {"c": {"num_levels": 3, "has_missing": True}, "full": {"num_levels": 0}, "d": {"num_levels": 2}}
    columns = [Column("size", "numeric"), *(Column(name, "categorical", **kind) for name, kind in kinds.items())]
    encoder = TableEncoder(columns).fit(frame)
    names = encoder.get_feature_names_out()
    assert [names[list(places)].tolist() for places in encoder.one_hots] == [
        ["c=x", "c=y", "c=(unused 2)"],
        ["d=q", "d=p"],
    ]
    assert TableEncoder(columns[:1]).one_hots == ()


@pytest.mark.parametrize("written", [["1", "2"], [1, 2], [1.0, 2.0], ["1.0", " 2 "]])
def test_one_level_however_it_is_written(written):
    encoder = TableEncoder([Column("c", "categorical", num_levels=2)]).fit(pd.DataFrame({"c": ["1", "2", "1"]}))
    np.testing.assert_array_equal(encoder.transform(pd.DataFrame({"c": written})), [[1, 0, 0], [0, 1, 0]])


def test_booleans():
    column = Column("b", "boolean", has_missing=True)
    encoder = TableEncoder([column]).fit(pd.DataFrame({"b": [1.0, 1.0, 0.0, np.nan]}))
    new = pd.DataFrame({"b": ["yes", "FALSE", None, "1"]})
    np.testing.assert_array_equal(encoder.transform(new), [[1, 0], [0, 0], [1, 1], [1, 0]])


def test_dates_by_hand():
    column = Column("d", "date", has_missing=True)
    # Monday 1 January 2024 at midnight; 185 days later, a Thursday at noon; a missing one.
    frame = pd.DataFrame({"d": pd.to_datetime(["2024-01-01 00:00", "2024-07-04 12:00", None])})
    given = TableEncoder([column], scaling="none").fit_transform(frame)
    days = (pd.Timestamp("2024-01-01") - pd.Timestamp("1970-01-01")).days
    assert given[0].tolist() == [days, 0, 1, 0, 1, 0, 1, 0]
    year, week = 2 * np.pi * 185 / 365.25, 2 * np.pi * 3 / 7
    expected = [days + 185.5, np.sin(year), np.cos(year), np.sin(week), np.cos(week), 0, -1, 0]
    np.testing.assert_allclose(given[1], expected, atol=1e-6)
    np.testing.assert_allclose(given[2], [days + 185.5 / 2, 0, 0, 0, 0, 0, 0, 1])


def test_columns_without_spread_become_zero():
    frame = pd.DataFrame({"a": [0.1] * 7, "b": [1e9 + 1 / 3] * 7})
    for scaling in ["standard", "robust", "common"]:
        given = TableEncoder(numeric_columns(frame), scaling=scaling).fit(frame).transform(frame + 5.0)
        np.testing.assert_array_equal(given, 0.0)


def test_a_column_that_is_missing_throughout_a_fold():
    columns = [Column("a", "numeric", has_missing=True), Column("d", "date", has_missing=True)]
    train = pd.DataFrame({"a": [np.nan] * 3, "d": pd.to_datetime([None] * 3)})
    for scaling in SCALINGS:
        encoder = TableEncoder(columns, scaling=scaling).fit(train)
        assert np.isfinite(encoder.transform(train)).all()
        new = pd.DataFrame({"a": [5.0], "d": pd.to_datetime(["2020-01-01"])})
        assert np.isfinite(encoder.transform(new)).all()


@given(
    values=hnp.arrays(
        np.float64, st.tuples(st.integers(1, 12), st.just(3)), elements=st.floats(allow_infinity=False, allow_nan=True)
    ),
    scaling=st.sampled_from(SCALINGS),
)
def test_any_finite_numbers_give_finite_numbers(values, scaling):
    frame = pd.DataFrame(values, columns=list("abc"))
    columns = [Column("a", "numeric", has_missing=True), *numeric_columns(frame[["b", "c"]])]
    given = TableEncoder(columns, scaling=scaling).fit(frame).transform(frame)
    assert given.shape == (len(frame), 4)
    assert np.isfinite(given).all()
    if scaling == "robust":
        assert np.abs(given).max(initial=0) <= 3.0 + 1e-6


@given(seed=st.integers(0, 10**6), rows=st.lists(st.integers(0, 59), min_size=1, max_size=60))
def test_width_and_block_order_depend_on_the_columns_alone(columns, make_rows, seed, rows):
    frame = make_rows(seed)
    encoder = TableEncoder(columns).fit(frame.iloc[rows])
    assert encoder.transform(frame).shape == (60, TableEncoder(columns).width)
    assert len(set(encoder.get_feature_names_out())) == encoder.width
    assert np.isfinite(encoder.transform(frame)).all()


def test_each_row_is_encoded_alone(columns, make_rows):
    frame = make_rows(3, num_rows=5000, new_levels=True)
    encoder = TableEncoder(columns, scaling="robust").fit(make_rows(4))
    whole = encoder.transform(frame)
    order = np.random.default_rng(0).permutation(5000)
    np.testing.assert_array_equal(encoder.transform(frame.iloc[order]), whole[order])
    assert encoder.transform(frame.iloc[:0]).shape == (0, encoder.width)


def test_it_is_a_scikit_learn_transformer(columns, make_rows):
    frame = make_rows(0)
    encoder = TableEncoder(columns, scaling="robust", max_levels=3)
    copy = clone(encoder)
    assert copy.get_params() == {"columns": columns, "scaling": "robust", "max_levels": 3}
    copy.set_params(scaling="none")
    assert copy.fit_transform(frame).max() > 1e8
    assert len(encoder.fit(frame).get_feature_names_out()) == encoder.transform(frame).shape[1] == encoder.width
    np.testing.assert_array_equal(make_pipeline(clone(encoder)).fit_transform(frame), encoder.transform(frame))


def test_only_levels():
    frame = pd.DataFrame({"c": ["x", "y"]})
    given = TableEncoder([Column("c", "categorical", num_levels=2)]).fit_transform(frame)
    np.testing.assert_array_equal(given, [[1, 0, 0], [0, 1, 0]])


@pytest.mark.parametrize("arguments", [{"scaling": "minmax"}, {"max_levels": -1}])
def test_bad_arguments(arguments):
    frame = numeric_frame()
    with pytest.raises(ValueError, match=f"Argument `{next(iter(arguments))}`"):
        TableEncoder(numeric_columns(frame), **arguments).fit(frame)
