"""Initializers that know their place: depth, width, residual branches, sine layers, output heads."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tfopt._arguments import (
    Number,
    choice_argument,
    count_argument,
    flag,
    number,
    number_argument,
    seed_argument,
    value_argument,
)
from tfopt.initializers.base import RandomInitializer, draw, drawing_seed, float_dtype, scaled
from tfopt.initializers.fans import compute_fans

ROLES = ("input", "hidden", "output")


@keras.saving.register_keras_serializable(package="tfopt")
class Normal(RandomInitializer):
    """Normal weights of a given standard deviation, whatever the layer: what textbooks begin with, often too small.

    Use it to show what the other rules are for, or where a paper names a number (0.02 in GPT-2).

    Args:
        stddev: Standard deviation, >= 0: a number, a tensor or a variable; a stack of N values gives N weights.
        seed: None for a new draw at every call, an integer, or a `keras.random.SeedGenerator`.

    Raises:
        ValueError: A negative standard deviation.
        TypeError: An argument of the wrong type.

    Example:
        ```python
        w = tfopt.initializers.Normal(0.01, seed=0)((100, 100))
        print(f"{float(keras.ops.std(w)):.2f}")  # 0.01
        ```

    References:
        - Krizhevsky, Sutskever, Hinton (2012), "ImageNet classification with deep convolutional neural networks", who
          used 0.01, https://papers.nips.cc/paper/4824-imagenet-classification-with-deep-convolutional-neural-networks
    """

    def __init__(self, stddev: Number = 0.01, seed: Any = None):
        self.stddev = value_argument(stddev, "Normal", "stddev")
        self.seed = seed_argument(seed, "Normal")

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Any:
        """Return a new weight of `shape`."""
        return scaled(draw(shape, 1.0, "normal", self.seed, float_dtype(dtype)), self.stddev)


@keras.saving.register_keras_serializable(package="tfopt")
class Sparse(RandomInitializer):
    """Few connections: every unit sees a fixed number of inputs, the others with weight zero.

    Use it for wide layers whose units should begin unlike each other without saturating.

    Args:
        connections: Inputs that a unit sees; all of them where there are fewer.
        stddev: Standard deviation of the weights that are not zero: a number, a tensor or a variable; a stack of N
            values gives N weights.
        seed: None for a new draw at every call, an integer, or a `keras.random.SeedGenerator`.

    Raises:
        ValueError: Fewer than one connection, a negative standard deviation.
        TypeError: An argument of the wrong type.

    Example:
        ```python
        w = tfopt.initializers.Sparse(connections=2, seed=0)((10, 4))
        print(int(keras.ops.sum(w != 0)))  # 8
        ```

    References:
        - Martens (2010), "Deep learning via Hessian-free optimization", section 5,
          https://icml.cc/Conferences/2010/papers/458.pdf
    """

    def __init__(self, connections: int = 15, stddev: Number = 1.0, seed: Any = None):
        self.connections = count_argument(connections, "Sparse", "connections")
        self.stddev = value_argument(stddev, "Sparse", "stddev")
        self.seed = seed_argument(seed, "Sparse")

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Any:
        """Return a new weight of `shape`."""
        seed = drawing_seed(self.seed)
        inputs, units = math.prod(shape[:-1]), shape[-1]
        lottery = keras.random.uniform((inputs, units), seed=seed)
        chosen = ops.argsort(ops.argsort(lottery, axis=0), axis=0) < self.connections
        second = seed + 1 if isinstance(seed, int) else seed
        values = draw((inputs, units), 1.0, "normal", second, float_dtype(dtype))
        return scaled(ops.reshape(values * ops.cast(chosen, values.dtype), shape), self.stddev)


@keras.saving.register_keras_serializable(package="tfopt")
class DepthScaled(RandomInitializer):
    """Normal weights for the layers that write into a residual stream, smaller the more of them there are.

    Use it for the last layer of every residual branch in transformers: `stddev / √(branches · num_layers)` keeps the
    stream's variance from growing with depth.

    Args:
        num_layers: Blocks in the network.
        stddev: Standard deviation of the other layers: a number, a tensor or a variable; a stack gives a stack.
        branches: Residual branches in a block; 2 in a transformer, attention and feed-forward.
        seed: None for a new draw at every call, an integer, or a `keras.random.SeedGenerator`.

    Raises:
        ValueError: A count below one, a negative standard deviation.
        TypeError: An argument of the wrong type.

    Example:
        ```python
        w = tfopt.initializers.DepthScaled(num_layers=8, seed=0)((200, 200))
        print(f"{float(keras.ops.std(w)):.3f}")  # 0.005, which is 0.02/√16
        ```

    References:
        - Radford et al. (2019), "Language models are unsupervised multitask learners", section 2.3,
          https://openai.com/index/better-language-models/
    """

    def __init__(self, num_layers: int = 1, stddev: Number = 0.02, branches: int = 2, seed: Any = None):
        self.num_layers = count_argument(num_layers, "DepthScaled", "num_layers")
        self.stddev = value_argument(stddev, "DepthScaled", "stddev")
        self.branches = count_argument(branches, "DepthScaled", "branches")
        self.seed = seed_argument(seed, "DepthScaled")

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Any:
        """Return a new weight of `shape`."""
        unit = 1 / math.sqrt(self.branches * self.num_layers)
        return scaled(draw(shape, unit, "normal", self.seed, float_dtype(dtype)), self.stddev)


@keras.saving.register_keras_serializable(package="tfopt")
class Fixup(RandomInitializer):
    """He's rule for residual networks without normalisation, smaller the more branches there are.

    Use it for every layer inside of L residual branches of m layers each: `√(2 / fan_in) · L^(−1/(2m−2))`, and with
    `last=True` zeros for a branch's last layer (and for the classifier).

    Args:
        num_branches: L.
        layers_per_branch: m >= 2.
        last: Whether this is the last layer of its branch.
        gain: Further factor: a number, a tensor or a variable; a stack of N values gives N kernels.
        seed: None for a new draw at every call, an integer, or a `keras.random.SeedGenerator`.

    Raises:
        ValueError: A count too small, a negative gain.
        TypeError: An argument of the wrong type.

    Example:
        ```python
        w = tfopt.initializers.Fixup(num_branches=16, layers_per_branch=2, seed=0)((200, 500))
        print(f"{float(keras.ops.std(w)):.3f}")  # 0.025, which is 0.1/√16
        ```

    References:
        - Zhang, Dauphin, Ma (2019), "Fixup initialization: residual learning without normalization",
          https://arxiv.org/abs/1901.09321
    """

    def __init__(
        self,
        num_branches: int = 1,
        layers_per_branch: int = 2,
        last: bool = False,
        gain: Number = 1.0,
        seed: Any = None,
    ):
        self.num_branches = count_argument(num_branches, "Fixup", "num_branches")
        self.layers_per_branch = count_argument(layers_per_branch, "Fixup", "layers_per_branch", minimum=2)
        self.last = flag("last", last, "Fixup")
        self.gain = value_argument(gain, "Fixup", "gain")
        self.seed = seed_argument(seed, "Fixup")

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Any:
        """Return a new weight of `shape`."""
        if self.last:
            return scaled(ops.zeros(shape, dtype=float_dtype(dtype)), self.gain)
        fan_in, _ = compute_fans(shape)
        stddev = math.sqrt(2 / max(fan_in, 1)) * self.num_branches ** (-1 / (2 * self.layers_per_branch - 2))
        return scaled(draw(shape, stddev, "truncated_normal", self.seed, float_dtype(dtype)), self.gain)


@keras.saving.register_keras_serializable(package="tfopt")
class DeepNorm(RandomInitializer):
    """Glorot's rule times β = (8N)^(−1/4), for post-norm transformers of hundreds of layers.

    Use it for the value, output and feed-forward kernels of an encoder-only or decoder-only transformer of N blocks;
    query and key take plain Glorot. The residual stream must be multiplied by α = `residual_scale` in every block:
    `LayerNorm(α · x + branch(x))`.

    Args:
        num_layers: N.
        gain: Further factor: a number, a tensor or a variable; a stack of N values gives N kernels.
        seed: None for a new draw at every call, an integer, or a `keras.random.SeedGenerator`.

    Raises:
        ValueError: Fewer than one layer, a negative gain.
        TypeError: An argument of the wrong type.

    Example:
        ```python
        print(f"{tfopt.initializers.DeepNorm(num_layers=8).residual_scale:.1f}")  # 2.0
        ```

    References:
        - Wang et al. (2022), "DeepNet: scaling transformers to 1,000 layers", https://arxiv.org/abs/2203.00555
    """

    def __init__(self, num_layers: int = 1, gain: Number = 1.0, seed: Any = None):
        self.num_layers = count_argument(num_layers, "DeepNorm", "num_layers")
        self.gain = value_argument(gain, "DeepNorm", "gain")
        self.seed = seed_argument(seed, "DeepNorm")

    @property
    def residual_scale(self) -> float:
        """α = (2N)^(1/4), the factor on the residual stream."""
        return (2 * self.num_layers) ** 0.25

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Any:
        """Return a new weight of `shape`."""
        stddev = math.sqrt(2 / max(sum(compute_fans(shape)), 1)) * (8 * self.num_layers) ** -0.25
        return scaled(draw(shape, stddev, "normal", self.seed, float_dtype(dtype)), self.gain)


@keras.saving.register_keras_serializable(package="tfopt")
class SIREN(RandomInitializer):
    """Uniform weights for networks of sine layers, `sin(ω · (Wx + b))`, that keep their frequencies through depth.

    Use it to fit images, sounds and fields with sine activations: U(±1/n) in the first layer, U(±√(6/n)/ω) after it.

    Args:
        first: Whether this is the first layer.
        omega: ω > 0, the factor inside of the sine.
        gain: Further factor: a number, a tensor or a variable; a stack of N values gives N kernels.
        seed: None for a new draw at every call, an integer, or a `keras.random.SeedGenerator`.

    Raises:
        ValueError: ω not positive, a negative gain.
        TypeError: An argument of the wrong type.

    Example:
        ```python
        w = tfopt.initializers.SIREN(omega=30.0, seed=0)((96, 500))
        print(f"{float(keras.ops.max(w)):.4f}")  # 0.0083, which is √(6/96)/30
        ```

    References:
        - Sitzmann, Martel, Bergman, Lindell, Wetzstein (2020), "Implicit neural representations with periodic
          activation functions", https://arxiv.org/abs/2006.09661
    """

    def __init__(self, first: bool = False, omega: float = 30.0, gain: Number = 1.0, seed: Any = None):
        self.first = flag("first", first, "SIREN")
        self.omega = number_argument(omega, "SIREN", "omega", minimum=0, exclusive=True)
        self.gain = value_argument(gain, "SIREN", "gain")
        self.seed = seed_argument(seed, "SIREN")

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Any:
        """Return a new weight of `shape`."""
        fan_in, _ = compute_fans(shape)
        limit = 1 / fan_in if self.first else math.sqrt(6 / fan_in) / self.omega
        return scaled(draw(shape, limit / math.sqrt(3), "uniform", self.seed, float_dtype(dtype)), self.gain)


@keras.saving.register_keras_serializable(package="tfopt")
class MuP(RandomInitializer):
    """Maximal-update parametrisation: weights by which the best learning rate does not move with the width.

    Use it to tune a narrow network and train a wide one with the same hyperparameters: standard deviation
    `gain/√fan_in` for input and hidden layers, `gain/fan_in` for the output layer; multiply Adam's rate of each layer
    by `mup_learning_rate_factor`.

    Args:
        role: `"input"`, `"hidden"` or `"output"`.
        gain: Factor: a number, a tensor or a variable; a stack of N values gives N kernels.
        seed: None for a new draw at every call, an integer, or a `keras.random.SeedGenerator`.

    Raises:
        ValueError: Unknown role, a negative gain.
        TypeError: An argument of the wrong type.

    Example:
        ```python
        w = tfopt.initializers.MuP("output", seed=0)((100, 1000))
        print(f"{float(keras.ops.std(w)):.2f}")  # 0.01
        ```

    References:
        - Yang et al. (2021), "Tensor programs V: tuning large neural networks via zero-shot hyperparameter transfer",
          table 3, https://arxiv.org/abs/2203.03466
    """

    def __init__(self, role: str = "hidden", gain: Number = 1.0, seed: Any = None):
        self.role = choice_argument(role, "MuP", "role", ROLES)
        self.gain = value_argument(gain, "MuP", "gain")
        self.seed = seed_argument(seed, "MuP")

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Any:
        """Return a new weight of `shape`."""
        fan_in = max(compute_fans(shape)[0], 1)
        stddev = 1 / fan_in if self.role == "output" else 1 / math.sqrt(fan_in)
        return scaled(draw(shape, stddev, "normal", self.seed, float_dtype(dtype)), self.gain)


def mup_learning_rate_factor(role: str, width: int, base_width: int) -> float:
    """Return the factor on Adam's learning rate for a layer of a network widened from `base_width` to `width`.

    Use it with `MuP`. Input layers and biases keep the rate; hidden and output kernels take it over the width.

    Args:
        role: `"input"`, `"hidden"` or `"output"`.
        width: The layer's fan-in in the wide network.
        base_width: The same in the network that was tuned.

    Returns:
        The factor.

    Raises:
        ValueError: Unknown role, a width below one.

    Example:
        ```python
        print(tfopt.initializers.mup_learning_rate_factor("hidden", width=1024, base_width=128))  # 0.125
        ```
    """
    choice_argument(role, "mup_learning_rate_factor", "role", ROLES)
    count_argument(width, "mup_learning_rate_factor", "width")
    count_argument(base_width, "mup_learning_rate_factor", "base_width")
    return 1.0 if role == "input" else base_width / width


@keras.saving.register_keras_serializable(package="tfopt")
class PriorBias(RandomInitializer):
    """Bias of an output layer that begins at the classes' known frequencies instead of at even odds.

    Use it with rare classes: the first steps are then not spent on learning how rare they are. `log(π/(1 − π))` for
    sigmoid outputs, `log π` for softmax.

    Args:
        probability: π, between 0 and 1: one for all units, or a list of one for each.
        activation: `"sigmoid"` or `"softmax"`.

    Raises:
        ValueError: A probability that is not strictly between 0 and 1, or not one for each unit; unknown activation.
        TypeError: Probabilities that are not numbers.

    Example:
        ```python
        bias = tfopt.initializers.PriorBias(0.01)((1,))
        print(f"{float(bias[0]):.3f}")  # -4.595
        ```

    References:
        - Lin, Goyal, Girshick, He, Dollár (2017), "Focal loss for dense object detection", section 4.1,
          https://arxiv.org/abs/1708.02002
    """

    def __init__(self, probability: Number = 0.5, activation: str = "sigmoid"):
        self.probability = number("probability", probability, above=0, below=1, owner="PriorBias")
        self.activation = choice_argument(activation, "PriorBias", "activation", ("sigmoid", "softmax"))

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> Any:
        """Return a new bias of `shape`."""
        prior = ops.convert_to_tensor(self.probability, dtype=float_dtype(dtype))
        if np.any((np.asarray(self.probability) <= 0) | (np.asarray(self.probability) >= 1)):
            raise ValueError(f"PriorBias needs probabilities strictly between 0 and 1. Received: {self.probability}.")
        if len(prior.shape) and tuple(prior.shape) != tuple(shape[-1:]):
            raise ValueError(
                "Argument `probability` of PriorBias must be one number, or one for each unit. "
                f"Received: {prior.shape[0]} probabilities for the shape {tuple(shape)}."
            )
        logit = ops.log(prior) - (ops.log(1 - prior) if self.activation == "sigmoid" else 0)
        return ops.broadcast_to(logit, shape)
