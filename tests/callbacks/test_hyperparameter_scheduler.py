"""Hyperparameters that change inside the compiled graph, against eager training with plain numbers set by hand."""

import copy
import functools
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfopt import layers, schedules
from tfopt.callbacks import GradientNorms, HyperparameterScheduler

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras on saving

rng = np.random.default_rng(0)
x = rng.normal(size=(24, 5)).astype("float32")
y = (x @ rng.normal(size=(5, 1))).astype("float32")
LINE = schedules.LinearDecay(0.9, 12, 0.1)

OPTIMIZERS = {
    "weight_decay": lambda: keras.optimizers.AdamW(0.05, weight_decay=0.1),
    "momentum": lambda: keras.optimizers.SGD(0.05, momentum=0.5, nesterov=True),
    "beta_1": lambda: keras.optimizers.Adam(0.05),
    "beta_2": lambda: keras.optimizers.Adam(0.05, beta_2=0.9),
    "rho": lambda: keras.optimizers.RMSprop(0.05, momentum=0.3, centered=True),
    "ema_momentum": lambda: keras.optimizers.SGD(0.05, use_ema=True, ema_overwrite_frequency=3),
    "clipnorm": lambda: keras.optimizers.SGD(0.05, clipnorm=0.5),
    "l2": lambda: keras.optimizers.SGD(0.05),
    "l1": lambda: keras.optimizers.SGD(0.05),
}
REGULARIZERS = {
    "l2": lambda: keras.regularizers.L2(0.1),
    "l1": lambda: keras.regularizers.L1L2(0.1, 0.1),
}


def _model(name="momentum", optimizer=None, hidden=(), **compile_arguments):
    keras.utils.set_random_seed(0)
    regularizer = REGULARIZERS.get(name, lambda: None)()
    first = keras.layers.Dense(8, "relu", kernel_regularizer=regularizer, name="first")
    model = keras.Sequential([first, *hidden, keras.layers.Dense(1)])
    model.build((None, 5))
    model.compile(optimizer or OPTIMIZERS[name](), "mse", **compile_arguments)
    return model


def _fit(model, *callbacks, epochs=2, **arguments):
    settings = {"batch_size": 4, "epochs": epochs, "shuffle": False, "verbose": 0} | arguments
    return model.fit(x, y, callbacks=list(callbacks), **settings).history


class _ByHand(keras.callbacks.Callback):
    """Set a plain float before each batch: live because the model runs eagerly."""

    def __init__(self, name):
        super().__init__()
        self.name = name

    def on_train_batch_begin(self, batch, logs=None):
        owner = self.model.layers[0].kernel_regularizer if self.name in REGULARIZERS else self.model.optimizer
        setattr(owner, self.name, 0.9 - 0.8 * min(int(self.model.optimizer.iterations), 12) / 12)


@pytest.fixture(scope="module")
def by_hand():
    """The weights after eager training with the number set by hand, and those with it left alone."""

    def trained(name, *callbacks):
        model = _model(name, run_eagerly=True)
        _fit(model, *callbacks, epochs=1)
        return model.get_weights()

    return functools.cache(lambda name: (trained(name, _ByHand(name)), trained(name)))


def _distance(first, second):
    return max(float(np.abs(a - b).max()) for a, b in zip(first, second, strict=True))


BOTH = {"jit_compile": True, "steps_per_execution": 3}
MODES = [(name, {}) for name in OPTIMIZERS] + [(name, BOTH) for name in ("weight_decay", "clipnorm", "l2")]
MODES += [("momentum", {"jit_compile": True}), ("momentum", {"steps_per_execution": 3})]
MODES += [pytest.param(name, BOTH, marks=pytest.mark.long) for name in OPTIMIZERS if (name, BOTH) not in MODES]


@pytest.mark.long(
    "weight_decay-mode0",
    "momentum-mode1",
    "beta_2-mode3",
    "clipnorm-mode6",
    "l2-mode7",
    "l1-mode8",
    "momentum-mode12",
    "rho-mode4",
    "ema_momentum-mode5",
)
@pytest.mark.slow
@pytest.mark.parametrize(("name", "mode"), MODES)
def test_live_in_every_mode(by_hand, name, mode):
    expected, untouched = by_hand(name)
    model = _model(name, **mode)
    config = model.optimizer.get_config()
    history = _fit(model, HyperparameterScheduler({name: LINE}), epochs=1)
    assert _distance(model.get_weights(), expected) < 2e-6
    assert _distance(untouched, expected) > 0.01
    assert history[name] == pytest.approx([0.9 - 0.8 * 5 / 12])
    assert model.optimizer.get_config() == config
    assert "train_step" not in vars(model)


