"""Six models with dropout of every kind: nothing in training changes, and every number has an independent check."""

import copy
import functools
import pickle
import random

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

import tfopt
from tfopt.callbacks import DropoutEffects, GradientNorms

L = keras.layers
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.hidden, self.drop = L.Dense(8, "relu"), L.Dropout(0.4)
        self.blocks = [L.Dense(8, "relu"), self.drop]  # the same layer twice
        self.head = keras.Sequential([L.GaussianDropout(0.2), L.Dense(3)])

    def call(self, x, training=False):
        x = self.drop(self.hidden(x), training=training)
        for layer in self.blocks:
            x = layer(x)
        return self.head(x, training=training)


class Unseeded(L.Layer):
    """Drops by hand, from the global generator."""

    def __init__(self):
        super().__init__()
        self.seed_generator = keras.random.SeedGenerator()

    def call(self, x, training=False):
        return keras.random.dropout(x, 0.3) if training else x


def sequential():
    return keras.Sequential(
        [keras.Input((6,)), L.Dense(16, "relu"), L.BatchNormalization(), L.Dropout(0.5), L.Dense(8), L.Dense(3)]
    )


def small():
    return keras.Sequential([keras.Input((6,)), L.Dense(4, "relu"), L.Dropout(0.5), L.Dense(3)])


def functional():
    inputs = keras.Input((6,))
    inner = keras.Sequential([keras.Input((8,)), L.Dense(8, "selu"), L.AlphaDropout(0.2)])
    x = L.Dropout(0.3)(L.Dense(8, "relu")(inputs))
    return keras.Model(inputs, L.Dense(3)(L.add([x, inner(x)])))


def global_generator():
    return keras.Sequential([keras.Input((6,)), L.Dense(8, "relu"), Unseeded(), L.Dense(3)])


def recurrent():
    layers = [keras.Input((6,)), L.Reshape((3, 2)), L.Bidirectional(L.SimpleRNN(3, dropout=0.3, return_sequences=True))]
    return keras.Sequential([*layers, L.GRU(4, recurrent_dropout=0.3), L.Dense(3)])


def convolution_and_attention():
    inputs = keras.Input((6,))
    x = L.Conv2D(4, 2, padding="same")(L.Reshape((3, 2, 1))(inputs))
    x = L.Reshape((3, 8))(L.SpatialDropout2D(0.4)(x))
    x = L.MultiHeadAttention(2, 2, dropout=0.3)(x, x)
    x = L.Attention(dropout=0.2)([x, x])
    return keras.Model(inputs, L.Dense(3)(L.BatchNormalization()(L.Flatten()(x))))


MODELS = {
    "Sequential and normalisation": sequential,
    "functional, nested": functional,
    "subclassed, shared": Subclassed,
    "global generator": global_generator,
    "recurrent": recurrent,
    "convolution and attention": convolution_and_attention,
}


@pytest.fixture(scope="module")
def rows():
    generator = np.random.default_rng(1)
    return generator.normal(size=(96, 6)).astype("float32"), generator.integers(0, 3, 96)


def train(make, rows, callbacks, **arguments):
    keras.utils.set_random_seed(5)
    model = make()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss, **arguments)
    history = model.fit(*rows, epochs=3, batch_size=32, verbose=0, callbacks=callbacks).history
    streams = [random.getstate()[1], np.random.get_state()[1]]
    later = L.Dropout(0.5)  # what the user builds next must not be another one
    state = [np.asarray(v) for v in [*model.variables, *model.optimizer.variables]] + [np.asarray(s) for s in streams]
    return model, history, [*state, np.asarray(later.seed_generator.state)], later.name


@pytest.fixture(scope="module")
def train_plainly(rows):
    """Train without callbacks, each model once."""
    return functools.cache(lambda make: train(make, rows, []))


class Naive(keras.callbacks.Callback):
    """The usual recipe."""

    def on_epoch_end(self, epoch, logs=None):
        self.model(tf.ones((4, 6)), training=True)


