"""What a network is asked to learn: the facts that a search space needs to build a fitting model."""

import math
from dataclasses import dataclass, replace
from typing import Literal

Task = Literal["regression", "classification"]


@dataclass(frozen=True)
class Problem:
    """The learning problem that one model is built for.

    A space may be a function `build(hp)`, as KerasTuner has it, or `build(hp, problem)` to be given this.

    Args:
        task: Kind of target.
        num_features: Width of the encoded input.
        num_outputs: Number of classes, or of regression targets.
        num_rows: Rows that the model will be trained on, rounded up to whole batches.
        epochs: Epochs that the model will be trained for.
        table_rows: Rows of the whole table; the same in every fold, so that what is offered depends on it alone.
        same_units: Whether all columns are numbers of one unit, such as pixels, to be scaled by one factor.
        kinds: Of each column of the encoded input `"number"`, which is scaled, or `"flag"`, 0 or 1 or a sine or cosine.
            Empty where all are numbers.

    Example:
        ```python
        problem = tfopt.search.Problem("regression", 10, 1, num_rows=100, epochs=5, table_rows=150)
        print(problem.steps_per_epoch(batch_size=32), problem.total_steps(batch_size=32))  # 4 20
        ```
    """

    task: Task
    num_features: int
    num_outputs: int
    num_rows: int
    epochs: int
    table_rows: int
    same_units: bool = False
    kinds: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """The kind of each column of the encoded input, as the networks of `tfopt.models` take it."""
        return self.kinds or ("number",) * self.num_features

    def steps_per_epoch(self, batch_size: int) -> int:
        """Return the optimizer steps of one epoch, the partial last batch included."""
        return math.ceil(self.num_rows / batch_size)

    def total_steps(self, batch_size: int) -> int:
        """Return the optimizer steps of the whole training; a schedule of this length ends with it."""
        return self.epochs * self.steps_per_epoch(batch_size)

    def with_rows(self, num_rows: int) -> "Problem":
        """Return the same problem with another number of training rows."""
        return replace(self, num_rows=num_rows)
