"""Walking through models, wherever layers and optimizers hide."""

import keras
import pytest

import tfopt
from tfopt._layers import distinct_paths, innermost_optimizers, path_in_model, sublayers

layers, optimizers = keras.layers, keras.optimizers


class Block(layers.Layer):
    def __init__(self, name):
        super().__init__(name=name)
        self.first = layers.Dense(2, name="first")
        self.listed = [layers.Dense(2, name="listed"), {"deep": (layers.Dense(2, name="deep"),)}]
        self.again = self.first

    def call(self, x):
        return self.listed[1]["deep"][0](self.listed[0](self.first(x)))


def names(model):
    return [layer.name for layer in sublayers(model) if not isinstance(layer, layers.InputLayer | keras.Model)]


def test_layers_in_attributes_lists_and_dicts_come_once_and_in_order():
    assert names(Block("block")) == ["first", "listed", "deep"]
    model = keras.Sequential([keras.Input((2,)), Block("a"), layers.Dropout(0.5, name="drop"), Block("b")])
    assert names(model) == ["a", "first", "listed", "deep", "drop", "b", "first", "listed", "deep"]


def test_layers_within_wrappers_cells_and_nested_models():
    inner = keras.Sequential([keras.Input((3,)), layers.Dense(3, name="dense")], name="inner")
    cells = layers.RNN([layers.GRUCell(2, name="one"), layers.GRUCell(2, name="two")], name="rnn")
    inputs = keras.Input((4, 3))
    wrapped = layers.Bidirectional(layers.LSTM(2, name="lstm"), name="both")(layers.TimeDistributed(inner)(inputs))
    found = names(keras.Model(inputs, [wrapped, cells(inputs)]))
    assert {"dense", "one", "two", "both", "lstm_cell"} <= {name.removeprefix("forward_") for name in found}
    assert found.index("both") < next(place for place, name in enumerate(found) if "lstm_cell" in name)


def test_paths_leave_the_models_own_name_out():
    def make():
        model = keras.Sequential([layers.Dense(1, name="dense")], name="outer")
        model.build((None, 2))
        return model

    assert path_in_model(make(), make().layers[0].kernel) == "dense/kernel"
    model = make()
    twins = [layers.Dropout(0.1, name="same"), layers.Dropout(0.1, name="same"), model.layers[0]]
    assert distinct_paths(model, twins) == ["same", "same#2", "dense"]


@pytest.mark.parametrize("wrap", [lambda one: one, optimizers.LossScaleOptimizer, tfopt.regularizers.ProximalOptimizer])
def test_an_optimizer_within_others(wrap):
    own = optimizers.SGD()
    assert innermost_optimizers(wrap(own)) == [own]


def test_optimizers_side_by_side():
    sgd, adam = optimizers.SGD(), optimizers.LossScaleOptimizer(optimizers.Adam())
    several = optimizers.MultiOptimizer(optimizers.OptimizerMap(sgd, {"x": adam}))
    assert {id(one) for one in innermost_optimizers(several)} == {id(sgd), id(adam.inner_optimizer)}
