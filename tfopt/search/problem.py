"""What a network is asked to learn: the facts that a search space needs to build a fitting model."""

import math
import re
from dataclasses import dataclass, replace
from typing import Any, Literal

import keras
import numpy as np

from tfopt.data.example_encoder import blank_inputs
from tfopt.data.examples import InputPart, each, leaves

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
        one_hots: For each category the encoded columns that are 1 for one of its levels each; the columns of rare and
            of missing levels are not among them.
        kind: What an example is: a row of a `"table"`, an `"image"`, a `"sequence"`, a `"text"` or something `"other"`.
        parts: Of examples that are no table what each array of their inputs is, a `tfopt.data.InputPart` by itself or
            in a dict or tuple; None for a table.
        classes: The class labels, in the order of the outputs; empty for regression.
        backbone: File of a frozen network that images go through first; None for none.

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
    one_hots: tuple[tuple[int, ...], ...] = ()
    kind: str = "table"
    parts: Any = None
    classes: tuple[str, ...] = ()
    backbone: str | None = None

    @property
    def input_shape(self) -> Any:
        """The shape of one example as the network gets it; a dict or tuple of shapes where there are several inputs."""
        if self.parts is None:
            return (self.num_features,)
        return each(lambda part: part.encoded_shape, self.parts)

    @property
    def vocabulary_size(self) -> int:
        """One more than the largest number of a word, of the first text among the inputs; 0 without texts."""
        texts = [part for part in leaves(self.parts) if part.kind == "text"] if self.parts else []
        return texts[0].vocabulary_size if texts else 0

    def inputs(self) -> Any:
        """Return a `keras.Input` for each input, by itself or in a dict or tuple, to build a functional model on."""
        if self.parts is None:
            return keras.Input((self.num_features,))
        return each(
            lambda part: keras.Input(part.encoded_shape, dtype=part.encoded_dtype, name=_layer_name(part)), self.parts
        )

    def blank(self, texts_as_they_are: bool = False) -> Any:
        """Return the inputs of one example of zeros, its texts empty."""
        if self.parts is None:
            return np.zeros((1, self.num_features), "float32")
        return blank_inputs(self.parts, texts_as_they_are)

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


def _layer_name(part: InputPart) -> str | None:
    """Return a name that Keras allows, for an input that has a name."""
    return part.name if re.fullmatch(r"[A-Za-z.][\w.-]*", part.name) else None