@pytest.mark.slow
@pytest.mark.long("subclassed, shared", "recurrent", "convolution and attention", "functional, nested")
@pytest.mark.parametrize("name", MODELS)
def test_training_is_untouched(rows, train_plainly, name):
    probe = tuple(part[:24] for part in rows)
    effects = DropoutEffects(probe, draws=2, each_layer=True)
    _, _, expected, plain_name = train_plainly(MODELS[name])
    _, history, measured, next_name = train(MODELS[name], rows, [effects, GradientNorms()])
    for ours, theirs in zip(measured, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert plain_name.rsplit("_", 1)[0] == next_name.rsplit("_", 1)[0]
    for key in ("dropout_gap", "dropout_flip_rate", "dropout_mutual_info"):
        assert len(history[key]) == 3
        assert all(type(value) is float and np.isfinite(value) for value in history[key])
    assert max(history["dropout_mutual_info"]) > 0
    expected_layers = {
        "functional, nested": 2,
        "subclassed, shared": 2,
        "recurrent": 3,
        "convolution and attention": 3,
    }.get(name, 1)
    assert len(effects.history[0]["layers"]) == expected_layers


@pytest.mark.slow
def test_the_usual_recipe_changes_the_weights(rows, train_plainly):
    """What the test above would catch."""
    _, _, expected, _ = train_plainly(sequential)
    _, _, naive, _ = train(sequential, rows, [Naive()])
    assert any(not np.array_equal(a, b) for a, b in zip(naive, expected, strict=True))


@pytest.mark.long("{'jit_compile': True}")
@pytest.mark.slow
@pytest.mark.parametrize("arguments", [{"jit_compile": True}, {"run_eagerly": True}], ids=str)
def test_untouched_under_xla_and_eagerly(rows, arguments):
    _, _, expected, _ = train(small, rows, [], **arguments)
    effects = DropoutEffects(tuple(part[:24] for part in rows), draws=1, gradient_directions=True)
    _, _, measured, _ = train(small, rows, [effects], **arguments)
    for ours, theirs in zip(measured, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def linear(rate_layer, rows=4000, units=6, offset=1.0):
    """A model that is one dropping layer between a fixed input and a plain sum, so that everything is known."""
    keras.utils.set_random_seed(0)
    head = L.Dense(1, kernel_initializer="ones")
    model = keras.Sequential([keras.Input((units,)), rate_layer, head])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    x = (np.random.default_rng(0).normal(size=(rows, units)) + offset).astype("float32")
    return model, x, x.sum(axis=1, keepdims=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layer", "rate"),
    [
        (lambda: L.Dropout(0.5), 0.5),
        (lambda: L.Dropout(0.2), 0.2),
        (lambda: L.GaussianDropout(0.3), 0.3),
        (lambda: L.AlphaDropout(0.25), 0.25),
        (lambda: tfopt.layers.Dropout(0.4), 0.4),
    ],
    ids=["half", "fifth", "gaussian", "alpha", "changing"],
)
def test_fractions_shift_and_variance(layer, rate):
    model, x, y = linear(layer())
    effects = DropoutEffects((x, y), draws=4)
    history = model.fit(x, y, epochs=1, verbose=0, batch_size=2000, callbacks=[effects]).history
    (measured,) = effects.history[0]["layers"].values()
    assert measured["drop_fraction"] == pytest.approx(rate, abs=0.02)
    assert measured["rate"] == pytest.approx(rate, abs=1e-6)
    if rate != 0.25:
        mean, variance = x.mean(dtype=float), x.var(dtype=float)
        theory = ((mean**2 + variance) / (1 - rate) - mean**2) / variance
        assert measured["variance_ratio_theory"] == pytest.approx(theory, rel=1e-3)
        assert measured["variance_ratio"] == pytest.approx(theory, rel=0.05)
        assert abs(measured["mean_shift"]) < 0.03
        # The output is the sum over the units, so dropout adds Var = Σ E[x²] p/(1 − p) to it, which is the whole loss.
        added = (x.astype(float) ** 2).sum(axis=1).mean() * rate / (1 - rate)
        assert effects.history[0]["loss_off"] == pytest.approx(0.0, abs=1e-9)
        assert effects.history[0]["gap"] == pytest.approx(added, rel=0.05)
        assert history["dropout_variance"][0] == pytest.approx(added * 3 / 4, rel=0.1)
    assert measured["coadaptation"] == pytest.approx(measured["coadaptation_floor"], abs=0.02)
    assert np.isnan(history["dropout_flip_rate"][0])


def test_units_that_lean_on_each_other_are_seen():
    model, x, y = linear(L.Dropout(0.5))
    x[:, 1] = -x[:, 0]
    x[:, 2] = 0.0
    effects = DropoutEffects((x, y))
    effects.set_model(model)
    (measured,) = effects.measure()["layers"].values()
    assert measured["dead_units"] == pytest.approx(1 / 6)
    assert measured["sparsity"] == pytest.approx(1 / 6, abs=1e-3)
    matrix = np.abs(np.corrcoef(np.delete(x, 2, axis=1).T))
    assert measured["coadaptation"] == pytest.approx((matrix.sum() - 5) / 20, abs=1e-3)
    # The mean size of the correlation of independent units, whose standard deviation is 1 / sqrt(rows - 1).
    floor = stats.halfnorm(scale=(len(x) - 1) ** -0.5).mean()
    assert measured["coadaptation_floor"] == pytest.approx(floor, rel=1e-5)


def test_only_and_without_add_up_when_layers_do_not_interact():
    """Two parallel branches that are summed: squared error makes the gaps of the branches add."""
    inputs = keras.Input((4,))
    branches = [L.Dropout(rate, name=name)(inputs) for rate, name in ((0.5, "a"), (0.2, "b"))]
    head = L.Dense(1, kernel_initializer="ones", use_bias=False)
    model = keras.Model(inputs, head(L.concatenate(branches)))
    model.compile("sgd", "mse")
    x = np.random.default_rng(0).normal(size=(5000, 4)).astype("float32")
    effects = DropoutEffects((x, 2 * x.sum(axis=1, keepdims=True)), draws=8, each_layer=True)
    effects.set_model(model)
    measured = effects.measure()
    only = {name: layer["gap_only"] for name, layer in measured["layers"].items()}
    assert only["a"] == pytest.approx(4 * 1.0, rel=0.05)  # Σ E[x²] p/(1 − p)
    assert only["b"] == pytest.approx(4 * 0.25, rel=0.05)
    assert measured["gap"] == pytest.approx(sum(only.values()), rel=0.03)
    assert measured["layers"]["a"]["gap_without"] == pytest.approx(only["b"], rel=0.05)


def test_flips_entropy_and_information_by_hand():
    """One unit carries the class; dropping it leaves the uniform prediction, whose first class wins."""
    model = keras.Sequential([keras.Input((1,)), L.Dropout(0.25), L.Dense(2, use_bias=False)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.set_weights([np.array([[-20.0, 20.0]])])
    effects = DropoutEffects((np.ones((500, 1)), np.ones(500)), draws=20)
    effects.set_model(model)
    measured = effects.measure()
    assert measured["flip_rate"] == pytest.approx(0.25, abs=0.02)
    assert measured["gap"] == pytest.approx(0.25 * np.log(2), abs=0.02)
    p = np.array([0.125, 0.875])  # 3/4 certain, 1/4 even
    assert measured["entropy"] == pytest.approx(-(p * np.log(p)).sum(), abs=0.03)
    assert measured["mutual_info"] == pytest.approx(-(p * np.log(p)).sum() - 0.25 * np.log(2), abs=0.03)


@pytest.mark.parametrize(
    ("loss", "units", "labels"),
    [
        (keras.losses.BinaryCrossentropy(from_logits=True), 1, np.ones((40, 1))),
        ("binary_crossentropy", 1, np.ones((40, 1))),
        ("categorical_crossentropy", 2, np.eye(2)[np.ones(40, int)]),
    ],
    ids=["binary logits", "binary", "one-hot"],
)
def test_every_classification_loss_is_recognised(loss, units, labels):
    activation = None if not isinstance(loss, str) else "sigmoid" if units == 1 else "softmax"
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), L.Dropout(0.5), L.Dense(units, activation)])
    model.compile("sgd", loss)
    x = np.random.default_rng(0).normal(size=(40, 4)).astype("float32")
    effects = DropoutEffects((x, labels))
    effects.set_model(model)
    measured = effects.measure()
    assert 0 < measured["flip_rate"] < 1
    assert 0 < measured["mutual_info"] < measured["entropy"] <= np.log(2) + 1e-6


@pytest.mark.slow
def test_gradient_directions_against_tapes(rows):
    """Without dropout the eighths' gradients can be had by plain tapes; dropout turns them away."""
    keras.utils.set_random_seed(0)
    model = sequential()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss)
    effects = DropoutEffects(rows, draws=1, gradient_directions=True)
    effects.set_model(model)
    measured = effects.measure()

    def slope(part):
        with tf.GradientTape() as tape:
            value = loss(rows[1][part], model(rows[0][part], training=False))
        return np.concatenate([np.ravel(g) for g in tape.gradient(value, model.trainable_variables)])

    slopes = np.stack([slope(slice(start, start + 12)) for start in range(0, 96, 12)])
    units = slopes / np.linalg.norm(slopes, axis=1, keepdims=True)
    pairs = [(1 - units[i] @ units[j]) / 2 for i in range(8) for j in range(i)]
    whole = slope(slice(None))
    assert measured["direction_spread_off"] == pytest.approx(np.mean(pairs), abs=1e-5)
    assert measured["direction_error_off"] == pytest.approx(
        np.mean((1 - units @ whole / np.linalg.norm(whole)) / 2), abs=1e-5
    )
    assert 0 < measured["direction_spread_on"] < 1
    assert measured["direction_error_on"] > measured["direction_error_off"]


