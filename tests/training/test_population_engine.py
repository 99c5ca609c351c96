"""The traced population against the plain engine: the same fits, within the rounding of batched products."""

import gc
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfopt
from tfopt.training import population_engine as module
from tfopt.training.fits import FitRequest, Monitor
from tfopt.training.plain import PlainEngine
from tfopt.training.population_engine import PopulationEngine

pytestmark = pytest.mark.usefixtures("nothing_dense")
layers, optimizers, regularizers = keras.layers, keras.optimizers, keras.regularizers
# After a few dozen steps. A bias before a batch normalisation has no gradient but rounding, which Adam enlarges.
ATOL, ATOL_NORMALIZED = 2e-6, 2e-3


@pytest.fixture(scope="module")
def rows(rows):
    """Return full batches of them: a partial one is traced anew, which `test_members_are_fresh_builds_and_fits` has."""
    return tuple(part[:64] for part in rows)


def engine(build, rows, **arguments):
    x, y = rows
    validation = keras.tree.map_structure(lambda array: array[:20], (x, y))
    return PopulationEngine(build, x, y, **{"validation": validation, "shuffle": "once"} | arguments)


def assert_same(mine, theirs, atol=ATOL):
    assert mine.engine == "population"
    assert mine.failure == theirs.failure
    assert mine.reason.startswith("not by NumPy: ")
    assert mine.best_epoch == theirs.best_epoch
    assert mine.history.keys() == theirs.history.keys()
    for name in mine.history:
        np.testing.assert_allclose(mine.history[name], theirs.history[name], rtol=1e-4, atol=atol)
    for name in ("state", "best_state"):
        if getattr(theirs, name) is not None:
            for a, b in zip(getattr(mine, name), getattr(theirs, name), strict=True):
                assert a.shape == b.shape
                np.testing.assert_allclose(a, b, rtol=1e-4, atol=atol)
    if theirs.outputs is not None:
        keras.tree.map_structure(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=atol), mine.outputs, theirs.outputs
        )


@pytest.fixture
def check(plain):
    """Return the comparison of a population's fits with Keras's own."""

    def compare(
        build, configurations, rows, atol=ATOL, epochs=2, batch_size=16, options=None, traced=False, **arguments
    ):
        pairs = zip(configurations, (1, 2, 1), strict=False)
        requests = [FitRequest(hp, seed, epochs, batch_size, **arguments) for hp, seed in pairs]
        population = engine(build, rows, **(options or {}))
        results = [result for _, result in sorted(population.stacked(requests))]
        if traced:  # of the last one only: each is a graph
            results, requests = results[-1:], requests[-1:]
        keras_own = PlainEngine(**population.arguments()).fit(requests) if traced else plain(population, requests)
        for mine, theirs in zip(results, keras_own, strict=True):
            assert_same(mine, theirs, atol)
        return population

    return compare


@pytest.mark.slow
@pytest.mark.long("functional")
@pytest.mark.parametrize("model", ["normalized", "functional"], indirect=True)  # the others have their own tests
def test_members_are_fresh_builds_and_fits(model, rows, check):
    build, configurations = model
    atol = ATOL_NORMALIZED if build.__name__ == "normalized" else ATOL
    check(build, configurations, rows, atol, batch_size=24, monitor=Monitor("val_loss", "min"), predict=np.arange(9))


@pytest.mark.long
def test_fits_of_the_plain_engine_as_it_is(mlp_model, rows):
    """The other tests take Keras's steps eagerly; this one traces them, as users do."""
    build, configurations = mlp_model
    requests = [FitRequest(hp, 1, 2, monitor=Monitor("val_loss", "min")) for hp in configurations[:2]]
    population = engine(build, rows)
    assert_same(population.fit(requests)[1], *PlainEngine(**population.arguments()).fit(requests[1:]))


class Scale(layers.Layer):
    """A custom layer, with a number of its own."""

    def __init__(self, slope):
        super().__init__()
        self.slope = slope

    def build(self, shape):
        self.gain = self.add_weight(shape=shape[-1:], initializer="ones")

    def call(self, inputs):
        return keras.ops.where(inputs > 0, inputs * self.gain, self.slope * inputs)


class Unseeded(layers.Layer):
    """Draws from Keras's global generator."""

    def call(self, inputs, training=False):
        return inputs + 0.1 * keras.random.normal(keras.ops.shape(inputs)) if training else inputs


