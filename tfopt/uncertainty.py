"""Predictions with uncertainty, from dropout left on. TensorFlow only."""

import dataclasses
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfopt.callbacks._dropout_probe import DropoutProbe
from tfopt.callbacks.dropout_effects import entropy_and_information


@dataclasses.dataclass(frozen=True)
class MonteCarloPrediction:
    """Predictions of one model under different dropout masks.

    Attributes:
        samples: ``[samples, examples, …]``.

    Example:
        ```python
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dropout(0.5), keras.layers.Dense(3, "softmax")])
        prediction = tfopt.mc_dropout(model, np.ones((4, 2)), samples=8)
        print(prediction.samples.shape, prediction.entropy().shape)  # (8, 4, 3) (4,)
        ```
    """

    samples: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """The mean prediction ``[examples, …]``."""
        return self.samples.mean(axis=0)

    @property
    def std(self) -> np.ndarray:
        """The standard deviation over the masks ``[examples, …]``."""
        return self.samples.std(axis=0, ddof=1) if len(self.samples) > 1 else np.zeros_like(self.samples[0])

    def entropy(self, from_logits: bool = False) -> np.ndarray:
        """Entropy of the mean class probabilities, in nats ``[examples]``: the whole uncertainty."""
        return entropy_and_information(self._probabilities(from_logits))[0]

    def mutual_information(self, from_logits: bool = False) -> np.ndarray:
        """What of the entropy comes from the masks disagreeing, in nats ``[examples]``: the model's own uncertainty."""
        return entropy_and_information(self._probabilities(from_logits))[1]

    def _probabilities(self, from_logits: bool) -> np.ndarray:
        values = self.samples.astype(np.float64)
        if values.shape[-1] == 1:
            positive = 1.0 / (1.0 + np.exp(-values)) if from_logits else values
            return np.concatenate([1.0 - positive, positive], axis=-1)
        if from_logits:
            powers = np.exp(values - values.max(axis=-1, keepdims=True))
            return powers / powers.sum(axis=-1, keepdims=True)
        return values


def mc_dropout(model: Any, x: Any, samples: int = 50, batch_size: int = 256, seed: int = 0) -> MonteCarloPrediction:
    """Predict several times with dropout on, and nothing else in training mode.

    The spread of the predictions is a cheap measure of how unsure the model is (Gal and Ghahramani, 2016,
    https://arxiv.org/abs/1506.02142); the mean is often a little better than the plain prediction. Normalisation keeps
    its moving statistics, and the model's weights and random streams stay untouched, which `model(x, training=True)`
    does not manage. The same `seed` gives the same masks.

    Args:
        model: A built Keras model with one output and at least one layer that drops.
        x: Inputs, as for `model.predict`: an array, or a list or dict of arrays.
        samples: Predictions per example. Srivastava et al. (2014) needed about 50 to match the plain prediction.
        batch_size: Examples at once.
        seed: Seed of the masks.

    Returns:
        The predictions, with `mean`, `std`, `entropy()` and `mutual_information()`.

    Raises:
        ValueError: If no layer drops, or `samples` or `batch_size` is less than 1.

    Example:
        ```python
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dropout(0.5), keras.layers.Dense(3, "softmax")])
        prediction = tfopt.mc_dropout(model, np.ones((4, 2)), samples=8)
        print(prediction.mean.shape, prediction.std.shape)  # (4, 3) (4, 3)
        unsure = np.argsort(prediction.mutual_information())[::-1]
        ```
    """
    if samples < 1 or batch_size < 1:
        raise ValueError(
            f"Arguments `samples` and `batch_size` must be >= 1. Received: samples={samples}, batch_size={batch_size}."
        )
    probe = DropoutProbe(model, seed)
    if not probe.layers:
        raise ValueError(
            f"Argument `model` must have a layer that drops. Received: {model.name!r} without one. "
            "All its predictions would be equal; use `model.predict`."
        )

    def forward(flags: Any, batch: Any) -> Any:
        with probe.live(flags):
            return model(batch, training=False)

    x = keras.tree.map_structure(tf.convert_to_tensor, x)
    size, flags = len(keras.tree.flatten(x)[0]), probe.flags(True)
    specs = keras.tree.map_structure(lambda t: tf.TensorSpec([None, *t.shape[1:]], t.dtype), x)
    # A concrete function: TensorFlow counts the tracings of one piece of code over all models, and warns.
    predict = tf.function(forward).get_concrete_function(tf.TensorSpec(flags.shape, tf.bool), specs)
    rounds = []
    for _ in range(samples):
        parts = []
        for start in range(0, size, batch_size):
            batch = keras.tree.map_structure(lambda t, start=start: t[start : start + batch_size], x)
            parts.append(predict(flags, batch).numpy())
        rounds.append(np.concatenate(parts))
    return MonteCarloPrediction(np.stack(rounds))
