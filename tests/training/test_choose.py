"""The engine that chooses: by shape and number, by measurement, and the same results either way."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfopt.training import choose
from tfopt.training.choose import FasterEngine, engine_for, free_memory
from tfopt.training.fits import FitRequest
from tfopt.training.graph_stack import GraphStack
from tfopt.training.numpy_stack.model import NumpyStack
from tfopt.training.plain import PlainEngine
from tfopt.training.population_engine import PopulationEngine
from tfopt.training.shared import SharedGraphEngine


@pytest.fixture(scope="module")
def rows(rows):
    """Return full batches of them: Keras traces its step anew for a partial one."""
    return tuple(part[:64] for part in rows)


def requests(hp, number, epochs=2):
    return [FitRequest({**hp, "lr": 1e-3 * (1 + i)}, i, epochs) for i in range(number)]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("auto", PopulationEngine),
        ("population", PopulationEngine),
        ("shared", SharedGraphEngine),
        ("plain", PlainEngine),
    ],
)
def test_engines_by_name(kind, expected, mlp_model, rows):
    assert type(engine_for(kind, mlp_model[0], *rows)) is expected


def test_a_misspelt_engine_names_the_nearest(mlp_model, rows):
    with pytest.raises(ValueError, match=r"Received: shard\. Did you mean 'shared'\?"):
        engine_for("shard", mlp_model[0], *rows)


def test_free_memory_is_plausible():
    assert 2**28 <= free_memory() < 2**50


@pytest.mark.slow
def test_few_or_short_fits_run_one_after_another(nothing_dense, mlp_model, rows):
    build, (hp, *_) = mlp_model
    engine = engine_for("auto", build, *rows)
    few, short = engine.fit(requests(hp, 2)), engine.fit(requests(hp, 5))
    assert {result.engine for result in few + short} == {"shared"}
    assert few[0].reason == "2 of a shape are faster one after another"
    assert "not worth a stack" in short[0].reason


@pytest.mark.slow
def test_long_work_is_stacked_and_ends_as_the_shared_graph_does(nothing_dense, mlp_model, rows, monkeypatch):
    build, (hp, *_) = mlp_model
    x, y = rows
    found = []
    for worth in (0.0, np.inf):
        monkeypatch.setattr(choose, "_WORTH_STACKING", worth)
        results = engine_for("auto", build, x, y, validation=(x[:20], y[:20])).fit(requests(hp, 5))
        assert {result.engine for result in results} == {"shared" if worth else "population"}
        for result in results:
            assert set(result.history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
        found.append([[result.history["loss"], result.history["val_loss"]] for result in results])
    np.testing.assert_allclose(*found, rtol=1e-4)


@pytest.mark.long("True")
@pytest.mark.slow
@pytest.mark.parametrize("stack_wins", [True, False])
def test_where_the_work_is_long_both_are_timed_and_the_faster_one_is_taken(
    nothing_dense, mlp_model, rows, monkeypatch, stack_wins
):
    monkeypatch.setattr(choose, "_WORTH_MEASURING", 0.0)
    build, (hp, *_) = mlp_model
    engine = engine_for("auto", build, *rows)
    timed = FasterEngine._timed_together
    seen = []

    def skewed(self, members):
        seen.append(timed(self, members))
        [alone] = self._alone.values()
        return alone * (0.5 if stack_wins else 2.0)

    monkeypatch.setattr(FasterEngine, "_timed_together", skewed)
    results = engine.fit(requests(hp, 9))
    assert results[0].engine == "shared", "the one that was timed"
    assert {result.engine for result in results[1:]} == {"population" if stack_wins else "shared"}
    assert seen[0] > 0
    if not stack_wins:
        assert "ms a step one after another" in results[1].reason


@pytest.mark.slow
def test_large_models_and_convolutions_run_one_after_another(nothing_dense, rows):
    def build(hp):
        hidden = [keras.layers.Dense(500, "relu"), keras.layers.Dense(500, "relu")]
        if hp["kind"] == "convolution":
            hidden = [keras.layers.Reshape((4, 4, 1)), keras.layers.Conv2D(2, 2), keras.layers.Flatten()]
        model = keras.Sequential([keras.Input((16,)), *hidden, keras.layers.Dense(4)])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(hp["lr"]), loss)
        return model

    engine = engine_for("auto", build, *rows)
    large = engine.fit(requests({"kind": "dense"}, 5, epochs=1))
    assert {result.engine for result in large} == {"shared"}
    engine = PopulationEngine(build, *rows)
    pictures = engine.fit(requests({"kind": "convolution"}, 5, epochs=1))
    assert {result.engine for result in pictures} == {"shared"}
    assert "cannot batch the filters of Conv2D" in pictures[0].reason


def test_dense_networks_are_trained_together_however_few_and_short(mlp_model, rows):
    build, (hp, *_) = mlp_model
    [result] = engine_for("auto", build, *rows).fit(requests(hp, 1))
    assert (result.engine, result.reason) == ("population", "")


@pytest.fixture
def a_gpu(monkeypatch):
    """Make TensorFlow say that there is a GPU; what is put on it runs on the CPU."""
    found = tf.config.list_logical_devices
    gpu = tf.config.LogicalDevice("/device:GPU:0", "GPU")
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind=None: [gpu] if kind == "GPU" else found(kind))


@pytest.mark.long("True")
@pytest.mark.slow
@pytest.mark.parametrize("numpy_wins", [True, False])
def test_beside_a_gpu_both_populations_are_timed_and_the_faster_one_is_taken(
    a_gpu, mlp_model, rows, monkeypatch, numpy_wins
):
    monkeypatch.setattr(choose, "_WORTH_MEASURING", 0.0)
    monkeypatch.setattr(choose, "_FEWEST_MEMBERS", 3)  # not timed one after another
    build, (hp, *_) = mlp_model
    engine = engine_for("auto", build, *rows, memory=2**30)
    timed, seen = FasterEngine._seconds_a_step, {}

    def skewed(self, stack, members):
        seen[type(stack)] = timed(self, stack, members)
        return 1.0 if (type(stack) is NumpyStack) == numpy_wins else 2.0

    monkeypatch.setattr(FasterEngine, "_seconds_a_step", skewed)
    results = engine.fit(requests(hp, 4))
    assert set(seen) == {NumpyStack, GraphStack}
    assert min(seen.values()) > 0
    assert {result.engine for result in results} == {"population"}
    expected = "" if numpy_wins else "not by NumPy: measured 2e+03 ms a step, 1e+03 ms on the GPU"
    assert {result.reason for result in results} == {expected}
    alone = SharedGraphEngine(build, *rows).fit(requests(hp, 4))
    for mine, theirs in zip(results, alone, strict=True):
        np.testing.assert_allclose(mine.history["loss"], theirs.history["loss"], rtol=1e-4)


@pytest.mark.slow
def test_beside_a_gpu_small_dense_networks_of_short_work_stay_in_numpy(a_gpu, mlp_model, rows):
    build, (hp, *_) = mlp_model
    engine = engine_for("auto", build, *rows, memory=2**30)
    [result] = engine.fit(requests(hp, 1))
    assert (result.engine, result.reason) == ("population", "")
    assert [type(stack) for stack in engine.pool.stacks()] == [NumpyStack]


@pytest.mark.slow
def test_a_failure_inside_a_stack_is_told_and_the_fits_are_trained_alone(mlp_model, rows, monkeypatch, caplog):
    build, (hp, *_) = mlp_model
    train = NumpyStack.train

    def broken(self, orders, batch_size):
        if len(orders[0]) > 32:  # not in the check of the first step
            raise ZeroDivisionError("a mistake of ours")
        return train(self, orders, batch_size)

    monkeypatch.setattr(NumpyStack, "train", broken)
    results = engine_for("auto", build, *rows).fit(requests(hp, 2))
    expected = "training in a stack failed (ZeroDivisionError: a mistake of ours)"
    assert {(result.engine, result.failure, result.reason) for result in results} == {("shared", None, expected)}
    assert "Training 2 members together failed" in caplog.text
    assert "ZeroDivisionError: a mistake of ours" in caplog.text, "with its traceback"
