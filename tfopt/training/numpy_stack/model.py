"""A stack of small networks that NumPy trains: the layers' own formulas, the members' weights side by side."""

import copy
import itertools
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import keras
import numpy as np
from threadpoolctl import ThreadpoolController

from tfopt._private.keras_models import compiled_parts
from tfopt._private.keras_optimizers import learning_rate_of
from tfopt.callbacks.learning_rate_multipliers import LearningRateMultipliers
from tfopt.errors import CannotStack
from tfopt.training.fits import State, UnpenalizedLoss, complete
from tfopt.training.model_walk import ModelWalk
from tfopt.training.numpy_stack.activations import ACTIVATIONS, LINEAR, softmax
from tfopt.training.numpy_stack.ensembles import mean_of_members
from tfopt.training.numpy_stack.layers import _Dropout
from tfopt.training.numpy_stack.losses import EpochMeans, Loss, metric_of
from tfopt.training.numpy_stack.masks import DropoutDraws, DropoutMasks
from tfopt.training.numpy_stack.network import Network
from tfopt.training.numpy_stack.numbers import MemberNumbers, Workspace
from tfopt.training.numpy_stack.optimizers import update_of
from tfopt.training.numpy_stack.penalties import Penalties
from tfopt.training.numpy_stack.schedules import RateFactors, ScheduleValues
from tfopt.training.rows import Examples
from tfopt.training.stack import Logs, Stack
from tfopt.training.symbolic import Values

Array = np.ndarray

_OF_METRICS = ("model._compile_metrics", "model._compile_loss")  # made at the first batch, and reset at each epoch
_AT_A_TIME = 1 << 7  # rows that are evaluated at a time; of each member, as sums of others round differently
_MANY_PRODUCTS = 1 << 23  # multiplications of a layer's product for one member, from which two threads are worth it


class _OneBlasThread:
    """Keeps NumPy's products on one thread each, while any stack in any thread wants that."""

    def __init__(self) -> None:
        self._controller, self._lock, self._holders = ThreadpoolController(), threading.Lock(), 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._holders:
                self._limit = self._controller.limit(limits=1, user_api="blas")
            self._holders += 1

    def __exit__(self, *_: Any) -> None:
        with self._lock:
            self._holders -= 1
            if not self._holders:
                self._limit.restore_original_limits()


_one_blas_thread = _OneBlasThread()


