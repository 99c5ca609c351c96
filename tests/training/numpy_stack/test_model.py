"""The population that NumPy trains against plain fits: every layer, and all that an engine is asked for."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from threadpoolctl import threadpool_info, threadpool_limits

import tfopt
from tfopt.training import population_engine, stack_pool
from tfopt.training.fits import FitRequest, Monitor
from tfopt.training.numpy_stack import layers as numpy_layers
from tfopt.training.numpy_stack import masks, optimizers
from tfopt.training.numpy_stack import model as numpy_model
from tfopt.training.numpy_stack.activations import ACTIVATIONS
from tfopt.training.plain import PlainEngine
from tfopt.training.population_engine import PopulationEngine
from tfopt.training.stack_pool import StackPool

layers = keras.layers
MAKE_GRAPH_STACK = StackPool.make_graph_stack  # before any test puts another in its place
RATES = [{"lr": 0.1}, {"lr": 0.03}]


def dense(hp):
    return layers.Dense(8, "tanh")


def linear(hp):
    return layers.Dense(8, use_bias=False)


def changing_dropout(hp):
    return tfopt.layers.Dropout(hp["rate"])


def dropout(hp):
    return layers.Dropout(hp["rate"])


def normalization(hp):
    return layers.BatchNormalization(momentum=hp["momentum"], epsilon=hp["epsilon"])


MOVING = [{"lr": 0.1, "momentum": 0.9, "epsilon": 1e-3}, {"lr": 0.03, "momentum": 0.6, "epsilon": 0.1}]
LAYERS = {
    "no hidden layer": ([], RATES),
    "Dense": ([dense], RATES),
    "Dense without bias": ([linear, dense], RATES),
    "ReLU": ([linear, lambda hp: layers.ReLU()], RATES),
    "Dropout": ([dense, dropout, dense, dropout], [{"lr": 0.1, "rate": 0.2}, {"lr": 0.1, "rate": 0.5}]),
    "Dropout of the input": ([dropout], [{"lr": 0.1, "rate": 0.2}, {"lr": 0.1, "rate": 0.5}]),
    "Dropout of rate 0 beside others": ([dense, dropout] * 2, [{"lr": 0.1, "rate": rate} for rate in (0.3, 0.0, 0.5)]),
    "tfopt's Dropout": ([dense, changing_dropout] * 2, [{"lr": 0.1, "rate": rate} for rate in (0.3, 0.0, 1.0)]),
    "Dropout of rate 1 beside others": ([dropout], [{"lr": 0.1, "rate": rate} for rate in (0.3, 1.0, 0.5)]),
    "Dropout of a large seed": ([lambda hp: layers.Dropout(0.3, seed=2**31 + 5), dense], RATES),
    "BatchNormalization": ([linear, normalization, dense], MOVING),
    "BatchNormalization of the input": ([normalization], MOVING),
    "BatchNormalization without scale": ([linear, lambda hp: layers.BatchNormalization(scale=False), dense], RATES),
    "BatchNormalization without centre": ([linear, lambda hp: layers.BatchNormalization(center=False), dense], RATES),
    "BatchNormalization alone": ([linear, lambda hp: layers.BatchNormalization(center=False, scale=False)], RATES),
}


@pytest.mark.long(
    "Dense without bias",
    "Dropout of rate 1 beside others",
    "BatchNormalization without scale",
    "BatchNormalization without centre",
    "Dropout",
)
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Gradients do not exist")  # Keras, of what a rate of 1 cuts off
@pytest.mark.parametrize("name", LAYERS)
def test_layers(name, network, check):
    hidden, configurations = LAYERS[name]
    check(network(*hidden), configurations, epochs=1)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, len(ACTIVATIONS), 4))
def test_activations(first, network, check):
    """Four in a network, each of a Dense and as a layer; their values and slopes one by one are in `test_losses`."""
    four = list(ACTIVATIONS)[first : first + 4]
    hidden = [lambda hp, function=function: layers.Dense(8, function) for function in four]
    hidden += [lambda hp, function=function: layers.Activation(function) for function in four]
    check(network(*hidden), RATES[:1], epochs=1)


def compiled(model, hp):
    model.compile(keras.optimizers.Adam(hp["lr"] / 10), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def shortcut(hp):
    inputs = keras.Input((16,))
    outputs = layers.Dense(4)(layers.Dropout(0.2)(layers.Dense(8, "relu")(inputs)))
    straight = layers.Dense(4, use_bias=False, name="linear_shortcut")(inputs)
    return compiled(keras.Model(inputs, layers.Add()([outputs, straight])), hp)


def residual(hp):
    inputs = keras.Input((16,))
    first = layers.Dense(8, "tanh")(inputs)
    second = layers.Dense(8, "relu")(first)
    return compiled(keras.Model(inputs, layers.Dense(4)(layers.Add()([first, second, first]))), hp)


def flattened(hp):
    inputs = keras.Input((4, 4))
    hidden = layers.Reshape((2, 8))(inputs)
    return compiled(keras.Model(inputs, layers.Dense(4)(layers.Flatten()(layers.Dense(3, "silu")(hidden)))), hp)


def without_input(hp):
    return compiled(keras.Sequential([layers.Dense(8, "tanh"), layers.Dropout(0.2), layers.Dense(4)]), hp)


@pytest.mark.long("shortcut")
@pytest.mark.slow
@pytest.mark.parametrize("build", [shortcut, residual, without_input])
def test_functional_models_and_one_without_input(build, check):
    check(build, RATES)


@pytest.mark.slow
def test_flattened_inputs(check, rows):
    check(flattened, RATES, engine={"x": rows[0].reshape(-1, 4, 4)})


@pytest.mark.slow
def test_every_form_is_in_a_network(network):
    models = [network(*hidden)(configurations[0]) for hidden, configurations in LAYERS.values()]
    models += [build(RATES[0]) for build in (shortcut, residual, flattened)]
    seen = {type(layer) for model in models for layer in model.layers} | {layers.Activation}  # of `test_activations`
    assert set(numpy_layers.KINDS) <= seen


# What an engine is asked for ------------------------------------------------------------------------------------------


def regularized(hp):
    penalty = keras.regularizers.L1L2(hp["l1"], hp["l2"])
    hidden = [layers.Dense(8, "gelu", kernel_regularizer=penalty), layers.BatchNormalization(), layers.Dropout(0.3)]
    model = keras.Sequential([keras.Input((16,)), *hidden, layers.Dense(4)])
    return compiled(model, hp)


VARIED = [{"lr": lr, "l1": l1, "l2": l2} for lr, l1, l2 in ((0.1, 0.01, 0.0), (0.05, 0.0, 0.02), (0.2, 0.003, 0.01))]


@pytest.mark.slow
def test_folds_best_epochs_and_outputs(check, rows):
    everyone = np.arange(len(rows[0]))
    fold = everyone[::3]
    check(
        regularized, VARIED[:2], rows=np.setdiff1d(everyone, fold), validation=fold, predict=fold,
        monitor=Monitor("val_loss", "min"), engine={"validation": None},
    )  # fmt: skip


@pytest.mark.slow
def test_finished_members_leave_and_the_others_go_on(network, check, monkeypatch):
    loads, load = [], numpy_model.NumpyStack.load

    def noted(self, states, members):
        loads.append(len(states))
        load(self, states, members)

    monkeypatch.setattr(numpy_model.NumpyStack, "load", noted)
    _, results = check(
        network(dense, dropout), [{"lr": lr, "rate": 0.2} for lr in (1e-4, 0.1, 1e-4)], epochs=4, seeds=(1, 2, 3),
        predict=np.arange(9), monitor=Monitor("val_loss", "min", patience=1, min_delta=0.02),
    )  # fmt: skip
    lengths = [len(result.history["loss"]) for result in results]
    assert min(lengths) < max(lengths) == 4
    assert {3, 1} <= set(loads)


@pytest.mark.slow
def test_a_fit_goes_on_where_it_ended(numpy_engine, plain, assert_same):
    """Hyperband's rungs: optimizer, moving statistics and random streams continue."""
    population = numpy_engine(regularized, shuffle=True)
    whole = population.fit([FitRequest(hp, 5, 4) for hp in VARIED])
    half = population.fit([FitRequest(hp, 5, 2) for hp in VARIED])
    last = [FitRequest(hp, 5, 4, initial_epoch=2, state=h.state) for hp, h in zip(VARIED, half, strict=True)]
    for one, first, then in zip(whole, half, population.fit(last), strict=True):
        assert first.history["loss"] + then.history["loss"] == one.history["loss"]
        for a, b in zip(then.state, one.state, strict=True):
            np.testing.assert_array_equal(a, b)
    population = numpy_engine(regularized)
    begun = plain(population, [FitRequest(VARIED[0], 5, 1)])
    further = [FitRequest(VARIED[0], 5, 2, initial_epoch=1, state=begun[0].state)]
    [mine], [theirs] = population.fit(further), plain(population, further)
    assert_same(mine, theirs)


