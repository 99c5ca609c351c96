"""Which epoch is the best and when a fit ends, against Keras's own callback."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest

from tfopt.training.fits import EpochTracker, FitRequest, FitResult, Monitor


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
