"""The layers that a plan knows, for a stack of members at once: arrays (members, rows, units), forwards and back."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import keras
import numpy as np

import tfopt.layers
from tfopt._private.keras_models import calls_of
from tfopt.errors import CannotStack
from tfopt.training.numpy_stack.activations import ACTIVATIONS
from tfopt.training.numpy_stack.masks import kept_scale
from tfopt.training.numpy_stack.numbers import Column, MemberNumbers, Workspace

Array = np.ndarray
Views = dict[int, Array]  # of each variable, by its id


_TURNED_FIRST = 64  # units from which a product with a turned kernel is slower than turning the smaller factor before


@lru_cache(maxsize=64)
def _ones(rows: int) -> Array:
    return np.ones((1, rows), "float32")


class Operation(ABC):
    """One layer of every member.

    Args:
        layer: Of the model.
        numbers: The model's numbers.

    Attributes:
        units: Numbers of a row of its output.
        activation: What it ends with; None if that has no form here.
    """

    def __init__(self, layer: Any, numbers: MemberNumbers):
        self.layer = layer
        self.units = int(np.prod(layer.output.shape[1:]))
        self.activation: Any = ACTIVATIONS.get(getattr(layer, "activation", keras.activations.linear))

    def load(self, weights: Views, gradients: Views, states: Views) -> None:
        """Take the members' weights (members, *shape), where their gradients go, and the variables not trained."""
        self.workspace = Workspace()

    @abstractmethod
    def forward(self, inputs: Sequence[Array], training: bool) -> Array:
        """Return the output (members, rows, units), which the next call may overwrite."""

    @abstractmethod
    def backward(self, gradient: Array, wanted: bool) -> list[Array] | None:
        """Take the gradient of the output; return those of the inputs, if they are wanted."""


class _Dense(Operation):
    """`keras.layers.Dense`."""

    def __init__(self, layer: keras.layers.Dense, numbers: MemberNumbers):
        super().__init__(layer, numbers)
        _plain(layer, ("kernel_constraint", "bias_constraint", "lora_enabled", "quantization_mode"))

    def load(self, weights: Views, gradients: Views, states: Views) -> None:
        super().load(weights, gradients, states)
        kernel, bias = self.layer.kernel, self.layer.bias
        self._kernel, self._kernel_gradient = weights[id(kernel)], gradients[id(kernel)]
        self._bias = None if bias is None else weights[id(bias)][:, None]
        self._bias_gradient = None if bias is None else gradients[id(bias)]

    def forward(self, inputs: Sequence[Array], training: bool) -> Array:
        (self._input,) = inputs
        z = self.workspace("output", (*self._input.shape[:2], self.units))
        np.matmul(self._input, self._kernel, out=z)
        if self._bias is not None:
            z += self._bias
        self._before = z.copy() if self.activation.needs_input and training else z
        self._output = self.activation.value(z)
        return self._output

    def backward(self, gradient: Array, wanted: bool) -> list[Array] | None:
        if self.activation.slope is not None:
            through = self.workspace("through", gradient.shape)
            gradient = np.multiply(gradient, self.activation.slope(self._before, self._output), out=through)
        np.matmul(self._input.swapaxes(1, 2), gradient, out=self._kernel_gradient)
        if self._bias_gradient is not None:
            ones = _ones(gradient.shape[1])  # a product is four times as fast as a sum
            np.matmul(ones, gradient, out=self._bias_gradient[:, None])
        if not wanted:
            return None
        back = self.workspace("back", self._input.shape)
        if min(self._kernel.shape[1:]) < _TURNED_FIRST:
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
        _plain(layer, ("max_value", "negative_slope", "threshold"))
        if isinstance(layer, keras.layers.ReLU):
            self.activation = ACTIVATIONS[keras.activations.relu]

    def forward(self, inputs: Sequence[Array], training: bool) -> Array:
        self._before = inputs[0]
        self._output = self.activation.value(inputs[0].copy())
        return self._output

    def backward(self, gradient: Array, wanted: bool) -> list[Array] | None:
        if self.activation.slope is not None:
            gradient = gradient * self.activation.slope(self._before, self._output)
        return [gradient]