def test_a_fit_that_diverges_fails_alone(network, numpy_engine, plain, assert_same):
    build = network(dense)
    requests = [FitRequest({"lr": lr}, 1, 3) for lr in (0.1, 1e38, 0.03)]
    population = numpy_engine(build)
    results = population.fit(requests)
    theirs = plain(population, requests[:2])
    assert_same(results[0], theirs[0])
    assert results[1].failure == theirs[1].failure
    assert results[1].failure.startswith("The loss became ")
    [alone] = population.fit(requests[2:])
    for a, b in zip(alone.state, results[2].state, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_stack_is_halved_where_memory_runs_out(network, numpy_engine, assert_same, monkeypatch, caplog):
    requests = [FitRequest({"lr": rate}, 1, 2) for rate in (0.01, 0.02, 0.03, 0.04, 0.05)]
    build = network(dense)
    expected = numpy_engine(build).fit(requests)
    train, sizes = numpy_model.NumpyStack.train, []

    def scarce(self, orders, batch_size):
        sizes.append(len(orders))
        if len(orders) > 2 and len(sizes) > 1:  # not in the check of the first step
            raise tf.errors.ResourceExhaustedError(None, None, "as a graph's stack raises it")
        return train(self, orders, batch_size)

    monkeypatch.setattr(numpy_model.NumpyStack, "train", scarce)
    for mine, theirs in zip(numpy_engine(build).fit(requests), expected, strict=True):
        assert_same(mine, theirs, atol=0)
    assert sizes[1] == 5
    assert set(sizes[2:]) <= {2, 1}
    assert "training 2 at a time" in caplog.text


@pytest.mark.slow
def test_a_member_is_the_same_to_the_last_bit_in_any_company(numpy_engine, rows, monkeypatch):
    monkeypatch.setattr(numpy_model, "_AT_A_TIME", 16)  # as if there were many rows
    everyone = np.arange(70)
    population = numpy_engine(regularized, grad_norm=True)
    configurations = [*VARIED, *({"lr": 0.01 * i, "l1": 0.01 * i, "l2": 0.1} for i in range(1, 6))]
    requests = [FitRequest(hp, s, 3, predict=everyone) for s, hp in enumerate(configurations)]
    together = population.fit(requests)
    [alone], two = population.fit(requests[:1]), population.fit(requests[:-3:-1])
    for own, other in ((alone, together[0]), (two[0], together[-1]), (two[1], together[-2])):
        assert own.history == other.history
        np.testing.assert_array_equal(own.outputs, other.outputs)
        for a, b in zip(own.state, other.state, strict=True):
            np.testing.assert_array_equal(a, b)


def test_one_output_is_the_same_to_the_last_bit_in_any_company(network, numpy_engine, rows):
    build = network(dense, loss=lambda hp: "mse", units=1)
    population = numpy_engine(build, y=rows[0][:, 0])
    requests = [FitRequest({"lr": 0.01 * i}, i, 2) for i in range(1, 8)]
    together = population.fit(requests)
    [alone] = population.fit(requests[3:4])
    assert alone.history == together[3].history
    for a, b in zip(alone.state, together[3].state, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_members_of_different_rows_train_together_as_each_alone(numpy_engine, rows, monkeypatch):
    def build(hp):
        hidden = [layers.Dense(8), layers.BatchNormalization(), layers.Activation("relu"), layers.Dropout(hp["rate"])]
        model = keras.Sequential([keras.Input((16,)), *hidden, layers.Dense(4, kernel_regularizer="l2")])
        loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=hp["smoothing"])
        model.compile(keras.optimizers.Adam(0.01), loss, metrics=["accuracy"])
        return model

    x, y = rows[0], keras.utils.to_categorical(rows[1], 4)
    parts = [(39, 10, 7), (37, 8, 9), (39, 8, 9), (41, 8, 9)]  # rows to train on, to validate on, to predict
    requests = [
        FitRequest(
            {"rate": rate, "smoothing": rate / 4}, seed, 2, 8, rows=np.arange(train)[::-1],
            validation=np.arange(held), predict=np.arange(predicted), monitor=Monitor("val_loss", "min"),
        )
        for seed, rate, (train, held, predicted) in zip((1, 2, 1, 3), (0.2, 0.5, 0.4, 0.3), parts, strict=True)
    ]  # fmt: skip
    alone = [numpy_engine(build, x, y).fit([request])[0] for request in requests]
    epochs, train = [], numpy_model.NumpyStack.train
    counted = lambda stack, orders, size: epochs.append(len(orders)) or train(stack, orders, size)  # noqa: E731
    monkeypatch.setattr(numpy_model.NumpyStack, "train", counted)
    together = numpy_engine(build, x, y).fit(requests)
    assert epochs[-4:] == [3, 3, 1, 1], "those of five steps an epoch, then the one of six"
    for one, other in zip(alone, together, strict=True):
        assert one.failure is None
        assert (one.history, one.best_epoch) == (other.history, other.best_epoch)
        for a, b in zip(
            [*one.state, *one.best_state, one.outputs], [*other.state, *other.best_state, other.outputs], strict=True
        ):
            np.testing.assert_array_equal(a, b)


@pytest.fixture
def two_threads(monkeypatch):
    """Make any work worth two threads; return what says which members were trained in which."""
    for name in ("_WORTH_A_THREAD", "_WORTH_A_SECOND_STACK"):
        monkeypatch.setattr(population_engine, name, 0)
    monkeypatch.setattr(population_engine, "num_cores", lambda: 2)
    parts, together = [], PopulationEngine._together

    def noted(self, stack, members, cancelled=None):
        parts.append([member.index for member in members])
        yield from together(self, stack, members, cancelled)

    monkeypatch.setattr(PopulationEngine, "_together", noted)
    return parts


@pytest.mark.slow
def test_two_threads_train_the_same_to_the_last_bit(numpy_engine, rows, two_threads, monkeypatch):
    monitor = Monitor("val_loss", "min", patience=2)
    requests = [FitRequest(hp, s, 4, monitor=monitor, predict=np.arange(7)) for s in (1, 2) for hp in VARIED]
    mine = numpy_engine(regularized).fit(requests)
    half = (len(requests) + 1) // 2
    assert sorted(two_threads) == [list(range(half)), list(range(half, len(requests)))]
    monkeypatch.setattr(population_engine, "num_cores", lambda: 1)
    for own, other in zip(mine, numpy_engine(regularized).fit(requests), strict=True):
        assert (own.history, own.best_epoch) == (other.history, other.best_epoch)
        a, b = ([*result.state, *result.best_state, result.outputs] for result in (own, other))
        assert all(map(np.array_equal, a, b))


def test_memory_that_runs_out_in_one_of_two_threads(numpy_engine, two_threads, monkeypatch, caplog):
    expected = numpy_engine(regularized).fit(requests := [FitRequest(hp, 1, 2) for hp in VARIED])
    train = numpy_model.NumpyStack.train

    def scarce(self, orders, batch_size):
        if len(two_threads) <= 4 and self.second is None:  # in the second of the first two
            raise MemoryError
        return train(self, orders, batch_size)

    engine = numpy_engine(regularized)
    monkeypatch.setattr(numpy_model.NumpyStack, "train", scarce)
    monkeypatch.setattr(stack_pool, "stack_differs", lambda *_: None)
    for own, other in zip(engine.fit(requests), expected, strict=True):
        assert own.history == other.history
    assert "Memory ran out" in caplog.text


def test_products_stay_on_one_thread_until_the_last_stack_is_done():
    def limits():
        return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}

    with threadpool_limits(2, "blas"):
        first, second = numpy_model._one_blas_thread, numpy_model._one_blas_thread
        first.__enter__()
        second.__enter__()
        first.__exit__()
        assert limits() == {1}
        second.__exit__()
        assert limits() == {2}


