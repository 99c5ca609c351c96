"""The layers that a plan knows, for a stack of members at once: arrays (members, rows, units), forwards and back."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import keras
import numpy as np

import tfopt.layers
from tfopt.errors import CannotStack
from tfopt.training.numpy_stack.activations import ACTIVATIONS
from tfopt.training.numpy_stack.masks import kept_scale
from tfopt.training.numpy_stack.numbers import Column, MemberNumbers, Workspace

Array = np.ndarray
Views = dict[int, Array]  # of each variable, by its id


TURNED_FIRST = 64  # units from which a product with a turned kernel is slower than turning the smaller factor before


@lru_cache(maxsize=64)
def _ones(rows: int) -> Array:
    return np.ones((1, rows), "float32")


def sum_of_rows(values: Array, out: Array) -> None:
    """Sum (members, rows, units) over the rows, as a product, which is four times as fast as a sum."""
    np.matmul(_ones(values.shape[1]), values, out=out[:, None])


def _mean_of_rows(values: Array) -> Array:
    """Return the mean (members, 1, units) of (members, rows, units)."""
    return np.matmul(_ones(values.shape[1]), values) / np.float32(values.shape[1])


def common_step(steps: Array) -> int:
    """Return how many steps a layer of every member has counted."""
    if (steps != steps[0]).any():
        raise ValueError("The layers of the members have counted different steps.")
    return int(steps[0])


class Operation(ABC):
    """One layer of every member.

    Args:
        layer: Of the model.
        numbers: The model's numbers.

    Attributes:
        shape: Of a row of its output.
        units: Numbers of it.
        activation: What it ends with; None if that has no form here.
        of_inputs: Whether it has no gradient by its inputs here: nothing that is trained may come before it.
        has_axes: Whether it looks at the axes between the rows and the last one: positions in an image or a sequence,
            or members of the layer's own; else all of them are rows to it.
        kept: Numbers of a row that it keeps beside what it passes on.
    """

    of_inputs = has_axes = False
    kept = 0

    def __init__(self, layer: Any, numbers: MemberNumbers):
        self.layer = layer
        self.shape = tuple(layer.output.shape[1:])  # kept, as Keras looks for it among the layer's calls
        self.units = math.prod(self.shape)
        self.activation: Any = ACTIVATIONS.get(getattr(layer, "activation", keras.activations.linear))

    def load(self, weights: Views, gradients: Views, states: Views) -> None:
        """Take the members' weights (members, *shape), where their gradients go, and the variables not trained."""
        self.workspace = Workspace()

    def activate(self, z: Array, training: bool) -> Array:
        """Return the activation of `z`, which it may write into."""
        self._before = z.copy() if self.activation.needs_input and training else z
        self._output = self.activation.value(z)
        return self._output

    def through(self, gradient: Array) -> Array:
        """Return the gradient of what was activated last, from that of the result."""
        if self.activation.slope is None:
            return gradient
        out = self.workspace("through", gradient.shape)
        return np.multiply(gradient, self.activation.slope(self._before, self._output), out=out)

    @abstractmethod
    def forward(self, inputs: Sequence[Array], training: bool) -> Array:
        """Return the output (members, rows, units), which the next call may overwrite."""

    @abstractmethod
    def backward(self, gradient: Array, wanted: bool) -> list[Array] | None:
        """Take the gradient of the output; return those of the inputs, if they are wanted."""


class KernelOperation(Operation):
    """One layer of every member that has a kernel, and a bias or None."""

    def load(self, weights: Views, gradients: Views, states: Views) -> None:
        """Take them as `Operation` does, kernel and bias by name."""
        super().load(weights, gradients, states)
        kernel, bias = self.layer.kernel, self.layer.bias
        self._kernel, self._kernel_gradient = weights[id(kernel)], gradients[id(kernel)]
        self._bias = None if bias is None else weights[id(bias)][:, None]
        self._bias_gradient = None if bias is None else gradients[id(bias)]


class _Dense(KernelOperation):
    """`keras.layers.Dense`."""

    def __init__(self, layer: keras.layers.Dense, numbers: MemberNumbers):
        super().__init__(layer, numbers)
        plain(layer, ("kernel_constraint", "bias_constraint", "lora_enabled", "quantization_mode"))

    def forward(self, inputs: Sequence[Array], training: bool) -> Array:
        (self._input,) = inputs
        z = self.workspace("output", (*self._input.shape[:2], self._kernel.shape[-1]))
        np.matmul(self._input, self._kernel, out=z)
        if self._bias is not None:
            z += self._bias
        return self.activate(z, training)

    def backward(self, gradient: Array, wanted: bool) -> list[Array] | None:
        gradient = self.through(gradient)
        np.matmul(self._input.swapaxes(1, 2), gradient, out=self._kernel_gradient)
        if self._bias_gradient is not None:
            sum_of_rows(gradient, out=self._bias_gradient)
        if not wanted:
            return None
        back = self.workspace("back", self._input.shape)
        if min(self._kernel.shape[1:]) < TURNED_FIRST:
            return [np.matmul(gradient, self._kernel.swapaxes(1, 2), out=back)]
        turned = self.workspace("turned", gradient.swapaxes(1, 2).shape)
        np.copyto(turned, gradient.swapaxes(1, 2))
        product = self.workspace("product", back.swapaxes(1, 2).shape)
        np.copyto(back, np.matmul(self._kernel, turned, out=product).swapaxes(1, 2))
        return [back]


