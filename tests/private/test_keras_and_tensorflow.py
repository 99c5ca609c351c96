"""The private names that the engines rest on, each by what goes wrong without it."""

import os
import random
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfopt._private.keras_models import calls_of, compiled_parts, function_of, layers_of, make_variables, topology
from tfopt._private.keras_optimizers import (
    averages_of,
    clip_with,
    exempts_from_decay,
    forget_gradients_of_any_shape,
    free_shape,
    learning_rate_of,
    moments_of,
    pass_exemptions_on,
    replace_learning_rate,
    unfix,
)
from tfopt._private.keras_random import global_generator, seeded, set_global_generator, stateful_stream
from tfopt._private.tensorflow_graphs import kernels_forgotten, variables_alike
from tfopt.errors import CannotStack
from tfopt.training.symbolic import NumberTable, kept_symbolic


def draws():
    return (
        keras.random.normal((2,)).numpy().tolist(),
        keras.initializers.GlorotUniform()((2, 2)).numpy().tolist(),
        keras.layers.Dropout(0.5)(np.ones((1, 8)), training=True).numpy().tolist(),
        np.random.rand(),
        random.random(),
    )


def test_seeded_gives_every_stream_of_set_random_seed_and_puts_pythons_back():
    keras.utils.set_random_seed(11)
    expected = draws()
    np.random.seed(3)
    random.seed(3)
    before = np.random.get_state()[1].tolist(), random.getstate()
    with seeded(11):
        assert draws() == expected
    assert (np.random.get_state()[1].tolist(), random.getstate()) == before


def test_a_stateful_draw_in_a_build_is_noticed():
    with seeded(0):
        state = stateful_stream()
        keras.layers.Dense(2).build((None, 2))
        keras.random.normal((2,))
        assert stateful_stream() == state
        tf.random.normal((2,))
        assert stateful_stream() != state


def test_layers_and_topology_of_a_model():
    inputs = keras.Input((2,))
    hidden = keras.layers.Dense(2)
    model = keras.Model(inputs, keras.layers.Add()([hidden(inputs), inputs]))
    assert hidden in layers_of(model)
    assert len(topology(model)) == 4
    assert topology(keras.Sequential([hidden]).layers[0]) == []


def test_calls_of_a_model_in_their_order():
    inputs = keras.Input((4,))
    first, second, joined = keras.layers.Dense(4), keras.layers.Dense(4), keras.layers.Add()
    model = keras.Model(inputs, joined([second(first(inputs)), inputs]))
    calls = calls_of(model)
    assert [operation for operation, _ in calls[1:]] == [first, second, joined]
    assert [sources for _, sources in calls] == [[], [0], [1], [2, 0]]
    first, second = keras.layers.Dense(4), keras.layers.Dense(4)
    sequential = keras.Sequential([keras.Input((4,)), first, second])
    assert [operation for operation, _ in calls_of(sequential)[1:]] == [first, second]


def called_twice(inputs):
    layer = keras.layers.Dense(4)
    return layer(layer(inputs))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (called_twice, "is called 2 times"),
        (lambda inputs: keras.layers.Dropout(0.5)(inputs, training=True), "arguments of its own"),
        (lambda inputs: [keras.layers.Dense(4)(inputs), inputs], "one input and one output"),
    ],
)
def test_calls_that_are_more_than_layer_after_layer_are_refused(make, reason):
    inputs = keras.Input((4,))
    with pytest.raises(CannotStack, match=reason):
        calls_of(keras.Model(inputs, make(inputs)))
    with pytest.raises(CannotStack, match="one input and one output"):
        calls_of(keras.Sequential([keras.layers.Dense(2)]))  # not built: it has no calls yet


def test_the_loss_and_the_metrics_that_a_model_was_compiled_with():
    def parts(**compiled):
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        model.compile("sgd", **compiled)
        return compiled_parts(model, np.zeros((4, 2), "float32"))

    loss, metrics, weighted = parts(loss=keras.losses.Huber(), metrics=["mae", keras.metrics.AUC(name="auc")])
    assert isinstance(loss, keras.losses.Huber)
    assert ([metric.name for metric in metrics], weighted) == (["mae", "auc"], [])
    _, metrics, [metric] = parts(loss="mse", weighted_metrics=["mae"])
    assert (metrics, metric.name) == ([], "mae")
    assert parts(loss="mse")[1:] == ([], [])
    with pytest.raises(CannotStack, match="a weighted one"):
        parts(loss="mse", loss_weights=[2.0])


