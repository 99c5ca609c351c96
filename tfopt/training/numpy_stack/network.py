"""A model's layers as operations, and the order in which they are computed."""

import copy

import keras

from tfopt._private.keras_models import calls_of
from tfopt.errors import CannotStack
from tfopt.training.ensemble import EnsembleModel, MeanOfMembers
from tfopt.training.numpy_stack import ensembles, images, layers, recurrent, tabular
from tfopt.training.numpy_stack.layers import Array, Operation
from tfopt.training.numpy_stack.numbers import MemberNumbers

_KINDS: dict[type, type[Operation]] = {
    **layers.KINDS,
    **images.KINDS,
    **recurrent.KINDS,
    **tabular.KINDS,
    **ensembles.KINDS,
}


class Network:
    """A model's layers as operations, each after those whose outputs it takes.

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
        for position, (layer, sources) in enumerate(calls_of(model, EnsembleModel)):
            places[position] = len(self.operations)
            if isinstance(layer, keras.layers.InputLayer):
                if position:
                    raise CannotStack("it has several inputs")
                continue
            kind = _KINDS.get(type(layer))
            if kind is None:
                raise CannotStack(f"{type(layer).__name__} has no form in NumPy here")
            self._sources.append([places[source] for source in sources])
            _stock(layer)
            self.operations.append(kind(layer, numbers))
            places[position] = len(self.operations)
        if not any(hasattr(operation.layer, "kernel") for operation in self.operations):
            raise CannotStack("it has no layer with a kernel")
        self.output = self.operations[-1]
        if len(self.output.layer.output.shape) != 2:
            raise CannotStack(f"the output of {self.output.layer.name} is not (rows, units)")
        if isinstance(self.output.layer, MeanOfMembers) != isinstance(model, EnsembleModel):
            raise CannotStack("an EnsembleModel ends with a MeanOfMembers, and no other model does")
        self.dropouts = layers.dropouts(self.operations)
        self._wanted = [False]  # whether the gradient of an output is wanted: not where no weight comes before it
        for operation, sources in zip(self.operations, self._sources, strict=True):
            wanted = any(self._wanted[source] for source in sources)
            if wanted and operation.of_inputs:
                raise CannotStack(f"{operation.layer.name} comes after what is trained")
            self._wanted.append(wanted or bool(operation.layer.trainable_variables))

    def copy(self) -> "Network":
        """Return the same network, into which other members can be loaded."""
        other = copy.copy(self)
        other.operations = [copy.copy(operation) for operation in self.operations]
        other.dropouts = layers.dropouts(other.operations)
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
            inputs = [values[source] for source in sources]
            merged = inputs[0].ndim > 3 and not operation.has_axes
            if merged:
                shape = inputs[0].shape[:-1]
                inputs = [part.reshape(len(part), -1, part.shape[-1]) for part in inputs]
            out = operation.forward(inputs, training)
            values.append(out.reshape(*shape, -1) if merged else out)
        return values[-1]

    def backward(self, gradient: Array) -> None:
        """Write the gradients of the weights, from that of the output of the last `forward`."""
        gradients: dict[int, Array] = {len(self.operations): gradient}
        for place in range(len(self.operations), 0, -1):
            operation, sources = self.operations[place - 1], self._sources[place - 1]
            wanted = any(self._wanted[source] for source in sources)
            if not self._wanted[place]:
                continue
            own = gradients.pop(place)
            merged = own.ndim > 3 and not operation.has_axes
            found = operation.backward(own.reshape(len(own), -1, own.shape[-1]) if merged else own, wanted)
            if merged and found:
                found = [part.reshape(*own.shape[:-1], -1) for part in found]
            for source, part in zip(sources, found if wanted and found else (), strict=False):
                if self._wanted[source]:
                    gradients[source] = gradients[source] + part if source in gradients else part


def _stock(layer: keras.layers.Layer) -> None:
    """Refuse what a layer of a known kind may still be told to do otherwise."""
    if not layer.trainable:
        raise CannotStack(f"{layer.name} is frozen")
    if layer.dtype_policy.compute_dtype != "float32" or layer.dtype_policy.variable_dtype != "float32":
        raise CannotStack(f"{layer.name} computes in {layer.dtype_policy.compute_dtype}")
    if getattr(layer, "activity_regularizer", None) is not None:
        raise CannotStack(f"{layer.name} has an activity_regularizer")
    if None in layer.output.shape[1:]:
        raise CannotStack(f"the output of {layer.name} has no fixed shape")
