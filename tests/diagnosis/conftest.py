"""Models made ill, one an illness, and healthy ones: small enough to train in seconds on the embedded digits."""

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from sklearn.datasets import load_digits

from tfopt import callbacks as cb

L, I, O = keras.layers, keras.initializers, keras.optimizers  # noqa: E741


def _digits(rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    x, y = (x[order] / 16.0).astype("float32"), y[order]
    return x[:rows], y[:rows], x[rows : rows + 384], y[rows : rows + 384]


def _train(
    layers: list[Any], optimizer: Any, epochs: int = 8, rows: int = 512, batch_size: int = 32, **more: Any
) -> Any:
    """Train on digits, in full batches, with every callback of the diagnosis; returns the History."""
    keras.utils.set_random_seed(1)
    x, y, x_val, y_val = _digits(rows)
    y = more.get("labels", lambda y: y)(y)
    model = keras.Sequential([keras.Input((64,)), *(layer() for layer in layers), L.Dense(10, name="out")])
    if "weights" in more:
        more["weights"](model)
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    watching = [
        cb.GradientNorms(log_layers=True, update_ratio=True),
        cb.ActivationStats(x[:128], log_layers=True),
        cb.WeightStats(),
        *([cb.DropoutEffects((x[:128], y[:128]), draws=4)] if more.get("drops") else []),
        *more.get("callbacks", []),
    ]
    return model.fit(
        x, y, epochs=epochs, batch_size=batch_size, verbose=0, callbacks=watching, validation_data=(x_val, y_val)
    )


def _dense(units: int = 64, activation: str = "relu", **arguments: Any) -> Callable[[], Any]:
    return lambda: L.Dense(units, activation, **arguments)


class _Rate(keras.callbacks.Callback):
    """Logs a schedule."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs["learning_rate"] = float(self.model.optimizer.learning_rate)


_HE = {"kernel_initializer": "he_normal"}
_RUNS: dict[str, Callable[[], Any]] = {
    "diverged": lambda: _train([_dense(activation="linear")] * 3, O.SGD(1e3), epochs=3),
    "exploding gradients": lambda: _train(
        [lambda: L.Reshape((64, 1)), lambda: L.SimpleRNN(32, recurrent_initializer=I.Orthogonal(2.5, seed=0))],
        O.SGD(0.01),
        epochs=3,
    ),
    "vanishing gradients": lambda: _train([_dense(activation="sigmoid")] * 8, O.SGD(0.1)),
    "symmetric initialisation": lambda: _train([_dense(kernel_initializer="zeros")] * 2, O.Adam(1e-3)),
    "learning rate too high": lambda: _train([_dense(**_HE)], O.Adam(1.0), epochs=10),
    "learning rate too low": lambda: _train([_dense(**_HE)], O.Adam(1e-6)),
    "clipping always active": lambda: _train([_dense(**_HE)], O.Adam(1e-3, global_clipnorm=1e-3)),
    "clipping never active": lambda: _train([_dense(**_HE)], O.Adam(1e-3, global_clipnorm=1e3)),
    "dead units": lambda: _train([_dense(bias_initializer=I.Constant(-2.0), **_HE)], O.Adam(1e-3)),
    "dropout too strong": lambda: _train(
        [_dense(**_HE), lambda: L.Dropout(0.9), _dense(**_HE), lambda: L.Dropout(0.9)], O.Adam(1e-3), drops=True
    ),
    "dropout without effect": lambda: _train([_dense(**_HE), lambda: L.Dropout(0.001)], O.Adam(1e-3), drops=True),
    "over-regularised": lambda: _train([_dense(kernel_regularizer=keras.regularizers.L2(1.0), **_HE)], O.Adam(1e-3)),
    "overfitting": lambda: _train([_dense(256, **_HE)] * 2, O.Adam(3e-3), epochs=30, rows=64),
    "noise-dominated steps": lambda: _train(
        [_dense(**_HE)],
        O.SGD(1e-3, gradient_accumulation_steps=2),
        epochs=4,
        rows=128,
        batch_size=1,
        labels=lambda y: np.random.default_rng(0).permutation(y),
    ),
    "schedule ends too early": lambda: _train(
        [_dense(**_HE)], O.SGD(O.schedules.PolynomialDecay(0.1, 80)), epochs=12, callbacks=[_Rate()]
    ),
    "healthy dense": lambda: _train(
        [_dense(**_HE), lambda: L.Dropout(0.2), _dense(**_HE)], O.Adam(1e-3), epochs=10, drops=True, callbacks=[_Rate()]
    ),
    "healthy convolution": lambda: _train(
        [
            lambda: L.Reshape((8, 8, 1)),
            lambda: L.Conv2D(12, 3, use_bias=False),
            L.BatchNormalization,
            L.ReLU,
            L.Flatten,
        ],
        O.SGD(O.schedules.CosineDecay(0.1, 130), momentum=0.9),
        epochs=8,
        callbacks=[_Rate()],
    ),
    "healthy recurrent": lambda: _train(
        [lambda: L.Reshape((8, 8)), lambda: L.LSTM(24)], O.Adam(3e-3, global_clipnorm=1.0), epochs=10
    ),
}


@pytest.fixture(scope="session")
def history_of() -> Callable[[str], Any]:
    """The History of a run by name, trained on first use."""
    return functools.cache(lambda name: _RUNS[name]())


@pytest.fixture(scope="session")
def run_names() -> list[str]:
    """All runs; the healthy ones begin with that word."""
    return list(_RUNS)
