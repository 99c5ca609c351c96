"""What a space holds: every value of it, in order, and each hyperparameter under its own condition."""

import contextlib
import io

import keras_tuner
import numpy as np
import pytest
from keras_tuner.engine.hyperparameters import Boolean, Choice, Fixed, Float, Int

from tfopt.search.tuners import RandomSearchOracle, space

SCORE = keras_tuner.Objective("score", "max")


@pytest.mark.parametrize(
    ("parameter", "values"),
    [
        (Float("x", 0, 1, step=0.2), [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (Float("x", 0, 0.5, step=0.1), [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]),
        (Float("x", 0.1, 0.5, step=0.1), [0.1, 0.2, 0.3, 0.4, 0.5]),
        (Float("x", 1e-4, 1e-1, step=10, sampling="log"), [1e-4, 1e-3, 1e-2, 1e-1]),
        (Float("x", 0, 1, step=0.3), [0.0, 0.3, 0.6, 0.9]),
        (Int("x", 2, 32, step=2, sampling="log"), [2, 4, 8, 16, 32]),
        (Int("x", 6, 13, step=3), [6, 9, 12]),
        (Int("x", 3, 5), [3, 4, 5]),
        (Choice("x", ["b", "a"]), ["b", "a"]),
        (Boolean("x"), [False, True]),
        (Fixed("x", 7), [7]),
    ],
)
def test_every_value_is_there_in_order_and_drawn_equally_often(parameter, values):
    count = space.steps(parameter)
    assert [space.nth(parameter, index) for index in range(count)] == values
    drawn = [space.at(parameter, (index + 0.5) / (20 * count)) for index in range(20 * count)]
    assert [drawn.count(value) for value in values] == [20] * count
    assert space.grid(parameter) == values


def test_the_end_of_a_stepped_float_that_keras_tuner_never_draws():
    """KerasTuner 1.4.8: (1 - 0) // 0.2 is 4.0 in floating point, so that 1.0 is left out."""
    parameter = Float("x", 0, 1, step=0.2)
    assert max(parameter.prob_to_value(fraction) for fraction in np.linspace(0, 0.9999, 1000)) == 0.8
    assert max(space.at(parameter, fraction) for fraction in np.linspace(0, 0.9999, 1000)) == 1.0


def test_the_grid_of_a_float_without_a_step_goes_from_end_to_end_in_order():
    """KerasTuner 1.4.8 takes ten inner values in the order of a set of floats."""
    parameter = Float("x", 1e-4, 1e-1, sampling="log")
    theirs = list(parameter.values)
    assert theirs != sorted(theirs)
    assert min(theirs) > 1.3e-4
    ours = space.grid(parameter)
    assert ours == sorted(ours)
    np.testing.assert_allclose(ours, np.geomspace(1e-4, 1e-1, 10))
    assert space.grid(parameter, points=4) == [1e-4, 1e-3, 1e-2, 1e-1]
    assert space.grid(Float("x", 0, 1, default=0.25), points=3) == [0.25, 0.0, 0.5, 1.0], "the default comes first"
    assert space.grid(Int("x", 1, 1000, sampling="log"), points=4) == [1, 10, 100, 1000]


@pytest.mark.parametrize("sampling", ["linear", "log", "reverse_log"])
def test_fractions_cover_a_range_without_steps(sampling):
    whole, part = Int("x", 3, 9, sampling=sampling), Float("x", 0.5, 2.0, sampling=sampling)
    fractions = np.linspace(0, 1, 4001)
    assert {space.at(whole, fraction) for fraction in fractions} == set(range(3, 10))
    assert [space.at(part, 0), space.at(part, 1)] == pytest.approx([0.5, 2.0])
    assert all(0.5 <= space.at(part, fraction) <= 2.0 for fraction in fractions)


def two_scopes() -> keras_tuner.HyperParameters:
    hp = keras_tuner.HyperParameters()
    hp.Choice("kind", ["a", "b"])
    with hp.conditional_scope("kind", ["a"]):
        hp.Int("units", 1, 9)
    with hp.conditional_scope("kind", ["b"]):
        hp.Int("units", 10, 90)
    return hp


def test_one_name_in_two_scopes_keeps_its_value_where_keras_tuner_loses_it(drive):
    theirs = drive(
        keras_tuner.oracles.RandomSearchOracle(SCORE, max_trials=10, seed=1, hyperparameters=two_scopes()), len
    )
    assert any(values["kind"] == "a" for values in theirs)
    assert not any("units" in values for values in theirs if values["kind"] == "a"), "KerasTuner 1.4.8 loses it"
    ours = drive(RandomSearchOracle(objective=SCORE, max_trials=10, seed=1, hyperparameters=two_scopes()), len)
    assert all(values["units"] < 10 if values["kind"] == "a" else values["units"] >= 10 for values in ours)
    assert {values["kind"] for values in ours} == {"a", "b"}


def test_configurations_of_a_conditional_space_are_enumerated_once_each():
    hp = keras_tuner.HyperParameters()
    hp.Choice("kind", ["a", "b"])
    with hp.conditional_scope("kind", ["b"]):
        hp.Boolean("deep")
    found = list(space.configurations(hp.space))
    assert found == [{"kind": "a"}, {"kind": "b", "deep": False}, {"kind": "b", "deep": True}]
    assert space.untried(hp.space, {space.key({"kind": "a"})}) == found[1:]


def test_exploring_enters_every_scope_and_ends_even_if_one_can_never_hold():
    seen = []

    def build(hp):
        kind = hp.Choice("kind", ["a", "b", "c"])
        with hp.conditional_scope("kind", ["b"]):
            hp.Boolean("inner")
            with hp.conditional_scope("inner", [True]):
                hp.Float("deep", 0, 1)
        with hp.conditional_scope("kind", ["z"]):
            hp.Int("never", 0, 1)
        seen.append(kind)

    hp = keras_tuner.HyperParameters()
    space.explore(hp, build)
    assert {parameter.name for parameter in hp.space} == {"kind", "inner", "deep", "never"}
    assert "b" in seen


def test_what_a_tuner_adds_does_not_make_a_configuration_another_one():
    assert space.key({"a": 1, "tuner/epochs": 3}) == space.key({"a": 1})
    assert space.key({"a": 1}) != space.key({"a": 1.0})


def test_numpy_scalars_become_plain_numbers():
    hp = two_scopes()
    hp.values = {"kind": "b", "units": np.int64(12), "tuner/epochs": 3, "gone": 1}
    with contextlib.redirect_stdout(io.StringIO()):
        space.complete(hp)
    assert hp.values == {"kind": "b", "units": 12, "tuner/epochs": 3, "gone": 1}
    assert type(hp.values["units"]) is int