@pytest.mark.long("mode1")
@pytest.mark.slow
@pytest.mark.parametrize("mode", [{"run_eagerly": True}, {"jit_compile": True, "steps_per_execution": 3}])
def test_dropout_follows_its_schedule(mode):
    """Early dropout that drops everything and then nothing: the first layer learns only after the cutoff."""
    for cutoff, learns in ((6, False), (3, True)):
        model = _model(hidden=[layers.Dropout(0.5, seed=1)], **mode)
        before = model.layers[0].kernel.numpy()
        schedule = schedules.PiecewiseConstant([cutoff], [1.0, 0.0])
        history = _fit(model, HyperparameterScheduler({"dropout": schedule}), epochs=1)
        assert (not np.array_equal(model.layers[0].kernel.numpy(), before)) is learns
        assert history["dropout"] == [0.0 if learns else 1.0]
        assert model.layers[1].get_config()["rate"] == 0.5


@pytest.mark.slow
def test_several_at_once_and_by_the_name_of_a_layer():
    hidden = [layers.Dropout(0.1, name="drop"), layers.GaussianNoise(0.1)]
    model = _model("l2", hidden=hidden)
    wanted = {
        "drop.rate": schedules.LateDropout(0.3, 8),
        "noise": 0.05,
        "first.kernel_regularizer.l2": schedules.Constant(0.02),
        "learning_rate": schedules.LinearDecay(0.1, 12),
    }
    history = _fit(model, HyperparameterScheduler(wanted))
    assert history["drop.rate"] == pytest.approx([0, 0.3])
    assert history["noise"] == pytest.approx([0.05, 0.05])
    assert history["learning_rate"] == pytest.approx([0.1 * (1 - 5 / 12), 0.1 / 12])
    assert float(model.layers[0].kernel_regularizer.l2) == pytest.approx(0.1)


@pytest.mark.slow
def test_one_cycle_momentum_beside_a_one_cycle_rate():
    rate = schedules.OneCycle(0.1, 12)
    model = _model(optimizer=keras.optimizers.SGD(rate, momentum=0.9))
    history = _fit(model, HyperparameterScheduler({"momentum": schedules.OneCycleMomentum(12)}))
    assert history["momentum"] == pytest.approx(schedules.OneCycleMomentum(12).curve([5, 11]).tolist())


@pytest.mark.slow
def test_gradient_accumulation_counts_updates():
    model = _model(optimizer=keras.optimizers.SGD(0.05, momentum=0.5, gradient_accumulation_steps=3))
    history = _fit(model, HyperparameterScheduler({"momentum": LINE}), epochs=3)
    assert history["momentum"] == pytest.approx(LINE.curve([1, 3, 5]).tolist())
    with pytest.raises(ValueError, match="no hyperparameter 'gradient_accumulation_steps'"):
        _fit(model, HyperparameterScheduler({"gradient_accumulation_steps": 2}))  # a number that Python reads


@pytest.mark.slow
@pytest.mark.long("weights")
@pytest.mark.parametrize("restart", ["keras file", "weights"])
def test_resumed_at_the_right_step_with_the_config_intact(tmp_path, restart):
    whole = _model("weight_decay")
    _fit(whole, HyperparameterScheduler({"weight_decay": LINE}), epochs=4)
    half = _model("weight_decay")
    path = tmp_path / ("model.keras" if restart == "keras file" else "model.weights.h5")
    keep = keras.callbacks.ModelCheckpoint(path, save_weights_only=restart == "weights")  # saves in mid-training
    _fit(half, HyperparameterScheduler({"weight_decay": LINE}), keep)
    if restart == "keras file":
        again = keras.models.load_model(path)
        assert again.optimizer.weight_decay == 0.1
    else:
        again = _model("weight_decay")
        schedules.resume_from_weights(again, path)
    history = _fit(again, HyperparameterScheduler({"weight_decay": LINE}))
    assert history["weight_decay"] == pytest.approx(LINE.curve([17, 23]).tolist())
    assert _distance(again.get_weights(), whole.get_weights()) < 1e-6


