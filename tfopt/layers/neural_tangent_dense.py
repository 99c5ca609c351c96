"""Dense layer in neural-tangent parametrisation."""

import math
from typing import Any

import keras
from keras import ops

from tfopt._arguments import count_argument, flag, from_keras
from tfopt.layers._factored import FactoredLayer, factor_argument


@keras.saving.register_keras_serializable(package="tfopt")
class NeuralTangentDense(FactoredLayer):
    """Dense layer whose kernel has entries near one, and is divided by the root of its number of inputs when used.

    Use it where one learning rate shall suit layers of every width: under Adam, which moves each entry by about the
    learning rate, a layer's output then moves equally far whatever its number of inputs.

    Formula: activation(x·W/√d + b), d inputs.

    Args:
        units: Int ≥ 1: number of outputs.
        activation: As in `keras.layers.Dense`.
        use_bias: As in `keras.layers.Dense`.
        kernel_initializer: Initializer of W; None for N(0, 1).
        bias_initializer: Initializer of b.
        learning_rate_factor: Float > 0: what the learning rate of W is multiplied by, whatever the optimizer.
        bias_learning_rate_factor: Float > 0: likewise, of b.
        decay: Share of W that each training batch takes (AdamW's is learning rate × weight decay), ≥ 0: a number, a
            variable or a schedule of the batch. Biases do not decay.
        **kwargs: Arguments of `keras.layers.Layer`.

    Raises:
        ValueError: Fewer than one unit, a factor that is not above 0, a decay out of [0, 1].
        TypeError: An argument is not numeric.

    Example:
        ```python
        layer = tfopt.layers.NeuralTangentDense(3, kernel_initializer="ones")
        print(np.asarray(layer(np.ones((1, 4)))).tolist())  # [[2.0, 2.0, 2.0]]
        ```

    References:
        - Jacot, Gabriel, Hongler (2018), "Neural Tangent Kernel: Convergence and Generalization in Neural Networks",
          https://arxiv.org/abs/1806.07572
    """

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = None,
        bias_initializer: Any = "zeros",
        learning_rate_factor: float = 1.0,
        bias_learning_rate_factor: float = 1.0,
        decay: Any = 0.0,
        **kwargs: Any,
    ):
        super().__init__(learning_rate_factor, decay, **kwargs)
        self.units = count_argument(units, "NeuralTangentDense", "units")
        self.activation = from_keras("activation", activation, keras.activations, "NeuralTangentDense")
        self.use_bias = flag("use_bias", use_bias, "NeuralTangentDense")
        self.kernel_initializer = from_keras(
            "kernel_initializer", kernel_initializer, keras.initializers, "NeuralTangentDense"
        ) or keras.initializers.RandomNormal(0.0, 1.0)
        self.bias_initializer = from_keras(
            "bias_initializer", bias_initializer, keras.initializers, "NeuralTangentDense"
        )
        self.bias_learning_rate_factor = factor_argument(
            bias_learning_rate_factor, "NeuralTangentDense", "bias_learning_rate_factor"
        )

    def build(self, input_shape: Any) -> None:
        """Create W and b."""
        self.kernel = self.add_factored_weight("kernel", (input_shape[-1], self.units), self.kernel_initializer)
        self.bias = None
        if self.use_bias:
            self.bias = self.add_factored_weight(
                "bias", (self.units,), self.bias_initializer, self.bias_learning_rate_factor, decay=0.0
            )
        self._gain = 1.0 / math.sqrt(input_shape[-1])
        super().build(input_shape)

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Return `activation(inputs · W / √d + b)`."""
        # The smaller of the two factors is scaled: rows are usually more than units.
        outputs = ops.matmul(inputs, ops.cast(self.kernel.read(training) * self._gain, inputs.dtype))
        if self.bias is not None:
            outputs = outputs + ops.cast(self.bias.value(), outputs.dtype)
        if training:
            self.advance()
        return self.activation(outputs)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the outputs."""
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments as plain Python values."""
        own = {
            "units": self.units,
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "bias_learning_rate_factor": self.bias_learning_rate_factor,
        }
        return {**super().get_config(), **own}
