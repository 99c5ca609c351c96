"""Operations of the layers that networks for tables are made of."""

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
from scipy.sparse import csr_array

import tfopt.layers
from tfopt.errors import CannotStack
from tfopt.training.numpy_stack.activations import ACTIVATIONS
from tfopt.training.numpy_stack.layers import Array, Operation, Views, _Dense, common_step, sum_of_rows
from tfopt.training.numpy_stack.numbers import MemberNumbers, Workspace

_BLOCK = 1 << 14  # numbers of an array that are activated at a time


class _Weight:
    """A weight p = c·v - d with a learning-rate factor c and a decay of its own, of every member.

    Attributes:
        gradient: Where the gradient of p goes, which is what the optimizer takes for that of v.
    """

    def __init__(self, weight: Any, numbers: MemberNumbers):
        self._weight, self._factor = weight, numbers.column(weight.factor)
        self._is_scheduled = isinstance(weight.decay, keras.optimizers.schedules.LearningRateSchedule)
        self._decay: Any = (numbers.schedule if self._is_scheduled else numbers.column)(weight.decay)

    def load(self, weights: Views, gradients: Views, states: Views) -> None:
        """Look up the members' arrays and numbers."""
        self._stepped, self.gradient = weights[id(self._weight.variable)], gradients[id(self._weight.variable)]
        self._taken = states[id(self._weight.taken)] if self._weight.taken is not None else None
        self._rates = self._decay()
        factor = self._wide(self._factor())
        self._multiplier = None if (factor == 1).all() else factor
        self._workspace = Workspace()

    def _wide(self, column: Array) -> Array:
        return column.reshape(-1, *(1,) * (self._stepped.ndim - 1)).astype("float32")

    def read(self, training: bool, step: int) -> Array:
        """Return p, and let it decay in training: the next step finds what is left."""
        if self._multiplier is None and self._taken is None:
            return self._stepped
        value = self._stepped
        if self._multiplier is not None:
            value = np.multiply(value, self._multiplier, out=self._workspace("value", value.shape))
        if self._taken is not None:
            value = np.subtract(value, self._taken, out=self._workspace("value", value.shape))
            if training:
                rate = self._rates.at(step) if self._is_scheduled else self._rates
                self._taken += np.multiply(value, self._wide(rate), out=self._workspace("decay", value.shape))
        return value


class _Factored:
    """What the operations of `tfopt.layers` with such weights share."""

    _steps: Array | None = None

    def __init__(self, layer: Any, numbers: MemberNumbers, names: Sequence[str]):
        numbers.column(layer.learning_rate_factor)  # for the configuration: every weight has its own
        if not isinstance(layer.decay, keras.optimizers.schedules.LearningRateSchedule):
            numbers.column(layer.decay)
        self._layer = layer
        held = {name: getattr(layer, name) for name in names}
        self._held = {name: _Weight(weight, numbers) for name, weight in held.items() if weight is not None}

    def loaded(self, weights: Views, gradients: Views, states: Views) -> "_Factored":
        """Return the same with the arrays of members."""
        other = copy.copy(self)
        other._held = {name: copy.copy(weight) for name, weight in self._held.items()}
        for weight in other._held.values():
            weight.load(weights, gradients, states)
        other._steps = None if self._layer.steps is None else states[id(self._layer.steps)]
        return other

    def read(self, training: bool) -> dict[str, Array]:
        """Return the weights by name; a step of training is counted, and they decay in it."""
        step = 0 if self._steps is None else common_step(self._steps)
        if training and self._steps is not None:
            self._steps += 1
        return {name: weight.read(training, step) for name, weight in self._held.items()}

    def gradient(self, name: str) -> Array:
        """Return where the gradient of a weight goes."""
        return self._held[name].gradient


