"""The layers and optimizers within a Keras model, and what their weights are called there."""

from collections.abc import Iterable
from typing import Any

import keras


def sublayers(model: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Return every layer within a model or layer, once each, wherever an attribute, list or dict holds it.

    A layer comes before those within it, and the layers of a model in the order in which the model names them.
    """
    found: list[keras.layers.Layer] = []
    waiting: list[Any] = [model]
    visited: set[int] = set()
    while waiting:
        item = waiting.pop(0)
        if id(item) in visited:
            continue
        visited.add(id(item))
        if isinstance(item, keras.layers.Layer):
            if item is not model:
                found.append(item)
            named = item.layers if isinstance(item, keras.Model) else []
            waiting = [*named, *vars(item).values(), *waiting]
        elif isinstance(item, list | tuple | set):
            waiting = [*item, *waiting]
        elif isinstance(item, dict):
            waiting = [*item.values(), *waiting]
    return found


def path_in_model(model: keras.Model, thing: Any) -> str:
    """Return the path of a weight or layer inside of the model; Keras puts the model's own name in front of some."""
    path = getattr(thing, "path", None) or thing.name  # layers without weights may have no path
    return str(path).removeprefix(f"{model.name}/")


def distinct_paths(model: keras.Model, layers: Iterable[keras.layers.Layer]) -> list[str]:
    """Return the layers' paths; those of one path get ``#2``, ``#3`` …"""
    paths: list[str] = []
    for layer in layers:
        path = path_in_model(model, layer)
        same = sum(other.split("#")[0] == path for other in paths)
        paths.append(f"{path}#{same + 1}" if same else path)
    return paths


def innermost_optimizers(optimizer: keras.optimizers.Optimizer) -> list[keras.optimizers.Optimizer]:
    """Return the optimizers that update weights: within a `LossScaleOptimizer`, side by side in a `MultiOptimizer`."""
    inner, several = getattr(optimizer, "inner_optimizer", None), getattr(optimizer, "optimizers", None)
    if inner is not None:
        return innermost_optimizers(inner)
    return [leaf for one in several for leaf in innermost_optimizers(one)] if several else [optimizer]
