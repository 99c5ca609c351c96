"""What an optimizer is handed at each step, written into a ring buffer by the very graph that trains. TensorFlow only.

The graph stores half sums of squares (one fused kernel a variable); every root, scale and ratio is taken later, on the
host, by ``_gradient_steps``. Whoever makes a tap asks for the private need "gradients at the optimizer" first.
"""

import contextlib
import dataclasses
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfopt._layers import innermost_optimizers
from tfopt._private.keras_optimizers import SUM_OVER_REPLICAS, accumulated_by, trained_by

_MOST_ROWS, _MOST_NUMBERS = 1024, 2**20  # of a ring: reading it costs Python time, holding it memory
MISSING = -1.0  # "no gradient here": a sum of squares is never negative, and NaN must keep meaning NaN


@dataclasses.dataclass(frozen=True)
class TapOptions:
    """Quantities that cost extra and are recorded only when a callback asks for them."""

    update_ratio: bool = False
    cosine: bool = False

    def __or__(self, other: "TapOptions") -> "TapOptions":
        return TapOptions(self.update_ratio or other.update_ratio, self.cosine or other.cosine)


@dataclasses.dataclass(frozen=True)
class Leaf:
    """One optimizer that updates variables itself: the optimizer, inside any loss scaling or MultiOptimizer."""

    optimizer: Any
    columns: tuple[int, ...]
    clipnorm: float | None
    global_clipnorm: float | None
    clipvalue: float | None
    accumulation: int

    @property
    def clips(self) -> bool:
        return bool(self.clipnorm or self.global_clipnorm or self.clipvalue)


def _summed_rows(slices: tf.IndexedSlices) -> tf.Tensor:
    """The rows of a sparse gradient, repeats summed, then zeros. The shapes are static, so XLA takes it."""
    order = tf.argsort(slices.indices)
    indices = tf.gather(slices.indices, order)
    first = tf.concat([[0], tf.cast(indices[1:] != indices[:-1], tf.int32)], axis=0)
    return tf.math.unsorted_segment_sum(tf.gather(slices.values, order), tf.cumsum(first), tf.shape(indices)[0])


def _half_square_sum(value: Any) -> tf.Tensor:
    value = _summed_rows(value) if isinstance(value, tf.IndexedSlices) else tf.convert_to_tensor(value)
    if value.dtype in (tf.float16, tf.bfloat16):
        value = tf.cast(value, tf.float32)  # the sum would overflow
    return tf.cast(tf.nn.l2_loss(value), tf.float32)


def _clipped_by_value(gradient: Any, limit: Any) -> Any:
    if isinstance(gradient, tf.IndexedSlices):
        limit = tf.cast(limit, gradient.dtype)
        return tf.IndexedSlices(
            tf.clip_by_value(gradient.values, -limit, limit), gradient.indices, gradient.dense_shape
        )
    limit = tf.cast(limit, gradient.dtype)
    return tf.clip_by_value(gradient, -limit, limit)


class _Ring:
    """A ``[capacity, width]`` float32 buffer that lives in the graph, outside the model's own variables."""

    def __init__(self, strategy: Any, capacity: int, width: int) -> None:
        self.capacity = capacity
        self._replicated = strategy.num_replicas_in_sync > 1
        with _outside_replicas(strategy):
            self._rows = tf.Variable(
                tf.fill([capacity, width], np.float32(MISSING)), trainable=False, **_replica_options(strategy)
            )

    def write(self, count: Any, row: Sequence[Any]) -> None:
        position, values = count % self.capacity, tf.stack(list(row))
        if self._replicated:
            updated = tf.tensor_scatter_nd_update(self._rows.read_value(), [[position]], values[None])
            self._rows.assign(updated)
        else:
            self._rows.scatter_update(tf.IndexedSlices(values, position))  # a scalar index: the fewest operations

    def rows(self, start: int, stop: int) -> np.ndarray:
        buffer = self._rows.values[0] if self._replicated else self._rows
        index = np.arange(start, stop) % self.capacity
        if stop - start == 1:
            return buffer[int(index[0])].numpy()[None]
        return buffer.numpy()[index]


