"""How many inputs an output sees: the fans of every layout of kernel that Keras has."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from tfopt._arguments import axes_argument, choice_argument, count_argument, is_list, whole_numbers

LAYOUTS = ("auto", "depthwise", "transposed")


def compute_fans(
    shape: Sequence[int],
    layout: str = "auto",
    groups: int = 1,
    strides: int | Sequence[int] = 1,
    input_axes: Sequence[int] | None = None,
    output_axes: Sequence[int] | None = None,
) -> tuple[float, float]:
    """Return fan-in (inputs that one output sums over) and fan-out (outputs that one input reaches).

    A kernel's shape alone does not say what its axes mean, and Keras takes every kernel for that of a dense layer or
    a plain convolution: `HeNormal` on a 64-channel depthwise layer comes out 8 times too small.

    Args:
        shape: The kernel's shape.
        layout: `"auto"` for dense kernels (in, out) and convolutions (*window, in, out), also grouped ones and the
            pointwise half of separable ones; `"depthwise"` for (*window, channels, multiplier), also the depthwise
            half of separable ones; `"transposed"` for (*window, out, in).
        groups: Groups of a grouped convolution. Its kernel's shape already says the fan-in; the fan-out needs it.
        strides: Strides of the layer, one for all or one an axis. A transposed convolution with stride s shows each
            output only 1/s of the window; a plain one shows each input only to 1/s of the outputs.
        input_axes: Axes that one output sums over, for any other kernel (attention, `EinsumDense`); with
            `output_axes` it overrides the layout.
        output_axes: Axes of the outputs.

    Returns:
        `(fan_in, fan_out)`, floats since strides can divide them.

    Raises:
        ValueError: Unknown layout, groups or strides below 1, or only one of the two lists of axes.

    Example:
        ```python
        print(tfopt.initializers.compute_fans((3, 3, 64, 1), layout="depthwise"))  # (9.0, 9.0)
        ```
    """
    choice_argument(layout, "compute_fans", "layout", LAYOUTS)
    if isinstance(shape, str) or not isinstance(shape, Iterable):
        raise TypeError(f"Argument `shape` of compute_fans must be a list of whole numbers. Received: shape={shape!r}.")
    shape = list(shape)  # of a `tf.TensorShape`, too
    shape = whole_numbers("shape", shape, 0, "compute_fans") if shape else []
    check_fans("compute_fans", groups, strides, input_axes, output_axes)
    if input_axes is not None and output_axes is not None:
        return float(math.prod(shape[axis] for axis in input_axes)), float(
            math.prod(shape[axis] for axis in output_axes)
        )
    if len(shape) == 0:
        return 1.0, 1.0
    if len(shape) == 1:
        return float(shape[0]), float(shape[0])
    *window, first, second = shape
    size = math.prod(window)
    each: Any = strides
    thinning = math.prod(each if is_list(each) else [each] * len(window))
    if layout == "depthwise":
        return float(size), size * second / thinning
    if layout == "transposed":
        return size * second / thinning, float(size * first)
    return float(size * first), size * second / groups / thinning


def check_fans(owner: str, groups: Any, strides: Any, input_axes: Any, output_axes: Any) -> None:
    """Check what `compute_fans` is told beside the shape and the layout."""
    count_argument(groups, owner, "groups")
    if is_list(strides):
        whole_numbers("strides", strides, owner=owner)
    else:
        count_argument(strides, owner, "strides")
    if (input_axes is None) != (output_axes is None):
        raise ValueError(
            "Arguments `input_axes` and `output_axes` go together. "
            f"Received: input_axes={input_axes}, output_axes={output_axes}."
        )
    for name, axes in (("input_axes", input_axes), ("output_axes", output_axes)):
        if axes is not None:
            axes_argument(axes, owner, name)
