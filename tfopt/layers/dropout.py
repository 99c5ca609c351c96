"""Dropout whose rate can change while training."""

from collections.abc import Iterable
from typing import Any

import keras
from keras import ops
from keras.saving import register_keras_serializable

from tfopt._arguments import Number
from tfopt.layers._changing import ChangingLayer

# Klambauer et al. (2017): SELU's value far below 0, which alpha dropout writes in place of a dropped unit.
_ALPHA = -1.7580993408473766


class _ChangingRate(ChangingLayer):
    """A layer with a `rate` in [0, 1]."""

    def __init__(self, rate: Number, seed: int | None = None, **kwargs: Any):
        super().__init__(rate, limit=1.0, seed=seed, strength_name="rate", **kwargs)

    @property
    def rate(self) -> Any:
        """The variable (or tensor) that holds the rate; assign a number to change it."""
        return self.strength

    @rate.setter
    def rate(self, value: Any) -> None:
        self._change(value)


class _MaskedByShape(_ChangingRate):
    """Adds `noise_shape`."""

    def __init__(self, rate: Number, noise_shape: Any = None, seed: int | None = None, **kwargs: Any):
        super().__init__(rate, seed=seed, **kwargs)
        self.noise_shape = _checked_noise_shape(noise_shape)

    def mask_shape(self, inputs: Any) -> Any:
        """Return the shape of the mask."""
        shape = tuple(ops.shape(inputs))
        if self.noise_shape is None:
            return shape
        if len(self.noise_shape) != len(shape):
            raise ValueError(
                f"Argument `noise_shape` must have an entry for each of the inputs' {len(shape)} axes. "
                f"Received: noise_shape={self.noise_shape}."
            )
        return tuple(size if wanted is None else wanted for size, wanted in zip(shape, self.noise_shape, strict=True))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {**super().get_config(), "noise_shape": self.noise_shape}


@register_keras_serializable(package="tfopt")
class Dropout(_MaskedByShape):
    """Drop units at random in training, at a rate that may change from step to step.

    As `keras.layers.Dropout`, with the same masks for the same seed, for curricula (`tfopt.schedules.
    CurriculumDropout`), early and late dropout, and populations of members with a rate each.

    Formula: x·m/(1 - rate), m = 1 with probability 1 - rate and 0 otherwise. At rate 1 everything is 0.

    Args:
        rate: Float in [0, 1], or a variable, tensor, stack or schedule: the share of units that are dropped.
        noise_shape: Tuple of ints or None: shape of the mask, None for an axis as long as the inputs'; the inputs'
            shape by default.
        seed: Int or None.
        **kwargs: Arguments of `keras.layers.Layer`.

    Raises:
        ValueError: `rate` is not between 0 and 1, or `noise_shape` holds anything but positive integers and None.

    Example:
        ```python
        layer = tfopt.layers.Dropout(0.5)
        layer.rate = 0.0
        print(float(keras.ops.sum(layer(np.ones((2, 3)), training=True))))  # 6.0
        ```

    References:
        - Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov (2014), "Dropout: A Simple Way to Prevent Neural
          Networks from Overfitting", https://jmlr.org/papers/v15/srivastava14a.html
    """

    def disturb(self, inputs: Any, strength: Any) -> Any:
        """Keep a unit where a uniform draw is not below the rate, as TensorFlow does."""
        kept = _draw(self, inputs) >= ops.cast(strength, inputs.dtype)
        scale = ops.where(strength < 1.0, 1.0 / ops.where(strength < 1.0, 1.0 - strength, 1.0), 0.0)
        return ops.where(kept, inputs * ops.cast(scale, inputs.dtype), ops.zeros((), inputs.dtype))


class _SpatialDropout(Dropout):
    """Dropout of whole feature maps."""

    _axes: int

    def __init__(self, rate: Number, seed: int | None = None, **kwargs: Any):
        super().__init__(rate, seed=seed, **kwargs)
        self.input_spec = keras.layers.InputSpec(ndim=self._axes + 2)

    def mask_shape(self, inputs: Any) -> Any:
        """Return one element for each sample and channel."""
        shape = tuple(ops.shape(inputs))
        if getattr(self, "data_format", "channels_last") == "channels_first":
            return (*shape[:2], *(1,) * self._axes)
        return (shape[0], *(1,) * self._axes, shape[-1])

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        config = super().get_config()
        del config["noise_shape"]
        return config


