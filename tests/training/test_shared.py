"""The shared graph against `keras.utils.set_random_seed(seed); build(hp); fit`, to the last bit where a CPU allows."""

import gc

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfopt
from tfopt.training import shared as module
from tfopt.training.fits import FitRequest, Monitor
from tfopt.training.plain import PlainEngine
from tfopt.training.shared import SharedGraphEngine
from tfopt.training.two_threads import in_two_threads


@pytest.fixture(scope="module")
def rows(rows):
    """Return two full batches of them: Keras traces its step anew for a partial one, which one test here has."""
    return tuple(part[:64] for part in rows)


def engines(build, rows, **arguments):
    x, y = rows
    arguments = {"validation": (x[:20], y[:20]), "shuffle": "once"} | arguments
    return SharedGraphEngine(build, x, y, **arguments), PlainEngine(build, x, y, **arguments)


def num_graphs(engine) -> int:
    return sum(map(len, engine._graphs.values()))


def assert_same(mine, theirs, atol=0.0):
    assert mine.failure is None
    assert mine.reason == ""
    assert mine.engine == "shared"
    for name in ("state", "best_state"):
        for a, b in zip(getattr(mine, name), getattr(theirs, name), strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=atol)
    assert mine.best_epoch == theirs.best_epoch
    assert mine.history.keys() == theirs.history.keys()
    for name in mine.history:
        np.testing.assert_allclose(mine.history[name], theirs.history[name], rtol=1e-6, atol=atol)


@pytest.mark.long("mlp", "recurrent", "functional")
@pytest.mark.slow
def test_weights_slots_and_logs_are_those_of_a_fresh_build_and_fit(model, rows):
    build, configurations = model
    monitor = Monitor("val_loss", "min")
    requests = [FitRequest(hp, seed, epochs=3, monitor=monitor) for seed, hp in enumerate(configurations)]
    shared, plain = engines(build, rows)
    results = shared.fit(requests)
    assert num_graphs(shared) == 1, "numbers alone differ"
    [theirs] = plain.fit(requests[2:])  # of other numbers and another seed than the one that was traced
    assert_same(results[2], theirs, atol=2e-7 if build.__name__ == "recurrent" else 0.0)


@pytest.mark.slow
def test_fits_on_two_graphs_at_once_are_those_on_one(mlp_model, rows, monkeypatch):
    build, configurations = mlp_model
    monitor = Monitor("val_loss", "min")
    requests = [FitRequest(hp, seed, 3, monitor=monitor) for seed in range(3) for hp in configurations]
    one, shared = (SharedGraphEngine(build, *rows, validation=(rows[0][:20], rows[1][:20])) for _ in range(2))
    expected = one.fit(requests)
    monkeypatch.setattr(module, "_WORTH_A_SECOND_GRAPH", -1e9)
    lanes = []
    monkeypatch.setattr(module, "in_two_threads", lambda *given: lanes.append(len(given[2])) or in_two_threads(*given))
    ended = []
    results = shared.fit(requests, done=lambda index, result: ended.append(index))
    assert lanes == [len(requests) - 1], "the first one was timed"
    assert sorted(ended) == list(range(len(requests)))
    for mine, theirs in zip(results, expected, strict=True):
        assert_same(mine, theirs)


@pytest.mark.slow
def test_rows_batch_size_weights_and_early_stopping(mlp_model, rows):
    build, configurations = mlp_model
    weights = np.random.default_rng(1).uniform(0.5, 1.5, len(rows[0]))
    shared, plain = engines(build, rows, sample_weight=weights, validation=None)
    monitor = Monitor("val_loss", "min", patience=1)
    requests = [
        FitRequest(configurations[0], 1, 3, 32, np.arange(50), np.arange(50, 64), np.arange(50, 64), monitor),
        FitRequest(
            {**configurations[1], "lr": 0.5}, 2, 40, 16, np.arange(20, 64), np.arange(20), np.arange(5), monitor
        ),
    ]
    results = shared.fit(requests)
    for mine, theirs in zip(results, plain.fit(requests), strict=True):
        assert_same(mine, theirs)
        np.testing.assert_allclose(mine.outputs, theirs.outputs, rtol=1e-5, atol=1e-6)
    assert len(results[1].history["loss"]) < 40


