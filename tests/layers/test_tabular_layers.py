"""The layers that networks for tables are made of: formulas in NumPy float64, and the battery of a public layer."""

import inspect
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfopt import layers, schedules

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3)).astype("float32")
CODES = np.array([[0, 5, 1], [2, 19, 0], [-1, 20, np.nan], [1, 0.5, 1]], "float32")
EXAMPLES = {
    "BatchEnsembleDense": lambda: layers.BatchEnsembleDense(5, 4, "relu", input_scaling=False),
    "CategoryCodes": lambda: layers.CategoryCodes([2, 1]),
    "CategoryEmbedding": lambda: layers.CategoryEmbedding([3, 20, 2], 4, 0.1, 0.01),
    "EnsembleScaling": lambda: layers.EnsembleScaling(4, "signs", [2, 1]),
    "FeatureScaling": lambda: layers.FeatureScaling(6.0, schedules.LinearDecay(0.01, 50)),
    "NeuralTangentDense": lambda: layers.NeuralTangentDense(4, "relu", False, "ones", "ones", 0.5, 0.1, 0.01),
    "OneHotCategories": lambda: layers.OneHotCategories([3, 20, 2], True),
    "ParametricActivation": lambda: layers.ParametricActivation("mish", 0.1, 0.01),
    "PeriodicEmbedding": lambda: layers.PeriodicEmbedding(5, 8, 0.3, "plr", 0.1, 0.01),
    "PiecewiseLinearEmbedding": lambda: layers.PiecewiseLinearEmbedding(4, 8, 0.1, 0.01),
    "RobustScaling": lambda: layers.RobustScaling(),
    "SelectColumns": lambda: layers.SelectColumns([2, 0]),
    "SeparateDense": lambda: layers.SeparateDense(5, 4, "tanh", False),
    "TargetScaling": lambda: layers.TargetScaling(),
}


def randomized(layer, shape=(None, 3)):
    """The layer with weights that no two of its parts share."""
    layer.build(shape)
    for weight in layer.trainable_weights:
        weight.assign(RNG.normal(size=weight.shape))
    return layer


def weight(layer, name):
    value = getattr(layer, name)
    return np.asarray(value.numpy(), "float64")


def test_every_layer_without_a_test_elsewhere_has_an_example():
    elsewhere = {"L0Gate", "ProductDense", "ResidualGain"}
    dropout = {name for name in layers.__all__ if name.endswith(("Dropout", "1D", "2D", "3D", "Noise"))}
    assert set(EXAMPLES) == set(layers.__all__) - elsewhere - dropout


@pytest.mark.parametrize("name", EXAMPLES)
def test_config(name):
    layer, cls = EXAMPLES[name](), getattr(layers, name)
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
    assert config["registered_name"] == f"tfopt>{name}"
    again = keras.saving.deserialize_keras_object(config)
    assert again.get_config() == layer.get_config()
    arguments = set(inspect.signature(cls).parameters) - {"kwargs"}
    assert arguments <= set(layer.get_config())


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("policy", ["mixed_float16", "float32"])
def test_shape_type_and_gradients(name, policy):
    layer = type(EXAMPLES[name]()).from_config({**EXAMPLES[name]().get_config(), "dtype": policy})
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layer(inputs))
    outputs = model(X, training=True)
    assert outputs.shape[1:] == model.output_shape[1:]
    measured = name in ("CategoryCodes", "SelectColumns", "TargetScaling")  # which leave numbers as exact as they come
    assert outputs.dtype == ("float32" if measured else layer.compute_dtype)
    assert all(variable.dtype == "float32" for variable in layer.trainable_weights)


