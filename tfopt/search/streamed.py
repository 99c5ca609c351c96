"""The network that a search of a sample has chosen, trained on all rows in blocks."""

import functools
import itertools
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import replace as replace_fields
from pathlib import Path
from typing import Any, TypeGuard

import keras
import numpy as np
import tensorflow as tf

from tfopt._files import replace
from tfopt.comparison import Comparison
from tfopt.comparison.fold_result import FoldResult
from tfopt.data.stream import Stream
from tfopt.data.table import Table, balancing
from tfopt.errors import UserError, one_line
from tfopt.search.coding import code_target, for_objective
from tfopt.search.fitting import batch_size_of, learning_rates
from tfopt.search.fold_study import losses
from tfopt.search.journal import Record
from tfopt.search.nested import NetworkSearch
from tfopt.search.progress import TimeLimit, Units
from tfopt.search.saved import NETWORK, NETWORK_FILE
from tfopt.training.plain import PlainEngine

_log = logging.getLogger("tfopt")

WEIGHTS_FILE = "all-rows.weights.h5"  # after the last whole epoch, until the training has ended
PREDICTIONS = "predictions/network-all-rows.npy"
PHASE = "rows learned"
_POOL = 1 << 28  # bytes of encoded rows from which the next ones are drawn
_OPENED = 4  # blocks that are read side by side
_PART = 1 << 14


def networks(search: NetworkSearch) -> list[FoldResult] | None:
    """Train the configuration that the sample has chosen on all rows but those held out, and save it.

    What was trained is written after each epoch, from where a search that is resumed goes on. A time limit ends the
    training early.

    Returns:
        The networks' results, that of the trained network in place of the sample's; None where nothing is read in
        blocks, or no time is left.

    Raises:
        UserError: A file cannot be read any more.
    """
    plan = search.plan
    if plan.stream is None:
        return None
    results = search.outer_results()
    best, done = search.best_values(plan.outer[0]), search.journal.find("final")
    if best is None:
        return results
    if not (_is_of_all_rows(done) and done["values"] == best[0] and (search.folder / NETWORK_FILE).exists()):
        if search.time_is_up:
            search.say("The time limit leaves no time to train on all rows: the network is that of the sample.")
            return None
        done = _train(search, best[0])
    if done is None:
        return [result for result in results if result.model != NETWORK]
    outputs = np.load(search.folder / PREDICTIONS)
    score = search.score(outputs, plan.outer[0].test)
    prediction = for_objective(outputs, plan.table, plan.objective)
    of_all_rows = {
        "score": score,
        "prediction": prediction,
        "outputs": outputs,
        "seed_scores": [score],
        "seed_predictions": [prediction],
        "fit_seconds": done["fits"][0]["seconds"],
    }
    return [replace_fields(each, **of_all_rows) if each.model == NETWORK else each for each in results]


def _is_of_all_rows(done: Record | None) -> TypeGuard[Record]:
    return done is not None and "predictions" in done


def _train(search: NetworkSearch, values: dict[str, Any]) -> Record | None:
    """Train, save and take down; return the journal's record, None where the training failed."""
    fold, kept = search.plan.outer[0], search.folder / WEIGHTS_FILE
    started = time.perf_counter()
    try:
        network, curve = _trained(search, values, kept)
        model = search.coder.exported([network], fold.train, search.fitting.scaling(values))
        outputs = model.predict(search.table.features.iloc[fold.test], verbose=0)
        if not np.isfinite(outputs).all():
            raise ValueError("The network predicts values that are not finite.")
    except (UserError, OSError, MemoryError):
        raise
    except Exception as error:
        _log.info("the training on all rows failed", exc_info=True)
        search.not_trained(error)
        return None
    replace(search.folder / PREDICTIONS, functools.partial(np.save, arr=outputs))
    replace(search.folder / NETWORK_FILE, model.save)
    seconds = round(time.perf_counter() - started, 4)
    facts = {"engine": PlainEngine.name, "reason": "all rows, in blocks", "seconds": seconds}
    record = {"kind": "final", "values": values, "curve": curve, "fits": [facts], "predictions": PREDICTIONS}
    done = search.journal.append(record)
    kept.unlink(missing_ok=True)
    return done


def said_of(comparison: Comparison | None, search: NetworkSearch) -> Comparison | None:
    """Return a comparison whose verdict says what each side has learned from, where rows were read in blocks."""
    stream, objective = search.plan.stream, search.objective
    if comparison is None or stream is None:
        return comparison
    said = f"All learned from the sample of {stream.num_sampled:,} rows"
    if comparison.network == NETWORK and _is_of_all_rows(search.journal.find("final")):
        [of_sample] = [result.score for result in search.outer_results() if result.model == NETWORK]
        said = (
            f"The network learned from {stream.num_trained:,} rows, the baselines from the sample of "
            f"{stream.num_sampled:,}, on which alone the network's {objective.name} is {objective.raw(of_sample):.3f}"
        )
    said += f"; the {stream.num_tested:,} rows held out are the same for all."
    return replace_fields(comparison, verdict=f"{comparison.verdict} {said}")