@contextlib.contextmanager
def _outside_replicas(strategy: Any) -> Iterator[None]:
    """Make variables for every replica; of one replica, which may be traced just now, plain ones do."""
    with tf.init_scope(), strategy.scope() if strategy.num_replicas_in_sync > 1 else contextlib.nullcontext():
        yield


def _replica_options(strategy: Any) -> dict[str, Any]:
    """Each replica writes its own copy, and the first replica's is read."""
    if strategy.num_replicas_in_sync == 1:
        return {}
    return {
        "synchronization": tf.VariableSynchronization.ON_READ,
        "aggregation": tf.VariableAggregation.ONLY_FIRST_REPLICA,
    }


class OptimizerTap:
    """Records every `apply` of one optimizer between `install` and `uninstall`, which leaves no trace on it.

    Args:
        label: What the optimizer is called in logs when the model has several.
        optimizer: Any Keras optimizer.
        strategy: The model's `tf.distribute` strategy.
        capacity: Rows that the ring buffer has at least.
        options: Optional quantities.
    """

    def __init__(self, label: str, optimizer: Any, strategy: Any, capacity: int, options: TapOptions) -> None:
        self.label, self.optimizer, self.options, self.capacity = label, optimizer, options, capacity
        self.num_replicas = int(strategy.num_replicas_in_sync)
        self.batch_sizes: dict[int, Any] = {}  # by thread: the replicas of a MirroredStrategy trace side by side
        self._strategy = strategy
        self._apply: Any = None
        self.leaves: list[Leaf] = []
        self.is_built = False

    def build(self, variables: Sequence[Any], gradients: Sequence[Any] | None = None) -> None:
        """Lay out the columns and make the ring, outside whatever graph is being traced."""
        if self.is_built:
            return
        if not self.optimizer.built:
            # What `Optimizer.apply` itself would do a moment later.
            with keras.name_scope(self.optimizer.name, caller=self.optimizer):
                self.optimizer.build(list(variables))
        members = [member for member in innermost_optimizers(self.optimizer) if member.built]
        self.variables = [v for member in members for v in trained_by(member)]
        self._column = {id(v): i for i, v in enumerate(self.variables)}
        self.leaves = [self._leaf(member) for member in members]
        may_be_sparse = gradients is None or any(isinstance(g, tf.IndexedSlices) for g in gradients)
        self.sections = self._layout(may_be_sparse)
        width = sum(self.sections.values())
        self.capacity = max(self.capacity, min(_MOST_ROWS, _MOST_NUMBERS // width))
        self._ring = _Ring(self._strategy, self.capacity, width)
        self._applied_rings = [
            _Ring(self._strategy, self.capacity, len(leaf.columns)) for leaf in self.leaves if self.num_replicas > 1
        ]
        with _outside_replicas(self._strategy):
            self._count = tf.Variable(np.int64(0), trainable=False, **_replica_options(self._strategy))
            if self.options.cosine:
                self._previous = [tf.Variable(tf.zeros(v.shape, v.dtype), trainable=False) for v in self.variables]
        self.is_built = True

    def _leaf(self, optimizer: Any) -> Leaf:
        return Leaf(
            optimizer=optimizer,
            columns=tuple(self._column[id(v)] for v in trained_by(optimizer)),
            clipnorm=optimizer.clipnorm,
            global_clipnorm=optimizer.global_clipnorm,
            clipvalue=optimizer.clipvalue,
            accumulation=optimizer.gradient_accumulation_steps or 0,
        )

    def _layout(self, may_be_sparse: bool) -> dict[str, int]:
        size, leaves = len(self.variables), self.leaves
        accumulates, replicated = any(leaf.accumulation for leaf in leaves), self.num_replicas > 1
        clips_norms = any(leaf.clipnorm or leaf.global_clipnorm for leaf in leaves)
        wanted = {
            "gradient": (True, size),
            "learning_rate": (True, len(leaves)),
            "average": (accumulates, size),
            "value_clipped": (any(leaf.clipvalue for leaf in leaves), size),
            "clip_measure": (clips_norms and may_be_sparse, size),
            "reduced": (replicated and any(leaf.clips for leaf in leaves), size),
            "scale": (self.is_loss_scaled, 1),
            "updated": (self.is_loss_scaled or accumulates, len(leaves)),
            "batch_size": (accumulates or replicated, 1),
            "update": (self.options.update_ratio, size),
            "parameter": (self.options.update_ratio, size),
            "dot": (self.options.cosine, size),
            "previous": (self.options.cosine, size),
        }
        return {name: width for name, (is_wanted, width) in wanted.items() if is_wanted}

    @property
    def is_loss_scaled(self) -> bool:
        return isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer)

    # While the train function runs.

    def install(self) -> None:
        """Put the wrappers on the optimizer, past its attribute tracking. This runs at every step, so it is short."""
        optimizer = self.optimizer
        self._apply = optimizer.apply
        object.__setattr__(optimizer, "apply", self._recorded_apply)
        if self.num_replicas > 1 and self.is_built:
            for leaf, ring in zip(self.leaves, self._applied_rings, strict=True):
                recorded = self._recording_sum(getattr(leaf.optimizer, SUM_OVER_REPLICAS), leaf, ring)
                object.__setattr__(leaf.optimizer, SUM_OVER_REPLICAS, recorded)

    def uninstall(self) -> None:
        """Take them off again."""
        for optimizer, name in [(self.optimizer, "apply")] + [
            (leaf.optimizer, SUM_OVER_REPLICAS) for leaf in (self.leaves if self.num_replicas > 1 else ())
        ]:
            if name in vars(optimizer):
                object.__delattr__(optimizer, name)

    def _recorded_apply(self, grads: Any, trainable_variables: Any = None) -> Any:
        grads = list(grads)
        variables = trainable_variables
        if variables is None and self.optimizer.built:
            variables = trained_by(self.optimizer)
        if not grads or variables is None:
            return self._apply(grads, trainable_variables)  # Keras has its own answer to both
        variables = list(variables)
        self.build(variables, grads)
        gradients = self._by_column(grads, variables)
        self._present = list(gradients)
        row = self._row_before(gradients)
        iterations = [tf.convert_to_tensor(leaf.optimizer.iterations) for leaf in self._flagged()]
        parameters = self._parameters("update")
        result = self._apply(grads, trainable_variables)
        row["updated"] = [
            tf.cast(tf.convert_to_tensor(leaf.optimizer.iterations) != before, tf.float32)
            for leaf, before in zip(self._flagged(), iterations, strict=True)
        ]
        moved = self._parameters("update")
        row["update"] = [_half_square_sum(a - b) for a, b in zip(moved, parameters, strict=True)]
        row["parameter"] = [_half_square_sum(value) for value in moved]
        count = self._count.read_value() if self.num_replicas > 1 else self._count
        self._ring.write(count, [value for section in self.sections for value in row[section]])
        self._count.assign_add(tf.constant(1, tf.int64))
        return result

    def _recording_sum(self, all_reduce: Any, leaf: Leaf, ring: _Ring) -> Any:
        def recorded_sum(grads_and_vars: Any) -> Any:
            reduced = list(all_reduce(grads_and_vars))
            present = [column for column in self._present if column in leaf.columns]
            squares = dict(zip(present, (_half_square_sum(g) for g, _ in reduced), strict=True))
            ring.write(self._count.read_value(), [squares.get(c, tf.constant(MISSING)) for c in leaf.columns])
            return reduced

        return recorded_sum

    def _by_column(self, grads: Sequence[Any], variables: Sequence[Any]) -> dict[int, Any]:
        """The gradients in the order Keras applies them, without those it drops or writes straight into a variable."""
        return {
            self._column[id(v)]: g
            for g, v in zip(grads, variables, strict=True)
            if g is not None and not getattr(v, "overwrite_with_gradient", False)
        }

    def _flagged(self) -> list[Leaf]:
        return self.leaves if "updated" in self.sections else []

    def _parameters(self, section: str) -> list[tf.Tensor]:
        return [tf.convert_to_tensor(v) for v in self.variables] if section in self.sections else []

    def _row_before(self, gradients: dict[int, Any]) -> dict[str, list[Any]]:
        """Everything that is known before the optimizer acts, by section."""
        scale = tf.convert_to_tensor(self.optimizer.dynamic_scale) if self.is_loss_scaled else None
        row: dict[str, list[Any]] = {
            "gradient": self._each(gradients, _half_square_sum),
            "learning_rate": [
                tf.cast(tf.convert_to_tensor(m.optimizer.learning_rate), tf.float32) for m in self.leaves
            ],
            "scale": [scale],
            "batch_size": [tf.cast(self.batch_sizes.get(threading.get_ident(), np.nan), tf.float32)],
        }
        sums = self._accumulated(gradients, scale)
        row["average"] = self._each(sums, _half_square_sum)
        row["value_clipped"] = self._value_clipped(gradients, sums, scale)
        if "clip_measure" in self.sections:
            row["clip_measure"] = list(row["gradient"])
            for column, gradient in gradients.items():
                if column in sums:
                    row["clip_measure"][column] = row["average"][column]
                elif isinstance(gradient, tf.IndexedSlices):
                    row["clip_measure"][column] = _half_square_sum(gradient.values)
        if "reduced" in self.sections:
            total = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, list(gradients.values()))
            row["reduced"] = self._each(dict(zip(gradients, total, strict=True)), _half_square_sum)
        if self.options.cosine:
            row |= self._against_previous(gradients)
        return row

    def _each(self, values: dict[int, Any], function: Any) -> list[Any]:
        missing = tf.constant(MISSING)
        return [function(values[c]) if c in values else missing for c in range(len(self.variables))]

    def _accumulated(self, gradients: dict[int, Any], scale: Any) -> dict[int, Any]:
        """``steps · (average of the accumulated gradients)`` as the next update would see it."""
        sums = {}
        for leaf in self.leaves:
            if not leaf.accumulation:
                continue
            unit = scale if scale is not None else (leaf.optimizer.loss_scale_factor or 1.0)
            for column, accumulator in zip(leaf.columns, accumulated_by(leaf.optimizer), strict=True):
                if column in gradients:
                    gradient = tf.convert_to_tensor(gradients[column])
                    sums[column] = gradient / tf.cast(unit, gradient.dtype) + tf.convert_to_tensor(accumulator)
        return sums

    def _value_clipped(self, gradients: dict[int, Any], sums: dict[int, Any], scale: Any) -> list[Any]:
        clipped = {}
        for leaf in self.leaves:
            if not leaf.clipvalue:
                continue
            unit = scale if scale is not None else (leaf.optimizer.loss_scale_factor or 1.0)
            for column in leaf.columns:
                if column in sums:
                    clipped[column] = _clipped_by_value(sums[column], leaf.clipvalue * leaf.accumulation)
                elif column in gradients:
                    clipped[column] = _clipped_by_value(gradients[column], leaf.clipvalue * unit)
        return self._each(clipped, _half_square_sum)

    def _against_previous(self, gradients: dict[int, Any]) -> dict[str, list[Any]]:
        dots, norms = {}, {}
        for column, gradient in gradients.items():
            gradient, previous = tf.convert_to_tensor(gradient), self._previous[column].read_value()
            dots[column] = tf.reduce_sum(tf.cast(gradient, tf.float32) * tf.cast(previous, tf.float32))
            norms[column] = _half_square_sum(previous)
            self._previous[column].assign(gradient)
        zero = tf.constant(0.0)
        return {
            "dot": [dots.get(column, zero) for column in range(len(self.variables))],
            "previous": [norms.get(column, zero) for column in range(len(self.variables))],
        }

    # On the host.

    def count(self) -> int:
        """Steps recorded since the tap was made."""
        if not self.is_built:
            return 0
        return int((self._count.values[0] if self.num_replicas > 1 else self._count).numpy())

    def read(self, start: int, stop: int) -> dict[str, np.ndarray]:
        """The sections of rows `start` up to `stop`, and, with several replicas, what they applied together."""
        rows = self._ring.rows(start, stop).astype(np.float64)
        ends = np.cumsum(list(self.sections.values()))[:-1]
        sections = dict(zip(self.sections, np.split(rows, ends, axis=1), strict=True))
        if self._applied_rings:
            sections["applied"] = np.full_like(sections["gradient"], MISSING)
            for leaf, ring in zip(self.leaves, self._applied_rings, strict=True):
                sections["applied"][:, leaf.columns] = ring.rows(start, stop)
        return sections
