"""The stacks of a population: made from a build, checked against Keras, and kept for the next fits."""

import copy
import functools
import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfopt._private.keras_models import layers_of
from tfopt._private.keras_random import seeded
from tfopt._private.needs import missing
from tfopt._private.tensorflow_graphs import variables_alike
from tfopt.callbacks.learning_rate_multipliers import LearningRateMultipliers
from tfopt.errors import CannotStack, one_line
from tfopt.training.builds import CONVOLUTIONS, BuildRegistry, BuildSnapshot, LRULists, take_snapshot
from tfopt.training.first_step import stack_differs
from tfopt.training.fits import Build, Engine, FitRequest, checked, make_weights
from tfopt.training.graph_random import quiet_tensorflow
from tfopt.training.graph_stack import GraphStack
from tfopt.training.model_walk import ModelWalk
from tfopt.training.numpy_stack.model import NumpyStack
from tfopt.training.plain import needs_plain_fit
from tfopt.training.rows import Examples
from tfopt.training.stack import Stack, StackMember

_log = logging.getLogger("tfopt")

_MAX_STRUCTURES = 32  # whose graphs are kept
_MAX_STACKS = 4  # of one structure kept, for values that Python decides differently on and numbers of streams
_MAX_TRACES = 12  # of one structure; more cost more than they save
_MOST_WORK_BESIDE_A_GPU = 60_000  # of a network that NumPy trains where nothing was measured

Candidates = Sequence[tuple[FitRequest, BuildSnapshot]]  # configurations of one structure, and their snapshots


class StackPool:
    """Stacks by structure: NumPy's where it knows every part of the model, a traced graph's for the others.

    Beside a GPU, NumPy trains small networks only, unless both were timed.

    Attributes:
        refused: Why a structure is not stacked at all, by its signature.
        not_numpy: Why NumPy does not train a structure.
        numpy_wins: Of structures that were timed beside a GPU: whether NumPy was faster.
        max_members: Most members of a stack.
    """

    def __init__(self, engine: Engine, builds: BuildRegistry, max_members: int, measure: bool):
        self._engine, self._builds, self.max_members, self._measure = engine, builds, max_members, measure
        self._stacks: LRULists[Stack] = LRULists(_MAX_STRUCTURES)  # by structure and examples of validation
        self._num_traces: dict[str, int] = defaultdict(int)
        self.refused: dict[str, str] = {}
        self.not_numpy: dict[str, str] = {}
        self.numpy_wins: dict[str, bool] = {}

    def stacks(self) -> list[Stack]:
        """Return all stacks that are kept."""
        return [stack for stacks in self._stacks.values() for stack in stacks]

    def stack(self, members: list[StackMember]) -> Stack:
        """Return a checked stack that takes the first of these members.

        Raises:
            CannotStack: There is none.
        """
        structure = members[0].structure
        if structure in self.refused:
            raise CannotStack(self.refused[structure])
        stack = self.numpy_stack(members) if self._numpy_first(members[0]) else None
        return stack or self.graph_stack(members)

    def numpy_stack(self, members: list[StackMember]) -> NumpyStack | None:
        """Return a stack that NumPy trains; None if it cannot, for the reason in `not_numpy`."""
        stack = self._at_hand(members, NumpyStack)
        structure = members[0].structure
        if stack is not None or structure in self.not_numpy:
            return stack
        try:
            return self._add(functools.partial(make_numpy_stack, multipliers=members[0].multipliers), members)
        except CannotStack as reason:
            _log.debug("not trained by NumPy: %s", reason)
            self.not_numpy[structure] = f"not by NumPy: {reason}"
            return None

    def second(self, stack: NumpyStack, members: list[StackMember]) -> Stack:
        """Return another stack like this one, which takes these members, for another thread."""
        if stack.second is None:
            stack.second = make_numpy_stack(**self._given(members[:1]), multipliers=members[0].multipliers, check=False)
        return stack.second

    def graph_stack(self, members: list[StackMember]) -> GraphStack:
        """Return a stack that a graph trains.

        Raises:
            CannotStack: There is none.
        """
        if members[0].multipliers is not None:
            raise CannotStack("it has callbacks of its own")
        stack = self._at_hand(members, GraphStack)
        if stack is not None:
            return stack
        structure, streams = members[0].structure, self._num_streams(members)
        if self._num_traces[structure] >= _MAX_TRACES:
            raise CannotStack("its graph depends on the values: too many had to be traced")
        self._num_traces[structure] += 1
        try:
            return self._add(lambda **given: make_graph_stack(streams=streams, **given), members)
        except CannotStack as reason:
            self.refused[structure] = str(reason)
            raise

    def _numpy_first(self, member: StackMember) -> bool:
        structure = member.structure
        if structure in self.numpy_wins or not tf.config.list_logical_devices("GPU"):
            return self.numpy_wins.get(structure, True)
        return member.work <= _MOST_WORK_BESIDE_A_GPU

    def _at_hand(self, members: list[StackMember], kind: type) -> Any:
        for stack in self.kept(members):
            fits = isinstance(stack, kind) and stack.takes_streams(self._num_streams(members))
            if fits and stack.mismatch(members[0].snapshot.numbers) is None:
                return stack
        return None

    def _num_streams(self, members: list[StackMember]) -> int:
        return len({member.generators for member in members[: self.max_members]})

    def kept(self, members: list[StackMember]) -> list[Stack]:
        """Return the stacks at hand of these members' structure."""
        return self._stacks[f"{members[0].structure} {id(self._validation(members[0]))}"]

    def _validation(self, member: StackMember) -> Examples | None:
        return self._engine.validation if member.request.validation is None else self._engine.held_out

    def _add(self, make: Callable[..., Any], members: list[StackMember]) -> Any:
        alike = members[: self.max_members]
        stacks, varying = self.kept(alike), frozenset(self._builds.varying[alike[0].snapshot.signature])
        stacks[:] = [stack for stack in stacks if stack.varying == varying]
        del stacks[: 1 - _MAX_STACKS]
        stacks.append(make(**self._given(alike)))
        return stacks[-1]

    def _given(self, alike: list[StackMember]) -> dict[str, Any]:
        return {
            "build": self._engine.build,
            "candidates": [(member.request, member.snapshot) for member in alike],
            "varying": frozenset(self._builds.varying[alike[0].snapshot.signature]),
            "train": self._engine.train,
            "validation": self._validation(alike[0]),
            "measure": self._measure,
        }