@pytest.mark.slow
def test_every_and_the_same_masks(rows):
    effects = DropoutEffects(tuple(part[:24] for part in rows), every=2)
    model, history, _, _ = train(sequential, rows, [effects], run_eagerly=True)
    assert np.isfinite(history["dropout_gap"][0])
    assert np.isnan(history["dropout_gap"][1])
    assert np.isfinite(history["dropout_gap"][2])
    effects.set_model(model)
    assert effects.measure() == effects.measure()


@pytest.mark.slow
def test_a_history_listed_first_is_completed(rows):
    history = keras.callbacks.History()
    effects = DropoutEffects(tuple(part[:24] for part in rows))
    train(sequential, rows, [history, effects], run_eagerly=True)
    assert history.history["dropout_gap"] == [row["gap"] for row in effects.history]


def test_a_model_without_dropout_has_no_effects(rows, caplog):
    def make():
        return keras.Sequential([keras.Input((6,)), L.Dense(3)])

    _, history, _, _ = train(make, rows, [DropoutEffects(rows)], run_eagerly=True)
    assert history["dropout_gap"] == history["dropout_flip_rate"] == [0.0, 0.0, 0.0]
    assert "no layer of" in caplog.text


def test_dropout_that_the_user_keeps_on_is_marked():
    class Kept(keras.Model):
        def __init__(self):
            super().__init__()
            self.drop, self.head = L.Dropout(0.5, name="mc"), L.Dense(2)

        def call(self, x):
            return self.head(self.drop(x, training=True))

    model = Kept()
    model.compile("sgd", "mse")
    effects = DropoutEffects((np.ones((8, 4)), np.ones((8, 2))))
    effects.set_model(model)
    assert effects.measure()["layers"]["mc"]["always_on"]


