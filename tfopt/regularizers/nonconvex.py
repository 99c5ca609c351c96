"""Penalties that leave large weights alone: as sparse as L1, without its bias on what stays."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from tfopt._arguments import Number, lifted, number_argument, total, value_argument
from tfopt.regularizers.base import Penalty


def _cheapest(x: Any, step: Any, candidates: list[Any], cost: Callable[[Any], Any]) -> Any:
    """Of non-negative `candidates`, element by element, the one that minimises ½(|x| − c)² + step · cost(c)."""
    size = ops.abs(x)
    stacked = ops.stack([ops.broadcast_to(candidate, x.shape) for candidate in candidates])
    best = ops.argmin(ops.square(size - stacked) / 2 + step * cost(stacked), axis=0)
    return ops.sign(x) * ops.squeeze(ops.take_along_axis(stacked, ops.expand_dims(best, 0), axis=0), axis=0)


def _nonzero(divisor: Any) -> Any:
    """`divisor` with 1 for 0: its quotient is then one candidate among others, and not the best."""
    return ops.where(divisor == 0, ops.ones_like(divisor), divisor)


@keras.saving.register_keras_serializable(package="tfopt")
class MCP(Penalty):
    """Minimax concave penalty: L1 near zero, fading to no pull at all at `gamma · strength`.

    Use it instead of L1 when the weights that stay should not be shrunk. With λ = `strength`, each weight costs
    `λ|w| − w²/2γ` where |w| <= γλ, and `γλ²/2` beyond. Not convex: the solution depends on the start.

    Args:
        strength: λ >= 0: a number, a tensor or a variable; a stack of N values gives N penalties.
        gamma: γ > 0, how slowly the pull fades; infinity would be L1.

    Raises:
        ValueError: An argument is out of its range.
        TypeError: An argument is not numeric.

    Example:
        ```python
        penalty = tfopt.regularizers.MCP(1.0, gamma=3.0)
        print(f"{float(penalty(keras.ops.array([1.0, 10.0]))):.4f}")  # 2.3333
        ```

    References:
        - Zhang (2010), "Nearly unbiased variable selection under minimax concave penalty",
          https://doi.org/10.1214/09-AOS729
    """

    def __init__(self, strength: Number = 0.01, gamma: float = 3.0):
        self.strength = value_argument(strength, "MCP", "strength")
        self.gamma = number_argument(gamma, "MCP", "gamma", minimum=0, exclusive=True)

    def __call__(self, x: Any) -> Any:
        """Return the penalty of the weight `x`."""
        return total(self._cost(ops.abs(x), lifted(self.strength, x)), x)

    def proximal(self, x: Any, step: Any) -> Any:
        """Return the exact minimiser: firm thresholding where `step < gamma`, hard thresholding where not."""
        strength, size = lifted(self.strength, x), ops.abs(x)
        knee = self.gamma * strength
        firm = (size - step * strength) / _nonzero(1 - ops.convert_to_tensor(step, x.dtype) / self.gamma)
        candidates = [ops.zeros_like(x), ops.clip(firm, 0, knee), ops.maximum(size, knee)]
        return _cheapest(x, step, candidates, lambda size: self._cost(size, strength))

    def _cost(self, size: Any, strength: Any) -> Any:
        inner = strength * size - ops.square(size) / (2 * self.gamma)
        return ops.where(size <= self.gamma * strength, inner, self.gamma * ops.square(strength) / 2)


@keras.saving.register_keras_serializable(package="tfopt")
class SCAD(Penalty):
    """Smoothly clipped absolute deviation: L1 up to `strength`, fading to no pull at `a · strength`.

    Use it as `MCP`; it keeps L1's full pull over a longer stretch. With λ = `strength`, each weight costs `λ|w|`
    where |w| <= λ, `(2aλ|w| − w² − λ²) / 2(a − 1)` up to aλ, and `λ²(a + 1)/2` beyond. Not convex.

    Args:
        strength: λ >= 0: a number, a tensor or a variable; a stack of N values gives N penalties.
        a: > 2, where the pull ends, in units of λ; 3.7 is the authors' choice.

    Raises:
        ValueError: An argument is out of its range.
        TypeError: An argument is not numeric.

    Example:
        ```python
        penalty = tfopt.regularizers.SCAD(1.0)
        print(f"{float(penalty(keras.ops.array([1.0, 10.0]))):.2f}")  # 3.35
        ```

    References:
        - Fan, Li (2001), "Variable selection via nonconcave penalized likelihood and its oracle properties",
          https://doi.org/10.1198/016214501753382273
    """

    def __init__(self, strength: Number = 0.01, a: float = 3.7):
        self.strength = value_argument(strength, "SCAD", "strength")
        self.a = number_argument(a, "SCAD", "a", minimum=2, exclusive=True)

    def __call__(self, x: Any) -> Any:
        """Return the penalty of the weight `x`."""
        return total(self._cost(ops.abs(x), lifted(self.strength, x)), x)

    def proximal(self, x: Any, step: Any) -> Any:
        """Return the exact minimiser, the best of the three pieces' own."""
        strength, size, a = lifted(self.strength, x), ops.abs(x), self.a
        step = ops.convert_to_tensor(step, x.dtype)
        middle = ((a - 1) * size - step * a * strength) / _nonzero(a - 1 - step)
        candidates = [
            ops.zeros_like(x),
            ops.clip(size - step * strength, 0, strength),
            ops.clip(middle, strength, a * strength),
            ops.maximum(size, a * strength),
        ]
        return _cheapest(x, step, candidates, lambda size: self._cost(size, strength))

    def _cost(self, size: Any, strength: Any) -> Any:
        a = self.a
        middle = (2 * a * strength * size - ops.square(size) - ops.square(strength)) / (2 * (a - 1))
        far = ops.where(size <= a * strength, middle, ops.square(strength) * (a + 1) / 2)
        return ops.where(size <= strength, strength * size, far)


