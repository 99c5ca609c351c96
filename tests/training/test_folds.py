"""Folds as users ask for them."""

import numpy as np
import pytest
from sklearn.model_selection import GroupKFold, KFold

from tfopt.training.rows import folds_of

LABELS = np.array([0] * 40 + [1] * 8)


@pytest.mark.parametrize("target", [LABELS, np.eye(2)[LABELS], LABELS[:, None].astype(float)])
def test_folds_by_number_spread_the_classes(target):
    folds = folds_of(4, target, 0)
    assert [int(LABELS[held_out].sum()) for _, held_out in folds] == [2, 2, 2, 2]
    assert sorted(np.concatenate([held_out for _, held_out in folds])) == list(range(48))


@pytest.mark.parametrize("target", [np.linspace(0, 1, 48), np.arange(48), np.zeros((48, 3)), LABELS])
def test_other_targets_and_rare_classes_are_folded_as_they_come(target):
    expected = KFold(9, shuffle=True, random_state=3).split(np.zeros(48))
    for (train, held_out), (theirs, others) in zip(folds_of(9, target, 3), expected, strict=True):
        np.testing.assert_array_equal(train, theirs)
        np.testing.assert_array_equal(held_out, others)


def test_classes_may_be_left_out_of_it():
    folds = folds_of(4, LABELS, 0, by_class=False)
    np.testing.assert_array_equal(folds[0][1], next(KFold(4, shuffle=True, random_state=0).split(LABELS))[1])


def test_splitters_and_pairs():
    assert len(folds_of(KFold(3), LABELS, 0)) == 3
    pairs = list(GroupKFold(2).split(LABELS, groups=np.arange(48) % 5))
    np.testing.assert_array_equal(folds_of(pairs, LABELS, 0)[1][1], pairs[1][1])
    np.testing.assert_array_equal(folds_of(iter([([0, 1], [2])]), {"a": LABELS}, 0)[0][0], [0, 1])


@pytest.mark.parametrize(
    ("folds", "match"),
    [(1, "`folds` must be 2"), (49, "`folds` must be 2"), ([], "one fold"), ([([], [1])], "one fold")],
)
def test_folds_that_cannot_be(folds, match):
    with pytest.raises(ValueError, match=match):
        folds_of(folds, LABELS, 0)