def test_the_functions_that_losses_and_metrics_wrap():
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.25)
    function, options = function_of(loss)
    assert function is keras.losses.categorical_crossentropy
    assert (options["from_logits"], options["label_smoothing"]) == (True, 0.25)
    function, options = function_of(keras.metrics.BinaryAccuracy(threshold=0.3))
    assert (function, options["threshold"]) == (keras.metrics.binary_accuracy, 0.3)
    assert function_of(keras.metrics.AUC()) == (None, {})


def test_the_moments_that_an_optimizer_keeps():
    weights = [keras.Variable(np.zeros(shape), name="weight") for shape in ((2, 3), (3,))]
    optimizer = keras.optimizers.Adam()
    assert moments_of(optimizer) == {}
    optimizer.apply([np.ones((2, 3), "float32"), np.full(3, 2, "float32")], weights)
    found = moments_of(optimizer)
    for name, expected in (("momentum", (0.1, 0.2)), ("velocity", (0.001, 0.004))):
        for slot, value in zip(found[name], expected, strict=True):
            np.testing.assert_allclose(slot, value, rtol=1e-4)
    optimizer = keras.optimizers.RMSprop()
    optimizer.build(weights)
    assert set(moments_of(optimizer)) == {"velocity"}, "no momentum is kept without one"


def test_weights_that_an_optimizer_exempts_from_decay():
    optimizer = keras.optimizers.AdamW()
    assert not exempts_from_decay(optimizer)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    assert exempts_from_decay(optimizer)
    optimizer, kept = keras.optimizers.AdamW(), keras.Variable(np.zeros(2), name="kept")
    optimizer.exclude_from_weight_decay(var_list=[kept])
    assert exempts_from_decay(optimizer)


def test_tensorflow_knows_variables_that_are_alike_by_one_name():
    def variables():
        layer = keras.layers.Dense(2, name="apart")
        layer.build((None, 3))
        return layer.weights

    stock = variables()
    assert len({variable.value.name for variable in stock}) == 2
    with variables_alike():
        alike = variables()
    assert len({variable.value.name for variable in alike}) == 1
    assert [variable.path for variable in alike] == [variable.path for variable in stock]
    assert len({variable.value.name for variable in variables()}) == 2


def test_variables_of_the_first_batch_are_made():
    model = keras.Sequential([keras.layers.Dense(2)])
    model.compile("sgd", "mse", metrics=["mae"])
    assert not model.built
    assert len(model.metrics_variables) < 4
    make_variables(model, (np.zeros((4, 3), "float32"), np.zeros((4, 2), "float32")))
    assert model.built
    # A total and a count for the loss and for the metric, which Keras makes at the first batch only.
    assert len(model.metrics_variables) == 4


def test_a_generator_can_be_put_in_the_place_of_the_global_one():
    with seeded(0):
        generator = keras.random.SeedGenerator(5)
        set_global_generator(generator)
        assert global_generator() is generator
        np.testing.assert_array_equal(
            keras.random.normal((3,)), keras.random.normal((3,), seed=keras.random.SeedGenerator(5))
        )


@pytest.mark.parametrize("make", [keras.layers.GaussianDropout, keras.layers.LeakyReLU])
def test_layers_that_hand_a_number_to_c_take_a_live_one(make):
    """Stock: `math.sqrt(rate)` and the slope as an attribute of an operation would bake the number in."""
    numbers = NumberTable({"value": 0.25})
    layer = make(0.25, seed=1) if make is keras.layers.GaussianDropout else make(0.25)
    name = "rate" if make is keras.layers.GaussianDropout else "negative_slope"
    setattr(layer, name, numbers.number("value"))
    x = tf.constant(np.linspace(-2, 2, 12, dtype="float32")[None])

    @tf.function(autograph=False)
    def run(x):
        return layer(x, training=True) if name == "rate" else layer(x)

    with kept_symbolic():
        run.get_concrete_function(x)
    for value in (0.25, 0.5):
        numbers.set({"value": value})
        fresh = make(value, seed=1) if name == "rate" else make(value)
        if name == "rate":
            layer.seed_generator.state.assign(fresh.seed_generator.state)
        np.testing.assert_allclose(run(x), fresh(x, training=True) if name == "rate" else fresh(x), rtol=1e-6)


def variables(*values, names=()):
    names = names or [None] * len(values)
    return [keras.Variable(np.asarray(v, "float32"), name=name) for v, name in zip(values, names, strict=True)]


def test_the_first_axis_of_a_variable_can_be_freed():
    (variable,) = variables(np.zeros((1, 3)))
    rows = np.arange(6, dtype="float32").reshape(2, 3)
    assert unfix(variable) is variable
    assert tuple(variable.shape) == (1, 3)
    variable.value.assign(rows)
    np.testing.assert_array_equal(variable, rows)
    with pytest.raises(ValueError, match="shape"):
        variable.assign(2 * rows)
    free_shape(variable)
    variable.assign(2 * rows)
    np.testing.assert_array_equal(variable, 2 * rows)