@pytest.mark.slow
def test_gradient_norms_are_those_of_a_graph(numpy_engine, rows, monkeypatch):
    from tfopt.errors import CannotStack

    requests = [FitRequest(hp, 1, 2) for hp in VARIED[:2]]
    mine = numpy_engine(regularized, grad_norm=True, validation=None).fit(requests)

    def refuse(*_):
        raise CannotStack("this one wants a graph")

    monkeypatch.setattr(StackPool, "make_graph_stack", MAKE_GRAPH_STACK)
    monkeypatch.setattr(StackPool, "make_numpy_stack", refuse)
    traced = PopulationEngine(regularized, *rows, grad_norm=True, shuffle="once").fit(requests)
    for own, other in zip(mine, traced, strict=True):
        assert own.history.keys() == other.history.keys() == {"loss", "grad_norm"}
        np.testing.assert_allclose(own.history["grad_norm"], other.history["grad_norm"], rtol=1e-5)


@pytest.mark.slow
def test_one_fit_by_the_plain_engine_as_it_is(rows, network, numpy_engine, assert_same):
    """The other tests take Keras's steps eagerly; this one traces them, as users do."""
    requests = [FitRequest({"lr": 0.1, "rate": 0.2}, 1, 2)]
    population = numpy_engine(network(dense, dropout, metrics=["accuracy"]))
    [mine], [theirs] = population.fit(requests), PlainEngine(**population.arguments()).fit(requests)
    assert_same(mine, theirs)


