"""A table as it was read, before anyone has decided what its columns mean."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd


@dataclass
class RawTable:
    """The columns of a source.

    Args:
        name: The file's name without its endings.
        source: The path as the user wrote it.
        sha256: Hash of the file's bytes, `""` before it is known.
        frame: Numbers where a whole column reads as plain numbers, text as written otherwise; missing values as NaN.
        has_header: Whether the file names its columns.
        notes: What was guessed.
        separator: What separates fields (text files only).
        decimal: The decimal sign with which plain numbers were read (text files only).
        unclear: Columns of numbers that may be something else as written, such as 5.251 for 5251 (text files only).
        padded: Columns of whole numbers with leading zeros, each with an example (text files only).
        unnamed: Columns without a name in the file.
        left_out: Notes on rows of the file that are not in `frame`; they are among `notes` too.
        read_text: Reads the named columns again, as written (text files only): `007` is the number 7 and a level.
        line_of: Gives the place of a row for a message (text files only).
    """

    name: str
    source: str
    sha256: str
    frame: pd.DataFrame
    has_header: bool = True
    notes: list[str] = field(default_factory=list)
    separator: str = ","
    decimal: str = "."
    unclear: tuple[str, ...] = ()
    padded: Mapping[str, str] = field(default_factory=dict)
    unnamed: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    read_text: Callable[[list[str]], pd.DataFrame] | None = None
    line_of: Callable[[int], str] | None = None

    def where(self, row: int) -> str:
        """Return the place of a row (counted from 0) for a message: its line in a text file, else its number."""
        return self.line_of(row) if self.line_of else f"row {row + 1}"


def stem(source: str) -> str:
    """Return a file's name without folder and endings."""
    return Path(source).name.split(".")[0] or Path(source).name
