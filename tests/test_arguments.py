"""What pieces take for a number, a count or a choice, and what they say to the rest."""

import math
from fractions import Fraction

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfopt
from tfopt._arguments import choice, flag, num_steps, number, plain, whole_number, whole_numbers


@pytest.mark.parametrize("value", [1, 0.25, np.float32(0.5), np.int64(3), Fraction(1, 4), np.array(0.5)])
def test_numbers_become_floats(value):
    assert type(number("x", value)) is float
    assert number("x", value) == float(value)


@pytest.mark.parametrize("value", [[0.1, 2], (1, 2), np.array([[1], [2]], "float32")])
def test_stacks_become_arrays_of_double_precision(value):
    found = number("x", value)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, np.asarray(value, "float64"), rtol=1e-7)
    with pytest.raises(TypeError, match=r"`x` must be a number\. Received"):
        number("x", value, stacked=False)


@pytest.mark.parametrize("make", [lambda: keras.Variable(-5.0), lambda: tf.constant(-5.0), lambda: tf.Variable(-5.0)])
def test_tensors_and_variables_are_taken_as_they_are(make):
    value = make()
    assert number("x", value, minimum=0) is value
    with pytest.raises(TypeError, match=r"must be a number\. Received"):
        number("x", value, stacked=False)


def test_a_piece_is_shown_with_what_its_variables_hold_and_inside_a_graph_too():
    half = keras.Variable(0.5)
    pieces = [tfopt.regularizers.L1(half), tfopt.constraints.L2Ball(half), tfopt.schedules.LinearDecay(half, 10)]
    assert repr(pieces[0]) == "L1(l1=0.5)"
    assert all("=0.5" in repr(piece) for piece in pieces)
    shown = []
    tf.function(lambda: shown.extend(map(repr, pieces)))()
    assert [text.partition("(")[0] for text in shown] == ["L1", "L2Ball", "LinearDecay"]


NONSENSE = ["0.1", True, np.True_, 1j, None, {}, [], [[]], ["a"], [True, False], [1j], [[1], [1, 2]], [None], object()]


@pytest.mark.parametrize("value", NONSENSE, ids=lambda value: "object" if type(value) is object else repr(value))
def test_what_is_no_number_is_refused(value):
    with pytest.raises(TypeError, match=r"Argument `x` of Piece must be a number, a list of .*Received: x="):
        number("x", value, owner="Piece")


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, [0.5, math.nan], np.float32("inf")])
def test_what_is_not_finite_is_refused(value):
    with pytest.raises(ValueError, match=r"Argument `x` must be finite\. Received: x="):
        number("x", value, minimum=0, maximum=1)


@pytest.mark.parametrize("value", [1e39, -1e300, [0.5, 1e40]])
def test_what_float32_does_not_hold_is_refused(value):
    with pytest.raises(ValueError, match=r"`x` must be within ±3\.4e\+38, what a float32 holds\. Received: x="):
        number("x", value)


@pytest.mark.parametrize(
    "value", [10**5000, [10**5000], "x" * 10_000, [*list(range(10000)), None]], ids=["int", "ints", "text", "list"]
)
def test_messages_stay_short(value):
    with pytest.raises((TypeError, ValueError), match="Received: x=") as caught:
        number("x", value)
    assert len(str(caught.value)) < 400


def test_flags_are_true_or_false():
    assert [flag("x", value) for value in (True, np.False_, 1, 0)] == [True, False, True, False]
    with pytest.raises(TypeError, match=r"Argument `x` of Piece must be True or False\. Received: x='no'"):
        flag("x", "no", "Piece")


def test_lists_of_counts():
    assert whole_numbers("x", np.array([2, 3])) == whole_numbers("x", (2, 3.0)) == [2, 3]
    with pytest.raises(ValueError, match=r"`x` must be < 2\*\*63\. Received"):
        whole_numbers("x", [1, 2**63])


@pytest.mark.parametrize(
    ("bounds", "good", "bad", "wish"),
    [
        ({"minimum": 0}, [0, 5], [-1e-9], ">= 0"),
        ({"maximum": 1}, [1, -5], [1.001], "<= 1"),
        ({"above": 0}, [1e-9], [0, -1], "> 0"),
        ({"below": 1}, [0.999], [1, 2], "< 1"),
        ({"minimum": 0, "below": 1}, [0, 0.5], [1, -0.1], ">= 0 and < 1"),
    ],
)
def test_bounds(bounds, good, bad, wish):
    for value in [*good, good]:
        number("x", value, **bounds)
    for value in [*bad, [good[0], bad[0]]]:
        with pytest.raises(ValueError, match=rf"Argument `x` must be {wish}\. Received: x="):
            number("x", value, **bounds)


@pytest.mark.parametrize("value", [3, 3.0, np.int32(3)])
def test_counts(value):
    assert type(whole_number("n", value)) is int
    with pytest.raises(ValueError, match=r"Argument `n` must be >= 4\. Received: n="):
        whole_number("n", value, minimum=4)


@pytest.mark.parametrize("value", [2.5, True, "3", math.inf, math.nan, None, [3], 1j])
def test_what_is_no_count_is_refused(value):
    with pytest.raises(TypeError, match="must be a whole number"):
        whole_number("n", value)
    with pytest.raises(TypeError, match=r"whole number.*From epochs"):
        num_steps("decay_steps", value)


def test_steps_may_be_a_variable():
    variable = keras.Variable(5)
    assert num_steps("decay_steps", variable) is variable


@pytest.mark.parametrize("value", ["cosin", 1, None, ["cosine"]])
def test_choices(value):
    assert choice("shape", "cosine", ["linear", "cosine"]) == "cosine"
    with pytest.raises(ValueError, match=r"Argument `shape` must be one of \['linear', 'cosine'\]\. Received: shape="):
        choice("shape", value, ["linear", "cosine"])


def test_a_near_miss_is_named():
    with pytest.raises(ValueError, match="Did you mean 'cosine'"):
        choice("shape", "cosin", ["linear", "cosine"])


def test_configs_hold_plain_numbers_with_few_digits():
    assert plain(keras.Variable(0.3)) == 0.3
    assert plain(tf.constant([0.1, 0.25])) == [0.1, 0.25]
    assert plain(keras.Variable(7, dtype="int64")) == 7
    assert type(plain(keras.Variable(7, dtype="int64"))) is int
    assert plain(keras.Variable(0.3, dtype="bfloat16")) == pytest.approx(0.3, abs=1e-3)
    assert plain((1, 2)) == [1, 2]
    assert plain(np.float64(0.1)) == 0.1


def test_a_tensor_inside_a_graph_has_no_value_to_save():
    @tf.function
    def save(x):
        plain(x, "Piece", "strength")

    with pytest.raises(TypeError, match=r"Argument `strength` of Piece must have a value.*Pass a number or a variable"):
        save(tf.constant(1.0))
