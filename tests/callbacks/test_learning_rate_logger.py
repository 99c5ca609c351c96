"""The rates that were used, step by step."""

import copy

import keras
import numpy as np
import pytest

from tfopt import schedules
from tfopt.callbacks import HyperparameterScheduler, LearningRateLogger

x, y = np.ones((24, 2), "float32"), np.ones((24, 1), "float32")
LINE = schedules.LinearDecay(0.1, 12)


def _fit(optimizer, *callbacks, epochs=2, batch_size=4, **compile_arguments):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="a"), keras.layers.Dense(1, name="b")])
    model.compile(optimizer, "mse", **compile_arguments)
    history = model.fit(x, y, batch_size=batch_size, epochs=epochs, verbose=0, callbacks=list(callbacks)).history
    assert "train_step" not in vars(model)
    return history


@pytest.mark.long("mode2")
@pytest.mark.slow
@pytest.mark.parametrize("mode", [{}, {"run_eagerly": True}, {"jit_compile": True, "steps_per_execution": 4}])
def test_the_rate_of_the_step_just_taken(mode):
    logger = LearningRateLogger()
    history = _fit(keras.optimizers.Adam(LINE), logger, **mode)
    np.testing.assert_allclose(logger.rates["learning_rate"], LINE.curve(12), rtol=1e-6)
    assert history["learning_rate"] == pytest.approx(LINE.curve([5, 11]).tolist())


@pytest.mark.slow
def test_more_steps_than_the_ring_holds(monkeypatch):
    monkeypatch.setattr("tfopt.callbacks.learning_rate_logger._CAPACITY", 10)
    logger = LearningRateLogger()
    line = schedules.LinearDecay(1.0, 48)
    _fit(keras.optimizers.SGD(line), logger, batch_size=1)
    np.testing.assert_allclose(logger.rates["learning_rate"], line.curve(48), rtol=1e-5)


@pytest.mark.slow
def test_beside_what_changes_the_rate_in_any_order():
    for first in (True, False):
        logger, driver = LearningRateLogger(), HyperparameterScheduler({"learning_rate": LINE})
        _fit(keras.optimizers.SGD(0.5), *((logger, driver) if first else (driver, logger)))
        np.testing.assert_allclose(logger.rates["learning_rate"], LINE.curve(12), rtol=1e-6)


@pytest.mark.slow
def test_several_optimizers_and_loss_scaling():
    logger = LearningRateLogger()
    inner = keras.optimizers.SGD(LINE, name="slow")
    several = keras.optimizers.MultiOptimizer(
        keras.optimizers.OptimizerMap(keras.optimizers.Adam(0.5, name="fast"), {".*/a/.*": inner})
    )
    history = _fit(several, logger)
    np.testing.assert_allclose(logger.rates["learning_rate_slow"], LINE.curve(12), rtol=1e-6)
    assert history["learning_rate_fast"] == [0.5, 0.5]
    logger = LearningRateLogger()
    _fit(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(LINE), initial_scale=1.0), logger)
    np.testing.assert_allclose(logger.rates["learning_rate"], LINE.curve(12), rtol=1e-6)


def test_deepcopy():
    assert copy.deepcopy(LearningRateLogger()).get_config() == {}
