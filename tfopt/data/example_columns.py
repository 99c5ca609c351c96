"""A table one column of which holds texts, or the paths of images: that column as examples, the target as it is."""

import hashlib
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd

from tfopt.data.example_folders import read_images
from tfopt.data.examples import ExampleSet, Kind, columns_of, digest_of, parts_of
from tfopt.data.guesses import shown
from tfopt.data.spelling import quoted
from tfopt.data.table import Table
from tfopt.errors import UserError


def examples_of_column(table: Table, column: str, kind: Kind, folder: Path, image_size: str | None) -> ExampleSet:
    """Return the texts of a column, or the images that it names, as examples; folds and target are the table's.

    Args:
        table: The table.
        column: Its column.
        kind: `"image"` or `"text"`.
        folder: What paths of images are relative to.
        image_size: What images are resized to; None for the commonest size.

    Raises:
        UserError: An image cannot be read, or a path is missing.
    """
    notes = list(table.notes)
    x = inputs_of_column(table.features[column], kind, folder, image_size, notes, table.source)
    others = [name for name in map(str, table.features) if name != column]
    if others:
        notes.append(f"only {quoted(column)} is learned from; left out: {shown(map(quoted, others), 6)}")
    features, columns = columns_of(x)
    own = {each.name: getattr(table, each.name) for each in fields(Table)}
    digest = hashlib.sha256(f"{table.sha256} {digest_of([x])}".encode()).hexdigest()
    own |= {"features": features, "columns": columns, "notes": notes, "sha256": digest}
    own["ignored"] = (*table.ignored, *others)
    return ExampleSet(**own, x=x, kind=kind, parts=parts_of(x, kind), shape=table.target.shape[1:])


def inputs_of_column(
    values: pd.Series, kind: Kind, folder: Path, image_size: str | None, notes: list[str], source: str
) -> np.ndarray:
    """Return the texts (rows,) of a column, empty where they are missing, or the images that it names."""
    missing = values.isna().to_numpy()
    if kind == "text":
        if missing.any():
            notes.append(f"{missing.sum():,} of {len(values):,} texts are missing, and count as empty")
        out = np.empty(len(values), dtype=object)
        out[:] = values.fillna("").astype(str).tolist()
        return out
    if missing.any():
        raise UserError(f"row {int(missing.argmax()) + 1} names no image ({source}). Fill it in, or leave the row out.")
    return read_images([folder / str(path) for path in values], image_size, notes)
