"""Penalties on groups of weights: whole inputs, units or channels go to zero together."""

import math
from typing import Any

import keras
from keras import ops

from tfopt._arguments import Number, as_tensor, choice_argument, value_argument
from tfopt.regularizers.base import Penalty
from tfopt.regularizers.elementwise import soft_threshold

GROUPS = ("rows", "columns", "channels")


def safe_norm(square_sum: Any) -> Any:
    """Square root whose gradient at zero is zero instead of NaN."""
    positive = square_sum > 0
    return ops.where(positive, ops.sqrt(ops.where(positive, square_sum, 1)), 0)


def group_axes(x: Any, groups: str) -> tuple[int, ...]:
    """The axes that lie inside one group: all but the input's, the unit's or the channel's."""
    rank = len(x.shape)
    if rank < 2:
        return ()  # a bias: every element is a group
    if groups == "columns":
        return tuple(range(rank - 1))
    if groups == "channels":
        return (*range(rank - 2), rank - 1)
    return (rank - 1,)


def group_norms(x: Any, groups: str) -> Any:
    """Euclidean norm of every group of `x`, with the axes inside kept at size 1."""
    axes = group_axes(x, groups)
    return safe_norm(ops.sum(ops.square(x), axis=axes, keepdims=True)) if axes else ops.abs(x)


def shrink_groups(x: Any, groups: str, threshold: Any) -> Any:
    """Shorten every group's vector by `threshold`; what is shorter becomes exactly zero."""
    norms = group_norms(x, groups)
    return x * ops.maximum(1 - threshold / ops.where(norms > 0, norms, 1), 0) * ops.cast(norms > threshold, x.dtype)


def _root_group_size(x: Any, groups: str) -> float:
    return math.sqrt(math.prod(x.shape[axis] for axis in group_axes(x, groups)))


@keras.saving.register_keras_serializable(package="tfopt")
class L21(Penalty):
    """L2,1 penalty: selects inputs for all outputs at once, every row of the kernel kept or dropped as a whole.

    Use it for several targets that should share their features. `penalty = strength · Σ_g ‖w_g‖₂ + l2 Σw²`, without
    a weight for the group's size; scikit-learn's `MultiTaskLasso(alpha)` with m targets is `L21(2 * alpha / m)` under
    Keras's `"mse"`, and `MultiTaskElasticNet` uses `l2` too.

    Args:
        strength: >= 0: a number, a tensor or a variable; a stack of N values gives N penalties.
        groups: `"rows"` groups the weights by input (by input and position in a convolution), `"columns"` by output
            unit or filter, `"channels"` by input channel.
        l2: Strength of an L2 penalty besides, likewise.

    Raises:
        ValueError: Negative strength, unknown grouping.
        TypeError: A strength that is not numeric.

    Example:
        ```python
        penalty = tfopt.regularizers.L21(0.1)
        print(f"{float(penalty(keras.ops.array([[3.0, 4.0], [0.0, 0.0]]))):.2f}")  # 0.50
        ```

    References:
        - Obozinski, Taskar, Jordan (2010), "Joint covariate selection and joint subspace selection for multiple
          classification problems", https://doi.org/10.1007/s11222-008-9111-x
    """

    def __init__(self, strength: Number = 0.01, groups: str = "rows", l2: Number = 0.0):
        self.strength = value_argument(strength, "L21", "strength")
        self.groups = choice_argument(groups, "L21", "groups", GROUPS)
        self.l2 = value_argument(l2, "L21", "l2")

    def __call__(self, x: Any) -> Any:
        """Return the penalty of the weight `x`."""
        square = as_tensor(self.l2, x.dtype) * ops.sum(ops.square(x))
        return as_tensor(self.strength, x.dtype) * ops.sum(group_norms(x, self.groups)) + square

    def proximal(self, x: Any, step: Any) -> Any:
        """Return `x` with every group shortened by `step · strength`, divided by `1 + 2 step · l2`."""
        shrunk = shrink_groups(x, self.groups, step * as_tensor(self.strength, x.dtype))
        return shrunk / (1 + 2 * step * as_tensor(self.l2, x.dtype))


