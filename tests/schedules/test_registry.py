"""Names, configs and the factory for searches."""

import keras
import numpy as np
import pytest

from tfopt import schedules


@pytest.mark.parametrize("name", schedules.names())
@pytest.mark.parametrize("warmup_fraction", [0.0, 0.25])
def test_every_name_peaks_at_the_rate_within_the_total(name, warmup_fraction):
    for total_steps in (1, 2, 3, 7, 400):
        schedule = schedules.from_name(name, 0.3, total_steps, warmup_fraction)
        curve = schedule.curve(2 * total_steps + 10)
        assert np.all((curve >= 0) & (curve <= 0.3 + 1e-12)), total_steps
    assert curve[:400].max() == pytest.approx(0.3, rel=2e-2)
    assert schedule.length is None or schedule.length <= 400
    assert curve[0] == 0 if warmup_fraction else True


@pytest.mark.parametrize("name", schedules.names())
def test_every_name_gives_its_class(name):
    cls = schedules.get(name)
    assert issubclass(cls, schedules.Schedule)
    assert schedules.get(cls.__name__) is cls
    warm = schedules.from_name(f"warmup_{name}", 0.3, 50)
    assert warm.warmup_steps == 5
    assert isinstance(warm.schedule.schedule if isinstance(warm.schedule, schedules.Scale) else warm.schedule, cls)


def test_get_takes_names_configs_schedules_and_none():
    schedule = schedules.get("linear", initial_learning_rate=0.1, decay_steps=10)
    assert isinstance(schedule, schedules.LinearDecay)
    assert schedules.get(schedule) is schedule
    assert schedules.get(None) is None
    assert schedules.get(schedules.serialize(schedule)).get_config() == schedule.get_config()
    short = {"class_name": "LinearDecay", "config": {"initial_learning_rate": 0.1, "decay_steps": 10}}
    assert schedules.get(short).get_config() == schedule.get_config()
    plain = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)
    assert type(schedules.get(schedules.serialize(plain))) is type(plain)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: schedules.get("cosin"), ValueError, "Did you mean 'cosine'"),
        (lambda: schedules.from_name("warmup_linaer", 0.1, 5), ValueError, "Did you mean 'warmup_linear'"),
        (lambda: schedules.get("linear", decay_step=3), ValueError, "Did you mean 'decay_steps'"),
        (lambda: schedules.from_name("step", 0.1, 9, decay_rat=1), ValueError, "Did you mean 'decay_rate'"),
        (lambda: schedules.get(3), TypeError, "must be a name, a config or a schedule"),
        (lambda: schedules.get({"config": {}}), ValueError, "must have a `class_name`"),
        (lambda: schedules.from_name("linear", 0.1, 5, warmup_fraction=1.0), ValueError, "must be < 1"),
        (lambda: schedules.from_name("linear", 0.1, 5.5), TypeError, "whole number of optimizer steps"),
    ],
)
def test_mistakes_are_named(call, error, text):
    with pytest.raises(error, match=text):
        call()


@pytest.mark.parametrize("name", schedules.names())
def test_a_stack_of_rates_gives_a_stack(name):
    rates = keras.Variable([0.1, 0.2, 0.4])
    schedule = schedules.from_name(name, rates, 20, warmup_fraction=0.2)
    steps = np.arange(30)
    expected = schedules.from_name(name, 1.0, 20, warmup_fraction=0.2).curve(steps)[:, None] * [0.1, 0.2, 0.4]
    np.testing.assert_allclose(schedule(steps), expected, rtol=1e-6)
    np.testing.assert_allclose(schedule(7), expected[7], rtol=1e-6)
    rates.assign([1.0, 1.0, 1.0])
    np.testing.assert_allclose(schedule(7)[0], expected[7][0] * 10, rtol=1e-6)
