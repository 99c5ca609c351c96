"""Operations of recurrent layers. In memory the steps come first and the rows last: (steps, members, …, rows).

What a step looks at lies below each other: its inputs, the hidden state before it, and a 1 for the biases. One product
with one kernel then makes four blocks of units, of which the first are sigmoids, through hyperbolic tangents of halves.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import keras
import numpy as np

from tfopt.errors import CannotStack
from tfopt.training.numpy_stack.layers import Array, Operation, Views, _Dropout, plain
from tfopt.training.numpy_stack.numbers import MemberNumbers


class _Recurrent(_Dropout):
    """What `LSTM` and `GRU` share; its dropout drops numbers of the inputs, the same in every step of a sequence.

    Attributes:
        sigmoids: Number of the blocks that are sigmoids.
        blocks_of_inputs: The blocks that the gates of the kernel are in.
        blocks_of_hidden: And those of the recurrent kernel.
    """

    has_axes = draws_in_evaluation = True
    sigmoids: int
    blocks_of_inputs: ClassVar[list[int]]
    blocks_of_hidden: ClassVar[list[int]]

    def __init__(self, layer: Any, numbers: MemberNumbers):
        Operation.__init__(self, layer, numbers)
        cell = layer.cell
        plain(cell, ("kernel_constraint", "recurrent_constraint", "bias_constraint", "recurrent_dropout"))
        plain(layer, ("return_state", "go_backwards", "stateful"))
        if (cell.activation, cell.recurrent_activation) != (keras.activations.tanh, keras.activations.sigmoid):
            raise CannotStack(f"{layer.name} has activations other than tanh and sigmoid")
        if not numbers.decide(cell.dropout, lambda rate: rate < 1):
            raise CannotStack(f"{layer.name} drops all of its inputs")
        self.rate, self.generator = numbers.column(cell.dropout), cell.seed_generator.state
        self.drawn = layer.input.shape[-1]
        self.kept = layer.input.shape[1] * (self.drawn + 12 * cell.units)

    def load(self, weights: Views, gradients: Views, states: Views) -> None:
        super().load(weights, gradients, states)
        self._weights, self._gradients = self._by_blocks(weights), self._by_blocks(gradients)
        members, units = len(weights[id(self.layer.cell.kernel)]), self.layer.units
        self._kernel = np.empty((members, 4, units, self.drawn + units + 1), "float32")

    def _by_blocks(self, views: Views) -> list[tuple[list[int], slice, Array]]:
        """Return the blocks and columns of the kernel that each weight fills, and it as (members, gates, units, …)."""
        cell, units = self.layer.cell, self.layer.units
        places = [(self.blocks_of_inputs, slice(self.drawn)), (self.blocks_of_hidden, slice(self.drawn, -1))]
        found = []
        for (blocks, columns), variable in zip(places, (cell.kernel, cell.recurrent_kernel), strict=True):
            own = views[id(variable)]
            found.append((blocks, columns, own.reshape(*own.shape[:2], -1, units).transpose(0, 2, 3, 1)))
        if cell.bias is not None:
            own = views[id(cell.bias)]
            kinds = own.reshape(len(own), -1, len(self.blocks_of_inputs), units, 1).swapaxes(0, 1)
            found += [(blocks, slice(-1, None), kind) for (blocks, _), kind in zip(places, kinds, strict=False)]
        return found

    def forward(self, inputs: Sequence[Array], training: bool) -> Array:
        x, units, kernel = inputs[0].transpose(2, 0, 3, 1), self.layer.units, self._kernel
        steps, members, _, rows = x.shape
        kernel[...] = 0
        for blocks, columns, own in self._weights:
            kernel[:, blocks, :, columns] += own
        halved = kernel.copy()
        halved[:, : self.sigmoids] *= np.float32(0.5)
        self._seen = seen = self.workspace("seen", (steps + 1, members, kernel.shape[-1], rows))
        seen[:-1, :, : self.drawn] = x
        if training and self._mask is not None:
            seen[:-1, :, : self.drawn] *= self._mask.swapaxes(1, 2)
        seen[:, :, -1] = 1
        self._hidden = seen[:, :, self.drawn : -1]
        self._hidden[0] = 0
        self._gates = self.workspace("gates", (steps, members, 4, units, rows))
        self.run(halved.reshape(members, 4 * units, -1))
        hidden = self._hidden[1:].transpose(1, 3, 0, 2)
        return hidden if self.layer.return_sequences else hidden[:, :, -1]

    def gates(self, step: int, kernel: Array) -> Array:
        """Return (members, 4, units, rows): what the kernel makes of what a step sees, the first ones as sigmoids."""
        now = self._gates[step]
        np.matmul(kernel, self._seen[step], out=now.reshape(len(now), -1, now.shape[-1]))
        first = now[:, : self.sigmoids]
        np.tanh(first, out=first)
        first *= np.float32(0.5)
        first += np.float32(0.5)
        return now

    def backward(self, gradient: Array, wanted: bool) -> list[Array] | None:
        steps, members, _, _, rows = self._gates.shape
        of_steps: list[Any] = [np.float32(0)] * (steps - 1) + [gradient.swapaxes(1, 2)]
        if self.layer.return_sequences:
            of_steps = list(gradient.transpose(2, 0, 3, 1))
        kernel = self._kernel.reshape(members, -1, self._kernel.shape[-1]).swapaxes(1, 2)
        back = self.run_back(of_steps, kernel[:, self.drawn : -1]).reshape(steps, members, -1, rows)
        turned = self.workspace("turned", (steps, members, rows, kernel.shape[1]))
        np.copyto(turned, self._seen[:-1].swapaxes(2, 3))  # a product with what is turned takes longer
        products = self.workspace("products", (steps, members, *kernel.shape[:0:-1]))
        np.matmul(back, turned, out=products)
        found = products.sum(axis=0).reshape(self._kernel.shape)
        for blocks, columns, own in self._gradients:
            own[...] = found[:, blocks, :, columns]
        if not wanted:
            return None
        of_inputs = np.matmul(kernel[:, : self.drawn], back)
        if self._mask is not None:
            of_inputs *= self._mask.swapaxes(1, 2)
        return [of_inputs.transpose(1, 3, 0, 2)]

    @abstractmethod
    def run(self, kernel: Array) -> None:
        """Go through the steps: make gates and hidden states, by the kernel whose blocks of sigmoids are halved."""

    @abstractmethod
    def run_back(self, of_steps: list[Any], recurrent: Array) -> Array:
        """Go back through the steps from the gradient of each hidden state.

        Returns:
            The gradient of what the kernel makes, (steps, members, 4, units, rows).
        """


class _LSTM(_Recurrent):
    """`keras.layers.LSTM` (Hochreiter & Schmidhuber, 1997): gates of input, forgetting, output; candidate."""

    sigmoids = 3
    blocks_of_inputs: ClassVar = [0, 1, 3, 2]
    blocks_of_hidden: ClassVar = blocks_of_inputs

    def run(self, kernel: Array) -> None:
        steps, members, _, units, rows = self._gates.shape
        self._cells = self.workspace("cells", (steps + 1, members, units, rows))
        self._cells[0] = 0
        self._tanh = self.workspace("tanh", (steps, members, units, rows))
        work = self.workspace("work", (members, units, rows))
        for step in range(steps):
            entering, forget, leaving, candidate = self.gates(step, kernel).swapaxes(0, 1)
            np.tanh(candidate, out=candidate)
            cell = np.multiply(forget, self._cells[step], out=self._cells[step + 1])
            cell += np.multiply(entering, candidate, out=work)
            np.multiply(leaving, np.tanh(cell, out=self._tanh[step]), out=self._hidden[step + 1])

    def run_back(self, of_steps: list[Any], recurrent: Array) -> Array:
        gates, tanh = self._gates, self._tanh
        steps, members, _, units, rows = gates.shape
        entering, forget, leaving, candidate = np.moveaxis(gates, 2, 0)
        # First of each gate what, times the gradient of the cell (of the hidden state for the output), is its gradient.
        back = self.workspace("back", gates.shape)
        np.subtract(1, gates, out=back)
        back *= gates
        np.subtract(1, candidate * candidate, out=back[:, :, 3])
        for gate, factor in enumerate((candidate, self._cells[:-1], tanh, entering)):
            back[:, :, gate] *= factor
        through = 1 - tanh * tanh
        through *= leaving
        hidden, cell = np.zeros((2, members, units, rows), "float32")
        for step in reversed(range(steps)):
            hidden += of_steps[step]
            cell += hidden * through[step]
            back[step, :, :2] *= cell[:, None]
            back[step, :, 2] *= hidden
            back[step, :, 3] *= cell
            cell *= forget[step]
            np.matmul(recurrent, back[step].reshape(members, -1, rows), out=hidden)
        return back


class _GRU(_Recurrent):
    """`keras.layers.GRU` (Cho et al., 2014), which resets after its product: gates of update and reset, the candidate.

    The candidate is made of two blocks: of the inputs, and of the hidden state, which is reset.
    """

    sigmoids = 2
    blocks_of_inputs: ClassVar = [0, 1, 2]
    blocks_of_hidden: ClassVar = [0, 1, 3]

    def __init__(self, layer: keras.layers.GRU, numbers: MemberNumbers):
        super().__init__(layer, numbers)
        if not layer.cell.reset_after:
            raise CannotStack(f"{layer.name} resets before its product")

    def run(self, kernel: Array) -> None:
        for step in range(len(self._gates)):
            update, reset, candidate, inner = self.gates(step, kernel).swapaxes(0, 1)
            candidate += reset * inner
            np.tanh(candidate, out=candidate)
            new = np.subtract(self._hidden[step], candidate, out=self._hidden[step + 1])
            new *= update
            new += candidate

    def run_back(self, of_steps: list[Any], recurrent: Array) -> Array:
        gates = self._gates
        steps, members, _, units, rows = gates.shape
        update, reset, candidate, inner = np.moveaxis(gates, 2, 0)
        # First of each block what, times the gradient of the new hidden state, is its gradient.
        back = self.workspace("back", gates.shape)
        np.subtract(1, gates[:, :, :2], out=back[:, :, :2])
        np.multiply(back[:, :, 0], 1 - candidate * candidate, out=back[:, :, 2])
        np.multiply(back[:, :, 2], reset, out=back[:, :, 3])
        back[:, :, 0] *= update * (self._hidden[:-1] - candidate)
        back[:, :, 1] *= inner * back[:, :, 3]
        hidden, product = np.zeros((2, members, units, rows), "float32")
        for step in reversed(range(steps)):
            hidden += of_steps[step]
            back[step] *= hidden[:, None]
            hidden *= update[step]
            hidden += np.matmul(recurrent, back[step].reshape(members, -1, rows), out=product)
        return back


KINDS: dict[type, type[Operation]] = {keras.layers.GRU: _GRU, keras.layers.LSTM: _LSTM}
