"""A table too large for memory: a sample of its rows to search, rows to test by, and all others to train on."""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tfopt.data.blocks import Block, Blocks, Piece
from tfopt.data.files import files_of, joined
from tfopt.data.load import load_table
from tfopt.data.parquet_blocks import ParquetBlocks
from tfopt.data.raw import RawTable
from tfopt.data.rows import NewRows, coded_targets, rows_of, target_column
from tfopt.data.spelling import quoted
from tfopt.data.table import Table
from tfopt.data.text_blocks import TextBlocks
from tfopt.errors import UserError

_TEST_SHARE = 5  # one row in so many is held out, at most
# What a search of a table takes in memory, in bytes of its text, and of its numbers in a Parquet file.
_TIMES_TEXT, _TIMES_GZIPPED, _TIMES_NUMBERS = 6, 30, 6


def blocks_of(source: str, **reading: Any) -> Blocks:
    """Return a CSV, TSV or Parquet file, or several files of the same columns, to be read in blocks.

    Args:
        source: What `load_table` takes for files.
        **reading: `header`, `encoding`, `separator` and `known_names`, as for `read_delimited`.

    Raises:
        UserError: When a file cannot be read in blocks; one line that names the file, and the line where there is one.
    """
    files = files_of(source)
    kinds = set(map(_kind, files))
    if "" in kinds:
        raise UserError(
            f"only CSV, TSV and Parquet files can be streamed ({source}). Save it as one, or leave --stream out."
        )
    if len(kinds) > 1:
        raise UserError(f"files of several formats ({source}). To be streamed, they must be of one.")
    return ParquetBlocks(files) if kinds == {"parquet"} else TextBlocks(files, **reading)


def expected_bytes(source: str) -> int:
    """Return about how much memory a search takes of a table that is read whole; 0 where it cannot be streamed."""
    total = 0
    for file in files_of(source):
        kind = _kind(file)
        if not kind:
            return 0
        if kind == "parquet":
            blocks = ParquetBlocks([file], hashed=False)
            total += _TIMES_NUMBERS * 8 * blocks.num_rows * len(blocks.names)
        else:
            total += (_TIMES_GZIPPED if file.endswith(".gz") else _TIMES_TEXT) * os.path.getsize(file)
    return total


def _kind(file: str) -> str:
    """Return `"text"`, `"parquet"`, or `""` for what cannot be read in blocks."""
    if not os.path.isfile(file):
        return ""
    try:
        with open(file, "rb") as opened:
            start = opened.read(4)
    except OSError as error:
        raise UserError(f"the file cannot be read ({file}: {error.strerror}). Check its permissions.") from None
    path = Path(file)
    ending = (path.with_suffix("") if path.suffix.lower() == ".gz" else path).suffix.lower()
    if start == b"PAR1" or ending in (".parquet", ".pq"):
        return "parquet"
    others = (".npz", ".xlsx", ".json", ".jsonl", ".ndjson")
    return "" if start == b"PK\x03\x04" or ending in others else "text"


