"""Rows of files in blocks, for tables that do not fit into memory: what text and Parquet files have in common."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfopt.data.guesses import shown
from tfopt.data.raw import RawTable
from tfopt.data.spelling import quoted
from tfopt.errors import UserError

BYTES = 1 << 24  # of a file that are read at once


@dataclass(frozen=True)
class Block:
    """Rows of a file that follow one another.

    Args:
        file: Which of the files.
        start: Its first byte in a text file (unpacked), or its row group in a Parquet file.
        size: Bytes of text.
        first_row: Rows of all files before it.
        num_rows: Its rows.
        first_line: Lines of its text file, or rows of its Parquet file, before it.
    """

    file: int
    start: int
    size: int
    first_row: int
    num_rows: int
    first_line: int


@dataclass(frozen=True)
class Piece:
    """Some of the rows of a block, as they are in the file: text with its lines' numbers, or an Arrow table's rows."""

    file: int
    content: Any
    places: np.ndarray


# Masks (rows,) of a block's rows.
Wanted = Callable[[Block], Sequence[np.ndarray]]


class Blocks(ABC):
    """The rows of one file or of several of the same columns.

    Args:
        files: Their paths, in the order of their rows.

    Attributes:
        names: The columns.
        blocks: What can be read at a time.
        sha256: Hash of the files' bytes (unpacked).
        notes: What was guessed.
        in_order: Whether reading one block after another is much the fastest, as of gzip files.
    """

    def __init__(self, files: Sequence[str]):
        self.files = list(files)
        self.names: list[str] = []
        self.blocks: list[Block] = []
        self.notes: list[str] = []
        self.sha256 = ""
        self.in_order = False

    @property
    def num_rows(self) -> int:
        """Rows of all files."""
        return self.blocks[-1].first_row + self.blocks[-1].num_rows if self.blocks else 0

    @property
    def source(self) -> str:
        """The files, for a message."""
        return self.files[0] if len(self.files) == 1 else f"{self.files[0]} and {len(self.files) - 1} more"

    @abstractmethod
    def take(self, blocks: Iterable[Block], wanted: Wanted) -> Iterator[tuple[Piece, ...]]:
        """Yield the rows of blocks, some thousand at a time: for each mask that is wanted of a block a piece."""

    def tables(self) -> Iterator[RawTable]:
        """Yield all rows, some thousand at a time."""
        for (piece,) in self.take(self.blocks, lambda block: (np.ones(block.num_rows, bool),)):
            if len(piece.places):
                yield self.read([piece])

    @abstractmethod
    def read(self, pieces: Sequence[Piece]) -> RawTable:
        """Return the rows of pieces as one table."""

    def _place(self, file: int, what: str) -> str:
        return what if len(self.files) == 1 else f"{self.files[file]}, {what}"

    def _check_rows(self) -> None:
        if not self.num_rows:
            raise UserError(f"no rows ({self.source}: columns {shown(self.names, 6)}). Add rows.")

    def _check_names(self, names: list[str], file: str) -> None:
        if not self.names:
            self.names = names
        elif differing := sorted(set(names) ^ set(self.names)):
            raise UserError(
                f"{file} and {self.files[0]} differ in their columns ({shown(map(quoted, differing), 4)}). "
                "Several files of one table have the same columns; give one file, or make them alike."
            )
        elif names != self.names:
            raise UserError(f"{file} and {self.files[0]} have their columns in another order. Make them alike.")
