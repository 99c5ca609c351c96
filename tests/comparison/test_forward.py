"""Splits in time: the past is learned, what follows is scored, with a gap and without the test part's groups."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import TimeSeriesSplit

from tfopt.comparison import FoldResult, compare, get_objective, inner_splits, outer_splits
from tfopt.comparison.forward import gap_of, time_blocks
from tfopt.errors import UserError


def test_regular_times_are_split_as_scikit_learn_does(make_table):
    random = np.random.default_rng(0)
    times = random.permutation(60)
    table = make_table(random.normal(size=60), task="regression", times=times)
    order = np.argsort(times)
    theirs = TimeSeriesSplit(n_splits=5).split(order)
    for split, (train, test) in zip(outer_splits(table, folds=5, repeats=1, seed=0), theirs, strict=True):
        assert set(split.train) == set(order[train])
        assert set(split.test) == set(order[test])


@given(
    st.lists(st.integers(0, 12), min_size=12, max_size=60),
    st.integers(2, 5),
    st.sampled_from([0.0, 0.5, 1.0, 2.0]),
    st.booleans(),
)
def test_training_is_earlier_by_the_gap_and_knows_no_group_of_the_test(make_table, times, folds, gap, grouped):
    groups = np.arange(len(times)) % 17 if grouped else None
    table = make_table(np.arange(len(times)) % 7 * 1.0, task="regression", times=times, groups=groups)
    if len(set(times)) <= folds:
        with pytest.raises(UserError, match="different times"):
            outer_splits(table, folds=folds, repeats=1, seed=0, gap=gap)
        return
    try:
        outer = outer_splits(table, folds=folds, repeats=1, seed=0, gap=gap)
    except UserError:  # only where the gap and the groups leave nothing to learn from
        plain = outer_splits(make_table(table.target, task="regression", times=times), folds=folds, repeats=1, seed=0)
        assert any(
            all(
                times[row] > min(table.times[split.test]) - gap or (grouped and groups[row] in groups[split.test])
                for row in split.train
            )
            for split in plain
        )
        return
    tested = [set(table.times[split.test]) for split in outer]
    assert len(outer) == folds
    assert not any(one & other for one, other in itertools.pairwise(tested))
    for split in outer:
        assert table.times[split.train].max() < table.times[split.test].min()
        assert table.times[split.train].max() <= table.times[split.test].min() - gap
        if grouped:
            assert not set(groups[split.train]) & set(groups[split.test])
        else:  # nothing of the past is wasted
            assert len(split.train) == (table.times <= table.times[split.test].min() - max(gap, 1e-9)).sum()


def test_inner_folds_are_forward_within_the_outer_training_part(make_table):
    table = make_table(np.arange(40.0), task="regression", times=np.arange(40)[::-1])
    outer = outer_splits(table, folds=3, repeats=1, seed=0)[-1]
    for split in inner_splits(table, outer.train, folds=2, seed=0, gap=2.0):
        assert set(split.train) | set(split.test) <= set(outer.train)
        assert table.times[split.train].max() + 2 <= table.times[split.test].min()


def test_the_first_part_has_times_for_its_inner_folds(make_table):
    table = make_table(np.arange(120.0), task="regression", times=np.repeat(np.arange(2000, 2012), 10))
    outer = outer_splits(table, folds=5, repeats=1, seed=0, first_times=4)
    assert len(np.unique(table.times[outer[0].train])) == 4
    assert [len(np.unique(table.times[split.test])) for split in outer] == [1, 1, 2, 2, 2]
    for split in outer:
        assert len(inner_splits(table, split.train, folds=3, seed=0)) == 3
    with pytest.raises(UserError, match=r"9 folds that .* need 13 different times.*Use at most 8 folds"):
        outer_splits(table, folds=9, repeats=1, seed=0, first_times=4)


def test_the_holdout_is_the_end(make_table):
    times = np.random.default_rng(0).permutation(50) * 1.0
    table = make_table(np.arange(50.0), task="regression", times=times)
    [split] = outer_splits(table, folds=5, repeats=1, seed=0, holdout=0.2)
    assert sorted(times[split.test]) == list(range(40, 50))
    [split] = outer_splits(table, folds=5, repeats=1, seed=0, holdout=0.2, gap=5.0)
    assert times[split.train].max() == 35


def test_a_class_may_turn_up_later(make_table):
    table = make_table(np.repeat([0, 1, 0, 2], 10), times=np.arange(40))
    splits = outer_splits(table, folds=3, repeats=1, seed=0, holdout=0.25)
    assert set(table.target[splits[0].test]) == {2}
    with pytest.raises(UserError, match=r"10 training rows before one of the folds are all of class 'c0'.*fewer folds"):
        outer_splits(table, folds=3, repeats=1, seed=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"folds": 4}, "4 folds that follow one another need 5 different times, and there are 4"),
        ({"folds": 2, "gap": 100.0}, "gap leaves no training row"),
        ({"folds": 2, "gap": 0.0, "holdout": 1.5}, "between 0 and 1"),
    ],
)
def test_what_cannot_be_split_is_said(make_table, options, message):
    table = make_table(np.arange(40.0), task="regression", times=np.arange(40) // 10)
    with pytest.raises(UserError, match=message):
        outer_splits(table, repeats=1, seed=0, **options)


def test_groups_that_never_end_leave_nothing_to_learn_from(make_table):
    table = make_table(np.arange(40.0), task="regression", times=np.arange(40), groups=np.arange(40) % 2)
    with pytest.raises(UserError, match=r"Groups that are also in the test part leave no training row.*no --group"):
        outer_splits(table, folds=2, repeats=1, seed=0)


@pytest.mark.parametrize(
    ("text", "dates", "gap"),
    [
        (None, True, 0),
        ("7", True, 7 * 86400),
        ("12h", True, 43200),
        ("90 m", True, 5400),
        (".5w", True, 302400),
        ("2.5", False, 2.5),
    ],
)
def test_gaps(make_table, text, dates, gap):
    table = make_table(np.arange(4.0), task="regression", times=np.arange(4))
    table.times_are_dates = dates
    assert gap_of(text, table) == gap


def test_gaps_that_are_none(make_table):
    table = make_table(np.arange(4.0), task="regression", times=np.arange(4))
    for text, message in (
        ("soon", "must be a number"),
        ("-1", "must be a number"),
        ("7d", "the time column holds numbers"),
    ):
        with pytest.raises(UserError, match=message):
            gap_of(text, table)


def test_blocks_of_time_follow_one_another():
    times = np.random.default_rng(0).permutation(100)
    blocks = time_blocks(times)
    assert np.bincount(blocks).tolist() == [10] * 10
    assert (np.diff(blocks[np.argsort(times)]) >= 0).all()


def results(table, splits, noise):
    random = np.random.default_rng(0)
    objective = get_objective("rmse", "regression")
    found = []
    for fold, split in enumerate(splits):
        target = table.target[split.test]
        for model, kind, size in (("network", "keras", 1.0), ("ridge", "sklearn", 1.0 + noise)):
            prediction = target + size * random.normal(size=len(target))
            found.append(FoldResult(model, kind, fold, objective.score(target, prediction), prediction=prediction))
    return found, objective


@pytest.mark.parametrize(
    ("holdout", "method", "said"), [(None, "follow one another", "later than"), (0.2, "blocks", "latest part")]
)
def test_the_verdict_says_what_it_takes_for_granted(make_table, holdout, method, said):
    table = make_table(np.arange(200.0), task="regression", times=np.arange(200))
    splits = outer_splits(table, folds=5, repeats=1, seed=0, holdout=holdout)
    found, objective = results(table, splits, 1.0)
    comparison = compare(found, splits, objective, target=table.target, times=table.times)
    assert method in comparison.method
    assert said in comparison.verdict
    assert comparison.outcome == "better"
    plain = compare(found, splits, objective, target=table.target)
    assert comparison.verdict.startswith(plain.verdict.partition("(")[0])
    assert said not in plain.verdict


def test_rows_that_are_alike_are_drawn_together(make_table):
    # Errors that last for twenty rows: drawn row by row they would seem twenty times as many.
    table = make_table(np.zeros(400) + np.arange(400), task="regression", times=np.arange(400))
    [split] = outer_splits(table, folds=5, repeats=1, seed=0, holdout=0.99)
    objective = get_objective("mae", "regression")
    lasting = np.repeat(np.abs(np.random.default_rng(0).normal(size=20)), 20)[-len(split.test) :]
    prediction = table.target[split.test] + lasting
    found = [
        FoldResult("ridge", "sklearn", 0, objective.score(table.target[split.test], prediction), prediction=prediction)
    ]

    def width(times):
        row = compare(found, [split], objective, target=table.target, times=times).leaderboard.iloc[0]
        return row["high"] - row["low"]

    assert width(table.times) > 2 * width(None)
