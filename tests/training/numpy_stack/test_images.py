"""Convolutions, poolings and recurrent layers in NumPy: their gradients against TensorFlow, networks against `fit`."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfopt.training.numpy_stack import images, recurrent
from tfopt.training.numpy_stack.numbers import MemberNumbers

layers = keras.layers
KINDS = images.KINDS | recurrent.KINDS
RATES = [{"lr": 0.01, "rate": 0.2}, {"lr": 0.03, "rate": 0.4}]

# The shape of an input, and a layer on it.
CASES = {
    "a convolution": ((5, 6, 2), lambda: layers.Conv2D(3, 3, bias_initializer="normal")),
    "with padding": ((5, 6, 2), lambda: layers.Conv2D(3, (3, 2), padding="same", activation="tanh")),
    "by strides": ((6, 5, 2), lambda: layers.Conv2D(3, 2, strides=(2, 3), use_bias=False)),
    "by strides with padding": ((7, 6, 2), lambda: layers.Conv2D(3, 3, strides=2, padding="same")),
    "strides longer than the window": ((7, 6, 1), lambda: layers.Conv2D(3, 1, strides=3, padding="same")),
    "dilated": ((7, 6, 2), lambda: layers.Conv2D(3, 3, dilation_rate=(2, 1), padding="same")),
    "of one place": ((4, 3, 2), lambda: layers.Conv2D(3, 1)),
    "of a sequence": ((7, 2), lambda: layers.Conv1D(3, 3)),
    "of a sequence, padded": ((7, 2), lambda: layers.Conv1D(3, 4, strides=2, padding="same")),
    "causal": ((7, 2), lambda: layers.Conv1D(3, 3, padding="causal", dilation_rate=2)),
    "causal by strides": ((7, 2), lambda: layers.Conv1D(3, 2, padding="causal", strides=2)),
    "MaxPooling2D": ((5, 6, 2), lambda: layers.MaxPooling2D()),
    "MaxPooling2D, overlapping, padded": ((5, 6, 2), lambda: layers.MaxPooling2D(3, strides=2, padding="same")),
    "MaxPooling1D": ((7, 2), lambda: layers.MaxPooling1D(3, strides=1)),
    "AveragePooling2D": ((5, 6, 2), lambda: layers.AveragePooling2D((2, 3))),
    "AveragePooling2D, padded": ((5, 6, 2), lambda: layers.AveragePooling2D(3, strides=2, padding="same")),
    "AveragePooling1D": ((7, 2), lambda: layers.AveragePooling1D(2, padding="same")),
    "GlobalAveragePooling2D": ((3, 4, 2), lambda: layers.GlobalAveragePooling2D()),
    "GlobalAveragePooling1D": ((5, 2), lambda: layers.GlobalAveragePooling1D(keepdims=True)),
    "GlobalMaxPooling2D": ((3, 4, 2), lambda: layers.GlobalMaxPooling2D()),
    "LSTM": ((4, 2), lambda: layers.LSTM(3)),
    "LSTM of all steps": ((4, 2), lambda: layers.LSTM(3, return_sequences=True, use_bias=False)),
    "GRU": ((4, 2), lambda: layers.GRU(3)),
    "GRU of all steps": ((4, 2), lambda: layers.GRU(3, return_sequences=True, use_bias=False)),
    "GlobalMaxPooling1D": ((5, 2), lambda: layers.GlobalMaxPooling1D()),
}


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients(name):
    shape, make = CASES[name]
    layer, random = make(), np.random.default_rng(0)
    output = layer(keras.Input(shape))
    numbers = MemberNumbers((), SimpleNamespace(numbers={}))
    operation = KINDS[type(layer)](layer, numbers)
    x = random.integers(-1, 3, (2, 3, *shape)).astype("float32")  # with ties
    weights = [random.normal(size=(2, *v.shape)).astype("float32") for v in layer.trainable_variables]
    into = [np.full_like(stack, np.nan) for stack in weights]
    gradient = random.normal(size=(2, 3, *output.shape[1:])).astype("float32")
    views, own = (
        {id(v): a for v, a in zip(layer.trainable_variables, arrays, strict=True)} for arrays in (weights, into)
    )
    operation.load(views, own, {})
    tested = operation.forward([x], training=False).copy()
    values = operation.forward([x], training=True).copy()
    [back] = operation.backward(gradient.copy(), wanted=True)
    for member in range(2):
        for variable, stack in zip(layer.trainable_variables, weights, strict=True):
            variable.assign(stack[member])
        with tf.GradientTape() as tape:
            inputs = tf.Variable(x[member])
            outputs = layer(inputs)
        watched = [inputs, *(v.value for v in layer.trainable_variables)]
        expected = tape.gradient(outputs, watched, output_gradients=tf.constant(gradient[member]))
        for mine in (tested, values):
            np.testing.assert_allclose(mine[member], outputs, rtol=1e-5, atol=1e-5)
        for mine, theirs in zip([back, *into], expected, strict=True):
            np.testing.assert_allclose(mine[member], theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["with padding", "by strides with padding", "dilated"])
def test_a_line_at_a_time(monkeypatch, name):
    monkeypatch.setattr(images, "_AT_A_TIME", 1)
    test_values_and_gradients(name)


def crossentropy(model, hp):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(hp["lr"]), loss, metrics=["accuracy"])
    return model


def pictures(hp):
    """Return a network 4 × 4 images with two ways through it."""
    inputs = keras.Input((4, 4, 1))
    first = layers.Conv2D(3, 3, padding="same", kernel_regularizer="l2")(layers.Rescaling(0.5, 0.1)(inputs))
    hidden = layers.ReLU()(layers.BatchNormalization(momentum=0.8)(first))
    hidden = layers.Add()([first, layers.Conv2D(3, 2, padding="same", activation="gelu")(hidden)])
    hidden = layers.Dropout(hp["rate"])(layers.MaxPooling2D()(hidden))
    ends = [layers.GlobalMaxPooling2D()(hidden), layers.GlobalAveragePooling2D()(hidden)]
    ends.append(layers.Flatten()(layers.AveragePooling2D(2)(hidden)))
    return crossentropy(keras.Model(inputs, layers.Dense(4)(layers.Concatenate()(ends))), hp)


def sequences(hp):
    hidden = [layers.Conv1D(4, 3, padding="causal", activation="elu"), layers.Dense(3, "tanh"), layers.MaxPooling1D()]
    hidden += [layers.AveragePooling1D(3, strides=2), layers.Dropout(hp["rate"])]
    hidden += [layers.GlobalAveragePooling1D(keepdims=True), layers.GlobalMaxPooling1D(), layers.Dense(4)]
    return crossentropy(keras.Sequential([keras.Input((16,)), layers.Reshape((16, 1)), *hidden]), hp)


def recurrences(hp):
    hidden = [layers.GRU(3, return_sequences=True), layers.LSTM(3, dropout=hp["rate"]), layers.Dropout(0.2)]
    return crossentropy(keras.Sequential([keras.Input((4, 4)), *hidden, layers.Dense(4)]), hp)


@pytest.mark.slow
def test_networks_of_images(check, rows):
    check(pictures, RATES, epochs=3, engine={"x": rows[0].reshape(-1, 4, 4, 1)})


@pytest.mark.slow
def test_networks_of_sequences(check):
    check(sequences, RATES)


@pytest.mark.slow
def test_recurrent_networks(check, rows):
    """Their masks are drawn in evaluation too: the second epoch's are others."""
    check(recurrences, RATES, engine={"x": rows[0].reshape(-1, 4, 4)})


def test_every_form_is_in_a_network():
    seen = {type(layer) for build in (pictures, sequences, recurrences) for layer in build(RATES[0]).layers}
    assert set(KINDS) <= seen
