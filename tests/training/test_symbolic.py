"""Live numbers in graphs and in Python's decisions."""

import copy
import pickle

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfopt.training.symbolic import NumberTable, SymbolicMath


@pytest.fixture
def numbers() -> NumberTable:
    return NumberTable({"rate": 0.25, "steps": 7})


def test_a_graph_reads_the_present_value(numbers):
    rate, steps = numbers.number("rate"), numbers.number("steps")
    graph = tf.function(lambda x: x * rate + tf.cast(steps, "float32") - (1 - rate) ** 2, autograph=False)
    for new in ({"rate": 0.25, "steps": 7}, {"rate": 0.9, "steps": -2}):
        numbers.set(new)
        expected = 3 * new["rate"] + new["steps"] - (1 - new["rate"]) ** 2
        np.testing.assert_allclose(graph(tf.constant(3.0)), expected, rtol=1e-6)
    assert graph.experimental_get_tracing_count() == 1


def test_host_arithmetic_is_done_in_double_precision_before_it_is_rounded(numbers):
    beta = numbers.number("rate")
    graph = tf.function(lambda: tf.convert_to_tensor(1 - beta, tf.float32), autograph=False)
    for value in (0.999, 0.9, 1e-9):
        numbers.set({"rate": value, "steps": 0})
        assert graph().numpy() == np.float32(1 - value)


@pytest.mark.parametrize(
    ("decide", "kept", "broken_guard"),
    [
        (lambda x: 1 if x > 0 else 2, 0.9, 0.0),
        (lambda x: x == 1.0, 0.9, 1.0),
        (lambda x: bool(x), 0.9, 0.0),
        (lambda x: float(x) * 2, 0.25, 0.26),
        (lambda x: 0 <= x < 1, 0.99, 1.0),
        (lambda x: x != 0.5, 0.4, 0.5),
    ],
)
def test_pythons_decisions_become_guards(numbers, decide, kept, broken_guard):
    answer = decide(numbers.number("rate"))
    assert answer == decide(0.25)
    assert numbers.broken_guard({"rate": kept, "steps": 7}) is None
    assert "rate" in numbers.broken_guard({"rate": broken_guard, "steps": 7})
    assert len(numbers.guards) <= 2


def test_a_decision_between_two_numbers_becomes_a_guard(numbers):
    assert numbers.number("rate") < numbers.number("steps")
    assert numbers.broken_guard({"rate": 0.9, "steps": 1}) is None
    assert "rate" in numbers.broken_guard({"rate": 0.9, "steps": 0})


def test_the_same_formula_is_read_from_one_place(numbers):
    rate = numbers.number("rate")
    for _ in range(400):  # more than there are places
        tf.convert_to_tensor(1 - rate)
    for index in range(255):
        tf.convert_to_tensor(rate + index)
    with pytest.raises(RuntimeError, match="More than 256 symbolic numbers"):
        tf.convert_to_tensor(rate + 255)


def test_keras_takes_it_for_a_number(numbers):
    rate = numbers.number("rate")
    assert float(keras.ops.multiply(tf.constant(2.0), rate)) == 0.5
    assert (tf.constant(2.0, tf.float16) * rate).dtype == tf.float16
    assert keras.layers.Dropout(rate).rate is rate
    np.testing.assert_allclose(np.float32(2) - rate.tensor(), 1.75)
    assert (abs(-rate)).value == 0.25
    assert (+rate) is rate
    assert (rate // 2).value == 0
    assert (3 % numbers.number("steps")).value == 3
    assert repr(rate) == "SymbolicNumber(rate=0.25)"


def test_pickled_it_is_the_plain_number_and_copied_it_stays_live(numbers):
    rate = numbers.number("rate")
    assert pickle.loads(pickle.dumps(rate)) == 0.25
    assert type(pickle.loads(pickle.dumps(rate))) is float
    assert copy.deepcopy(rate) is rate
    assert copy.copy(rate) is rate


def test_math_keeps_a_live_number_live(numbers):
    symbolic_math, rate = SymbolicMath(), numbers.number("rate")
    assert symbolic_math.sqrt(rate).value == 0.5
    assert symbolic_math.sqrt(16.0) == 4.0
    assert symbolic_math.pi == pytest.approx(np.pi)
    numbers.set({"rate": 4.0, "steps": 0})
    assert symbolic_math.sqrt(rate).value == 2.0


@pytest.mark.slow
def test_a_value_that_a_guarded_formula_cannot_take_breaks_it(numbers):
    assert SymbolicMath().sqrt(numbers.number("rate")) > 0.1
    assert numbers.broken_guard({"rate": 0.81, "steps": 0}) is None
    assert numbers.broken_guard({"rate": -1.0, "steps": 0}).startswith(
        "sqrt(rate) gt 0.1 is True: "
    )  # and what math says
