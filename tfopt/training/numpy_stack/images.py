"""Operations of images (members, rows, height, width, channels) and of sequences (members, rows, steps, channels).

A convolution copies windows of the image side by side, so that it is a product (Chellapilla et al., 2006). In memory
the rows come last here, (members, height, channels, width, rows), which makes long runs of neighbours; and an image is
copied for each place in the width of a window only: what a window sees of the lines below each other lies below each
other then. Few members or lines at a time, so that the windows stay in the cache. Beside each window stands a 1, by
which the bias is a number of the kernel.
"""

import itertools
import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from tfopt.errors import CannotStack
from tfopt.training.numpy_stack.layers import TURNED_FIRST, Array, KernelOperation, Operation, Views, plain
from tfopt.training.numpy_stack.numbers import MemberNumbers, Workspace

_AT_A_TIME = 1 << 20  # numbers of windows that are multiplied at a time


def _rows_last(images: Array) -> Array:
    """Return a view (members, height, channels, width, rows) of images (members, rows, height, width, channels)."""
    return images.transpose(0, 2, 4, 3, 1)


def _rows_first(images: Array) -> Array:
    """Return the view that `_rows_last` turned."""
    return images.transpose(0, 4, 1, 3, 2)


class _Windows:
    """The windows of an image, or of a sequence as an image of one line, that a layer looks at.

    Args:
        layer: A convolution or a pooling.
        size: Of a window, along each axis.

    Attributes:
        shape: Of the layer's input.
        inputs: (height, width, channels) of the image.
        padded: (height, channels, width), with what is added around it.
        outputs: (height, channels, width): the windows of each channel.
        size: (height, width) of one.
        strides: From one to the next.
        apart: From one place in a window to the next.

    Raises:
        CannotStack: The channels are not last.
    """

    def __init__(self, layer: Any, size: Sequence[int]):
        if layer.data_format != "channels_last":
            raise CannotStack(f"{layer.name} takes channels first")
        self.shape = tuple(layer.input.shape[1:])
        *space, channels = self.shape
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
        self.inputs = *lengths, channels
        self.padded, self.outputs = ((high, channels, wide) for high, wide in (padded, outputs))
        down, across = (slice(start, start + length) for start, length in zip(before, lengths, strict=True))
        self._inside = ..., down, slice(None), across, slice(None)

    def pad(self, images: Array, value: float, workspace: Workspace) -> Array:
        """Return the layer's input, rows last, with a value around it."""
        images = _rows_last(images.reshape(*images.shape[:2], *self.inputs))
        shape = len(images), *self.padded, images.shape[-1]
        if images.shape == shape:
            return np.ascontiguousarray(images)
        out = workspace("padded", shape)
        out[...] = value
        out[self._inside] = images
        return out

    def crop(self, padded: Array) -> Array:
        """Return a view of the images within what was padded."""
        return padded[self._inside]

    def gradient(self, gradient: Array) -> Array:
        """Return the gradient of the layer's output, rows last."""
        high, _, wide = self.outputs
        return _rows_last(gradient.reshape(*gradient.shape[:2], high, wide, -1))

    def places(self) -> Iterator[tuple[Any, ...]]:
        """Yield where in a padded image all windows have their first number, their second, …"""
        for place in itertools.product(*map(range, self.size)):
            starts = [number * distance for number, distance in zip(place, self.apart, strict=True)]
            parts = zip(starts, self.outputs[::2], self.strides, strict=True)
            down, across = (slice(start, start + (n - 1) * by + 1, by) for start, n, by in parts)
            yield ..., down, slice(None), across, slice(None)


