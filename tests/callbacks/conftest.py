"""A training loop written out by hand: what every measured gradient is checked against."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf


def _square(gradient: Any) -> float:
    return float(np.sum(np.square(np.asarray(tf.convert_to_tensor(gradient), np.float64))))


@pytest.fixture(scope="session")
def data() -> tuple[np.ndarray, np.ndarray]:
    """96 rows, three batches of 32: Keras traces its step anew for a partial one."""
    generator = np.random.default_rng(7)
    return generator.normal(size=(96, 5)).astype("float32"), generator.integers(0, 3, 96)


@pytest.fixture(scope="session")
def build() -> Callable[..., keras.Model]:
    """A small classifier whose weights, dropout and order of batches follow from the seed."""

    def make(optimizer: Any = "sgd", *, dropout: float = 0.0, seed: int = 3, **compile_arguments: Any) -> keras.Model:
        keras.utils.set_random_seed(seed)
        layers = [keras.Input((5,)), keras.layers.Dense(6, "tanh", name="first")]
        layers += [keras.layers.Dropout(dropout, seed=1)] if dropout else []
        model = keras.Sequential([*layers, keras.layers.Dense(3, name="last")])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.get(optimizer), loss, **compile_arguments)
        return model

    return make


@pytest.fixture(scope="session")
def tape_squares() -> Callable[..., np.ndarray]:
    """Squared norms ``[steps, variables]`` of a plain eager loop that trains `model` with `GradientTape`."""

    def run(model: keras.Model, x: Any, y: Any, epochs: int = 2, batch_size: int = 32) -> np.ndarray:
        rows, optimizer = [], model.optimizer
        for _ in range(epochs):
            for start in range(0, len(x), batch_size):
                part_x, part_y = x[start : start + batch_size], y[start : start + batch_size]
                with tf.GradientTape() as tape:
                    loss = model.compute_loss(part_x, part_y, model(part_x, training=True))
                gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
                rows.append([np.nan if g is None else _square(g) for g in gradients])
                optimizer.apply(gradients, model.trainable_variables)
        return np.array(rows)

    return run