class NumpyStack(Stack):
    """A population of small networks in NumPy.

    For models made of the layers in `network`, trained in single precision by SGD, Adam, AdamW or RMSprop on a stock
    loss: nothing has to be traced, and a step is a few calls
    whatever the number of members. A member's products are its own, so its result does not depend on the others.

    Args:
        model: A compiled model whose optimizer is not built; it becomes the stack's and is not a model any more.
        walk: The walk through it.
        extra: The variables outside the model's and the optimizer's of a snapshot, by path.
        varying: Names of the numbers that differ between members.
        train: Rows of training.
        validation: Rows that `evaluate` takes, which may be those of training; None not to evaluate.
        measure: Whether to measure the norm of each member's gradient.
        multipliers: Of the learning rates, by weight; None for none.

    Attributes:
        second: Another stack like this one, for another thread; None until one is wanted.

    Raises:
        CannotStack: The model has something that is not known here.
    """

    second: Stack | None = None
    takes_any_rows = True

    def __init__(
        self, model: keras.Model, walk: ModelWalk, extra: Mapping[str, Any], varying: Iterable[str],
        train: Examples, validation: Examples | None = None, measure: bool = False,
        multipliers: LearningRateMultipliers | None = None,
    ):  # fmt: skip
        super().__init__(walk.numbers, varying)
        self._measure = measure
        if model.optimizer.built:
            raise CannotStack("its optimizer is built before the training")
        complete(model, train)
        rate = learning_rate_of(model.optimizer)
        self._schedule = None if isinstance(rate, keras.Variable) else ScheduleValues(rate, walk, self.varying)
        of_schedule = frozenset() if self._schedule is None else self._schedule.numbers
        self._numbers = MemberNumbers(self.varying, walk, of_schedule)
        self._network = Network(model, self._numbers)
        dropouts = self._network.dropouts
        if len({id(operation.generator) for operation in dropouts}) < len(dropouts):
            raise CannotStack("two of its dropout layers share a generator")
        self._trained = list(model.trainable_variables)
        self._rate_factors = RateFactors(multipliers, self._trained)
        self._penalties = Penalties(self._trained, self._numbers)
        self._update = update_of(model.optimizer, self._numbers)
        self._read_loss(model, train)
        if self._numbers.unread:
            raise CannotStack(f"{min(self._numbers.unread)} differs, whose use is not known here")
        self._train = self._columns_of(train)
        self._validation = None if validation is None else self._columns_of(validation)
        self._drawing = DropoutMasks()
        self._make_places(model, extra)

    def _read_loss(self, model: keras.Model, train: Examples) -> None:
        loss, metrics, weighted = compiled_parts(model, train.y)
        last = self._network.output
        self._units = last.units
        function = getattr(last.layer, "activation", keras.activations.linear)
        self._loss = Loss(loss, function, self._units, self._numbers)
        self._final = None
        if self._loss.takes_logits:
            self._final = softmax if function is keras.activations.softmax else ACTIVATIONS[function].value
            last.activation = LINEAR
        self._network.check()
        self._unpenalized = [metric.name for metric in weighted if isinstance(metric, UnpenalizedLoss)]
        if len(self._unpenalized) < len(weighted):
            raise CannotStack("it has weighted metrics")
        self._metrics = {metric.name: metric_of(metric) for metric in metrics}
        if len({"loss", *self._metrics, *self._unpenalized}) < 1 + len(metrics) + len(weighted):
            raise CannotStack("two of its metrics have one name")

    def _columns_of(self, examples: Examples) -> tuple[Array, Array, Array | None]:
        """Return inputs (rows, …) and targets (rows, units) as the operations take them, and the rows' weights."""
        x, y = (keras.tree.flatten(part) for part in (examples.x, examples.y))
        if len(x) != 1 or len(y) != 1:
            raise CannotStack("it takes more than one input or target")
        inputs, targets = x[0].astype("float32"), y[0].reshape(len(y[0]), -1)
        codes = self._loss.sparse or (self._loss.takes_codes and targets.shape[1] == 1)
        wide = 1 if codes or self._loss.one_target else self._units
        if targets.shape[1] != wide:
            raise CannotStack(f"its targets have {targets.shape[1]} columns, its loss takes {wide}")
        if codes and not (targets.min() >= 0 and targets.max() < self._units):
            raise CannotStack(f"its targets are not classes from 0 to {self._units - 1}")
        return inputs, targets if codes else targets.astype("float32"), examples.sample_weight

    def _make_places(self, model: keras.Model, extra: Mapping[str, Any]) -> None:
        """Decide where each array of a `State` lives: in a column of a buffer, or by itself."""
        optimizer = model.optimizer
        buffers: dict[int, tuple[str, int]] = {}  # of a variable: the buffer, and the index of the weight
        for index, variable in enumerate(self._trained):
            buffers[id(variable)] = "weights", index
        for name, slots in self._update.slots.items():
            for index, slot in enumerate(slots):
                buffers[id(slot)] = name, index
        ends = np.cumsum([0, *(int(np.prod(v.shape)) for v in self._trained)])
        self._spans = [slice(int(a), int(b)) for a, b in itertools.pairwise(ends)]
        self._size = int(ends[-1])
        self._homes: list[tuple[str, int] | None] = []
        self._shapes = []
        self._variables = [id(variable) for variable in (*model.variables, *optimizer.variables)]
        for variable in (*model.variables, *optimizer.variables):
            self._homes.append(buffers.get(id(variable)))
            self._shapes.append(tuple(variable.shape))
        self.length = len(self._homes)
        self._iterations = len(model.variables)
        self._constant_rate = self._iterations + 1
        known = {id(v) for v in model.variables} | {id(optimizer.iterations)} | set(buffers)
        if self._schedule is None:
            known.add(id(learning_rate_of(optimizer)))
        if not set(self._variables) <= known or any(not path.startswith(_OF_METRICS) for path in extra):
            raise CannotStack("it keeps variables whose use is not known here")
        for path in sorted(extra):
            self._homes.append(None)
            self._shapes.append(tuple(extra[path].shape))
        self._homes.append(None)  # the global generator, which no operation here uses
        self._shapes.append((2,))

    def mismatch(self, numbers: Values) -> str | None:
        """Return why this stack would train another model than one of these numbers; None if it would not."""
        of_schedule = None if self._schedule is None else self._schedule.mismatch(numbers)
        return super().mismatch(numbers) or self._numbers.differing_decision(numbers) or of_schedule

    def member_bytes(self, batch_size: int) -> int:
        """Return about how many bytes a member takes."""
        operations = self._network.operations
        numbers = sum(6 * operation.units + operation.kept for operation in operations)
        return 4 * ((4 + len(self._update.slots)) * self._size + batch_size * numbers)

    def is_threaded(self, batch_size: int) -> bool:
        """Return whether a product of one member is large enough for several threads."""
        return batch_size * max(int(np.prod(v.shape)) for v in self._trained) >= _MANY_PRODUCTS

    def steps_taken(self, state: State) -> int:
        """Return how many steps the optimizer of a member in this state has taken."""
        return int(state[self._iterations])

    def load(self, states: Sequence[State], members: Sequence[Values]) -> None:
        """Put members into the stack."""
        number = len(states)
        names = ("weights", *self._update.slots)
        self._buffers = {name: np.empty((number, self._size), "float32") for name in names}
        self._own: dict[int, Array] = {}
        for index, home in enumerate(self._homes):
            values = np.stack([np.asarray(state[index]) for state in states])
            if home is None:
                self._own[index] = values
            else:
                self._buffers[home[0]][:, self._spans[home[1]]] = values.reshape(number, -1)
        self._gradients = np.zeros((number, self._size), "float32")
        self._members = members
        self._parts: dict[tuple[int, int], NumpyStack] = {}  # of neighbours, by their places
        self._schedule = None if self._schedule is None else self._schedule.of(members)
        self._look_up(members)
        self._dropping = [layer for layer in self._network.dropouts if layer.always or layer.rate().any()]

    def _look_up(self, members: Sequence[Values]) -> None:
        """Give every part of the computation the members' arrays and numbers."""
        self._workspace = Workspace()
        self._numbers.set(members)
        views = {id(v): self._viewed(self._buffers["weights"], i) for i, v in enumerate(self._trained)}
        into = {id(v): self._viewed(self._gradients, i) for i, v in enumerate(self._trained)}
        states_of = {self._variables[index]: values for index, values in self._own.items() if index < self.length}
        for operation in self._network.operations:
            operation.load(views, into, states_of)
        self._loss.load()
        self._update.load()
        self._penalties.load(len(members))

    def _part(self, run: slice) -> "NumpyStack":
        """Return a stack of neighbours among the members, whose arrays are views of this one's."""
        if run == slice(0, len(self._members)):
            return self
        places = run.start, run.stop
        if places not in self._parts:
            part = self._parts[places] = copy.copy(self)
            part._network = self._network.copy()
            part._loss, part._update = copy.copy(self._loss), copy.copy(self._update)
            part._penalties = copy.copy(self._penalties)
            part._buffers = {name: buffer[run] for name, buffer in self._buffers.items()}
            part._own = {index: values[run] for index, values in self._own.items()}
            part._gradients = self._gradients[run]
            part._look_up(self._members[run])
            self._numbers.set(self._members)
            part._dropping = [part._network.dropouts[self._network.dropouts.index(own)] for own in self._dropping]
        return self._parts[places]

    def _viewed(self, buffer: Array, index: int) -> Array:
        shape = tuple(self._trained[index].shape)
        return buffer[:, self._spans[index]].reshape(len(buffer), *shape)  # a view

    def arrays(self) -> list[Array]:
        """Return the values of all variables, stacked: views that the next step changes."""
        found = []
        for index, home in enumerate(self._homes):
            found.append(self._own[index] if home is None else self._buffers[home[0]][:, self._spans[home[1]]])
        return found

    def state(self, arrays: list[Array], member: int) -> State:
        """Return what `arrays` holds of one member."""
        return [array[member].reshape(shape).copy() for array, shape in zip(arrays, self._shapes, strict=True)]

    def train(self, orders: Sequence[Array], batch_size: int) -> Logs:
        """Train an epoch on each member's rows, in as many steps, and return the logs, a value a member."""
        with self._computing(batch_size):
            return self._train_epoch(orders, batch_size)

    @contextmanager
    def _computing(self, rows: int) -> Iterator[None]:
        """Let members become infinite, and keep small products on one thread: sharing them out takes longer."""
        with np.errstate(all="ignore"), nullcontext() if self.is_threaded(rows) else _one_blas_thread:
            yield

    def _train_epoch(self, orders: Sequence[Array], batch_size: int) -> Logs:
        runs = _runs(orders)
        longest, shortest = (choose(length for _, length in runs) for choose in (max, min))
        padded = np.stack([np.resize(order, longest) for order in orders])
        starts = range(0, longest, batch_size)
        sizes = [min(batch_size, longest - start) for start in starts]
        totals = EpochMeans(self._metrics, self._unpenalized, len(orders))
        norms = np.zeros((2, len(orders)))
        everyone = [(slice(0, len(orders)), longest)]
        for start, size, drawn in zip(starts, sizes, self._masks(sizes), strict=True):
            iterations = self._own[self._iterations]
            if self._schedule is None:
                rate = self._own[self._constant_rate][:, None].astype("float32")
            else:
                rate = self._schedule.at(int(iterations[0]))
            for run, length in everyone if start + size <= shortest else runs:
                rows = padded[run, start : min(start + size, length)]
                masks = [mask[run, : rows.shape[1]] for mask in drawn]
                self._part(run)._train_step(rows, masks, rate[run], totals, norms, run)
        logs = totals.means()
        if self._measure:
            logs["grad_norm"] = np.divide(norms[0], norms[1], out=np.zeros(len(orders)), where=norms[1] > 0)
        return logs

    def _train_step(
        self, rows: Array, masks: list[Array], rate: Array, totals: EpochMeans, norms: Array, run: slice
    ) -> None:
        """Train one step; its logs are added to the run's."""
        for operation, mask in zip(self._dropping, masks, strict=True):
            operation.keep(mask)
        size = rows.shape[1]
        x, y, weight = self._taken(self._train, rows)
        out = self._network.forward(x, training=True)
        losses, gradient = self._loss.rows(out, y)
        shares = np.float32(1 / size) if weight is None else (weight / np.float32(size))
        gradient *= shares if weight is None else shares.reshape(*shares.shape, *(1,) * (gradient.ndim - 2))
        self._network.backward(gradient)
        weights = self._buffers["weights"]
        penalty = self._penalties.add(weights, self._gradients)
        loss, unpenalized = self._mean(losses, weight), None
        if out.ndim == 4:
            out = mean_of_members(self._network.output.layer, out)
            unpenalized = self._mean(self._loss.rows(out, y)[0], weight) if self._unpenalized else None
        totals.add(size, loss, penalty, self._finished(out), y, run, unpenalized)
        if self._measure:
            norm = np.sqrt(np.vecdot(self._gradients, self._gradients))
            norms[:, run] += np.where(np.isfinite(norm), norm, 0), np.isfinite(norm)
        iterations = self._own[self._iterations]
        step = int(iterations[0])
        self._update.clip(self._gradients)
        self._update.decay(weights, rate)
        rate = self._rate_factors.apply(rate, step)
        self._update.step(weights, self._gradients, self._buffers, rate, step + 1)
        iterations += 1

    def _masks(self, sizes: Sequence[int]) -> Iterable[list[Array]]:
        """Return the dropout masks of each step, and move the generators on to where Keras leaves them."""
        drawn = []
        for operation in self._dropping:
            states = self._generator_states(operation)
            # Those of the epoch after it are drawn ahead.
            rates = operation.rates(2 * len(sizes))
            drawn.append(DropoutDraws(states.copy(), rates, operation.drawn, operation.always, self.compiled))
            states[:] = drawn[-1].after(len(sizes)).seeds
        return self._drawing.epoch(drawn, sizes)

    def _generator_states(self, operation: _Dropout) -> Array:
        return self._own[self._variables.index(id(operation.generator))]

    def _mean(self, losses: Array, weight: Array | None) -> Array:
        return np.mean(losses if weight is None else losses * weight, axis=1)

    def _taken(self, parts: tuple[Array, Array, Array | None], rows: Array) -> tuple[Array, Array, Array | None]:
        """Return the rows (members, rows) of inputs, targets and weights."""
        x, y, weight = parts
        inputs = self._workspace("inputs", (*rows.shape, *x.shape[1:]))
        np.take(x, rows, axis=0, out=inputs, mode="clip")  # which, unlike "raise", writes there at once
        return inputs, y[rows], None if weight is None else weight[rows]

    def _finished(self, out: Array) -> Array:
        return out if self._final is None or not self._metrics else self._final(out.copy())

    def evaluate(self, rows: Sequence[Array], batch_size: int) -> Logs:
        """Return the logs over each member's rows of the validation examples."""
        if self._validation is None:
            raise ValueError("This stack was made without rows of validation.")
        totals = EpochMeans(self._metrics, self._unpenalized, len(rows))
        with self._computing(batch_size):
            for run, _ in _runs(rows):
                part = self._part(run)
                penalty = part._penalties.add(part._buffers["weights"])
                batches = -(-len(rows[run.start]) // batch_size)
                for operation in part._dropping:
                    if operation.draws_in_evaluation:
                        states = part._generator_states(operation)
                        states[:, 1] += (batches * (operation.rate() > 0)).astype(states.dtype)
                for picked in self._pieces(np.stack(rows[run])):
                    x, y, weight = part._taken(self._validation, picked)
                    out = part._network.forward(x, training=False)
                    losses, _ = part._loss.rows(out, y)
                    totals.add(picked.shape[1], self._mean(losses, weight), penalty, self._finished(out), y, run)
        return totals.means()

    def outputs(self, rows: Sequence[Array]) -> list[Any]:
        """Return each member's outputs for its rows of the training examples."""
        found: list[Any] = []
        with self._computing(_AT_A_TIME):
            for run, _ in _runs(rows):
                network = self._part(run)._network
                pieces = [self._train[0][picked] for picked in self._pieces(np.stack(rows[run]))]
                out = np.concatenate([network.forward(piece, training=False).copy() for piece in pieces], axis=1)
                found += list(out if self._final is None else self._final(out))
        return found

    def _pieces(self, rows: Array) -> list[Array]:
        return np.array_split(rows, -(-rows.shape[1] // _AT_A_TIME), axis=1)


def _runs(rows: Sequence[Array]) -> list[tuple[slice, int]]:
    """Return the neighbours that have as many rows, and how many."""
    runs, start = [], 0
    for length, same in itertools.groupby(map(len, rows)):
        end = start + len(list(same))
        runs.append((slice(start, end), length))
        start = end
    return runs
