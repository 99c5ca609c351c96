"""Numbers as sums of waves."""

import math
from typing import Any

import keras
from keras import ops

from tfopt._arguments import choice_argument, count_argument, number_argument
from tfopt.layers._factored import FactoredLayer

VARIANTS = ("pbld", "plr", "pl")


@keras.saving.register_keras_serializable(package="tfopt")
class PeriodicEmbedding(FactoredLayer):
    """Turn each numeric feature into several, through trained waves of the feature's own.

    Use it on scaled numeric inputs of a network for tables: an MLP is slow to learn functions that jump or oscillate,
    and waves of several frequencies give it those.

    Formula: of each feature x, with its own W and b of uniform entries within ±1/√(number of waves):

    - `"pbld"`: [Wᵀcos(2π w x + c) + b, x], w ~ N(0, σ²), c ~ U(-π, π): `units` outputs, the last of which is x;
    - `"pl"`: Wᵀ[cos(2π w x), sin(2π w x)] + b;
    - `"plr"`: max(0, the same).

    Args:
        units: Int: outputs of a feature, at least 1; with `"pbld"` at least 2.
        num_frequencies: Int ≥ 1: trained frequencies w of a feature.
        frequency_scale: Float > 0: the σ of the frequencies at the start, the argument to tune: 0.01 to 50.
        variant: `"pbld"` (RealMLP), `"plr"` or `"pl"`.
        learning_rate_factor: Float > 0: what the learning rate is multiplied by, whatever the optimizer; RealMLP takes
            0.1.
        decay: Share of the weights that each training batch takes (AdamW's is learning rate × weight decay), ≥ 0: a
            number, a variable or a schedule of the batch.
        **kwargs: Arguments of `keras.layers.Layer`.

    Raises:
        ValueError: A count or a number is out of bounds, or `variant` is unknown.
        TypeError: An argument is not numeric.

    Example:
        ```python
        print(tuple(tfopt.layers.PeriodicEmbedding(units=4)(np.ones((5, 3))).shape))  # (5, 12)
        ```

    References:
        - Gorishniy, Rubachev, Babenko (2022), "On Embeddings for Numerical Features in Tabular Deep Learning",
          https://arxiv.org/abs/2203.05556
        - Holzmüller, Grinsztajn, Steinwart (2024), "Better by Default: Strong Pre-Tuned MLPs and Boosted Trees on
          Tabular Data", for the form PBLD, https://arxiv.org/abs/2407.04491
    """

    def __init__(
        self,
        units: int = 4,
        num_frequencies: int = 16,
        frequency_scale: float = 0.1,
        variant: str = "pbld",
        learning_rate_factor: float = 1.0,
        decay: Any = 0.0,
        **kwargs: Any,
    ):
        super().__init__(learning_rate_factor, decay, autocast=False, **kwargs)
        self.variant = choice_argument(variant, "PeriodicEmbedding", "variant", VARIANTS)
        self.units = count_argument(units, "PeriodicEmbedding", "units", minimum=2 if variant == "pbld" else 1)
        self.num_frequencies = count_argument(num_frequencies, "PeriodicEmbedding", "num_frequencies")
        self.frequency_scale = number_argument(
            frequency_scale, "PeriodicEmbedding", "frequency_scale", minimum=0, exclusive=True
        )

    def build(self, input_shape: Any) -> None:
        """Create the frequencies, phases and linear maps of each feature."""
        features, frequencies, dense = input_shape[-1], self.num_frequencies, self.variant == "pbld"
        waves, units = (frequencies, self.units - 1) if dense else (2 * frequencies, self.units)

        def uniform(bound: float) -> keras.initializers.Initializer:
            return keras.initializers.RandomUniform(-bound, bound)

        add, bound = self.add_factored_weight, 1 / math.sqrt(waves)
        self.frequencies = add(
            "frequencies", (features, frequencies), keras.initializers.RandomNormal(0.0, self.frequency_scale)
        )
        self.phases = add("phases", (features, frequencies), uniform(math.pi)) if dense else None
        self.kernel = add("kernel", (features, waves, units), uniform(bound))
        self.bias = add("bias", (features, units), uniform(bound))
        super().build(input_shape)

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Return the embedded features, those of one input beside each other."""
        x = ops.expand_dims(ops.cast(inputs, "float32"), -1)
        angles = 2 * math.pi * x * self.frequencies.read(training)
        if self.phases is not None:
            waves = ops.cos(angles + self.phases.read(training))
        else:
            waves = ops.concatenate([ops.cos(angles), ops.sin(angles)], axis=-1)
        outputs = ops.einsum("...fw,fwu->...fu", waves, self.kernel.read(training)) + self.bias.read(training)
        if self.variant == "pbld":
            outputs = ops.concatenate([outputs, x], axis=-1)
        elif self.variant == "plr":
            outputs = ops.relu(outputs)
        if training:
            self.advance()
        outputs = ops.reshape(outputs, (*ops.shape(inputs)[:-1], inputs.shape[-1] * self.units))
        return ops.cast(outputs, self.compute_dtype)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the outputs."""
        return (*input_shape[:-1], input_shape[-1] * self.units)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments as plain Python values."""
        own = {
            "units": self.units,
            "num_frequencies": self.num_frequencies,
            "frequency_scale": self.frequency_scale,
            "variant": self.variant,
        }
        return {**super().get_config(), **own}