@pytest.mark.slow
def test_two_of_them_beside_gradient_norms_in_any_order():
    expected = None
    for order in ((0, 1, 2), (2, 0, 1), (1, 2, 0)):
        callbacks = [
            HyperparameterScheduler({"momentum": LINE}),
            HyperparameterScheduler({"l2": schedules.LinearDecay(0.1, 12)}),
            GradientNorms(),
        ]
        model = _model("l2", optimizer=OPTIMIZERS["momentum"]())
        history = _fit(model, *(callbacks[i] for i in order))
        assert history["momentum"] == pytest.approx(LINE.curve([5, 11]).tolist())
        assert len(history["grad_norm"]) == 2
        assert "train_step" not in vars(model)
        expected = expected or model.get_weights()
        assert _distance(model.get_weights(), expected) == 0


@pytest.mark.slow
def test_mixed_precision_and_a_distribution_strategy():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = _model(optimizer=keras.optimizers.LossScaleOptimizer(OPTIMIZERS["momentum"](), initial_scale=1.0))
        history = _fit(model, HyperparameterScheduler({"momentum": LINE}))
    finally:
        keras.config.set_dtype_policy("float32")
    assert history["momentum"] == pytest.approx(LINE.curve([5, 11]).tolist())
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        model = _model(hidden=[layers.Dropout(0.1)])
    scheduler = HyperparameterScheduler({"momentum": LINE, "dropout": schedules.LateDropout(0.3, 8)})
    history = _fit(model, scheduler)
    assert history["momentum"] == pytest.approx(LINE.curve([5, 11]).tolist())
    assert history["dropout"] == pytest.approx([0, 0.3])


@pytest.mark.slow
def test_a_training_that_crashes_leaves_the_next_one_right():
    model, scheduler = _model(), HyperparameterScheduler({"momentum": LINE})

    class Crash(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            raise RuntimeError("crash")

    with pytest.raises(RuntimeError, match="crash"):
        _fit(model, scheduler, Crash())
    other = _model()
    _fit(other, scheduler)
    for trained in (model, other):
        assert trained.optimizer.momentum == 0.5
        assert "train_step" not in vars(trained)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("momentun", "no hyperparameter 'momentun'.*Did you mean 'momentum'"),
        ("label_smoothing", "no hyperparameter 'label_smoothing'"),
        ("dropout", "no hyperparameter 'dropout'"),
    ],
)
def test_unknown_names(name, text):
    with pytest.raises(ValueError, match=text):
        _fit(_model(), HyperparameterScheduler({name: 0.1}))


@pytest.mark.parametrize("bad", [{}, None, 3])
def test_bad_arguments(bad):
    with pytest.raises(ValueError, match="must be a dict from names"):
        HyperparameterScheduler(bad)
    with pytest.raises(TypeError, match="must be a schedule or a number"):
        HyperparameterScheduler({"momentum": lambda step: 0.1})


def test_config_and_deepcopy():
    scheduler = HyperparameterScheduler({"momentum": schedules.Warmup(LINE, 3), "l2": 0.1})
    config = json.loads(json.dumps(scheduler.get_config()))
    assert HyperparameterScheduler.from_config(config).get_config() == scheduler.get_config()
    assert copy.deepcopy(scheduler).get_config() == scheduler.get_config()


@pytest.mark.slow
def test_label_smoothing_of_a_loss_that_holds_a_variable():
    class Smoothed(keras.losses.Loss):
        def __init__(self):
            super().__init__()
            self.label_smoothing = keras.Variable(0.0, trainable=False)

        def call(self, y_true, y_pred):
            return keras.ops.mean((y_true * (1 - self.label_smoothing) - y_pred) ** 2, axis=-1)

    changed, left = _model(), _model()
    changed.compile("sgd", Smoothed())
    left.compile("sgd", Smoothed())
    history = _fit(changed, HyperparameterScheduler({"label_smoothing": LINE}))
    _fit(left)
    assert history["label_smoothing"] == pytest.approx(LINE.curve([5, 11]).tolist())
    assert _distance(changed.get_weights(), left.get_weights()) > 0.01