@pytest.mark.slow
def test_shuffling_anew_in_every_epoch_takes_the_orders_of_the_seed(mlp_model, rows):
    build, (hp, *_) = mlp_model
    x, y = rows
    [result] = SharedGraphEngine(build, x, y).fit([FitRequest(hp, 7, epochs=2)])
    keras.utils.set_random_seed(7)
    model = build(hp)
    for epoch in range(2):
        order = np.random.default_rng((7, epoch)).permutation(len(x))
        model.fit(x[order], y[order], shuffle=False, verbose=0)
    for mine, theirs in zip(result.state, [*model.variables, *model.optimizer.variables], strict=True):
        np.testing.assert_array_equal(mine, np.array(theirs.value))


@pytest.mark.slow
def test_a_continued_fit_ends_as_an_uninterrupted_one(mlp_model, rows):
    build, (hp, *_) = mlp_model
    engine = SharedGraphEngine(build, *rows)
    whole, part = engine.fit([FitRequest(hp, 3, epochs=5), FitRequest(hp, 3, epochs=2)])
    [rest] = engine.fit([FitRequest(hp, 3, epochs=5, initial_epoch=2, state=part.state)])
    assert part.history["loss"] + rest.history["loss"] == whole.history["loss"]
    for mine, theirs in zip(rest.state, whole.state, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.long
def test_a_decision_that_python_takes_needs_a_graph_of_its_own(mlp_model, rows):
    build, (hp, *_) = mlp_model
    shared, plain = engines(build, rows)
    requests = [FitRequest({**hp, "rate": rate}, 1, 2, monitor=Monitor("loss", "min")) for rate in (0.3, 0.5, 0.0)]
    for mine, theirs in zip(shared.fit(requests)[1:], plain.fit(requests[1:]), strict=True):
        assert_same(mine, theirs)
    assert num_graphs(shared) == 2


@pytest.mark.slow
def test_another_structure_is_another_graph(rows):
    def build(hp):
        model = keras.Sequential(
            [keras.Input((16,)), keras.layers.Dense(hp["units"], hp["activation"]), keras.layers.Dense(4)]
        )
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        return model

    shared, _ = engines(build, rows)
    choices = [(4, "relu"), (8, "relu"), (4, "tanh"), (4, "relu")]
    results = shared.fit([FitRequest({"units": u, "activation": a}, 0, 1) for u, a in choices])
    assert [r.failure or r.reason for r in results] == [""] * 4
    assert num_graphs(shared) == 3


SCALE = {"value": 1.0}
CLASS = type("Holder", (), {"value": 1.0})


def without_effect(where):
    """Return a `build` whose hyperparameter `strength` hides in a place that no configuration shows."""

    class Scaled(keras.layers.Layer):
        def __init__(self, strength):
            super().__init__()
            self.kept = (strength, {"other": strength})

        def call(self, x):
            return x * self.kept[0] + self.kept[1]["other"]

    class Global(keras.layers.Layer):
        def call(self, x):
            return x * SCALE["value"]

    class Unseen(keras.layers.Layer):
        def call(self, x):
            return x * CLASS.value

    def build(hp):
        strength = hp["strength"]
        SCALE["value"] = CLASS.value = 1.0

        factor = strength if where == "closure" else 1.0

        def loss(y_true, y_pred):
            return factor * keras.losses.sparse_categorical_crossentropy(y_true, y_pred, from_logits=True)

        layer = keras.layers.Identity()
        if where == "layer":
            layer = Scaled(strength)
        elif where == "lambda":
            layer = keras.layers.Lambda(lambda x, s=strength: x * s)
        elif where == "python":
            layer = keras.layers.Lambda(lambda x: x * (2.0 if strength > 0.8 else 3.0))
        elif where == "global":
            SCALE["value"], layer = strength, Global()
        elif where == "unseen":
            CLASS.value, layer = strength, Unseen()
        model = keras.Sequential([keras.Input((16,)), keras.layers.Dense(8), layer, keras.layers.Dense(4)])
        model.compile("sgd", loss)
        return model

    return build


@pytest.mark.long("closure-1", "lambda-1", "global-3")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "graphs"),
    [("closure", 1), ("layer", 1), ("lambda", 1), ("python", 2), ("global", 3), ("unseen", 0)],
)
def test_hidden_hyperparameters_are_found_or_the_trial_runs_plainly(where, graphs, rows, plain):
    x, y = rows
    build = without_effect(where)
    requests = [FitRequest({"strength": s}, 0, 2) for s in (0.5, 1.5, 0.7)]
    shared = SharedGraphEngine(build, x, y, shuffle="once")
    for mine, theirs in zip(shared.fit(requests), plain(shared, requests), strict=True):
        assert mine.failure is None
        assert mine.engine == ("shared" if graphs else "plain")
        np.testing.assert_allclose(mine.history["loss"], theirs.history["loss"], rtol=1e-6)
        for a, b in zip(mine.state, theirs.state, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
    assert num_graphs(shared) == graphs
    if not graphs:
        assert "changing 'strength' changes nothing" in shared.fit(requests)[0].reason


@pytest.mark.long("rate", "l1")
@pytest.mark.slow
@pytest.mark.parametrize("missed", ["rate", "beta_1", "l1"])
def test_the_first_step_check_catches_a_number_that_was_not_found(missed, rows, monkeypatch):
    def build(hp):
        hidden = keras.layers.Dense(4, kernel_regularizer=keras.regularizers.L1L2(hp["l1"], 0.01))
        model = keras.Sequential([keras.Input((16,)), hidden, keras.layers.Dropout(hp["rate"]), keras.layers.Dense(4)])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(0.01, beta_1=hp["beta_1"]), loss)
        return model

    shared, _ = engines(build, rows, validation=None)
    monkeypatch.setattr(
        module.EpochGraph, "mismatch", lambda self, snapshot: None
    )  # it would tell before the check does
    init = module.EpochGraph.__init__

    def blind(self, model, walk, varying, examples):
        init(self, model, walk, frozenset(path for path in varying if missed not in path), examples)

    monkeypatch.setattr(module.EpochGraph, "__init__", blind)
    numbers = ((1e-4, 0.1, 0.9), (1e-3, 0.4, 0.8))
    results = shared.fit([FitRequest(dict(zip(("l1", "rate", "beta_1"), n, strict=True)), 1, 1) for n in numbers])
    assert {result.engine for result in results} == {"plain"}
    assert "first step differs from Keras's" in results[0].reason


