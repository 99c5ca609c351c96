"""Exported models that take raw columns: what `TableEncoder` learned, inside the TensorFlow graph.

Imports no pandas, because `import tfopt` imports this module.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Self

import keras
import numpy as np
import tensorflow as tf

from tfopt.data.column import FLOAT32_MAX, LARGEST, NUM_TOPICS, SECONDS_PER_DAY, Column
from tfopt.data.graph_dates import cycles, parse_dates

if TYPE_CHECKING:
    from tfopt.data.encoder import TableEncoder

__all__ = ["TableModel", "TablePreprocessing"]

_OUTPUTS = {
    "regression": ("values",),
    "classification": ("probabilities", "logits", "binary_probability", "binary_logit"),
}


@keras.saving.register_keras_serializable(package="tfopt")
class TablePreprocessing(keras.layers.Layer):
    """Turn raw columns into the matrix of a fitted `TableEncoder`, as a Keras layer.

    It gives what the encoder gives, to rounding in float32, and is saved with the model, so that nothing beside the
    `.keras` file is needed to predict. It computes in float64 inside and returns float32 under every dtype policy.
    Build it with `from_encoder`. It uses TensorFlow's text functions and runs on that backend only.

    Args:
        columns: One dict for each column: `name`, `kind` and the fields of `tfopt.data.Column`.
        scaling: The encoder's `scaling`.
        center: What is subtracted from each value column (numeric columns, then dates in days since 1970).
        factor: What the difference is multiplied with.
        fill: What stands in for a missing value, before scaling.
        boolean_fill: What stands in for a missing truth value, 0.0 or 1.0.
        levels: For each categorical column the levels that have a slot, in the order of slots.
        num_slots: For each categorical column the number of slots.
        topics: For each text column a dict of its `TopicCoder`: `vocabulary`, `idf` and `components`.
        name: The layer's name.

    Call arguments:
        columns: Dict of tensors, (rows,) or (rows, 1): numbers with NaN for missing (numeric, boolean), text with `""`
            for missing (categorical; text; dates as `YYYY-MM-DD`, with or without ` HH:MM:SS`).

    Returns:
        (rows, width) float32.

    Raises:
        ValueError: When called without one of the columns.

    Example:
        ```python
        import numpy as np
        import pandas as pd
        from tfopt.data import Column, TableEncoder, TablePreprocessing
        frame = pd.DataFrame({"size": [1.0, 2.0, 3.0], "colour": ["red", "blue", "red"]})
        columns = [Column("size", "numeric"), Column("colour", "categorical", num_levels=2)]
        layer = TablePreprocessing.from_encoder(TableEncoder(columns).fit(frame))
        print(layer({"size": np.array([2.0, np.nan]), "colour": np.array(["blue", "green"])}).numpy().tolist())
        # [[0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
        ```
    """

    def __init__(
        self,
        columns: Sequence[Mapping[str, Any]],
        scaling: str,
        center: Sequence[float],
        factor: Sequence[float],
        fill: Sequence[float],
        boolean_fill: Sequence[float],
        levels: Mapping[str, Sequence[str]],
        num_slots: Mapping[str, int],
        topics: Mapping[str, Mapping[str, Any]] | None = None,
        name: str = "preprocessing",
    ):
        # Text cannot be cast, and casting numbers to float32 here would cost the digits that float64 keeps below.
        super().__init__(name=name, dtype="float32", autocast=False, trainable=False)
        self.columns = tuple(_column(column) for column in columns)
        self.scaling = scaling
        self.center, self.factor, self.fill = list(center), list(factor), list(fill)
        self.boolean_fill = list(boolean_fill)
        self.levels = {column: list(names) for column, names in levels.items()}
        self.num_slots = dict(num_slots)
        self.topics = {column: dict(state) for column, state in (topics or {}).items()}
        self._places = {column: _places_of(state["vocabulary"]) for column, state in self.topics.items()}
        self.built = True

    @classmethod
    def from_encoder(cls, encoder: "TableEncoder") -> Self:
        """Return the layer that does what a fitted encoder does."""
        return cls(
            columns=[_column_config(column) for column in encoder.columns],
            scaling=encoder.scaling,
            center=encoder.center_.tolist(),
            factor=encoder.factor_.tolist(),
            fill=encoder.fill_.tolist(),
            boolean_fill=encoder.boolean_fill_.tolist(),
            levels={name: list(levels) for name, levels in encoder.levels_.items()},
            num_slots={
                column.name: min(column.num_levels, encoder.max_levels)
                for column in encoder.columns
                if column.kind == "categorical"
            },
            topics={
                name: {
                    "vocabulary": list(coder.vocabulary),
                    "idf": coder.idf.tolist(),
                    "components": coder.components.tolist(),
                }
                for name, coder in encoder.topics_.items()
            },
        )

    @property
    def width(self) -> int:
        """Number of columns of the matrix."""
        widths = {"numeric": 1, "boolean": 1, "date": 7, "categorical": 1, "text": NUM_TOPICS}
        return sum(
            widths[column.kind] + self.num_slots.get(column.name, 0) + column.has_missing for column in self.columns
        )

    def call(self, columns: Mapping[str, Any]) -> Any:
        """Return the matrix of the given rows."""
        absent = [column.name for column in self.columns if column.name not in columns]
        if absent:
            raise ValueError(f"A column is missing: {absent[0]!r}. Received: columns {sorted(columns)}.")
        numeric, dates, booleans = self._of_kind("numeric"), self._of_kind("date"), self._of_kind("boolean")
        parts, indicators = [], []
        if numeric:
            parts.append(tf.stack([_numbers(columns[column.name]) for column in numeric], axis=1))
        parsed = [parse_dates(columns[column.name]) for column in dates]
        for seconds, missing in parsed:
            days = tf.cast(seconds, tf.float64) / SECONDS_PER_DAY
            parts.append(tf.where(missing, tf.constant(math.nan, tf.float64), days)[:, None])
        texts = self._of_kind("text")
        parts += [self._topics_of(column, columns[column.name]) for column in texts]
        if parts:
            values = tf.concat(parts, axis=1)
            missing = tf.math.is_nan(values)
            parts = [self._scale(tf.where(missing, tf.constant(self.fill, tf.float64), values))]
            indicators.append(_indicators(missing, numeric + dates))
        if booleans:
            truth = tf.stack([_numbers(columns[column.name]) for column in booleans], axis=1)
            missing = tf.math.is_nan(truth)
            parts.append(tf.where(missing, tf.constant(self.boolean_fill, tf.float64), truth))
            indicators.append(_indicators(missing, booleans))
        parts += [cycles(seconds, missing) for seconds, missing in parsed]
        parts += [self._slots(column, columns[column.name]) for column in self._of_kind("categorical")]
        empty = [_without_words(columns[column.name])[:, None] for column in texts if column.has_missing]
        indicators += [tf.cast(missing, tf.float64) for missing in empty]
        return tf.cast(tf.concat(parts + indicators, axis=1), tf.float32)

    def compute_output_shape(self, input_shape: Mapping[str, Sequence[int | None]]) -> tuple[int | None, int]:
        """Return (rows, width)."""
        rows = next(iter(input_shape.values()))[0] if input_shape else None
        return (rows, self.width)

    def get_config(self) -> dict[str, Any]:
        """Return the whole fitted state as plain values."""
        return {
            "columns": [_column_config(column) for column in self.columns],
            "scaling": self.scaling,
            "center": self.center,
            "factor": self.factor,
            "fill": self.fill,
            "boolean_fill": self.boolean_fill,
            "levels": self.levels,
            "num_slots": self.num_slots,
            "topics": self.topics,
            "name": self.name,
        }

    def _of_kind(self, kind: str) -> list[Column]:
        return [column for column in self.columns if column.kind == kind]

    def _scale(self, values: Any) -> Any:
        values = tf.clip_by_value(values, -LARGEST, LARGEST)
        scaled = (values - tf.constant(self.center, tf.float64)) * tf.constant(self.factor, tf.float64)
        scaled = tf.clip_by_value(scaled, -FLOAT32_MAX, FLOAT32_MAX)
        return scaled / tf.sqrt(1.0 + tf.square(scaled / 3.0)) if self.scaling == "robust" else scaled

    def _topics_of(self, column: Column, values: Any) -> Any:
        """Return what `TopicCoder.transform` does."""
        state = self.topics[column.name]
        num_words = len(state["vocabulary"])
        words = tf.strings.split(_words(values))
        places = words.with_flat_values(self._places[column.name].lookup(words.flat_values))
        # The last count is that of words that are not in the vocabulary.
        counts = tf.math.bincount(places, minlength=num_words + 1, maxlength=num_words + 1, dtype=tf.float64, axis=-1)[
            :, :num_words
        ]
        weighted = counts * tf.constant(state["idf"], tf.float64)
        length = tf.norm(weighted, axis=1, keepdims=True)
        components = tf.constant(state["components"], tf.float64, shape=(NUM_TOPICS, num_words))
        topics = tf.matmul(tf.math.divide_no_nan(weighted, length), components, transpose_b=True)
        return tf.ensure_shape(topics, (None, NUM_TOPICS))  # counts have no shape that is known before

    def _slots(self, column: Column, values: Any) -> Any:
        texts = _texts(values)
        missing = tf.equal(texts, "")
        levels = self.levels[column.name]
        num_slots = self.num_slots[column.name]
        hits = tf.equal(texts[:, None], tf.constant(levels, tf.string, shape=(1, len(levels))))
        other = ~tf.reduce_any(hits, axis=1) & ~(missing & column.has_missing)
        hits = tf.pad(hits, [[0, 0], [0, num_slots - len(levels)]])
        parts = [hits, other[:, None]] + ([missing[:, None]] if column.has_missing else [])
        return tf.cast(tf.concat(parts, axis=1), tf.float64)


@keras.saving.register_keras_serializable(package="tfopt")
class TableModel(keras.Model):
    """A trained network together with its preprocessing: raw columns in, predictions in the target's own terms out.

    Saved as one `.keras` file, it loads with `keras.models.load_model` after `import tfopt`. `tfopt.data.to_inputs`
    makes the dict of columns from a data frame. `predict` reads numbers in float64 and text of any NumPy kind.

    Args:
        preprocessing: Raw columns to matrix.
        network: Any Keras model that takes the matrix.
        task: `"regression"` or `"classification"`.
        output: What the network emits. Regression: `"values"`, scaled targets. Classification: `"logits"` or
            `"probabilities"` (rows, classes), or `"binary_logit"` or `"binary_probability"` (rows, 1) of the
            second class.
        classes: Class labels in the order of the columns of the result; empty for regression.
        target_names: Name of each target.
        target_mean: For regression, added to the scaled values: a number for each target. None for classification.
        target_scale: For regression, what the scaled values are first multiplied with, likewise.
        name: The model's name.

    Call arguments:
        columns: As for `TablePreprocessing`.

    Returns:
        float64: predictions (rows, targets), or probabilities (rows, classes).

    Raises:
        ValueError: When `task`, `output`, `classes` and the target's scale do not fit together.

    Example:
        ```python
        import keras
        from tfopt.data import TableEncoder, TableModel, TablePreprocessing, load_table, to_inputs
        table = load_table("iris")
        encoder = TableEncoder(table.columns).fit(table.features)
        network = keras.Sequential([keras.Input((encoder.width,)), keras.layers.Dense(3)])
        preprocessing = TablePreprocessing.from_encoder(encoder)
        model = TableModel(preprocessing, network, "classification", "logits", classes=table.classes)
        print(model.predict(to_inputs(table.features, table.columns), verbose=0).shape)  # (150, 3)
        ```
    """

    def __init__(
        self,
        preprocessing: TablePreprocessing,
        network: keras.Model,
        task: str,
        output: str,
        classes: Sequence[str] = (),
        target_names: Sequence[str] = (),
        target_mean: Sequence[float] | None = None,
        target_scale: Sequence[float] | None = None,
        name: str = "table_model",
    ):
        super().__init__(name=name, dtype="float32", autocast=False)
        mean, scale = list(target_mean or ()), list(target_scale or ())
        check_target(task, output, list(classes), mean, scale)
        self.preprocessing = preprocessing
        self.network = network
        self.task = task
        self.output_kind = output
        self.classes = tuple(map(str, classes))
        self.target_names = tuple(map(str, target_names))
        self.target_mean = tuple(map(float, mean))
        self.target_scale = tuple(map(float, scale))
        self.columns = preprocessing.columns
        if not network.built:
            network.build((None, preprocessing.width))
        self.built = True

    @property
    def levels(self) -> Mapping[str, Sequence[str]]:
        """For each categorical column the levels that it knows."""
        return self.preprocessing.levels

    def call(self, columns: Mapping[str, Any], training: bool | None = None) -> Any:
        """Return predictions, or class probabilities."""
        emitted = self.network(self.preprocessing(columns), training=training)
        if self.output_kind == "values":
            emitted = tf.reshape(emitted, (-1, len(self.target_mean)))
        return in_units(emitted, self.output_kind, self.target_mean, self.target_scale)

    def predict(self, x: Any, batch_size: int | None = None, verbose: Any = "auto", **options: Any) -> np.ndarray:
        """Return the predictions for a dict of columns or a data frame, or whatever else `keras.Model.predict` takes.

        Cells are read as `tfopt.data.to_inputs` reads them: numbers of any type, levels (`1`, `1.0` and `"1"` are one),
        `True`, `"yes"` or `1`, dates as text or `datetime64`, and None, NaN and `""` for missing.
        """
        if hasattr(x, "keys"):
            from tfopt.data.rows import to_inputs  # pandas, which `import tfopt` does without

            inputs = to_inputs(x, self.columns)
            # Keras itself would cast numbers to float32, and refuses NumPy text.
            x = tf.data.Dataset.from_tensor_slices(inputs).batch(batch_size or 4096)
            batch_size = None
        return super().predict(x, batch_size=batch_size, verbose=verbose, **options)

    def export(self, filepath: Any, format: str = "tf_saved_model", verbose: Any = None, **options: Any) -> None:
        """Write a SavedModel that takes raw columns, for TensorFlow Serving or for TensorFlow without Keras.

        Its signatures `serve` and `serving_default` take a vector for each column, float64 for numbers and truth values
        (NaN for missing) and text for the others (`""` for missing; dates as `YYYY-MM-DD HH:MM:SS`), under the names
        that `served_names` gives. Other formats, and an `input_signature` of your own, are Keras's.
        """
        if format != "tf_saved_model" or "input_signature" in options:
            super().export(filepath, format=format, verbose=verbose, **options)
            return
        names = self.served_names
        numbers = {column.name: column.kind in ("numeric", "boolean") for column in self.columns}
        signature = {
            name: tf.TensorSpec((None,), tf.float64 if numbers[column] else tf.string, name=name)
            for column, name in names.items()
        }

        def serve(inputs: dict[str, Any]) -> Any:
            return self({column: inputs[name] for column, name in names.items()}, training=False)

        archive = keras.export.ExportArchive()
        archive.track(self)
        archive.add_endpoint("serve", serve, input_signature=[signature], **options)
        archive.write_out(filepath, verbose=bool(verbose))

    @property
    def served_names(self) -> dict[str, str]:
        """What each column is called in the signature of an exported SavedModel, which allows letters, digits and `_`.

        Other characters become `_`; where that leaves no name, or the same one twice, the third column is `column_3`.
        """
        safe = [re.sub(r"\W", "_", column.name, flags=re.ASCII) for column in self.columns]
        taken = Counter(map(str.lower, safe))
        names = {}
        for place, (column, name) in enumerate(zip(self.columns, safe, strict=True), start=1):
            kept = re.fullmatch(r"(?!column_\d+$)[A-Za-z]\w*", name, re.ASCII) and taken[name.lower()] == 1
            names[column.name] = name if kept else f"column_{place}"
        return names

    def get_config(self) -> dict[str, Any]:
        """Return the configuration, the network's and the preprocessing's included."""
        return {
            "preprocessing": keras.saving.serialize_keras_object(self.preprocessing),
            "network": keras.saving.serialize_keras_object(self.network),
            "task": self.task,
            "output": self.output_kind,
            "classes": list(self.classes),
            "target_names": list(self.target_names),
            "target_mean": list(self.target_mean) or None,
            "target_scale": list(self.target_scale) or None,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Self:
        """Return the model of a configuration, without weights."""
        config = dict(config)
        for part in ("preprocessing", "network"):
            config[part] = keras.saving.deserialize_keras_object(config[part], custom_objects=custom_objects)
        return cls(**config)


def in_units(emitted: Any, output: str, mean: Sequence[float], scale: Sequence[float]) -> Any:
    """Return what a network emitted as float64 values in the target's own units, or as class probabilities.

    Args:
        emitted: (rows, targets) or (rows, classes), or (rows, 1) of the second of two classes.
        output: What it is, as for `TableModel`.
        mean: What is added to the scaled values, for each target.
        scale: What they are first multiplied with.
    """
    # The network knows its scaled target to seven digits. In float32 a target of 1.7e9 would keep none of them.
    emitted = tf.cast(emitted, tf.float64)
    if output == "values":
        return emitted * tf.constant(scale, tf.float64) + tf.constant(mean, tf.float64)
    if output == "logits":
        return tf.nn.softmax(emitted)
    if output == "probabilities":
        return emitted
    second = tf.reshape(emitted, (-1, 1))
    if output == "binary_logit":
        return tf.sigmoid(tf.concat([-second, second], axis=1))
    return tf.concat([1.0 - second, second], axis=1)


def check_target(task: str, output: str, classes: list[str], mean: list[float], scale: list[float]) -> None:
    if task not in _OUTPUTS:
        raise ValueError(f"Argument `task` must be one of {tuple(_OUTPUTS)}. Received: task={task!r}.")
    if output not in _OUTPUTS[task]:
        raise ValueError(f"Argument `output` must be one of {_OUTPUTS[task]} for {task}. Received: output={output!r}.")
    if task == "regression":
        if classes:
            raise ValueError(f"Argument `classes` must be empty for regression. Received: classes={classes!r}.")
        if not mean or len(mean) != len(scale) or not all(map(math.isfinite, mean + scale)):
            raise ValueError(
                "Arguments `target_mean` and `target_scale` must hold a finite number for each target. "
                f"Received: target_mean={mean!r}, target_scale={scale!r}."
            )
        return
    if mean or scale:
        raise ValueError(
            "Arguments `target_mean` and `target_scale` must be None for classification. "
            f"Received: target_mean={mean!r}, target_scale={scale!r}."
        )
    if len(classes) < 2 or (output.startswith("binary") and len(classes) != 2):
        needed = "two labels" if output.startswith("binary") else "two labels or more"
        raise ValueError(f"Argument `classes` must hold {needed} for output={output!r}. Received: classes={classes!r}.")


def _column(config: Mapping[str, Any]) -> Column:
    return Column(**{**config, "missing_text": tuple(config.get("missing_text", ()))})


def _column_config(column: Column) -> dict[str, Any]:
    return {**asdict(column), "has_missing": bool(column.has_missing), "missing_text": list(column.missing_text)}


def _numbers(values: Any) -> Any:
    return tf.cast(tf.reshape(tf.convert_to_tensor(values), [-1]), tf.float64)


def _texts(values: Any) -> Any:
    return tf.reshape(tf.convert_to_tensor(values, tf.string), [-1])


def _words(values: Any) -> Any:
    """Return the words of texts, of one letter or more, with a space between them."""
    # Letters and numbers of all scripts, which is what `\w` means in Python.
    return tf.strings.regex_replace(tf.strings.lower(_texts(values), "utf-8"), r"[^\pL\pN_]+", " ")


def _without_words(values: Any) -> Any:
    """Return whether texts lack a word of two letters or more."""
    return ~tf.strings.regex_full_match(_words(values), r".*[\pL\pN_]{2}.*")


def _places_of(vocabulary: Sequence[str]) -> Any:
    """Return a look-up of words: the place of each, and one more for all others."""
    words = tf.constant(list(vocabulary), tf.string, shape=(len(vocabulary),))
    places = tf.range(len(vocabulary), dtype=tf.int64)
    return tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(words, places), len(vocabulary))


def _indicators(missing: Any, columns: Sequence[Column]) -> Any:
    """Return the missing-value indicators of those columns that have one."""
    places = [place for place, column in enumerate(columns) if column.has_missing]
    return tf.cast(tf.gather(missing, tf.constant(places, tf.int32), axis=1), tf.float64)
