"""What other implementations get wrong beside what this one returns: Keras 3.15.1 by running it, others as recorded."""

import keras
import numpy as np
import pytest

from tfopt import schedules

K = keras.optimizers.schedules


@pytest.mark.parametrize(
    ("theirs", "step", "wrong", "ours", "right"),
    [
        (K.ExponentialDecay(1, 5, 0.5), 5, 0.0, schedules.ExponentialDecay(1, 5, 0.5), 0.5),
        (K.InverseTimeDecay(1, 5, 0.5), 5, 1.0, schedules.InverseTimeDecay(1, 5, 0.5), 2 / 3),
        (K.PolynomialDecay(1, 10, 0.1), 10, 0.0, schedules.PolynomialDecay(1, 10, 0.1), 0.1),
        (K.CosineDecayRestarts(1.0, 7, t_mul=2.0), 57337, 0.0, schedules.CosineRestarts(1.0, 7, t_mul=2.0), 1.0),
        (K.PolynomialDecay(1.0, 10, 0.0), -3, 1.3, schedules.LinearDecay(1.0, 10), 1.0),
        (K.CosineDecay(1.0, 10), -3, 0.7938926, schedules.CosineDecay(1.0, 10), 1.0),
        (K.CosineDecayRestarts(1.0, 7), -3, 0.9504844, schedules.CosineRestarts(1.0, 7), 1.0),
        (K.PiecewiseConstantDecay([3], [1.0, 0.1]), 3, 1.0, schedules.PiecewiseConstant([3], [1, 0.1]), 0.1),
    ],
    ids=["int rate", "int rate ", "int rate  ", "late restart", "step<0", "step<0 ", "step<0  ", "boundary"],
)
def test_keras_value_beside_ours(theirs, step, wrong, ours, right):
    assert float(theirs(step)) == pytest.approx(wrong, abs=1e-5)
    assert float(ours(step)) == pytest.approx(right, rel=1e-6)


def test_int_rates_that_keras_refuses():
    with pytest.raises(Exception, match=r"float|int32"):
        K.CosineDecay(0, 1000, warmup_target=0.1, warmup_steps=1000)(500)
    ours = schedules.Warmup(schedules.CosineDecay(0.1, 1000), 1000)
    assert float(ours(500)) == pytest.approx(0.05)


def test_steps_above_two_to_the_24():
    length = 2**25
    theirs, ours = K.PolynomialDecay(1.0, length, 0.0), schedules.LinearDecay(1.0, length)
    steps = [2**24, 2**24 + 1]
    assert float(theirs(steps[0])) == float(theirs(steps[1]))
    np.testing.assert_array_equal(ours.curve(steps), 1 - np.array(steps) / length)
    assert float(ours(steps[0])) > float(ours(steps[1]))
    staircase = schedules.StepDecay(1.0, 3, 0.999999)
    at = np.array([3 * 2**24 - 1, 3 * 2**24, 3 * 2**24 + 2])
    np.testing.assert_allclose(staircase.curve(at), 0.999999 ** (at // 3).astype(float), rtol=1e-10)


def test_warmup_that_keras_ignores():
    assert float(K.CosineDecay(1.0, 10, warmup_steps=3)(0)) == 1.0
    assert float(schedules.Warmup(schedules.CosineDecay(1.0, 10), 3)(0)) == 0.0


def test_arrays_of_steps_that_keras_cannot_take():
    with pytest.raises(Exception, match="Cond"):
        K.CosineDecay(0.0, 10, warmup_target=1.0, warmup_steps=3)(np.arange(5))
    assert schedules.Warmup(schedules.CosineDecay(1.0, 10), 3)(np.arange(5)).shape == (5,)


def test_a_nested_schedule_that_keras_reloads_as_a_dict():
    @keras.saving.register_keras_serializable(package="test_defects")
    class Half(K.LearningRateSchedule):
        def __init__(self, inner):
            self.inner = inner

        def __call__(self, step):
            return 0.5 * self.inner(step)

        def get_config(self):
            return {"inner": keras.saving.serialize_keras_object(self.inner)}

    assert isinstance(K.deserialize(K.serialize(Half(K.ExponentialDecay(1.0, 5, 0.5)))).inner, dict)
    ours = schedules.Scale(schedules.Scale(K.ExponentialDecay(1.0, 5, 0.5), 0.5), 0.5)
    again = K.deserialize(K.serialize(ours))
    assert isinstance(again.schedule.schedule, K.ExponentialDecay)


def test_the_textbooks_snippets():
    """Keras has no LinearDecay, reads no `optimizer.lr`, and a stair as long as the training never steps."""
    assert not hasattr(K, "LinearDecay")
    optimizer = keras.optimizers.SGD(0.5)
    optimizer.lr = schedules.LinearDecay(0.1, 10)
    assert float(optimizer.learning_rate) == 0.5
    optimizer.learning_rate = schedules.LinearDecay(0.1, 10)
    assert float(optimizer.learning_rate) == pytest.approx(0.1)
    never = K.ExponentialDecay(0.1, decay_steps=1000, decay_rate=0.5, staircase=True)
    assert {float(never(step)) for step in range(1000)} == {float(np.float32(0.1))}
    assert len(set(schedules.from_name("step", 0.1, 1000).curve(1000))) == 3


@pytest.mark.parametrize(
    ("library", "wrong", "ours", "step", "right"),
    [
        ("torch 2.14 CosineAnnealingLR(T) at 2T", 1.0, schedules.CosineDecay(1.0, 10), 20, 0.0),
        (
            "torch 2.14 OneCycleLR, linear, three phases, at T",
            -0.008,
            schedules.OneCycle(1.0, 10, 0.3, num_phases=3),
            11,
            4e-6,
        ),
        (
            "transformers 5.23 cosine with warm-up at T + 5",
            0.69,
            schedules.Warmup(schedules.CosineDecay(1.0, 8), 2),
            15,
            0.0,
        ),
        ("timm 1.0.31 at step -1", -1.0, schedules.CosineDecay(1.0, 10), -1, 1.0),
        ("optax 0.2.8 one-cycle at step -1", 0.0, schedules.OneCycle(1.0, 10), -1, 0.04),
        ("timm 1.0.31 milestone 3 at step 2", 0.1, schedules.MultiStepDecay(1.0, [3]), 2, 1.0),
        ("TF-Models 2.20 offset 5 at step 0", 1.5, schedules.Offset(schedules.LinearDecay(1.0, 10), 5), 0, 1.0),
    ],
)
def test_recorded_value_elsewhere_beside_ours(library, wrong, ours, step, right):
    assert float(ours(step)) == pytest.approx(right, rel=1e-6, abs=1e-9)
    assert wrong != pytest.approx(right)
