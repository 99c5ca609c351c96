"""Operations of images (members, rows, height, width, channels) and of sequences (members, rows, steps, channels).

A convolution copies windows of the image side by side, so that it is a product (Chellapilla et al., 2006). A window
here is wide enough for a few outputs beside each other, and the kernel is repeated in a larger one that is zero
elsewhere: more multiplications, but less to copy, which takes longer. Few members or rows at a time, so that the
windows stay in the cache.
"""

import itertools
import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
from numpy.lib.stride_tricks import as_strided

from tfopt.errors import CannotStack
from tfopt.training.numpy_stack.layers import Array, KernelOperation, Operation, Views, plain, sum_of_rows
from tfopt.training.numpy_stack.numbers import MemberNumbers, Workspace

_COPYING = 40  # multiplications in the time that the copy of a number takes, there and back
_BEGINNING = 16  # numbers copied in the time that it takes to begin another run of neighbours
_AT_A_TIME = 1 << 18  # numbers copied before they are multiplied


class _Windows:
    """The windows of an image, or of a sequence as an image of one line, that a layer looks at.

    Args:
        layer: A convolution or a pooling.
        size: Of a window, along each axis.

    Attributes:
        inputs: (height, width, channels) of the image.
        padded: Likewise, with what is added around it.
        outputs: (height, width): the number of windows.
        size: (height, width) of one.
        strides: From one to the next.
        apart: From one place in a window to the next.

    Raises:
        CannotStack: The channels are not last.
    """

    def __init__(self, layer: Any, size: Sequence[int]):
        if layer.data_format != "channels_last":
            raise CannotStack(f"{layer.name} takes channels first")
        *space, channels = layer.input.shape[1:]
        apart = getattr(layer, "dilation_rate", [1] * len(size))
        axes = list(zip(space, size, layer.strides, apart, strict=True))
        if len(axes) == 1:
            axes.insert(0, (1, 1, 1, 1))
        lengths, self.size, self.strides, self.apart = zip(*axes, strict=True)
        before, padded, outputs = [], [], []
        for length, own, stride, distance in axes:
            reach = (own - 1) * distance + 1
            number, added = (length - reach) // stride + 1, 0
            if layer.padding != "valid":
                number = -(-length // stride)
                added = max((number - 1) * stride + reach - length, 0)
            before.append(reach - 1 if layer.padding == "causal" else added // 2)
            padded.append(max(length + added, before[-1] + length))
            outputs.append(number)
        self.inputs, self.padded, self.outputs = (*lengths, channels), (*padded, channels), tuple(outputs)
        places = (slice(start, start + length) for start, length in zip(before, lengths, strict=True))
        self._inside: tuple[Any, ...] = (..., *places, slice(None))

    def pad(self, images: Array, value: float, workspace: Workspace) -> Array:
        """Return images (…, height, width, channels) with a value around them."""
        if self.padded == self.inputs:
            return images
        out = workspace("padded", (*images.shape[:-3], *self.padded))
        out[...] = value
        out[self._inside] = images
        return out

    def crop(self, padded: Array) -> Array:
        """Return a view of the images within what was padded."""
        return padded[self._inside]

    def places(self) -> Iterator[tuple[Any, ...]]:
        """Yield where in a padded image all windows have their first number, their second, …"""
        for place in itertools.product(*map(range, self.size)):
            starts = [number * distance for number, distance in zip(place, self.apart, strict=True)]
            parts = zip(starts, self.outputs, self.strides, strict=True)
            yield (..., *(slice(start, start + (n - 1) * by + 1, by) for start, n, by in parts), slice(None))


class _Convolution(KernelOperation):
    """`keras.layers.Conv1D` and `Conv2D`."""

    has_axes = True

    def __init__(self, layer: Any, numbers: MemberNumbers):
        super().__init__(layer, numbers)
        plain(layer, ("kernel_constraint", "bias_constraint", "lora_enabled", "quantization_mode"))
        if layer.groups != 1:
            raise CannotStack(f"{layer.name} has groups")
        windows = self._windows = _Windows(layer, layer.kernel_size)
        (_, across), channels = windows.outputs, windows.inputs[-1]

        def width(beside: int) -> int:
            return (beside - 1) * windows.strides[1] + (windows.size[1] - 1) * windows.apart[1] + 1

        def cost(beside: int) -> float:
            copied = _COPYING * (width(beside) * channels + _BEGINNING) / beside
            return copied + width(beside) * channels * layer.filters

        self._beside = min((number for number in range(1, across + 1) if across % number == 0), key=cost)
        self._blocks = windows.outputs[0], across // self._beside, windows.size[0], width(self._beside) * channels
        self._rows_at_once = max(1, _AT_A_TIME // math.prod(self._blocks))

    def load(self, weights: Views, gradients: Views, states: Views) -> None:
        super().load(weights, gradients, states)
        (high, wide), (*_, channels), filters = self._windows.size, self._windows.inputs, self.layer.filters
        shape = len(self._kernel), high, wide, channels, filters
        self._kernel, self._kernel_gradient = self._kernel.reshape(shape), self._kernel_gradient.reshape(shape)
        whole = np.zeros((2, shape[0], high, self._blocks[-1] // channels, channels, self._beside, filters), "float32")
        member, line, place, channel, beside, number = whole[0].strides
        steps = beside + self._windows.strides[1] * place, self._windows.apart[1] * place
        # Views (members, height, outputs beside each other, width, channels, filters) of where the kernel is in them.
        self._repeated, self._repeated_gradient = (
            as_strided(part, (*shape[:2], self._beside, *shape[2:]), (member, line, *steps, channel, number))
            for part in whole
        )
        self._whole, self._whole_gradient = whole.reshape(2, shape[0], -1, self._beside * filters)

    def forward(self, inputs: Sequence[Array], training: bool) -> Array:
        members, rows = inputs[0].shape[:2]
        self._images = np.ascontiguousarray(inputs[0]).reshape(members, rows, *self._windows.inputs)
        self._repeated[...] = self._kernel[:, :, None]
        z = self.workspace("output", (members, rows, math.prod(self._blocks[:2]), self._whole.shape[-1]))
        for place in self._parts():
            own = z[place]
            np.matmul(self._columns(place), self._whole[place[0]], out=own.reshape(len(own), -1, z.shape[-1]))
        if self._bias is not None:
            z += np.tile(self._bias, self._beside)[:, None]
        return self.activate(z, training).reshape(members, rows, *self.layer.output.shape[1:])

    def backward(self, gradient: Array, wanted: bool) -> list[Array] | None:
        windows, (high, blocks, lines, size) = self._windows, self._blocks
        members, rows = gradient.shape[:2]
        gradient = self.through(gradient.reshape(self._output.shape))
        if self._bias_gradient is not None:
            sum_of_rows(gradient.reshape(members, -1, self.layer.filters), out=self._bias_gradient)
        back = self.workspace("back", (members, rows, *windows.inputs))
        step = self._beside * windows.strides[1] * windows.inputs[-1]
        for place in self._parts():
            own = gradient[place]
            own, columns = own.reshape(len(own), -1, own.shape[-1]), self._columns(place)
            if place[1].start:
                self._whole_gradient[place[0]] += np.matmul(columns.swapaxes(1, 2), own)
            else:
                np.matmul(columns.swapaxes(1, 2), own, out=self._whole_gradient[place[0]])
            if not wanted:
                continue
            np.matmul(own, self._whole[place[0]].swapaxes(1, 2), out=columns)
            columns = columns.reshape(len(own), -1, *self._blocks)
            padded = self.workspace("back of padded", (*columns.shape[:2], *windows.padded))
            padded[...] = 0
            flat = padded.reshape(*padded.shape[:3], -1)
            for line, block in itertools.product(range(lines), range(blocks)):
                start = line * windows.apart[0]
                of_line = slice(start, start + (high - 1) * windows.strides[0] + 1, windows.strides[0])
                flat[:, :, of_line, block * step : block * step + size] += columns[:, :, :, block, line]
            back[place] = windows.crop(padded)
        np.sum(self._repeated_gradient, axis=2, out=self._kernel_gradient)
        return [back.reshape(members, rows, *self.layer.input.shape[1:])] if wanted else None

    def _parts(self) -> Iterator[tuple[slice, slice]]:
        """Yield some members and rows at a time."""
        members, rows = self._images.shape[:2]
        together = max(1, self._rows_at_once // rows)
        for first, start in itertools.product(range(0, members, together), range(0, rows, self._rows_at_once)):
            yield slice(first, first + together), slice(start, start + self._rows_at_once)

    def _columns(self, place: tuple[slice, slice]) -> Array:
        """Return the windows of some members' rows, one after another: a matrix for each member."""
        windows = self._windows
        images = windows.pad(self._images[place], 0, self.workspace)
        member, row, line, across, number = images.strides
        below, beside = windows.strides[0] * line, self._beside * windows.strides[1] * across
        columns = self.workspace("columns", (*images.shape[:2], *self._blocks))
        strides = member, row, below, beside, windows.apart[0] * line, number
        np.copyto(columns, as_strided(images, columns.shape, strides))
        return columns.reshape(len(columns), -1, math.prod(self._blocks[2:]))


class _Pooling(Operation):
    """What the largest and the mean of each window share."""

    has_axes = True
    outside: float  # what is around the images

    def __init__(self, layer: Any, numbers: MemberNumbers):
        super().__init__(layer, numbers)
        self._windows = _Windows(layer, layer.pool_size)

    def forward(self, inputs: Sequence[Array], training: bool) -> Array:
        members, rows = inputs[0].shape[:2]
        windows = self._windows
        images = inputs[0].reshape(members, rows, *windows.inputs)
        padded = windows.pad(images, self.outside, self.workspace)
        out = self.workspace("output", (members, rows, *windows.outputs, windows.inputs[-1]))
        return self.pooled(padded, out).reshape(members, rows, *self.layer.output.shape[1:])

    def backward(self, gradient: Array, wanted: bool) -> list[Array] | None:
        members, rows = gradient.shape[:2]
        windows = self._windows
        back = self.workspace("back", (members, rows, *windows.padded))
        back[...] = 0
        self.spread(gradient.reshape(members, rows, *windows.outputs, windows.inputs[-1]), back)
        return [np.ascontiguousarray(windows.crop(back)).reshape(members, rows, *self.layer.input.shape[1:])]

    @abstractmethod
    def pooled(self, padded: Array, out: Array) -> Array:
        """Write what is made of each window into `out`, and return it."""

    @abstractmethod
    def spread(self, gradient: Array, back: Array) -> None:
        """Add the gradient of the windows to that of what they see."""


class _MaxPooling(_Pooling):
    """`keras.layers.MaxPooling1D` and `MaxPooling2D`: of equal values the first has the gradient, as in TensorFlow."""

    outside = -math.inf

    def pooled(self, padded: Array, out: Array) -> Array:
        out[...] = self.outside
        for place in self._windows.places():
            np.maximum(out, padded[place], out=out)
        self._padded, self._largest = padded, out
        return out

    def spread(self, gradient: Array, back: Array) -> None:
        free = np.ones(gradient.shape, "bool")
        for place in self._windows.places():
            chosen = self._padded[place] == self._largest
            chosen &= free
            free ^= chosen
            back[place] += gradient * chosen


class _AveragePooling(_Pooling):
    """`keras.layers.AveragePooling1D` and `AveragePooling2D`: what is around the images is not counted."""

    outside = 0

    def __init__(self, layer: Any, numbers: MemberNumbers):
        super().__init__(layer, numbers)
        inside = np.zeros(self._windows.padded, "float32")
        self._windows.crop(inside)[...] = 1
        counts = sum(inside[place] for place in self._windows.places())
        self._shares = np.asarray(1 / counts, "float32")

    def pooled(self, padded: Array, out: Array) -> Array:
        out[...] = 0
        for place in self._windows.places():
            out += padded[place]
        out *= self._shares
        return out

    def spread(self, gradient: Array, back: Array) -> None:
        own = gradient * self._shares
        for place in self._windows.places():
            back[place] += own


class _GlobalPooling(Operation):
    """What the pooling of whole images or sequences shares: (members, rows, positions, channels) inside."""

    has_axes = True

    def __init__(self, layer: Any, numbers: MemberNumbers):
        super().__init__(layer, numbers)
        if layer.data_format != "channels_last":
            raise CannotStack(f"{layer.name} takes channels first")

    def positions(self, images: Array) -> Array:
        """Return the images as positions."""
        return images.reshape(*images.shape[:2], -1, images.shape[-1])

    def shaped(self, pooled: Array) -> Array:
        """Return what was pooled in the shape of the layer's output."""
        return pooled.reshape(*pooled.shape[:2], *self.layer.output.shape[1:])


class _GlobalAveragePooling(_GlobalPooling):
    """`keras.layers.GlobalAveragePooling1D` and `GlobalAveragePooling2D`."""

    def forward(self, inputs: Sequence[Array], training: bool) -> Array:
        self._shape = inputs[0].shape
        return self.shaped(self.positions(inputs[0]).mean(axis=2))

    def backward(self, gradient: Array, wanted: bool) -> list[Array] | None:
        back = self.workspace("back", self._shape)
        positions = self.positions(back)
        positions[...] = (gradient / np.float32(positions.shape[2])).reshape(*self._shape[:2], 1, -1)
        return [back]


class _GlobalMaxPooling(_GlobalPooling):
    """`keras.layers.GlobalMaxPooling1D` and `GlobalMaxPooling2D`: equal values share the gradient, as in TensorFlow."""

    def forward(self, inputs: Sequence[Array], training: bool) -> Array:
        self._images = inputs[0]
        self._largest = self.positions(inputs[0]).max(axis=2, keepdims=True)
        return self.shaped(self._largest)

    def backward(self, gradient: Array, wanted: bool) -> list[Array] | None:
        shares = (self.positions(self._images) == self._largest).astype("float32")
        shares /= shares.sum(axis=2, keepdims=True)
        shares *= gradient.reshape(self._largest.shape)
        return [shares.reshape(self._images.shape)]


class _Rescaling(Operation):
    """`keras.layers.Rescaling` by single numbers."""

    def __init__(self, layer: keras.layers.Rescaling, numbers: MemberNumbers):
        super().__init__(layer, numbers)
        self._scale, self._offset = numbers.column(layer.scale), numbers.column(layer.offset)

    def load(self, weights: Views, gradients: Views, states: Views) -> None:
        super().load(weights, gradients, states)
        columns = self._scale(), self._offset()
        self._factor, self._added = (column[:, None, None].astype("float32") for column in columns)

    def forward(self, inputs: Sequence[Array], training: bool) -> Array:
        out = np.multiply(inputs[0], self._factor, out=self.workspace("output", inputs[0].shape))
        out += self._added
        return out

    def backward(self, gradient: Array, wanted: bool) -> list[Array] | None:
        return [gradient * self._factor] if wanted else None


KINDS: dict[type, type[Operation]] = {
    keras.layers.AveragePooling1D: _AveragePooling,
    keras.layers.AveragePooling2D: _AveragePooling,
    keras.layers.Conv1D: _Convolution,
    keras.layers.Conv2D: _Convolution,
    keras.layers.GlobalAveragePooling1D: _GlobalAveragePooling,
    keras.layers.GlobalAveragePooling2D: _GlobalAveragePooling,
    keras.layers.GlobalMaxPooling1D: _GlobalMaxPooling,
    keras.layers.GlobalMaxPooling2D: _GlobalMaxPooling,
    keras.layers.MaxPooling1D: _MaxPooling,
    keras.layers.MaxPooling2D: _MaxPooling,
    keras.layers.Rescaling: _Rescaling,
}