def test_all_in_one_model_that_a_fresh_process_goes_on_training(tmp_path, fresh_keras):
    inputs = keras.Input((6,))
    numbers = layers.RobustScaling()(layers.SelectColumns([0, 1, 2])(inputs))
    codes = layers.SelectColumns([3, 4, 5])(inputs)
    parts = [EXAMPLES[name]()(numbers) for name in ("PeriodicEmbedding", "PiecewiseLinearEmbedding")]
    parts += [EXAMPLES[name]()(codes) for name in ("OneHotCategories", "CategoryEmbedding")]
    hidden = EXAMPLES["FeatureScaling"]()(keras.layers.Concatenate()(parts))
    hidden = layers.ParametricActivation("selu")(layers.NeuralTangentDense(8, decay=0.01)(hidden))
    hidden = layers.BatchEnsembleDense(5, 4)(layers.EnsembleScaling(4, "signs")(hidden))
    hidden = keras.layers.Flatten()(layers.SeparateDense(2, 4)(hidden))
    model = keras.Model(inputs, layers.TargetScaling()(layers.NeuralTangentDense(1)(hidden)))
    model.compile("adam", "mse", run_eagerly=True)
    data = np.concatenate([X, np.tile(CODES, (10, 1))], axis=1)
    model.fit(data, X[:, 0], verbose=0)
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "data.npz", x=data, y=model(data))
    code = (
        "import sys, numpy, keras, tfopt; m = keras.models.load_model(sys.argv[1]); d = numpy.load(sys.argv[2]); "
        "numpy.testing.assert_allclose(m(d['x']), d['y'], rtol=1e-4, atol=1e-6); "
        "m.run_eagerly = True; m.fit(d['x'], d['y'], verbose=0)"
    )
    done = fresh_keras(code, tmp_path / "model.keras", tmp_path / "data.npz")
    assert done.returncode == 0, done.stderr


def test_neural_tangent_dense():
    layer = randomized(layers.NeuralTangentDense(4, "selu", learning_rate_factor=0.3))
    z = X.astype("float64") @ weight(layer, "kernel") / np.sqrt(3) + weight(layer, "bias")
    selu = 1.0507009873554805 * np.where(z > 0, z, 1.6732632423543772 * np.expm1(z))
    np.testing.assert_allclose(layer(X), selu, rtol=1e-5, atol=1e-6)
    draws = layers.NeuralTangentDense(300)
    draws.build((None, 200))
    assert weight(draws, "kernel").std() == pytest.approx(1, abs=0.02)


def test_parametric_activation_and_scaling():
    layer = randomized(layers.ParametricActivation("mish", 0.1))
    x = X.astype("float64")
    mish = x * np.tanh(np.log1p(np.exp(x)))
    np.testing.assert_allclose(layer(X), x + weight(layer, "weight") * (mish - x), rtol=1e-5, atol=1e-6)
    scaling = randomized(layers.FeatureScaling(6.0))
    np.testing.assert_allclose(scaling(X), x * weight(scaling, "weight"), rtol=1e-5)
    assert np.all(np.asarray(layers.FeatureScaling()(X)) == X)


@pytest.mark.parametrize("variant", ["pbld", "plr", "pl"])
def test_periodic_embedding(variant):
    layer = randomized(layers.PeriodicEmbedding(4, 6, 0.1, variant))
    frequencies, kernel, bias = (weight(layer, name) for name in ("frequencies", "kernel", "bias"))
    rows = []
    for row in X.astype("float64"):
        parts = []
        for feature, x in enumerate(row):
            angle = 2 * np.pi * frequencies[feature] * x
            if variant == "pbld":
                waves = np.cos(angle + weight(layer, "phases")[feature])
                parts += [*(waves @ kernel[feature] + bias[feature]), x]
            else:
                linear = np.concatenate([np.cos(angle), np.sin(angle)]) @ kernel[feature] + bias[feature]
                parts += list(np.maximum(linear, 0) if variant == "plr" else linear)
        rows.append(parts)
    np.testing.assert_allclose(layer(X), rows, rtol=1e-4, atol=1e-4)


def test_how_a_periodic_embedding_starts():
    layer = layers.PeriodicEmbedding(4, 16, 0.1)
    layer.build((None, 500))
    assert weight(layer, "frequencies").std() == pytest.approx(0.1, rel=0.03)
    assert np.abs(weight(layer, "phases")).max() == pytest.approx(np.pi, rel=0.01)
    for name in ("kernel", "bias"):
        assert np.abs(weight(layer, name)).max() == pytest.approx(0.25, rel=0.01)


