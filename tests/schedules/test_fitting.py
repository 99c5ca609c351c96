"""Lengths from epochs and data, right also where gradients are accumulated."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfopt import schedules

x, y = np.ones((100, 3), "float32"), np.ones((100, 1), "float32")


class _Batches(keras.utils.PyDataset):
    def __len__(self):
        return 7

    def __getitem__(self, index):
        return x[:4], y[:4]


def _fit_iterations(optimizer, data, **fit_arguments):
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile(optimizer, "mse")
    model.fit(*data if isinstance(data, tuple) else (data,), verbose=0, shuffle=False, **fit_arguments)
    return int(optimizer.iterations)


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        {"data": (x, y), "epochs": 3},
        {"data": (x, y), "epochs": 3, "batch_size": 13, "validation_split": 0.25},
        {"data": (x, y), "epochs": 2, "batch_size": 8, "gradient_accumulation_steps": 3},
        {"data": _Batches(), "epochs": 2},
        {"data": tf.data.Dataset.from_tensor_slices((x, y)).batch(9), "epochs": 2},
        {"data": tf.data.Dataset.from_tensor_slices((x, y)).batch(9).repeat(), "epochs": 2, "steps_per_epoch": 4},
    ],
)
def test_as_many_updates_as_fit_makes(arguments):
    expected = schedules.num_updates(**arguments)
    arguments = dict(arguments)
    accumulate = arguments.pop("gradient_accumulation_steps", None)
    optimizer = keras.optimizers.SGD(0.1, gradient_accumulation_steps=accumulate)
    assert _fit_iterations(optimizer, **arguments) == expected


def test_any_structure_and_plain_counts():
    assert schedules.num_updates(100, epochs=2, batch_size=30) == 8
    assert schedules.num_updates({"a": x, "b": x}, epochs=1) == 4


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: schedules.num_updates(tf.data.Dataset.range(9).repeat().batch(3), 1), ValueError, "has no end"),
        (
            lambda: schedules.num_updates(tf.data.Dataset.range(9).filter(lambda i: i > 3).batch(3), 1),
            ValueError,
            "unknown length.*steps_per_epoch.*assert_cardinality",
        ),
        (lambda: schedules.num_updates(tf.data.Dataset.range(9).batch(3), 1, batch_size=3), TypeError, "their own"),
        (lambda: schedules.num_updates((i for i in range(3)), 1), TypeError, "steps_per_epoch"),
        (lambda: schedules.num_updates(10, 1, 10, gradient_accumulation_steps=4), ValueError, "no update at all"),
        (lambda: schedules.for_fit("step", 0.1, 100, 10, decay_epoch=3), ValueError, "no argument 'decay_epoch'"),
        (lambda: schedules.for_fit("step", 0.1, 100, 10, warmup_epochs=10), ValueError, "must be < `epochs`"),
    ],
)
def test_what_cannot_be_known_is_said(call, error, text):
    with pytest.raises(error, match=text):
        call()


def test_for_fit():
    schedule = schedules.for_fit("cosine", 0.1, x, epochs=10, batch_size=10, warmup_epochs=1, alpha=0.1)
    assert isinstance(schedule, schedules.Warmup)
    assert (schedule.warmup_steps, schedule.length) == (10, 100)
    step = schedules.for_fit(schedules.StepDecay, 0.1, x, epochs=10, batch_size=10, decay_epochs=3)
    assert step.decay_steps == 30
    stable = schedules.for_fit("warmup_stable_decay", 0.1, x, 10, 10, warmup_epochs=0.5, cooldown_epochs=2)
    assert (stable.warmup_steps, stable.cooldown_steps, stable.length) == (5, 20, 100)


def _applied(schedule, accumulate, batches):
    """The learning rates that SGD really applied: with a constant gradient of 1 they are the weight's changes."""
    model = keras.Sequential([keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
    model.compile(keras.optimizers.SGD(schedule, gradient_accumulation_steps=accumulate), lambda y, p: p[:, 0])
    one = np.ones((1, 1), "float32")
    weights = [0.0]
    for _ in range(batches):
        model.train_on_batch(one, one)
        weights.append(float(model.get_weights()[0][0, 0]))
    changes = -np.diff(weights)
    return [float(change) for change in changes[accumulate - 1 :: accumulate]]


@pytest.mark.slow
def test_keras_runs_a_schedule_too_fast_under_accumulation_and_ours_does_not():
    keras_rates = _applied(keras.optimizers.schedules.PolynomialDecay(1.0, 4, 0.0), 2, 8)
    np.testing.assert_allclose(keras_rates, [0.75, 0.25, 0.0, 0.0], atol=1e-6)  # batches 1, 3, 5, 7 of a decay of 4
    ours = schedules.for_fit("linear", 1.0, 8, epochs=1, batch_size=1, gradient_accumulation_steps=2)
    np.testing.assert_allclose(_applied(ours, 2, 8), [1.0, 0.75, 0.5, 0.25], atol=1e-6)