class _NeuralTangentDense(_Dense):
    """`tfopt.layers.NeuralTangentDense`."""

    def __init__(self, layer: Any, numbers: MemberNumbers):
        Operation.__init__(self, layer, numbers)
        numbers.column(layer.bias_learning_rate_factor)
        self._weights = _Factored(layer, numbers, ("kernel", "bias"))
        self._gain = np.float32(1 / np.sqrt(layer.kernel.shape[0]))

    def load(self, weights: Views, gradients: Views, states: Views) -> None:
        Operation.load(self, weights, gradients, states)
        self._own = self._weights.loaded(weights, gradients, states)
        self._kernel_gradient = self._own.gradient("kernel")
        self._bias_gradient = None if self.layer.bias is None else self._own.gradient("bias")

    def forward(self, inputs: Sequence[Array], training: bool) -> Array:
        now = self._own.read(training)
        self._kernel = np.multiply(now["kernel"], self._gain, out=self.workspace("kernel", now["kernel"].shape))
        self._bias = now["bias"][:, None] if "bias" in now else None
        return super().forward(inputs, training)

    def backward(self, gradient: Array, wanted: bool) -> list[Array] | None:
        back = super().backward(gradient, wanted)
        self._kernel_gradient *= self._gain
        return back


class _FactoredOperation(Operation):
    """An operation whose weights are such."""

    names: tuple[str, ...] = ("weight",)  # of the layer's weights

    def __init__(self, layer: Any, numbers: MemberNumbers):
        super().__init__(layer, numbers)
        self._weights = _Factored(layer, numbers, self.names)

    def load(self, weights: Views, gradients: Views, states: Views) -> None:
        super().load(weights, gradients, states)
        self._own = self._weights.loaded(weights, gradients, states)


class _FeatureScaling(_FactoredOperation):
    """`tfopt.layers.FeatureScaling`."""

    def forward(self, inputs: Sequence[Array], training: bool) -> Array:
        (self._input,) = inputs
        self._scale = self._own.read(training)["weight"][:, None]
        return np.multiply(self._input, self._scale, out=self.workspace("output", self._input.shape))

    def backward(self, gradient: Array, wanted: bool) -> list[Array] | None:
        work = np.multiply(gradient, self._input, out=self.workspace("work", gradient.shape))
        sum_of_rows(work, out=self._own.gradient("weight"))
        return [np.multiply(gradient, self._scale, out=work)] if wanted else None


class _ParametricActivation(_FactoredOperation):
    """`tfopt.layers.ParametricActivation`."""

    def __init__(self, layer: Any, numbers: MemberNumbers):
        super().__init__(layer, numbers)
        self._function = ACTIVATIONS.get(layer.activation)
        if self._function is None:
            self.activation = None  # which is refused

    def forward(self, inputs: Sequence[Array], training: bool) -> Array:
        (self._input,) = inputs
        self._alpha = self._own.read(training)["weight"][:, None]
        assert self._function is not None
        shape = self._input.shape
        self._value, self._bend = self.workspace("value", shape), self.workspace("bend", shape)
        out = self.workspace("output", shape)
        for members, rows in _blocks(shape):
            x, bend = self._input[members, rows], self._bend[members, rows]
            value = self._function.value(x.copy())
            self._value[members, rows] = value
            np.subtract(value, x, out=bend)
            np.multiply(bend, self._alpha[members], out=out[members, rows])
            out[members, rows] += x
        return out

    def backward(self, gradient: Array, wanted: bool) -> list[Array] | None:
        self._bend *= gradient
        sum_of_rows(self._bend, out=self._own.gradient("weight"))
        if not wanted:
            return None
        assert self._function is not None
        if self._function.slope is None:
            return [gradient]
        back, rest = self.workspace("back", gradient.shape), np.float32(1) - self._alpha
        for members, rows in _blocks(gradient.shape):
            slope = self._function.slope(self._input[members, rows], self._value[members, rows])
            part = np.multiply(slope, self._alpha[members], out=back[members, rows])
            part += rest[members]
            part *= gradient[members, rows]
        return [back]