@register_keras_serializable(package="tfopt")
class SpatialDropout1D(_SpatialDropout):
    """Drop whole channels of a sequence in training, at a rate that may change from step to step.

    Use it after `Conv1D`, where neighbouring values are so alike that dropping single ones changes little.

    Args:
        rate: Float in [0, 1], or a variable or tensor: the share of channels that are dropped.
        seed: Int or None.
        **kwargs: Arguments of `keras.layers.Layer`.

    Raises:
        ValueError: `rate` is not between 0 and 1.

    Example:
        ```python
        print(tfopt.layers.SpatialDropout1D(1.0)(np.ones((1, 2, 3)), training=True).shape)  # (1, 2, 3)
        ```

    References:
        - Tompson, Goroshin, Jain, LeCun, Bregler (2015), "Efficient Object Localization Using Convolutional Networks",
          https://arxiv.org/abs/1411.4280
    """

    _axes = 1


class _SpatialDropoutWithFormat(_SpatialDropout):
    """Adds `data_format`."""

    def __init__(self, rate: Number, data_format: str | None = None, seed: int | None = None, **kwargs: Any):
        super().__init__(rate, seed=seed, **kwargs)
        self.data_format = keras.config.image_data_format() if data_format is None else data_format
        if self.data_format not in ("channels_last", "channels_first"):
            raise ValueError(
                "Argument `data_format` must be 'channels_last' or 'channels_first'. Received: "
                f"data_format={data_format!r}."
            )

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {**super().get_config(), "data_format": self.data_format}


@register_keras_serializable(package="tfopt")
class SpatialDropout2D(_SpatialDropoutWithFormat):
    """Drop whole channels of images in training, at a rate that may change from step to step.

    Use it after `Conv2D`, where neighbouring values are so alike that dropping single ones changes little.

    Args:
        rate: Float in [0, 1], or a variable or tensor: the share of channels that are dropped.
        data_format: `"channels_last"`, `"channels_first"` or None (Keras's own setting).
        seed: Int or None.
        **kwargs: Arguments of `keras.layers.Layer`.

    Raises:
        ValueError: `rate` is not between 0 and 1, or `data_format` is unknown.

    Example:
        ```python
        print(tfopt.layers.SpatialDropout2D(0.5)(np.ones((1, 2, 2, 3)), training=True).shape)
        # (1, 2, 2, 3)
        ```
    """

    _axes = 2


@register_keras_serializable(package="tfopt")
class SpatialDropout3D(_SpatialDropoutWithFormat):
    """Drop whole channels of volumes in training, at a rate that may change from step to step.

    Use it after `Conv3D`, where neighbouring values are so alike that dropping single ones changes little.

    Args:
        rate: Float in [0, 1], or a variable or tensor: the share of channels that are dropped.
        data_format: `"channels_last"`, `"channels_first"` or None (Keras's own setting).
        seed: Int or None.
        **kwargs: Arguments of `keras.layers.Layer`.

    Raises:
        ValueError: `rate` is not between 0 and 1, or `data_format` is unknown.

    Example:
        ```python
        print(tfopt.layers.SpatialDropout3D(0.5)(np.ones((1, 2, 2, 2, 3)), training=True).shape)
        # (1, 2, 2, 2, 3)
        ```
    """

    _axes = 3


@register_keras_serializable(package="tfopt")
class AlphaDropout(_MaskedByShape):
    """Drop units to SELU's negative limit in training, keeping mean and variance, at a rate that may change.

    For self-normalising networks (SELU activations, LeCun normal initialisation).

    Formula: a·(x·m + α'(1 - m)) + b, α' = -1.7581, a = ((1 - r)(1 + r·α'²))^-½, b = -a·α'·r.

    Args:
        rate: Float in [0, 1], or a variable or tensor: the share r of units that are dropped.
        noise_shape: As `tfopt.layers.Dropout`'s.
        seed: Int or None.
        **kwargs: Arguments of `keras.layers.Layer`.

    Raises:
        ValueError: `rate` is not between 0 and 1, or `noise_shape` holds anything but positive integers and None.

    Example:
        ```python
        print(tfopt.layers.AlphaDropout(0.1)(np.ones((2, 3)), training=True).shape)  # (2, 3)
        ```

    References:
        - Klambauer, Unterthiner, Mayr, Hochreiter (2017), "Self-Normalizing Neural Networks",
          https://arxiv.org/abs/1706.02515
    """

    def disturb(self, inputs: Any, strength: Any) -> Any:
        """Replace dropped units by SELU's limit, then scale and move back; all is 0 at rate 1."""
        kept = ops.cast(_draw(self, inputs, "float32") >= strength, "float32")
        rate = ops.minimum(strength, 1.0 - 1e-7)
        scale = ops.rsqrt((1.0 - rate) * (1.0 + rate * _ALPHA**2))
        changed = scale * (ops.cast(inputs, "float32") * kept + _ALPHA * (1.0 - kept)) - scale * _ALPHA * rate
        return ops.where(strength < 1.0, changed, 0.0)