@pytest.mark.slow
def test_frames_files_and_picture(rows, tmp_path):
    import matplotlib.pyplot as plt

    effects = DropoutEffects(tuple(part[:24] for part in rows), draws=2)
    with pytest.raises(ValueError, match="nothing to plot"):
        effects.plot()
    train(functional, rows, [effects], run_eagerly=True)
    assert effects.to_frame()["gap"].tolist() == [row["gap"] for row in effects.history]
    layers = effects.to_frame(by="layer")
    assert len(layers) == 6
    assert {"drop_fraction", "variance_ratio", "coadaptation"} <= set(layers)
    effects.to_csv(tmp_path / "layers.csv", by="layer")
    assert (tmp_path / "layers.csv").read_text().startswith("epoch,layer,")
    ax = effects.plot(quantity="coadaptation")
    assert len(ax.lines) == 3
    np.testing.assert_allclose(ax.lines[0].get_ydata(), layers["coadaptation"][::2])
    with pytest.raises(ValueError, match="`quantity`"):
        effects.plot(quantity="nothing")
    with pytest.raises(ValueError, match="Argument `by`"):
        effects.to_frame(by="unit")
    plt.close("all")
    for twin in (copy.deepcopy(effects), pickle.loads(pickle.dumps(effects))):
        assert twin.to_frame(by="layer").equals(layers)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"probe": np.ones((3, 3))}, "Argument `probe`"),
        ({"probe": (1,)}, "length 1"),
        ({"probe": (1, 2), "draws": 0}, "`draws`"),
        ({"probe": (1, 2), "every": 0}, "`every`"),
    ],
)
def test_arguments_are_checked(arguments, match):
    with pytest.raises(ValueError, match=match):
        DropoutEffects(**arguments)