def _trained(search: NetworkSearch, values: dict[str, Any], kept: Path) -> tuple[keras.Model, dict[str, list[float]]]:
    """Return the trained network and its curve, from the last whole epoch on where an earlier run has kept one."""
    table, fold, stream = search.table, search.plan.outer[0], search.plan.stream
    assert stream is not None
    task = search.task_of_all(fold, values)
    model, form = search.fitting.untrained(values, task, stream.num_trained)
    encoder = search.coder.encoder(fold.train, search.fitting.scaling(values))
    scaler = search.coder.scaler(fold.train)

    def encode(features: Any, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return encoder.transform(features), code_target(target, form, table.num_outputs, scaler)

    batch_size = batch_size_of(values)
    steps = -(-stream.num_trained // batch_size)
    epochs = _restored(model, kept, steps, search)
    rows = _Rows(stream, table, encode, task.seed)
    first = tuple(
        tf.TensorSpec((None, *array.shape[1:]), array.dtype)
        for array in rows.parts(table.features.iloc[:1], table.target[:1])
    )
    # TensorFlow cuts the parts into batches, and has them read, beside the training.
    data = tf.data.Dataset.from_generator(rows, output_signature=first).prefetch(1).rebatch(batch_size).prefetch(8)
    data = data.apply(tf.data.experimental.assert_cardinality(steps))
    total, before = task.epochs * stream.num_trained, epochs * stream.num_trained
    course = _Course(rows, Units(search.progress, PHASE, total, before), batch_size, kept, search.limit)
    try:
        history = model.fit(
            data, epochs=task.epochs, initial_epoch=epochs, shuffle=False, verbose=0, callbacks=[course]
        )
    except tf.errors.OpError:
        if rows.error is not None:
            raise rows.error from None
        raise
    finally:
        search.progress.finish(PHASE)
    if course.out_of_time:
        search.say(
            f"The time limit ended the training on all rows after {int(model.optimizer.iterations):,} of "
            f"{task.epochs * steps:,} steps."
        )
    curve = losses(history.history)
    unused = search.fitting.model(values, stream.num_trained)
    curve["learning_rate"] = learning_rates(unused, epochs + len(curve["loss"]), steps)[epochs:]
    return model, curve


def _restored(model: keras.Model, kept: Path, steps: int, search: NetworkSearch) -> int:
    """Give a model the weights and the optimizer's state that were kept; return of how many epochs."""
    if not kept.exists():
        return 0
    model.optimizer.build(model.trainable_variables)
    try:
        model.load_weights(kept)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{kept} is damaged ({one_line(error)[:200]}). Delete it: the training begins anew.") from None
    epochs = int(model.optimizer.iterations) // steps
    search.say(f"The training on all rows goes on after epoch {epochs}.")
    return epochs


class _Rows:
    """The encoded rows of an epoch in parts, in another order in each."""

    def __init__(self, stream: Stream, table: Table, encode: Callable[..., tuple[np.ndarray, ...]], seed: int):
        self._stream, self._table, self._encode, self._seed = stream, table, encode, seed
        self.epoch = 0
        self.error: Exception | None = None  # TensorFlow turns what is raised here into an error of its own
        self._weights = None
        if table.class_weight != "none":
            self._weights = balancing(stream.class_counts).astype("float32")

    def parts(self, features: Any, target: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return rows as the network takes them: inputs, targets and, where classes are balanced, weights."""
        encoded = self._encode(features, target)
        return encoded if self._weights is None else (*encoded, self._weights[target])

    def __call__(self) -> Iterator[tuple[np.ndarray, ...]]:
        try:
            yield from self._shuffled(np.random.default_rng([self._seed, self.epoch]))
        except Exception as error:
            self.error = error
            raise

    def _shuffled(self, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, ...]]:
        """Yield parts of several blocks at a time, which are drawn, through a pool."""
        blocks = self._stream.blocks.blocks
        waiting = iter([self._stream.rows(self._table, blocks)])
        if not self._stream.blocks.in_order:
            waiting = (self._stream.rows(self._table, [blocks[place]]) for place in rng.permutation(len(blocks)))
        opened = list(itertools.islice(waiting, _OPENED))

        def parts() -> Iterator[tuple[np.ndarray, ...]]:
            while opened:
                place = int(rng.integers(len(opened)))
                found = next(opened[place], None)
                if found is not None:
                    yield self.parts(*found)
                else:
                    opened[place : place + 1] = itertools.islice(waiting, 1)

        return _mixed(parts(), rng)


def _mixed(parts: Iterator[tuple[np.ndarray, ...]], rng: np.random.Generator) -> Iterator[tuple[np.ndarray, ...]]:
    """Yield the same rows in another order: each is exchanged for one that is drawn from a pool of many."""
    pool: list[np.ndarray] = []
    filled = 0
    for part in parts:
        if not pool:
            size = max(_POOL // sum(array[:1].nbytes for array in part), 1)
            pool = [np.empty((size, *array.shape[1:]), array.dtype) for array in part]
        new = min(len(pool[0]) - filled, len(part[0]))
        for held, array in zip(pool, part, strict=True):
            held[filled : filled + new] = array[:new]
        filled += new
        for start in range(new, len(part[0]), filled):
            coming = [array[start : start + filled] for array in part]
            drawn = rng.choice(filled, len(coming[0]), replace=False)
            yield tuple(held[drawn] for held in pool)
            for held, array in zip(pool, coming, strict=True):
                held[drawn] = array
    order = rng.permutation(filled)
    for start in range(0, filled, _PART):
        yield tuple(held[order[start : start + _PART]] for held in pool)


class _Course(keras.callbacks.Callback):
    """Tells how far the training is, keeps what each epoch ends with, and ends it when the time is up."""

    def __init__(self, rows: _Rows, units: Units, batch_size: int, kept: Path, limit: TimeLimit):
        super().__init__()
        self._rows, self._units, self._batch_size = rows, units, batch_size
        self._kept, self._limit = kept, limit
        self.out_of_time = False

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Have the rows in the order of this epoch."""
        self._rows.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Count, and look at the time."""
        self._units.advance(self._batch_size)
        if self._limit.left() <= 0:
            self.model.stop_training = self.out_of_time = True

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Write the weights and the optimizer's state."""
        if not self.out_of_time:
            replace(self._kept, self.model.save_weights)