# Planted mistakes -----------------------------------------------------------------------------------------------------


def wrong_slope(monkeypatch):
    slope = ACTIVATIONS[keras.activations.tanh]._replace(slope=lambda _, out: 1 - out)
    monkeypatch.setitem(ACTIVATIONS, keras.activations.tanh, slope)


def wrong_backward(monkeypatch):
    backward = numpy_layers._Dense.backward

    def doubled(self, gradient, wanted):
        return backward(self, 1.01 * gradient, wanted)

    monkeypatch.setattr(numpy_layers._Dense, "backward", doubled)


def wrong_epsilon(monkeypatch):
    load = optimizers._Adam.load

    def enlarged(self):
        load(self)
        self.epsilon = self.epsilon + np.float32(1e-3)

    monkeypatch.setattr(optimizers._Adam, "load", enlarged)


def wrong_masks(monkeypatch):
    seeds = masks.DropoutDraws.seeds_of
    monkeypatch.setattr(masks.DropoutDraws, "seeds_of", lambda self, steps: seeds(self, range(1, 1 + len(steps))))


def wrong_penalty(monkeypatch):
    columns = numpy_model.Penalties._columns
    monkeypatch.setattr(
        numpy_model.Penalties, "_columns", lambda *a: [(place, 1.1 * column) for place, column in columns(*a)]
    )


