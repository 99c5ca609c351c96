"""Every case in which the norms must be those of the step that was taken, against a plain eager GradientTape."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfopt

OPTIMIZERS = [
    "Adadelta", "Adafactor", "Adagrad", "Adam", "Adamax", "AdamW", "Ftrl", "Lamb", "Lion", "Muon", "Nadam", "RMSprop",
    "ScheduleFreeAdamW", "SGD",
]  # fmt: skip


def measure(model, x, y, epochs=2, update_ratio=False, **arguments):
    norms = tfopt.callbacks.GradientNorms(update_ratio=update_ratio)
    history = model.fit(
        x, y, epochs=epochs, batch_size=32, shuffle=False, verbose=0, callbacks=[norms], **arguments
    ).history
    return norms, history


def by_variable(norms):
    return norms.to_frame("variable").drop(columns="step").to_numpy()


@pytest.mark.long("jit-executions")
@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [{}, {"run_eagerly": True}, {"jit_compile": True}, {"steps_per_execution": 2},
     {"jit_compile": True, "steps_per_execution": 3}],
    ids=["graph", "eager", "jit", "executions", "jit-executions"],
)  # fmt: skip
def test_every_way_to_run_a_step(build, data, tape_squares, arguments):
    data = tuple(part[:70] for part in data)  # the last batch is a partial one
    expected = np.sqrt(tape_squares(build(), *data))
    norms, history = measure(build(**arguments), *data)
    assert by_variable(norms).shape == (6, 4)  # two epochs of 32 + 32 + 6 rows
    np.testing.assert_allclose(by_variable(norms), expected, rtol=3e-7)
    total = np.sqrt((expected**2).sum(axis=1)).reshape(2, 3)
    np.testing.assert_allclose(history["grad_norm"], total.mean(axis=1), rtol=3e-7)
    np.testing.assert_allclose(history["grad_norm_max"], total.max(axis=1), rtol=3e-7)
    assert history["grad_norm_nonfinite"] == [0.0, 0.0]
    assert all(type(value) is float for values in history.values() for value in values)


@pytest.mark.slow
def test_dropout_masks_are_those_of_the_step(build, data, tape_squares):
    expected = np.sqrt(tape_squares(build(dropout=0.4), *data))
    norms, _ = measure(build(dropout=0.4), *data)
    np.testing.assert_allclose(by_variable(norms), expected, rtol=3e-7)


COVERING = ["Adam", "ScheduleFreeAdamW", "SGD"]  # one of each kind of state


@pytest.mark.slow
@pytest.mark.long(*sorted(set(OPTIMIZERS) - set(COVERING)))
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer(build, data, name):
    """The reference is a tape at the weights that each step found, whatever the optimizer made of the last gradient."""
    x, y = data
    found: list[list[np.ndarray]] = []

    class Weights(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            found.append(self.model.get_weights())

    model = build(getattr(keras.optimizers, name)(learning_rate=0.01))
    norms = tfopt.callbacks.GradientNorms()
    model.fit(x, y, batch_size=32, shuffle=False, verbose=0, callbacks=[Weights(), norms])
    expected = []
    for start, weights in zip([0, 32, 64], found, strict=True):
        model.set_weights(weights)
        with tf.GradientTape() as tape:
            loss = model.compute_loss(x[start : start + 32], y[start : start + 32], model(x[start : start + 32]))
        expected.append([np.linalg.norm(g) for g in tape.gradient(loss, model.trainable_variables)])
    np.testing.assert_allclose(by_variable(norms), expected, rtol=3e-7)
    np.testing.assert_allclose(norms.history["learning_rate"], 0.01, rtol=1e-6)


def test_no_optimizer_of_keras_was_forgotten():
    known = {*OPTIMIZERS, "LossScaleOptimizer", "MultiOptimizer", "Optimizer"}
    public = {name for name in dir(keras.optimizers) if isinstance(getattr(keras.optimizers, name), type)}
    assert {name for name in public if issubclass(getattr(keras.optimizers, name), keras.optimizers.Optimizer)} == known


CLIPPING = {
    "clipnorm": lambda g: [v * min(1.0, 0.2 / np.sqrt((v**2).sum())) for v in g],
    "global_clipnorm": lambda g: [v * min(1.0, 0.2 / np.sqrt(sum((w**2).sum() for w in g))) for v in g],
    "clipvalue": lambda g: [np.clip(v, -0.2, 0.2) for v in g],
}


@pytest.mark.long("clipvalue-None-False", "clipnorm-None-False", "clipnorm-3-False", "global_clipnorm-3-True")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "steps", "jit_compile"),
    [*((kind, steps, False) for kind in CLIPPING for steps in (None, 3)), ("global_clipnorm", 3, True)],
)
def test_before_and_after_clipping(build, data, kind, steps, jit_compile):
    """Each step by hand: the mean gradient of `steps` batches, clipped, and plain gradient descent."""
    x, y = data
    arguments = {kind: 0.2, "gradient_accumulation_steps": steps}
    model = build(keras.optimizers.SGD(0.5, **arguments), jit_compile=jit_compile)
    norms, history = measure(model, x, y, epochs=2)

    copy, waiting, before, after, ends = build(), [], [], [], []
    for index, start in enumerate([0, 32, 64] * 2):
        with tf.GradientTape() as tape:
            part = slice(start, start + 32)
            loss = copy.compute_loss(x[part], y[part], copy(x[part], training=True))
        waiting.append([np.asarray(g, np.float64) for g in tape.gradient(loss, copy.trainable_variables)])
        if (index + 1) % (steps or 1) == 0:
            mean = [np.mean(parts, axis=0) for parts in zip(*waiting, strict=True)]
            clipped, waiting = CLIPPING[kind](mean), []
            for variable, gradient in zip(copy.trainable_variables, clipped, strict=True):
                variable.assign_sub(0.5 * gradient)
            before.append(np.sqrt(sum((g**2).sum() for g in mean)))
            after.append(np.sqrt(sum((g**2).sum() for g in clipped)))
            ends.append(index)
    measured = norms.history
    np.testing.assert_allclose(measured["grad_norm"][ends], before, rtol=3e-7)
    np.testing.assert_allclose(measured["grad_norm_applied"][ends], after, rtol=3e-7)
    assert np.isnan(np.delete(measured["grad_norm"], ends)).all()
    bitten = np.array(after) < np.array(before) * (1 - 1e-9)
    of_epochs = [bitten[np.array(ends) // 3 == epoch].mean() for epoch in (0, 1)]
    np.testing.assert_allclose(history["grad_norm_clipped"], of_epochs, atol=1e-9)
    for ours, plain in zip(model.get_weights(), copy.get_weights(), strict=True):
        np.testing.assert_allclose(ours, plain, atol=1e-5)


@pytest.mark.slow
def test_clipping_that_never_bites(build, data):
    norms, history = measure(build(keras.optimizers.SGD(0.01, clipvalue=50.0)), *data)
    assert history["grad_norm_clipped"] == [0.0, 0.0]
    assert history["grad_norm_applied"] == history["grad_norm"]
    assert (norms.history["grad_norm_clipped"] == 0).all()


@pytest.mark.slow
def test_moving_average_of_the_weights(build, data, tape_squares):
    def make():
        return keras.optimizers.Adam(0.01, use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=2)

    expected = np.sqrt(tape_squares(build(make()), *data))
    norms, _ = measure(build(make()), *data)
    np.testing.assert_allclose(by_variable(norms), expected, rtol=3e-7)


@pytest.mark.slow
def test_constant_loss_scale_is_undone(build, data, tape_squares):
    expected = np.sqrt(tape_squares(build(keras.optimizers.SGD(0.1)), *data))
    norms, _ = measure(build(keras.optimizers.SGD(0.1, loss_scale_factor=128.0)), *data)
    np.testing.assert_allclose(by_variable(norms), expected, rtol=3e-7)


@pytest.mark.slow
def test_several_optimizers_in_one(build, data, tape_squares):
    def make():
        rules = {".*last/.*": keras.optimizers.SGD(0.1, global_clipnorm=0.05)}
        default = keras.optimizers.Adam(0.01)
        return keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(default, rules))

    squares = tape_squares(build(make()), *data)
    norms, _ = measure(build(make()), *data)
    frame = norms.to_frame("variable").drop(columns="step")
    for column, path in enumerate(["first/kernel", "first/bias", "last/kernel", "last/bias"]):
        (name,) = [name for name in frame if name.endswith(path)]
        np.testing.assert_allclose(frame[name], np.sqrt(squares[:, column]), rtol=3e-7)
    expected = np.sqrt(squares[:, :2].sum(axis=1) + np.minimum(squares[:, 2:].sum(axis=1), 0.05**2))
    np.testing.assert_allclose(norms.history["grad_norm_applied"], expected, rtol=3e-7)
    rates = {key: values for key, values in norms.history.items() if key.startswith("learning_rate_")}
    np.testing.assert_allclose(next(rates[key] for key in rates if "sgd" in key), 0.1, rtol=1e-6)
    np.testing.assert_allclose(next(rates[key] for key in rates if "adam" in key), 0.01, rtol=1e-6)


@pytest.mark.slow
def test_learning_rate_of_a_schedule_is_that_of_the_step(build, data):
    schedule = keras.optimizers.schedules.PolynomialDecay(0.1, 6, end_learning_rate=0.0)
    norms, _ = measure(build(keras.optimizers.SGD(schedule)), *data)
    np.testing.assert_allclose(norms.history["learning_rate"], 0.1 * (1 - np.arange(6) / 6), rtol=1e-5)


@pytest.mark.long("arguments2-False", "arguments3-False", "arguments4-True")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "jit_compile"),
    [
        ({}, False),
        ({"global_clipnorm": 0.05}, False),
        ({"clipnorm": 0.05}, False),
        ({"clipvalue": 0.01}, False),
        ({"clipnorm": 0.05}, True),
    ],
)
def test_sparse_gradients_with_repeated_rows(arguments, jit_compile):
    """Keras clips by the norm of the rows before repeats are summed, and applies their sum."""
    x = np.array([[1, 1, 2], [2, 2, 2], [0, 1, 3], [3, 3, 3]])
    y = np.array([[1.0], [0.0], [2.0], [1.0]], "float32")

    def make():
        keras.utils.set_random_seed(0)
        layers = [keras.Input((3,), dtype="int32"), keras.layers.Embedding(5, 4), keras.layers.Flatten()]
        model = keras.Sequential([*layers, keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(0.1, **arguments), "mse", jit_compile=jit_compile)
        return model

    norms, _ = measure(make(), x, y, epochs=1)
    model = make()
    with tf.GradientTape() as tape:
        loss = model.compute_loss(x, y, model(x, training=True))
    gradients = tape.gradient(loss, model.trainable_variables)
    assert isinstance(gradients[0], tf.IndexedSlices)
    dense = [tf.convert_to_tensor(g).numpy() for g in gradients]
    np.testing.assert_allclose(by_variable(norms)[0], [np.linalg.norm(g) for g in dense], rtol=2e-6)
    before = model.get_weights()
    model.optimizer.apply(gradients, model.trainable_variables)
    applied = np.sqrt(sum((((b - a) / 0.1) ** 2).sum() for a, b in zip(model.get_weights(), before, strict=True)))
    if arguments:
        np.testing.assert_allclose(norms.history["grad_norm_applied"], [applied], rtol=2e-6)
        assert norms.history["grad_norm_clipped"] == [1.0]


def test_a_variable_without_gradient_is_left_out(data):
    class Partial(keras.Model):
        def __init__(self):
            super().__init__()
            self.used, self.unused = keras.layers.Dense(3, name="used"), keras.layers.Dense(3, name="unused")

        def build(self, shape):
            self.used.build(shape)
            self.unused.build(shape)

        def call(self, x):
            return self.used(x)

    keras.utils.set_random_seed(0)
    model = Partial()
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    with pytest.warns(UserWarning, match="Gradients do not exist"):
        norms, history = measure(model, *data, epochs=1)
    assert np.isnan(norms.history["grad_norm/unused"]).all()
    np.testing.assert_allclose(norms.history["grad_norm"], norms.history["grad_norm/used"])
    assert history["grad_norm_nonfinite"] == [0.0]


@pytest.mark.long("jit")
@pytest.mark.slow
@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "jit"])
def test_mixed_precision_with_skipped_steps(data, jit_compile):
    """The scale starts so high that float16 overflows: those steps are skipped, counted, and no part of the mean."""
    x, y = data

    def make(policy, optimizer):
        keras.utils.set_random_seed(1)
        layers = [keras.Input((5,)), keras.layers.Dense(6, "tanh", dtype=policy), keras.layers.Dense(3, dtype=policy)]
        model = keras.Sequential(layers)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer, loss, jit_compile=jit_compile)
        return model

    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1, global_clipnorm=0.3), initial_scale=2.0**21)
    norms, history = measure(make("mixed_float16", scaled), x, y, update_ratio=True)
    skipped = [entry["step"] for entry in norms.nonfinite]
    assert 1 <= len(skipped) < 6
    assert 6 - len(skipped) == int(scaled.iterations)
    assert all(entry["skipped"] for entry in norms.nonfinite)
    assert sum(history["grad_norm_nonfinite"]) == len(skipped)
    assert np.flatnonzero(np.isnan(norms.history["update_ratio"])).tolist() == skipped

    plain = make("float32", keras.optimizers.SGD(0.1, global_clipnorm=0.3))
    for index, start in enumerate([0, 32, 64] * 2):
        part = slice(start, start + 32)
        with tf.GradientTape() as tape:
            loss = plain.compute_loss(x[part], y[part], plain(x[part], training=True))
        gradients = tape.gradient(loss, plain.trainable_variables)
        if index not in skipped:
            total = float(tf.linalg.global_norm(gradients))
            np.testing.assert_allclose(norms.history["grad_norm"][index], total, rtol=4e-4)
            np.testing.assert_allclose(norms.history["grad_norm_applied"][index], min(total, 0.3), rtol=4e-4)
            plain.optimizer.apply(gradients, plain.trainable_variables)


def test_sample_and_class_weights_count(build, data):
    x, y = data
    weights = np.linspace(0, 2, len(x)).astype("float32")
    norms, _ = measure(build(), x, y, epochs=1, sample_weight=weights)
    model = build()
    with tf.GradientTape() as tape:
        loss = model.compute_loss(x[:32], y[:32], model(x[:32]), sample_weight=weights[:32])
    gradients = tape.gradient(loss, model.trainable_variables)
    np.testing.assert_allclose(norms.history["grad_norm"][0], float(tf.linalg.global_norm(gradients)), rtol=3e-7)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "arguments"),
    [("apply", {}), ("apply", {"jit_compile": True}), ("apply_gradients", {"steps_per_execution": 2})],
)
def test_custom_train_step(data, tape_squares, method, arguments):
    class Custom(keras.Sequential):
        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                loss = self.compute_loss(x, y, self(x, training=True))
            gradients = tape.gradient(loss, self.trainable_variables)
            if method == "apply":
                self.optimizer.apply(gradients, self.trainable_variables)
            else:
                self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
            return {"custom": loss}

    def make(**compile_arguments):
        keras.utils.set_random_seed(0)
        model = Custom([keras.Input((5,)), keras.layers.Dense(4, "tanh"), keras.layers.Dense(3)])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(0.2), loss, **compile_arguments)
        return model

    expected = np.sqrt(tape_squares(make(), *data))
    norms, history = measure(make(**arguments), *data)
    np.testing.assert_allclose(by_variable(norms), expected, rtol=2e-6)
    assert {"custom", "grad_norm"} <= set(history)


@pytest.mark.slow
def test_two_networks_with_two_optimizers():
    """A GAN: gradients of both players, told apart by the attribute that holds the optimizer."""

    class Adversaries(keras.Model):
        def __init__(self):
            super().__init__()
            self.generator = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
            self.judge = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])

        def compile(self, judge_optimizer, generator_optimizer):
            super().compile()
            self.judge_optimizer, self.generator_optimizer = judge_optimizer, generator_optimizer

        def train_step(self, real):
            noise = tf.ones((tf.shape(real)[0], 2))
            for player, optimizer, sign in (
                (self.judge, self.judge_optimizer, 1.0),
                (self.generator, self.generator_optimizer, -1.0),
            ):
                with tf.GradientTape() as tape:
                    gap = tf.reduce_mean(self.judge(self.generator(noise))) - tf.reduce_mean(self.judge(real))
                    loss = sign * gap
                optimizer.apply(tape.gradient(loss, player.trainable_variables), player.trainable_variables)
            return {"gap": gap}

    keras.utils.set_random_seed(0)
    model = Adversaries()
    model.compile(keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.2))
    real = np.random.default_rng(0).normal(size=(24, 3)).astype("float32")
    norms = tfopt.callbacks.GradientNorms()

    judge, generator = (net.get_weights() for net in (model.judge, model.generator))
    history = model.fit(real, batch_size=8, epochs=1, shuffle=False, verbose=0, callbacks=[norms]).history
    expected: dict[str, list[float]] = {"judge_optimizer": [], "generator_optimizer": []}
    w, (a, c) = judge[0], generator
    for start in range(0, 24, 8):  # the derivatives by hand: the gap is linear in every weight
        fake = np.ones(2) @ a + c
        step = (fake - real[start : start + 8].mean(axis=0))[:, None]
        expected["judge_optimizer"].append(np.linalg.norm(step))
        w = w - 0.1 * step
        gradient_a, gradient_c = -np.ones((2, 1)) @ w.T, -w[:, 0]
        expected["generator_optimizer"].append(np.sqrt((gradient_a**2).sum() + (gradient_c**2).sum()))
        a, c = a - 0.2 * gradient_a, c - 0.2 * gradient_c
    frame = norms.to_frame()
    for name, values in expected.items():
        assert frame[frame.optimizer == name].step.tolist() == [0, 1, 2]
        np.testing.assert_allclose(frame[frame.optimizer == name].grad_norm, values, rtol=3e-7)
        np.testing.assert_allclose(history[f"grad_norm_{name}"], [np.mean(values)], rtol=3e-7)
    np.testing.assert_allclose(history["grad_norm"], [np.mean(list(expected.values()))], rtol=3e-7)


@pytest.mark.slow
def test_more_steps_than_the_buffer_holds(build, data, tape_squares, monkeypatch):
    monkeypatch.setattr("tfopt.callbacks._gradient_tap._MOST_ROWS", 4)
    x, y = (part[:63] for part in data)
    expected = tape_squares(build(), x, y, batch_size=1)
    norms = tfopt.callbacks.GradientNorms()
    build(steps_per_execution=7).fit(x, y, epochs=2, batch_size=1, shuffle=False, verbose=0, callbacks=[norms])
    assert norms.history["step"].tolist() == list(range(126))
    np.testing.assert_allclose(norms.history["grad_norm"], np.sqrt(expected.sum(axis=1)), rtol=3e-7)


@pytest.mark.slow
def test_several_applies_in_each_batch(data, monkeypatch):
    monkeypatch.setattr("tfopt.callbacks._gradient_tap._MOST_ROWS", 4)

    class Twice(keras.Sequential):
        def train_step(self, data):
            x, y = data
            for _ in range(20):
                with tf.GradientTape() as tape:
                    loss = self.compute_loss(x, y, self(x, training=True))
                self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
            return {"custom": loss}

    model = Twice([keras.Input((5,)), keras.layers.Dense(3)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), run_eagerly=True)
    norms, _ = measure(model, *data, epochs=1)
    assert norms.history["step"].tolist() == list(range(60))
    assert np.isfinite(norms.history["grad_norm"]).all()


@pytest.mark.slow
def test_update_ratio_and_cosine(build, data):
    """For plain gradient descent ``Δw = −ηg``, so both follow from the weights before and after each step."""
    x, y = data
    seen: list[list[np.ndarray]] = []

    class Weights(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            seen.append(self.model.get_weights())

        def on_train_end(self, logs=None):
            seen.append(self.model.get_weights())

    norms = tfopt.callbacks.GradientNorms(update_ratio=True, cosine=True)
    history = (
        build(keras.optimizers.SGD(0.3))
        .fit(x, y, epochs=2, batch_size=32, shuffle=False, verbose=0, callbacks=[Weights(), norms])
        .history
    )
    flat = np.array([np.concatenate([w.ravel() for w in weights]) for weights in seen])
    moves = np.diff(flat, axis=0)
    ratio = np.linalg.norm(moves, axis=1) / np.linalg.norm(flat[1:], axis=1)
    np.testing.assert_allclose(norms.history["update_ratio"], ratio, rtol=3e-7)
    lengths = np.linalg.norm(moves, axis=1)
    cosine = (moves[1:] * moves[:-1]).sum(axis=1) / (lengths[1:] * lengths[:-1])
    assert np.isnan(norms.history["grad_cosine"][0])
    np.testing.assert_allclose(norms.history["grad_cosine"][1:], cosine, atol=1e-4)
    assert {"update_ratio", "grad_cosine"} <= set(history)
    first = np.linalg.norm(moves[:, :36], axis=1) / np.linalg.norm(flat[1:, :36], axis=1)
    np.testing.assert_allclose(norms.history["update_ratio/first"], first, rtol=3e-7)
