"""Snapshots of builds: what a configuration's own build gives, so that another model can be put into its place.

Nothing about a fresh build has to be guessed or done again: initial weights, the optimizer's state, the states of the
random layers and every number come from a real one.
"""

import itertools
import logging
import math
import operator
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import keras
import numpy as np

from tfopt._private.keras_models import layers_of
from tfopt._private.keras_random import global_generator, seeded, stateful_stream
from tfopt._private.tensorflow_graphs import variables_alike
from tfopt.training.fits import Build, FitRequest, State, checked, complete
from tfopt.training.model_walk import ModelWalk
from tfopt.training.rows import Examples
from tfopt.training.timeout import limited

# Hyperparameters that the search itself uses: that a build ignores them hides nothing.
_OF_THE_SEARCH = ("batch_size", "epochs", "scaling")
_MOST_TRIES = 16  # builds for one hyperparameter, to see what it does

CONVOLUTIONS = (
    keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D, keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose, keras.layers.SeparableConv1D,
    keras.layers.SeparableConv2D, keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D, keras.layers.ConvLSTM1D,
    keras.layers.ConvLSTM2D, keras.layers.ConvLSTM3D,
)  # fmt: skip


@dataclass
class BuildSnapshot:
    """The facts of one fresh build.

    Args:
        signature: Equal for builds of the same graph.
        numbers: All numbers that the graph may use, by path.
        state: Values of the model's and its optimizer's variables.
        extra: Values of the other variables found, such as those of a schedule.
        generator: State of the generator of `keras.random` functions without a seed.
        draws: Whether the build drew from TensorFlow's stateful random stream.
        shared: Multiplications of a row that convolutions take beyond one for each weight.
        weights: Places in `state` of what `get_weights` returns.
    """

    signature: str
    numbers: dict[str, float | int]
    state: State
    extra: State
    generator: np.ndarray
    draws: bool
    shared: int
    weights: tuple[int, ...]

    def same_as(self, other: "BuildSnapshot") -> bool:
        """Return whether nothing tells the two builds apart."""
        return (
            (self.signature, self.numbers) == (other.signature, other.numbers)
            and len(self.state) == len(other.state)
            and all(map(np.array_equal, self.state + self.extra, other.state + other.extra))
        )


class ZeroSlots:
    """Optimizer slots that begin as zeros, by structure: making them costs a third of a snapshot."""

    def __init__(self) -> None:
        self._shapes: dict[Any, list[tuple[tuple[int, ...], str]]] = {}

    def note(self, walk: ModelWalk, optimizer: keras.optimizers.Optimizer, made_before: Sequence[Any]) -> None:
        """Remember the slots that building a fresh optimizer has added, if every one of them is zero."""
        variables = optimizer.variables
        stock = type(optimizer).__module__.startswith(("keras.", "tfopt."))
        in_front = len(variables) >= len(made_before) and all(map(operator.is_, variables, made_before))
        filled = any("initial_accumulator" in path for path in walk.numbers)
        slots = variables[len(made_before) :]
        if stock and in_front and not filled and not any(np.any(_copy(slot)) for slot in slots):
            self._shapes[_of_slots(walk)] = [(tuple(slot.shape), slot.dtype) for slot in slots]

    def of(self, walk: ModelWalk) -> State | None:
        """Return the slots of a structure; None if they have to be made."""
        shapes = self._shapes.get(_of_slots(walk))
        return None if shapes is None else [np.zeros(shape, dtype) for shape, dtype in shapes]


def _of_slots(walk: ModelWalk) -> tuple[str, frozenset[str]]:
    """Return what an optimizer's slots depend on: the structure, and which numbers are zero, such as a momentum."""
    zeros = (path for path, number in walk.numbers.items() if number == 0)
    return walk.signature, frozenset(path for path in zeros if path.startswith("model.optimizer."))


