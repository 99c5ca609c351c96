"""What the user reads: logs, history, frames, files, the picture, and other callbacks that use the keys."""

import csv

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfopt
from tfopt.callbacks._gradient_steps import layer_columns, noise_scale

# Keras 3.15 saves through an old NumPy protocol.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def fit(model, data, callbacks, **arguments):
    options = {"epochs": 3, "batch_size": 32, "verbose": 0} | arguments
    return model.fit(*data, callbacks=callbacks, **options).history


@pytest.mark.slow
def test_keys_without_and_with_clipping(build, data):
    plain = fit(build(), data, [tfopt.callbacks.GradientNorms()])
    assert set(plain) == {"loss", "grad_norm", "grad_norm_max", "grad_norm_nonfinite"}
    clipped = fit(build(keras.optimizers.SGD(clipnorm=1.0)), data, [tfopt.callbacks.GradientNorms(log_layers=True)])
    assert set(clipped) == {
        "loss", "grad_norm", "grad_norm_max", "grad_norm_nonfinite", "grad_norm_applied", "grad_norm_clipped",
        "grad_norm/first", "grad_norm/last",
    }  # fmt: skip
    assert all(len(values) == 3 for values in clipped.values())


def test_a_history_listed_first_is_completed(build, data):
    history = keras.callbacks.History()
    norms = tfopt.callbacks.GradientNorms()
    fit(build(), data, [history, norms])
    assert len(history.history["grad_norm"]) == 3
    np.testing.assert_allclose(history.history["grad_norm"], norms.history["grad_norm"].reshape(3, 3).mean(axis=1))


def test_other_callbacks_see_the_keys(build, data, tmp_path):
    path = tmp_path / "log.csv"
    stop = keras.callbacks.EarlyStopping(monitor="grad_norm", mode="max", patience=1)
    slower = keras.callbacks.ReduceLROnPlateau(monitor="grad_norm", mode="max", patience=0, min_delta=10)
    model = build(keras.optimizers.SGD(0.5))
    history = fit(model, data, [tfopt.callbacks.GradientNorms(), keras.callbacks.CSVLogger(path), stop, slower])
    assert len(history["grad_norm"]) == 2
    assert float(model.optimizer.learning_rate) < 0.5
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["grad_norm"]) for row in rows] == history["grad_norm"]


@pytest.mark.slow
def test_tensorboard_gets_the_keys(build, data, tmp_path):
    fit(build(), data, [tfopt.callbacks.GradientNorms(), keras.callbacks.TensorBoard(tmp_path)])
    (events,) = (tmp_path / "train").glob("events*")
    assert b"epoch_grad_norm" in events.read_bytes()


@pytest.mark.slow
def test_keras_tuner_can_search_on_the_norm(data, build, tmp_path):
    import keras_tuner

    def hypermodel(hp):
        return build(keras.optimizers.SGD(hp.Choice("learning_rate", [0.1, 0.01])))

    tuner = keras_tuner.RandomSearch(
        hypermodel, keras_tuner.Objective("grad_norm", "min"), max_trials=2, directory=tmp_path, project_name="p"
    )
    norms = tfopt.callbacks.GradientNorms()
    tuner.search(*data, epochs=1, verbose=0, callbacks=[norms])
    scores = [trial.score for trial in tuner.oracle.get_best_trials(2)]
    assert len(scores) == 2
    assert all(0 < score < 10 for score in scores)


def test_frames_and_files(build, data, tmp_path):
    norms = tfopt.callbacks.GradientNorms()
    fit(build(), data, [norms])
    frame = norms.to_frame()
    assert norms.layers == ["first", "last"]
    assert frame["step"].tolist() == list(range(9))
    assert frame["epoch"].tolist() == [0] * 3 + [1] * 3 + [2] * 3
    np.testing.assert_allclose(frame["grad_norm"] ** 2, frame["grad_norm/first"] ** 2 + frame["grad_norm/last"] ** 2)
    norms.to_csv(tmp_path / "norms.csv")
    assert (tmp_path / "norms.csv").read_text().startswith("step,epoch,grad_norm,")
    with pytest.raises(ValueError, match="Argument `by`"):
        norms.to_frame("weight")


@pytest.mark.slow
def test_picture_has_a_row_a_layer(build, data):
    import matplotlib.pyplot as plt

    norms = tfopt.callbacks.GradientNorms()
    with pytest.raises(ValueError, match="nothing to plot"):
        norms.plot()
    fit(build(keras.optimizers.SGD(0.1, clipnorm=0.1)), data, [norms])
    ax = norms.plot()
    assert [label.get_text() for label in ax.get_yticklabels()] == ["first", "last"]
    above, below = (other for other in ax.figure.axes if other is not ax and ax.get_shared_x_axes().joined(ax, other))
    np.testing.assert_array_equal(above.lines[0].get_ydata(), norms.history["grad_norm"])
    np.testing.assert_allclose(below.lines[0].get_ydata(), 0.1, rtol=1e-6)
    plt.close("all")
    _, own = plt.subplots()
    assert norms.plot(own) is own
    plt.close("all")


