"""Dropout masks as Keras draws them, made by TensorFlow beside the training: drawing takes half as long as a step."""

import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import tensorflow as tf

_DRAWS_PER_TURN = 8  # of the loop: more are traced longer than they save
_BYTES = 1 << 19  # of masks made at a time
_PHILOX = 1  # the generator that Keras's draws come from, by its number in TensorFlow
_SEEDS = 2**31 - 2  # Keras takes seeds modulo this
_maker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="dropout")


@dataclass(frozen=True)
class DropoutDraws:
    """One dropout layer's draws.

    Args:
        seeds: (members, 2) states of its generators before the epoch.
        rates: (members,) fractions dropped, or (steps, members) of the next steps.
        units: Width of the layer.
        always: Whether a member draws even if it drops nothing, or all.
    """

    seeds: np.ndarray
    rates: np.ndarray
    units: int
    always: bool = False

    def after(self, steps: int) -> "DropoutDraws":
        """Return the draws that follow so many steps."""
        seeds = self.seeds.copy()
        if self.rates.ndim == 2:
            seeds[:, 1] += steps
            return replace(self, seeds=seeds, rates=self.rates[steps:])
        seeds[:, 1] += (steps * (self.always | ((self.rates > 0) & (self.rates < 1)))).astype(seeds.dtype)
        return replace(self, seeds=seeds)

    def same_as(self, other: "DropoutDraws") -> bool:
        """Return whether both draw the same, in the steps whose rates both know."""
        mine, theirs = self.rates, other.rates
        if mine.ndim == theirs.ndim == 2:
            known = min(len(mine), len(theirs))
            mine, theirs = mine[:known], theirs[:known]
        return (
            (self.units, self.always) == (other.units, other.always)
            and np.array_equal(self.seeds, other.seeds)
            and np.array_equal(mine, theirs)
        )

    def masks(self, steps: range, rows: int) -> np.ndarray:
        """Return (steps, members, rows, units) masks: whether a unit is kept."""
        return _masks([self], steps, rows)[0]

    def seeds_of(self, steps: range) -> np.ndarray:
        """Return the (steps, members, 2) seeds of the draws."""
        seeds = np.repeat(self.seeds[None], len(steps), axis=0)
        seeds[..., 1] += np.asarray(steps, seeds.dtype)[:, None]
        return seeds.astype("int64") % _SEEDS


def kept_scale(rates: np.ndarray) -> np.ndarray:
    """Return what units that are kept are multiplied by, so that their mean stays."""
    return (1 / (1 - np.minimum(rates, 1 - 1e-7))).astype("float32")


class DropoutMasks:
    """Draws a little ahead of the training, in a thread of its own, over the end of an epoch too."""

    def __init__(self) -> None:
        self._ahead: tuple[Sequence[DropoutDraws], range, int, Future] | None = None

    def epoch(self, layers: Sequence[DropoutDraws], sizes: Sequence[int]) -> Iterator[list[np.ndarray]]:
        """Yield the masks of each layer for each step.

        Args:
            layers: The layers that draw.
            sizes: Rows of each step; all equal but the last.
        """
        if not layers:
            yield from ([] for _ in sizes)
            return
        chunk = max(1, _BYTES // sum(len(layer.rates) * sizes[0] * layer.units for layer in layers))
        whole = len(sizes) - (sizes[-1] != sizes[0])
        starts = [*range(0, whole, chunk), *range(whole, len(sizes)), len(sizes)]
        pieces = [range(start, stop) for start, stop in itertools.pairwise(starts)]
        coming = self._at_hand(layers, pieces[0], sizes[0]) or _begin(layers, pieces[0], sizes[0])
        for piece, following in zip(pieces, [*pieces[1:], None], strict=True):
            present = coming.result()
            if following is not None:
                coming = _begin(layers, following, sizes[following[0]])
            else:
                then = [layer.after(len(sizes)) for layer in layers]
                self._ahead = then, pieces[0], sizes[0], _begin(then, pieces[0], sizes[0])
            for step in range(len(piece)):
                yield [drawn[step] for drawn in present]

    def _at_hand(self, layers: Sequence[DropoutDraws], piece: range, rows: int) -> Future | None:
        ahead, self._ahead = self._ahead, None
        if ahead is None or (ahead[1], ahead[2], len(ahead[0])) != (piece, rows, len(layers)):
            return None
        return ahead[3] if all(map(DropoutDraws.same_as, ahead[0], layers)) else None


def _begin(layers: Sequence[DropoutDraws], steps: range, rows: int) -> Future:
    return _maker.submit(_masks, layers, steps, rows)


def _masks(layers: Sequence[DropoutDraws], steps: range, rows: int) -> list[np.ndarray]:
    """Return each layer's masks, those of one width drawn in one call: a call holds the training up."""
    masks = {}
    for units in {layer.units for layer in layers}:
        alike = [layer for layer in layers if layer.units == units]
        seeds = np.stack([layer.seeds_of(steps) for layer in alike])
        draws, place = np.unique(seeds.reshape(-1, 2), axis=0, return_inverse=True)  # configurations may share a seed
        shared = len(draws) < place.size
        draws = draws if shared else seeds.reshape(-1, 2)
        padded = np.resize(draws, (-(-len(draws) // _DRAWS_PER_TURN) * _DRAWS_PER_TURN, 2))
        uniform = _graph()(tf.constant(padded), tf.constant([rows, units])).numpy()
        drawn = (uniform[place] if shared else uniform[: len(draws)]).reshape(*seeds.shape[:3], rows, units)
        for layer, own in zip(alike, drawn, strict=True):
            rates = layer.rates[steps.start : steps.stop] if layer.rates.ndim == 2 else layer.rates
            masks[id(layer)] = own >= rates[..., None, None].astype("float32")
    return [masks[id(layer)] for layer in layers]


@lru_cache(maxsize=1)
def _graph() -> Any:
    def uniform(seed: tf.Tensor, shape: tf.Tensor) -> tf.Tensor:
        """Do what `tf.random.stateless_uniform` does on a CPU, without its questions, which are traced each time."""
        key, counter = tf.raw_ops.StatelessRandomGetKeyCounter(seed=seed)
        return tf.raw_ops.StatelessRandomUniformV2(shape=shape, key=key, counter=counter, alg=_PHILOX)

    def draw(seeds: tf.Tensor, shape: tf.Tensor) -> tf.Tensor:
        turns = tf.shape(seeds)[0] // _DRAWS_PER_TURN
        results = tf.TensorArray(tf.float32, turns, element_shape=(_DRAWS_PER_TURN, None, None))

        def body(turn: tf.Tensor, results: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
            lanes = tf.unstack(seeds[turn * _DRAWS_PER_TURN : (turn + 1) * _DRAWS_PER_TURN], _DRAWS_PER_TURN)
            return turn + 1, results.write(turn, tf.stack([uniform(seed, shape) for seed in lanes]))

        return tf.while_loop(lambda turn, _: turn < turns, body, (0, results), parallel_iterations=1)[1].concat()

    specification = [tf.TensorSpec((None, 2), tf.int64), tf.TensorSpec((2,), tf.int32)]
    return tf.function(draw, input_signature=specification, autograph=False).get_concrete_function()
