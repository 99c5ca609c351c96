"""What trains fits of one structure together: a stack, and its members, each with its own weights and numbers."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import numpy as np

from tfopt.callbacks.learning_rate_multipliers import LearningRateMultipliers
from tfopt.training.builds import BuildSnapshot
from tfopt.training.fits import Engine, EpochTracker, FitRequest, FitResult, State
from tfopt.training.rows import Shuffle, row_order
from tfopt.training.symbolic import Values, traced_otherwise

Logs = dict[str, np.ndarray]


class Stack(ABC):
    """A population into which members of one structure are loaded, any number at a time.

    Args:
        values: All numbers of the model that the stack was made of.
        varying: Names of those that differ between members.

    Attributes:
        length: Variables of the model and its optimizer, with which a `State` begins.
        takes_any_rows: Whether members may differ in rows, as long as they take as many steps.
        compiled: Whether random numbers are those of a `fit` that XLA compiles, as Keras lets it beside a GPU.
    """

    length: int
    takes_any_rows = False
    compiled = False

    def __init__(self, values: Values, varying: Iterable[str]):
        self.varying = frozenset(varying)
        self.fixed = {name: value for name, value in values.items() if name not in self.varying}

    def mismatch(self, numbers: Values) -> str | None:
        """Return why this stack would train another model than one of these numbers; None if it would not."""
        return traced_otherwise(self.fixed, numbers)

    def takes_streams(self, number: int) -> bool:
        """Return whether members of so many distinct random streams fit, without too many drawn in vain."""
        return True

    @abstractmethod
    def member_bytes(self, batch_size: int) -> int:
        """Return about how many bytes a member takes: variables, gradients, and the activations of a batch."""

    @abstractmethod
    def steps_taken(self, state: State) -> int:
        """Return how many steps the optimizer of a member in this state has taken, equal for all in a stack."""

    @abstractmethod
    def load(self, states: Sequence[State], members: Sequence[Values]) -> None:
        """Put members into the stack.

        Args:
            states: Of each, the values of the model's and its optimizer's variables, then of those outside them, and
                the state of the global random generator.
            members: Of each, its numbers.
        """

    @abstractmethod
    def arrays(self) -> list[np.ndarray]:
        """Return the values of all variables, stacked as they are."""

    @abstractmethod
    def state(self, arrays: list[np.ndarray], member: int) -> State:
        """Return what `arrays` holds of one member, as `load` takes it."""

    def finished(self, state: State) -> State:
        """Return the model's and the optimizer's part of a state, as `fit` leaves it after its last epoch."""
        return state[: self.length]

    @abstractmethod
    def train(self, orders: Sequence[np.ndarray], batch_size: int) -> Logs:
        """Train an epoch on each member's rows and return the logs, a value a member."""

    @abstractmethod
    def evaluate(self, rows: Sequence[np.ndarray], batch_size: int) -> Logs:
        """Return the logs over each member's rows of the validation examples."""

    @abstractmethod
    def outputs(self, rows: Sequence[np.ndarray]) -> list[Any]:
        """Return each member's outputs for its rows of the training examples."""


class _InPlaceOfModel:
    """What `EarlyStopping` is given for a model: it asks for weights, and puts them back when the training ends."""

    def __init__(self, places: Sequence[int]):
        self.stop_training, self.metrics, self._places = False, (), places
        self.state: Callable[[], State] = list
        self.back: State = []

    def get_weights(self) -> State:
        state = self.state()
        return [state[place].copy() for place in self._places]

    def set_weights(self, weights: State) -> None:
        self.back = weights


