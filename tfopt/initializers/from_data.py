"""Initialisation that looks at the data: kernels of unit variance, biases at the data, and what layers measure."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tfopt._arguments import Number, count_argument, seed_argument, value_argument
from tfopt._layers import sublayers
from tfopt.initializers.base import RandomInitializer
from tfopt.initializers.scaling import draw, float_dtype, scaled


@keras.saving.register_keras_serializable(package="tfopt")
class UnitVariance(RandomInitializer):
    """Normal kernels that `tfopt.initializers.from_data` scales until each unit has a variance of one on data.

    Use it for layers whose inputs are of unknown scale, such as embeddings beside one-hots. Unlike
    `tfopt.initializers.lsuv`, which takes the whole layer's spread, every unit gets its own factor.

    Args:
        stddev: Standard deviation until data are seen, >= 0: a number, a tensor or a variable.
        seed: None for a new draw at every call, an integer, or a `keras.random.SeedGenerator`.

    Raises:
        ValueError: A negative standard deviation.
        TypeError: An argument of the wrong type.

    Example:
        ```python
        dense = keras.layers.Dense(8, kernel_initializer=tfopt.initializers.UnitVariance())
        model, x = keras.Sequential([keras.Input((4,)), dense]), keras.random.normal((256, 4), stddev=5.0)
        started = tfopt.initializers.from_data(model, x)
        print(f"{float(keras.ops.std(model(x)[:, 0])):.2f}")  # 1.00
        ```

    References:
        - Holzmüller, Grinsztajn, Steinwart (2024), "Better by Default: Strong Pre-Tuned MLPs and Boosted Trees on
          Tabular Data", https://arxiv.org/abs/2407.04491
    """

    def __init__(self, stddev: Number = 1.0, seed: Any = None):
        self.stddev = value_argument(stddev, "UnitVariance", "stddev")
        self.seed = seed_argument(seed, "UnitVariance")

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Any:
        """Return a new weight of `shape`."""
        return scaled(draw(shape, 1.0, "normal", self.seed, float_dtype(dtype)), self.stddev)


@keras.saving.register_keras_serializable(package="tfopt")
class HePlusBias(RandomInitializer):
    """Biases that `tfopt.initializers.from_data` sets so that each ReLU's kink lies among the data; else zeros.

    Use it with activations that bend at zero: with zero biases all units bend at the mean of standardised data.
    A bias is minus a random mean of what its unit makes of a few rows: Σ w_j z(row_j), w exponential and normalised.

    Args:
        num_rows: How many rows; 5 in RealMLP ("he+5").

    Raises:
        ValueError: `num_rows` is below 1.
        TypeError: `num_rows` is no whole number.

    Example:
        ```python
        dense = keras.layers.Dense(8, "relu", bias_initializer=tfopt.initializers.HePlusBias())
        model, x = keras.Sequential([keras.Input((4,)), dense]), keras.random.normal((256, 4))
        tfopt.initializers.from_data(model, x)
        print(bool(keras.ops.all(dense.bias != 0)))  # True
        ```

    References:
        - Steinwart (2019), "A Sober Look at Neural Network Initializations", https://arxiv.org/abs/1903.11482
    """

    def __init__(self, num_rows: int = 5):
        self.num_rows = count_argument(num_rows, "HePlusBias", "num_rows")

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Any:
        """Return zeros."""
        return ops.zeros(shape, dtype=float_dtype(dtype))

    def of_outputs(self, outputs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the bias of each unit whose outputs without bias, (rows, units), are these."""
        units = outputs.shape[-1]
        rows = rng.integers(0, len(outputs), (self.num_rows, units))
        weights = rng.exponential(size=rows.shape)
        return -np.sum(outputs[rows, np.arange(units)] * weights / weights.sum(axis=0), axis=0)