def test_piecewise_linear_embedding():
    layer = randomized(layers.PiecewiseLinearEmbedding(2, 3))
    edges = np.array([[0.0, 1, 3, 4], [-1, 1, 1, 1], [2, 2, 2, 2]])
    layer.edges.assign(edges)
    x = np.array([[-0.5, 3, 7], [0.5, 0, 2], [2, -3, 2], [6, 1, 0]])
    code = np.array(
        [
            [[-0.5, 0, 0], [2, 0, 0], [0, 0, 0]],
            [[0.5, 0, 0], [0.5, 0, 0], [0, 0, 0]],
            [[1, 0.5, 0], [-1, 0, 0], [0, 0, 0]],
            [[1, 1, 3], [1, 0, 0], [0, 0, 0]],
        ]
    )
    np.testing.assert_allclose(layer.code(x.astype("float32")), code, rtol=1e-6)
    expected = x[..., None] * weight(layer, "slope") + weight(layer, "bias")
    expected += np.einsum("nfb,fbu->nfu", code, weight(layer, "kernel"))
    np.testing.assert_allclose(layer(x), expected.reshape(4, -1), rtol=1e-5, atol=1e-5)


def test_piecewise_linear_embedding_starts_linear_with_edges_from_data():
    layer = layers.PiecewiseLinearEmbedding(4, 8)
    layer.start_from_data(X)
    np.testing.assert_allclose(layer.edges, np.quantile(X, np.linspace(0, 1, 9), axis=0).T, rtol=1e-6)
    x = np.linspace(-1, 1, 3)[:, None] * np.ones((1, 3))
    low, middle, high = np.asarray(layer(x))
    np.testing.assert_allclose(middle, (low + high) / 2, atol=1e-6)
    assert np.abs(weight(layer, "kernel")).max() == 0


def test_one_hots_and_embeddings_of_categories():
    hot = np.zeros((4, 3 + 20 + 1))
    hot[[0, 1, 3], [0, 2, 1]] = 1
    hot[[0, 1], [8, 22]] = 1
    hot[:, 23] = [1, -1, 0, 1]
    np.testing.assert_array_equal(layers.OneHotCategories([3, 20, 2], signs=True)(CODES), hot)
    assert layers.OneHotCategories([3, 20, 2])(CODES).shape == (4, 25)
    expected = np.where((CODES >= 0) & (CODES < [3, 20, 2]) & (CODES % 1 == 0), CODES, -1)
    one_hots = layers.OneHotCategories([3, 20, 2])(CODES)
    np.testing.assert_array_equal(layers.CategoryCodes([3, 20, 2])(one_hots), expected)
    layer = layers.CategoryEmbedding([3, 20, 2], 4)
    outputs = np.asarray(layer(CODES)).reshape(4, 3, 4)
    table = weight(layer, "table")
    assert np.all(table[[3, 24, 27]] == 0)
    np.testing.assert_allclose(outputs[0], table[[0, 4 + 5, 25 + 1]], rtol=1e-6)
    np.testing.assert_array_equal(outputs[2], 0)
    assert table[:3].std() > 0.3
    trained = randomized(layers.CategoryEmbedding([3, 20, 2], 4))
    outputs = np.asarray(trained(CODES)).reshape(4, 3, 4)
    np.testing.assert_allclose(outputs[2], weight(trained, "table")[[3, 24, 27]], rtol=1e-6)


def test_batch_ensemble():
    layer = randomized(layers.BatchEnsembleDense(5, 4, "relu"))
    r, s, b, w = (np.asarray(getattr(layer, n)) for n in ("input_factors", "output_factors", "bias", "kernel"))
    expected = [np.maximum(((X * r[i]) @ w) * s[i] + b[i], 0) for i in range(4)]
    np.testing.assert_allclose(layer(X), np.stack(expected, 1), rtol=1e-4, atol=1e-5)
    members = RNG.normal(size=(7, 4, 3)).astype("float32")
    expected = [np.maximum(((members[:, i] * r[i]) @ w) * s[i] + b[i], 0) for i in range(4)]
    np.testing.assert_allclose(layer(members), np.stack(expected, 1), rtol=1e-4, atol=1e-5)
    fresh = layers.BatchEnsembleDense(5, 4)
    together = np.asarray(fresh(X))
    np.testing.assert_array_equal(together, together[:, :1].repeat(4, 1))  # nothing differs yet


