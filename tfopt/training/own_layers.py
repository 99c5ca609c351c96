"""Preprocessing layers inside a user's own network, which learn from a training part before the network is trained."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf


def inputs_of(model: keras.Model) -> list[Any]:
    """Return a network's symbolic inputs; none where they follow from the first rows: `Sequential` without `Input`."""
    return getattr(model, "inputs", None) or []


def layers_to_adapt(model: keras.Model) -> list[keras.layers.Layer]:
    """Return the layers of a network that have yet to learn from data, in its order."""
    return [layer for layer in _layers(model) if _is_to_adapt(layer)]


def adapt(model: keras.Model, x: Any) -> None:
    """Let a network's preprocessing layers learn from training inputs, each from what reaches it.

    Raises:
        ValueError: What reaches a layer is not known.
    """
    if isinstance(model, keras.Sequential) and not inputs_of(model) and hasattr(x, "shape") and x.dtype.kind != "O":
        model.build((None, *x.shape[1:]))  # what its input is follows from the first rows
    tensors = keras.tree.map_structure(_tensor, x)
    for layer in layers_to_adapt(model):
        if not inputs_of(model) or not any(layer is own for own in model.layers):
            raise ValueError(
                f"layer {layer.name!r} ({type(layer).__name__}) has not been adapted, and it is not a layer of the "
                "network itself, so that what reaches it is not known. Begin the network with `keras.Input`, or build "
                "it with the functional API."
            )
        # Of the network's own inputs in their own names, whatever form the layer's are in.
        whole = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
        reaching = keras.Model(whole, layer.input)
        found = reaching(tensors, training=False)
        layer.adapt(found if found.dtype == "string" else np.asarray(found))


def restored(model: keras.Model) -> None:
    """Have `Normalization` layers read what was put into their variables."""
    for layer in _layers(model):
        if isinstance(layer, keras.layers.Normalization) and layer.input_mean is None:
            layer.finalize_state()


def _layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    for layer in model.layers:
        yield layer
        if isinstance(layer, keras.Model):
            yield from _layers(layer)


def _is_to_adapt(layer: Any) -> bool:
    if isinstance(layer, keras.layers.Normalization):
        if layer.input_mean is not None or not layer.built:
            return layer.input_mean is None
        return not np.any(layer.adapt_mean) and bool(np.all(np.asarray(layer.adapt_variance) == 1.0))
    if isinstance(layer, keras.layers.Discretization):
        return layer.bin_boundaries is None
    if isinstance(layer, keras.layers.TextVectorization):
        return layer.vocabulary_size() <= 2
    if isinstance(layer, keras.layers.StringLookup | keras.layers.IntegerLookup):
        return layer.vocabulary_size() <= layer.num_oov_indices + (layer.mask_token is not None)
    return False


def _tensor(array: np.ndarray) -> Any:
    return tf.constant(array.tolist()) if array.dtype.kind == "O" else tf.constant(array)