def take_snapshot(
    build: Build, request: FitRequest, examples: Examples, slots: ZeroSlots | None = None
) -> tuple[BuildSnapshot, keras.Model, ModelWalk]:
    """Build a request's configuration; return its facts, the fresh model, and where its numbers are."""
    with seeded(request.seed), variables_alike():
        before = stateful_stream()
        model = checked(build(request.hyperparameters))
        draws = before != stateful_stream()
        if not model.built:
            complete(model, examples)
        made_before, fresh = list(model.optimizer.variables), not model.optimizer.built
        walk = ModelWalk(model)
        added = slots.of(walk) if slots is not None and fresh else None
        if added is None:
            complete(model, examples)
            if slots is not None and fresh:
                slots.note(walk, model.optimizer, made_before)
        generator = keras.ops.convert_to_numpy(global_generator().state).copy()
    state = [_copy(v) for v in (*model.variables, *model.optimizer.variables)] + (added or [])
    extra = [_copy(walk.variables[path]) for path in sorted(walk.variables)]
    shared = sum(map(_shared_multiplications, layers_of(model)))
    of_weights = set(map(id, model.weights))
    weights = tuple(place for place, variable in enumerate(model.variables) if id(variable) in of_weights)
    return BuildSnapshot(walk.signature, walk.numbers, state, extra, generator, draws, shared, weights), model, walk


def _shared_multiplications(layer: keras.layers.Layer) -> int:
    """Return how many more multiplications a row takes than a convolution has weights: each is used at every place."""
    output = getattr(layer, "output", None) if isinstance(layer, CONVOLUTIONS) else None
    if output is None or None in output.shape[1:]:
        return 0
    return (math.prod(output.shape[1:-1]) - 1) * sum(math.prod(v.shape) for v in layer.trainable_variables)


def configuration_key(hyperparameters: Any) -> Any:
    """Return what two equal configurations have in common: their values, or else the object itself."""
    values = values_of(hyperparameters)
    return id(hyperparameters) if values is None else repr(sorted(values.items()))


def values_of(hyperparameters: Any) -> dict[str, Any] | None:
    """Return a configuration's values by name: of a KerasTuner `HyperParameters` or a dict; None for anything else."""
    if isinstance(hyperparameters, dict):
        return hyperparameters
    values = getattr(hyperparameters, "values", None)
    return values if isinstance(values, dict) else None


def _found_in_models(holders: Iterable[tuple[BuildSnapshot, Any]]) -> bool:
    """Return whether a hyperparameter's values are found at one and the same place of every model built with them."""
    places: set[Any] | None = None
    for snapshot, value in holders:
        if not isinstance(value, float):
            return False
        found: set[Any] = {path for path, number in snapshot.numbers.items() if np.float32(number) == np.float32(value)}
        scalars = ((index, array) for index, array in enumerate(snapshot.state) if array.ndim == 0)
        found |= {index for index, array in scalars if array == np.float32(value)}
        places = found if places is None else places & found
    return bool(places)


def _with(hyperparameters: Any, name: str, value: Any) -> Any:
    if isinstance(hyperparameters, dict):
        return {**hyperparameters, name: value}
    changed = hyperparameters.copy()
    changed.values[name] = value
    for parameter in changed.space:  # those that only this value makes active have none yet
        if all(condition.is_active(changed.values) for condition in parameter.conditions):
            changed.values.setdefault(parameter.name, parameter.default)
    return changed


def _copy(variable: Any) -> np.ndarray:
    return np.array(keras.ops.convert_to_numpy(variable.value if isinstance(variable, keras.Variable) else variable))


_log = logging.getLogger("tfopt")


