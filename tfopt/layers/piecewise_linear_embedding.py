"""Numbers by the bins that they fall into."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from tfopt._arguments import count_argument
from tfopt.initializers.bins import quantile_bins
from tfopt.layers._factored import FactoredLayer


@keras.saving.register_keras_serializable(package="tfopt")
class PiecewiseLinearEmbedding(FactoredLayer):
    """Turn each numeric feature into several, through a trained function of its own that is linear within bins.

    Use it on numeric inputs of a network for tables: each feature gets any curve with a bend at each edge, where an
    MLP would have to make bends of its units. The edges are quantiles of data: `tfopt.initializers.from_data` sets
    them, or `start_from_data` for this layer alone; until then they are even between -3 and 3.

    Formula: of each feature x, with its own weights: v·x + c + Uᵀe(x), e_j = (x - a_j)/(a_{j+1} - a_j) within
    [0, 1], without lower limit in the first bin and without upper limit in the last. U begins at 0, v and c uniform
    within ±1/√units: the embedding begins as a linear one.

    Args:
        units: Int ≥ 1: outputs of a feature.
        num_bins: Int ≥ 1: most bins of a feature.
        learning_rate_factor: Float > 0: what the learning rate is multiplied by, whatever the optimizer.
        decay: Share of U that each training batch takes (AdamW's is learning rate × weight decay), ≥ 0: a number, a
            variable or a schedule of the batch. v and c do not decay.
        **kwargs: Arguments of `keras.layers.Layer`.

    Raises:
        ValueError: A count or a number is out of bounds.
        TypeError: An argument is not numeric.

    Example:
        ```python
        layer = tfopt.layers.PiecewiseLinearEmbedding(units=4, num_bins=8)
        rows = np.random.default_rng(0).normal(size=(100, 3))
        layer.start_from_data(rows)
        print(tuple(layer(rows).shape))  # (100, 12)
        ```

    References:
        - Gorishniy, Rubachev, Babenko (2022), "On Embeddings for Numerical Features in Tabular Deep Learning",
          https://arxiv.org/abs/2203.05556
        - Gorishniy, Kotelnikov, Babenko (2024), "TabM: Advancing Tabular Deep Learning with Parameter-Efficient
          Ensembling", for this form, https://arxiv.org/abs/2410.24210
    """

    def __init__(
        self,
        units: int = 16,
        num_bins: int = 48,
        learning_rate_factor: float = 1.0,
        decay: Any = 0.0,
        **kwargs: Any,
    ):
        super().__init__(learning_rate_factor, decay, autocast=False, **kwargs)
        self.units = count_argument(units, "PiecewiseLinearEmbedding", "units")
        self.num_bins = count_argument(num_bins, "PiecewiseLinearEmbedding", "num_bins")

    def build(self, input_shape: Any) -> None:
        """Create the edges and the weights of each feature."""
        features, even = input_shape[-1], np.linspace(-3, 3, self.num_bins + 1)
        self.edges = self.add_weight(
            name="edges",
            shape=(features, self.num_bins + 1),
            initializer=lambda shape, dtype: ops.convert_to_tensor(np.broadcast_to(even, shape), dtype=dtype),
            dtype="float32",
            autocast=False,
            trainable=False,
        )
        uniform = keras.initializers.RandomUniform(-1 / math.sqrt(self.units), 1 / math.sqrt(self.units))
        self.slope = self.add_factored_weight("slope", (features, self.units), uniform, decay=0.0)
        self.bias = self.add_factored_weight("bias", (features, self.units), uniform.clone(), decay=0.0)
        self.kernel = self.add_factored_weight("kernel", (features, self.num_bins, self.units), "zeros")
        super().build(input_shape)

    def start_from_data(self, inputs: Any) -> None:
        """Put the edges at the quantiles of rows."""
        rows = ops.convert_to_numpy(inputs)
        if not self.built:
            self.build(rows.shape)
        self.edges.assign(quantile_bins(rows, self.num_bins))

    def code(self, inputs: Any) -> Any:
        """Return e(x), (…, features, bins): how far each feature is through each bin."""
        left, right = self.edges[:, :-1], self.edges[:, 1:]
        width = right - left
        is_bin = width > 0
        through = (ops.expand_dims(inputs, -1) - left) / ops.where(is_bin, width, 1.0)
        infinite, first = np.float32(np.inf), np.arange(self.num_bins) == 0
        is_last = ops.logical_and(is_bin, right == self.edges[:, -1:])
        through = ops.maximum(through, np.where(first, -infinite, np.float32(0)))
        through = ops.minimum(through, ops.where(is_last, infinite, 1.0))
        return ops.where(is_bin, through, 0.0)

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Return the embedded features, those of one input beside each other."""
        x = ops.cast(inputs, "float32")
        outputs = ops.expand_dims(x, -1) * self.slope.value() + self.bias.value()
        outputs = outputs + ops.einsum("...fb,fbu->...fu", self.code(x), self.kernel.read(training))
        if training:
            self.advance()
        outputs = ops.reshape(outputs, (*ops.shape(inputs)[:-1], inputs.shape[-1] * self.units))
        return ops.cast(outputs, self.compute_dtype)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the outputs."""
        return (*input_shape[:-1], input_shape[-1] * self.units)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments as plain Python values."""
        return {**super().get_config(), "units": self.units, "num_bins": self.num_bins}