class _Dropout(Operation):
    """`keras.layers.Dropout` and `tfopt.layers.Dropout`; what a step keeps is told before it.

    Attributes:
        rate: Gives the (members,) shares that are dropped.
        always: Whether it draws even where it drops nothing, or all.
    """

    def __init__(self, layer: Any, numbers: MemberNumbers):
        super().__init__(layer, numbers)
        _plain(layer, ("noise_shape", "schedule"))
        self.generator = layer.seed_generator.state if hasattr(layer, "seed_generator") else None  # of rate 0
        self.always = isinstance(layer, tfopt.layers.Dropout)
        self.rate: Column
        if not self.always:
            self.rate = numbers.column(layer.rate)
        elif len(layer.rate.shape) or not any(layer.rate is own for own in layer.variables):
            raise CannotStack(f"the rate of {layer.name} is no variable of its own")
        else:
            numbers.column(layer.initial_strength)  # for the configuration; no step looks at it

    def load(self, weights: Views, gradients: Views, states: Views) -> None:
        super().load(weights, gradients, states)
        self._mask: Array | None = None
        if self.always:
            rates = states[id(self.layer.rate)]
            self.rate = lambda: rates
        self._scale = kept_scale(self.rate())[:, None, None]

    def keep(self, kept: Array) -> None:
        """Take what the next step keeps: true or false (members, rows, units)."""
        self._mask = self.workspace("mask", kept.shape)
        np.copyto(self._mask, kept)  # a cast is faster by itself than within a product
        self._mask *= self._scale

    def forward(self, inputs: Sequence[Array], training: bool) -> Array:
        if not training or self._mask is None:
            return inputs[0]
        return np.multiply(inputs[0], self._mask, out=self.workspace("output", inputs[0].shape))

    def backward(self, gradient: Array, wanted: bool) -> list[Array] | None:
        if self._mask is None:
            return [gradient]
        return [np.multiply(gradient, self._mask, out=self.workspace("back", gradient.shape))]


class _BatchNormalization(Operation):
    """`keras.layers.BatchNormalization` of the last axis; every member has its own moving statistics."""

    def __init__(self, layer: keras.layers.BatchNormalization, numbers: MemberNumbers):
        super().__init__(layer, numbers)
        _plain(layer, ("renorm", "synchronized", "gamma_constraint", "beta_constraint"))
        if layer.axis not in (-1, 1):
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
            mean = x.mean(axis=1, keepdims=True)
            centred = x - mean
            variance = np.mean(centred * centred, axis=1, keepdims=True)
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
        if self._shift_gradient is not None:
            np.sum(gradient, axis=1, out=self._shift_gradient)
        if self._scale_gradient is not None:
            np.sum(gradient * self._normal, axis=1, out=self._scale_gradient)
        if not wanted:
            return None
        if self._scale is not None:
            gradient = gradient * self._scale
        gradient = gradient - gradient.mean(axis=1, keepdims=True) - self._normal * np.mean(
            gradient * self._normal, axis=1, keepdims=True
        )  # fmt: skip
        return [gradient * self._inverse]


class _Add(Operation):
    """`keras.layers.Add`."""

    def __init__(self, layer: keras.layers.Add, numbers: MemberNumbers):
        super().__init__(layer, numbers)
        self._number = 0

    def forward(self, inputs: Sequence[Array], training: bool) -> Array:
        self._number = len(inputs)
        total = inputs[0] + inputs[1]
        for other in inputs[2:]:
            total += other
        return total

    def backward(self, gradient: Array, wanted: bool) -> list[Array] | None:
        return [gradient] * self._number


class _Flatten(Operation):
    """`keras.layers.Flatten`."""

    def __init__(self, layer: keras.layers.Flatten, numbers: MemberNumbers):
        super().__init__(layer, numbers)
        if layer.data_format != "channels_last":
            raise CannotStack("it flattens channels first")

    def forward(self, inputs: Sequence[Array], training: bool) -> Array:
        self._shape = inputs[0].shape
        return inputs[0].reshape(*self._shape[:2], -1)

    def backward(self, gradient: Array, wanted: bool) -> list[Array] | None:
        return [gradient.reshape(self._shape)]


_KINDS: dict[type, type[Operation]] = {
    keras.layers.Dense: _Dense,
    keras.layers.Activation: _Activation,
    keras.layers.ReLU: _Activation,
    keras.layers.Dropout: _Dropout,
    tfopt.layers.Dropout: _Dropout,
    keras.layers.BatchNormalization: _BatchNormalization,
    keras.layers.Add: _Add,
    keras.layers.Flatten: _Flatten,
}