class BuildRegistry:
    """Takes snapshots of builds and remembers what they show.

    Args:
        build: Returns the compiled model of a configuration.
        examples: Training rows, for their shapes.
        probe: Whether to look for hyperparameters that act without a trace in the model, at a build or two for each.

    Attributes:
        varying: For each structure, the paths of the numbers that differ between its configurations.
        representatives: For each structure, configurations that showed this, with their snapshots.
    """

    def __init__(self, build: Build, examples: Examples, probe: bool = True):
        self._build, self._examples, self._probe = build, examples, probe
        self.varying: dict[str, set[str]] = defaultdict(set)
        self.representatives: dict[str, list[tuple[FitRequest, BuildSnapshot]]] = defaultdict(list)
        self._structures: dict[Any, str] = {}  # of each configuration that was built
        self._shown: set[str] = set()  # hyperparameters that are seen in the models
        self._slots = ZeroSlots()

    def snapshots(self, requests: Sequence[FitRequest]) -> list[BuildSnapshot | Exception]:
        """Return the snapshot of each request, or what its build raised; equal ones are built once."""
        found: dict[Any, BuildSnapshot | Exception] = {}
        # Before the builds, which may add hyperparameters to the configurations.
        identities = [(configuration_key(request.hyperparameters), request.seed) for request in requests]
        for identity, request in zip(identities, requests, strict=True):
            if identity not in found:
                found[identity] = self._snapshot(request)
        return [found[identity] for identity in identities]

    def _snapshot(self, request: FitRequest) -> BuildSnapshot | Exception:
        try:
            with limited(request.timeout):
                snapshot = take_snapshot(self._build, request, self._examples, self._slots)[0]
        except Exception as error:
            _log.info("building failed", exc_info=True)
            return error
        self._note(request, snapshot)
        return snapshot

    def structure(self, hyperparameters: Any) -> str | None:
        """Return the structure of a configuration that was built; None of another one."""
        return self._structures.get(configuration_key(hyperparameters))

    def without_effect(self, built: Sequence[tuple[FitRequest, BuildSnapshot]]) -> str | None:
        """Return which hyperparameters of these requests do something that no model shows; None if none does.

        Such a one is unused, or acts through something that no walk sees (a file, an object of a module); only a fit of
        its own is then safe. A name is tried by changing it alone, in the last three configurations and in one of each
        structure, until it shows.
        """
        if not self._probe:
            return None
        built = [*itertools.chain.from_iterable(self.representatives.values()), *built]
        values = [values_of(request.hyperparameters) or {} for request, _ in built]
        hidden = []
        for name in dict.fromkeys(itertools.chain.from_iterable(values)):
            if name in self._shown or name in _OF_THE_SEARCH or name.startswith("tuner/"):
                continue
            holders = [(*pair, own[name]) for pair, own in zip(built, values, strict=True) if name in own]
            if len({repr(value) for *_, value in holders}) == 1:
                continue  # its value has not varied yet
            if self._shows(name, holders):
                self._shown.add(name)
            else:
                hidden.append(name)
        if not hidden:
            return None
        listed = ", ".join(map(repr, hidden))
        return f"changing {listed} changes nothing that can be seen in the model that `build` returns"

    def _shows(self, name: str, holders: Sequence[tuple[FitRequest, BuildSnapshot, Any]]) -> bool:
        """Return whether models show a hyperparameter, given with the values that it has."""
        if _found_in_models((snapshot, value) for _, snapshot, value in holders):
            return True
        # One of each structure too: the units of a fourth layer act where there are four, a momentum in SGD.
        of_each = {snapshot.signature: (request, snapshot, value) for request, snapshot, value in holders}
        latest = {id(holder[1]): holder for holder in (*holders[:-4:-1], *reversed(of_each.values()))}
        for request, snapshot, value in itertools.islice(latest.values(), _MOST_TRIES):
            other = next(another for *_, another in holders if repr(another) != repr(value))
            changed = FitRequest(_with(request.hyperparameters, name, other), request.seed, request.epochs)
            try:
                tried = take_snapshot(self._build, changed, self._examples, self._slots)[0]
            except Exception:  # nobody asked for this configuration: that it cannot be built says nothing
                _log.info("building another configuration, to see what a hyperparameter does, failed", exc_info=True)
                continue
            if not tried.same_as(snapshot):
                return True
        return False

    def _note(self, request: FitRequest, snapshot: BuildSnapshot) -> None:
        self._structures[configuration_key(request.hyperparameters)] = snapshot.signature
        representatives = self.representatives[snapshot.signature]
        first = representatives[0][1].numbers if representatives else snapshot.numbers
        differing = {path for path, number in snapshot.numbers.items() if number != first[path]}
        if not representatives or not differing <= self.varying[snapshot.signature]:
            representatives.append((request, snapshot))
        self.varying[snapshot.signature] |= differing


T = TypeVar("T")


class LRULists(OrderedDict[str, list[T]], Generic[T]):
    """A list for each key, empty at first; of more than `limit` keys those used longest ago are dropped."""

    def __init__(self, limit: int):
        super().__init__()
        self._limit = limit

    def __missing__(self, key: str) -> list[T]:
        self[key] = []
        while len(self) > self._limit:
            self.popitem(last=False)
        return self[key]

    def __getitem__(self, key: str) -> list[T]:
        if key in self:
            self.move_to_end(key)
        return super().__getitem__(key)
