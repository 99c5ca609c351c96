"""What the walk finds in a model, wherever it hides, and when two models have one graph."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfopt.training.model_walk import ModelWalk

layers = keras.layers


def compiled(*hidden, optimizer="sgd", loss="mse", **how) -> keras.Model:
    model = keras.Sequential([keras.Input((3,)), *hidden, layers.Dense(1)])
    model.compile(optimizer, loss, **how)
    model.optimizer.build(model.trainable_variables)
    return model


def differing(make, *values) -> set[float]:
    """Return the numbers that tell the models of these values apart, of one signature."""
    walks = [ModelWalk(make(value)) for value in values]
    assert len({walk.signature for walk in walks}) == 1
    found = [{walk.numbers[p] for walk in walks} for p in walks[0].numbers if len({w.numbers[p] for w in walks}) > 1]
    assert found, "nothing differs"
    return set.union(*found)


class Holder(layers.Layer):
    """A layer without a configuration that keeps a number in a container, a partial, a closure and a default."""

    def __init__(self, value, where):
        super().__init__()
        if where == "tuple":
            self.kept = (1.0, (value, "x"))
        elif where == "list":
            self.kept = [value]
        elif where == "dict":
            self.kept = {"a": {"b": value}}
        elif where == "partial":
            self.kept = functools.partial(max, value)
        elif where == "closure":
            self.kept = lambda x: x * value
        elif where == "default":
            self.kept = lambda x, scale=value: x * scale
        elif where == "keyword":
            self.kept = lambda x, *, scale=value: x * scale
        elif where == "method":
            self.kept = Holder(value, "list").read

    def read(self):
        return self.kept

    def call(self, x):
        return x


@pytest.mark.parametrize("where", ["tuple", "list", "dict", "partial", "closure", "default", "keyword", "method"])
def test_numbers_are_found_where_no_configuration_shows_them(where):
    assert differing(lambda value: compiled(Holder(value, where)), 0.125, 0.375) == {0.125, 0.375}


@pytest.mark.parametrize("where", ["tuple", "list", "dict", "closure", "default", "keyword"])
def test_setters_put_another_value_in_its_place(where):
    model = compiled(Holder(0.125, where))
    walk = ModelWalk(model)
    [path] = [path for path, number in walk.numbers.items() if number == 0.125]
    walk.setters[path](0.75)
    assert ModelWalk(model).numbers[path] == 0.75


@pytest.mark.parametrize(
    "make",
    [
        lambda v: compiled(layers.Dropout(v)),
        lambda v: compiled(layers.Dense(2, kernel_regularizer=keras.regularizers.L1L2(0.0, v))),
        lambda v: compiled(layers.Dense(2, kernel_constraint=keras.constraints.MaxNorm(v))),
        lambda v: compiled(layers.BatchNormalization(momentum=v)),
        lambda v: compiled(optimizer=keras.optimizers.Adam(0.01, beta_1=v)),
        lambda v: compiled(optimizer=keras.optimizers.AdamW(0.01, weight_decay=v)),
        lambda v: compiled(optimizer=keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(v, 10))),
        lambda v: compiled(optimizer=keras.optimizers.SGD(0.01, clipnorm=v)),
        lambda v: compiled(loss=keras.losses.Huber(delta=v)),
    ],
)
def test_numbers_of_keras_parts(make):
    assert {round(value, 6) for value in differing(make, 0.125, 0.375)} == {0.125, 0.375}


def test_a_schedules_steps_are_numbers_and_a_layers_units_are_structure():
    def scheduled(steps):
        schedule = keras.optimizers.schedules.ExponentialDecay(0.1, steps, 0.5)
        return compiled(optimizer=keras.optimizers.SGD(schedule))

    assert differing(scheduled, 10, 20) == {10, 20}
    assert ModelWalk(compiled(layers.Dense(2))).signature != ModelWalk(compiled(layers.Dense(4))).signature


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda: compiled(layers.Dense(2, "relu")), lambda: compiled(layers.Dense(2, "tanh"))),
        (lambda: compiled(layers.Lambda(lambda x: x + 1)), lambda: compiled(layers.Lambda(lambda x: x * 2))),
        (lambda: compiled(optimizer="adam"), lambda: compiled(optimizer="rmsprop")),
        (lambda: compiled(loss="mae"), lambda: compiled(loss="mse")),
        (lambda: compiled(optimizer=keras.optimizers.SGD(nesterov=True)), lambda: compiled()),
        (lambda: compiled(jit_compile=True), lambda: compiled(jit_compile=False)),  # XLA draws other random numbers
    ],
)
def test_other_graphs_have_other_signatures(one, other):
    assert ModelWalk(one()).signature != ModelWalk(other()).signature
    assert ModelWalk(one()).signature == ModelWalk(one()).signature


def test_which_layer_takes_which_tensor_is_structure():
    def joined(swapped):
        a, b = keras.Input((3,)), keras.Input((3,))
        first, second = layers.Dense(3), layers.Dense(3)
        hidden = [first(b), second(a)] if swapped else [first(a), second(b)]
        model = keras.Model([a, b], layers.Subtract()(hidden))
        model.compile("sgd", "mse")
        model.optimizer.build(model.trainable_variables)
        return model

    assert ModelWalk(joined(False)).signature == ModelWalk(joined(False)).signature
    assert ModelWalk(joined(False)).signature != ModelWalk(joined(True)).signature


def test_initializers_numbers_are_used_up():
    walk = ModelWalk(compiled(layers.Dense(2, kernel_initializer=keras.initializers.RandomNormal(stddev=0.125))))
    assert 0.125 not in walk.numbers.values()


def test_texts_are_structure():
    def make(*held):
        layer = layers.ReLU()
        layer.held = tf.constant(held[0] if len(held) == 1 else held)
        return ModelWalk(compiled(layer)).signature

    assert make("a") == make("a") != make("b")
    assert make("a", "b") == make("a", "b") != make("a", "c")


def test_arrays_are_structure():
    def mask(values):
        array = np.array(values, "float32")
        return compiled(layers.Lambda(lambda x: x * array))

    assert ModelWalk(mask([1, 0, 1])).signature != ModelWalk(mask([1, 1, 1])).signature
