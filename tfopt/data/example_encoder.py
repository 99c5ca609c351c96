"""Between examples and a network: what is learned from a training part, and each example's numbers after it."""

from collections.abc import Mapping
from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf

from tfopt.data.examples import InputPart, Nest, each, named

_BYTES = 255.0


class ExampleEncoder:
    """Makes a network's inputs of examples, after what was learned from the training part of a fold.

    Args:
        parts: What each array is, as `ExampleSet.parts`.
        texts_as_they_are: Whether the network takes texts itself.
    """

    def __init__(self, parts: Any, texts_as_they_are: bool = False):
        self.parts, self.texts_as_they_are = parts, texts_as_they_are
        self._learned: dict[str, Any] = {}
        self._layers: dict[str, keras.layers.TextVectorization] = {}

    def fit(self, x: Nest) -> Self:
        """Learn from these examples: the words of texts, mean and spread of each channel of sequences."""
        arrays = dict(named(x))
        for name, part in named(self.parts):
            if part.kind == "sequence":
                channels = tuple(range(arrays[name].ndim - 1))
                mean, spread = arrays[name].mean(channels, np.float64), arrays[name].std(channels, dtype=np.float64)
                scale = np.where(spread > 0, spread, 1.0)
                self._learned[name] = {"mean": mean.tolist(), "scale": scale.tolist()}
            elif part.kind == "text" and not self.texts_as_they_are:
                layer = words_layer(part, None)
                layer.adapt(tf.constant(arrays[name].tolist()))
                self._learned[name] = {"words": [str(word) for word in layer.get_vocabulary()]}
        return self

    @property
    def learned(self) -> dict[str, Any]:
        """What was learned, by the parts' names, as plain values."""
        return self._learned

    def transform(self, x: Nest) -> Nest:
        """Return the network's inputs."""
        return each(self._transformed, self.parts, x)

    def _transformed(self, part: InputPart, array: np.ndarray) -> np.ndarray:
        if part.kind == "text" and self.texts_as_they_are:
            return array
        if part.kind == "text":
            if part.name not in self._layers:
                self._layers[part.name] = words_layer(part, self._learned[part.name]["words"])
            return np.asarray(self._layers[part.name](tf.constant(array.tolist())), dtype=np.int32)
        return np.asarray(encoded(part, array, self._learned.get(part.name)))


def words_layer(part: InputPart, words: list[str] | None) -> keras.layers.TextVectorization:
    """Return the layer that makes numbers of a text's words; without words it is yet to learn them."""
    return keras.layers.TextVectorization(
        max_tokens=part.vocabulary_size,
        split=part.split,
        output_sequence_length=part.length,
        # Without the two that the layer puts first: for what is missing and what is unknown.
        vocabulary=None if words is None else words[2:],
    )


def blank_inputs(parts: Any, texts_as_they_are: bool) -> Any:
    """Return a network's inputs of one example of zeros, its texts empty."""

    def zeros(part: InputPart) -> Any:
        if part.kind == "text" and texts_as_they_are:
            return tf.constant([""])
        return np.zeros((1, *part.encoded_shape), part.encoded_dtype)

    return each(zeros, parts)


def encoded(part: InputPart, array: Any, learned: Mapping[str, Any] | None) -> Any:
    """Return numbers, of NumPy or TensorFlow, as the network takes them."""
    as_float = (lambda values: values.astype("float32")) if isinstance(array, np.ndarray) else _as_float
    if part.kind == "image":
        return as_float(array) / np.float32(_BYTES) if part.dtype == "uint8" else as_float(array)
    if part.kind == "sequence":
        assert learned is not None
        return (as_float(array) - np.float32(learned["mean"])) / np.float32(learned["scale"])
    return array


def _as_float(values: Any) -> Any:
    return tf.cast(values, tf.float32)
