"""Variance scaling: Glorot's, He's and LeCun's rules, and one for any activation, with the right fans."""

import math
from collections.abc import Sequence
from typing import Any

import keras

from tfopt._arguments import Number, Value, choice_argument, seed_argument, value_argument
from tfopt.initializers.base import DISTRIBUTIONS, RandomInitializer, draw, float_dtype, scaled
from tfopt.initializers.fans import LAYOUTS, check_fans, compute_fans
from tfopt.initializers.gains import MODES
from tfopt.initializers.gains import gain as gain_of

_FANS = {"forward": "fan_in", "backward": "fan_out", "average": "fan_avg"}


class _Scaling(RandomInitializer, keras.initializers.VarianceScaling):
    """Standard deviation `gain · rule / √fan`.

    A `keras.initializers.VarianceScaling`, so that `EinsumDense` and the attention layers tell it their axes.
    """

    _rule = 1.0

    def __init__(
        self,
        gain: Number,
        mode: str,
        distribution: str,
        seed: Any,
        layout: str,
        groups: int,
        strides: int | Sequence[int],
        input_axes: Sequence[int] | None,
        output_axes: Sequence[int] | None,
    ):
        owner = type(self).__name__
        self.gain = value_argument(gain, owner, "gain")
        self.mode = choice_argument(mode, owner, "mode", tuple(_FANS.values()))
        self.distribution = choice_argument(distribution, owner, "distribution", DISTRIBUTIONS)
        self.seed = seed_argument(seed, owner)
        self.layout = choice_argument(layout, owner, "layout", LAYOUTS)
        self.groups = groups
        self.strides = strides
        self.input_axes = input_axes
        self.output_axes = output_axes
        check_fans(owner, groups, strides, input_axes, output_axes)

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Any:
        """Return a new weight of `shape`."""
        fan_in, fan_out = compute_fans(shape, self.layout, self.groups, self.strides, self.input_axes, self.output_axes)
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        stddev = self._rule / math.sqrt(max(fan, 1.0))
        return scaled(draw(shape, stddev, self.distribution, self.seed, float_dtype(dtype)), self.gain)


@keras.saving.register_keras_serializable(package="tfopt")
class VarianceScaling(_Scaling):
    """Zero-mean weights whose standard deviation is `gain / √fan`.

    Use it where the gain is not that of a named rule, or changes. Keras's `VarianceScaling(scale)` is
    `VarianceScaling(gain=scale**0.5)`.


    Args:
        gain: Factor on the standard deviation: a number, a tensor or a variable; a stack of N values
            gives N kernels, the same draw at N sizes.
        mode: `"fan_in"`, `"fan_out"` or `"fan_avg"`.
        distribution: `"truncated_normal"` (cut at two standard deviations), `"normal"` or `"uniform"`, all of the same
            realised standard deviation.
        seed: None for a new draw at every call, an integer, or a `keras.random.SeedGenerator`.
        layout: What the kernel's axes mean: `"auto"`, `"depthwise"` or `"transposed"`; see `compute_fans`.
        groups: Groups of a grouped convolution.
        strides: Strides of the layer.
        input_axes: Axes that an output sums over, with `output_axes` in place of the layout. `EinsumDense` and the
            attention layers fill them in.
        output_axes: Axes of the outputs.

    Raises:
        ValueError: Unknown choice, or a gain that is negative or not finite.
        TypeError: A gain or seed of the wrong type.

    Example:
        ```python
        he = tfopt.initializers.VarianceScaling(gain=2**0.5, layout="depthwise", seed=0)
        print(f"{float(keras.ops.std(he((3, 3, 9999, 1)))):.2f}")  # 0.47, which is √(2/9)
        ```

    References:
        - He, Zhang, Ren, Sun (2015), "Delving deep into rectifiers", https://arxiv.org/abs/1502.01852
    """

    def __init__(
        self,
        gain: Number = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: Any = None,
        layout: str = "auto",
        groups: int = 1,
        strides: int | Sequence[int] = 1,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
    ):
        super().__init__(gain, mode, distribution, seed, layout, groups, strides, input_axes, output_axes)


