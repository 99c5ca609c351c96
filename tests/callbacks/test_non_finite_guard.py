"""The first bad loss or gradient, in the step it happens, with and without XLA."""

import logging

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfopt
from tfopt.callbacks import GradientNorms, NonFiniteGuard


class Poisoned(keras.layers.Layer):
    """Passes its input on; its gradient is NaN in the step where the input holds a 99."""

    def call(self, inputs):
        @tf.custom_gradient
        def poison(value):
            bad = tf.reduce_any(inputs[:, :1] == 99.0)
            return tf.identity(value), lambda gradient: tf.where(bad, gradient * np.nan, gradient)

        return poison(inputs)


def regression(rows=32, bad_row=None, **compile_arguments):
    keras.utils.set_random_seed(0)
    x = np.random.default_rng(0).normal(size=(rows, 3)).astype("float32")
    y = x.sum(axis=1, keepdims=True)
    if bad_row is not None:
        y[bad_row] = np.nan
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, "tanh", name="a"), keras.layers.Dense(1)])
    arguments = {"optimizer": keras.optimizers.SGD(0.01), "loss": "mse"} | compile_arguments
    model.compile(**arguments)
    return model, x, y


def fit(model, x, y, callbacks, **arguments):
    options = {"epochs": 2, "batch_size": 4, "shuffle": False, "verbose": 0} | arguments
    return model.fit(x, y, callbacks=callbacks, **options)


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments", [{}, {"jit_compile": True}, {"run_eagerly": True}, {"steps_per_execution": 4}], ids=str
)
def test_the_step_of_a_bad_row_is_named(arguments, caplog):
    model, x, y = regression(bad_row=21, **arguments)
    guard = NonFiniteGuard()
    history = fit(model, x, y, [guard]).history
    assert guard.message.startswith("Epoch 0, batch 5: loss is nan and the gradient of every layer is not finite")
    assert "learning rate 0.01" in guard.message
    assert "They do not grow" in guard.message
    assert guard.message in caplog.text
    assert len(history["loss"]) == 1


def test_last_good_norms_are_those_of_the_steps(caplog):
    model, x, y = regression(bad_row=30)
    norms, guard = GradientNorms(), NonFiniteGuard()
    fit(model, x, y, [norms, guard])
    shown = ", ".join(f"{value:.3g}" for value in norms.history["grad_norm"][2:7])
    assert f"Gradient norms of the steps before: {shown}." in guard.message


@pytest.mark.slow
@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_gradient_is_caught_while_the_loss_is_fine(jit_compile):
    _, x, y = regression()
    x[9, 0] = 99.0

    class Network(keras.Model):
        def __init__(self):
            super().__init__()
            self.embed, self.poisoned = keras.layers.Dense(3, name="below"), Poisoned()
            self.head = keras.layers.Dense(1, name="above")

        def call(self, x):
            return self.head(self.poisoned(tf.concat([x[:, :1], self.embed(x)], axis=1)))

    model = Network()
    model.compile(keras.optimizers.SGD(0.0), "mse", jit_compile=jit_compile)
    guard = NonFiniteGuard(action="raise")
    with pytest.raises(RuntimeError, match=r"Epoch 0, batch 2: the gradient of layers 'below' is not finite"):
        fit(model, x, y, [guard])


@pytest.mark.slow
def test_an_explosion_is_called_one():
    _, x, y = regression()
    guard = NonFiniteGuard()
    linear = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    linear.compile(keras.optimizers.SGD(50.0), "mse")
    fit(linear, x, y, [guard], epochs=10)
    assert "They grow: clip the gradient" in guard.message


@pytest.mark.long("SGD")
@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_restore_goes_back_and_on(optimizer, caplog):
    """A learning rate that diverges is lowered until it does not; what is left is finite and learns."""
    keras.utils.set_random_seed(0)
    x = np.random.default_rng(0).normal(size=(64, 3)).astype("float32") * 100
    y = x.sum(axis=1, keepdims=True)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, kernel_initializer="zeros")])
    rate, factor = {"SGD": (1e-1, 1e-4), "Adam": (1e20, 1e-20)}[optimizer]
    model.compile(getattr(keras.optimizers, optimizer)(rate), "mse")
    model.optimizer.build(model.trainable_variables)
    guard = NonFiniteGuard(action="restore", factor=factor)
    history = fit(model, x, y, [guard], epochs=40, batch_size=16).history
    assert guard.num_restores >= 1
    assert float(model.optimizer.learning_rate) == pytest.approx(rate * factor**guard.num_restores, rel=1e-4)
    assert all(np.isfinite(w).all() for w in model.get_weights())
    assert history["loss"][-1] < 0.5 * float(np.mean(y**2))
    assert "Went back to the last good weights" in caplog.text


@pytest.mark.slow
def test_restore_without_a_good_step_stops(caplog):
    model, x, y = regression(bad_row=0, optimizer=keras.optimizers.Adam(0.01))
    guard = NonFiniteGuard(action="restore")
    fit(model, x, y, [guard], epochs=3)
    assert guard.num_restores == 0
    assert "Training stops." in caplog.text


@pytest.mark.slow
def test_restore_gives_up_in_the_end(caplog):
    model, x, y = regression(bad_row=4)
    before = model.get_weights()
    guard = NonFiniteGuard(action="restore", max_restores=2)
    fit(model, x, y, [guard], epochs=9)
    assert guard.num_restores == 2
    assert "Training stops." in caplog.records[-1].message
    assert float(model.optimizer.learning_rate) == pytest.approx(0.0025)
    assert [w.shape for w in model.get_weights()] == [w.shape for w in before]


def test_restore_refuses_a_schedule():
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)
    model, x, y = regression(optimizer=keras.optimizers.SGD(schedule))
    with pytest.raises(ValueError, match="lowers the learning rate"):
        fit(model, x, y, [NonFiniteGuard(action="restore")])
    assert len(fit(model, x, y, []).history["loss"]) == 2


@pytest.mark.slow
def test_skipped_float16_steps_pass(caplog):
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.01), initial_scale=2.0**24)
    keras.utils.set_random_seed(0)
    _, x, y = regression()
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(4, dtype="mixed_float16"), keras.layers.Dense(1, dtype="mixed_float16")]
    )
    model.compile(optimizer, "mse")
    guard, norms = NonFiniteGuard(), GradientNorms()
    history = fit(model, x, y, [guard, norms]).history
    assert sum(history["grad_norm_nonfinite"]) > 0
    assert guard.message is None
    assert len(history["loss"]) == 2


@pytest.mark.slow
def test_healthy_training_is_untouched(build, data, caplog):
    results = []
    for callbacks in ([], [NonFiniteGuard()], [NonFiniteGuard(action="restore")]):
        model = build(keras.optimizers.Adam(0.01), dropout=0.3)
        model.fit(*data, epochs=3, batch_size=32, verbose=0, callbacks=callbacks)
        results.append(model.get_weights() + [np.asarray(v) for v in model.optimizer.variables])
    for other in results[1:]:
        for ours, theirs in zip(other, results[0], strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert not [record for record in caplog.records if record.name == "tfopt" and record.levelno >= logging.WARNING]


@pytest.mark.parametrize(
    ("arguments", "match"),
    [({"action": "warn"}, "`action`"), ({"factor": 1.0}, "`factor`"), ({"max_restores": 0}, "`max_restores`")],
)
def test_arguments_are_checked(arguments, match):
    with pytest.raises(ValueError, match=match):
        tfopt.callbacks.NonFiniteGuard(**arguments)