@pytest.mark.slow
def test_models_that_cannot_be_traced_run_plainly_and_say_why(rows):
    class Own(keras.Sequential):
        def train_step(self, data):
            return super().train_step(data)

    class Stateful(keras.layers.Layer):
        def call(self, x, training=False):
            return x + tf.random.normal(tf.shape(x)) if training else x

    def build(hp):
        kind = Own if hp["kind"] == "train_step" else keras.Sequential
        noise = [Stateful()] if hp["kind"] == "noise" else []
        model = kind([keras.Input((16,)), *noise, keras.layers.Dense(4)])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("sgd", loss, run_eagerly=hp["kind"] == "eager")
        return model

    shared, _ = engines(build, rows)
    results = shared.fit([FitRequest({"kind": kind}, 0, 1) for kind in ("train_step", "noise", "eager")])
    for result, reason in zip(results, ("`train_step` of its own", "differs|stream", "run_eagerly=True"), strict=True):
        assert result.failure is None
        assert result.engine == "plain"
        assert any(word in result.reason for word in reason.split("|"))


@pytest.mark.slow
def test_a_failed_build_and_a_diverged_fit_leave_the_others_alone(rows):
    def build(hp):
        if hp["lr"] < 0:
            raise ValueError("a rate below zero")
        model = keras.Sequential([keras.Input((16,)), keras.layers.Dense(8), keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(hp["lr"]), "mse")
        return model

    x, y = rows
    engine = SharedGraphEngine(build, x, y.astype("float32"))
    seen = {}
    results = engine.fit([FitRequest({"lr": lr}, 0, 30) for lr in (0.01, -1.0, 1e9, 0.01)], done=seen.__setitem__)
    assert results[1].failure == "ValueError: a rate below zero"
    assert "The loss became" in results[2].failure
    assert "Lower the learning rate" in results[2].failure
    assert results[0].failure is None
    assert results[0].history == results[3].history
    assert sorted(seen) == [0, 1, 2, 3]


@pytest.mark.slow
def test_callbacks_run_each_epoch_with_true_logs_and_a_plain_model(mlp_model, rows, tmp_path):
    build, (hp, other, _) = mlp_model
    shared, plain = engines(build, rows)

    class Seen(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.logs, self.rates = [], []

        def on_epoch_end(self, epoch, logs=None):
            self.logs.append(dict(logs))
            self.rates.append(self.model.layers[1].rate)

        def on_train_end(self, logs=None):
            self.model.save(tmp_path / "model.keras")

    seen = [Seen(), Seen()]
    reduce = [keras.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=10.0) for _ in seen]
    requests = [FitRequest(c, 1, 3) for c in (hp, other)]
    results = shared.fit(requests, callbacks=[[a, b] for a, b in zip(seen, reduce, strict=True)])
    assert [result.engine for result in results] == ["shared", "shared"]
    assert seen[0].rates == [hp["rate"]] * 3
    assert [logs["loss"] for logs in seen[1].logs] == results[1].history["loss"]
    assert keras.models.load_model(tmp_path / "model.keras").layers[1].rate == other["rate"]
    again = [keras.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=10.0)]
    [theirs] = plain.fit(requests[:1], callbacks=[again])
    np.testing.assert_allclose(results[0].history["loss"], theirs.history["loss"], rtol=1e-6)

    class EachBatch(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.batches = batch

    [stopped] = shared.fit(requests[:1], callbacks=[[keras.callbacks.EarlyStopping("loss")]])
    assert stopped.engine == "shared"
    [result] = shared.fit(requests[:1], callbacks=[[EachBatch()]])
    assert result.engine == "plain"
    assert "EachBatch is called at every batch (on_train_batch_end)" in result.reason


@pytest.mark.slow
def test_logs_that_a_callback_adds_can_be_monitored(mlp_model, rows):
    build, (hp, *_) = mlp_model

    class Adds(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["distance"] = abs(epoch - 2.0)

    for engine in engines(build, rows):
        [result] = engine.fit([FitRequest(hp, 0, 4, monitor=Monitor("distance", "min"))], callbacks=[[Adds()]])
        assert result.history["distance"] == [2.0, 1.0, 0.0, 1.0]
        assert result.best_epoch == 2


@pytest.mark.slow
def test_a_closure_over_the_configuration_leaves_it_alone(rows):
    def build(hp):
        class Scale(keras.layers.Layer):
            def call(self, x):
                return x * hp["scale"]

        model = keras.Sequential([keras.Input((16,)), Scale(), keras.layers.Dense(4)])
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        return model

    requests = [FitRequest({"scale": scale}, 0, 1) for scale in (0.5, 2.0)]
    shared, plain = engines(build, rows)
    for mine, theirs in zip(shared.fit(requests), plain.fit(requests), strict=True):
        np.testing.assert_allclose(mine.history["loss"], theirs.history["loss"], rtol=1e-6)
    assert [type(request.hyperparameters["scale"]) for request in requests] == [float, float]


@pytest.mark.slow
def test_a_result_becomes_an_ordinary_model(mlp_model, rows):
    build, configurations = mlp_model
    x, y = rows
    engine = SharedGraphEngine(build, x, y, validation=(x, y))
    request = FitRequest(configurations[0], 0, 2)
    [result] = engine.fit([request])
    model = engine.model(request, result.state)
    loss, accuracy = model.evaluate(x, y, verbose=0)
    np.testing.assert_allclose(
        [loss, accuracy], [result.history[f"val_{k}"][-1] for k in ("loss", "accuracy")], rtol=1e-5
    )


def test_random_streams_of_the_caller_are_left_alone(mlp_model, rows):
    build, configurations = mlp_model
    np.random.seed(1)
    expected = np.random.RandomState(1).uniform()
    SharedGraphEngine(build, *rows).fit([FitRequest(configurations[0], 0, 1)])
    assert np.random.uniform() == expected


@pytest.mark.slow
def test_mixed_precision_trains_with_loss_scaling(mlp_model, rows):
    build, configurations = mlp_model
    keras.config.set_dtype_policy("mixed_float16")
    try:
        shared, plain = engines(build, rows)
        requests = [FitRequest(hp, 1, 2, monitor=Monitor("loss", "min")) for hp in configurations[:2]]
        assert_same(shared.fit(requests)[1], *plain.fit(requests[1:]))
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.slow
def test_graphs_that_are_no_longer_kept_are_freed(rows, monkeypatch):
    """A registry of custom gradients would keep each one alive, 4 to 10 MB."""
    monkeypatch.setattr(module, "_MAX_STRUCTURES", 1)

    def build(hp):
        model = keras.Sequential([keras.Input((16,)), keras.layers.Dense(hp["units"], "relu"), keras.layers.Dense(4)])
        model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        return model

    def alive():
        gc.collect()
        return sum(type(thing).__name__.endswith("FuncGraph") for thing in gc.get_objects())

    for engine in (SharedGraphEngine(build, *rows), PlainEngine(build, *rows)):
        counts = []
        for units in range(2, 5):
            engine.fit([FitRequest({"units": units}, 0, 1)])
            counts.append(alive())
        assert counts[-1] == counts[0], engine.name
        if engine.name == "shared":
            assert num_graphs(engine) == 1


class ChangesMomentum(keras.callbacks.Callback):
    """What is set before the first step is traced by Keras."""

    def on_train_begin(self, logs=None):
        self.model.optimizer.momentum = 0.5


class Freezes(keras.callbacks.Callback):
    """Trains the first layer for an epoch only."""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            self.model.layers[0].trainable = False
            self.model.make_train_function(force=True)


@pytest.mark.long("LearningRateMultipliers", "HyperparameterScheduler")
@pytest.mark.slow
@pytest.mark.parametrize(
    "changing",
    [
        lambda: tfopt.callbacks.LearningRateMultipliers({"bias": 0.0}),
        lambda: tfopt.callbacks.HyperparameterScheduler({"momentum": tfopt.schedules.LinearDecay(0.9, 4)}),
        ChangesMomentum,
        Freezes,
    ],
    ids=["LearningRateMultipliers", "HyperparameterScheduler", "on_train_begin", "make_train_function"],
)
def test_callbacks_that_change_the_training_step_are_heeded(rows, changing):
    def build(hp):
        model = keras.Sequential([keras.Input((16,)), keras.layers.Dense(8, "tanh"), keras.layers.Dense(4)])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(hp["lr"], momentum=0.9), loss)
        return model

    shared, plain = engines(build, rows, validation=None)
    requests = [FitRequest({"lr": 0.1}, 1, 2)]
    [own], [other] = (engine.fit(requests, [[changing()]]) for engine in (shared, plain))
    assert (own.engine, own.reason) == ("plain", "a callback changes the training step")
    for a, b in zip(own.state, other.state, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