@keras.saving.register_keras_serializable(package="tfopt")
class GroupLasso(Penalty):
    """Group lasso: drops whole inputs, units or channels, and so makes a layer smaller, not only sparser.

    Use it to prune: `"rows"` selects input features, `"columns"` units or filters, `"channels"` input channels of a
    convolution. `penalty = strength · Σ_g √|g| ‖w_g‖₂`; the root of the group's size keeps large groups from being
    cheap.

    Args:
        strength: >= 0: a number, a tensor or a variable; a stack of N values gives N penalties.
        groups: `"rows"`, `"columns"` or `"channels"`.

    Raises:
        ValueError: Negative strength, unknown grouping.
        TypeError: A strength that is not numeric.

    Example:
        ```python
        penalty = tfopt.regularizers.GroupLasso(0.1, groups="columns")
        print(f"{float(penalty(keras.ops.array([[3.0, 0.0], [4.0, 0.0]]))):.3f}")  # 0.707
        ```

    References:
        - Yuan, Lin (2006), "Model selection and estimation in regression with grouped variables",
          https://doi.org/10.1111/j.1467-9868.2005.00532.x
        - Scardapane, Comminiello, Hussain, Uncini (2017), "Group sparse regularization for deep neural networks",
          https://arxiv.org/abs/1607.00485
    """

    def __init__(self, strength: Number = 0.01, groups: str = "rows"):
        self.strength = value_argument(strength, "GroupLasso", "strength")
        self.groups = choice_argument(groups, "GroupLasso", "groups", GROUPS)

    def __call__(self, x: Any) -> Any:
        """Return the penalty of the weight `x`."""
        weight = as_tensor(self.strength, x.dtype) * _root_group_size(x, self.groups)
        return weight * ops.sum(group_norms(x, self.groups))

    def proximal(self, x: Any, step: Any) -> Any:
        """Return `x` with every group shortened by `step · strength · √|g|`."""
        weight = as_tensor(self.strength, x.dtype) * _root_group_size(x, self.groups)
        return shrink_groups(x, self.groups, step * weight)


@keras.saving.register_keras_serializable(package="tfopt")
class SparseGroupLasso(Penalty):
    """Sparse group lasso: drops whole groups, and single weights inside the groups that stay.

    Use it where few inputs matter, and each of them only for some outputs.
    `penalty = l1 Σ|w| + group · Σ_g √|g| ‖w_g‖₂`.

    Args:
        l1: Strength on single weights, >= 0: a number, a tensor or a variable; a stack of N gives N penalties.
        group: Strength on groups, likewise.
        groups: `"rows"`, `"columns"` or `"channels"`.

    Raises:
        ValueError: Negative strength, unknown grouping.
        TypeError: A strength that is not numeric.

    Example:
        ```python
        penalty = tfopt.regularizers.SparseGroupLasso(l1=0.1, group=0.1)
        print(f"{float(penalty(keras.ops.array([[3.0, 4.0], [0.0, 0.0]]))):.3f}")  # 1.407
        ```

    References:
        - Simon, Friedman, Hastie, Tibshirani (2013), "A sparse-group lasso",
          https://doi.org/10.1080/10618600.2012.681250
    """

    def __init__(self, l1: Number = 0.01, group: Number = 0.01, groups: str = "rows"):
        self.l1 = value_argument(l1, "SparseGroupLasso", "l1")
        self.group = value_argument(group, "SparseGroupLasso", "group")
        self.groups = choice_argument(groups, "SparseGroupLasso", "groups", GROUPS)

    def __call__(self, x: Any) -> Any:
        """Return the penalty of the weight `x`."""
        single = as_tensor(self.l1, x.dtype) * ops.sum(ops.abs(x))
        weight = as_tensor(self.group, x.dtype) * _root_group_size(x, self.groups)
        return single + weight * ops.sum(group_norms(x, self.groups))

    def proximal(self, x: Any, step: Any) -> Any:
        """Return the soft threshold of `x`, and of that every group shortened; the order is exact."""
        weight = as_tensor(self.group, x.dtype) * _root_group_size(x, self.groups)
        return shrink_groups(soft_threshold(x, step * as_tensor(self.l1, x.dtype)), self.groups, step * weight)
