"""The seeds and the generator behind Keras's and TensorFlow's draws, as read in Keras 3.15 and TensorFlow 2.21."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfopt._private.needs import Need, available, expect
from tfopt._private.streams import random_streams_kept

_GENERATOR = "global_seed_generator"


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed as `keras.utils.set_random_seed` does, and put Python's and NumPy's streams back afterwards.

    TensorFlow's public seeding throws away every optimised graph, which costs each graph 0.35 s at its next call. Kept,
    the kernels of `tf.random`'s stateful functions go on where they were: see `stateful_stream`.
    """
    with random_streams_kept():
        if available("seeds"):
            _seed(seed)
        else:
            keras.utils.set_random_seed(seed)
        yield


def _seed(seed: int) -> None:
    from keras.src.backend.common import global_state
    from keras.src.utils import rng_utils
    from tensorflow.python.eager import context as eager_context

    context = eager_context.context()
    global_state.set_global_attribute(rng_utils.GLOBAL_RANDOM_SEED, seed)
    global_state.set_global_attribute(_GENERATOR, None)
    random.seed(seed)
    np.random.seed(seed)
    context._seed, context._rng = seed, random.Random(seed)


def stateful_stream() -> Any:
    """Return the state of the stream that `tf.random`'s stateful functions draw from; it moves when one is called."""
    from tensorflow.python.eager import context as eager_context

    rng = getattr(eager_context.context(), "_rng", None)  # missing before the first seed
    return None if rng is None else rng.getstate()


def global_generator() -> keras.random.SeedGenerator:
    """Return the generator that `keras.random` functions without a seed draw from."""
    from keras.src.random import seed_generator

    return seed_generator.global_seed_generator()


def set_global_generator(generator: keras.random.SeedGenerator) -> None:
    """Make this the generator of `keras.random` functions without a seed."""
    from keras.src.backend.common import global_state

    global_state.set_global_attribute(_GENERATOR, generator)


@contextmanager
def global_generator_replaced(generator: keras.random.SeedGenerator) -> Iterator[None]:
    """Let `keras.random` functions without a seed draw from this generator, and afterwards from theirs again."""
    from keras.src.backend.common import global_state

    before = global_state.get_global_attribute(_GENERATOR)
    set_global_generator(generator)
    try:
        yield
    finally:
        global_state.set_global_attribute(_GENERATOR, before)


def _check_generator() -> None:
    own = keras.random.SeedGenerator(seed=1, name="tfopt_check")
    first = own.state.numpy()
    with global_generator_replaced(own):
        expect(global_generator() is own, "seed_generator.global_seed_generator")
        keras.random.uniform((1,))
    expect(not np.array_equal(own.state.numpy(), first), "the global attribute of the generator")


def _check_seeds() -> None:
    from keras.src.backend.common import global_state
    from keras.src.utils import rng_utils
    from tensorflow.python.eager import context as eager_context

    name, context = rng_utils.GLOBAL_RANDOM_SEED, eager_context.context()
    before = global_state.get_global_attribute(name), global_state.get_global_attribute(_GENERATOR)
    seed_and_rng = context._seed, getattr(context, "_rng", None)
    try:
        drawn = []
        for seed in (1, 1, 2):
            _seed(seed)
            stream = stateful_stream()
            drawn.append((float(keras.random.uniform(())), float(tf.random.uniform(()))))
            expect(stateful_stream() != stream, "Context._rng")
        expect(drawn[0][0] == drawn[1][0] != drawn[2][0], "rng_utils.GLOBAL_RANDOM_SEED")
    finally:
        global_state.set_global_attribute(name, before[0])
        global_state.set_global_attribute(_GENERATOR, before[1])
        context._seed, context._rng = seed_and_rng


_GLOBAL_STATE = [f"keras.src.backend.common.global_state:{name}_global_attribute" for name in ("get", "set")]

NEEDS = (
    Need(
        "generator of unseeded draws",
        (
            *_GLOBAL_STATE,
            "keras.src.random.seed_generator:global_seed_generator",
        ),
        "the shared graph, populations, DropoutEffects and mc_dropout",
        "Each fit is a `model.fit` of its own; what measures dropout moves the stream of layers that draw without a "
        "seed of their own",
        _check_generator,
    ),
    Need(
        "seeds",
        (
            *_GLOBAL_STATE,
            "keras.src.utils.rng_utils:GLOBAL_RANDOM_SEED",
            "tensorflow.python.eager.context:context",
            "tensorflow.python.eager.context:Context._seed",
            "tensorflow.python.eager.context:Context._rng",
        ),
        "the shared graph and populations",
        "Each fit is a `model.fit` of its own",
        _check_seeds,
    ),
)
