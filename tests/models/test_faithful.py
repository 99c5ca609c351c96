"""RealMLP and TabM step by step as the papers' formulas say: forward passes and optimizers written out in float64."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfopt import initializers, models

RNG = np.random.default_rng(0)
N, T, STEPS = 40, 12, 7
NUMBERS = RNG.normal(size=(N, 2)) * [1, 20] + [0, 5]
CODES = np.column_stack([RNG.integers(-1, 2, N), RNG.integers(0, 4, N), RNG.integers(-1, 12, N)])
X = np.concatenate([NUMBERS, CODES], axis=1).astype("float32")
COLUMNS = ["number", "number", 2, 4, 12]
CLASSES = RNG.integers(0, 3, N)
VALUES = RNG.normal(size=N) * 7 + 30


def robust(columns):
    """Sec. 2: median, interquartile range or half the range, smooth clip."""
    lower, middle, upper = np.percentile(columns, [25, 50, 75], axis=0)
    spread = np.where(upper > lower, upper - lower, (columns.max(0) - columns.min(0)) / 2)
    z = (columns - middle) / np.where(spread > 0, spread, np.inf)
    return z / np.sqrt(1 + (z / 3) ** 2)


def one_hots(codes, levels):
    return (codes[:, None] == np.arange(levels)).astype("float64")


def adam(parameters, gradients, state, step, rates, decay, betas, epsilon=1e-8):
    """Decoupled decay (Loshchilov and Hutter, 2019) and Adam as Kingma and Ba (2015) compute it, end of Sec. 2."""
    for name, gradient in gradients.items():
        m, v = state.setdefault(name, [0.0, 0.0])
        m, v = betas[0] * m + (1 - betas[0]) * gradient, betas[1] * v + (1 - betas[1]) * gradient**2
        state[name] = [m, v]
        rate = rates(name)
        parameters[name] = parameters[name] * (1 - rate * decay(name))
        rate = rate * np.sqrt(1 - betas[1] ** (step + 1)) / (1 - betas[0] ** (step + 1))
        parameters[name] = parameters[name] - rate * m / (np.sqrt(v) + epsilon)


def trained(loss_of, parameters, step_of, steps):
    state, losses = {}, []
    for step in range(steps):
        tensors = {name: tf.constant(value, tf.float64) for name, value in parameters.items()}
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            loss = loss_of(tensors)
        gradients = {name: np.asarray(tf.convert_to_tensor(g)) for name, g in tape.gradient(loss, tensors).items()}
        losses.append(float(loss))
        step_of(parameters, gradients, state, step)
    return losses


def smoothed_crossentropy(logits, classes, smoothing):
    targets = np.eye(3)[classes] * (1 - smoothing) + smoothing / 3
    return -tf.reduce_mean(tf.reduce_sum(targets * tf.nn.log_softmax(logits), axis=-1))


def realmlp_parameters(model):
    found = {}
    for layer in model.layers:
        for name in ("kernel", "bias", "weight", "table", "frequencies", "phases"):
            weight = getattr(layer, name, None)
            if weight is not None:
                found[f"{layer.name}.{name}"] = weight.numpy().astype("float64")
    return found


@pytest.mark.long("classification")
@pytest.mark.slow
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_realmlp(task):
    keras.utils.set_random_seed(1)
    classes = task == "classification"
    y = CLASSES if classes else VALUES
    model = models.realmlp(COLUMNS, task, T, 3 if classes else None, units=6, num_layers=2, dropout=0.0)
    initializers.from_data(model, X, y)
    parameters = realmlp_parameters(model)
    dense = [layer.name for layer in model.layers if layer.name.startswith("neural_tangent")] + ["outputs"]
    shapes = [layer.name for layer in model.layers if layer.name.startswith("parametric")]

    signs = np.select([CODES[:, 0] == 0, CODES[:, 0] == 1], [-1.0, 1.0], 0.0)
    indicators = robust(np.column_stack([signs, one_hots(CODES[:, 1], 4)]))
    places = np.where(CODES[:, 2] >= 0, CODES[:, 2], 12)
    numbers = robust(X[:, :2].astype("float64"))

    def activation(z):
        if classes:
            return 1.0507009873554805 * tf.where(z > 0, z, 1.6732632423543772 * tf.math.expm1(z))
        return z * tf.tanh(tf.math.softplus(z))

    def loss_of(p):
        x = tf.constant(numbers)[:, :, None]
        waves = tf.cos(2 * np.pi * p["waves.frequencies"] * x + p["waves.phases"])
        waves = tf.einsum("nfw,fwu->nfu", waves, p["waves.kernel"]) + p["waves.bias"]
        waves = tf.reshape(tf.concat([waves, x], axis=-1), (N, -1))
        vectors = tf.gather(p["category_vectors.table"], places)
        hidden = tf.concat([waves, indicators, vectors], axis=1) * p["input_factors.weight"]
        for name, shape in zip(dense, [*shapes, None], strict=True):
            hidden = hidden @ p[f"{name}.kernel"] / np.sqrt(hidden.shape[1]) + p[f"{name}.bias"]
            if shape is not None:
                hidden = hidden + p[f"{shape}.weight"] * (activation(hidden) - hidden)
        if classes:
            return smoothed_crossentropy(hidden, CLASSES, 0.1)
        targets = (VALUES - VALUES.mean()) / VALUES.std()
        return tf.reduce_mean((hidden[:, 0] - targets) ** 2)

    def step_of(parameters, gradients, state, step):
        t = step / T
        base = (0.04 if classes else 0.2) * 0.5 * (1 - np.cos(2 * np.pi * np.log2(1 + 15 * t)))
        flat = 1.0 if t < 0.5 else 0.5 * (1 + np.cos(np.pi * (2 * t - 1)))

        def factor(name):
            if name == "input_factors.weight":
                return 6.0
            is_slow = name.startswith(("waves", "parametric")) or name.endswith(".bias")
            return 0.1 if is_slow else 1.0

        def decay(name):
            is_bias = name.endswith(".bias") and not name.startswith("waves")
            return 0.0 if is_bias else 0.02 * flat

        rates = {name: base * factor(name) for name in parameters}
        adam(parameters, gradients, state, step, rates.__getitem__, decay, (0.9, 0.95))

    before = {name: value.copy() for name, value in parameters.items()}
    expected = trained(loss_of, parameters, step_of, STEPS)
    model.run_eagerly = True  # a few steps cost less than a graph
    history = model.fit(X, y, batch_size=N, epochs=STEPS, verbose=0)
    scale = 1.0 if classes else VALUES.std() ** 2
    np.testing.assert_allclose(np.array(history.history["loss"]) / scale, expected, rtol=2e-4)
    for name, value in realmlp_parameters(model).items():
        moved = np.abs(parameters[name] - before[name]).max()
        assert moved > 0, name
        np.testing.assert_allclose(value, parameters[name], atol=0.01 * moved + 1e-6, err_msg=name)


@pytest.mark.slow
def test_realmlp_drops_units_as_flat_cos_says():
    model = models.realmlp(COLUMNS, "classification", T, 3, units=6, num_layers=1)
    (layer,) = [layer for layer in model.layers if type(layer).__name__ == "Dropout"]
    model.run_eagerly = True
    for step in range(T):
        model.train_on_batch(X, CLASSES)
        t = step / T
        expected = 0.15 * (1.0 if t < 0.5 else 0.5 * (1 + np.cos(np.pi * (2 * t - 1))))
        assert float(layer.rate) == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
def test_realmlp_s_starts_at_zero_under_adam_of_three_rates():
    model = models.realmlp_s(COLUMNS, "regression", T, units=6)
    initializers.from_data(model, X, VALUES)
    np.testing.assert_allclose(model.predict(X, verbose=0), VALUES.mean(), rtol=1e-5)
    names = [type(layer).__name__ for layer in model.layers]
    assert names.count("NeuralTangentDense") == 4
    assert not {"PeriodicEmbedding", "ParametricActivation", "Dropout", "CategoryEmbedding"} & set(names)
    factors = {
        (layer.learning_rate_factor, getattr(layer, "bias_learning_rate_factor", None))
        for layer in model.layers
        if hasattr(layer, "learning_rate_factor")
    }
    assert factors == {(6.0, None), (1.0, 0.1)}
    kernels = np.concatenate([layer.kernel.numpy().ravel() for layer in model.layers if hasattr(layer, "kernel")][:3])
    assert kernels.std() == pytest.approx(1, abs=0.15)
    curve = keras.optimizers.schedules.deserialize(model.optimizer.get_config()["learning_rate"]).curve(T)
    assert 0.06 < curve.max() <= 0.07


@pytest.mark.long("classification-mini", "regression-full")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "variant"),
    [("classification", "full"), ("regression", "full"), ("classification", "mini"), ("regression", "packed")],
)
def test_tabm(task, variant):
    keras.utils.set_random_seed(2)
    classes = task == "classification"
    y, k = (CLASSES if classes else VALUES), 3
    options = {"num_members": k, "variant": variant, "units": 5, "num_bins": 6, "embedding_units": 4}
    model = models.tabm(COLUMNS, task, 3 if classes else None, dropout=0.0, learning_rate=0.01, **options)
    initializers.from_data(model, X, y)
    owners = {"slope": "slope", "bias": "bias", "kernel": "kernel"}
    owners |= {"factors": "factors", "input_factors": "input_factors", "output_factors": "output_factors"}

    def read():
        found = {}
        for layer in model.layers:
            for name in owners:
                weight = getattr(layer, name, None)
                if weight is not None:
                    found[f"{layer.name}.{name}"] = np.asarray(weight.numpy(), "float64")
        return found

    parameters = read()
    blocks = [layer.name for layer in model.layers if "dense" in layer.name]
    assert len(blocks) == 2
    scaled = robust(X[:, :2].astype("float64"))
    edges = np.quantile(scaled, np.linspace(0, 1, 7), axis=0).T
    code = (scaled[:, :, None] - edges[:, :-1]) / np.diff(edges)
    code[:, :, 1:] = np.maximum(code[:, :, 1:], 0)
    code[:, :, :-1] = np.minimum(code[:, :, :-1], 1)
    hot = np.concatenate([one_hots(CODES[:, j], levels) for j, levels in enumerate((2, 4, 12))], axis=1)

    def loss_of(p):
        curves = scaled[:, :, None] * p["curves.slope"] + p["curves.bias"]
        curves = curves + tf.einsum("nfb,fbu->nfu", code, p["curves.kernel"])
        features = tf.concat([tf.reshape(curves, (N, -1)), hot], axis=1)
        losses = []
        for i in range(k):
            hidden = features if variant == "packed" else features * p["input_factors.factors"][i]
            for name in blocks:
                if variant == "full":
                    if name != blocks[0]:  # whose inputs are scaled already
                        hidden = hidden * p[f"{name}.input_factors"][i]
                    hidden = (hidden @ p[f"{name}.kernel"]) * p[f"{name}.output_factors"][i] + p[f"{name}.bias"][i]
                elif variant == "mini":
                    hidden = hidden @ p[f"{name}.kernel"] + p[f"{name}.bias"]
                else:
                    hidden = hidden @ p[f"{name}.kernel"][i] + p[f"{name}.bias"][i]
                hidden = tf.nn.relu(hidden)
            out = hidden @ p["heads.kernel"][i] + p["heads.bias"][i]
            if classes:
                losses.append(smoothed_crossentropy(out, CLASSES, 0.0))
            else:
                losses.append(tf.reduce_mean((out[:, 0] - (VALUES - VALUES.mean()) / VALUES.std()) ** 2))
        return tf.add_n(losses) / k

    def step_of(parameters, gradients, state, step):
        norm = np.sqrt(sum(np.sum(gradient**2) for gradient in gradients.values()))
        clipped = {name: gradient / max(norm, 1.0) for name, gradient in gradients.items()}
        adam(parameters, clipped, state, step, lambda name: 0.01, lambda name: 0.0003, (0.9, 0.999))

    before = {name: value.copy() for name, value in parameters.items()}
    expected = trained(loss_of, parameters, step_of, 4)
    model.run_eagerly = True
    history = model.fit(X, y, batch_size=N, epochs=4, verbose=0)
    scale = 1.0 if classes else VALUES.std() ** 2
    np.testing.assert_allclose(np.array(history.history["loss"]) / scale, expected, rtol=2e-4)
    for name, value in read().items():
        moved = np.abs(parameters[name] - before[name]).max()
        np.testing.assert_allclose(value, parameters[name], atol=0.02 * moved + 1e-6, err_msg=name)


def test_members_of_tabm_begin_with_one_number_for_all_columns_of_a_column():
    for bins, widths in ((6, [4, 4, 2, 4, 12]), (None, [1, 1, 2, 4, 12])):
        model = models.tabm(COLUMNS, "regression", num_members=5, units=4, num_bins=bins, embedding_units=4)
        factors = np.asarray(model.get_layer("input_factors").factors)
        ends = np.cumsum([0, *widths])
        assert factors.shape == (5, ends[-1])
        for start, end in itertools.pairwise(ends):
            np.testing.assert_array_equal(factors[:, start:end], factors[:, start : start + 1].repeat(end - start, 1))
        is_signs = set(np.unique(np.abs(factors))) == {1.0}
        assert is_signs == (bins is None)
