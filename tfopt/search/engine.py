"""Training one configuration many times: built and traced once, re-initialised for every fold and seed.

A graph whose step is `model.fit`'s own mathematics (loss with penalties, gradient, optimizer) loops over a whole epoch
inside TensorFlow. Between fits the weights, optimizer state and random streams are set to those of a fresh seeded
build, so that a fit gives the same numbers alone and in any company. Models with a `train_step` of their own, and
`HyperModel.fit` overrides, are trained by Keras instead (`PlainTrainer`).
"""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import keras
import numpy as np
import tensorflow as tf


@dataclass
class Rows:
    """Encoded examples: features (rows, width) float32, targets, and example weights (rows,) float32."""

    x: np.ndarray
    y: np.ndarray
    weights: np.ndarray

    def __len__(self) -> int:
        return len(self.x)


@dataclass
class Curve:
    """What one fit did, a number an epoch.

    Args:
        loss: Mean training loss, penalties included.
        val_loss: Validation loss without penalties; empty without validation rows.
        learning_rate: The rate at the epoch's first step.
    """

    loss: list[float] = field(default_factory=list)
    val_loss: list[float] = field(default_factory=list)
    learning_rate: list[float] = field(default_factory=list)

    def to_dict(self) -> dict[str, list[float]]:
        """Return the curve as plain lists, for a JSON line."""
        return {"loss": self.loss, "val_loss": self.val_loss, "learning_rate": self.learning_rate}


class DivergedError(ArithmeticError):
    """The training loss became infinite or not a number."""


@contextmanager
def _random_streams_kept() -> Iterator[None]:
    """Put Python's and NumPy's random streams back afterwards."""
    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)


def _built(build: Callable[[], keras.Model], width: int, seed: int) -> keras.Model:
    """Return a compiled model with its optimizer's variables made, everything drawn from `seed`."""
    with _random_streams_kept():
        keras.utils.set_random_seed(seed)
        model = build()
        if not isinstance(model, keras.Model):
            raise TypeError(f"The space must return a keras.Model. Received: {type(model).__name__}.")
        if not model.built:
            model(keras.ops.zeros((1, width)))
        if not model.compiled:
            raise ValueError("The space returned a model that is not compiled. Call `model.compile(...)` in it.")
        model.optimizer.build(model.trainable_variables)
    return model


def _state(model: keras.Model) -> list[np.ndarray]:
    return [v.value.numpy().copy() for v in (*model.variables, *model.optimizer.variables)]


class Trainer:
    """Trains one configuration on any number of (rows, seed) pairs.

    Args:
        build: Returns the compiled model of the configuration.
        width: Width of the encoded input.
        batch_size: Examples a step.
        epochs: Epochs to train.
        patience: Stop when the validation loss has not improved for so many epochs; 0 never stops early.
        seeds: Seeds of the fits to come. Building is seeded globally, which empties TensorFlow's cache of optimised
            graphs: all builds come before the first step.
    """

    def __init__(
        self,
        build: Callable[[], keras.Model],
        width: int,
        batch_size: int,
        epochs: int,
        patience: int = 0,
        seeds: tuple[int, ...] = (0,),
    ):
        self.model = _built(build, width, seeds[0])
        self.num_outputs = int(self.model(keras.ops.zeros((1, width))).shape[-1])
        self._initial = {seeds[0]: _state(self.model)}
        for seed in seeds[1:]:
            self._initial[seed] = _state(_built(build, width, seed))
        self._width, self._batch_size, self._epochs, self._patience = width, batch_size, epochs, patience
        loss = self.model.loss
        self._loss = keras.losses.get(loss) if isinstance(loss, str) or callable(loss) else None
        self._predict = _graph(lambda x: self.model(x, training=False), [tf.TensorSpec((None, width), tf.float32)])

    def fit(self, train: Rows, seed: int, validation: Rows | None = None, epochs: int | None = None) -> Curve:
        """Train from the fresh state of `seed`, for all epochs or so many; the weights stay in `self.model`.

        Raises:
            DivergedError: The loss is no longer finite.
        """
        for variable, value in zip(
            (*self.model.variables, *self.model.optimizer.variables), self._initial[seed], strict=True
        ):
            variable.assign(value)
        curve = Curve()
        epochs = self._epochs if epochs is None else epochs
        best, waited = float("inf"), 0

        def ended(loss: float) -> bool:
            """Note an epoch's loss; return whether the training ends with it."""
            nonlocal best, waited
            if not np.isfinite(loss):
                raise DivergedError(
                    f"The loss became {loss} in epoch {len(curve.loss) + 1}. Lower the learning rate or clip the "
                    "gradients."
                )
            curve.loss.append(loss)
            last = len(curve.loss) >= epochs
            if validation is not None and (self._patience or last):
                curve.val_loss.append(self.evaluate(validation))
                best, waited = (curve.val_loss[-1], 0) if curve.val_loss[-1] < best else (best, waited + 1)
            return last or (self._patience > 0 and waited >= self._patience)

        self._train(train, seed, curve.learning_rate.append, ended)
        return curve

    def _train(self, train: Rows, seed: int, begun: Callable[[float], None], ended: Callable[[float], bool]) -> None:
        """Train epoch by epoch: `begun(learning rate)` before each, until `ended(mean loss)` is true after one."""
        raise NotImplementedError

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return the model's outputs, (rows, outputs)."""
        return np.concatenate([self._predict(tf.constant(chunk)).numpy() for chunk in _chunks(x)])

    def evaluate(self, rows: Rows) -> float:
        """Return the mean loss without penalties."""
        if self._loss is None:
            return float("nan")
        return float(np.mean(keras.ops.convert_to_numpy(self._loss(rows.y, self.predict(rows.x)))))


