"""L1, L2 and their sums: the penalties that scikit-learn's linear models have too."""

from typing import Any

import keras
from keras import ops

from tfopt._arguments import Number, as_tensor, choice_argument, number_argument, value_argument
from tfopt.regularizers.base import Penalty


def soft_threshold(x: Any, threshold: Any) -> Any:
    """Shrink every element of `x` towards zero by `threshold`; what is smaller becomes exactly zero."""
    return ops.sign(x) * ops.maximum(ops.abs(x) - threshold, 0)


@keras.saving.register_keras_serializable(package="tfopt")
class L1(Penalty):
    """L1 penalty: pulls every weight towards zero by the same amount, so that the useless ones end there.

    Use it to select features. With an ordinary optimizer the weights only hover around zero; wrap the optimizer in
    `tfopt.regularizers.ProximalOptimizer` for zeros that are zero. `penalty = l1 Σ|w|`; scikit-learn's
    `Lasso(alpha)` is `L1(2 * alpha)` under Keras's `"mse"`.

    Args:
        l1: Strength, >= 0: a number, a tensor or a variable; a stack of N values gives N penalties.

    Raises:
        ValueError: `l1` is negative or not finite.
        TypeError: `l1` is not numeric.

    Example:
        ```python
        penalty = tfopt.regularizers.L1(0.5)
        print(f"{float(penalty(keras.ops.array([1.0, -2.0]))):.2f}")  # 1.50
        ```

    References:
        - Tibshirani (1996), "Regression shrinkage and selection via the lasso",
          https://doi.org/10.1111/j.2517-6161.1996.tb02080.x
    """

    def __init__(self, l1: Number = 0.01):
        self.l1 = value_argument(l1, "L1", "l1")

    def __call__(self, x: Any) -> Any:
        """Return the penalty of the weight `x`."""
        return as_tensor(self.l1, x.dtype) * ops.sum(ops.abs(x))

    def proximal(self, x: Any, step: Any) -> Any:
        """Return the soft threshold of `x` at `step · l1`."""
        return soft_threshold(x, step * as_tensor(self.l1, x.dtype))


@keras.saving.register_keras_serializable(package="tfopt")
class L2(Penalty):
    """L2 penalty: pulls every weight towards zero in proportion to its size.

    Use it against overfitting when most inputs matter a little. `penalty = l2 Σw²`, without ½; scikit-learn's
    `Ridge(alpha)` on n rows is `L2(alpha / n)` under Keras's `"mse"`.

    Args:
        l2: Strength, >= 0: a number, a tensor or a variable; a stack of N values gives N penalties.

    Raises:
        ValueError: `l2` is negative or not finite.
        TypeError: `l2` is not numeric.

    Example:
        ```python
        penalty = tfopt.regularizers.L2(0.5)
        print(f"{float(penalty(keras.ops.array([1.0, -2.0]))):.2f}")  # 2.50
        ```

    References:
        - Hoerl, Kennard (1970), "Ridge regression: biased estimation for nonorthogonal problems",
          https://doi.org/10.1080/00401706.1970.10488634
    """

    smooth = True

    def __init__(self, l2: Number = 0.01):
        self.l2 = value_argument(l2, "L2", "l2")

    def __call__(self, x: Any) -> Any:
        """Return the penalty of the weight `x`."""
        return as_tensor(self.l2, x.dtype) * ops.sum(ops.square(x))

    def proximal(self, x: Any, step: Any) -> Any:
        """Return `x / (1 + 2 step · l2)`."""
        return x / (1 + 2 * step * as_tensor(self.l2, x.dtype))


@keras.saving.register_keras_serializable(package="tfopt")
class L1L2(Penalty):
    """Sum of an L1 and an L2 penalty, each with its own strength.

    Use it where features come in correlated groups: L1 alone keeps one of a group and drops the others.
    `penalty = l1 Σ|w| + l2 Σw²`. `tfopt.regularizers.ElasticNet` is the same under scikit-learn's parameters.

    Args:
        l1: L1 strength, >= 0: a number, a tensor or a variable; a stack of N values gives N penalties.
        l2: L2 strength, >= 0, likewise.

    Raises:
        ValueError: A strength is negative or not finite.
        TypeError: A strength is not numeric.

    Example:
        ```python
        penalty = tfopt.regularizers.L1L2(l1=0.5, l2=0.1)
        print(f"{float(penalty(keras.ops.array([1.0, -2.0]))):.2f}")  # 2.00
        ```

    References:
        - Zou, Hastie (2005), "Regularization and variable selection via the elastic net",
          https://doi.org/10.1111/j.1467-9868.2005.00503.x
    """

    def __init__(self, l1: Number = 0.0, l2: Number = 0.0):
        self.l1 = value_argument(l1, "L1L2", "l1")
        self.l2 = value_argument(l2, "L1L2", "l2")

    def __call__(self, x: Any) -> Any:
        """Return the penalty of the weight `x`."""
        l1, l2 = as_tensor(self.l1, x.dtype), as_tensor(self.l2, x.dtype)
        return l1 * ops.sum(ops.abs(x)) + l2 * ops.sum(ops.square(x))

    def proximal(self, x: Any, step: Any) -> Any:
        """Return the soft threshold of `x` at `step · l1`, divided by `1 + 2 step · l2`."""
        l1, l2 = as_tensor(self.l1, x.dtype), as_tensor(self.l2, x.dtype)
        return soft_threshold(x, step * l1) / (1 + 2 * step * l2)


