"""L1 without corners: a dense layer whose kernel is a product."""

from typing import Any

import keras
from keras import ops

from tfopt._arguments import Held, Number, Value, count_argument, flag, from_keras, plain, value_argument
from tfopt.regularizers.elementwise import ElasticNet


@keras.saving.register_keras_serializable(package="tfopt")
class ProductDense(keras.layers.Layer):
    """Dense layer with the kernel w = u·v, whose smooth L2 penalty on u and v is an L1 penalty on w.

    Use it for the lasso's solution with any optimizer, adaptive ones included: `l1/2 · Σ(u² + v²)` is `l1 Σ|w|` at its
    smallest, and has no corner. Weights shrink towards zero without end, but not to zero itself; count those below a
    tolerance, or use `tfopt.regularizers.ProximalOptimizer` for exact zeros.

    Args:
        units: Number of outputs.
        l1: Strength of the L1 penalty on w, >= 0: a number, a tensor or a variable.
        activation: As in `keras.layers.Dense`.
        use_bias: As in `keras.layers.Dense`.
        kernel_initializer: Initializer of u, and so of w: v begins at one.
        **kwargs: Arguments of `keras.layers.Layer`.

    Raises:
        ValueError: Fewer than one unit, a negative strength.
        TypeError: A strength that is not numeric.

    Example:
        ```python
        layer = tfopt.layers.ProductDense(1, l1=0.2)
        model = keras.Sequential([keras.Input((10,)), layer])
        print(tuple(layer.kernel.shape), len(layer.losses))  # (10, 1) 2
        ```

    References:
        - Ziyin, Wang (2023), "spred: solving L1 penalty with SGD", https://arxiv.org/abs/2210.01212
    """

    def __init__(
        self,
        units: int,
        l1: Number = 0.01,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.units = count_argument(units, "ProductDense", "units")
        self._l1 = Held(value_argument(l1, "ProductDense", "l1"))
        self.activation = from_keras("activation", activation, keras.activations, "ProductDense")
        self.use_bias = flag("use_bias", use_bias, "ProductDense")
        self.kernel_initializer = from_keras(
            "kernel_initializer", kernel_initializer, keras.initializers, "ProductDense"
        )

    @property
    def l1(self) -> Value:
        """The strength of the L1 penalty on w, as it was given."""
        return self._l1.value

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create u, as the initializer draws it, and v, which is one."""
        shape = (input_shape[-1], self.units)
        # Were they of equal size they would stay so, and no weight could change its sign.
        half_l2 = ElasticNet(self.l1, l1_ratio=0.0)
        self.u = self.add_weight(shape=shape, initializer=self.kernel_initializer, regularizer=half_l2, name="u")
        self.v = self.add_weight(shape=shape, initializer="ones", regularizer=half_l2, name="v")
        self.bias = self.add_weight(shape=(self.units,), initializer="zeros", name="bias") if self.use_bias else None
        super().build(input_shape)

    @property
    def kernel(self) -> Any:
        """The kernel w = u·v."""
        return self.u * self.v

    def call(self, inputs: Any) -> Any:
        """Return `activation(inputs · w + bias)`."""
        outputs = ops.matmul(inputs, ops.cast(self.kernel, inputs.dtype))
        return self.activation(outputs if self.bias is None else outputs + ops.cast(self.bias, outputs.dtype))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape of the outputs."""
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments as plain Python values."""
        own = {
            "units": self.units,
            "l1": plain(self.l1, "ProductDense", "l1"),
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
        return {**super().get_config(), **own}
