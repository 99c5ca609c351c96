"""Dropout masks as Keras draws them, bit for bit, made beside the training.

TensorFlow's generator (Philox 4x32-10: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011) is written
here over arrays, as TensorFlow draws for one seed in a call: its calls take ten times as long as the numbers. The same
formulas run in NumPy, and where many numbers are drawn compiled by XLA, in a fifth of the time or less.
"""

import itertools
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf

from tfopt.errors import one_line

_log = logging.getLogger("tfopt")

_BYTES = 1 << 19  # of masks made at a time
_SEEDS = 2**31 - 2  # Keras takes seeds modulo this
_TILE = 64  # calls of the generator, four numbers each, that are drawn for one seed at least
_TILES = 2048  # that XLA draws in a call
_TILES_IN_CACHE = 256  # that NumPy draws
_WORTH_COMPILING = 1 << 20  # numbers drawn, after which many more are likely
_maker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="dropout")


@dataclass(frozen=True)
class DropoutDraws:
    """One dropout layer's draws.

    Args:
        seeds: (members, 2) states of its generators before the epoch.
        rates: (members,) fractions dropped, or (steps, members) of the next steps.
        units: Width of the layer.
        always: Whether a member draws even if it drops nothing, or all.
        compiled: Whether as in a step that XLA compiles, which makes its numbers of the higher bits.
    """

    seeds: np.ndarray
    rates: np.ndarray
    units: int
    always: bool = False
    compiled: bool = False

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
            (self.units, self.always, self.compiled) == (other.units, other.always, other.compiled)
            and np.array_equal(self.seeds, other.seeds)
            and np.array_equal(mine, theirs)
        )

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
        """Yield the masks of each layer for each step."""
        if not layers:
            yield from ([] for _ in sizes)
            return
        chunk = max(1, _BYTES // sum(len(layer.seeds) * sizes[0] * layer.units for layer in layers))
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
    """Return each layer's masks, all drawn together."""
    tables = [_tiles(layer, steps, rows) for layer in layers]
    kept = _generator.kept(np.concatenate(tables))
    masks = []
    for layer, own in zip(layers, np.split(kept, np.cumsum([len(table) for table in tables[:-1]])), strict=True):
        number, size = len(steps) * len(layer.seeds), rows * layer.units
        masks.append(own.reshape(number, -1)[:, :size].reshape(len(steps), -1, rows, layer.units))
    return masks


_WORD, _LOW = np.uint64(32), np.uint64(2**32 - 1)
_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_KEY_STEPS = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_KEY_OF_SEEDS = np.uint64(0x3EC8F720), np.uint64(0x02461E29)  # under which TensorFlow scrambles a seed
_DIGITS = np.uint64(23)  # of a float between 0 and 1, in bits
_COLUMNS = 7  # of `_tiles`

Shift = Callable[[Any, np.uint64], Any]


def _philox(counter: Sequence[Any], key: Sequence[Any], shift: Shift) -> Sequence[Any]:
    """Return four random numbers of 32 bits, in the low half of 64, for each counter (four such) and key (two).

    The counters, of one shape, are used up.
    """
    (a, b, c, d), (k, m) = counter, key
    for _ in range(10):
        a *= _MULTIPLIERS[0]
        c *= _MULTIPLIERS[1]
        b ^= shift(c, _WORD)
        b ^= k
        d ^= shift(a, _WORD)
        d ^= m
        a &= _LOW
        c &= _LOW
        a, b, c, d = b, c, d, a
        k, m = (k + _KEY_STEPS[0]) & _LOW, (m + _KEY_STEPS[1]) & _LOW
    return a, b, c, d


def _tiles(layer: DropoutDraws, steps: range, rows: int) -> np.ndarray:
    """Return (tiles, 7): a tile's key, the upper half of its counters, its first, where it drops, its lowest bit."""
    seeds = layer.seeds_of(steps).reshape(-1, 2).astype("uint64").T
    low, high = seeds & _LOW, seeds >> _WORD
    key = [np.full(seeds.shape[1], part) for part in _KEY_OF_SEEDS]
    scrambled = _philox((low[0], high[0], low[1], high[1]), key, np.right_shift)
    # A number of 23 bits is kept if it is no less than this; added to the rest of 2^24, it then sets their last bit.
    shape = len(steps), len(layer.seeds)
    rates = layer.rates[steps.start : steps.stop] if layer.rates.ndim == 2 else np.broadcast_to(layer.rates, shape)
    least = np.ceil(rates.astype("float32").astype("float64") * 2.0 ** int(_DIGITS)).astype("uint64")
    room = (np.uint64(2 << int(_DIGITS)) - least).reshape(-1)
    first = np.arange(0, -(-rows * layer.units // 4), _TILE, dtype="uint64")
    table = np.empty((seeds.shape[1], len(first), _COLUMNS), "uint64")
    table[..., :4] = np.stack(scrambled, axis=1)[:, None]
    table[..., 4] = first
    table[..., 5] = room[:, None]
    table[..., 6] = 32 - _DIGITS if layer.compiled else 0
    return table.reshape(-1, _COLUMNS)


def _kept(tiles: Any, shift: Shift) -> Any:
    """Return (tiles, `_TILE`) numbers, each of whose four lower bytes says whether a unit is kept."""
    columns = (tiles[:, place : place + 1] for place in range(_COLUMNS))
    key_0, key_1, upper_0, upper_1, first, room, lowest = columns
    none = np.zeros((1, _TILE), "uint64")
    counter = first + np.arange(_TILE, dtype="uint64"), none * first, upper_0 + none, upper_1 + none
    packed: Any = None
    for place, number in enumerate(_philox(counter, (key_0, key_1), shift)):
        number = shift(number, lowest)
        number &= np.uint64((1 << int(_DIGITS)) - 1)
        number += room
        kept = shift(number, _DIGITS + np.uint64(1))
        kept *= np.uint64(1 << 8 * place)
        packed = kept if packed is None else packed + kept
    return packed


def _by_numpy(tiles: np.ndarray) -> np.ndarray:
    """Return (tiles, `_TILE`) numbers of 32 bits: `_kept`."""
    parts = np.array_split(tiles, -(-len(tiles) // _TILES_IN_CACHE))
    return np.concatenate([_kept(part, np.right_shift).astype("uint32") for part in parts])


def _compiled() -> Callable[[np.ndarray], np.ndarray]:
    """Return what does as `_by_numpy`, compiled; the same function where XLA cannot, which is said."""

    def kept(tiles: tf.Tensor) -> tf.Tensor:
        return tf.cast(_kept(tiles, tf.bitwise.right_shift), tf.uint32)

    specification = [tf.TensorSpec((_TILES, _COLUMNS), tf.uint64)]
    graph = tf.function(kept, jit_compile=True, autograph=False, input_signature=specification)

    def draw(tiles: np.ndarray) -> np.ndarray:
        if len(tiles) < _TILES // 4:
            return _by_numpy(tiles)
        padded = np.concatenate([tiles, np.zeros((-len(tiles) % _TILES, _COLUMNS), "uint64")])
        with tf.device("CPU:0"):
            parts = [graph(tf.constant(part)).numpy() for part in np.split(padded, len(padded) // _TILES)]
        return np.concatenate(parts)[: len(tiles)]

    example = np.random.default_rng(0).integers(2**24, size=(_TILES, _COLUMNS), dtype="uint64")
    example[:, -1] %= 33 - _DIGITS
    try:
        if np.array_equal(draw(example), _by_numpy(example)):
            return draw
        reason = "what it draws is something else"
    except Exception as error:
        _log.info("compiling failed", exc_info=True)
        reason = one_line(error)
    _log.warning("Dropout masks are drawn by NumPy alone, slower, because XLA cannot here: %s.", reason)
    return _by_numpy


class _Generator:
    """Draws in NumPy until much was drawn and that is compiled, which happens in a thread of its own."""

    def __init__(self) -> None:
        self._drawn, self._coming = 0, Future[Callable[[np.ndarray], np.ndarray]]()
        self._compiler = ThreadPoolExecutor(max_workers=1, thread_name_prefix="compiler")

    def kept(self, tiles: np.ndarray) -> np.ndarray:
        """Return (tiles, 4 * `_TILE`) booleans, whether units are kept, for the rows that `_tiles` gives."""
        before, self._drawn = self._drawn, self._drawn + 4 * _TILE * len(tiles)
        if before <= _WORTH_COMPILING < self._drawn:
            self._coming = self._compiler.submit(_compiled)
        draw = self._coming.result() if self._coming.done() else _by_numpy
        return draw(tiles).view(bool)


_generator = _Generator()
