"""Nothing changes: weights, optimizer state, random streams, the saved file, and the optimizer other callbacks see."""

import copy
import gc
import pickle
import random

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

import tfopt

# Keras 3.15 saves through an old NumPy protocol.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
ON = keras.optimizers


def state(model):
    """Everything a fit may change, as one list of arrays."""
    seeds = [random.getstate()[1], np.random.get_state()[1]]
    return [np.asarray(v) for v in [*model.variables, *model.optimizer.variables]] + [np.asarray(s) for s in seeds]


def fit(model, data, callbacks, **arguments):
    options = {"epochs": 5, "batch_size": 32, "verbose": 0} | arguments
    return model.fit(*data, callbacks=callbacks, **options)


CASES = {
    "momentum, schedule": (lambda: ON.SGD(ON.schedules.CosineDecay(0.1, 15), momentum=0.9, nesterov=True), {}),
    "ScheduleFreeAdamW": (lambda: ON.ScheduleFreeAdamW(0.01), {}),
    "clipnorm": (lambda: ON.SGD(0.1, clipnorm=0.1), {}),
    "global_clipnorm": (lambda: ON.SGD(0.1, global_clipnorm=0.1), {}),
    "clipvalue, loss_scale_factor": (lambda: ON.SGD(0.1, clipvalue=0.05, loss_scale_factor=64.0), {}),
    "EMA, executions": (
        lambda: ON.Adam(0.01, use_ema=True, ema_overwrite_frequency=4),
        {"steps_per_execution": 2},
    ),
    "loss scaling": (lambda: ON.LossScaleOptimizer(ON.SGD(0.1), initial_scale=2.0**10), {}),
    "accumulation": (lambda: ON.SGD(0.1, gradient_accumulation_steps=3), {}),
    "accumulation, clipping, jit": (
        lambda: ON.SGD(0.1, gradient_accumulation_steps=3, global_clipnorm=0.1),
        {"jit_compile": True},
    ),
    "MultiOptimizer": (
        lambda: ON.MultiOptimizer(ON.OptimizerMap(ON.SGD(0.1), {".*last/.*": ON.Adam(0.01)})),
        {},
    ),
}