class _Convolution(KernelOperation):
    """`keras.layers.Conv1D` and `Conv2D`."""

    has_axes = True

    def __init__(self, layer: Any, numbers: MemberNumbers):
        super().__init__(layer, numbers)
        plain(layer, ("kernel_constraint", "bias_constraint", "lora_enabled", "quantization_mode"))
        if layer.groups != 1:
            raise CannotStack(f"{layer.name} has groups")
        self._windows = _Windows(layer, layer.kernel_size)

    def load(self, weights: Views, gradients: Views, states: Views) -> None:
        super().load(weights, gradients, states)
        (high, wide), channels, filters = self._windows.size, self._windows.inputs[-1], self.layer.filters
        self._by_lines = len(self._kernel), high, wide * channels, filters
        # The kernel turned, and the gradient of the kernel: with the bias after the first of its lines.
        self._turned = np.zeros((len(self._kernel), filters, high, wide * channels + 1), "float32")
        self._whole_gradient = np.empty((len(self._kernel), high, wide * channels + 1, filters), "float32")

    def forward(self, inputs: Sequence[Array], training: bool) -> Array:
        windows, (members, rows) = self._windows, inputs[0].shape[:2]
        self._images = windows.pad(inputs[0], 0, self.workspace)
        self._turned[..., :-1] = np.moveaxis(self._kernel.reshape(self._by_lines), -1, 1)
        if self._bias is not None:
            self._turned[:, :, 0, -1] = self._bias[:, 0]
        turned = self._turned.reshape(members, 1, self.layer.filters, -1)
        high, _, wide = windows.outputs
        z = self.workspace("output", (members, high, self.layer.filters, wide * rows))
        for place in self._parts():
            np.matmul(turned[place[0]], self._columns(place), out=z[place])
        out = self.activate(z, training).reshape(members, high, -1, wide, rows)
        return _rows_first(out).reshape(members, rows, *self.shape)

    def backward(self, gradient: Array, wanted: bool) -> list[Array] | None:
        windows, (members, rows) = self._windows, gradient.shape[:2]
        gradient = self.through(windows.gradient(gradient).reshape(self._output.shape))
        back = self.workspace("back", (members, *windows.padded, rows))
        back[...] = 0
        kernel = self._kernel.reshape(self._by_lines)[:, ::-1]
        self._kernel_back = np.ascontiguousarray(kernel.swapaxes(1, 2)).reshape(members, 1, kernel.shape[2], -1)
        for place in self._parts():
            own, columns = gradient[place], self._columns(place)
            turned = own.swapaxes(2, 3)
            if columns.shape[2] >= TURNED_FIRST:
                turned = self.workspace("turned", turned.shape)
                np.copyto(turned, own.swapaxes(2, 3))
            found = np.matmul(columns, turned).sum(axis=1).reshape(len(own), *self._whole_gradient.shape[1:])
            if place[1].start:
                self._whole_gradient[place[0]] += found
            else:
                self._whole_gradient[place[0]] = found
            if wanted:
                self._spread(own, place, back)
        self._kernel_gradient.reshape(self._by_lines)[...] = self._whole_gradient[:, :, :-1]
        if self._bias_gradient is not None:
            self._bias_gradient[...] = self._whole_gradient[:, 0, -1]
        return [_rows_first(windows.crop(back)).reshape(members, rows, *windows.shape)] if wanted else None

    def _parts(self) -> Iterator[tuple[slice, slice]]:
        """Yield some members and lines of the output at a time."""
        windows, members = self._windows, len(self._images)
        high, _, wide = windows.outputs
        of_line = math.prod(windows.size) * windows.inputs[-1] * wide * self._images.shape[-1]
        lines = max(1, _AT_A_TIME // of_line)
        together = max(1, lines // high)
        for first, start in itertools.product(range(0, members, together), range(0, high, lines)):
            yield slice(first, min(first + together, members)), slice(start, min(start + lines, high))

    def _lines(self, place: tuple[slice, slice]) -> slice:
        """Return the lines of the image that some lines of the output see."""
        windows = self._windows
        first, last = (line * windows.strides[0] for line in (place[1].start, place[1].stop - 1))
        return slice(first, last + (windows.size[0] - 1) * windows.apart[0] + 1)

    def _columns(self, place: tuple[slice, slice]) -> Array:
        """Return (members, lines, numbers of a window, width · rows): the windows of some lines of the output."""
        windows, images, lines = self._windows, self._images, self._lines(place)
        (high, wide), across, rows = windows.size, windows.outputs[-1], images.shape[-1]
        members, number, channels = place[0].stop - place[0].start, lines.stop - lines.start, images.shape[2]
        # Views by their strides; `as_strided` takes as long as the copy.
        member, line, channel, column, row = images.strides
        start = place[0].start * member + lines.start * line
        shape = members, number, wide, channels, across, rows
        strides = member, line, windows.apart[1] * column, channel, windows.strides[1] * column, row
        columns = self.workspace("columns", (members, number, wide * channels + 1, across * rows))
        np.copyto(columns[:, :, :-1].reshape(shape), np.ndarray(shape, "float32", images, start, strides))
        columns[:, :, -1] = 1
        member, line, *others = columns.strides
        shape = members, place[1].stop - place[1].start, high, *columns.shape[2:]
        strides = member, windows.strides[0] * line, windows.apart[0] * line, *others
        seen = np.ndarray(shape, "float32", columns, 0, strides)
        return seen.reshape(*shape[:2], -1, shape[-1])  # a view where the lines of a window are neighbours

    def _spread(self, gradient: Array, place: tuple[slice, slice], back: Array) -> None:
        """Add the gradient of some lines of the output to that of the padded image."""
        windows, lines = self._windows, self._lines(place)
        (high, wide), (below, beside) = windows.size, windows.strides
        (_, channels, _), across = windows.padded, windows.outputs[-1]
        members, number, filters, length = gradient.shape
        # A line of the image has the gradient of the lines that see it, which lie below each other too.
        reach, size = (high - 1) * windows.apart[0], lines.stop - lines.start
        apart = self.workspace("apart", (members, size + reach, filters, length))
        apart[...] = 0
        apart[:, reach : reach + (number - 1) * below + 1 : below] = gradient
        member, line, *others = apart.strides
        shape, strides = (members, size, high, filters, length), (member, line, windows.apart[0] * line, *others)
        seen = np.ndarray(shape, "float32", apart, 0, strides).reshape(members, size, -1, length)
        of_lines = self.workspace("back of lines", (members, size, wide * channels, length))
        np.matmul(self._kernel_back[place[0]], seen, out=of_lines)
        of_lines = of_lines.reshape(members, size, wide, channels, across, -1)
        for column in range(wide):
            first = column * windows.apart[1]
            places = slice(first, first + (across - 1) * beside + 1, beside)
            back[place[0], lines, :, places] += of_lines[:, :, column]


class _Pooling(Operation):
    """What the largest and the mean of each window share."""

    has_axes = True
    outside: float  # what is around the images

    def __init__(self, layer: Any, numbers: MemberNumbers):
        super().__init__(layer, numbers)
        self._windows = _Windows(layer, layer.pool_size)

    def forward(self, inputs: Sequence[Array], training: bool) -> Array:
        members, rows = inputs[0].shape[:2]
        padded = self._windows.pad(inputs[0], self.outside, self.workspace)
        out = self.workspace("output", (members, *self._windows.outputs, rows))
        return _rows_first(self.pooled(padded, out)).reshape(members, rows, *self.shape)

    def backward(self, gradient: Array, wanted: bool) -> list[Array] | None:
        members, rows = gradient.shape[:2]
        windows = self._windows
        back = self.workspace("back", (members, *windows.padded, rows))
        back[...] = 0
        self.spread(windows.gradient(gradient), back)
        return [_rows_first(windows.crop(back)).reshape(members, rows, *windows.shape)]

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
        inside = np.zeros((*self._windows.padded, 1), "float32")
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
        return pooled.reshape(*pooled.shape[:2], *self.shape)


class _GlobalAveragePooling(_GlobalPooling):
    """`keras.layers.GlobalAveragePooling1D` and `GlobalAveragePooling2D`."""

    def forward(self, inputs: Sequence[Array], training: bool) -> Array:
        self._shape = inputs[0].shape
        axes = range(2, inputs[0].ndim - 1)
        pooled = inputs[0]
        for _ in axes:  # one after another is faster
            pooled = pooled.sum(axis=2)
        pooled /= np.float32(math.prod(self._shape[2:-1]))
        return self.shaped(pooled)

    def backward(self, gradient: Array, wanted: bool) -> list[Array] | None:
        share = gradient / np.float32(math.prod(self._shape[2:-1]))
        return [np.broadcast_to(share.reshape(*share.shape[:2], *(1,) * (len(self._shape) - 3), -1), self._shape)]


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