def from_data(model: keras.Model, x: Any, y: Any = None, seed: int = 0) -> list[str]:
    """Set the initial weights that depend on data, layer by layer, in one pass over some rows.

    Kernels of `UnitVariance`, biases of `HePlusBias` and the layers of `tfopt.layers` that measure something: the
    medians and ranges of `RobustScaling`, the edges of `PiecewiseLinearEmbedding`, and, from the targets, the unit
    and range of `TargetScaling`. Each sees the rows as the layers before it, already started, pass them on. Everything
    else stays as it is. Use it once, before training, with training rows.

    Args:
        model: The model; it is built by `x` if it is not yet.
        x: Inputs, as the model takes them, or a data frame: all training rows, or a few thousand of them.
        y: Targets of the same rows, for `TargetScaling`; None leaves that layer as it is.
        seed: Seed of the rows that biases are made of.

    Returns:
        Names of the layers that were started, in the order of the forward pass.

    Raises:
        ValueError: A layer that is to be started is not reached by the forward pass, or has another form than a dense
            layer or a convolution.

    Example:
        ```python
        scaling = tfopt.layers.RobustScaling(name="scaling")
        model = keras.Sequential([keras.Input((4,)), scaling, keras.layers.Dense(1)])
        print(tfopt.initializers.from_data(model, keras.random.normal((256, 4))))  # ['scaling']
        ```
    """
    x, y = (part.to_numpy() if hasattr(part, "to_numpy") else part for part in (x, y))
    if not model.built:
        model(x, training=False)
    rng = np.random.default_rng(count_argument(seed, "from_data", "seed", 0))
    layers = [layer for layer in [model, *sublayers(model)] if _looks_at_data(layer)]
    started: list[keras.Layer] = []
    try:
        for layer in layers:
            object.__setattr__(layer, "call", _starting(layer, layer.call, rng, started))
        model(x, training=False)
    finally:
        for layer in layers:
            object.__delattr__(layer, "call")
    missed = [layer.name for layer in layers if layer not in started]
    if missed:
        raise ValueError(f"The forward pass does not reach the layers {', '.join(missed)}, which look at data.")
    for layer in [model, *sublayers(model)]:
        if y is not None and hasattr(layer, "start_from_targets"):
            layer.start_from_targets(y)
            started.append(layer)
    return [layer.name for layer in started]


def _looks_at_data(layer: keras.Layer) -> bool:
    return (
        hasattr(layer, "start_from_data")
        or isinstance(getattr(layer, "kernel_initializer", None), UnitVariance)
        or isinstance(getattr(layer, "bias_initializer", None), HePlusBias)
    )


def _starting(layer: Any, call: Callable[..., Any], rng: np.random.Generator, started: list[Any]) -> Callable[..., Any]:
    """`call`, which starts the layer from the inputs that it is first called with."""

    def starting(inputs: Any, *arguments: Any, **options: Any) -> Any:
        if layer not in started:
            started.append(layer)
            if hasattr(layer, "start_from_data"):
                layer.start_from_data(inputs)
            else:
                _start_weights(layer, call, inputs, rng)
        return call(inputs, *arguments, **options)

    return starting


def _start_weights(layer: Any, call: Callable[..., Any], inputs: Any, rng: np.random.Generator) -> None:
    kernel, bias, activation = layer.kernel, getattr(layer, "bias", None), layer.activation
    if bias is not None:
        bias.assign(np.zeros(bias.shape))
    layer.activation = keras.activations.linear
    try:
        outputs = ops.convert_to_numpy(ops.cast(call(inputs), "float32")).astype("float64")
    finally:
        layer.activation = activation
    units = outputs.shape[-1]
    if kernel.shape[-1] != units or (bias is not None and tuple(bias.shape) != (units,)):
        raise ValueError(
            f"Layer {layer.name!r} cannot be started from data: its kernel {tuple(kernel.shape)} or its bias is not "
            f"one of {units} units. Give it other initializers than UnitVariance and HePlusBias."
        )
    outputs = outputs.reshape(-1, units)
    if isinstance(getattr(layer, "kernel_initializer", None), UnitVariance):
        spread = outputs.std(axis=0)
        spread = np.where(spread > 0, spread, 1.0)  # a unit that is constant on these rows has no scale to set
        kernel.assign(kernel.numpy() / spread)
        outputs /= spread
    if bias is not None and isinstance(getattr(layer, "bias_initializer", None), HePlusBias):
        bias.assign(layer.bias_initializer.of_outputs(outputs, rng))
