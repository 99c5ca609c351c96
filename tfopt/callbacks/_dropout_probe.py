"""A model's forward pass with dropout on where a flag says so, everything else at inference. TensorFlow only.

While the forward function is traced, each layer that drops carries an own ``call`` that picks between dropping and not
by a tensor, and every seed generator below the model is replaced by a private one; both are undone before the trace is
over. Training's random streams, weights and moving statistics are never touched, and no second model is built.
"""

import contextlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from tfopt import layers as changing
from tfopt._layers import distinct_paths, sublayers
from tfopt._private.keras_random import global_generator_replaced
from tfopt._private.needs import available

_GAUSSIAN = (keras.layers.GaussianDropout, changing.GaussianDropout)
_ALPHA = (keras.layers.AlphaDropout, changing.AlphaDropout)
# Layers that pass their input on where they do not drop: what they did is seen by comparing the two.
_PLAIN = (
    keras.layers.Dropout,
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
    keras.layers.SpatialDropout3D,
    changing.Dropout,
)
SIMPLE = (*_PLAIN, *_GAUSSIAN, *_ALPHA)
_NOISE = (keras.layers.GaussianNoise, changing.GaussianNoise)


def dropping_layers(model: Any) -> list[keras.layers.Layer]:
    """The layers that drop in training; an RNN stands for its cells, attention for the Dropout inside it."""
    return [layer for layer in sublayers(model) if _drops(layer)]


def _drops(layer: Any) -> bool:
    if isinstance(layer, _NOISE):
        return False
    if isinstance(layer, SIMPLE):
        return not isinstance(layer.rate, int | float) or layer.rate > 0
    if isinstance(layer, keras.layers.RNN):
        cells = getattr(layer.cell, "cells", None) or [layer.cell]
        return any(getattr(cell, "dropout", 0) or getattr(cell, "recurrent_dropout", 0) for cell in cells)
    if isinstance(layer, keras.layers.Attention | keras.layers.AdditiveAttention):
        return bool(layer.dropout)
    is_own = type(layer).__module__.split(".")[0] not in ("keras", "tfopt")
    is_random = isinstance(getattr(layer, "seed_generator", None), keras.random.SeedGenerator)
    return is_own and is_random and "training" in inspect.signature(layer.call).parameters


Capture = Callable[[int, Any, Any], None]


class DropoutProbe:
    """Runs `model` with chosen layers dropping, from a random stream of its own.

    Args:
        model: A built Keras model.
        seed: Seed of the private stream.
    """

    def __init__(self, model: Any, seed: int) -> None:
        self.model, self.layers = model, dropping_layers(model)
        self.names = distinct_paths(model, self.layers)
        self.always_on: set[str] = set()
        # Without a seed Keras would draw one from Python's `random`; without a name it would count one up.
        self._generator = keras.random.SeedGenerator(seed=seed, name="tfopt_dropout_probe")
        self._first = tf.convert_to_tensor(self._generator.state)

    def rewind(self) -> None:
        """Start the private stream anew, so that the same masks follow."""
        self._generator.state.assign(self._first)

    def flags(self, on: Any) -> tf.Tensor:
        """A flag a layer: `on` for all of them, or the list itself."""
        return tf.constant([on] * len(self.layers) if isinstance(on, bool) else on, tf.bool, [len(self.layers)])

    @contextlib.contextmanager
    def live(self, flags: Any, capture: Capture | None = None) -> Iterator[None]:
        """Make the layers obey `flags` while the block runs or is traced; `capture` gets (layer, input, dropped)."""
        undo: list[tuple[Any, str, Any]] = []

        def put(target: Any, name: str, value: Any) -> None:
            undo.append((target, name, vars(target).get(name, undo)))
            object.__setattr__(target, name, value)

        graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
        unseeded = available("generator of unseeded draws")
        try:
            for owner in [self.model, *sublayers(self.model)]:
                for name, value in list(vars(owner).items()):
                    if isinstance(value, keras.random.SeedGenerator):
                        put(owner, name, self._generator)
            for index, layer in enumerate(self.layers):
                if getattr(layer, "schedule", None) is not None:
                    put(layer, "schedule", None)  # the rate stays that of the last step, and no step is counted
                put(layer, "call", self._switched(index, layer, flags, capture, graph))
            with global_generator_replaced(self._generator) if unseeded else contextlib.nullcontext():
                yield
        finally:
            for target, name, old in reversed(undo):
                if old is undo:
                    object.__delattr__(target, name)
                else:
                    object.__setattr__(target, name, old)

    def _switched(self, index: int, layer: Any, flags: Any, capture: Capture | None, graph: Any) -> Any:
        call, is_simple = layer.call, isinstance(layer, SIMPLE)

        def switched(inputs: Any, *arguments: Any, **keywords: Any) -> Any:
            if keywords.pop("training", None) is True:
                self.always_on.add(self.names[index])
            on = call(inputs, *arguments, training=True, **keywords)
            off = inputs if is_simple else call(inputs, *arguments, training=False, **keywords)
            outer = graph is None or tf.compat.v1.get_default_graph() is graph
            if capture is not None and is_simple and outer:  # tensors of a loop's body cannot leave it
                capture(index, inputs, on)
            return keras.tree.map_structure(lambda a, b: tf.where(flags[index], a, b), on, off)

        return switched


