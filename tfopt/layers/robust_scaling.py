"""Scaling by what some rows of data say: of inputs, robust to outliers, and of targets."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

_LOWEST = float(np.finfo("float32").min)


class _FromData(keras.layers.Layer):
    """A layer whose numbers are measured on data, not trained: one of each for an entry of the last axis."""

    numbers: Sequence[tuple[str, float]]

    def __init__(self, **kwargs: Any):
        # Inputs as they come: half precision would round them before they are scaled.
        super().__init__(autocast=False, **kwargs)

    def build(self, input_shape: Any) -> None:
        """Create the numbers, so that nothing happens until data are seen."""
        for name, start in self.numbers:
            initializer = keras.initializers.Constant(start)
            shape = (input_shape[-1],)
            weight = self.add_weight(
                name=name, shape=shape, initializer=initializer, dtype="float32", autocast=False, trainable=False
            )
            setattr(self, name, weight)
        super().build(input_shape)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the inputs."""
        return input_shape


@keras.saving.register_keras_serializable(package="tfopt")
class RobustScaling(_FromData):
    """Centre each feature on its median, divide by its interquartile range, and bend outliers towards ±3.

    Use it as the first layer of a network for tables, in place of standardisation, which a few outliers spoil.
    `tfopt.initializers.from_data` measures medians and ranges on training rows, as `start_from_data` does for this
    layer alone; until then features are only bent.

    Formula: z/√(1 + (z/3)²), z = factor·(x - median); factor = 1/(interquartile range), or 2/(max - min) where that is
    0, or 0 for a constant.

    Args:
        **kwargs: Arguments of `keras.layers.Layer`.

    Example:
        ```python
        layer = tfopt.layers.RobustScaling()
        layer.start_from_data(np.array([[0.0], [1.0], [2.0], [3.0], [1000.0]]))
        print(np.asarray(layer(np.array([[2.0], [4.0], [1000.0]]))).round(2).ravel())  # [0.   0.95 3.  ]
        ```

    References:
        - Holzmüller, Grinsztajn, Steinwart (2024), "Better by Default: Strong Pre-Tuned MLPs and Boosted Trees on
          Tabular Data", https://arxiv.org/abs/2407.04491
    """

    numbers = (("center", 0.0), ("factor", 1.0))

    def start_from_data(self, inputs: Any) -> None:
        """Measure the medians and ranges of rows."""
        rows = np.asarray(ops.convert_to_numpy(inputs), "float64")
        if not self.built:
            self.build(rows.shape)
        lower, middle, upper = np.percentile(rows, [25, 50, 75], axis=0)
        spread = np.where(upper > lower, upper - lower, (rows.max(axis=0) - rows.min(axis=0)) / 2)
        self.center.assign(middle)
        self.factor.assign(np.where(spread > 0, 1 / np.where(spread > 0, spread, 1), 0))

    def call(self, inputs: Any) -> Any:
        """Return the scaled inputs."""
        scaled = (ops.cast(inputs, "float32") - self.center) * self.factor
        scaled = ops.clip(scaled, -1e15, 1e15)  # whose squares do not overflow
        return ops.cast(scaled * ops.rsqrt(1.0 + ops.square(scaled / 3.0)), self.compute_dtype)


@keras.saving.register_keras_serializable(package="tfopt")
class TargetScaling(_FromData):
    """Turn the outputs of a regression network into the targets' own unit, within the range of those seen.

    Use it as the last layer, so that a network that is made for standardised targets can be fitted to any.
    `tfopt.initializers.from_data` takes the numbers from training targets; until then nothing is changed. Predictions
    are clipped to the range of those targets in inference; in training they are not. The gradient that goes back is
    divided by the variance: that of a squared error on standardised targets, so that clipping and Adam's epsilon act
    as if the targets were.

    Formula: standard deviation · x + mean.

    Args:
        **kwargs: Arguments of `keras.layers.Layer`.

    Example:
        ```python
        layer = tfopt.layers.TargetScaling()
        layer.start_from_targets(np.array([[10.0], [30.0]]))
        print(np.asarray(layer(np.array([[0.5], [2.0]]))).tolist())  # [[25.0], [30.0]]
        ```
    """

    numbers = (("mean", 0.0), ("scale", 1.0), ("lowest", _LOWEST), ("highest", -_LOWEST))

    def start_from_targets(self, targets: Any) -> None:
        """Measure mean, standard deviation and range of targets."""
        rows = np.asarray(ops.convert_to_numpy(targets), "float64")
        rows = rows.reshape(len(rows), -1)
        if not self.built:
            self.build(rows.shape)
        spread = rows.std(axis=0)
        for weight, value in (
            (self.mean, rows.mean(axis=0)),
            (self.scale, np.where(spread > 0, spread, 1.0)),
            (self.lowest, rows.min(axis=0)),
            (self.highest, rows.max(axis=0)),
        ):
            weight.assign(value)

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Return the outputs in the targets' unit."""
        inputs = ops.cast(inputs, "float32")
        outputs = inputs * self.scale + self.mean
        if not training:
            return ops.clip(outputs, ops.convert_to_tensor(self.lowest), ops.convert_to_tensor(self.highest))
        slow = inputs / self.scale
        return slow + ops.stop_gradient(outputs - slow)
