"""New examples for a trained model: in the form of those that it was trained on, with their targets where there are."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tfopt.data.column import Column
from tfopt.data.example_columns import inputs_of_column
from tfopt.data.example_sources import load_inputs
from tfopt.data.examples import Nest, columns_of, named, plain_parts, read_parts
from tfopt.data.given_examples import inputs_like
from tfopt.data.rows import read_new_rows
from tfopt.data.windows import Series, windows_like
from tfopt.errors import UserError


@dataclass(frozen=True)
class NewExamples:
    """Examples that are to be predicted.

    Args:
        x: Their inputs, in the form of the training examples'.
        targets: Those targets that the source has, by name, as a column each.
        others: What names the examples: the files that they are from, or the times that are forecast.
        notes: What is to be said about them.
    """

    x: Nest
    targets: dict[str, pd.Series]
    others: dict[str, list[str]]
    notes: Sequence[str] = ()


def read_new_examples(
    source: str,
    inputs: Mapping[str, Any],
    config: Mapping[str, Any],
    target_names: Sequence[str],
    classes: Sequence[str],
) -> NewExamples:
    """Return the examples of a source that are to be predicted.

    Args:
        source: What `tfopt search` takes, with or without targets.
        inputs: What the training examples were, as `plain_inputs` gave it.
        config: The search's settings.
        target_names: Names of the targets that are compared.
        classes: The class labels; empty for regression.

    Raises:
        UserError: They cannot be read, or are of another form.
    """
    parts = read_parts(inputs)
    if "series" in inputs:
        return NewExamples(**vars(windows_like(source, Series.from_dict(inputs["series"]), config, target_names)))
    if (column := config.get("image_column") or config.get("text_column")) is not None:
        return _of_column(source, column, parts, config, target_names, classes)
    found = load_inputs(
        source,
        target=config.get("target", ()),
        drop=config.get("drop", ()),
        as_image=config.get("as_image", False),
        image_size=image_size(inputs),
        max_unpacked=config["max_unpacked"],
    )
    if found is None:
        raise UserError(
            f"{source} is a table, and the search was on examples of {config['data']}. Give new ones of the same kind."
        )
    x = inputs_like(found["x"], parts, source)
    count = len(named(x)[0][1])
    y = found.get("y")
    if isinstance(y, Mapping | tuple):
        held = dict(named(dict(y) if isinstance(y, Mapping) else y))
        wanted = (config.get("target") or [next(iter(held))])[0]
        y = held.get(wanted)
    targets = {} if y is None else _targets(np.asarray(y), target_names, classes, found.get("classes", ()))
    for name, values in targets.items():
        if len(values) != count:
            raise UserError(f"{source} holds {count:,} examples and {len(values):,} of {name!r}. Give as many of both.")
    return NewExamples(x, targets, found.get("names", {}))


def inputs_for(model: Any, given: Any, inputs: Mapping[str, Any], config: Mapping[str, Any]) -> Any:
    """Return what a run's model takes for examples: their arrays, or their numbers as columns for a model of tables.

    Args:
        model: The model.
        given: Arrays like those of the search, or a source of such.
        inputs: What the training examples were, as `plain_inputs` gave it.
        config: The search's settings.
    """
    parts = read_parts(inputs)
    if isinstance(given, str | os.PathLike):
        x = read_new_examples(os.fspath(given), inputs, config, model.target_names, model.classes).x
    elif "series" in inputs and hasattr(given, "columns"):
        x = windows_like(given, Series.from_dict(inputs["series"]), config, model.target_names).x
    else:
        x = inputs_like(given, parts, "the given examples")
    return x if hasattr(model, "networks") else columns_of(x)[0]


def _of_column(
    source: str,
    column: str,
    parts: Any,
    config: Mapping[str, Any],
    target_names: Sequence[str],
    classes: Sequence[str],
) -> NewExamples:
    """Return the texts of a table's column, or the images that it names, with those targets that the table has."""
    targets = [Column(name, "categorical" if classes else "numeric") for name in target_names]
    rows = read_new_rows(source, [Column(column, "text")], targets=targets, max_unpacked=config["max_unpacked"])
    is_image = config.get("image_column") is not None
    values, folder = rows.features[column], Path(source).parent
    x = inputs_of_column(values, "image" if is_image else "text", folder, image_size(plain_parts(parts)), [], source)
    return NewExamples(inputs_like(x, parts, source), rows.targets, {column: values.tolist()} if is_image else {})


def image_size(inputs: Mapping[str, Any]) -> str | None:
    """Return the size that images were brought to, as `--image-size` takes it, of parts as plain values."""
    part = inputs["parts"][0]
    return f"{part['shape'][0]}x{part['shape'][1]}" if inputs["form"] == "one" and part["kind"] == "image" else None


def _targets(
    y: np.ndarray, target_names: Sequence[str], classes: Sequence[str], of_source: Sequence[str]
) -> dict[str, pd.Series]:
    if not classes:
        flat = y.reshape(len(y), -1)
        if flat.shape[1] != len(target_names) or flat.dtype.kind not in "biuf":
            return {}
        return {name: pd.Series(flat[:, place]) for place, name in enumerate(target_names)}
    if y.ndim == 2 and y.shape[1] == len(classes) > 1:
        y = np.asarray(classes, dtype=object)[y.argmax(axis=1)]
    labels = [
        each.decode("utf-8") if isinstance(each, bytes) else each for each in y.reshape(len(y), -1)[:, 0].tolist()
    ]
    if of_source:
        labels = [of_source[int(code)] for code in labels]
    texts = [f"{label:g}" if isinstance(label, float) else str(label) for label in labels]
    return {target_names[0]: pd.Series(texts, dtype=object)}