def make_numpy_stack(multipliers: LearningRateMultipliers | None = None, **given: Any) -> Stack:
    """Make a stack that NumPy trains, as `_checked` does.

    Raises:
        CannotStack: The model has something that NumPy does not know, or the check refuses.
    """
    kind = functools.partial(NumpyStack, multipliers=multipliers)
    return _checked(kind, ("loss and metrics", "moments", "learning rate"), multipliers=multipliers, **given)


def make_graph_stack(streams: int, **given: Any) -> Stack:
    """Trace a stack as `_checked` does, for so many distinct random streams.

    Raises:
        CannotStack: TensorFlow or the check refuses.
    """

    def traced(model: keras.Model, **parts: Any) -> Stack:
        if reason := _never_stacked(model):
            raise CannotStack(reason)
        with quiet_tensorflow():
            return GraphStack(model=model, streams=streams, **parts)

    return _checked(traced, ("stacked optimizer", "learning rate", "batching rules"), **given)


def _checked(
    kind: Callable[..., Stack], needs: Sequence[str], build: Build, candidates: Candidates, varying: frozenset[str],
    train: Examples, validation: Examples | None, measure: bool,
    multipliers: LearningRateMultipliers | None = None, check: bool = True,
) -> Stack:  # fmt: skip
    """Make a stack with the first candidate's build; check its first step with the last one that it takes.

    A second one like another that passed needs no check.
    """
    if lacking := missing(*needs):
        raise CannotStack(lacking)
    request, snapshot = candidates[0]
    if snapshot.draws:
        raise CannotStack("its build draws from `tf.random`")
    try:
        extra = {}
        if snapshot.extra:
            with seeded(request.seed):
                extra = take_snapshot(build, request, train)[2].variables
        with seeded(request.seed), variables_alike():
            # Of its own, as numbers are replaced where they are, which may be in the configuration itself.
            model = checked(build(copy.deepcopy(request.hyperparameters)))
            if not model.built:  # a Sequential without `Input` gets one, before its layers
                make_weights(model, train)
            if reason := needs_plain_fit(model):
                raise CannotStack(reason)
            walk = ModelWalk(model)
            if set(walk.numbers) != set(snapshot.numbers):
                raise CannotStack("its numbers change when its optimizer is built")
            parts = {"extra": extra, "varying": varying, "train": train, "validation": validation, "measure": measure}
            stack = kind(model=model, walk=walk, **parts)
        if not check:
            return stack
        fitting = [pair for pair in candidates if stack.mismatch(pair[1].numbers) is None]
        chosen = [fitting[0], fitting[-1]] if len(fitting) > 1 else fitting
        states = [[*own.state, *own.extra, own.generator] for _, own in chosen]
        numbers = [own.numbers for _, own in chosen]
        differs = stack_differs(
            stack, states, numbers, len(chosen) - 1, build, chosen[-1][0], train, validation, multipliers
        )
    except CannotStack:
        raise
    except Exception as error:  # of any kind: from the user's code, Keras or TensorFlow, in a graph that is new
        _log.info("making a stack failed", exc_info=True)
        raise CannotStack(f"making its stack failed ({one_line(error)})") from error
    if differs:
        raise CannotStack(differs)
    return stack


def _never_stacked(layer: keras.layers.Layer) -> str | None:
    """Return which layer within has no batched form, before a graph is traced in vain; None if none is known."""
    if isinstance(layer, CONVOLUTIONS):
        return f"TensorFlow cannot batch the filters of {type(layer).__name__}"
    return next(filter(None, map(_never_stacked, layers_of(layer))), None)
