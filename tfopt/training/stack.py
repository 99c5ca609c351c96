"""What trains fits of one structure together: a stack of members, each with its own weights and numbers."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tfopt.training.fits import State
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
    """

    length: int
    takes_any_rows = False

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