def wrong_moving_average(monkeypatch):
    load = numpy_layers._BatchNormalization.load

    def swapped(self, *views):
        load(self, *views)
        self._kept, self._new = self._new, self._kept

    monkeypatch.setattr(numpy_layers._BatchNormalization, "load", swapped)


def test_a_card_that_rounds_the_factors_of_products_is_no_mistake(rows, numpy_engine, network, monkeypatch):
    """As TensorFlow does on a GPU, to TF32, where it is let: the check does not let it."""
    config, exact = tf.config.experimental, tf.matmul

    def rounded(factor):
        bits = tf.bitcast(factor, tf.int32)
        kept = tf.bitcast(tf.bitwise.bitwise_and(bits + (1 << 12), -(1 << 13)), tf.float32)
        return factor + tf.stop_gradient(kept - factor)

    def on_a_card(a, b, **how):
        rounds = config.tensor_float_32_execution_enabled()
        return exact(rounded(a), rounded(b), **how) if rounds else exact(a, b, **how)

    monkeypatch.setattr(tf, "matmul", on_a_card)
    build = network(dense, dense, optimizer=lambda hp: keras.optimizers.Adam(hp["lr"]))
    [result] = numpy_engine(build).fit([FitRequest(RATES[0], 1, 1)])
    assert (result.engine, result.reason) == ("population", "")
    assert config.tensor_float_32_execution_enabled()


@pytest.mark.slow
@pytest.mark.parametrize(
    "plant", [wrong_slope, wrong_backward, wrong_epsilon, wrong_masks, wrong_penalty, wrong_moving_average]
)
def test_a_mistake_is_found_by_the_first_step(plant, rows, monkeypatch, caplog):
    from tfopt.errors import CannotStack

    def build(hp):
        penalty = keras.regularizers.L2(0.1)
        hidden = [layers.Dense(8, "tanh", kernel_regularizer=penalty), layers.BatchNormalization(), layers.Dropout(0.3)]
        return compiled(keras.Sequential([keras.Input((16,)), *hidden, layers.Dense(4)]), hp)

    def refuse(*_):
        raise CannotStack("the next one asked")

    plant(monkeypatch)
    monkeypatch.setattr(StackPool, "make_graph_stack", refuse)
    caplog.set_level("DEBUG", "tfopt")
    population = PopulationEngine(build, *rows, validation=rows)
    found = dict(population.stacked([FitRequest(hp, 1, 1) for hp in RATES]))
    assert found == dict.fromkeys((0, 1), "the next one asked")
    assert "not trained by NumPy" in caplog.text
    assert "Keras's" in caplog.text
