"""The Jacobian penalty against the Jacobian itself, and a model that trains with it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfopt.regularizers import JacobianModel, jacobian_penalty

X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
LABELS = (X[:, 0] > 0).astype("int32")


def classifier():
    keras.utils.set_random_seed(1)
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(8, "tanh"), keras.layers.Dense(3)])


def exact(model, x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs = model(x)
    return float(tf.reduce_sum(tape.batch_jacobian(outputs, x) ** 2)) / (2 * len(x))


@pytest.mark.slow
def test_it_estimates_the_jacobian_without_bias():
    model = classifier()
    estimates = [float(jacobian_penalty(model, X, seed=seed)) for seed in range(60)]
    error = np.std(estimates) / np.sqrt(len(estimates))
    assert np.mean(estimates) == pytest.approx(exact(model, tf.constant(X)), abs=5 * error)
    many = [float(jacobian_penalty(model, X, num_projections=4, seed=seed)) for seed in range(30)]
    assert np.std(many) < np.std(estimates)


def test_one_output_is_exact():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8, "tanh"), keras.layers.Dense(1)])
    assert float(jacobian_penalty(model, X)) == pytest.approx(exact(model, tf.constant(X)), rel=1e-5)


@pytest.mark.long
def test_a_model_that_moves_less():
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    jacobians = []
    for strength, jit_compile in ((0.0, False), (1.0, False), (1.0, True)):
        inner = classifier()
        model = JacobianModel(inner, strength)
        model.compile(keras.optimizers.Adam(0.02), loss, jit_compile=jit_compile)
        model.fit(np.tile(X, (40, 1)), np.tile(LABELS, 40), shuffle=False, verbose=0)
        jacobians.append(exact(inner, tf.constant(X)))
    plain = float(loss(LABELS, inner(X)))
    assert model.evaluate(X, LABELS, verbose=0) == pytest.approx(plain, rel=1e-5)
    assert max(jacobians[1:]) < 0.3 * jacobians[0]


@pytest.mark.slow
def test_save_and_load(tmp_path):
    model = JacobianModel(classifier(), keras.Variable(0.5), 2)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(X, LABELS, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert (loaded.strength, loaded.num_projections) == (0.5, 2)
    np.testing.assert_allclose(loaded.predict(X, verbose=0), model.predict(X, verbose=0), rtol=1e-5)


def test_bad_arguments():
    with pytest.raises(ValueError, match="`num_projections`"):
        jacobian_penalty(classifier(), X, num_projections=0)
    with pytest.raises(ValueError, match="`strength` of JacobianModel"):
        JacobianModel(classifier(), -1)
    for model in (None, "resnet", lambda x: x, keras.Sequential):
        with pytest.raises(TypeError, match="`model` of JacobianModel must be a Keras model"):
            JacobianModel(model)
