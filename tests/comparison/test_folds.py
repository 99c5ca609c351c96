"""Folds: partitions, strata, groups, and errors that say which class or group is in the way."""

import numpy as np
import pytest
from hypothesis import given, reject
from hypothesis import strategies as st
from sklearn.model_selection import RepeatedKFold, RepeatedStratifiedKFold

from tfopt.comparison import Split, check_split, inner_splits, outer_splits
from tfopt.errors import UserError


def _codes(*counts):
    return np.repeat(np.arange(len(counts)), counts)


def test_without_groups_the_splits_are_those_of_scikit_learn(make_table):
    table = make_table(np.random.default_rng(0).normal(size=23), task="regression")
    ours = outer_splits(table, folds=5, repeats=2, seed=0)
    theirs = list(RepeatedKFold(n_splits=5, n_repeats=2, random_state=0).split(np.zeros(23)))
    assert len(ours) == 10
    for split, (train, test) in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(split.train, train)
        np.testing.assert_array_equal(split.test, test)
    target = _codes(10, 20, 13)
    for split, (train, test) in zip(
        outer_splits(make_table(target), folds=3, repeats=2, seed=7),
        RepeatedStratifiedKFold(n_splits=3, n_repeats=2, random_state=7).split(np.zeros(43), target),
        strict=True,
    ):
        np.testing.assert_array_equal(split.train, train)
        np.testing.assert_array_equal(split.test, test)


def test_classes_keep_their_shares(make_table):
    table = make_table(_codes(50, 30, 20))
    for split in outer_splits(table, folds=5, repeats=1, seed=0):
        np.testing.assert_array_equal(np.bincount(table.target[split.test]), [10, 6, 4])


@given(
    seed=st.integers(0, 10_000),
    num_groups=st.integers(6, 30),
    folds=st.integers(2, 4),
    classify=st.booleans(),
    holdout=st.sampled_from([None, 0.2, 0.5]),
)
def test_no_group_stands_on_both_sides_outside_or_inside(make_table, seed, num_groups, folds, classify, holdout):
    random = np.random.default_rng(seed)
    groups = np.repeat(np.arange(num_groups), random.integers(1, 9, num_groups))
    target = random.integers(0, 2, len(groups)) if classify else random.normal(size=len(groups))
    table = make_table(target, task="classification" if classify else "regression", groups=groups)
    try:
        outer = outer_splits(table, folds=folds, repeats=2, seed=seed, holdout=holdout)
        inner = [inner_splits(table, split.train, folds=2, seed=seed) for split in outer]
    except UserError:
        reject()  # a class that cannot be spread is refused; too many of these fail the test
    if holdout is None:
        for repeat in range(2):
            tests = [split.test for split in outer[repeat * folds : (repeat + 1) * folds]]
            np.testing.assert_array_equal(np.sort(np.concatenate(tests)), np.arange(len(groups)))
    for split in [*outer, *(split for splits in inner for split in splits)]:
        assert not set(groups[split.train]) & set(groups[split.test])
        assert not set(split.train) & set(split.test)
    for split, splits in zip(outer, inner, strict=True):
        np.testing.assert_array_equal(np.sort(np.concatenate([s.test for s in splits])), np.sort(split.train))


def test_a_class_with_just_enough_members_works_outside_and_inside(make_table):
    table = make_table(_codes(40, 5))
    for split in outer_splits(table, folds=5, repeats=2, seed=1):
        assert (table.target[split.test] == 1).sum() == 1
        inner = inner_splits(table, split.train, folds=4, seed=1)
        assert all((table.target[s.test] == 1).sum() == 1 for s in inner)


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        (
            _codes(20, 3),
            {"folds": 5},
            r"Class 'c1' of 'y' has 3 members, fewer than the 5 folds \(made\)\. Use at most 3 folds",
        ),
        (
            _codes(20, 1),
            {"folds": 5},
            r"Class 'c1' of 'y' has 1 member, fewer than the 5 folds \(made\)\. Drop or merge",
        ),
        (_codes(3, 3), {"folds": 7}, r"More folds than rows: 7 folds, 6 rows\. Use at most 6"),
        (_codes(3, 3), {"folds": 1}, r"folds must be at least 2. Received: 1"),
        (_codes(3, 3), {"folds": 2, "repeats": 0}, r"repeats must be at least 1. Received: 0"),
        (_codes(3, 3), {"folds": 2, "holdout": 0.0}, r"between 0 and 1. Received: 0\."),
        (_codes(3, 3), {"folds": 2, "holdout": 1.5}, r"between 0 and 1. Received: 1.5"),
        (_codes(3, 3), {"folds": 2, "holdout": 0.05}, "leaves one part of 6 rows empty"),
        (_codes(9, 1), {"folds": 2, "holdout": 0.5}, "Class 'c1' of 'y' has 1 member"),
        (_codes(9, 9, 9), {"folds": 2, "holdout": 0.05}, "too few in one part for 3 classes"),
    ],
)
def test_impossible_splits_are_user_errors(make_table, target, options, message):
    with pytest.raises(UserError, match=message):
        outer_splits(make_table(target), **{"repeats": 1, "seed": 0, **options})


def test_the_inner_problem_is_said_as_clearly(make_table):
    table = make_table(_codes(30, 5))
    rows = outer_splits(table, folds=5, repeats=1, seed=0)[0].train
    with pytest.raises(
        UserError,
        match=r"Class 'c1' of 'y' has 4 members in the 28 rows of an outer training part, fewer than the 5 inner",
    ):
        inner_splits(table, rows, folds=5, seed=0)


