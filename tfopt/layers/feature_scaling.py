"""Trained factors for units and shapes of activations: RealMLP's front scale and parametric activation."""

from typing import Any

import keras
from keras import ops

from tfopt._arguments import from_keras
from tfopt.layers._factored import FactoredLayer


class _Elementwise(FactoredLayer):
    """A layer with one trained number, 1 at the start, for each entry of the last axis."""

    weight_name: str

    def __init__(self, learning_rate_factor: float = 1.0, decay: Any = 0.0, **kwargs: Any):
        super().__init__(learning_rate_factor, decay, **kwargs)
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        """Create the numbers."""
        self.weight = self.add_factored_weight(self.weight_name, (input_shape[-1],), "ones")
        super().build(input_shape)

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Return what the numbers make of the inputs."""
        outputs = self.combine(inputs, ops.cast(self.weight.read(training), inputs.dtype))
        if training:
            self.advance()
        return outputs

    def combine(self, inputs: Any, weight: Any) -> Any:
        """Return the outputs for numbers that broadcast against the inputs."""
        raise NotImplementedError

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the inputs."""
        return input_shape


@keras.saving.register_keras_serializable(package="tfopt")
class FeatureScaling(_Elementwise):
    """Multiply each feature by a trained number that begins at one, so that training can weigh the inputs.

    Use it before the first dense layer of a network for tables, with a raised learning rate: features that do not
    matter are turned down sooner than the rows of a kernel would be.

    Formula: s ∘ x.

    Args:
        learning_rate_factor: Float > 0: what the learning rate of s is multiplied by, whatever the optimizer; RealMLP
            takes 6.
        decay: Share of s that each training batch takes (AdamW's is learning rate × weight decay), ≥ 0: a number, a
            variable or a schedule of the batch.
        **kwargs: Arguments of `keras.layers.Layer`.

    Raises:
        ValueError: A factor that is not above 0, a decay out of [0, 1].
        TypeError: An argument is not numeric.

    Example:
        ```python
        layer = tfopt.layers.FeatureScaling(learning_rate_factor=6.0)
        print(np.asarray(layer(np.ones((1, 2)))).tolist())  # [[1.0, 1.0]]
        ```

    References:
        - Holzmüller, Grinsztajn, Steinwart (2024), "Better by Default: Strong Pre-Tuned MLPs and Boosted Trees on
          Tabular Data", https://arxiv.org/abs/2407.04491
    """

    weight_name = "scale"

    def combine(self, inputs: Any, weight: Any) -> Any:
        """Return the product."""
        return inputs * weight


@keras.saving.register_keras_serializable(package="tfopt")
class ParametricActivation(_Elementwise):
    """An activation whose strength is trained for each unit: from the identity at 0 to the function itself at 1.

    Use it in place of an activation where some units do better as linear ones.

    Formula: x + α ∘ (f(x) - x), α = 1 at the start.

    Args:
        activation: The function f, as in `keras.layers.Activation`; RealMLP takes SELU for classes and Mish for
            regression.
        learning_rate_factor: Float > 0: what the learning rate of α is multiplied by, whatever the optimizer; RealMLP
            takes 0.1.
        decay: Share of α that each training batch takes (AdamW's is learning rate × weight decay), ≥ 0: a number, a
            variable or a schedule of the batch.
        **kwargs: Arguments of `keras.layers.Layer`.

    Raises:
        ValueError: A factor that is not above 0, a decay out of [0, 1].
        TypeError: An argument is not numeric.

    Example:
        ```python
        layer = tfopt.layers.ParametricActivation("relu")
        print(np.asarray(layer(np.array([[-1.0, 2.0]]))).tolist())  # [[0.0, 2.0]]
        ```

    References:
        - Holzmüller, Grinsztajn, Steinwart (2024), "Better by Default: Strong Pre-Tuned MLPs and Boosted Trees on
          Tabular Data", https://arxiv.org/abs/2407.04491
    """

    weight_name = "alpha"

    def __init__(self, activation: Any = "selu", learning_rate_factor: float = 1.0, decay: Any = 0.0, **kwargs: Any):
        super().__init__(learning_rate_factor, decay, **kwargs)
        self.activation = from_keras("activation", activation, keras.activations, "ParametricActivation")

    def combine(self, inputs: Any, weight: Any) -> Any:
        """Return the mixture."""
        return inputs + weight * (self.activation(inputs) - inputs)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments as plain Python values."""
        return {**super().get_config(), "activation": keras.activations.serialize(self.activation)}
