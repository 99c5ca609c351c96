"""Outer and inner splits: the same for every model, stratified for classes, whole groups on one side."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfopt.comparison.forward import forward_folds, last_part
from tfopt.data.table import Table
from tfopt.errors import UserError


@dataclass(frozen=True)
class Split:
    """Row indices of the two parts of one fold.

    Args:
        train: Rows to learn from.
        test: Rows to score on; none of them in `train`.

    Example:
        ```python
        split = tfopt.comparison.Split(train=np.arange(0, 8), test=np.arange(8, 10))
        print(len(split.train), len(split.test))  # 8 2
        ```
    """

    train: np.ndarray
    test: np.ndarray


def outer_splits(
    table: Table,
    *,
    folds: int,
    repeats: int,
    seed: int,
    holdout: float | None = None,
    gap: float = 0.0,
    first_times: int = 1,
) -> list[Split]:
    """Return the outer splits of a nested cross-validation, `repeats` times `folds` of them.

    Classification folds are stratified; where `table.groups` is given, no group stands on both sides. Without groups
    the splits are those of scikit-learn's `RepeatedKFold` and `RepeatedStratifiedKFold` with `random_state=seed`.
    Where `table.times` is given, each training part is earlier than its test part, and nothing is shuffled.

    Args:
        table: The data.
        folds: Parts of one partition, at least 2.
        repeats: Partitions, at least 1, each shuffled anew.
        seed: Seed of the shuffling.
        holdout: Fraction of the rows in one single test part, in (0, 1); `folds` and `repeats` are then not used.
        gap: Least time between a training row and its test part, in the unit of `table.times`.
        first_times: Different times in the first training part in time, one more than its inner folds.

    Raises:
        UserError: When the data cannot be split so: too few rows, groups or members of a class.

    Example:
        ```python
        table = tfopt.data.load_table("iris")
        splits = tfopt.comparison.outer_splits(table, folds=5, repeats=2, seed=0)
        print(len(splits), len(splits[0].train), len(splits[0].test))  # 10 120 30
        ```
    """
    rows = np.arange(table.num_rows)
    if holdout is not None:
        _check_holdout(len(rows), holdout)
        if table.times is not None:
            return [_checked(table, last_part(table, holdout, gap), rows, "parts")]
        return [_holdout_split(table, rows, holdout, seed)]
    if repeats < 1:
        raise UserError(f"The number of repeats must be at least 1. Received: {repeats}.")
    if table.times is not None:
        return _forward(table, rows, folds, gap, what="folds", where="", first=first_times)
    _check_folds(table, rows, folds, what="folds", where="")
    random = np.random.RandomState(seed)
    return [split for _ in range(repeats) for split in _partition(table, rows, folds, random, what="folds")]


def inner_splits(table: Table, rows: np.ndarray, *, folds: int, seed: int, gap: float = 0.0) -> list[Split]:
    """Return `folds` splits of `rows` for tuning inside one outer training part; indices are rows of the table.

    Args:
        table: The data.
        rows: The outer training part.
        folds: Parts, at least 2.
        seed: Seed of the shuffling.
        gap: As for `outer_splits`.

    Raises:
        UserError: As `outer_splits`, about the rows of this part.

    Example:
        ```python
        table = tfopt.data.load_table("iris")
        (outer,) = tfopt.comparison.outer_splits(table, folds=5, repeats=1, seed=0, holdout=0.2)
        inner = tfopt.comparison.inner_splits(table, outer.train, folds=3, seed=0)
        print([len(split.test) for split in inner])  # [40, 40, 40]
        ```
    """
    where = f" in the {len(rows)} rows of an outer training part"
    if table.times is not None:
        return _forward(table, rows, folds, gap, what="inner folds", where=where)
    _check_folds(table, rows, folds, what="inner folds", where=where)
    return list(_partition(table, rows, folds, np.random.RandomState(seed), what="inner folds"))


def _forward(
    table: Table, rows: np.ndarray, folds: int, gap: float, *, what: str, where: str, first: int = 1
) -> list[Split]:
    _check_number(rows, folds, what, where)
    pairs = forward_folds(table, rows, folds, gap, what=what, where=where, first=first)
    return [_checked(table, pair, rows, what) for pair in pairs]


def _checked(table: Table, parts: tuple[np.ndarray, np.ndarray], rows: np.ndarray, what: str) -> Split:
    split = Split(*parts)
    check_split(table, split, rows, what=what)
    return split


def _check_folds(table: Table, rows: np.ndarray, folds: int, *, what: str, where: str) -> None:
    _check_number(rows, folds, what, where)
    if table.task == "classification":
        _check_classes(table, rows, folds, what, where)
    if table.groups is not None:
        _check_groups(table, rows, folds, what, where)


def _check_number(rows: np.ndarray, folds: int, what: str, where: str) -> None:
    if folds < 2:
        raise UserError(f"The number of {what} must be at least 2. Received: {folds}.")
    if folds > len(rows):
        raise UserError(f"More {what} than rows: {folds} {what}, {len(rows)} rows{where}. Use at most {len(rows)}.")


def _check_classes(table: Table, rows: np.ndarray, folds: int, what: str, where: str) -> None:
    counts = np.bincount(table.target[rows], minlength=len(table.classes))
    counts = np.where(counts == 0, len(rows) + 1, counts)  # a class that is not here at all is no obstacle
    smallest = int(counts.argmin())
    if counts[smallest] < folds:
        size = counts[smallest]
        members = "1 member" if size == 1 else f"{size} members"
        remedy = f"Use at most {size} {what}, or drop" if size >= 2 else "Drop"
        raise UserError(
            f"Class {table.classes[smallest]!r} of {table.target_names[0]!r} has {members}{where}, fewer than the "
            f"{folds} {what} ({table.source}). "
            f"{remedy} or merge the class."
        )


def _check_groups(table: Table, rows: np.ndarray, folds: int, what: str, where: str) -> None:
    assert table.groups is not None
    groups = table.groups[rows]
    num_groups = len(np.unique(groups))
    if num_groups < folds:
        remedy = f"Use at most {num_groups} {what}." if num_groups >= 2 else "Choose another group column."
        raise UserError(f"Fewer groups than {what}: {num_groups} groups{where}, {folds} {what}. {remedy}")
    if table.task == "regression":
        return
    for code in np.unique(table.target[rows]):
        if len(np.unique(groups[table.target[rows] == code])) == 1:
            raise UserError(
                f"All members of class {table.classes[code]!r} are in one group{where}, so that no fold could both "
                f"learn and test it. Drop or merge the class, or choose another group column."
            )


def _partition(
    table: Table, rows: np.ndarray, folds: int, random: np.random.RandomState, *, what: str
) -> Iterator[Split]:
    from sklearn import model_selection  # late: a usage error is answered without waiting for it

    target = table.target[rows]
    classify = table.task == "classification"
    plain = model_selection.StratifiedKFold if classify else model_selection.KFold
    splitter: Any = plain(folds, shuffle=True, random_state=random)
    groups = np.arange(len(rows)) if table.groups is None else table.groups[rows]
    _, first, place = np.unique(groups, return_index=True, return_inverse=True)
    members = np.bincount(target[first], minlength=len(table.classes))[np.unique(target)] if classify else len(first)
    if 2 * len(first) > len(rows) and np.min(members) >= folds:
        # Most groups are one row, and the others come along: for thousands of groups scikit-learn's take seconds.
        parts = (np.isin(place, test) for _, test in splitter.split(first, target[first]))
    else:
        kind = model_selection.StratifiedGroupKFold if classify else model_selection.GroupKFold
        splitter = kind(folds, shuffle=True, random_state=random)
        parts = (np.isin(np.arange(len(rows)), test) for _, test in splitter.split(rows, target, groups))
    for in_test in parts:
        yield _checked(table, (rows[~in_test], rows[in_test]), rows, what)


def _check_holdout(num_rows: int, holdout: float) -> None:
    if not 0 < holdout < 1:
        raise UserError(f"The hold-out must be a fraction between 0 and 1. Received: {holdout:g}.")
    if not 1 <= round(holdout * num_rows) < num_rows:
        raise UserError(f"A hold-out of {holdout:g} leaves one part of {num_rows} rows empty. Use another fraction.")


def _holdout_split(table: Table, rows: np.ndarray, holdout: float, seed: int) -> Split:
    from sklearn import model_selection  # late: see `_partition`

    num_test = round(holdout * len(rows))
    if table.groups is not None:
        split = _grouped_holdout(table, rows, holdout, seed)
    elif table.task == "classification":
        _check_classes(table, rows, 2, "parts", "")
        num_classes = len(np.unique(table.target))
        if min(num_test, len(rows) - num_test) < num_classes:
            raise UserError(
                f"A hold-out of {holdout:g} gives {num_test} test rows of {len(rows)}, too few in one part for "
                f"{num_classes} classes. Use a fraction nearer to 0.5."
            )
        stratified = model_selection.StratifiedShuffleSplit(1, test_size=num_test, random_state=seed)
        split = Split(*next(stratified.split(rows, table.target)))
    else:
        shuffled = np.random.RandomState(seed).permutation(rows)
        split = Split(np.sort(shuffled[num_test:]), np.sort(shuffled[:num_test]))
    check_split(table, split, rows, what="parts")
    return split


def _grouped_holdout(table: Table, rows: np.ndarray, holdout: float, seed: int, tries: int = 100) -> Split:
    """Of many random choices of whole groups, take the one nearest to the fraction asked for and to stratified."""
    _check_groups(table, rows, 2, "parts", "")
    assert table.groups is not None
    codes, row_groups = np.unique(table.groups, return_inverse=True)
    if table.task == "classification":
        member = np.eye(len(table.classes))[table.target]
    else:
        member = np.ones((len(rows), 1))
    sizes = np.zeros((len(codes), member.shape[1]))
    np.add.at(sizes, row_groups, member)
    wanted = holdout * sizes.sum(axis=0)
    random = np.random.RandomState(seed)
    best_cost, best_test = np.inf, np.empty(0, dtype=np.intp)
    for _ in range(tries):
        order = random.permutation(len(codes))
        filled = np.cumsum(sizes[order], axis=0)
        # Each class counts the same; a class that is wholly on one side is the worst that can happen.
        share = np.abs(filled[:-1] - wanted) / np.maximum(sizes.sum(axis=0), 1)
        lost = (filled[:-1] == 0) | (filled[:-1] == sizes.sum(axis=0))
        cost = (share + lost * (sizes.sum(axis=0) > 0)).sum(axis=1)
        if cost.min() < best_cost:
            best_cost, best_test = cost.min(), order[: int(cost.argmin()) + 1]
    in_test = np.isin(row_groups, best_test)
    return Split(rows[~in_test], rows[in_test])


def check_split(table: Table, split: Split, rows: np.ndarray, *, what: str = "folds") -> None:
    """Raise unless the two parts are disjoint, not empty, within `rows`, share no group, and every class is learned.

    Where `table.times` is given, training rows must be earlier than all test rows instead of holding every class: a
    class may turn up later.

    Args:
        table: The data.
        split: The two parts.
        rows: The rows that it may use.
        what: What the splits are called in a message.

    Raises:
        ValueError: When a row or a group stands on both sides, or a part is empty or leaves `rows`.
        UserError: When a class of `rows` is missing in the training part.

    Example:
        ```python
        table = tfopt.data.load_table("iris")
        rows = np.arange(table.num_rows)
        split = tfopt.comparison.Split(train=rows[::2], test=rows[1::2])
        tfopt.comparison.check_split(table, split, rows)  # says nothing: it is a split
        ```
    """
    if len(split.train) == 0 or len(split.test) == 0:
        raise ValueError(f"A part of a split is empty: {len(split.train)} training rows, {len(split.test)} test rows.")
    if np.intersect1d(split.train, split.test).size:
        raise ValueError("A row stands in the training and in the test part of a split.")
    if not np.isin(np.concatenate([split.train, split.test]), rows).all():
        raise ValueError("A split reaches outside the rows that it may use.")
    if table.groups is not None:
        shared = np.intersect1d(table.groups[split.train], table.groups[split.test])
        if shared.size:
            raise ValueError(f"Group {shared[0]} stands in the training and in the test part of a split.")
    if table.times is not None:
        if table.times[split.train].max() >= table.times[split.test].min():
            raise ValueError("A training row is not earlier than the test part of its split.")
    elif table.task == "classification":
        lost = np.setdiff1d(table.target[rows], table.target[split.train])
        if lost.size:
            raise UserError(
                f"A training part holds no member of class {table.classes[lost[0]]!r}: its groups fell together. "
                f"Use other {what} or another seed, or drop or merge the class."
            )
