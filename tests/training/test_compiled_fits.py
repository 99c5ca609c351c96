"""Models whose `fit` XLA compiles, as Keras lets it beside a GPU: random numbers are then others, in every engine."""

import keras
import numpy as np
import pytest

from tfopt.training.fits import FitRequest
from tfopt.training.plain import PlainEngine
from tfopt.training.population_engine import PopulationEngine
from tfopt.training.shared import SharedGraphEngine

layers = keras.layers
CONFIGURATIONS = [{"rate": 0.2, "noise": 0.1}, {"rate": 0.5, "noise": 0.3}]


def network(*hidden):
    def build(hp):
        model = keras.Sequential([keras.Input((16,)), *(layer(hp) for layer in hidden), layers.Dense(4)])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(0.05), loss, jit_compile=True)
        return model

    return build


def noise(hp):
    return layers.GaussianNoise(hp["noise"])


def dense(hp):
    return layers.Dense(8, "relu")


def dropout(hp):
    return layers.Dropout(hp["rate"])


@pytest.mark.parametrize(
    ("kind", "hidden", "exact"),
    [
        pytest.param(SharedGraphEngine, (noise, dense, dropout), True, marks=pytest.mark.slow),
        pytest.param(PopulationEngine, (noise, dense, dropout), False, marks=pytest.mark.slow),  # as one graph
        (PopulationEngine, (dense, dropout), False),  # in NumPy
    ],
)
def test_every_engine_draws_what_a_compiled_fit_draws(kind, hidden, exact, rows):
    build, x, y = network(*hidden), *rows  # the last batch is a partial one
    used = ("rate", "noise") if noise in hidden else ("rate",)
    requests = [FitRequest({name: hp[name] for name in used}, 3, 1) for hp in CONFIGURATIONS]
    mine = kind(build, x, y, shuffle=False).fit(requests)[-1]
    [theirs] = PlainEngine(build, x, y, shuffle=False).fit(requests[-1:])
    assert mine.engine == kind.name
    assert noise in hidden or not mine.reason  # NumPy
    for a, b in zip(mine.state, theirs.state, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=0 if exact else 1e-6)