def _dropouts(operations: Sequence[Operation]) -> list[_Dropout]:
    return [one for one in operations if isinstance(one, _Dropout) and one.generator is not None]


class Network:
    """A model's layers as operations, each after those whose outputs it takes.

    Args:
        model: Built; Sequential or functional, of one input and one output.
        numbers: Its numbers.

    Attributes:
        operations: All of them.
        output: The last one.
        dropouts: Those that drop.

    Raises:
        CannotStack: It has a layer that is not known here, or one that is called twice.
    """

    def __init__(self, model: keras.Model, numbers: MemberNumbers):
        self.operations: list[Operation] = []
        self._sources: list[list[int]] = []  # of each operation: 0 is the input, 1 the first operation's output, …
        places = {}
        for position, (layer, sources) in enumerate(calls_of(model)):
            places[position] = len(self.operations)
            if isinstance(layer, keras.layers.InputLayer):
                if position:
                    raise CannotStack("it has several inputs")
                continue
            kind = _KINDS.get(type(layer))
            if kind is None:
                raise CannotStack(f"{type(layer).__name__} has no form in NumPy here")
            _stock(layer)
            self.operations.append(kind(layer, numbers))
            places[position] = len(self.operations)
            self._sources.append([places[source] for source in sources])
        if not any(isinstance(operation, _Dense) for operation in self.operations):
            raise CannotStack("it has no dense layer")
        self.output = self.operations[-1]
        self.dropouts = _dropouts(self.operations)
        self._wanted = [False]  # whether the gradient of an output is wanted: not where no weight comes before it
        for operation, sources in zip(self.operations, self._sources, strict=True):
            trained = isinstance(operation, _Dense | _BatchNormalization)
            self._wanted.append(trained or any(self._wanted[source] for source in sources))

    def copy(self) -> "Network":
        """Return the same network, into which other members can be loaded."""
        other = copy.copy(self)
        other.operations = [copy.copy(operation) for operation in self.operations]
        other.dropouts = _dropouts(other.operations)
        return other

    def check(self) -> None:
        """Refuse activations that are not known here, once the loss has taken what it computes itself."""
        for operation in self.operations:
            if operation.activation is None:
                raise CannotStack(f"the activation of {operation.layer.name} is not known here")

    def forward(self, x: Array, training: bool) -> Array:
        """Return the output (members, rows, units) for inputs (members, rows, …)."""
        values = [x]
        for operation, sources in zip(self.operations, self._sources, strict=True):
            values.append(operation.forward([values[source] for source in sources], training))
        return values[-1]

    def backward(self, gradient: Array) -> None:
        """Write the gradients of the weights, from that of the output of the last `forward`."""
        gradients: dict[int, Array] = {len(self.operations): gradient}
        for place in range(len(self.operations), 0, -1):
            operation, sources = self.operations[place - 1], self._sources[place - 1]
            wanted = any(self._wanted[source] for source in sources)
            if not self._wanted[place]:
                continue
            found = operation.backward(gradients.pop(place), wanted)
            for source, part in zip(sources, found if wanted and found else (), strict=False):
                if self._wanted[source]:
                    gradients[source] = gradients[source] + part if source in gradients else part


def _plain(layer: keras.layers.Layer, options: Sequence[str]) -> None:
    for option in options:
        value = getattr(layer, option, None)
        if not (value is None or value is False or (isinstance(value, int | float) and value == 0)):
            raise CannotStack(f"{type(layer).__name__} has a {option}")


def _stock(layer: keras.layers.Layer) -> None:
    """Refuse what a layer of a known kind may still be told to do otherwise."""
    if not layer.trainable:
        raise CannotStack(f"{layer.name} is frozen")
    if layer.dtype_policy.compute_dtype != "float32" or layer.dtype_policy.variable_dtype != "float32":
        raise CannotStack(f"{layer.name} computes in {layer.dtype_policy.compute_dtype}")
    if getattr(layer, "activity_regularizer", None) is not None:
        raise CannotStack(f"{layer.name} has an activity_regularizer")
    if len(layer.output.shape) != 2:
        raise CannotStack(f"the output of {layer.name} is not (rows, units)")
