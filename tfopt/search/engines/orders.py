"""The order in which each epoch of a fit takes its rows."""

from functools import lru_cache

import numpy as np
import tensorflow as tf

from tfopt.search.engines.request import Shuffle

_LARGEST_INT32 = 2**31 - 1


def orders(shuffle: Shuffle, seed: int, num_rows: int, first: int, last: int) -> list[np.ndarray]:
    """Return the orders (num_rows,) of the epochs `first` to `last - 1`, as `Engine` describes them.

    An epoch's order depends on the seed and its own number, so that a continued fit goes on as an uninterrupted one.
    """
    if shuffle == "once":
        return [_as_keras(seed, num_rows)] * (last - first)
    if not shuffle:
        return [np.arange(num_rows)] * (last - first)
    return [np.random.default_rng((seed, epoch)).permutation(num_rows) for epoch in range(first, last)]


@lru_cache(maxsize=256)
def _as_keras(seed: int, num_rows: int) -> np.ndarray:
    """Return the order that `fit` draws after `set_random_seed`: a shuffle inside tf.data, anew for each epoch.

    Its operation seed is that of the first random operation of a function, 0, and its state starts afresh with every
    iterator. A function of its own keeps other draws from moving it.
    """
    seed %= _LARGEST_INT32
    operation_seed = 0 if seed else _LARGEST_INT32  # two zeros would ask for an unpredictable stream

    def draw():
        return tf.raw_ops.RandomShuffle(value=tf.range(num_rows), seed=seed, seed2=operation_seed)

    return tf.function(draw, autograph=False).get_concrete_function()().numpy()
