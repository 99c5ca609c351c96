"""Dropout masks beside Keras's own."""

import logging
from concurrent.futures import Future

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfopt.training.numpy_stack import masks
from tfopt.training.numpy_stack.masks import DropoutDraws, DropoutMasks, kept_scale


def draw_ahead(layers, sizes):
    return DropoutMasks().epoch(layers, sizes)


def dropped_out(mask, rate):
    """Return ones after a dropout."""
    return mask * kept_scale(np.array(rate))


def drawn(seeds, rates, units, counter=0, **how):
    states = np.array([[seed, counter] for seed in seeds], "int64")
    return DropoutDraws(states, np.array(rates, "float64"), units, **how)


def masks_of(layer, steps, rows):
    """Return (steps, members, rows, units) masks: whether a unit is kept."""
    return masks._masks([layer], steps, rows)[0]


@pytest.mark.parametrize("seed", [0, 7, 2**31 - 2, 2**31 + 5, 2**40])
def test_masks_are_those_of_the_layer(seed):
    layer = keras.layers.Dropout(0.3, seed=seed)
    sizes = [32, 32, 32, 6]
    for size, [mask] in zip(sizes, draw_ahead([drawn([seed], [0.3], 9)], sizes), strict=True):
        expected = layer(np.ones((size, 9), "float32"), training=True)
        np.testing.assert_array_equal(dropped_out(mask[0], 0.3), expected)


@pytest.fixture(scope="module")
def compiled():
    return masks._compiled()


def use(draw, monkeypatch):
    """Let masks be drawn by this function."""
    generator = masks._Generator()
    generator._coming = Future()
    generator._coming.set_result(draw)
    monkeypatch.setattr(masks, "_generator", generator)


@pytest.mark.parametrize("seed", [0, 2**31 - 2, 2**40])
@pytest.mark.parametrize("rows", [32, 7])
def test_masks_in_a_fit_that_xla_compiles_are_those_of_the_layer(seed, rows):
    layer = keras.layers.Dropout(0.3, seed=seed)
    step = tf.function(lambda: layer(np.ones((rows, 9), "float32"), training=True), jit_compile=True)
    [[mask]] = masks_of(drawn([seed], [0.3], 9, compiled=True), range(1), rows)
    np.testing.assert_array_equal(dropped_out(mask, 0.3), step())


@pytest.mark.parametrize("in_fit", [False, True])
@pytest.mark.parametrize("rows", [1, 67, 512])
def test_compiled_masks_are_those_of_tensorflow(rows, in_fit, compiled, monkeypatch):
    assert compiled is not masks._by_numpy
    use(compiled, monkeypatch)
    rates = np.array([0.0, 1e-7, 0.1, 1 / 3, 0.5, 0.999999, 1.0])
    layers = [
        drawn(range(7), rates, 31, counter=2**31, compiled=in_fit),
        drawn([2**31 - 1] * 7, rates[::-1], 5, compiled=in_fit),
    ]

    def uniform(seed, units):
        return tf.random.stateless_uniform((rows, units), seed, alg="philox")

    draw = tf.function(uniform, jit_compile=True) if in_fit else uniform
    for found, layer in zip(masks._masks(layers, range(3, 5), rows), layers, strict=True):
        for step, member in np.ndindex(2, 7):
            seed = layer.seeds_of(range(3, 5))[step, member]
            numbers = draw(tf.constant(seed), layer.units)
            np.testing.assert_array_equal(found[step, member], numbers >= np.float32(layer.rates[member]))


def test_rates_may_change_with_the_steps():
    rates = np.array([[0.2, 0.5], [0.4, 0.0], [0.1, 0.9]])
    changing = DropoutDraws(np.array([[1, 5], [2, 5]]), rates, 6, always=True)
    for step, mask in enumerate(masks_of(changing, range(3), 10)):
        constant = DropoutDraws(changing.seeds, rates[step], 6, always=True)
        np.testing.assert_array_equal(mask, masks_of(constant, range(step, step + 1), 10)[0])


def test_much_is_drawn_compiled(compiled, monkeypatch):
    monkeypatch.setattr(masks, "_generator", masks._Generator())
    monkeypatch.setattr(masks, "_WORTH_COMPILING", 1000)
    calls = []
    monkeypatch.setattr(masks, "_compiled", lambda: lambda tiles: calls.append(len(tiles)) or compiled(tiles))
    layer = drawn([1, 2], [0.2, 0.5], 8)
    first = masks_of(layer, range(100), 16)
    masks._generator._coming.result()
    np.testing.assert_array_equal(first, masks_of(layer, range(100), 16))
    assert calls[-1] == 200