@pytest.mark.slow
def test_mixed_precision_is_untouched(rows):
    def make():
        keras.mixed_precision.set_global_policy("mixed_float16")
        try:
            return small()
        finally:
            keras.mixed_precision.set_global_policy("float32")

    _, _, expected, _ = train(make, rows, [], run_eagerly=True)
    effects = DropoutEffects(tuple(part[:24] for part in rows))
    _, history, measured, _ = train(make, rows, [effects], run_eagerly=True)
    assert all(np.isfinite(history["dropout_gap"]))
    for ours, theirs in zip(measured, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
def test_named_inputs_and_several_outputs(rows):
    """The loss is that of all outputs, the classes those of the first; the running means of training stay its own."""
    x, labels = rows
    inputs = {"a": x[:, :3], "b": x[:, 3:]}
    targets = {"kind": labels, "size": x[:, :1]}

    def make():
        keras.utils.set_random_seed(0)
        entries = {name: keras.Input((3,), name=name) for name in inputs}
        hidden = L.Dropout(0.4)(L.Dense(8, "relu")(L.concatenate(list(entries.values()))))
        model = keras.Model(entries, {"kind": L.Dense(3, name="kind")(hidden), "size": L.Dense(1, name="size")(hidden)})
        loss = {"kind": keras.losses.SparseCategoricalCrossentropy(from_logits=True), "size": "mse"}
        model.compile("adam", loss)
        return model

    plain, measured = make(), make()
    expected = plain.fit(inputs, targets, epochs=2, verbose=0).history
    effects = DropoutEffects((inputs, targets))
    history = measured.fit(inputs, targets, epochs=2, verbose=0, callbacks=[effects]).history
    assert 0 < history["dropout_flip_rate"][-1] < 1
    assert history["dropout_gap"][-1] > 0
    assert {key: history[key] for key in expected} == expected
    for ours, theirs in zip(measured.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    means = [float(variable) for variable in measured.metrics_variables]
    effects.measure()
    assert [float(variable) for variable in measured.metrics_variables] == means