def test_fewer_groups_than_folds(make_table):
    table = make_table(np.arange(12.0), task="regression", groups=_codes(4, 4, 4))
    with pytest.raises(UserError, match=r"Fewer groups than folds: 3 groups, 5 folds\. Use at most 3 folds"):
        outer_splits(table, folds=5, repeats=1, seed=0)
    rows = outer_splits(table, folds=3, repeats=1, seed=0)[0].train
    with pytest.raises(UserError, match="Fewer groups than inner folds: 2 groups in the 8 rows"):
        inner_splits(table, rows, folds=3, seed=0)


def test_a_class_in_one_group_cannot_be_learned_and_tested(make_table):
    table = make_table(np.array([0, 0, 0, 0, 1, 1]), groups=np.array([0, 1, 2, 3, 4, 4]))
    for options in ({}, {"holdout": 0.4}):
        with pytest.raises(UserError, match="All members of class 'c1' are in one group"):
            outer_splits(table, folds=2, repeats=1, seed=0, **options)


def test_check_split_refuses_a_group_on_both_sides(make_table):
    table = make_table(np.arange(6.0), task="regression", groups=np.array([0, 0, 1, 1, 2, 2]))
    rows = np.arange(6)
    check_split(table, Split(np.array([0, 1]), np.array([2, 3])), rows)
    with pytest.raises(ValueError, match="Group 1 stands in the training and in the test part"):
        check_split(table, Split(np.array([0, 1, 2]), np.array([3, 4, 5])), rows)
    with pytest.raises(ValueError, match="row stands in"):
        check_split(table, Split(np.array([0, 1, 2]), np.array([2, 3])), rows)
    with pytest.raises(ValueError, match="reaches outside"):
        check_split(table, Split(np.array([0, 1]), np.array([4, 5])), rows[:4])
    with pytest.raises(ValueError, match="empty"):
        check_split(table, Split(np.array([0, 1]), np.array([], dtype=int)), rows)


def test_holdout_is_one_stratified_part(make_table):
    table = make_table(_codes(60, 30, 10))
    (split,) = outer_splits(table, folds=5, repeats=3, seed=0, holdout=0.2)
    np.testing.assert_array_equal(np.bincount(table.target[split.test]), [12, 6, 2])
    assert len(split.train) == 80
    (other,) = outer_splits(table, folds=5, repeats=3, seed=1, holdout=0.2)
    assert set(split.test) != set(other.test)
    (regression,) = outer_splits(
        make_table(np.arange(50.0), task="regression"), folds=5, repeats=1, seed=0, holdout=0.3
    )
    assert len(regression.test) == 15
    assert len(np.union1d(regression.train, regression.test)) == 50


def test_a_grouped_holdout_comes_near_the_fraction_and_the_classes(make_table):
    random = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), random.integers(2, 20, 40))
    target = (random.random(len(groups)) < 0.2).astype(int)
    (split,) = outer_splits(make_table(target, groups=groups), folds=5, repeats=1, seed=0, holdout=0.25)
    assert len(split.test) / len(target) == pytest.approx(0.25, abs=0.03)
    assert target[split.test].mean() == pytest.approx(target.mean(), abs=0.03)


def test_seeds_change_the_folds_and_repeat_them(make_table):
    table = make_table(_codes(20, 20))
    first, again, other = (
        [tuple(s.test) for s in outer_splits(table, folds=4, repeats=1, seed=seed)] for seed in (0, 0, 1)
    )
    assert first == again
    assert first != other


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_few_copies_come_along_with_the_row_that_they_repeat(make_table, task):
    random = np.random.default_rng(0)
    target = random.integers(0, 3, 100) if task == "classification" else random.normal(size=100)
    alone = outer_splits(make_table(target[:90], task=task), folds=5, repeats=1, seed=3)
    groups = np.r_[np.arange(90), random.integers(0, 90, 10)]
    target[90:] = target[groups[90:]]
    splits = outer_splits(make_table(target, task=task, groups=groups), folds=5, repeats=1, seed=3)
    for split, without in zip(splits, alone, strict=True):
        np.testing.assert_array_equal(split.test[split.test < 90], without.test)
        np.testing.assert_array_equal(
            split.test[split.test >= 90], 90 + np.flatnonzero(np.isin(groups[90:], without.test))
        )
        assert len(split.train) + len(split.test) == 100


@pytest.mark.parametrize("seed", range(8))
def test_a_grouped_holdout_loses_no_class(make_table, seed):
    """Two small groups hold all of a class: to take neither is as near to the fraction as to take one."""
    groups = np.r_[np.repeat(np.arange(20), 3), 20, 20, 21, 21]
    target = np.r_[np.zeros(60, int), np.ones(4, int)]
    (split,) = outer_splits(make_table(target, groups=groups), folds=5, repeats=1, seed=seed, holdout=0.25)
    assert {*target[split.train]} == {*target[split.test]} == {0, 1}


def test_a_class_of_few_groups_is_spread_by_its_groups(make_table):
    groups = np.r_[np.arange(40), 40, 40, 41, 41]
    target = np.r_[np.zeros(40, int), np.ones(4, int)]
    splits = outer_splits(make_table(target, groups=groups), folds=3, repeats=1, seed=0)
    assert sorted(np.concatenate([split.test for split in splits])) == list(range(44))
    assert sorted(int(target[split.test].sum()) for split in splits) == [0, 2, 2]
