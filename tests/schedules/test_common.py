"""The battery that every public schedule class passes."""

import copy
import inspect
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfopt import schedules

STEPS = np.arange(-5, 130)


def test_config_round_trip_through_json(example):
    config = json.loads(json.dumps(schedules.serialize(example)))
    again = schedules.deserialize(config)
    assert type(again) is type(example)
    assert json.loads(json.dumps(schedules.serialize(again))) == config
    np.testing.assert_array_equal(again.curve(STEPS), example.curve(STEPS))


def test_config_keys_are_the_signature(example):
    assert list(example.get_config()) == list(inspect.signature(type(example)).parameters)


def test_deepcopy(example):
    np.testing.assert_array_equal(copy.deepcopy(example).curve(STEPS), example.curve(STEPS))


def test_negative_steps_give_the_start(example):
    assert np.all(example.curve([-1, -7, -(2**40)]) == example.curve([0]))


def test_after_the_length_nothing_changes(example):
    if example.length is None:  # it never ends: then it must still be a schedule however late it is
        assert np.isfinite(example.curve([2**30, 2**45])).all()
        return
    end = example.curve([example.length])
    assert np.all(example.curve(example.length + np.array([1, 2, 10, 2**30, 2**45])) == end)
    assert np.all(np.isfinite(end))


def test_an_array_gives_what_its_steps_give_one_by_one(example):
    together = example(STEPS)
    assert together.shape == STEPS.shape
    assert together.dtype == keras.config.floatx()
    np.testing.assert_array_equal(together[::7], [float(example(int(step))) for step in STEPS[::7]])


def test_every_type_of_step(example):
    expected = example(STEPS)
    for dtype in ("int32", "int64", "float32", "float64"):
        np.testing.assert_array_equal(example(tf.constant(STEPS, dtype)), expected, err_msg=dtype)


@pytest.mark.slow
def test_traced_as_eager(all_examples):
    variable, steps = keras.Variable(3, dtype="int32"), tf.constant(STEPS, "int32")
    plain = tf.function(lambda: {name: (one(steps), one(variable)) for name, one in all_examples.items()})()
    for name, one in all_examples.items():
        many, single = plain[name]
        np.testing.assert_allclose(many, one(STEPS), rtol=3e-7, err_msg=name)
        np.testing.assert_allclose(single, one(3), rtol=3e-7, err_msg=name)


@pytest.mark.long
def test_compiled_as_eager(all_examples):
    """All in one graph: XLA takes as long for one of them."""
    steps = tf.constant(STEPS, "int32")
    compiled = tf.function(lambda: {name: one(steps) for name, one in all_examples.items()}, jit_compile=True)()
    for name, one in all_examples.items():
        np.testing.assert_allclose(compiled[name], one(STEPS), rtol=3e-7, atol=1e-12, err_msg=name)


def test_the_float32_value_is_the_float64_one_rounded(example):
    np.testing.assert_array_equal(np.asarray(example(STEPS)), example.curve(STEPS).astype("float32"))


def test_mean_is_the_mean_of_the_curve(example):
    length = example.length or 100
    assert float(example.mean(length)) == pytest.approx(example.curve(length).mean(), rel=1e-12)


def test_bounds(example):
    """The examples all stay within their largest and smallest arguments, and never fall below zero."""
    values = example.curve(np.arange(5000))
    assert np.all(np.isfinite(values))
    assert np.all(values >= 0)
    assert np.all(values <= 1.0 + 1e-12)


def test_keras_schedules_within_compositions_survive_json_and_arrays():
    inner = keras.optimizers.schedules.CosineDecay(1.0, 20, alpha=0.1)
    schedule = schedules.Warmup(inner, 10)
    again = schedules.deserialize(json.loads(json.dumps(schedules.serialize(schedule))))
    assert type(again.schedule) is type(inner)
    expected = [0.1 * step if step < 10 else float(inner(step - 10)) for step in range(40)]
    np.testing.assert_allclose(again(np.arange(40)), expected, rtol=1e-6)
