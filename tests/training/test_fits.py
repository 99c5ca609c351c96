"""Which epoch is the best and when a fit ends, against Keras's own callback."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest

from tfopt.training.fits import EpochTracker, FitRequest, FitResult, Monitor, built
from tfopt.training.rows import Examples


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("min_delta", [0.0, 2.0])
@pytest.mark.parametrize("patience", [1, 3])
def test_the_best_epoch_and_the_end_are_those_of_early_stopping(mode, min_delta, patience):
    random, ends = np.random.default_rng(0), set()
    for _ in range(40):
        values = random.integers(0, 6, 12).astype(float)  # few values, so that many are equal or just `min_delta` apart
        theirs = keras.callbacks.EarlyStopping("score", min_delta=min_delta, patience=patience, mode=mode)
        theirs.set_model(SimpleNamespace(stop_training=False))
        theirs.on_train_begin()
        result = FitResult()
        mine = EpochTracker(FitRequest({}, 0, 12, monitor=Monitor("score", mode, patience, min_delta)), result)
        for epoch, value in enumerate(values):
            theirs.on_epoch_end(epoch, {"score": value})
            improved, ended = mine.epoch({"loss": 1.0, "score": value})
            assert improved == (theirs.best_epoch == epoch)
            assert result.best_epoch == theirs.best_epoch
            assert ended == theirs.model.stop_training
            if ended:
                ends.add(epoch)
                break
    assert len(ends) > 1


def test_a_network_without_an_input_is_built_as_one_with_it():
    def build(inputs):
        layers = [*inputs, keras.layers.Dense(4, "tanh"), keras.layers.Dropout(0.5), keras.layers.Dense(1)]
        model = keras.Sequential(layers)
        model.compile("adam", "mse")
        return model

    rows = Examples(np.zeros((5, 3)), np.zeros(5))
    without, with_it = (built(build, FitRequest(inputs, 1, 1), rows) for inputs in ([], [keras.Input((3,))]))
    assert without.input_shape == with_it.input_shape == (None, 3)
    for mine, theirs in zip(without.variables, with_it.variables, strict=True):
        np.testing.assert_array_equal(mine, theirs)