def _blocks(shape: tuple[int, ...]) -> Iterator[tuple[slice, slice]]:
    """Yield parts of members and rows that are small enough to stay in a cache from one operation to the next."""
    members, rows, units = shape
    if rows * units <= _BLOCK:
        number = _BLOCK // (rows * units)
        yield from ((slice(start, start + number), slice(None)) for start in range(0, members, number))
        return
    number = max(1, _BLOCK // units)
    for member in range(members):
        yield from ((slice(member, member + 1), slice(start, start + number)) for start in range(0, rows, number))


class _PeriodicEmbedding(_FactoredOperation):
    """`tfopt.layers.PeriodicEmbedding`: arrays are (members, features, rows, …) inside."""

    of_inputs = True
    names = ("frequencies", "phases", "kernel", "bias")

    def __init__(self, layer: Any, numbers: MemberNumbers):
        super().__init__(layer, numbers)
        numbers.column(layer.frequency_scale)  # of the start

    def forward(self, inputs: Sequence[Array], training: bool) -> Array:
        (x,) = inputs
        now = self._own.read(training)
        members, rows, features = x.shape
        number, dense = self.layer.num_frequencies, self.layer.phases is not None
        self._line = self.workspace("line", (members, features, rows, 2))
        self._line[..., 0], self._line[..., 1] = x.swapaxes(1, 2), 1
        # Every sum over few numbers is a product, which is several times as fast: here x·2πf + phase.
        lines = np.zeros((members, features, 2, number), "float32")
        np.multiply(now["frequencies"], np.float32(2 * np.pi), out=lines[:, :, 0])
        if dense:
            lines[:, :, 1] = now["phases"]
        self._angles = self.workspace("angles", (members, features, rows, number))
        np.matmul(self._line, lines, out=self._angles)
        self._waves = self.workspace("waves", (*self._angles.shape[:3], number if dense else 2 * number))
        np.cos(self._angles, out=self._waves[..., :number])
        if not dense:
            np.sin(self._angles, out=self._waves[..., number:])
        units, trained = self.layer.units, now["kernel"].shape[-1]  # one more where x itself is the last
        self._kernel = np.zeros((members, features, self._waves.shape[-1], units), "float32")
        self._kernel[..., :trained] = now["kernel"]
        rest = np.zeros((members, features, 2, units), "float32")
        rest[:, :, 1, :trained] = now["bias"]
        rest[:, :, 0, trained:] = 1
        made = np.matmul(self._waves, self._kernel, out=self.workspace("made", (*self._angles.shape[:3], units)))
        made += np.matmul(self._line, rest, out=self.workspace("rest", made.shape))
        if self.layer.variant == "plr":
            np.maximum(made, 0, out=made)
        self._made = made
        out = self.workspace("output", (members, rows, features, units))
        out[...] = made.swapaxes(1, 2)
        return out.reshape(members, rows, -1)

    def backward(self, gradient: Array, wanted: bool) -> list[Array] | None:
        number, into = self.layer.num_frequencies, self._own.gradient
        own = self.workspace("gradient", self._made.shape)
        own[...] = gradient.reshape(own.swapaxes(1, 2).shape).swapaxes(1, 2)
        if self.layer.variant == "plr":
            own *= self._made > 0
        trained = into("bias").shape[-1]
        into("kernel")[...] = np.matmul(self._waves.swapaxes(2, 3), own)[..., :trained]
        into("bias")[...] = np.matmul(self._line.swapaxes(2, 3), own)[:, :, 1, :trained]
        np.negative(self._kernel, out=self._kernel)
        back = np.matmul(own, self._kernel.swapaxes(2, 3), out=self.workspace("back", self._waves.shape))
        turning = np.sin(self._angles, out=self.workspace("turning", self._angles.shape))
        turning *= back[..., :number]
        if self.layer.phases is None:
            turning -= self._waves[..., :number] * back[..., number:]
        lines = np.matmul(self._line.swapaxes(2, 3), turning)
        np.multiply(lines[:, :, 0], np.float32(2 * np.pi), out=into("frequencies"))
        if self.layer.phases is not None:
            into("phases")[...] = lines[:, :, 1]
        return None


class _PiecewiseLinearEmbedding(_FactoredOperation):
    """`tfopt.layers.PiecewiseLinearEmbedding`: arrays are (members, features, rows, …) inside."""

    of_inputs = True
    names = ("slope", "bias", "kernel")

    def load(self, weights: Views, gradients: Views, states: Views) -> None:
        super().load(weights, gradients, states)
        edges = states[id(self.layer.edges)]
        left, right = edges[..., :-1], edges[..., 1:]
        is_bin = right > left
        last = is_bin & (right == edges[..., -1:])
        first = np.arange(left.shape[-1]) == 0
        infinite = np.float32(np.inf)
        self._left = left[:, :, None]
        self._width = np.where(is_bin, right - left, infinite)[:, :, None]
        self._lowest = np.where(first & is_bin, -infinite, np.float32(0))[:, :, None]
        self._highest = np.where(is_bin, np.where(last, infinite, np.float32(1)), np.float32(0))[:, :, None]

    def forward(self, inputs: Sequence[Array], training: bool) -> Array:
        members, rows, features = inputs[0].shape
        now = self._own.read(training)
        self._input = np.ascontiguousarray(inputs[0].swapaxes(1, 2))[..., None]
        self._code = self.workspace("code", (members, features, rows, self._left.shape[-1]))
        np.subtract(self._input, self._left, out=self._code)
        self._code /= self._width
        np.maximum(self._code, self._lowest, out=self._code)
        np.minimum(self._code, self._highest, out=self._code)
        units = now["kernel"].shape[-1]
        made = self.workspace("made", (members, features, rows, units))
        np.matmul(self._code, now["kernel"], out=made)
        made += self._input * now["slope"][:, :, None] + now["bias"][:, :, None]
        out = self.workspace("output", (members, rows, features, units))
        out[...] = made.swapaxes(1, 2)
        return out.reshape(members, rows, -1)

    def backward(self, gradient: Array, wanted: bool) -> list[Array] | None:
        members, rows = gradient.shape[:2]
        own = self.workspace("made", (members, self._input.shape[1], rows, self.layer.units))
        own[...] = gradient.reshape(members, rows, *own.shape[1::2]).swapaxes(1, 2)
        np.matmul(self._code.swapaxes(2, 3), own, out=self._own.gradient("kernel"))
        np.matmul(self._input.swapaxes(2, 3), own, out=self._own.gradient("slope")[:, :, None])
        np.sum(own, axis=2, out=self._own.gradient("bias"))
        return None


class _OfInputs(Operation):
    """An operation without weights, to which nothing that is trained comes."""

    of_inputs = True

    def backward(self, gradient: Array, wanted: bool) -> list[Array] | None:
        return None


class _SelectColumns(_OfInputs):
    """`tfopt.layers.SelectColumns`."""

    def forward(self, inputs: Sequence[Array], training: bool) -> Array:
        return np.take(inputs[0], self.layer.columns, axis=-1)


class _OneHotCategories(_OfInputs):
    """`tfopt.layers.OneHotCategories`."""

    def forward(self, inputs: Sequence[Array], training: bool) -> Array:
        parts = []
        for column, levels in enumerate(self.layer.levels):
            hot = (inputs[0][..., column : column + 1] == np.arange(levels, dtype="float32")).astype("float32")
            parts.append(hot[..., 1:] - hot[..., :1] if self.layer.signs and levels == 2 else hot)
        return np.concatenate(parts, axis=-1)


class _CategoryCodes(_OfInputs):
    """`tfopt.layers.CategoryCodes`."""

    def load(self, weights: Views, gradients: Views, states: Views) -> None:
        super().load(weights, gradients, states)
        self._starts = np.cumsum([0, *self.layer.levels[:-1]])
        self._codes = np.concatenate([np.arange(1, levels + 1, dtype="float32") for levels in self.layer.levels])

    def forward(self, inputs: Sequence[Array], training: bool) -> Array:
        return np.add.reduceat(inputs[0] * self._codes, self._starts, axis=-1) - np.float32(1)


class _CategoryEmbedding(_FactoredOperation):
    """`tfopt.layers.CategoryEmbedding`."""

    of_inputs = True
    names = ("table",)

    def __init__(self, layer: Any, numbers: MemberNumbers):
        super().__init__(layer, numbers)
        self._levels = np.array(layer.levels, "float32")
        ends = np.cumsum([levels + 1 for levels in layer.levels])
        self._unknown, self._first = ends - 1, ends - 1 - np.array(layer.levels)

    def forward(self, inputs: Sequence[Array], training: bool) -> Array:
        (codes,) = inputs
        known = (codes >= 0) & (codes < self._levels)
        self._places = np.where(known, np.where(known, codes, 0).astype("intp") + self._first, self._unknown)
        table = self._own.read(training)["table"]
        return table[np.arange(len(table))[:, None, None], self._places].reshape(*codes.shape[:2], -1)

    def backward(self, gradient: Array, wanted: bool) -> list[Array] | None:
        into, units = self._own.gradient("table"), self.layer.units
        for places, own, total in zip(self._places, gradient, into, strict=True):
            ones, rows = np.ones(places.size, "float32"), np.arange(places.size)
            picked = csr_array((ones, (places.ravel(), rows)), shape=(len(total), places.size))
            total[...] = picked @ own.reshape(-1, units)
        return None


class _RobustScaling(_OfInputs):
    """`tfopt.layers.RobustScaling`."""

    def load(self, weights: Views, gradients: Views, states: Views) -> None:
        super().load(weights, gradients, states)
        self._center, self._factor = (states[id(own)][:, None] for own in (self.layer.center, self.layer.factor))

    def forward(self, inputs: Sequence[Array], training: bool) -> Array:
        scaled = np.clip((inputs[0] - self._center) * self._factor, -1e15, 1e15)
        return scaled / np.sqrt(1 + np.square(scaled / np.float32(3)))


class _TargetScaling(Operation):
    """`tfopt.layers.TargetScaling`."""

    def load(self, weights: Views, gradients: Views, states: Views) -> None:
        super().load(weights, gradients, states)
        names = ("mean", "scale", "lowest", "highest")
        self._mean, self._scale, *self._limits = (states[id(getattr(self.layer, name))][:, None] for name in names)

    def forward(self, inputs: Sequence[Array], training: bool) -> Array:
        outputs = inputs[0] * self._scale + self._mean
        return outputs if training else np.clip(outputs, *self._limits)

    def backward(self, gradient: Array, wanted: bool) -> list[Array] | None:
        return [gradient / self._scale]


class _Concatenate(Operation):
    """`keras.layers.Concatenate` of the last axis."""

    def __init__(self, layer: keras.layers.Concatenate, numbers: MemberNumbers):
        super().__init__(layer, numbers)
        if layer.axis not in (-1, len(layer.output.shape) - 1):
            raise CannotStack("it concatenates another axis than the last")

    def forward(self, inputs: Sequence[Array], training: bool) -> Array:
        self._ends = np.cumsum([part.shape[-1] for part in inputs])[:-1]
        out = self.workspace("output", (*inputs[0].shape[:-1], sum(part.shape[-1] for part in inputs)))
        return np.concatenate(inputs, axis=-1, out=out)

    def backward(self, gradient: Array, wanted: bool) -> list[Array] | None:
        return np.split(gradient, self._ends, axis=-1)


KINDS: dict[type, type[Operation]] = {
    keras.layers.Concatenate: _Concatenate,
    tfopt.layers.CategoryCodes: _CategoryCodes,
    tfopt.layers.CategoryEmbedding: _CategoryEmbedding,
    tfopt.layers.FeatureScaling: _FeatureScaling,
    tfopt.layers.NeuralTangentDense: _NeuralTangentDense,
    tfopt.layers.OneHotCategories: _OneHotCategories,
    tfopt.layers.ParametricActivation: _ParametricActivation,
    tfopt.layers.PeriodicEmbedding: _PeriodicEmbedding,
    tfopt.layers.PiecewiseLinearEmbedding: _PiecewiseLinearEmbedding,
    tfopt.layers.RobustScaling: _RobustScaling,
    tfopt.layers.SelectColumns: _SelectColumns,
    tfopt.layers.TargetScaling: _TargetScaling,
}