@pytest.mark.parametrize("fails", ["raises", "differs"])
def test_without_xla_numpy_draws_and_says_so(fails, monkeypatch, caplog):
    def function(function, **_):
        def draw(tiles):
            if fails == "raises":
                raise RuntimeError("XLA is not here")
            return tf.zeros((len(tiles), masks._TILE), tf.uint32)

        return draw

    monkeypatch.setattr(tf, "function", function)
    with caplog.at_level(logging.WARNING, "tfopt"):
        assert masks._compiled() is masks._by_numpy
    assert "drawn by NumPy alone" in caplog.text


def test_a_stream_goes_on_where_it_ended():
    layer = keras.layers.Dropout(0.3, seed=3)
    for _ in range(4):
        layer(np.ones((5, 9), "float32"), training=True)
    [[mask]] = draw_ahead([drawn([3], [0.3], 9, counter=4)], [5])
    expected = layer(np.ones((5, 9), "float32"), training=True)
    np.testing.assert_array_equal(dropped_out(mask[0], 0.3), expected)


def test_every_member_has_its_own_rate_and_stream():
    [[mask]] = draw_ahead([drawn([1, 2, 1, 1, 1], [0.5, 0.5, 0.0, 1.0, 0.5], 50)], [40])
    assert not np.array_equal(mask[0], mask[1])
    assert mask[2].all()
    assert not mask[3].any()
    assert np.array_equal(mask[0], mask[4])
    assert 0.45 < np.mean(mask[0]) < 0.55


@pytest.mark.parametrize("bytes_at_a_time", [1, 3000, 1 << 21], ids=["a step", "a few steps", "an epoch"])
@pytest.mark.parametrize("sizes", [[16] * 7, [16] * 7 + [3], [3]], ids=["whole", "partial", "one"])
def test_draws_in_chunks_are_those_at_once(sizes, bytes_at_a_time, monkeypatch):
    layers = [drawn([1, 2], [0.2, 0.5], 8), drawn([3, 4], [0.4, 0.1], 4)]
    monkeypatch.setattr(masks, "_BYTES", bytes_at_a_time)
    found = list(draw_ahead(layers, sizes))
    assert len(found) == len(sizes)
    for step, (size, of_layers) in enumerate(zip(sizes, found, strict=True)):
        for layer, mask in zip(layers, of_layers, strict=True):
            assert mask.shape == (2, size, layer.units)
            np.testing.assert_array_equal(mask, masks_of(layer, range(step, step + 1), size)[0])


def test_the_next_epoch_begins_with_what_was_drawn_ahead_for_it(monkeypatch):
    first, begun, begin = drawn([1, 2, 3, 4], [0.2, 0.5, 0.0, 1.0], 8), [], masks._begin
    monkeypatch.setattr(masks, "_begin", lambda layers, *piece: begun.append(piece) or begin(layers, *piece))
    ahead = DropoutMasks()
    list(ahead.epoch([first], [16, 16, 3]))
    second = first.after(3)
    np.testing.assert_array_equal(second.seeds, [[1, 3], [2, 3], [3, 0], [4, 0]])
    assert len(begun) == 3, "the whole steps, the partial one, the next epoch's"
    for step, [mask] in enumerate(ahead.epoch([second], [16, 16, 3])):
        np.testing.assert_array_equal(mask, masks_of(second, range(step, step + 1), len(mask[0]))[0])
    assert len(begun) == 5


@pytest.mark.parametrize(
    ("layers", "sizes"),
    [
        ([drawn([1, 2], [0.2, 0.5], 8)], [16, 16]),  # loaded anew: from the beginning
        ([drawn([1], [0.2], 8, counter=2)], [16, 16]),  # a member has left
        ([drawn([1, 2], [0.2, 0.4], 8, counter=2)], [16, 16]),  # other rates
        ([drawn([1, 2], [0.2, 0.5], 8, counter=2)], [12, 12]),  # other rows
        ([drawn([1, 2], [0.2, 0.5], 8, counter=2)], [16, 16, 16]),  # other steps
        ([drawn([1, 2], [0.2, 0.5], 8, counter=2)] * 2, [16, 16]),  # another layer
    ],
)
def test_what_was_drawn_ahead_for_others_is_not_used(layers, sizes):
    ahead = DropoutMasks()
    list(ahead.epoch([drawn([1, 2], [0.2, 0.5], 8)], [16, 16]))
    for step, found in enumerate(ahead.epoch(layers, sizes)):
        for layer, mask in zip(layers, found, strict=True):
            np.testing.assert_array_equal(mask, masks_of(layer, range(step, step + 1), sizes[step])[0])


def test_nothing_is_drawn_where_nothing_drops():
    assert list(draw_ahead([], [4, 4, 1])) == [[], [], []]