class Stream:
    """The rows of a table in blocks, some of which are drawn once and for all to be searched, and to be tested by.

    Args:
        blocks: The table.
        num_sample: Rows to search; as many others are held out to test by, at most a fifth of all.
        seed: Seed of the draw.

    Attributes:
        notes: What was guessed, or seen while the rows were read.
        num_trained: Rows to train on, once `check` has counted them.
        num_tested: Rows that are held out.
        num_sampled: Rows that are searched.
        class_counts: Rows of each class among those to train on, once `check` has counted them.
    """

    def __init__(self, blocks: Blocks, num_sample: int, seed: int):
        self.blocks, self.notes = blocks, list(blocks.notes)
        self.num_trained = 0
        self.class_counts = np.zeros(0, np.int64)
        self.num_tested = min(blocks.num_rows // _TEST_SHARE, num_sample)
        self.num_sampled = min(num_sample, blocks.num_rows - self.num_tested)
        rng = np.random.default_rng(np.random.SeedSequence([seed, *b"stream"]))
        drawn = rng.choice(blocks.num_rows, self.num_tested + self.num_sampled, replace=False)
        self._test, self._sample = np.sort(drawn[: self.num_tested]), np.sort(drawn[self.num_tested :])
        if not self.num_tested:
            raise UserError(f"{blocks.num_rows} rows are too few to be streamed ({blocks.source}). Leave --stream out.")

    @property
    def counts(self) -> dict[str, int]:
        """How many rows are searched, held out, and trained on once `check` has counted them."""
        return {"sampled": self.num_sampled, "held_out": self.num_tested, "trained_on": self.num_trained}

    def table(self, **told: Any) -> Table:
        """Return the sample and the rows to test by, which are its `test_rows`, as one table.

        Args:
            **told: What `load_table` is to be told of columns and target.

        Raises:
            UserError: As of `load_table`.
        """
        drawn: tuple[list[Piece], list[Piece]] = ([], [])
        for pieces in self.blocks.take(
            self.blocks.blocks, lambda block: (_mask(block, self._sample), _mask(block, self._test))
        ):
            for piece, found in zip(pieces, drawn, strict=True):
                found += [piece] if len(piece.places) else []
        sample, test = map(self.blocks.read, drawn)
        num_sample = len(sample.frame)
        raw = replace(
            joined([sample, test], self.blocks.source),
            sha256=self.blocks.sha256,
            notes=self.notes,
            line_of=lambda row: sample.where(row) if row < num_sample else test.where(row - num_sample),
        )
        table = load_table(raw, **told)
        return replace(table, test_rows=np.arange(num_sample, table.num_rows))

    def check(self, table: Table, read: Callable[[int], None] = lambda num_rows: None) -> Table:
        """Read all rows once and count them, so that a bad cell is told of before anything is trained.

        Args:
            table: What `table` returned.
            read: Called with the number of rows after each part.

        Returns:
            The table, in which columns that have missing values anywhere are said to.

        Raises:
            UserError: A row cannot be used; one line that names the file and the line.
        """
        missing: set[str] = set()
        self.num_trained, self.class_counts = 0, np.zeros(len(table.classes), np.int64)
        for features, target in self.rows(table):
            missing.update(map(str, features.columns[features.isna().any()]))
            self.num_trained += len(features)
            if table.classes:
                self.class_counts += np.bincount(target, minlength=len(table.classes))
            read(len(features))
        columns = tuple(
            replace(column, has_missing=column.has_missing or column.name in missing) for column in table.columns
        )
        return replace(table, columns=columns)

    def rows(self, table: Table, blocks: Iterable[Block] | None = None) -> Iterator[tuple[pd.DataFrame, np.ndarray]]:
        """Yield the rows to train on, some thousand at a time: those of the sample and all that were not drawn.

        Args:
            table: What `table` returned.
            blocks: Those to read; all, in the order of the rows, if they are not given.

        Returns:
            Features in the form of `Table.features` and targets in that of `Table.target`.

        Raises:
            UserError: A row cannot be used; one line that names the file and the line.
        """
        blocks = self.blocks.blocks if blocks is None else blocks
        targets = [target_column(column, table.task) for column in table.target_columns]
        for (piece,) in self.blocks.take(blocks, lambda block: (~_mask(block, self._test),)):
            if not len(piece.places):
                continue
            raw = self.blocks.read([piece])
            self.notes += [note for note in raw.notes if note not in self.notes]
            rows = rows_of(raw, table.columns, targets=targets, ignored=table.ignored)
            target, known = coded_targets([rows.targets[name] for name in table.target_names], table.classes)
            if not known.all():
                raise _without_target(rows, raw, table, np.flatnonzero(~known))
            yield rows.features, target


def _mask(block: Block, drawn: np.ndarray) -> np.ndarray:
    """Return which of a block's rows are among those drawn, given in order."""
    mask = np.zeros(block.num_rows, bool)
    first, end = np.searchsorted(drawn, [block.first_row, block.first_row + block.num_rows])
    mask[drawn[first:end] - block.first_row] = True
    return mask


def _without_target(rows: NewRows, raw: RawTable, table: Table, bad: np.ndarray) -> UserError:
    values = {name: rows.targets[name] for name in table.target_names}
    missing = [(name, row) for row in bad[:1] for name, value in values.items() if value.isna().iloc[row]]
    if missing or not table.classes:
        name, row = missing[0] if missing else (table.target_names[0], bad[0])
        return UserError(
            f"a missing value in the target {quoted(name)} ({raw.source}: {raw.where(row)}). Fill it in or take such "
            "rows out."
        )
    (name, value), row = next(iter(values.items())), int(bad[0])
    return UserError(
        f"a class of the target {quoted(name)} that no row of the sample has, {quoted(str(value.iloc[row]))} "
        f"({raw.source}: {raw.where(row)}). Take a larger --sample, or take such rows out."
    )