class StackMember:
    """A fit, where it begins, and what it has done.

    Attributes:
        structure: Equal for members that may share a stack.
    """

    def __init__(
        self, index: int, request: FitRequest, snapshot: BuildSnapshot, engine: Engine,
        multipliers: LearningRateMultipliers | None = None, stops: Sequence[keras.callbacks.EarlyStopping] = (),
    ):  # fmt: skip
        self.index, self.request, self.snapshot, self.multipliers = index, request, snapshot, multipliers
        self.stops, self._in_place_of_model = stops, _InPlaceOfModel(snapshot.weights)
        for callback in stops:
            callback.set_model(self._in_place_of_model)
            callback.on_train_begin()
        self.structure = snapshot.signature + ("" if multipliers is None else repr(multipliers.get_config()))
        self.rows = np.arange(len(engine.train)) if request.rows is None else np.asarray(request.rows)
        self.held = None if engine.validation is None else np.arange(len(engine.validation))
        if request.validation is not None:
            self.held = np.asarray(request.validation)
        self.state = [
            *(snapshot.state if request.state is None else request.state),
            *snapshot.extra,
            snapshot.generator,
        ]
        self.result = FitResult(engine=engine.name)
        self.tracker = EpochTracker(request, self.result, alone=False)

    def begun_again(self, engine: Engine) -> "StackMember":
        """Return the same fit at its beginning, after its stack gave up."""
        again = StackMember(self.index, self.request, self.snapshot, engine, self.multipliers, self.stops)
        again.result.reason, again.result.seconds = self.result.reason, self.result.seconds
        return again

    def follow(self, epoch: int, logs: dict[str, float], state: Callable[[], State]) -> tuple[bool, bool]:
        """Note an epoch's logs; return whether it is the best so far, and whether the training ends with it."""
        self._in_place_of_model.state = state
        for callback in self.stops:
            callback.on_epoch_end(epoch, logs)
        improved, ended = self.tracker.epoch(logs)
        ended = ended or self._in_place_of_model.stop_training or epoch + 1 >= self.request.epochs
        for callback in self.stops if ended else ():
            callback.on_train_end()
        return improved, ended

    def restored(self, state: State) -> State:
        """Return the state at the end of the training with the weights that a callback has put back, if one has."""
        back = dict(zip(self.snapshot.weights, self._in_place_of_model.back, strict=False))
        return [back.get(place, value) for place, value in enumerate(state)]

    @property
    def num_rows(self) -> tuple[int, int, int]:
        """How many rows it is trained on, validated on and asked to predict."""
        held, predicted = (0 if rows is None else len(rows) for rows in (self.held, self.request.predict))
        return len(self.rows), held, predicted

    @property
    def num_steps(self) -> int:
        """How many steps it takes."""
        return max(1, self.request.epochs - self.request.initial_epoch) * self.steps_an_epoch

    @property
    def steps_an_epoch(self) -> int:
        """How many steps it takes in an epoch."""
        return -(-len(self.rows) // self.request.batch_size)

    @property
    def work(self) -> int:
        """About how many multiplications a row takes: one for each weight, a third of what Adam keeps.

        A convolution takes them at each of its places.
        """
        return sum(array.size for array in self.snapshot.state) // 3 + self.snapshot.shared

    @property
    def generators(self) -> bytes:
        """What tells its random streams from another's: the states of its generators, two integers each."""
        return b"".join(array.tobytes() for array in self.state if array.shape == (2,) and array.dtype.kind in "iu")


def train_epoch(stack: Stack, members: Sequence[StackMember], epoch: int, shuffle: Shuffle) -> Logs:
    """Train the members that are in a stack for an epoch, validate them, and return the logs, a value a member."""
    orders: dict[tuple[int, int], np.ndarray] = {}
    for member in members:
        key = member.request.seed, len(member.rows)
        if key not in orders:
            orders[key] = row_order(shuffle, *key, epoch)
    batch_size = members[0].request.batch_size
    logs = stack.train([member.rows[orders[member.request.seed, len(member.rows)]] for member in members], batch_size)
    held = [member.held for member in members if member.held is not None]
    if held:
        tests = stack.evaluate(held, batch_size)
        logs |= {f"val_{name}": value for name, value in tests.items()}
    return logs
