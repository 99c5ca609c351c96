"""Multipliers: each optimizer's step is as much longer or shorter as they say."""

import copy
import json

import keras
import numpy as np
import pytest

from tfopt import schedules
from tfopt.callbacks import LearningRateMultipliers

rng = np.random.default_rng(0)
x = rng.normal(size=(8, 4)).astype("float32")
y = (x @ rng.normal(size=(4, 2))).astype("float32")
OPTIMIZERS = ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "Adamax", "Nadam", "Ftrl", "Lion", "Lamb"]
OPTIMIZERS += ["Adafactor", "Muon", "ScheduleFreeAdamW"]


def _change(optimizer, *callbacks, steps=1, **compile_arguments):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3, name="body"), keras.layers.Dense(2, name="head")]
    )
    model.compile(optimizer, "mse", **compile_arguments)
    before = [w.numpy() for w in model.trainable_variables]
    if callbacks or steps > 1:
        model.fit(x, y, batch_size=8, epochs=steps, verbose=0, callbacks=list(callbacks))
    else:
        model.train_on_batch(x, y)
    return [w.numpy() - b for w, b in zip(model.trainable_variables, before, strict=True)]


def test_every_keras_optimizer_is_here():
    found = [
        name
        for name, item in vars(keras.optimizers).items()
        if isinstance(item, type) and issubclass(item, keras.optimizers.Optimizer)
    ]
    assert set(found) == {*OPTIMIZERS, "Optimizer", "LossScaleOptimizer", "MultiOptimizer"}


@pytest.mark.slow
@pytest.mark.long("Adagrad", "Adadelta", "Adamax", "Nadam", "Ftrl", "Lion", "RMSprop")
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_first_step_is_that_of_the_multiplied_rate(name):
    arguments = {"weight_decay": 0.0} if name in ("AdamW", "Muon", "ScheduleFreeAdamW") else {}

    def change(rate, *callbacks):
        return _change(getattr(keras.optimizers, name)(rate, **arguments), *callbacks, run_eagerly=True)

    whole, tenth, half = map(change, (0.02, 0.002, 0.01))
    ours = change(0.02, LearningRateMultipliers({"body": 0.1, "head/bias": 0.5}))
    for changed, expected in zip(ours, [*tenth[:2], whole[2], half[3]], strict=True):
        np.testing.assert_allclose(changed, expected, rtol=1e-4, atol=1e-7)
    assert not np.allclose(ours[0], whole[0])


@pytest.mark.slow
def test_by_depth_and_by_schedule_in_compiled_graphs():
    plain = _change(keras.optimizers.SGD(0.01))
    by_depth = _change(keras.optimizers.SGD(0.01), LearningRateMultipliers(depth_decay=0.5), jit_compile=True)
    for ours, theirs, factor in zip(by_depth, plain, [0.5, 0.5, 1, 1], strict=True):
        np.testing.assert_allclose(ours, factor * theirs, rtol=1e-4, atol=1e-7)
    thaw = LearningRateMultipliers({"body": schedules.PiecewiseConstant([2], [0.0, 1.0])})
    assert np.abs(_change(keras.optimizers.SGD(0.01), thaw, steps=2)[0]).max() == 0
    assert np.abs(_change(keras.optimizers.SGD(0.01), thaw, steps=3, steps_per_execution=1)[0]).max() > 0


def test_the_optimizer_is_as_before_afterwards():
    optimizer = keras.optimizers.SGD(0.01)
    _change(optimizer, LearningRateMultipliers({"body": 0.1}))
    assert "update_step" not in vars(optimizer)


def test_mistakes():
    with pytest.raises(ValueError, match=r"'bodi' fits no trainable variable\. There are: .*/body/kernel"):
        _change(keras.optimizers.SGD(0.01), LearningRateMultipliers({"bodi": 0.1}))
    with pytest.raises(ValueError, match="Give `multipliers`"):
        LearningRateMultipliers()
    with pytest.raises(ValueError, match="must be > 0"):
        LearningRateMultipliers(depth_decay=0)
    with pytest.raises(ValueError, match="must be >= 0"):
        LearningRateMultipliers({"body": -1})


def test_config_and_deepcopy():
    callback = LearningRateMultipliers({"body": schedules.LinearDecay(0, 10, 1), "head": 0.5}, depth_decay=0.9)
    config = json.loads(json.dumps(callback.get_config()))
    assert LearningRateMultipliers.from_config(config).get_config() == callback.get_config()
    assert copy.deepcopy(callback).get_config() == callback.get_config()
