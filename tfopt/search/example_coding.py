"""Between examples of any shape and a network: the inputs of one split, and the model for use."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tfopt.data.example_encoder import ExampleEncoder, blank_inputs
from tfopt.data.example_model import ExampleModel
from tfopt.data.examples import ExampleSet, each, leaves
from tfopt.search.coding import SplitCoder, TargetForm, TargetScaler, output_kind

# In place of a configuration's scaling of columns: whether its network takes texts itself.
ENCODED, RAW = "encoded", "raw"


class ExampleCoder(SplitCoder):
    """Makes a network's inputs of a split's examples, fitted on its training part, in their own shape."""

    _table: ExampleSet

    def described(self) -> dict[str, Any]:
        """Return what a `Problem` says of the inputs of an example as the network gets them."""
        parts = self._table.parts
        size = sum(int(np.prod(part.encoded_shape)) for part in leaves(parts))
        return {"num_features": size, "kind": self._table.kind, "parts": parts}

    def is_fixed(self, scaling: str) -> bool:
        """Whether inputs, targets and weights of an example are the same in every split."""
        table = self._table
        fixed = scaling == RAW or all(part.is_fixed for part in leaves(table.parts))
        return fixed and table.task == "classification" and table.training_weights(np.arange(1)) is None

    def inputs_encoder(self, train: np.ndarray, scaling: str) -> ExampleEncoder:
        """Return the encoder fitted on these examples."""
        encoder = ExampleEncoder(self._table.parts, texts_as_they_are=scaling == RAW)
        return encoder.fit(each(lambda array: array[train], self._table.x))

    def encoded(self, train: np.ndarray, other: np.ndarray, scaling: str) -> tuple[Any, Any]:
        """Return the inputs of the training examples and of the others, encoded as the training examples are."""
        encoder = self.inputs_encoder(train, scaling)
        of_train, of_other = (each(lambda array, rows=rows: array[rows], self._table.x) for rows in (train, other))
        return encoder.transform(of_train), encoder.transform(of_other)

    def all_inputs(self, scaling: str) -> Any:
        """Return the inputs of all examples, where they are the same in every split."""
        rows = np.arange(self._table.num_rows)
        return self.inputs_encoder(rows, scaling).transform(self._table.x)

    def targets(self, rows: np.ndarray, form: TargetForm, scaler: TargetScaler | None) -> Any:
        """Return the targets of these examples as the losses want them, the others as they are."""
        own = super().targets(rows, form, scaler)
        table = self._table
        if form == "values":
            own = own.reshape(len(rows), *(table.shape or (1,)))
        every = np.empty((table.num_rows, *own.shape[1:]), own.dtype)
        every[rows] = own
        return table.with_target(every, rows)

    def exported(self, networks: Sequence[keras.Model], train: np.ndarray, scaling: str) -> Any:
        """Return networks that were trained on these examples as a model of examples: the mean of what they say."""
        return self.exported_together([(network, scaling, 1.0) for network in networks], train)

    def exported_together(self, members: Sequence[tuple[keras.Model, str, float]], train: np.ndarray) -> ExampleModel:
        """Return the weighted mean of networks, each given with its scaling and its weight, as a model of examples."""
        table, scaler = self._table, self.scaler(train)
        encoders = {scaling: self.inputs_encoder(train, scaling) for _, scaling, _ in members}
        target: dict[str, Any] = {}
        if scaler is not None:
            target = {
                "target_mean": [scaler.mean.tolist()] * len(members),
                "target_scale": [scaler.scale.tolist()] * len(members),
            }
        return ExampleModel(
            [network for network, _, _ in members],
            table.parts,
            [encoders[scaling].learned for _, scaling, _ in members],
            table.task,
            [self._output(network, scaling) for network, scaling, _ in members],
            weights=[weight for _, _, weight in members],
            place=table.target_place,
            texts_as_they_are=[scaling == RAW for _, scaling, _ in members],
            classes=table.classes,
            target_names=table.target_names,
            **target,
        )

    def _output(self, network: keras.Model, scaling: str) -> str:
        shape = self.compared(network(blank_inputs(self._table.parts, scaling == RAW))).shape
        return output_kind(network, int(np.prod(shape[1:])), self._table, self.place)

    @property
    def place(self) -> str | int | None:
        """Where among a network's outputs the one is that is compared; None where there is one."""
        return self._table.target_place

    def compared(self, outputs: Any) -> Any:
        """Return the one of a network's outputs that is compared.

        Raises:
            ValueError: There is none.
        """
        if self.place is None and not isinstance(outputs, dict | list | tuple):
            return outputs
        try:
            return outputs[self.place]
        except (KeyError, IndexError, TypeError):
            held = f"the outputs {list(outputs)}" if isinstance(outputs, dict) else "other outputs"
            wanted = "one target" if self.place is None else f"the target {self.place!r}"
            raise ValueError(f"The network has {held}, and the data {wanted}. Give both the same names.") from None