@keras.saving.register_keras_serializable(package="tfopt")
class Glorot(_Scaling):
    """Glorot's (Xavier's) rule: weights that keep signal and gradient at one size through linear or tanh-like layers.

    Use it for tanh, softsign, sigmoid-like outputs and attention. Standard deviation `gain · √(2 / (fan_in +
    fan_out))`.


    Args:
        gain: Factor on the rule's standard deviation: a number, a tensor or a variable; a stack of N values
            gives N kernels, the same draw at N sizes.
        distribution: `"truncated_normal"` (cut at two standard deviations), `"normal"` or `"uniform"`, all of the same
            realised standard deviation.
        seed: None for a new draw at every call, an integer, or a `keras.random.SeedGenerator`.
        layout: What the kernel's axes mean: `"auto"`, `"depthwise"` or `"transposed"`; see `compute_fans`.
        groups: Groups of a grouped convolution.
        strides: Strides of the layer.
        input_axes: Axes that an output sums over, with `output_axes` in place of the layout. `EinsumDense` and the
            attention layers fill them in.
        output_axes: Axes of the outputs.

    Raises:
        ValueError: Unknown choice, or a gain that is negative or not finite.
        TypeError: A gain or seed of the wrong type.

    Example:
        ```python
        glorot = tfopt.initializers.Glorot(distribution="uniform", seed=0)
        print(f"{float(keras.ops.max(glorot((300, 300)))):.2f}")  # 0.10, which is √(6/600)
        ```

    References:
        - Glorot, Bengio (2010), "Understanding the difficulty of training deep feedforward neural networks",
          https://proceedings.mlr.press/v9/glorot10a.html
    """

    def __init__(
        self,
        gain: Number = 1.0,
        distribution: str = "truncated_normal",
        seed: Any = None,
        layout: str = "auto",
        groups: int = 1,
        strides: int | Sequence[int] = 1,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
    ):
        super().__init__(gain, "fan_avg", distribution, seed, layout, groups, strides, input_axes, output_axes)


@keras.saving.register_keras_serializable(package="tfopt")
class He(_Scaling):
    """He's (Kaiming's) rule: weights that make up for the half of the signal that a ReLU cuts off.

    Use it for ReLU networks, above all deep ones. Standard deviation `gain · √(2 / fan_in)`.


    Args:
        gain: Factor on the rule's standard deviation: a number, a tensor or a variable; a stack of N values
            gives N kernels, the same draw at N sizes.
        distribution: `"truncated_normal"` (cut at two standard deviations), `"normal"` or `"uniform"`, all of the same
            realised standard deviation.
        seed: None for a new draw at every call, an integer, or a `keras.random.SeedGenerator`.
        layout: What the kernel's axes mean: `"auto"`, `"depthwise"` or `"transposed"`; see `compute_fans`.
        groups: Groups of a grouped convolution.
        strides: Strides of the layer.
        input_axes: Axes that an output sums over, with `output_axes` in place of the layout. `EinsumDense` and the
            attention layers fill them in.
        output_axes: Axes of the outputs.

    Raises:
        ValueError: Unknown choice, or a gain that is negative or not finite.
        TypeError: A gain or seed of the wrong type.

    Example:
        ```python
        he = tfopt.initializers.He(seed=0)
        print(f"{float(keras.ops.std(he((200, 1000)))):.2f}")  # 0.10, which is √(2/200)
        ```

    References:
        - He, Zhang, Ren, Sun (2015), "Delving deep into rectifiers", https://arxiv.org/abs/1502.01852
    """

    _rule = math.sqrt(2)

    def __init__(
        self,
        gain: Number = 1.0,
        distribution: str = "truncated_normal",
        seed: Any = None,
        layout: str = "auto",
        groups: int = 1,
        strides: int | Sequence[int] = 1,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
    ):
        super().__init__(gain, "fan_in", distribution, seed, layout, groups, strides, input_axes, output_axes)