class SharedGraph(Trainer):
    """A `Trainer` that runs a whole epoch in one call of one graph."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._epoch = None

    def _train(self, train, seed, begun, ended):
        x, y, weights = (tf.constant(array) for array in (train.x, train.y, train.weights))
        if self._epoch is None:
            rows = [tf.TensorSpec((None, *a.shape[1:]), a.dtype) for a in (x, y, weights)]
            self._epoch = _graph(self._trace_epoch, [*rows, tf.TensorSpec((None,), tf.int32)])
        order = np.random.default_rng(seed)
        optimizer = self.model.optimizer
        while True:
            begun(float(optimizer.learning_rate))
            chosen = tf.constant(order.permutation(len(train)).astype("int32"))
            if ended(float(self._epoch(x, y, weights, chosen))):
                break
        optimizer.finalize_variable_values(self.model.trainable_variables)

    def _trace_epoch(self, x, y, weights, order):
        num_rows = tf.shape(order)[0]
        x, y, weights = (tf.gather(array, order) for array in (x, y, weights))

        def step(start, total):
            rows = slice(start, tf.minimum(start + self._batch_size, num_rows))
            loss = self._step(x[rows], y[rows], weights[rows])
            return start + self._batch_size, total + loss * tf.cast(rows.stop - start, tf.float32)

        _, total = tf.while_loop(
            lambda start, _: start < num_rows, step, (tf.constant(0), tf.constant(0.0)), parallel_iterations=1
        )
        return total / tf.cast(num_rows, tf.float32)

    def _step(self, x, y, weights):
        model, optimizer = self.model, self.model.optimizer
        with tf.GradientTape() as tape:
            loss = model.compute_loss(x=x, y=y, y_pred=model(x, training=True), sample_weight=weights)
            scaled = optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, model.trainable_weights)
        optimizer.apply(gradients, model.trainable_weights)
        return tf.cast(loss, tf.float32)


class PlainTrainer(Trainer):
    """A `Trainer` that leaves the epoch to Keras: for a `train_step` or a `HyperModel.fit` of the user's own.

    Args:
        fit: Called as `fit(model, x, y, sample_weight=…, batch_size=…, epochs=…, callbacks=…, verbose=0)`;
            `keras.Model.fit` unless a `HyperModel` brings its own.
    """

    def __init__(self, *args, fit: Callable[..., keras.callbacks.History] = keras.Model.fit, **kwargs):
        super().__init__(*args, **kwargs)
        self._fit = fit

    def _train(self, train, seed, begun, ended):
        def epoch_begun(epoch, logs=None):
            begun(float(self.model.optimizer.learning_rate))

        def epoch_ended(epoch, logs=None):
            self.model.stop_training = ended(float(logs["loss"]))

        with _random_streams_kept():
            keras.utils.set_random_seed(seed)
            self._fit(
                self.model,
                train.x,
                train.y,
                sample_weight=train.weights,
                batch_size=self._batch_size,
                epochs=self._epochs,
                verbose=0,
                callbacks=[keras.callbacks.LambdaCallback(on_epoch_begin=epoch_begun, on_epoch_end=epoch_ended)],
            )


def trainer_for(build: Callable[[], keras.Model], **arguments) -> Trainer:
    """Return the fastest trainer that gives `model.fit`'s result for the model that `build` returns."""
    trainer = SharedGraph(build, **arguments)
    if type(trainer.model).train_step is keras.Model.train_step:
        return trainer
    return PlainTrainer(build, **arguments)


def _graph(function: Callable, signature: list[tf.TensorSpec]) -> Callable:
    """Return the one graph of a function: as it cannot be retraced, TensorFlow does not warn that it might be."""
    return tf.function(function, autograph=False, input_signature=signature).get_concrete_function()


def _chunks(x: np.ndarray, size: int = 65536) -> list[np.ndarray]:
    return [x[start : start + size] for start in range(0, max(len(x), 1), size)]
