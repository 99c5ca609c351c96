"""ReZero and SkipInit: residual branches that begin closed."""

from typing import Any

import keras
from keras import ops

from tfopt._arguments import flag, number_argument


@keras.saving.register_keras_serializable(package="tfopt")
class ResidualGain(keras.layers.Layer):
    """Multiplies a residual branch by a trained number that begins at zero, so that the network begins as the identity.

    Use it as the last layer of every residual branch: networks of a hundred blocks then train without normalisation.
    `output = gain · input`.

    Args:
        initial: The gain at the start; 0 in ReZero and SkipInit.
        per_channel: One gain for each channel (the last axis) instead of one for the branch, as in LayerScale.
        **kwargs: Arguments of `keras.layers.Layer`.

    Raises:
        ValueError: `initial` is not finite.
        TypeError: `initial` is not a number.

    Example:
        ```python
        x = keras.ops.ones((2, 4))
        x = x + tfopt.layers.ResidualGain()(keras.layers.Dense(4, "relu")(x))
        print(float(keras.ops.sum(x)))  # 8.0
        ```

    References:
        - Bachlechner et al. (2020), "ReZero is all you need: fast convergence at large depth",
          https://arxiv.org/abs/2003.04887
        - De, Smith (2020), "Batch normalization biases residual blocks towards the identity function in deep networks",
          https://arxiv.org/abs/2002.10444
    """

    def __init__(self, initial: float = 0.0, per_channel: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.initial = number_argument(initial, "ResidualGain", "initial")
        self.per_channel = flag("per_channel", per_channel, "ResidualGain")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the gain."""
        shape = (input_shape[-1],) if self.per_channel else ()
        self.gain = self.add_weight(shape=shape, initializer=keras.initializers.Constant(self.initial), name="gain")
        super().build(input_shape)

    def call(self, inputs: Any) -> Any:
        """Return the scaled inputs."""
        return inputs * ops.cast(self.gain, inputs.dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape of the inputs."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return the arguments as plain Python values."""
        return {**super().get_config(), "initial": self.initial, "per_channel": self.per_channel}