@keras.saving.register_keras_serializable(package="tfopt")
class LogSum(Penalty):
    """Log-sum penalty: the pull falls off like 1/|w|, so that many small weights lose to a few large ones.

    Use it for stronger sparsity than L1; it is what iteratively reweighted L1 minimises.
    `penalty = strength · Σ log(1 + |w|/epsilon)`. Not convex.

    Args:
        strength: >= 0: a number, a tensor or a variable; a stack of N values gives N penalties.
        epsilon: > 0, the size below which a weight counts as small; the pull at zero is `strength / epsilon`.

    Raises:
        ValueError: An argument is out of its range.
        TypeError: An argument is not numeric.

    Example:
        ```python
        penalty = tfopt.regularizers.LogSum(1.0, epsilon=0.5)
        print(f"{float(penalty(keras.ops.array([0.5, 0.0]))):.4f}")  # 0.6931
        ```

    References:
        - Candès, Wakin, Boyd (2008), "Enhancing sparsity by reweighted L1 minimization",
          https://doi.org/10.1007/s00041-008-9045-x
    """

    def __init__(self, strength: Number = 0.01, epsilon: float = 0.1):
        self.strength = value_argument(strength, "LogSum", "strength")
        self.epsilon = number_argument(epsilon, "LogSum", "epsilon", minimum=0, exclusive=True)

    def __call__(self, x: Any) -> Any:
        """Return the penalty of the weight `x`."""
        return total(self._cost(ops.abs(x), lifted(self.strength, x)), x)

    def proximal(self, x: Any, step: Any) -> Any:
        """Return the better of zero and the larger root of the stationary condition, a quadratic."""
        strength, size = lifted(self.strength, x), ops.abs(x)
        root = ops.sqrt(ops.maximum(ops.square(size + self.epsilon) - 4 * step * strength, 0))
        candidates = [ops.zeros_like(x), ops.maximum((size - self.epsilon + root) / 2, 0)]
        return _cheapest(x, step, candidates, lambda size: self._cost(size, strength))

    def _cost(self, size: Any, strength: Any) -> Any:
        return strength * ops.log1p(size / self.epsilon)


@keras.saving.register_keras_serializable(package="tfopt")
class LHalf(Penalty):
    """L0.5 penalty: the sum of the square roots of the weights' sizes, sparser than L1.

    Use it as a stand-in for counting the weights that are not zero. `penalty = strength · Σ (√(|w| + ε) − √ε)`; the
    plain root has an infinite slope at zero, ε bounds it at `strength / 2√ε`. Not convex.

    Args:
        strength: >= 0: a number, a tensor or a variable; a stack of N values gives N penalties.
        epsilon: ε > 0, the size below which the root is straightened.

    Raises:
        ValueError: An argument is out of its range.
        TypeError: An argument is not numeric.

    Example:
        ```python
        penalty = tfopt.regularizers.LHalf(1.0, epsilon=1e-4)
        print(f"{float(penalty(keras.ops.array([4.0, 0.0]))):.2f}")  # 1.99
        ```

    References:
        - Xu, Chang, Xu, Zhang (2012), "L1/2 regularization: a thresholding representation theory and a fast solver",
          https://doi.org/10.1109/TNNLS.2012.2197412
    """

    def __init__(self, strength: Number = 0.01, epsilon: float = 1e-4):
        self.strength = value_argument(strength, "LHalf", "strength")
        self.epsilon = number_argument(epsilon, "LHalf", "epsilon", minimum=0, exclusive=True)

    def __call__(self, x: Any) -> Any:
        """Return the penalty of the weight `x`."""
        epsilon = ops.convert_to_tensor(self.epsilon, dtype=x.dtype)
        return total(lifted(self.strength, x) * (ops.sqrt(ops.abs(x) + epsilon) - ops.sqrt(epsilon)), x)
