"""Operations of networks that have members of their own: arrays (members of the stack, rows, members, units)."""

from collections.abc import Sequence

import numpy as np

import tfopt.layers
from tfopt.training.ensemble import MeanOfMembers
from tfopt.training.numpy_stack.activations import highest
from tfopt.training.numpy_stack.layers import Array, KernelOperation, Operation, Views


def _spread(inputs: Array) -> Array:
    """Return the inputs with an axis of members, of length 1 where all of them share them."""
    return inputs[:, :, None] if inputs.ndim == 3 else inputs


def _gathered(gradient: Array, like: Array) -> Array:
    """Return the gradient of inputs that were spread, from that of each member."""
    if gradient.shape[2] != 1 and (like.ndim == 3 or like.shape[2] == 1):
        gradient = gradient.sum(axis=2, keepdims=True)
    return gradient.reshape(like.shape)


class _EnsembleScaling(Operation):
    """`tfopt.layers.EnsembleScaling`."""

    has_axes = True

    def load(self, weights: Views, gradients: Views, states: Views) -> None:
        super().load(weights, gradients, states)
        self._factors = weights[id(self.layer.factors)][:, None]
        self._gradient = gradients[id(self.layer.factors)]

    def forward(self, inputs: Sequence[Array], training: bool) -> Array:
        (self._input,) = inputs
        return _spread(self._input) * self._factors

    def backward(self, gradient: Array, wanted: bool) -> list[Array] | None:
        np.sum(gradient * _spread(self._input), axis=1, out=self._gradient)
        return [_gathered(gradient * self._factors, self._input)] if wanted else None


class _BatchEnsembleDense(Operation):
    """`tfopt.layers.BatchEnsembleDense`."""

    has_axes = True

    def load(self, weights: Views, gradients: Views, states: Views) -> None:
        super().load(weights, gradients, states)
        layer = self.layer
        self._kernel, self._kernel_gradient = weights[id(layer.kernel)], gradients[id(layer.kernel)]
        scales = {"r": layer.input_factors, "s": layer.output_factors, "b": layer.bias}
        present = {name: id(own) for name, own in scales.items() if own is not None}
        self._own = {name: weights[own][:, None] for name, own in present.items()}
        self._gradients = {name: gradients[own] for name, own in present.items()}

    def forward(self, inputs: Sequence[Array], training: bool) -> Array:
        (self._input,) = inputs
        x = _spread(self._input)
        if "r" in self._own:
            x = np.multiply(x, self._own["r"], out=self.workspace("scaled", (*x.shape[:2], *self._own["r"].shape[2:])))
        self._scaled = x.reshape(len(x), -1, x.shape[-1])
        product = self.workspace("product", (*self._scaled.shape[:2], self.layer.units))
        self._product = np.matmul(self._scaled, self._kernel, out=product).reshape(*x.shape[:3], -1)
        out = self.workspace("output", (*x.shape[:2], self.layer.num_members, self.layer.units))
        np.multiply(self._product, self._own["s"], out=out)
        if "b" in self._own:
            out += self._own["b"]
        return self.activate(out, training)

    def backward(self, gradient: Array, wanted: bool) -> list[Array] | None:
        gradient = self.through(gradient)
        if "b" in self._own:
            np.sum(gradient, axis=1, out=self._gradients["b"])
        np.sum(gradient * self._product, axis=1, out=self._gradients["s"])
        own = _gathered(gradient * self._own["s"], self._product)
        flat = own.reshape(len(own), -1, self.layer.units)
        np.matmul(self._scaled.swapaxes(1, 2), flat, out=self._kernel_gradient)
        if not wanted and "r" not in self._own:
            return None
        back = np.matmul(flat, self._kernel.swapaxes(1, 2)).reshape(*own.shape[:3], -1)
        if "r" in self._own:
            np.sum(back * _spread(self._input), axis=1, out=self._gradients["r"])
            back *= self._own["r"]
        return [_gathered(back, self._input)] if wanted else None


class _SeparateDense(KernelOperation):
    """`tfopt.layers.SeparateDense`: products of each member are (rows, units) inside."""

    has_axes = True

    def forward(self, inputs: Sequence[Array], training: bool) -> Array:
        (self._input,) = inputs
        self._swapped = _spread(self._input).swapaxes(1, 2)
        out = np.ascontiguousarray(np.matmul(self._swapped, self._kernel).swapaxes(1, 2))
        if self._bias is not None:
            out += self._bias
        return self.activate(out, training)

    def backward(self, gradient: Array, wanted: bool) -> list[Array] | None:
        gradient = self.through(gradient)
        if self._bias_gradient is not None:
            np.sum(gradient, axis=1, out=self._bias_gradient)
        swapped = gradient.swapaxes(1, 2)
        np.matmul(self._swapped.swapaxes(2, 3), swapped, out=self._kernel_gradient)
        if not wanted:
            return None
        back = np.matmul(swapped, self._kernel.swapaxes(2, 3)).swapaxes(1, 2)
        return [_gathered(np.ascontiguousarray(back), self._input)]


class _Mean(Operation):
    """`tfopt.models.MeanOfMembers`: passes members on in training."""

    has_axes = True

    def forward(self, inputs: Sequence[Array], training: bool) -> Array:
        return inputs[0] if training else mean_of_members(self.layer, inputs[0])

    def backward(self, gradient: Array, wanted: bool) -> list[Array] | None:
        return [gradient]


def mean_of_members(layer: MeanOfMembers, outputs: Array) -> Array:
    """Return the prediction (members of the stack, rows, units) of members (…, rows, members, units)."""
    if not layer.probabilities:
        return outputs.mean(axis=2)
    shifted = outputs - highest(outputs)
    logarithms = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    most = logarithms.max(axis=2)
    return most + np.log(np.exp(logarithms - most[:, :, None]).mean(axis=2))


KINDS: dict[type, type[Operation]] = {
    MeanOfMembers: _Mean,
    tfopt.layers.BatchEnsembleDense: _BatchEnsembleDense,
    tfopt.layers.EnsembleScaling: _EnsembleScaling,
    tfopt.layers.SeparateDense: _SeparateDense,
}