def test_separate_dense_and_scaling_of_members():
    layer = randomized(layers.SeparateDense(2, 4), (None, 4, 3))
    members = RNG.normal(size=(7, 4, 3)).astype("float32")
    expected = [members[:, i] @ np.asarray(layer.kernel)[i] + np.asarray(layer.bias)[i] for i in range(4)]
    np.testing.assert_allclose(layer(members), np.stack(expected, 1), rtol=1e-4, atol=1e-5)
    assert layers.SeparateDense(2, 4)(X).shape == (40, 4, 2)
    scaling = layers.EnsembleScaling(4, "normal", sections=[2, 1])
    np.testing.assert_allclose(scaling(X), X[:, None] * np.asarray(scaling.factors), rtol=1e-6)
    factors = np.asarray(scaling.factors)
    assert np.all(factors[:, 0] == factors[:, 1])
    assert np.all(factors[:, 0] != factors[:, 2])
    signs = layers.EnsembleScaling(50, "signs")
    signs.build((None, 20))
    assert set(np.unique(signs.factors)) == {-1.0, 1.0}


def test_robust_scaling():
    rows = np.column_stack([np.arange(9.0) ** 2, np.full(9, 3.0), [0] * 8 + [10]])
    layer = layers.RobustScaling()
    layer.start_from_data(rows)
    spread = np.percentile(rows[:, 0], 75) - np.percentile(rows[:, 0], 25)
    z = np.column_stack([(rows[:, 0] - 16) / spread, np.zeros(9), rows[:, 2] / 5])
    np.testing.assert_allclose(layer(rows), z / np.sqrt(1 + (z / 3) ** 2), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(layer(np.full((1, 3), 3e38)), [[3, 0, 3]], rtol=1e-6)


def test_target_scaling_clips_in_inference_only():
    layer = layers.TargetScaling()
    np.testing.assert_array_equal(layer(X[:, :1]), X[:, :1])
    layer.start_from_targets([10.0, 20, 30])
    scale = np.std([10, 20, 30])
    x = np.array([[-3.0], [0.5], [3]])
    np.testing.assert_allclose(layer(x, training=True), x * scale + 20, rtol=1e-6)
    with tf.GradientTape() as tape:
        tape.watch(tensor := tf.constant(x, tf.float32))
        loss = tf.reduce_sum((layer(tensor, training=True) - 10) ** 2)
    np.testing.assert_allclose(tape.gradient(loss, tensor), 2 * (x - (10 - 20) / scale), rtol=1e-5)
    np.testing.assert_allclose(layer(x), [[10], [20 + scale / 2], [30]], rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: layers.PeriodicEmbedding(1), "`units` of PeriodicEmbedding must be >= 2"),
        (lambda: layers.PeriodicEmbedding(variant="plx"), "`variant` of PeriodicEmbedding must be one of"),
        (lambda: layers.PeriodicEmbedding(frequency_scale=0), "`frequency_scale`"),
        (lambda: layers.EnsembleScaling(4, sections=[1, 1])(X), "must add up to the number of features, 3"),
        (lambda: layers.EnsembleScaling(0), "`num_members` of EnsembleScaling must be >= 1"),
        (lambda: layers.BatchEnsembleDense(2, 4)(np.ones((2, 3, 5))), "takes inputs"),
        (lambda: layers.OneHotCategories([]), "must hold at least one number"),
        (lambda: layers.CategoryEmbedding([3, 0]), "`levels` of CategoryEmbedding must be >= 1"),
        (lambda: layers.CategoryCodes([3, 1])(X), "must add up to the number of columns, 3"),
        (lambda: layers.SelectColumns([-1]), "`columns` of SelectColumns must be >= 0"),
    ],
)
def test_bad_arguments(make, text):
    with pytest.raises(ValueError, match=text):
        make()
