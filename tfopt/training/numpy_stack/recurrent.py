"""Operations of recurrent layers: arrays (members, steps, rows, gates, units) inside."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tfopt.errors import CannotStack
from tfopt.training.numpy_stack.layers import Array, Operation, Views, _Dropout, plain, sum_of_rows
from tfopt.training.numpy_stack.numbers import MemberNumbers


def _squash(gates: Array) -> None:
    """Make sigmoids of these, through hyperbolic tangents, of which NumPy takes many at a time."""
    gates *= np.float32(0.5)
    np.tanh(gates, out=gates)
    gates *= np.float32(0.5)
    gates += np.float32(0.5)


class _Recurrent(_Dropout):
    """What `LSTM` and `GRU` share; its dropout drops numbers of the inputs, the same in every step of a sequence."""

    has_axes = draws_in_evaluation = True
    num_gates: int

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
        self.kept = 4 * self.num_gates * layer.input.shape[1] * cell.units

    def load(self, weights: Views, gradients: Views, states: Views) -> None:
        super().load(weights, gradients, states)
        own = {name: getattr(self.layer.cell, name) for name in ("kernel", "recurrent_kernel", "bias")}
        own = {name: variable for name, variable in own.items() if variable is not None}
        self._own = {name: weights[id(variable)] for name, variable in own.items()}
        self._into = {name: gradients[id(variable)] for name, variable in own.items()}

    def biases(self, own: dict[str, Array]) -> Array:
        """Return the biases (kinds, members, 1, gates · units), or no kind."""
        if "bias" not in own:
            return np.empty((0, 0))
        bias = own["bias"]
        return bias.reshape(len(bias), -1, 1, self._gates.shape[-2] * self._gates.shape[-1]).swapaxes(0, 1)

    def forward(self, inputs: Sequence[Array], training: bool) -> Array:
        x = inputs[0].swapaxes(1, 2)
        members, steps, rows, _ = x.shape
        self._inputs = self.workspace("inputs", x.shape)
        np.multiply(x, self._mask[:, None] if training and self._mask is not None else np.float32(1), out=self._inputs)
        self._gates = self.workspace("gates", (members, steps, rows, self.num_gates, self.layer.units))
        self._hidden = self.workspace("hidden", (members, steps + 1, rows, self.layer.units))
        self._hidden[:, 0] = 0
        flat = self._gates.reshape(members, steps * rows, -1)
        np.matmul(self._inputs.reshape(members, steps * rows, -1), self._own["kernel"], out=flat)
        for bias in self.biases(self._own)[:1]:
            flat += bias
        self.run()
        return np.ascontiguousarray(
            self._hidden[:, 1:].swapaxes(1, 2) if self.layer.return_sequences else self._hidden[:, -1]
        )

    def backward(self, gradient: Array, wanted: bool) -> list[Array] | None:
        members, steps, rows = self._gates.shape[:3]
        of_steps: list[Any] = [np.float32(0)] * (steps - 1) + [gradient]
        if self.layer.return_sequences:
            of_steps = list(np.moveaxis(gradient, 2, 0))
        parts = [part.reshape(members, steps * rows, -1) for part in self.run_back(of_steps)]
        inputs, hidden = (a.reshape(members, steps * rows, -1) for a in (self._inputs, self._hidden[:, :-1]))
        for name, before, part in zip(("kernel", "recurrent_kernel"), (inputs, hidden), parts, strict=True):
            np.matmul(before.swapaxes(1, 2), part, out=self._into[name])
        for bias, part in zip(self.biases(self._into), parts, strict=False):
            sum_of_rows(part, out=bias[:, 0])
        if not wanted:
            return None
        back = np.matmul(parts[0], self._own["kernel"].swapaxes(1, 2)).reshape(self._inputs.shape).swapaxes(1, 2)
        return [np.ascontiguousarray(back) if self._mask is None else back * self._mask[:, :, None]]

    @abstractmethod
    def run(self) -> None:
        """Go through the steps: make gates of what the inputs give them, and hidden states."""

    @abstractmethod
    def run_back(self, of_steps: list[Any]) -> tuple[Array, Array]:
        """Go back through the steps from the gradient of each hidden state.

        Returns:
            Of what each gate is made of, (members, steps, rows, gates, units): the gradients by the inputs' part of it
            and by that of the hidden state before it.
        """


class _LSTM(_Recurrent):
    """`keras.layers.LSTM` (Hochreiter & Schmidhuber, 1997): gates of input, forgetting, candidate and output."""

    num_gates = 4

    def run(self) -> None:
        hidden, gates, recurrent = self._hidden, self._gates, self._own["recurrent_kernel"]
        members, steps, rows, _, units = gates.shape
        self._cells = self.workspace("cells", hidden.shape)
        self._cells[:, 0] = 0
        self._tanh = self.workspace("tanh", (members, steps, rows, units))
        flat, product = gates.reshape(members, steps, rows, -1), self.workspace("product", (members, rows, 4 * units))
        work = self.workspace("work", (members, rows, units))
        for step in range(steps):
            if step:
                flat[:, step] += np.matmul(hidden[:, step], recurrent, out=product)
            entering, forget, candidate, leaving = np.moveaxis(gates[:, step], 2, 0)
            _squash(gates[:, step, :, :2])
            np.tanh(candidate, out=candidate)
            _squash(leaving)
            cell = np.multiply(forget, self._cells[:, step], out=self._cells[:, step + 1])
            cell += np.multiply(entering, candidate, out=work)
            np.multiply(leaving, np.tanh(cell, out=self._tanh[:, step]), out=hidden[:, step + 1])

    def run_back(self, of_steps: list[Any]) -> tuple[Array, Array]:
        gates, tanh, turned = self._gates, self._tanh, self._own["recurrent_kernel"].swapaxes(1, 2)
        members, steps, rows, _, units = gates.shape
        entering, forget, candidate, leaving = np.moveaxis(gates, 3, 0)
        # First of each gate what, times the gradient of the cell (of the hidden state for the last), is its gradient.
        back = self.workspace("back", gates.shape)
        np.subtract(1, gates, out=back)
        back *= gates
        np.subtract(1, candidate * candidate, out=back[..., 2, :])
        for gate, factor in enumerate((candidate, self._cells[:, :-1], entering, tanh)):
            back[..., gate, :] *= factor
        through = leaving * (1 - tanh * tanh)
        hidden, cell = np.zeros((2, members, rows, units), "float32")
        for step in reversed(range(steps)):
            hidden += of_steps[step]
            cell += hidden * through[:, step]
            back[:, step, :, :3] *= cell[:, :, None]
            back[:, step, :, 3] *= hidden
            cell *= forget[:, step]
            np.matmul(back[:, step].reshape(members, rows, -1), turned, out=hidden)
        return back, back


class _GRU(_Recurrent):
    """`keras.layers.GRU` (Cho et al., 2014), which resets after its product: gates of update, reset and candidate."""

    num_gates = 3

    def __init__(self, layer: keras.layers.GRU, numbers: MemberNumbers):
        super().__init__(layer, numbers)
        if not layer.cell.reset_after:
            raise CannotStack(f"{layer.name} resets before its product")

    def run(self) -> None:
        hidden, gates, recurrent = self._hidden, self._gates, self._own["recurrent_kernel"]
        self._inner = self.workspace("inner", gates.shape)
        flat = self._inner.reshape(*gates.shape[:3], -1)
        for step in range(gates.shape[1]):
            now, inner = gates[:, step], self._inner[:, step]
            np.matmul(hidden[:, step], recurrent, out=flat[:, step])
            for bias in self.biases(self._own)[1:]:
                flat[:, step] += bias
            now[:, :, :2] += inner[:, :, :2]
            _squash(now[:, :, :2])
            update, reset, candidate = np.moveaxis(now, 2, 0)
            candidate += reset * inner[:, :, 2]
            np.tanh(candidate, out=candidate)
            new = np.subtract(hidden[:, step], candidate, out=hidden[:, step + 1])
            new *= update
            new += candidate

    def run_back(self, of_steps: list[Any]) -> tuple[Array, Array]:
        gates, turned = self._gates, self._own["recurrent_kernel"].swapaxes(1, 2)
        members, steps, rows, _, units = gates.shape
        update, reset, candidate = np.moveaxis(gates, 3, 0)
        # First of each gate what, times the gradient of the new hidden state, is its gradient.
        back = self.workspace("back", gates.shape)
        np.subtract(1, gates, out=back)
        back *= gates
        back[..., 0, :] *= self._hidden[:, :-1] - candidate
        np.multiply(1 - update, 1 - candidate * candidate, out=back[..., 2, :])
        back[..., 1, :] *= self._inner[..., 2, :] * back[..., 2, :]
        inner = self.workspace("back of inner", gates.shape)
        np.copyto(inner, back)
        inner[..., 2, :] *= reset
        hidden, product = np.zeros((2, members, rows, units), "float32")
        for step in reversed(range(steps)):
            hidden += of_steps[step]
            back[:, step] *= hidden[:, :, None]
            inner[:, step] *= hidden[:, :, None]
            hidden *= update[:, step]
            hidden += np.matmul(inner[:, step].reshape(members, rows, -1), turned, out=product)
        return back, inner


KINDS: dict[type, type[Operation]] = {keras.layers.GRU: _GRU, keras.layers.LSTM: _LSTM}
