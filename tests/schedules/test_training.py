"""Schedules in fit: every family, every optimizer, saved, loaded in a fresh process, continued at the right step."""

import keras
import numpy as np
import pytest

from tfopt import schedules
from tfopt.callbacks import LearningRateLogger

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras on saving

x = np.random.default_rng(0).normal(size=(24, 4)).astype("float32")
y = x[:, :2]
OPTIMIZERS = ["SGD", "AdamW", "Nadam", "Ftrl", "Lion"]  # of each kind of state one; what they do is for Keras to test
OPTIMIZERS += ["Adafactor", "Muon", "ScheduleFreeAdamW"]


def _model(optimizer, **compile_arguments):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(2)])
    model.compile(optimizer, "mse", **compile_arguments)
    return model


def _fit(model, epochs=2):
    logger = LearningRateLogger()
    model.fit(x, y, batch_size=4, epochs=epochs, shuffle=False, verbose=0, callbacks=[logger])
    return logger.rates["learning_rate"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Sequence", "Noise"])
def test_the_rates_of_a_graph_of_many_steps(name, all_examples):
    """They are those of the curve; that every schedule can be traced is in `test_common`."""
    example = all_examples[name]
    model = _model(keras.optimizers.SGD(example), jit_compile=False, steps_per_execution=6)
    np.testing.assert_allclose(_fit(model), example.curve(12), rtol=1e-6)
    assert model.optimizer.iterations == 12


@pytest.mark.long("Nadam", "Ftrl", "Lion", "Muon", "Adafactor", "ScheduleFreeAdamW", "SGD")
@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_saved_and_continued(name, tmp_path):
    schedule = schedules.Warmup(schedules.CosineDecay(0.05, 20), 4)
    make = getattr(keras.optimizers, name)
    whole, half = (_model(make(schedule), run_eagerly=True) for _ in range(2))  # a dozen steps are not worth a graph
    expected = schedule.curve(12)
    np.testing.assert_allclose(_fit(whole), expected, rtol=1e-6)
    first = _fit(half, epochs=1)
    half.save(tmp_path / "half.keras")
    again = keras.models.load_model(tmp_path / "half.keras")
    again.run_eagerly = True
    np.testing.assert_allclose(first + _fit(again, epochs=1), expected, rtol=1e-6)
    half.save_weights(tmp_path / "half.weights.h5")
    weights_only = _model(make(schedule), run_eagerly=True)
    assert schedules.resume_from_weights(weights_only, tmp_path / "half.weights.h5") == 6
    np.testing.assert_allclose(first + _fit(weights_only, epochs=1), expected, rtol=1e-6)
    if name != "ScheduleFreeAdamW":  # it moves its weights between training and use; the step is what matters here
        for one, other in zip(whole.get_weights(), again.get_weights(), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_keras_restarts_adam_at_step_0_when_it_resumes_from_weights(tmp_path):
    schedule = schedules.LinearDecay(0.05, 20)
    half = _model(keras.optimizers.Adam(schedule))
    _fit(half, epochs=1)
    half.save_weights(tmp_path / "half.weights.h5")
    theirs = _model(keras.optimizers.Adam(schedule))
    with pytest.warns(UserWarning, match="Skipping variable loading for optimizer"):
        theirs.load_weights(tmp_path / "half.weights.h5")
    assert theirs.optimizer.iterations == 0


def test_a_fresh_process_loads_nested_schedules_with_import_tfopt_alone(tmp_path, fresh_keras):
    inner = schedules.Product([schedules.OneCycle(0.1, 30), keras.optimizers.schedules.ExponentialDecay(1.0, 9, 0.5)])
    schedule = schedules.Sequence([schedules.Warmup(inner, 3), schedules.Noise(0.01, seed=4)], [20])
    model = _model(keras.optimizers.Adam(schedule))
    _fit(model)
    model.save(tmp_path / "model.keras")
    code = (
        "import sys, keras, tfopt; o = keras.models.load_model(sys.argv[1]).optimizer; "
        "print(int(o.iterations), repr(float(o.learning_rate)))"
    )
    done = fresh_keras(code, tmp_path / "model.keras")
    assert done.returncode == 0, done.stderr
    step, rate = done.stdout.split()
    assert int(step) == 12
    assert float(rate) == pytest.approx(float(schedule(12)))


def test_a_variable_in_a_schedule_changes_a_running_graph():
    peak = keras.Variable(0.1, trainable=False)
    model = _model(keras.optimizers.SGD(schedules.LinearDecay(peak, 100)))
    before = _fit(model, epochs=1)
    peak.assign(0.2)
    model_rates = _fit(model, epochs=1)
    np.testing.assert_allclose(before, 0.1 * (1 - np.arange(6) / 100), rtol=1e-6)
    np.testing.assert_allclose(model_rates, 0.2 * (1 - np.arange(6, 12) / 100), rtol=1e-6)