def effects_of_layer(layer: Any, inputs: Any, dropped: Any, max_units: int = 256) -> dict[str, tf.Tensor]:
    """What one layer did to one batch: see `DropoutEffects` for the columns."""
    a, d = tf.cast(inputs, tf.float32), tf.cast(dropped, tf.float32)
    rate = tf.cast(tf.convert_to_tensor(layer.rate), tf.float32)
    mean, variance = tf.reduce_mean(a), tf.math.reduce_variance(a)
    small = tf.constant(1e-12)
    is_zero = tf.cast(tf.equal(a, 0.0), tf.float32)
    units = tf.reshape(a, [-1, a.shape[-1]])[:, :max_units]
    rows = tf.cast(tf.shape(units)[0], tf.float32)
    spread = tf.math.reduce_std(units, axis=0)
    varies = tf.cast(spread > small, tf.float32)
    standard = (units - tf.reduce_mean(units, axis=0)) / tf.maximum(spread, small) * varies
    correlation = tf.abs(tf.matmul(standard, standard, transpose_a=True)) / rows
    pairs = tf.reduce_sum(varies) * (tf.reduce_sum(varies) - 1.0)
    theory = ((mean**2 + variance) / (1.0 - rate) - mean**2) / tf.maximum(variance, small)
    return {
        "rate": rate,
        "drop_fraction": _drop_fraction(layer, a, d, rate, is_zero),
        "mean_shift": (tf.reduce_mean(d) - mean) / tf.maximum(tf.sqrt(variance), small),
        "variance_ratio": tf.math.reduce_variance(d) / tf.maximum(variance, small),
        "variance_ratio_theory": tf.constant(float("nan")) if isinstance(layer, _ALPHA) else theory,
        "sparsity": tf.reduce_mean(is_zero),
        "dead_units": tf.reduce_mean(tf.cast(tf.reduce_max(tf.abs(units), axis=0) <= small, tf.float32)),
        "coadaptation": (tf.reduce_sum(correlation) - tf.linalg.trace(correlation)) / tf.maximum(pairs, 1.0),
        "coadaptation_floor": tf.sqrt(2.0 / (3.141592653589793 * tf.maximum(rows - 1.0, 1.0))),
    }


def _drop_fraction(layer: Any, a: tf.Tensor, d: tf.Tensor, rate: tf.Tensor, is_zero: tf.Tensor) -> tf.Tensor:
    seen = 1.0 - is_zero
    count = tf.maximum(tf.reduce_sum(seen), 1.0)
    if isinstance(layer, _GAUSSIAN):  # noise of variance p/(1 − p) around 1 drops as much as rate p
        noise = tf.math.divide_no_nan(d, a) - seen
        square = tf.reduce_sum(noise**2) / count
        return square / (1.0 + square)
    if isinstance(layer, _ALPHA):  # a dropped unit takes the one value α′ before the affine correction
        alpha = tf.constant(-1.7580993408473766)
        scale = 1.0 / tf.sqrt((1.0 - rate) * (1.0 + rate * alpha**2))
        value = scale * alpha - scale * alpha * rate
        return tf.reduce_mean(tf.cast(tf.abs(d - value) < 1e-4, tf.float32))
    return tf.reduce_sum(seen * tf.cast(tf.equal(d, 0.0), tf.float32)) / count
