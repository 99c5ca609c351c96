"""Small networks, and the comparison of their population in NumPy with plain fits."""

import keras
import numpy as np
import pytest

from tfopt.training import stack_pool
from tfopt.training.fits import FitRequest
from tfopt.training.numpy_stack.model import NumpyStack
from tfopt.training.population_engine import PopulationEngine

STATE, LOG = 2e-6, 1e-4  # absolute and relative: rounding, after half a dozen steps


@pytest.fixture
def nothing_traced(monkeypatch):
    """Fail where a population asks for a graph."""

    def refuse(*_):
        raise AssertionError("NumPy was to train this, not a graph")

    monkeypatch.setattr(stack_pool.StackPool, "make_graph_stack", refuse)


@pytest.fixture(scope="session")
def network():
    """Return the maker of a `build`: a network 16-…-4, each part a function of the hyperparameters."""

    def sgd(hp):
        return keras.optimizers.SGD(hp["lr"])

    def crossentropy(_):
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def make(*hidden, optimizer=sgd, loss=crossentropy, metrics=(), units=4, last=None, shape=(16,), **compiled):
        def build(hp):
            layers = [layer(hp) for layer in hidden]
            model = keras.Sequential([keras.Input(shape), *layers, keras.layers.Dense(units, last)])
            model.compile(optimizer(hp), loss(hp), metrics=list(metrics), **compiled)
            return model

        return build

    return make


@pytest.fixture
def numpy_engine(nothing_traced, rows):
    """Return the maker of a population without a graph, by default over `rows`, validated on the first twenty."""

    def make(build, x=rows[0], y=rows[1], **arguments):
        validation = keras.tree.map_structure(lambda array: array[:20], (x, y))
        return PopulationEngine(build, x, y, **{"validation": validation, "shuffle": "once"} | arguments)

    return make


@pytest.fixture(scope="session")
def assert_same():
    """Return the comparison of two results."""

    def compare(mine, theirs, atol=STATE, refused=""):
        assert (mine.engine, mine.failure) == ("population", theirs.failure)
        assert mine.reason.startswith(refused) if refused else not mine.reason
        assert mine.best_epoch == theirs.best_epoch
        assert mine.history.keys() == theirs.history.keys()
        for name, values in theirs.history.items():
            np.testing.assert_allclose(mine.history[name], values, rtol=LOG, atol=1e-6, err_msg=name)
        for name in ("state", "best_state"):
            own, plain = getattr(mine, name), getattr(theirs, name)
            assert (own is None) == (plain is None)
            for a, b in zip(own or (), plain or (), strict=True):
                assert (a.shape, a.dtype) == (b.shape, b.dtype)
                np.testing.assert_allclose(a, b, rtol=0, atol=atol, err_msg=name)
        if theirs.outputs is not None:
            np.testing.assert_allclose(mine.outputs, theirs.outputs, rtol=LOG, atol=1e-5)

    return compare


@pytest.fixture
def check(numpy_engine, assert_same, plain):
    """Return the comparison of fits in NumPy with Keras's own."""

    def compare(build, configurations, epochs=2, seeds=(1, 2, 1), engine=None, **request):
        requests = [FitRequest(hp, s, epochs, **request) for hp, s in zip(configurations, seeds, strict=False)]
        population = numpy_engine(build, **(engine or {}))
        results = [result for _, result in sorted(population.stacked(requests))]
        assert {type(stack) for stack in population.pool.stacks()} == {NumpyStack}
        for mine, theirs in zip(results, plain(population, requests), strict=True):
            assert_same(mine, theirs)
        return population, results

    return compare
