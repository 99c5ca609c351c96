"""Frozen networks for images that were trained before, from a local file: `--backbone`, in space `cnn`."""

import functools
import re
from pathlib import Path
from typing import Any

import keras
from keras import applications, layers

from tfopt.errors import UserError, one_line
from tfopt.search.problem import Problem

# Images smaller than the smallest that every network of `keras.applications` takes are enlarged first.
_SMALLEST, _ENLARGED = 75, 96


def features_of(file: str, problem: Problem, inputs: Any, hidden: Any) -> Any:
    """Return what a frozen network says of images (rows, height, width, channels), as numbers (rows, width).

    Args:
        file: `.keras`, or `.weights.h5` of a network of `keras.applications` without its top.
        problem: Whose images these are.
        inputs: The network's input, for the images' own channels.
        hidden: The images, bytes as numbers between 0 and 1, after what changes them.

    Raises:
        UserError: The file cannot be used.
    """
    network = _frozen(file)
    channels = inputs.shape[-1]
    if channels != 3:
        first = hidden[..., :1]
        hidden = layers.Concatenate()([first] * 3) if channels < 3 else hidden[..., :3]
    own = network.input_shape[1:3]
    height, width = (side or given for side, given in zip(own, problem.input_shape, strict=False))
    if own == (None, None) and min(height, width) < _SMALLEST:
        height, width = _ENLARGED, _ENLARGED
    if (height, width) != tuple(problem.input_shape[:2]):
        hidden = layers.Resizing(height, width)(hidden)
    found = network(_preprocessed(network.name, layers.Rescaling(255.0)(hidden)), training=False)
    return layers.GlobalAveragePooling2D()(found) if len(found.shape) == 4 else layers.Flatten()(found)


def _frozen(file: str) -> keras.Model:
    """Return a copy of the network of a file, which nothing trains."""
    original = _loaded(file, Path(file).stat().st_mtime_ns)
    network = keras.models.clone_model(original)
    network.set_weights(original.get_weights())
    network.trainable = False
    return network


@functools.lru_cache(1)
def _loaded(file: str, changed: int) -> keras.Model:
    try:
        if file.endswith(".keras"):
            network = keras.models.load_model(file, compile=False)
        else:
            network = getattr(applications, _architecture(Path(file).name))(include_top=False, weights=None)
            network.load_weights(file)
    except UserError:
        raise
    except Exception as error:  # of a file of any origin anything may come
        why = one_line(error)[:200]
        raise UserError(f"--backbone {file} cannot be loaded ({why}). Save it anew with Keras.") from None
    taken, given = (getattr(network, name, None) for name in ("input_shape", "output_shape"))
    if not isinstance(network, keras.Sequential) and not hasattr(network, "operations"):
        raise UserError(f"--backbone {file} holds a {type(network).__name__}. Build it with the functional API.")
    if not (isinstance(taken, tuple) and isinstance(given, tuple) and len(taken) == 4 and taken[-1] == 3):
        raise UserError(
            f"--backbone {file} takes inputs of shape {taken}, and it must take images of 3 channels, "
            "(None, height, width, 3), and give one output."
        )
    return network


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _architecture(name: str) -> str:
    """Return the network of `keras.applications` that a name begins with, the longest such."""
    known = {_plain(each): each for each in dir(applications) if each[0].isupper()}
    found = [plain for plain in known if _plain(name).startswith(plain)]
    if not found:
        raise UserError(
            f"which network of keras.applications are the weights {name} of? Let the file's name begin with it, such "
            "as MobileNetV2.weights.h5, or give a whole model as .keras."
        )
    return known[max(found, key=len)]


def _preprocessed(name: str, pixels: Any) -> Any:
    """Return pixels, 0 to 255, as the network of this name was trained on them; as they are for an unknown one."""
    try:
        architecture = getattr(applications, _architecture(name))
    except UserError:
        return pixels
    return getattr(applications, architecture.__module__.rpartition(".")[2]).preprocess_input(pixels)
