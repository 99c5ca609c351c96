"""The schedules that the recipe compares have the same mean; and the usual snippet changes nothing."""

import keras
import numpy as np
import pytest

import tfopt


def test_the_penalties_have_the_same_mean(recipe_names):
    steps = 1000
    means = [
        np.mean(make(0.01, steps).curve(steps + 1))
        for make in recipe_names("adaptive_regularization")["PENALTY"].values()
    ]
    np.testing.assert_allclose(means, 0.01, rtol=1e-5)


@pytest.mark.slow
def test_a_schedule_of_the_rate_is_felt(recipe_names):
    """Dropout that is late is none at first, and early dropout is none at the end: both differ from a fixed rate."""
    results = recipe_names("adaptive_regularization")["results"]["overfits"]
    losses = [
        tuple(results[kind]["train loss"]) for kind in ("neither", "fixed dropout", "early dropout", "late dropout")
    ]
    assert len(set(losses)) == 4


@pytest.mark.slow
def test_the_usual_snippet_changes_nothing_and_the_layer_of_tfopt_does():
    def units_dropped(layer):
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(4000, bias_initializer="ones"), layer])

        class Change(keras.callbacks.Callback):
            def on_epoch_begin(self, epoch, logs=None):
                layer.rate = [0.1, 0.9][epoch]

        def share(_, outputs):
            return keras.ops.mean(keras.ops.cast(keras.ops.equal(outputs, 0.0), "float32"))

        model.compile(keras.optimizers.SGD(1e-3), "mse", metrics=[share])
        run = model.fit(np.zeros((2, 1)), np.ones((2, 4000)), epochs=2, verbose=0, callbacks=[Change()])
        return run.history["share"]

    assert units_dropped(keras.layers.Dropout(0.1, seed=0)) == pytest.approx([0.1, 0.1], abs=0.03)
    assert units_dropped(tfopt.layers.Dropout(0.1, seed=0)) == pytest.approx([0.1, 0.9], abs=0.03)