@pytest.mark.slow
@pytest.mark.long(
    "ScheduleFreeAdamW",
    "clipnorm",
    "EMA, executions",
    "accumulation",
    "MultiOptimizer",
    "global_clipnorm",
    "clipvalue, loss_scale_factor",
    "momentum, schedule",
)
@pytest.mark.parametrize("case", CASES)
def test_bit_identical(build, data, case):
    make, arguments = CASES[case]
    plain, measured = build(make(), dropout=0.3, **arguments), None
    fit(plain, data, [])
    expected = state(plain)
    measured = build(make(), dropout=0.3, **arguments)
    fit(measured, data, [tfopt.callbacks.GradientNorms(log_layers=True)])
    for ours, theirs in zip(state(measured), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
def test_bit_identical_with_every_option(build, data):
    plain = build(ON.Adam(0.01), dropout=0.3)
    fit(plain, data, [])
    expected = state(plain)
    measured = build(ON.Adam(0.01), dropout=0.3)
    fit(measured, data, [tfopt.callbacks.GradientNorms(update_ratio=True, cosine=True)])
    for ours, theirs in zip(state(measured), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.long
def test_later_fits_are_untouched_too(build, data):
    """Plain, measured, plain, measured: the same as four plain fits, and the tapped function is traced once."""
    plain = build(ON.Adam(0.01), dropout=0.3)
    for _ in range(4):
        fit(plain, data, [])
    expected = state(plain)
    model = build(ON.Adam(0.01), dropout=0.3)
    fit(model, data, [])
    first = tfopt.callbacks.GradientNorms()
    fit(model, data, [first])
    traced = vars(model)["_tfopt_tapped_function"]
    fit(model, data, [])
    second = tfopt.callbacks.GradientNorms()
    fit(model, data, [second])
    assert vars(model)["_tfopt_tapped_function"] is traced
    assert len(first.history["step"]) == len(second.history["step"]) == 15
    for ours, theirs in zip(state(model), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def is_clean(model):
    names = {"apply", "_all_reduce_sum_gradients"}
    return not names & set(vars(model.optimizer)) and "train_step" not in vars(model)


class Watcher(keras.callbacks.Callback):
    """Looks at the optimizer from every hook, and copies and saves in the middle."""

    def __init__(self, path):
        super().__init__()
        self.path, self.seen = path, []

    def on_train_batch_begin(self, batch, logs=None):
        self.seen.append(is_clean(self.model))

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(is_clean(self.model))

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append(is_clean(self.model))
        pickle.loads(pickle.dumps(self.model))
        keras.models.clone_model(self.model)
        self.model.save(self.path)


@pytest.mark.slow
def test_the_optimizer_is_clean_inside_other_callbacks(build, data, tmp_path):
    watcher = Watcher(tmp_path / "middle.keras")
    model = build(ON.Adam(0.01, global_clipnorm=1.0))
    fit(model, data, [tfopt.callbacks.GradientNorms(), watcher])
    assert len(watcher.seen) == 35
    assert all(watcher.seen)
    assert is_clean(model)


@pytest.mark.long
def test_saved_files_hold_the_same(build, data, tmp_path):
    for name, callbacks in (("plain", []), ("measured", [tfopt.callbacks.GradientNorms(cosine=True)])):
        model = build(ON.Adam(0.01))
        fit(model, data, callbacks)
        model.save(tmp_path / f"{name}.keras")
        model.save_weights(tmp_path / f"{name}.weights.h5")

    def contents(path):
        found = {}
        with h5py.File(path) as file:
            file.visititems(lambda key, item: found.update({key: item[()]}) if isinstance(item, h5py.Dataset) else None)
        return found

    plain, measured = (contents(tmp_path / f"{name}.weights.h5") for name in ("plain", "measured"))
    assert plain.keys() == measured.keys()
    for key, value in plain.items():
        np.testing.assert_array_equal(value, measured[key])
    loaded = keras.models.load_model(tmp_path / "measured.keras")
    for kept, trained in zip(loaded.optimizer.variables, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(kept, trained)


class Crash(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if batch == 1:
            raise KeyboardInterrupt


@pytest.mark.slow
@pytest.mark.long("fit", "train_on_batch")
@pytest.mark.parametrize("after", ["fit", "train_on_batch", "measured fit"])
def test_after_a_crash_everything_heals(build, data, after):
    model = build(ON.Adam(0.01))
    with pytest.raises(KeyboardInterrupt):
        fit(model, data, [tfopt.callbacks.GradientNorms(), Crash()])
    assert is_clean(model)
    plain = build(ON.Adam(0.01))
    with pytest.raises(KeyboardInterrupt):
        fit(plain, data, [Crash()])
    norms = tfopt.callbacks.GradientNorms()
    for network, callbacks in ((model, [norms] if after == "measured fit" else []), (plain, [])):
        if after == "train_on_batch":
            network.train_on_batch(data[0][:16], data[1][:16])
        else:
            keras.utils.set_random_seed(0)
            fit(network, data, callbacks)
    for ours, theirs in zip(state(model), state(plain), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert type(model.train_function) is type(plain.train_function)
    if after == "measured fit":
        assert len(norms.history["step"]) == 15


@pytest.mark.slow
def test_a_crash_inside_the_step_leaves_no_trace(data):
    class Failing(keras.Sequential):
        def train_step(self, data):
            raise RuntimeError("no")

    model = Failing([keras.Input((5,)), keras.layers.Dense(3)])
    model.compile("sgd", "mse")
    with pytest.raises(RuntimeError, match="no"):
        fit(model, data, [tfopt.callbacks.GradientNorms()])
    assert is_clean(model)


@pytest.mark.long
def test_two_in_one_fit_see_the_same(build, data):
    plain = build(ON.Adam(0.01))
    fit(plain, data, [])
    expected = state(plain)
    model = build(ON.Adam(0.01))
    one, two = tfopt.callbacks.GradientNorms(), tfopt.callbacks.GradientNorms(update_ratio=True, prefix="second")
    history = fit(model, data, [one, two]).history
    assert history["grad_norm"] == history["second"]
    assert "update_ratio" in two.history
    assert "update_ratio" not in one.history
    np.testing.assert_array_equal(one.history["grad_norm"], two.history["second"])
    for ours, theirs in zip(state(model), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
@pytest.mark.long("-1")
@pytest.mark.parametrize("order", [1, -1])
def test_recompile_between_and_within_fits(build, data, order):
    class Recompile(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                self.model.layers[0].trainable = False
                self.model.compile("sgd", self.model.loss)
                self.model.make_train_function()

    model, norms = build(ON.Adam(0.01)), tfopt.callbacks.GradientNorms()
    history = fit(model, data, [norms, Recompile()][::order])
    assert len(norms.history["step"]) == 15
    assert np.isfinite(history.history["grad_norm"]).all()
    assert np.isfinite(norms.history["grad_norm/first"][:3]).all()
    assert np.isnan(norms.history["grad_norm/first"][3:]).all()
    model.compile("sgd", model.loss)
    fit(model, data, [norms])
    assert len(norms.history["step"]) == 15


@pytest.mark.slow
@pytest.mark.parametrize("order", [1, -1])
def test_beside_a_callback_that_wraps_the_train_function(build, data, order):
    class Wrapper(keras.callbacks.Callback):
        calls = 0

        def on_train_begin(self, logs=None):
            inner = self.model.train_function

            def counted(iterator):
                self.calls += 1
                return inner(iterator)

            self.model.train_function = counted

    wrapper, norms = Wrapper(), tfopt.callbacks.GradientNorms()
    fit(build(ON.Adam(0.01)), data, [wrapper, norms][::order])
    assert wrapper.calls == len(norms.history["step"]) == 15


@pytest.mark.slow
def test_training_inside_a_callback_is_not_mistaken_for_a_step(build, data):
    class Extra(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.train_on_batch(data[0][:8], data[1][:8])

    norms = tfopt.callbacks.GradientNorms()
    fit(build(ON.Adam(0.01)), data, [norms, Extra()])
    assert len(norms.history["step"]) == 15


@pytest.mark.slow
def test_a_step_that_bypasses_the_optimizer_is_told(data):
    class ByHand(keras.Sequential):
        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                loss = self.compute_loss(x, y, self(x, training=True))
            for variable, gradient in zip(
                self.trainable_variables, tape.gradient(loss, self.trainable_variables), strict=True
            ):
                variable.assign_sub(0.1 * gradient)
            return {"custom": loss}

    model = ByHand([keras.Input((5,)), keras.layers.Dense(3)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    norms = tfopt.callbacks.GradientNorms()
    with pytest.warns(UserWarning, match=r"No gradient reached `optimizer.apply`"):
        history = fit(model, data, [norms]).history
    assert np.isnan(history["grad_norm"]).all()


def test_copies_keep_settings_and_numbers_only(build, data):
    norms = tfopt.callbacks.GradientNorms(log_layers=True, prefix="g")
    assert copy.deepcopy(norms).prefix == "g"
    fit(build(run_eagerly=True), data, [norms], epochs=2)
    for twin in (copy.deepcopy(norms), pickle.loads(pickle.dumps(norms))):
        np.testing.assert_array_equal(twin.history["g"], norms.history["g"])
        assert twin.model is None
        fit(build(run_eagerly=True), data, [twin], epochs=2)
        np.testing.assert_array_equal(twin.history["g"], norms.history["g"])


@pytest.mark.slow
def test_the_model_is_freed(build, data):
    import weakref

    model = build()
    fit(model, data, [tfopt.callbacks.GradientNorms()], epochs=1)
    alive = weakref.ref(model)
    del model
    gc.collect()
    assert alive() is None


@pytest.mark.slow
@pytest.mark.long("-1")
@pytest.mark.parametrize("order", [1, -1])
def test_beside_the_callbacks_that_hook_the_train_step(build, data, order):
    """Schedules of other hyperparameters rebuild the train function as training begins and ends."""

    def others():
        decay = tfopt.schedules.LinearDecay(1e-2, decay_steps=15)
        return [tfopt.callbacks.HyperparameterScheduler({"weight_decay": decay}), tfopt.callbacks.LearningRateLogger()]

    plain = build(ON.AdamW(0.01, weight_decay=1e-2))
    expected = fit(plain, data, others())
    model, norms = build(ON.AdamW(0.01, weight_decay=1e-2)), tfopt.callbacks.GradientNorms()
    for _ in range(2):
        history = fit(model, data, [norms, *others()][::order])
        assert norms.history["step"].tolist() == list(range(15))
    fit(plain, data, others())
    assert set(expected.history) < set(history.history)
    for ours, theirs in zip(state(model), state(plain), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert is_clean(model)
