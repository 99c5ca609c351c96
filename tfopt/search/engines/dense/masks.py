"""Dropout masks as Keras draws them, made by TensorFlow beside the training: drawing them costs as much as a step."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import numpy as np
import tensorflow as tf

_LANES = 40  # draws a turn of the loop
_BYTES = 1 << 21  # of masks made at a time
_maker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="dropout")


class Drawn:
    """One dropout layer's draws: the state of its generator before the epoch, and what it drops.

    Args:
        seeds: (members, 2) states.
        rates: (members,) fractions dropped.
        units: Width of the layer.
    """

    def __init__(self, seeds: np.ndarray, rates: np.ndarray, units: int):
        self.seeds, self.rates, self.units = seeds, rates, units

    def masks(self, steps: range, rows: int) -> np.ndarray:
        """Return (steps, members, rows, units) factors: 0, or what keeps the mean."""
        seeds = np.repeat(self.seeds[None], len(steps), axis=0)
        seeds[..., 1] += np.asarray(steps, seeds.dtype)[:, None]
        flat = seeds.reshape(-1, 2).astype("int64")
        padded = np.resize(flat, (-(-len(flat) // _LANES) * _LANES, 2))
        uniform = _graph()(padded, np.array([rows, self.units], "int32")).numpy()[: len(flat)]
        rates = self.rates[:, None, None]
        kept = (1 / (1 - np.minimum(rates, 1 - 1e-7))).astype("float32")
        return (uniform.reshape(len(steps), -1, rows, self.units) >= rates.astype("float32")) * kept


def masks(self, steps: range, rows: int) -> np.ndarray:
    """Return (steps, members, rows, units) factors: 0, or what keeps the mean."""
    seeds = np.repeat(self.seeds[None], len(steps), axis=0)
    seeds[..., 1] += np.asarray(steps, seeds.dtype)[:, None]
    rates = np.tile(self.rates, len(steps))
    kept = 1 / (1 - np.minimum(rates, 1 - 1e-7))
    flat = np.resize(seeds.reshape(-1, 2), (-(-len(rates) // _LANES) * _LANES, 2)).astype("int64")
    length = len(flat)
    drawn = _graph()(
            flat, np.resize(rates, length).astype("float32"), np.resize(kept, length).astype("float32"),
            np.array([rows, self.units], "int32"),
        )  # fmt: skip
    return drawn.numpy()[: len(rates)].reshape(len(steps), -1, rows, self.units)


def draw_ahead(layers: Sequence[Drawn], sizes: Sequence[int]) -> Iterator[list[np.ndarray]]:
    """Yield the masks of each layer for each step of an epoch, the next ones being drawn meanwhile.

    Args:
        layers: The layers that draw.
        sizes: Rows of each step; all equal but the last.
    """
    if not layers:
        yield from ([] for _ in sizes)
        return
    bytes_a_step = sum(4 * len(layer.rates) * sizes[0] * layer.units for layer in layers)
    chunk = max(1, _BYTES // bytes_a_step)
    whole = len(sizes) - (sizes[-1] != sizes[0])
    starts = [*range(0, whole, chunk), *range(whole, len(sizes))]
    pieces = [range(start, stop) for start, stop in zip(starts, [*starts[1:], len(sizes)], strict=True)]

    def begin(piece: range) -> Future:
        return _maker.submit(lambda: [layer.masks(piece, sizes[piece[0]]) for layer in layers])

    coming = begin(pieces[0])
    for piece, following in zip(pieces, [*pieces[1:], None], strict=True):
        present = coming.result()
        if following is not None:
            coming = begin(following)
        for step in range(len(piece)):
            yield [drawn[step] for drawn in present]


@lru_cache(maxsize=1)
def _graph() -> Any:
    def draw(seeds: tf.Tensor, shape: tf.Tensor) -> tf.Tensor:
        turns = tf.shape(seeds)[0] // _LANES
        results = tf.TensorArray(tf.float32, turns, element_shape=(_LANES, None, None))

        def body(turn: tf.Tensor, results: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
            lanes = tf.unstack(seeds[turn * _LANES : (turn + 1) * _LANES], _LANES)
            return turn + 1, results.write(turn, tf.stack([tf.random.stateless_uniform(shape, seed) for seed in lanes]))

        return tf.while_loop(lambda turn, _: turn < turns, body, (0, results), parallel_iterations=4)[1].concat()

    specification = [tf.TensorSpec((None, 2), tf.int64), tf.TensorSpec((2,), tf.int32)]
    return tf.function(draw, input_signature=specification, autograph=False)