def test_the_step_counter_counts_what_is_accumulated_too():
    optimizer, weights = keras.optimizers.SGD(1.0, gradient_accumulation_steps=2), variables([0.0])
    for _ in range(3):
        optimizer.apply([tf.constant([1.0])], weights)
    assert int(optimizer.variables[0]) == 3
    assert int(optimizer.iterations) == 1


def test_a_learning_rate_is_replaced_and_its_variable_stays():
    schedule = keras.optimizers.schedules.ExponentialDecay(0.5, 1, 0.5)
    assert learning_rate_of(keras.optimizers.SGD(schedule)) is schedule
    optimizer, weights = keras.optimizers.SGD(0.1), variables([0.0])
    optimizer.build(weights)
    own = learning_rate_of(optimizer)
    assert float(own) == pytest.approx(0.1)
    replace_learning_rate(optimizer, schedule)
    for _ in range(2):
        optimizer.apply([tf.constant([1.0])], weights)
    np.testing.assert_allclose(weights[0], [-0.5 - 0.25])
    assert any(own is variable for variable in optimizer.variables)


def test_gradients_are_clipped_as_one_says():
    optimizer, weights = keras.optimizers.SGD(1.0, clipvalue=9.0), variables([0.0], [0.0])
    optimizer.build(weights)
    clip_with(optimizer, lambda gradients: [gradient / 2 for gradient in gradients])
    optimizer.apply([tf.constant([1.0]), tf.constant([30.0])], weights)
    np.testing.assert_allclose(np.ravel(weights), [-0.5, -15.0])


@pytest.mark.parametrize("freed", [True, False])
def test_accumulated_gradients_of_any_shape_are_zeroed(freed):
    optimizer, weights = keras.optimizers.SGD(1.0, gradient_accumulation_steps=2), variables(np.zeros((1, 2)))
    unfix(weights[0])
    optimizer.build(weights)
    (accumulated,) = [variable for variable in optimizer.variables if tuple(variable.shape) == (1, 2)]
    if freed:
        forget_gradients_of_any_shape(optimizer)
    for variable in (*weights, unfix(accumulated)):
        free_shape(variable)
        variable.assign(np.zeros((3, 2)))
    gradient = tf.constant([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    optimizer.apply([gradient], weights)
    np.testing.assert_array_equal(accumulated, gradient)
    if not freed:  # what Keras does itself
        with pytest.raises((TypeError, ValueError)):
            optimizer.apply([3 * gradient], weights)
        return
    optimizer.apply([3 * gradient], weights)
    np.testing.assert_array_equal(accumulated, np.zeros((3, 2)))
    np.testing.assert_allclose(weights[0], -2 * gradient)


def test_weight_decay_spares_the_stand_ins_of_what_it_spared():
    optimizer = keras.optimizers.SGD(0.1, weight_decay=0.5)
    originals, stand_ins = (variables([1.0], [1.0], [1.0], names=("kernel", "bias", "gain")) for _ in range(2))
    optimizer.exclude_from_weight_decay(var_list=originals[1:2], var_names=["gain"])
    optimizer.build(stand_ins)
    pass_exemptions_on(optimizer, originals, stand_ins)
    optimizer.apply([tf.zeros(1)] * 3, stand_ins)
    np.testing.assert_allclose(np.ravel(stand_ins), [1 - 0.1 * 0.5, 1, 1])
    plain = keras.optimizers.SGD(0.1, weight_decay=0.5)
    plain.build(stand_ins)
    pass_exemptions_on(plain, originals, stand_ins)  # nothing was exempt, nothing is
    plain.apply([tf.zeros(1)] * 3, stand_ins)
    np.testing.assert_allclose(np.ravel(stand_ins), [0.95**2, 0.95, 0.95])


def test_the_averages_are_those_of_the_weights_in_their_order():
    optimizer, weights = keras.optimizers.SGD(1.0, use_ema=True, ema_momentum=0.75), variables([0.0], [0.0])
    for _ in range(2):
        optimizer.apply([tf.constant([1.0]), tf.constant([10.0])], weights)
    # The first average is the first weight itself: −1, then 0.75·(−1) + 0.25·(−2).
    np.testing.assert_allclose(np.ravel(averages_of(optimizer)), [-1.25, -12.5])


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is looked up in /proc")
def test_kernels_are_forgotten():
    """TensorFlow keeps a kernel for every name of a variable for good: of these 600, 20 MB."""

    def megabytes():
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    before = megabytes()
    for search in range(3):
        with kernels_forgotten():
            for number in range(200):
                tf.Variable(tf.zeros(3), name=f"search_{search}_variable_{number}").assign_add(tf.ones(3))
    assert megabytes() - before < 12