@keras.saving.register_keras_serializable(package="tfopt")
class ElasticNet(Penalty):
    """Elastic net in the terms of scikit-learn and glmnet: one strength, and the share of it that is L1.

    Use it instead of `L1L2` where strength and mixture are tuned apart. With ρ = `l1_ratio`,
    `penalty = strength · (ρ Σ|w| + (1 − ρ)/2 Σw²)`; scikit-learn's `ElasticNet(alpha, l1_ratio)` is
    `ElasticNet(2 * alpha, l1_ratio)` under Keras's `"mse"`, which has no ½.

    Args:
        strength: >= 0: a number, a tensor or a variable; a stack of N values gives N penalties.
        l1_ratio: Share of L1, between 0 (L2 only) and 1 (L1 only), likewise.

    Raises:
        ValueError: An argument is out of its range.
        TypeError: An argument is not numeric.

    Example:
        ```python
        penalty = tfopt.regularizers.ElasticNet(strength=1.0, l1_ratio=0.5)
        print(f"{float(penalty(keras.ops.array([1.0, -2.0]))):.2f}")  # 2.75
        ```

    References:
        - Zou, Hastie (2005), "Regularization and variable selection via the elastic net",
          https://doi.org/10.1111/j.1467-9868.2005.00503.x
    """

    def __init__(self, strength: Number = 0.01, l1_ratio: Number = 0.5):
        self.strength = value_argument(strength, "ElasticNet", "strength")
        self.l1_ratio = value_argument(l1_ratio, "ElasticNet", "l1_ratio", maximum=1.0)

    def __call__(self, x: Any) -> Any:
        """Return the penalty of the weight `x`."""
        l1, l2 = self._strengths(x.dtype)
        return l1 * ops.sum(ops.abs(x)) + l2 * ops.sum(ops.square(x))

    def proximal(self, x: Any, step: Any) -> Any:
        """Return the proximal step of the `L1L2` that this is."""
        l1, l2 = self._strengths(x.dtype)
        return soft_threshold(x, step * l1) / (1 + 2 * step * l2)

    def _strengths(self, dtype: Any) -> tuple[Any, Any]:
        strength, l1_ratio = as_tensor(self.strength, dtype), as_tensor(self.l1_ratio, dtype)
        return strength * l1_ratio, strength * (1 - l1_ratio) / 2


@keras.saving.register_keras_serializable(package="tfopt")
class TextbookL2(Penalty):
    """The penalty of the textbook's cost `J = 1/2m Σ(h − y)² + λ/2m Σθ²`, matched to Keras's loss.

    Use it to train with the λ of a course or a book. Keras's `"mse"` is twice the textbook's first term, so the
    penalty is doubled with it: `λ/m Σθ²`; with a cross-entropy, whose textbook form has no ½, it is `λ/2m Σθ²`.

    Args:
        strength: λ >= 0: a number, a tensor or a variable; a stack of N values gives N penalties.
        num_samples: m, the number of training rows.
        loss: `"mse"`, or `"crossentropy"` for logistic and softmax regression.

    Raises:
        ValueError: An argument is out of its range.
        TypeError: An argument is not numeric.

    Example:
        ```python
        penalty = tfopt.regularizers.TextbookL2(10.0, num_samples=442)  # Ridge(alpha=10.0) on diabetes
        print(f"{float(penalty(keras.ops.array([442.0]))):.0f}")  # 4420
        ```

    References:
        - Ng (2011), "Machine Learning", week 3, https://www.coursera.org/learn/machine-learning
    """

    smooth = True

    def __init__(self, strength: Number = 1.0, num_samples: float = 1, loss: str = "mse"):
        self.strength = value_argument(strength, "TextbookL2", "strength")
        self.num_samples = number_argument(num_samples, "TextbookL2", "num_samples", minimum=0, exclusive=True)
        self.loss = choice_argument(loss, "TextbookL2", "loss", ("mse", "crossentropy"))

    def __call__(self, x: Any) -> Any:
        """Return the penalty of the weight `x`."""
        return self._l2(x.dtype) * ops.sum(ops.square(x))

    def proximal(self, x: Any, step: Any) -> Any:
        """Return the proximal step of the `L2` that this is."""
        return x / (1 + 2 * step * self._l2(x.dtype))

    def _l2(self, dtype: Any) -> Any:
        divisor = self.num_samples if self.loss == "mse" else 2 * self.num_samples
        return as_tensor(self.strength, dtype) / divisor