@keras.saving.register_keras_serializable(package="tfopt")
class LeCun(_Scaling):
    """LeCun's rule: unit-variance inputs give unit-variance sums.

    Use it for linear layers and for SELU, whose own gain is 1. Standard deviation `gain · √(1 / fan_in)`.


    Args:
        gain: Factor on the rule's standard deviation: a number, a tensor or a variable; a stack of N values
            gives N kernels, the same draw at N sizes.
        distribution: `"truncated_normal"` (cut at two standard deviations), `"normal"` or `"uniform"`, all of the same
            realised standard deviation.
        seed: None for a new draw at every call, an integer, or a `keras.random.SeedGenerator`.
        layout: What the kernel's axes mean: `"auto"`, `"depthwise"` or `"transposed"`; see `compute_fans`.
        groups: Groups of a grouped convolution.
        strides: Strides of the layer.
        input_axes: Axes that an output sums over, with `output_axes` in place of the layout. `EinsumDense` and the
            attention layers fill them in.
        output_axes: Axes of the outputs.

    Raises:
        ValueError: Unknown choice, or a gain that is negative or not finite.
        TypeError: A gain or seed of the wrong type.

    Example:
        ```python
        lecun = tfopt.initializers.LeCun(seed=0)
        print(f"{float(keras.ops.std(lecun((100, 2000)))):.2f}")  # 0.10, which is √(1/100)
        ```

    References:
        - LeCun, Bottou, Orr, Müller (1998), "Efficient BackProp", https://doi.org/10.1007/3-540-49430-8_2
        - Klambauer, Unterthiner, Mayr, Hochreiter (2017), "Self-Normalizing Neural Networks",
          https://arxiv.org/abs/1706.02515
    """

    def __init__(
        self,
        gain: Number = 1.0,
        distribution: str = "truncated_normal",
        seed: Any = None,
        layout: str = "auto",
        groups: int = 1,
        strides: int | Sequence[int] = 1,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
    ):
        super().__init__(gain, "fan_in", distribution, seed, layout, groups, strides, input_axes, output_axes)


def for_activation(
    activation: Any,
    mode: str = "forward",
    gain: Value = 1.0,
    distribution: str = "truncated_normal",
    seed: Any = None,
    layout: str = "auto",
) -> VarianceScaling:
    """Return the initializer for a layer that is followed by `activation`, whichever it is.

    Use it to pair an activation with its initialisation by name, in a search for example: it is He's rule for ReLU,
    LeCun's for SELU and linear, and what the quadrature of `gain` says for GELU, SiLU, tanh and the others. The rule
    holds for inputs of unit size; where an activation drives other sizes away from it, as GELU does, the spread still
    drifts over dozens of layers (from 0.9 to 4.6 over 30): use `lsuv` there.

    Args:
        activation: A Keras name, function or layer; None is linear.
        mode: `"forward"` keeps the activations' size (fan-in), `"backward"` the gradients' (fan-out), `"average"`
            goes between.
        gain: Further factor on the standard deviation: a number, a tensor or a variable.
        distribution: `"truncated_normal"`, `"normal"` or `"uniform"`.
        seed: None for a new draw at every call, an integer, or a `keras.random.SeedGenerator`.
        layout: What the kernel's axes mean: `"auto"`, `"depthwise"` or `"transposed"`; see `compute_fans`.

    Returns:
        A `VarianceScaling` initializer.

    Raises:
        ValueError: Unknown activation, mode or distribution, or an activation without a gain (softmax).

    Example:
        ```python
        layer = keras.layers.Dense(
            64, activation="gelu", kernel_initializer=tfopt.initializers.for_activation("gelu")
        )
        ```
    """
    choice_argument(mode, "for_activation", "mode", MODES)
    gain = value_argument(gain, "for_activation", "gain")
    return VarianceScaling(gain_of(activation, mode) * gain, _FANS[mode], distribution, seed, layout)