class _Activation(Operation):
    """`keras.layers.Activation`, `ReLU`."""

    def __init__(self, layer: keras.layers.Layer, numbers: MemberNumbers):
        super().__init__(layer, numbers)
        plain(layer, ("max_value", "negative_slope", "threshold"))
        if isinstance(layer, keras.layers.ReLU):
            self.activation = ACTIVATIONS[keras.activations.relu]

    def forward(self, inputs: Sequence[Array], training: bool) -> Array:
        self._before = inputs[0]
        self._output = self.activation.value(inputs[0].copy())
        return self._output

    def backward(self, gradient: Array, wanted: bool) -> list[Array] | None:
        return [self.through(gradient)]


class _Dropout(Operation):
    """`keras.layers.Dropout` and `tfopt.layers.Dropout`; what a step keeps is told before it.

    Attributes:
        rate: Gives the (members,) shares that are dropped.
        always: Whether it draws even where it drops nothing, or all.
        drawn: Numbers of a row that it draws.
        draws_in_evaluation: Whether Keras draws in evaluation too, in vain.
    """

    always = draws_in_evaluation = False
    _schedule: Any = None

    def __init__(self, layer: Any, numbers: MemberNumbers):
        super().__init__(layer, numbers)
        plain(layer, ("noise_shape",))
        self.drawn = self.units
        self.generator = layer.seed_generator.state if hasattr(layer, "seed_generator") else None  # of rate 0
        self.always = isinstance(layer, tfopt.layers.Dropout)
        self.rate: Column
        if not self.always:
            self.rate = numbers.column(layer.rate)
            return
        if len(layer.rate.shape) or not any(layer.rate is own for own in layer.variables):
            raise CannotStack(f"the rate of {layer.name} is no variable of its own")
        numbers.column(layer.initial_strength)  # for the configuration; no step looks at it
        if layer.schedule is not None:
            self._schedule = numbers.schedule(layer.schedule)

    def load(self, weights: Views, gradients: Views, states: Views) -> None:
        super().load(weights, gradients, states)
        self._mask: Array | None = None
        if self.always:
            rates = states[id(self.layer.rate)]
            self.rate = lambda: rates
        self._scale = kept_scale(self.rate())[:, None, None]
        self._scheduled = None if self._schedule is None else self._schedule()
        if self._scheduled is not None:
            self._steps = states[id(self.layer.steps)]

    def rates(self, steps: int) -> Array:
        """Return what is dropped in the next steps, (members,) or, by a schedule, (steps, members)."""
        if self._scheduled is None:
            return self.rate()
        first = common_step(self._steps)
        return self._scheduled.over(range(first, first + steps))

    def keep(self, kept: Array) -> None:
        """Take what the next step keeps: true or false (members, rows, units)."""
        if self._scheduled is not None:
            self.rate()[:] = self._scheduled.at(common_step(self._steps))[:, 0]
            self._steps += 1
            self._scale = kept_scale(self.rate())[:, None, None]
        self._mask = self.workspace("mask", kept.shape)
        np.copyto(self._mask, kept)  # a cast is faster by itself than within a product
        self._mask *= self._scale

    def forward(self, inputs: Sequence[Array], training: bool) -> Array:
        if not training or self._mask is None:
            return inputs[0]
        mask = self._mask.reshape(inputs[0].shape)
        return np.multiply(inputs[0], mask, out=self.workspace("output", inputs[0].shape))

    def backward(self, gradient: Array, wanted: bool) -> list[Array] | None:
        if self._mask is None:
            return [gradient]
        mask = self._mask.reshape(gradient.shape)
        return [np.multiply(gradient, mask, out=self.workspace("back", gradient.shape))]


