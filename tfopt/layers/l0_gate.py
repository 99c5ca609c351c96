"""L0 penalty: gates that count."""

import math
from typing import Any

import keras
from keras import ops

from tfopt._arguments import Held, Number, Value, as_tensor, integer_seed, number_argument, plain, value_argument


@keras.saving.register_keras_serializable(package="tfopt")
class L0Gate(keras.layers.Layer):
    """Multiplies every feature by a gate that training can close: a penalty on how many features are used.

    Use it after the inputs to select features, or after a hidden layer to prune its units. While training, each gate
    is a random number in [0, 1] that is exactly 0 or 1 with positive probability (hard concrete); the penalty is
    `strength · Σ P(gate ≠ 0)`, the expected number of open gates, which has a gradient. In inference the gates are
    fixed, and closed ones are exactly 0. With u uniform, s = sigmoid((log u − log(1 − u) + log α)/β),
    `gate = min(1, max(0, s·(ζ − γ) + γ))`, γ = −0.1, ζ = 1.1.

    Args:
        strength: Cost of an open gate, >= 0: a number, a tensor or a variable.
        open_probability: Chance of each gate to be open at the start, between 0 and 1.
        temperature: β, between 0 and 1; lower is nearer to a coin toss.
        seed: None, an integer, or a `keras.random.SeedGenerator`.
        **kwargs: Arguments of `keras.layers.Layer`.

    Raises:
        ValueError: An argument is out of its range.
        TypeError: An argument is not numeric.

    Example:
        ```python
        model = keras.Sequential([keras.Input((10,)), tfopt.layers.L0Gate(0.01), keras.layers.Dense(1)])
        print(f"{float(sum(model.losses)):.3f}")  # 0.090: ten gates, open with probability 0.9
        ```

    References:
        - Louizos, Welling, Kingma (2018), "Learning sparse neural networks through L0 regularization",
          https://arxiv.org/abs/1712.01312
    """

    _LOW, _HIGH = -0.1, 1.1

    def __init__(
        self,
        strength: Number = 0.01,
        open_probability: float = 0.9,
        temperature: float = 2 / 3,
        seed: Any = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self._strength = Held(value_argument(strength, "L0Gate", "strength"))
        bounds: dict[str, Any] = {"minimum": 0, "maximum": 1, "exclusive": True}
        self.open_probability = number_argument(open_probability, "L0Gate", "open_probability", **bounds)
        self.temperature = number_argument(temperature, "L0Gate", "temperature", **bounds)
        self.seed = integer_seed(seed, "L0Gate")
        self.seed_generator = keras.random.SeedGenerator(self.seed)
        self._shift = self.temperature * math.log(-self._LOW / self._HIGH)

    @property
    def strength(self) -> Value:
        """The cost of an open gate, as it was given."""
        return self._strength.value

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create log α, one for every feature."""
        start = math.log(self.open_probability / (1 - self.open_probability)) + self._shift
        self.log_alpha = self.add_weight(
            shape=(input_shape[-1],),
            initializer=keras.initializers.Constant(start),
            regularizer=self._cost,
            name="log_alpha",
        )
        super().build(input_shape)

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Return the gated inputs."""
        return inputs * ops.cast(self._drawn_gates() if training else self.gates(), inputs.dtype)

    def open_probabilities(self) -> Any:
        """Return each gate's probability of not being closed."""
        return ops.sigmoid(ops.cast(self.log_alpha, "float32") - self._shift)

    def gates(self) -> Any:
        """Return the gates of inference; a closed one is exactly 0."""
        return self._stretched(ops.sigmoid(ops.cast(self.log_alpha, "float32")))

    def _cost(self, log_alpha: Any) -> Any:
        return as_tensor(self.strength, "float32") * ops.sum(self.open_probabilities())

    def _drawn_gates(self) -> Any:
        log_alpha = ops.cast(self.log_alpha, "float32")
        u = keras.random.uniform(log_alpha.shape, 1e-6, 1 - 1e-6, seed=self.seed_generator)
        return self._stretched(ops.sigmoid((ops.log(u) - ops.log(1 - u) + log_alpha) / self.temperature))

    def _stretched(self, gate: Any) -> Any:
        return ops.clip(gate * (self._HIGH - self._LOW) + self._LOW, 0, 1)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments as plain Python values."""
        own = {
            "strength": plain(self.strength, "L0Gate", "strength"),
            "open_probability": self.open_probability,
            "temperature": self.temperature,
            "seed": self.seed if self.seed is None or isinstance(self.seed, int) else None,
        }
        return {**super().get_config(), **own}
