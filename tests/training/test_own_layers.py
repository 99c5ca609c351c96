"""Preprocessing layers of a user's own that are not adapted: every engine adapts them to the rows that it trains on."""

import keras
import numpy as np
import pytest

import tfopt
from tfopt.training.choose import engine_for
from tfopt.training.fits import FitRequest

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(5.0, 3.0, (60, 3)).astype("float32") + np.where(np.arange(60) >= 40, 100.0, 0.0)[:, None]
Y = (X[:, :1] % 7).astype("float32")
TRAIN, TEST = np.arange(40), np.arange(40, 60)


def functional():
    inputs = keras.Input((3,))
    return keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Normalization(name="own")(inputs)))


BUILDS = {
    "functional": functional,
    "sequential": lambda: keras.Sequential(
        [keras.Input((3,)), keras.layers.Normalization(name="own"), keras.layers.Dense(1)]
    ),
    "without input": lambda: keras.Sequential([keras.layers.Normalization(name="own"), keras.layers.Dense(1)]),
}


def build(kind):
    model = BUILDS[kind]()
    model.compile(keras.optimizers.SGD(0.01), "mse")
    return model


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "engine"), [("functional", "auto"), ("sequential", "plain"), ("without input", "auto")]
)
def test_they_learn_from_the_training_rows_alone(kind, engine):
    made = engine_for(engine, build, X, Y, probe=False, measure=False)
    request = FitRequest(kind, 0, 2, 10, rows=TRAIN, predict=TEST)
    [result] = made.fit([request])
    assert result.failure is None
    assert engine == "plain" or "its own preprocessing layers learn from each training part" in result.reason
    model = made.model(request, result.state)
    np.testing.assert_allclose(np.ravel(model.get_layer("own").mean), X[TRAIN].mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(model.predict(X[TEST], verbose=0), result.outputs, rtol=1e-5)
    kernel, bias = model.layers[-1].get_weights()
    scaled = (X[TEST] - X[TRAIN].mean(axis=0)) / X[TRAIN].std(axis=0)
    np.testing.assert_allclose(result.outputs, scaled @ kernel + bias, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [object, str])
def test_a_tuner_refuses_what_it_could_not_keep(tmp_path, dtype):
    def of_texts(hp):
        words = keras.layers.TextVectorization(max_tokens=9, output_mode="multi_hot", pad_to_max_tokens=True)
        model = keras.Sequential([keras.Input((), dtype="string"), words, keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        return model

    tuner = tfopt.search.RandomSearch(of_texts, "loss", max_trials=1, directory=tmp_path)

    def search():
        tuner.search(np.array(["a", "b"] * 4, dtype), np.zeros(8), verbose=0)
        [trial] = tuner.oracle.trials.values()
        engines = [(member.engine, member.reason, member.failure) for member in trial.members]
        pytest.fail(f"{trial.status} by {engines}: {trial.message}, of what was raised: {tuner.raised}")

    with pytest.raises(TypeError, match=r"\(TextVectorization\) has not been adapted.*Adapt it in `build`"):
        search()
