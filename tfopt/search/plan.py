"""What a search will do, settled before TensorFlow is imported: table, metric, folds and baselines."""

import math
import os
from dataclasses import dataclass, replace

import numpy as np

from tfopt.baselines import Family, left_out_families, select_families, unweighted_families
from tfopt.comparison.folds import Split, inner_splits, outer_splits
from tfopt.comparison.objective import Objective, get_objective
from tfopt.data import Table, load_table
from tfopt.data.files import absolute
from tfopt.errors import UserError
from tfopt.search.config import DEFAULT_TRIALS, SearchConfig
from tfopt.search.progress import Progress

# Above this many rows one hold-out tells models apart as well as folds do, for a fraction of the time.
LARGE_TABLE = 20_000


@dataclass(frozen=True)
class Fold:
    """Where one search takes place: rows to train on, the inner splits that choose, and rows to be judged by.

    Args:
        key: Index of the outer split, or `"final"` for all rows, on which the exported model is chosen and trained.
        train: Rows that are searched over and refitted on.
        test: Rows of the outer test part; empty for all rows.
        inner: Splits of `train`.
    """

    key: int | str
    train: np.ndarray
    test: np.ndarray
    inner: tuple[Split, ...]


@dataclass(frozen=True)
class Plan:
    """A search, ready to run.

    Args:
        config: The configuration with every automatic value resolved.
        table: The data.
        objective: What chooses and scores.
        outer: The outer folds.
        final: All rows.
        families: The baselines.
    """

    config: SearchConfig
    table: Table
    objective: Objective
    outer: tuple[Fold, ...]
    final: Fold
    families: tuple[Family, ...]

    @property
    def splits(self) -> list[Split]:
        """The outer splits."""
        return [Split(fold.train, fold.test) for fold in self.outer]


def prepare(config: SearchConfig, progress: Progress | None = None) -> Plan:
    """Read the table, draw the folds and choose the baselines; say what was guessed.

    Raises:
        UserError: The table, the folds or a name cannot be used as asked.
    """
    progress = progress or Progress()
    config.validate()
    table = load_table(
        config.data,
        target=list(config.target) or None,
        task=config.task,
        drop=config.drop,
        group=config.group,
        weights=config.weights,
        columns=config.column_kinds(),
        header=config.header,
        encoding=config.encoding,
        separator=config.separator,
    )
    for note in table.notes:
        progress.note(note)
    objective = get_objective(config.objective, table.task)
    holdout = config.holdout
    if holdout is None and table.num_rows > LARGE_TABLE:
        if config.repeats > 1:
            raise UserError(f"--repeats does not go with the hold-out of a table over {LARGE_TABLE:,} rows.")
        holdout = 0.2
        progress.note(f"{table.num_rows:,} rows: one hold-out of 20 % and bootstrap intervals instead of folds.")
    splits = outer_splits(table, folds=config.folds, repeats=config.repeats, seed=config.seed, holdout=holdout)
    outer = tuple(_fold(table, config, index, split.train, split.test) for index, split in enumerate(splits))
    final = _fold(table, config, "final", np.arange(table.num_rows), np.arange(0))
    families = select_families(config.baselines, table.task, objective, table.num_rows)
    for reason in left_out_families(config.baselines, table.task, objective, table.num_rows).values():
        progress.note(reason)
    unweighted = unweighted_families(families, table)
    if unweighted:
        progress.note(f"{', '.join(unweighted)}: trained without the weights, which they cannot take.")
    resolved = replace(
        config,
        data=absolute(config.data),
        space=os.path.abspath(config.space) if ".py:" in config.space else config.space,
        target=table.target_names,
        task=table.task,
        objective=objective.name,
        holdout=holdout,
        max_trials=config.max_trials or (DEFAULT_TRIALS if config.tuner in {"random", "bayesian"} else None),
        epochs=config.epochs or default_epochs(table.num_rows),
        jobs=config.jobs or os.cpu_count() or 1,
    )
    return Plan(resolved, table, objective, outer, final, families)


def default_epochs(num_rows: int) -> int:
    """Return 100 epochs for small tables, 10 for large ones; the steps in all grow as the root of the rows."""
    return min(max(round(1500 / math.sqrt(num_rows)), 10), 100)


def _fold(table: Table, config: SearchConfig, key: int | str, train: np.ndarray, test: np.ndarray) -> Fold:
    return Fold(key, train, test, tuple(inner_splits(table, train, folds=config.inner_folds, seed=config.seed)))
