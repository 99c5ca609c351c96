"""Metric-driven factors on running schedules and on plain rates."""

import copy

import keras
import numpy as np
import pytest

from tfopt import schedules
from tfopt.callbacks import GreedyScale, LearningRateLogger, PlateauScale

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras on saving

x, y = np.ones((8, 2), "float32"), np.ones((8, 1), "float32")


class _Metric(keras.callbacks.Callback):
    """Put made-up values into the logs; listed before the callback under test."""

    def __init__(self, values, name="val_loss"):
        super().__init__()
        self.values, self.name = values, name

    def on_epoch_end(self, epoch, logs=None):
        logs[self.name] = self.values[epoch]


def _model(learning_rate, **compile_arguments):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(learning_rate), "mse", **compile_arguments)
    return model


def _fit(model, values, *callbacks, name="val_loss"):
    callbacks = [_Metric(values, name), *callbacks]
    return model.fit(x, y, batch_size=4, epochs=len(values), verbose=0, callbacks=callbacks).history


@pytest.mark.slow
def test_keras_fails_at_the_first_reduction_and_ours_scales_the_schedule():
    values = [1.0, 1.0, 1.0, 1.0]
    line = schedules.LinearDecay(0.1, 100)
    with pytest.raises(TypeError, match="not settable"):
        _fit(_model(line), values, keras.callbacks.ReduceLROnPlateau(patience=1))
    model, logger = _model(line), LearningRateLogger()
    history = _fit(model, values, PlateauScale(factor=0.5, patience=2), logger)
    assert history["learning_rate_factor"] == [1.0, 1.0, 0.5, 0.5]
    expected = line.curve(8) * [1, 1, 1, 1, 1, 1, 0.5, 0.5]
    np.testing.assert_allclose(logger.rates["learning_rate"], expected, rtol=1e-6)


PLATEAUS = [
    ({"patience": 0}, [3, 2, 2, 1, 1, 1], [1, 1, 0.5, 0.5, 0.25, 0.125]),
    ({"patience": 2}, [3, 3, 3, 3, 3, 3, 3], [1, 1, 0.5, 0.5, 0.25, 0.25, 0.125]),
    ({"patience": 0, "cooldown": 2}, [3, 3, 3, 3, 3, 3], [1, 0.5, 0.5, 0.25, 0.25, 0.125]),
    ({"patience": 0, "min_factor": 0.3}, [3, 3, 3, 3], [1, 0.5, 0.3, 0.3]),
    ({"patience": 0, "mode": "max"}, [1, 2, 2, 3], [1, 1, 0.5, 0.5]),
    ({"patience": 0, "min_delta": 0.5}, [3, 2.5, 2.4, 2.3], [1, 0.5, 0.5, 0.25]),
]


@pytest.mark.long(
    "0.1-arguments0-values0-factors0",
    "0.1-arguments1-values1-factors1",
    "0.1-arguments2-values2-factors2",
    "0.1-arguments3-values3-factors3",
    "0.1-arguments4-values4-factors4",
    "0.1-arguments5-values5-factors5",
)
@pytest.mark.slow
@pytest.mark.parametrize(("arguments", "values", "factors"), PLATEAUS)
@pytest.mark.parametrize("learning_rate", [0.1, schedules.Constant(0.1)])
def test_plateaus_by_hand(arguments, values, factors, learning_rate):
    model = _model(learning_rate, run_eagerly=True)
    history = _fit(model, values, PlateauScale(factor=0.5, **arguments))
    assert history["learning_rate_factor"] == pytest.approx(factors)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.1 * factors[-1])


@pytest.mark.long("arguments1")
@pytest.mark.slow
@pytest.mark.parametrize("arguments", [{"patience": 3}, {"patience": 1, "cooldown": 2}])
def test_same_reductions_as_keras_on_a_plain_rate(arguments):
    values = np.random.default_rng(0).normal(size=15).cumsum() * -0.01
    mine, theirs = (_model(1.0, run_eagerly=True) for _ in range(2))
    history = _fit(mine, values, PlateauScale(factor=0.7, **arguments), LearningRateLogger())
    expected = _fit(theirs, values, keras.callbacks.ReduceLROnPlateau(factor=0.7, **arguments))
    assert history["learning_rate"] == pytest.approx(expected["learning_rate"], rel=1e-5)
    assert min(expected["learning_rate"]) < 1


def test_auto_knows_accuracies():
    history = _fit(_model(0.1), [0.5, 0.6, 0.6], PlateauScale("val_accuracy", 0.5, 0), name="val_accuracy")
    assert history["learning_rate_factor"] == [1.0, 1.0, 0.5]


@pytest.mark.slow
def test_saved_resumed_and_continued(tmp_path):
    line = schedules.LinearDecay(0.1, 100)
    model = _model(line)
    _fit(model, [1.0, 1.0], PlateauScale(factor=0.5, patience=0))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert float(again.optimizer.learning_rate) == pytest.approx(0.5 * line.curve([4])[0])
    for other in (model, again):
        history = _fit(other, [1.0, 1.0], PlateauScale(factor=0.5, patience=0))
        assert history["learning_rate_factor"] == [0.5, 0.25]
        assert float(other.optimizer.learning_rate) == pytest.approx(0.25 * line.curve([8])[0])


@pytest.mark.slow
def test_greedy_by_hand():
    values = [5, 4, 3, 3, 3, 3, 2]
    history = _fit(_model(schedules.Constant(0.1)), values, GreedyScale(factor=0.5, max_factor=4, min_factor=0.6))
    assert history["learning_rate_factor"] == pytest.approx([2, 4, 4, 2, 1, 0.6, 1.2])
    history = _fit(_model(0.1), values, GreedyScale(factor=0.5, patience=1))
    assert history["learning_rate_factor"] == pytest.approx([1, 2, 2, 2, 1, 1, 1])


def test_a_missing_metric_is_named():
    with pytest.raises(ValueError, match=r"'val_loss', which is not in the logs\. There are: loss"):
        _model(0.1).fit(x, y, verbose=0, callbacks=[PlateauScale()])


@pytest.mark.parametrize(
    "make",
    [
        lambda: PlateauScale(factor=1.0),
        lambda: PlateauScale(patience=-1),
        lambda: PlateauScale(mode="lowest"),
        lambda: PlateauScale(min_delta=-1),
        lambda: GreedyScale(factor=0),
        lambda: GreedyScale(min_factor=2, max_factor=1),
    ],
)
def test_bad_arguments(make):
    with pytest.raises(ValueError, match="must be"):
        make()


@pytest.mark.parametrize("callback", [PlateauScale(patience=3), GreedyScale(factor=0.3)])
def test_config_and_deepcopy(callback):
    assert type(callback).from_config(callback.get_config()).get_config() == callback.get_config()
    assert copy.deepcopy(callback).get_config() == callback.get_config()