def many_layers(hp):
    numbers, words = keras.Input((6,), name="numbers"), keras.Input((5,), name="words", dtype="int32")
    embedded = layers.Embedding(9, 4, embeddings_regularizer=regularizers.L2(hp["penalty"]))(words)
    attended = layers.MultiHeadAttention(2, 3, dropout=hp["rate"])(embedded, embedded)
    text = layers.GlobalAveragePooling1D()(layers.LayerNormalization()(embedded + attended))
    z = layers.BatchNormalization(momentum=0.8)(layers.Dense(8, use_bias=False)(numbers))
    z = Scale(hp["penalty"])(layers.GroupNormalization(2)(z))
    z = tfopt.layers.Dropout(hp["rate"])(z)
    for layer in (layers.GaussianNoise, layers.GaussianDropout, layers.AlphaDropout, layers.LeakyReLU):
        z = layer(hp["rate"])(z)
    z = layers.PReLU()(Unseeded()(layers.Concatenate()([z, text])))
    model = keras.Model([numbers, words], layers.Dense(3, "softmax")(z))
    model.compile(optimizers.Adam(hp["lr"]), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@pytest.mark.slow
def test_layers_of_every_kind(check):
    random = np.random.default_rng(0)
    x = (random.normal(size=(32, 6)).astype("float32"), random.integers(0, 9, (32, 5)).astype("int32"))
    configurations = [{"lr": 0.01, "penalty": 0.01, "rate": 0.2}, {"lr": 0.02, "penalty": 0.1, "rate": 0.4}]
    y = random.integers(0, 3, 32).astype("int32")
    check(
        many_layers, configurations, (x, y), epochs=1, options={"validation": None}
    )  # a second graph of all this takes long


@pytest.mark.slow
@pytest.mark.long("GRU", "LSTM")
@pytest.mark.parametrize("cell", ["SimpleRNN", "GRU", "LSTM"])
def test_recurrent_layers(cell, rows, check):
    def build(hp):
        own = getattr(layers, cell)(5, dropout=hp["rate"], go_backwards=True)  # which NumPy does not
        hidden = [layers.Reshape((4, 4)), own, layers.Dense(4, "softmax")]
        model = keras.Sequential([keras.Input((16,)), *hidden])
        model.compile(optimizers.RMSprop(hp["lr"]), "sparse_categorical_crossentropy")
        return model

    # Masks drawn in a loop are others eagerly.
    full = tuple(part[:64] for part in rows)
    check(build, [{"lr": 0.01, "rate": 0.2}, {"lr": 0.02, "rate": 0.4}], full, epochs=1, batch_size=32, traced=True)


@pytest.mark.slow
def test_outputs_losses_and_metrics_of_a_model_with_two_heads(rows, check):
    def build(hp):
        inputs = keras.Input((16,))
        hidden = layers.Dense(4, "tanh", kernel_regularizer=tfopt.regularizers.ElasticNet(hp["penalty"]))(inputs)
        heads = {"p": layers.Dense(1, "sigmoid", name="p")(hidden), "q": layers.Dense(1, name="q")(hidden)}
        model = keras.Model(inputs, heads)
        smooth = keras.losses.BinaryCrossentropy(label_smoothing=hp["smoothing"])
        metrics = {"p": ["accuracy", keras.metrics.AUC(name="auc")], "q": ["mae", keras.metrics.R2Score(name="r2")]}
        losses = {"p": smooth, "q": keras.losses.Huber(hp["delta"])}
        model.compile(optimizers.Adam(hp["lr"]), losses, loss_weights={"p": hp["weight"], "q": 1.0}, metrics=metrics)
        return model

    x = rows[0][:64]  # two full batches: Keras traces its step anew for a partial one
    y = {"p": (x[:, :1] > 0).astype("float32"), "q": x[:, 1:2]}
    names = ("lr", "penalty", "smoothing", "delta", "weight")
    configurations = [dict(zip(names, (0.01, 0.01, 0.1, 1.0, 0.5))), dict(zip(names, (0.02, 0.1, 0.2, 0.5, 2.0)))]  # noqa: B905
    # The logged losses of each output are weighted otherwise in eager steps.
    options = {"validation": None}
    check(build, configurations, (x, y), predict=np.arange(30), batch_size=32, traced=True, options=options)


@pytest.mark.slow
def test_a_subclassed_model_with_a_loss_of_its_own(rows, check):
    class Own(keras.Model):
        def __init__(self, strength):
            super().__init__()
            self.strength, self.hidden, self.out = strength, layers.Dense(4, "tanh"), layers.Dense(4, "softmax")

        def call(self, inputs):
            hidden = self.hidden(inputs)
            self.add_loss(self.strength * keras.ops.mean(keras.ops.square(hidden)))
            return self.out(hidden)

    def build(hp):
        model = Own(hp["strength"])
        model.compile(optimizers.Adam(hp["lr"]), "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    configurations = [{"lr": 0.01, "strength": 0.1}, {"lr": 0.02, "strength": 1.0}]
    check(build, configurations, rows)
    assert configurations[0] == {"lr": 0.01, "strength": 0.1}, "a configuration keeps its numbers"


SCHEDULES = optimizers.schedules
OPTIMIZERS = {
    "momentum, clipnorm": (lambda a, b: optimizers.SGD(a, momentum=b, nesterov=True, clipnorm=b), (0.9, 0.5)),
    "schedule, global_clipnorm": (
        lambda a, b: optimizers.SGD(
            SCHEDULES.CosineDecay(a, 7, warmup_target=2 * a, warmup_steps=3), global_clipnorm=b
        ),
        (0.1, 0.5),
    ),
    "piecewise, decay, clipvalue, averages": (
        lambda a, b: optimizers.AdamW(
            SCHEDULES.PiecewiseConstantDecay([4], [a, b * a]), weight_decay=b, clipvalue=b / 10, use_ema=True,
            ema_momentum=b, ema_overwrite_frequency=3,
        ),
        (0.1, 0.3),
    ),
    "tfopt's schedule": (lambda a, b: optimizers.Adam(tfopt.schedules.LinearDecay(a, 9, b * a)), (0.1, 0.5)),
    "accumulation": (
        lambda a, b: optimizers.Adam(a, epsilon=b, amsgrad=True, gradient_accumulation_steps=2),
        (1e-6, 1e-3),
    ),
    "Adamax": (lambda a, b: optimizers.Adamax(a, beta_1=b), (0.9, 0.8)),
    "Nadam": (lambda a, b: optimizers.Nadam(a, beta_1=b), (0.9, 0.8)),
    "RMSprop": (
        lambda a, b: optimizers.RMSprop(
            SCHEDULES.PolynomialDecay(a, 9, 1e-3, power=b), rho=b, momentum=0.5, centered=True
        ),
        (0.9, 0.8),
    ),
    "Adagrad": (lambda a, b: optimizers.Adagrad(a, initial_accumulator_value=b), (0.1, 0.3)),
    "Adadelta": (lambda a, b: optimizers.Adadelta(a, rho=b), (0.95, 0.8)),
    "Ftrl": (lambda a, b: optimizers.Ftrl(a, l1_regularization_strength=b), (0.01, 0.02)),
    "Lion": (lambda a, b: optimizers.Lion(a / 10, beta_1=b), (0.9, 0.8)),
}  # fmt: skip


def small(make):
    def build(hp):
        held = keras.constraints.MaxNorm(hp["norm"])
        model = keras.Sequential([keras.Input((16,)), layers.Dense(4, "softmax", kernel_constraint=held)])
        model.compile(make(hp["lr"], hp["b"]), "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    return build


@pytest.mark.slow
@pytest.mark.long(
    "tfopt's schedule", "Adamax", "Nadam", "RMSprop", "Adagrad", "Adadelta", "Ftrl", "Lion", "momentum, clipnorm"
)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_elementwise_optimizers(name, rows, check):
    make, (first, second) = OPTIMIZERS[name]
    configurations = [{"lr": 0.02, "b": first, "norm": 1.0}, {"lr": 0.01, "b": second, "norm": 0.7}]
    check(small(make), configurations, rows, options={"validation": None})


@pytest.mark.slow
def test_folds_weights_and_early_stopping(rows, plain):
    x, _ = rows
    weights = np.random.default_rng(1).uniform(0.5, 1.5, len(x)).astype("float32")
    build = small(lambda a, b: optimizers.Adam(a, beta_1=b))
    population = engine(build, rows, sample_weight=weights, validation=None, shuffle="once")
    monitor = Monitor("val_loss", "min", patience=2)
    everyone = np.arange(len(x))
    requests = []
    for lr in (0.3, 0.002):
        for fold in np.array_split(everyone, 3):  # 22, 21 and 21 rows: two stacks
            hp = {"lr": lr, "b": 0.9, "norm": 1.0}
            rest = np.setdiff1d(everyone, fold)
            requests.append(FitRequest(hp, 3, 8, 16, rest, fold, predict=fold, monitor=monitor))
    ended = []
    results = population.fit(requests, done=lambda index, result: ended.append(index))
    for mine, theirs in zip(results[::2], plain(population, requests[::2]), strict=True):
        assert_same(mine, theirs, atol=2e-5)
    lengths = [len(result.history["loss"]) for result in results]
    assert min(lengths) < 8, "one stopped early"
    assert max(lengths) == 8
    assert sorted(ended) == list(range(len(requests)))


@pytest.mark.slow
def test_a_fit_that_diverges_fails_alone(rows, plain):
    def build(hp):
        model = keras.Sequential([keras.Input((16,)), layers.Dense(6, "tanh"), layers.Dense(4, "softmax")])
        model.compile(optimizers.SGD(hp["lr"], momentum=0.9), "sparse_categorical_crossentropy")
        return model

    requests = [FitRequest({"lr": lr}, 1, 4, 16) for lr in (0.02, 1e38, 0.02)]
    population = engine(build, rows)
    results = population.fit(requests)
    theirs = plain(population, requests[:2])
    assert results[1].failure == theirs[1].failure
    assert results[1].failure.startswith("The loss became ")
    assert_same(results[0], theirs[0])
    [alone] = population.fit(requests[:1])
    for result in (results[2], alone):
        for a, b in zip(result.state, results[0].state, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_a_fit_goes_on_where_it_ended(rows):
    """Hyperband's rungs: optimizer, schedule and random streams continue."""

    def build(hp):
        hidden = [layers.Dense(6, "tanh"), layers.Dropout(hp["rate"]), layers.Dense(4, "softmax")]
        model = keras.Sequential([keras.Input((16,)), *hidden])
        model.compile(optimizers.Adam(SCHEDULES.CosineDecay(hp["lr"], 20)), "sparse_categorical_crossentropy")
        return model

    configurations = [{"lr": 0.02, "rate": 0.2}, {"lr": 0.01, "rate": 0.4}]
    population = engine(build, rows, shuffle=True)
    whole = population.fit([FitRequest(hp, 5, 4, 16) for hp in configurations])
    half = population.fit([FitRequest(hp, 5, 2, 16) for hp in configurations])
    rest = population.fit(
        [FitRequest(hp, 5, 4, 16, initial_epoch=2, state=h.state) for hp, h in zip(configurations, half, strict=True)]
    )
    for one, first, then in zip(whole, half, rest, strict=True):
        np.testing.assert_allclose(first.history["loss"] + then.history["loss"], one.history["loss"], rtol=1e-5)
        for a, b in zip(then.state, one.state, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)
    assert len(population.pool.stacks()) == 1, "one graph for all of them"


@pytest.mark.slow
def test_members_of_different_steps_and_validation_rows_are_kept_apart(rows, plain):
    build = small(lambda a, b: optimizers.Adam(a, beta_1=b))
    hp = {"lr": 0.02, "b": 0.9, "norm": 1.0}
    population = engine(build, rows, shuffle=False)
    begun = plain(population, [FitRequest(hp, 1, 1, 16), FitRequest(hp, 1, 1, 32)])
    requests = [FitRequest(hp, 1, 2, 16, initial_epoch=1, state=result.state) for result in begun]
    requests.append(FitRequest(hp, 1, 2, 16, validation=np.arange(40, 60)))
    for mine, theirs in zip(population.fit(requests), plain(population, requests), strict=True):
        assert_same(mine, theirs)


@pytest.mark.slow
def test_gradient_norms_are_those_of_the_callback(rows):
    build = small(lambda a, b: optimizers.SGD(a, momentum=b))
    configurations = [{"lr": lr, "b": 0.9, "norm": 1.0} for lr in (0.02, 0.1)]
    population = PopulationEngine(build, *rows, shuffle=False, grad_norm=True)
    results = population.fit([FitRequest(hp, 1, 2, 16) for hp in configurations])
    for hp, result in zip(configurations, results, strict=True):
        keras.utils.set_random_seed(1)
        norms = tfopt.callbacks.GradientNorms()
        history = build(hp).fit(*rows, epochs=2, batch_size=16, shuffle=False, verbose=0, callbacks=[norms]).history
        np.testing.assert_allclose(result.history["grad_norm"], history["grad_norm"], rtol=1e-5)


def refusal(build, hp, rows, **arguments):
    population = PopulationEngine(build, *rows, **arguments)
    [(_, reason)] = population.stacked([FitRequest(hp, 1, 1)])
    return reason


@pytest.mark.slow
def test_what_cannot_be_stacked_is_refused_with_the_reason(rows):
    hp = {"lr": 0.02, "b": 0.9, "norm": 1.0}
    assert "Lamb is not known" in refusal(small(lambda a, b: optimizers.Lamb(a, beta_1=b)), hp, rows)

    def convolution(hp):
        model = keras.Sequential(
            [
                keras.Input((16,)),
                layers.Reshape((16, 1)),
                layers.SeparableConv1D(2, 3),
                layers.Flatten(),
                layers.Dense(4),
            ]
        )
        model.compile(optimizers.Adam(hp["lr"]), "sparse_categorical_crossentropy")
        return model

    assert "filters of SeparableConv1D" in refusal(convolution, hp, rows)

    class Stateful(layers.Layer):
        def call(self, inputs):
            return inputs + tf.random.normal(tf.shape(inputs))

    def stateful(hp):
        model = keras.Sequential([keras.Input((16,)), Stateful(), layers.Dense(4, "softmax")])
        model.compile(optimizers.Adam(hp["lr"]), "sparse_categorical_crossentropy")
        return model

    assert "depend on what ran before" in refusal(stateful, hp, rows)


@pytest.mark.slow
def test_refused_fits_are_trained_by_the_other_engine(rows):
    build = small(lambda a, b: optimizers.Lamb(a, beta_1=b))
    told = []
    [result] = PopulationEngine(build, *rows).fit(
        [FitRequest({"lr": 0.02, "b": 0.9, "norm": 1.0}, 1, 1)], done=lambda _, result: told.append(result.reason)
    )
    assert result.engine == "shared"
    assert "Lamb" in result.reason
    assert told == [result.reason]


@pytest.mark.long
def test_a_number_that_python_decides_on_gets_a_graph_of_its_own(mlp_model, rows, check):
    build, (hp, other, _) = mlp_model
    population = check(build, [hp, {**other, "rate": 0.0}, other], rows)
    assert len(population.pool.stacks()) == 2


@pytest.mark.long  # in NumPy by default
def test_memory_bounds_the_stack_and_is_halved_when_it_runs_out(rows, monkeypatch, caplog):
    build = small(lambda a, b: optimizers.Adam(a, beta_1=b))
    requests = [FitRequest({"lr": lr, "b": 0.9, "norm": 1.0}, 1, 2, 16) for lr in (0.01, 0.02, 0.03, 0.04, 0.05)]
    population = engine(build, rows)
    expected = population.fit(requests)
    [stack] = population.pool.stacks()
    sizes, train = [], stack.train

    def scarce(orders, batch_size):
        sizes.append(len(orders))
        if len(orders) > 2:
            raise tf.errors.ResourceExhaustedError(None, None, "out of memory")
        return train(orders, batch_size)

    monkeypatch.setattr(stack, "train", scarce)
    for mine, theirs in zip(population.fit(requests), expected, strict=True):
        assert_same(mine, theirs)
    assert sizes[0] == 5
    assert set(sizes[1:]) <= {2, 1}
    assert "training 2 at a time" in caplog.text

    sizes.clear()
    population._memory = 3 * stack.member_bytes(16)
    monkeypatch.setattr(
        stack, "train", lambda orders, batch_size: (sizes.append(len(orders)), train(orders, batch_size))[1]
    )
    population.fit(requests)
    assert max(sizes) == 3


@pytest.mark.slow
def test_a_wrong_stack_is_found_by_its_first_step(rows, monkeypatch):
    """A number that the graph does not read changes nothing in it: the plain step shows it."""
    from tfopt.training import symbolic

    build = small(lambda a, b: optimizers.SGD(a, momentum=b, nesterov=True))
    requests = [FitRequest({"lr": 0.02, "b": b, "norm": 1.0}, 1, 1, 16) for b in (0.9, 0.1)]
    fill = symbolic.StackedNumberTable._fill

    def first_only(self, dtype):
        self._members = [self._members[0]] * len(self._members)
        fill(self, dtype)

    monkeypatch.setattr(symbolic.StackedNumberTable, "_fill", first_only)
    refused = dict(PopulationEngine(build, *rows).stacked(requests))
    assert all("Keras's" in reason for reason in refused.values()), refused
    assert sorted(refused) == [0, 1]


def test_bad_arguments(rows):
    for name in ("max_members", "memory"):
        with pytest.raises(ValueError, match=f"`{name}` must be >= 1"):
            PopulationEngine(lambda hp: None, *rows, **{name: 0})


def test_what_a_call_leaves_is_collected_before_it_stands_among_the_old(monkeypatch):
    """Else the memory of a worker, which goes from call to call, grows: the old are hardly ever gone through."""
    monkeypatch.setattr(module, "_frozen_by_others", lambda: False)
    monkeypatch.setattr(gc, "freeze", lambda: None)  # the tests' own objects stay set aside
    monkeypatch.setattr(gc, "unfreeze", lambda: None)

    class Cycle:
        pass

    with module._old_objects_left_alone():
        cycle = Cycle()
        cycle.itself = cycle
        alive = weakref.ref(cycle)
        del cycle
    assert alive() is None