@pytest.mark.slow
@pytest.mark.parametrize("jit_compile", [False, True])
def test_the_bad_layers_are_named(data, jit_compile):
    """A gradient that is NaN in the second layer spreads to the first, and not to the third."""

    class Poisoned(keras.layers.Layer):
        def call(self, x):
            return tf.custom_gradient(lambda value: (tf.identity(value), lambda gradient: gradient * np.nan))(x)

    layers = [keras.Input((5,)), keras.layers.Dense(4, name="one"), Poisoned(), keras.layers.Dense(3, name="two")]
    model = keras.Sequential(layers)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.0), loss, jit_compile=jit_compile)
    norms = tfopt.callbacks.GradientNorms()
    history = fit(model, data, [norms], epochs=1)
    assert norms.nonfinite[0] == {"step": 0, "epoch": 0, "layers": ["one"], "skipped": False}
    assert history["grad_norm_nonfinite"] == [3.0]
    assert np.isnan(history["grad_norm"]).all()


@pytest.mark.slow
def test_noise_scale_against_per_example_gradients():
    """With frozen weights, accumulation sees batches of 8 and of 32; the truth comes from every example's gradient."""
    keras.utils.set_random_seed(0)
    generator = np.random.default_rng(0)
    x = generator.normal(size=(4096, 4)).astype("float32")
    y = (x @ [1.0, -2.0, 0.5, 0.0] + 1.5 * generator.normal(size=4096)).astype("float32")[:, None]
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, kernel_initializer="zeros")])
    model.compile(keras.optimizers.SGD(0.0, gradient_accumulation_steps=4), "mse", steps_per_execution=16)
    norms = tfopt.callbacks.GradientNorms()
    history = fit(model, (x, y), [norms], epochs=4, batch_size=8)
    examples = np.concatenate([-2 * y * x, -2 * y], axis=1)  # of (w·x + b − y)² at w = b = 0
    truth = examples.var(axis=0).sum() / (examples.mean(axis=0) ** 2).sum()
    assert norms.noise_scale == pytest.approx(truth, rel=0.15)
    assert len(history["grad_noise_scale"]) == 4
    assert history["grad_batch_size"] == [32.0] * 4


def test_noise_scale_by_hand():
    """Parts of 10 examples with mean square 5, steps of 20 with 4: |G|² = 3, trΣ = 20."""
    micro, whole = np.array([5.0, 5.0, 4.0, 6.0]), np.array([np.nan, 4.0, np.nan, 4.0])
    batch, updated = np.full(4, 10.0), np.array([False, True, False, True])
    assert noise_scale(micro, whole, batch, updated, 2) == pytest.approx(20 / 3)
    assert np.isnan(noise_scale(micro, whole, batch, np.zeros(4, bool), 2))
    assert noise_scale(micro, whole * 0.1, batch, updated, 2) == float("inf")


def test_layer_names_that_repeat():
    paths = ["m/dense/kernel", "m/dense/bias", "m/inner/dense/kernel", "m/dense/kernel", "m/dense/bias", "loose"]
    assert layer_columns(paths, "m") == {"dense": [0, 1], "inner/dense": [2], "dense#2": [3, 4], "loose": [5]}


def test_arguments_are_checked(build):
    with pytest.raises(ValueError, match="Argument `prefix`"):
        tfopt.callbacks.GradientNorms(prefix="")
    with pytest.raises(RuntimeError, match=r"model\.fit"):
        tfopt.callbacks.GradientNorms().on_epoch_begin(0)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", [tf.distribute.MirroredStrategy, tf.distribute.OneDeviceStrategy])
def test_a_strategy_of_one_replica(build, data, strategy):
    """As on a machine with one accelerator; several replicas have a file of their own."""
    options = {"update_ratio": True, "cosine": True}
    alone = fit(build(keras.optimizers.SGD(0.1)), data, [tfopt.callbacks.GradientNorms(**options)])
    with strategy(["CPU:0"] if strategy is tf.distribute.MirroredStrategy else "CPU:0").scope():
        model = build(keras.optimizers.SGD(0.1))
    callbacks = [tfopt.callbacks.GradientNorms(**options), tfopt.callbacks.NonFiniteGuard()]
    history = fit(model, data, callbacks)
    for name, values in alone.items():
        np.testing.assert_allclose(history[name], values, rtol=1e-5, err_msg=name)