@register_keras_serializable(package="tfopt")
class GaussianDropout(_ChangingRate):
    """Multiply by Gaussian noise around 1 in training, as strong as dropout of a rate that may change.

    Formula: x·n, n normal with mean 1 and standard deviation √(rate/(1 - rate)).

    Args:
        rate: Float in [0, 1), or a variable or tensor: the rate of the dropout that is imitated.
        seed: Int or None.
        **kwargs: Arguments of `keras.layers.Layer`.

    Raises:
        ValueError: `rate` is not between 0 and 1.

    Example:
        ```python
        print(tfopt.layers.GaussianDropout(0.1)(np.ones((2, 3)), training=True).shape)  # (2, 3)
        ```

    References:
        - Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov (2014), "Dropout: A Simple Way to Prevent Neural
          Networks from Overfitting", section 10, https://jmlr.org/papers/v15/srivastava14a.html
    """

    def disturb(self, inputs: Any, strength: Any) -> Any:
        """Multiply; the spread is kept finite at rate 1."""
        spread = ops.sqrt(strength / (1.0 - ops.minimum(strength, 1.0 - 1e-7)))
        noise = keras.random.normal(ops.shape(inputs), dtype="float32", seed=self.seed_generator)
        return ops.cast(inputs, "float32") * (1.0 + spread * noise)


@register_keras_serializable(package="tfopt")
class GaussianNoise(ChangingLayer):
    """Add Gaussian noise in training, of a spread that may change from step to step.

    Formula: x + n, n normal with mean 0 and standard deviation `stddev`.

    Args:
        stddev: Float ≥ 0, or a variable or tensor.
        seed: Int or None.
        **kwargs: Arguments of `keras.layers.Layer`.

    Raises:
        ValueError: `stddev` is negative.

    Example:
        ```python
        print(tfopt.layers.GaussianNoise(0.1)(np.ones((2, 3)), training=True).shape)  # (2, 3)
        ```
    """

    def __init__(self, stddev: Number, seed: int | None = None, **kwargs: Any):
        super().__init__(stddev, limit=None, seed=seed, strength_name="stddev", **kwargs)

    @property
    def stddev(self) -> Any:
        """The variable (or tensor) that holds the standard deviation; assign a number to change it."""
        return self.strength

    @stddev.setter
    def stddev(self, value: Any) -> None:
        self._change(value)

    def disturb(self, inputs: Any, strength: Any) -> Any:
        """Add."""
        noise = keras.random.normal(ops.shape(inputs), dtype="float32", seed=self.seed_generator)
        return ops.cast(inputs, "float32") + strength * noise


def _draw(layer: _MaskedByShape, inputs: Any, dtype: str | None = None) -> Any:
    return keras.random.uniform(layer.mask_shape(inputs), dtype=dtype or inputs.dtype, seed=layer.seed_generator)


def _checked_noise_shape(noise_shape: Any) -> tuple[int | None, ...] | None:
    if noise_shape is None:
        return None
    is_list = isinstance(noise_shape, Iterable) and not isinstance(noise_shape, (str, bytes, dict, set))
    sizes = tuple(noise_shape) if is_list else ("",)
    if not all(size is None or (isinstance(size, int) and not isinstance(size, bool) and size > 0) for size in sizes):
        raise ValueError(
            "Argument `noise_shape` must be a tuple or list of positive integers, None for an axis as long as the "
            f"inputs'. Received: noise_shape={noise_shape!r}."
        )
    return sizes
