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
from tfopt.errors import CannotStack, one_line
from tfopt.training.builds import CONVOLUTIONS, BuildRegistry, LRULists, take_snapshot
from tfopt.training.first_step import stack_differs
from tfopt.training.fits import Engine, checked, make_weights
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
            return self._add(self.make_numpy_stack, members)
        except CannotStack as reason:
            _log.debug("not trained by NumPy: %s", reason)
            self.not_numpy[structure] = f"not by NumPy: {reason}"
            return None

    def second(self, stack: NumpyStack, members: list[StackMember]) -> Stack:
        """Return another stack like this one, which takes these members, for another thread."""
        if stack.second is None:
            stack.second = self.make_numpy_stack(members[:1], check=False)
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
        structure = members[0].structure
        if self._num_traces[structure] >= _MAX_TRACES:
            raise CannotStack("its graph depends on the values: too many had to be traced")
        self._num_traces[structure] += 1
        try:
            return self._add(self.make_graph_stack, members)
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

    def _varying(self, member: StackMember) -> frozenset[str]:
        return frozenset(self._builds.varying[member.snapshot.signature])

    def _add(self, make: Callable[[list[StackMember]], Any], members: list[StackMember]) -> Any:
        stacks, varying = self.kept(members), self._varying(members[0])
        stacks[:] = [stack for stack in stacks if stack.varying == varying]
        del stacks[: 1 - _MAX_STACKS]
        stacks.append(make(members[: self.max_members]))
        return stacks[-1]

    def make_numpy_stack(self, members: list[StackMember], check: bool = True) -> Stack:
        """Make a stack that NumPy trains; a second one like another that passed needs no check.

        Raises:
            CannotStack: The model has something that NumPy does not know, or the check refuses.
        """
        kind = functools.partial(NumpyStack, multipliers=members[0].multipliers)
        return self._made(kind, ("loss and metrics", "moments", "learning rate"), members, check)

    def make_graph_stack(self, members: list[StackMember]) -> Stack:
        """Trace a stack for as many distinct random streams as these members have.

        Raises:
            CannotStack: TensorFlow or the check refuses.
        """

        def traced(model: keras.Model, **parts: Any) -> Stack:
            if reason := _never_stacked(model):
                raise CannotStack(reason)
            with quiet_tensorflow():
                return GraphStack(model=model, streams=self._num_streams(members), **parts)

        return self._made(traced, ("stacked optimizer", "learning rate", "batching rules"), members)

    def _made(
        self, kind: Callable[..., Stack], needs: Sequence[str], members: list[StackMember], check: bool = True
    ) -> Stack:
        """Make a stack with the first member's build; check its first step with the last one that it takes."""
        if lacking := missing(*needs):
            raise CannotStack(lacking)
        build, train, validation = self._engine.build, self._engine.train, self._validation(members[0])
        request, snapshot = members[0].request, members[0].snapshot
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
                stack = kind(
                    model=model, walk=walk, extra=extra, varying=self._varying(members[0]), train=train,
                    validation=validation, measure=self._measure,
                )  # fmt: skip
            differs = None
            if check:
                fitting = [member for member in members if stack.mismatch(member.snapshot.numbers) is None]
                chosen = [fitting[0], fitting[-1]] if len(fitting) > 1 else fitting
                differs = stack_differs(
                    stack, [member.snapshot for member in chosen], build, chosen[-1].request, train, validation,
                    members[0].multipliers,
                )  # fmt: skip
            stack.compiled = model.jit_compile  # NumPy's from now on: to compile the checked step would take longer
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
