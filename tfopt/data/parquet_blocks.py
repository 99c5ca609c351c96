"""Parquet files in blocks: a row group each, of which some thousand rows are in memory at once."""

import hashlib
import importlib.util
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tfopt.data.blocks import BYTES, Block, Blocks, Piece, Wanted
from tfopt.data.formats import parquet_damage_said, typed_table
from tfopt.data.raw import RawTable, stem
from tfopt.errors import UserError

_CELLS, _LEAST_ROWS = 2_000_000, 1024  # that are in memory at once
_PAGE = 1 << 16  # bytes


class ParquetBlocks(Blocks):
    """Parquet files; a row group is a block, of which some thousand rows are in memory at once."""

    def __init__(self, files: Sequence[str], hashed: bool = True):
        super().__init__(files)
        if not importlib.util.find_spec("pyarrow"):
            raise UserError(f"Parquet needs a reader ({self.source}). Install it: pip install pyarrow.")
        digest = hashlib.sha256()
        for place, path in enumerate(self.files):
            file = self._file(place)
            self._check_names([name for name in file.schema_arrow.names if not name.startswith("__index_level_")], path)
            first_line = 0
            for group in range(file.num_row_groups):
                num_rows = file.metadata.row_group(group).num_rows
                self.blocks.append(Block(place, group, 0, self.num_rows, num_rows, first_line))
                first_line += num_rows
            with open(path, "rb") as opened:
                while data := opened.read(BYTES) if hashed else b"":
                    digest.update(data)
        self.sha256 = digest.hexdigest()
        self._check_rows()

    def _file(self, place: int) -> Any:
        import pyarrow.parquet  # an extra

        with parquet_damage_said(self.files[place]):
            # By pages: what is read at once of a row group may be as large as the file.
            return pyarrow.parquet.ParquetFile(self.files[place], buffer_size=_PAGE)

    def take(self, blocks: Iterable[Block], wanted: Wanted) -> Iterator[tuple[Piece, ...]]:
        """Yield the rows of each mask, some thousand rows at a time."""
        import pyarrow  # an extra

        for block in blocks:
            first, masks = 0, wanted(block)
            for batch in self._batches(block):
                parts = [mask[first : first + len(batch)] for mask in masks]
                table = pyarrow.Table.from_batches([batch])
                yield tuple(
                    Piece(
                        block.file,
                        table if part.all() else table.filter(pyarrow.array(part)),
                        block.first_line + first + np.flatnonzero(part),
                    )
                    for part in parts
                )
                first += len(batch)

    def _batches(self, block: Block) -> Iterator[Any]:
        with parquet_damage_said(self.files[block.file]):
            yield from self._file(block.file).iter_batches(
                batch_size=max(_CELLS // len(self.names), _LEAST_ROWS), row_groups=[block.start], use_threads=False
            )

    def read(self, pieces: Sequence[Piece]) -> RawTable:
        """Return the table of pieces, which knows the number of each row."""
        import pyarrow

        table = pyarrow.concat_tables([piece.content for piece in pieces], promote_options="permissive")
        with parquet_damage_said(self.source):
            frame = table.unify_dictionaries().to_pandas()
        raw = typed_table(frame, stem(self.files[0]), self.source, self.sha256)
        files = np.repeat([piece.file for piece in pieces], [len(piece.places) for piece in pieces])
        rows = np.concatenate([piece.places for piece in pieces])
        return replace(raw, line_of=lambda row: self._place(files[row], f"row {rows[row] + 1}"))