class _BatchNormalization(Operation):
    """`keras.layers.BatchNormalization` of the last axis; every member has its own moving statistics."""

    def __init__(self, layer: keras.layers.BatchNormalization, numbers: MemberNumbers):
        super().__init__(layer, numbers)
        plain(layer, ("renorm", "synchronized", "gamma_constraint", "beta_constraint"))
        if layer.axis not in (-1, len(layer.output.shape) - 1):
            raise CannotStack("its batch normalisation is not of the last axis")
        self._momentum, self._epsilon = numbers.column(layer.momentum), numbers.column(layer.epsilon)

    def load(self, weights: Views, gradients: Views, states: Views) -> None:
        super().load(weights, gradients, states)
        layer = self.layer
        self._scale = weights[id(layer.gamma)][:, None] if layer.scale else None
        self._shift = weights[id(layer.beta)][:, None] if layer.center else None
        self._scale_gradient = gradients[id(layer.gamma)] if layer.scale else None
        self._shift_gradient = gradients[id(layer.beta)] if layer.center else None
        self._moving = states[id(layer.moving_mean)], states[id(layer.moving_variance)]
        self._kept = self._momentum()[:, None].astype("float32")
        self._new = (1 - self._momentum())[:, None].astype("float32")
        self._small = self._epsilon()[:, None, None].astype("float32")

    def forward(self, inputs: Sequence[Array], training: bool) -> Array:
        (x,) = inputs
        if training:
            mean = _mean_of_rows(x)
            centred = x - mean
            variance = _mean_of_rows(centred * centred)
            for moving, now in zip(self._moving, (mean, variance), strict=True):
                moving *= self._kept
                moving += now[:, 0] * self._new
        else:
            mean, variance = (moving[:, None] for moving in self._moving)
            centred = x - mean
        self._inverse = 1 / np.sqrt(variance + self._small)
        self._normal = centred * self._inverse
        out = self._normal if self._scale is None else self._normal * self._scale
        return out if self._shift is None else out + self._shift

    def backward(self, gradient: Array, wanted: bool) -> list[Array] | None:
        mean, with_normal = _mean_of_rows(gradient), _mean_of_rows(gradient * self._normal)
        rows = np.float32(gradient.shape[1])
        if self._shift_gradient is not None:
            np.multiply(mean[:, 0], rows, out=self._shift_gradient)
        if self._scale_gradient is not None:
            np.multiply(with_normal[:, 0], rows, out=self._scale_gradient)
        if not wanted:
            return None
        back = self._normal * with_normal
        np.subtract(gradient, back, out=back)
        back -= mean
        back *= self._inverse if self._scale is None else self._inverse * self._scale
        return [back]


class _Add(Operation):
    """`keras.layers.Add`."""

    def __init__(self, layer: keras.layers.Add, numbers: MemberNumbers):
        super().__init__(layer, numbers)
        if len({tuple(part.shape) for part in layer.input}) > 1:
            raise CannotStack(f"{layer.name} adds outputs of different shapes")
        self._number = 0

    def forward(self, inputs: Sequence[Array], training: bool) -> Array:
        self._number = len(inputs)
        total = inputs[0] + inputs[1]
        for other in inputs[2:]:
            total += other
        return total

    def backward(self, gradient: Array, wanted: bool) -> list[Array] | None:
        return [gradient] * self._number


class _Reshape(Operation):
    """`keras.layers.Reshape` and `Flatten`."""

    has_axes = True

    def __init__(self, layer: keras.layers.Layer, numbers: MemberNumbers):
        super().__init__(layer, numbers)
        if getattr(layer, "data_format", "channels_last") != "channels_last":
            raise CannotStack("it flattens channels first")

    def forward(self, inputs: Sequence[Array], training: bool) -> Array:
        self._shape = inputs[0].shape
        return inputs[0].reshape(*self._shape[:2], *self.shape)

    def backward(self, gradient: Array, wanted: bool) -> list[Array] | None:
        return [gradient.reshape(self._shape)]


def plain(layer: keras.layers.Layer, options: Sequence[str]) -> None:
    """Refuse options that are in use."""
    for option in options:
        value = getattr(layer, option, None)
        if not (value is None or value is False or (isinstance(value, int | float) and value == 0)):
            raise CannotStack(f"{type(layer).__name__} has a {option}")


KINDS: dict[type, type[Operation]] = {
    keras.layers.Dense: _Dense,
    keras.layers.Activation: _Activation,
    keras.layers.ReLU: _Activation,
    keras.layers.Dropout: _Dropout,
    tfopt.layers.Dropout: _Dropout,
    keras.layers.BatchNormalization: _BatchNormalization,
    keras.layers.Add: _Add,
    keras.layers.Flatten: _Reshape,
    keras.layers.Reshape: _Reshape,
}


def dropouts(operations: Sequence[Operation]) -> list[_Dropout]:
    """Return those operations that drop."""
    return [one for one in operations if isinstance(one, _Dropout) and one.generator is not None]
