"""Networks of several members that share most of their weights: the layers of TabM."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tfopt._arguments import choice_argument, count_argument, flag, from_keras, whole_numbers

SCALES = ("ones", "normal", "signs")


class _Ensemble(keras.layers.Layer):
    """A layer whose inputs and outputs have an axis of members before the last one: (rows, members, features).

    Inputs without it, (rows, features), are the same for all members.
    """

    def __init__(self, num_members: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.num_members = count_argument(num_members, type(self).__name__, "num_members")

    def spread(self, inputs: Any) -> Any:
        """Return the inputs with an axis of members, of length 1 where all members share them."""
        return ops.expand_dims(inputs, 1) if len(inputs.shape) == 2 else inputs

    def build(self, input_shape: Any) -> None:
        """Check the inputs."""
        if len(input_shape) not in (2, 3) or (len(input_shape) == 3 and input_shape[1] not in (1, self.num_members)):
            raise ValueError(
                f"{type(self).__name__} takes inputs (rows, features) or (rows, {self.num_members}, features). "
                f"Received: shape {tuple(input_shape)}."
            )
        super().build(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments as plain Python values."""
        return {**super().get_config(), "num_members": self.num_members}


@keras.saving.register_keras_serializable(package="tfopt")
class EnsembleScaling(_Ensemble):
    """Multiply the features by trained factors, others for each member of an ensemble, so that members differ.

    Use it at the start of an ensemble: alone before a shared network it is TabM-mini, before `BatchEnsembleDense`
    (without its own `input_scaling`) TabM.

    Formula: h_i = x ∘ r_i.

    Args:
        num_members: Int ≥ 1: number of members.
        scale: What r begins with: `"normal"`, N(0, 1), which TabM takes after embeddings of numbers; `"signs"`, ±1,
            which it takes without; `"ones"`.
        sections: Sequence of ints or None: widths of groups of neighbouring features that begin with one factor, such
            as the columns of one embedding; their sum is the number of features. None for one draw each.
        **kwargs: Arguments of `keras.layers.Layer`.

    Raises:
        ValueError: `scale` is unknown, a count is below 1, or `sections` do not add up to the features.

    Example:
        ```python
        print(tuple(tfopt.layers.EnsembleScaling(8)(np.ones((5, 3))).shape))  # (5, 8, 3)
        ```

    References:
        - Gorishniy, Kotelnikov, Babenko (2024), "TabM: Advancing Tabular Deep Learning with Parameter-Efficient
          Ensembling", https://arxiv.org/abs/2410.24210
    """

    def __init__(
        self, num_members: int = 32, scale: str = "normal", sections: Sequence[int] | None = None, **kwargs: Any
    ):
        super().__init__(num_members, **kwargs)
        self.scale = choice_argument(scale, "EnsembleScaling", "scale", SCALES)
        self.sections = None if sections is None else whole_numbers("sections", sections, owner="EnsembleScaling")

    def build(self, input_shape: Any) -> None:
        """Create r."""
        features = input_shape[-1]
        sections = [1] * features if self.sections is None else self.sections
        if sum(sections) != features:
            raise ValueError(
                f"Argument `sections` of EnsembleScaling must add up to the number of features, {features}. Received: "
                f"sections={self.sections}."
            )

        def start(shape: Sequence[int], dtype: Any) -> Any:
            drawn = _start(self.scale)((shape[0], len(sections)), dtype=dtype)
            return ops.take(drawn, np.repeat(np.arange(len(sections)), sections), axis=1)

        self.factors = self.add_weight(name="factors", shape=(self.num_members, features), initializer=start)
        super().build(input_shape)

    def call(self, inputs: Any) -> Any:
        """Return the scaled features of each member."""
        return self.spread(inputs) * ops.cast(self.factors, inputs.dtype)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the outputs."""
        return (input_shape[0], self.num_members, input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        """Return the arguments as plain Python values."""
        return {**super().get_config(), "scale": self.scale, "sections": self.sections}


@keras.saving.register_keras_serializable(package="tfopt")
class BatchEnsembleDense(_Ensemble):
    """Dense layer of several members that share one kernel, each with its own scaling of inputs and outputs.

    Use it in place of a dense layer to train an ensemble of networks for little more than the memory of one, and
    with less overfitting than one.

    Formula: h_i = activation(((x_i ∘ r_i) W) ∘ s_i + b_i). W begins uniform within ±1/√d of d inputs, b too and the
    same for all members; r and s begin at one: what makes the members differ is `EnsembleScaling` before the first.

    Args:
        units: Int ≥ 1: number of outputs.
        num_members: Int ≥ 1: number of members.
        activation: As in `keras.layers.Dense`.
        use_bias: As in `keras.layers.Dense`.
        input_scaling: Bool: whether there is an r.
        **kwargs: Arguments of `keras.layers.Layer`.

    Raises:
        ValueError: A count is below 1.

    Example:
        ```python
        print(tuple(tfopt.layers.BatchEnsembleDense(16, num_members=8, activation="relu")(np.ones((5, 3))).shape))
        # (5, 8, 16)
        ```

    References:
        - Wen, Tran, Ba (2020), "BatchEnsemble: An Alternative Approach to Efficient Ensemble and Lifelong Learning",
          https://arxiv.org/abs/2002.06715
        - Gorishniy, Kotelnikov, Babenko (2024), "TabM: Advancing Tabular Deep Learning with Parameter-Efficient
          Ensembling", https://arxiv.org/abs/2410.24210
    """

    def __init__(
        self,
        units: int,
        num_members: int = 32,
        activation: Any = None,
        use_bias: bool = True,
        input_scaling: bool = True,
        **kwargs: Any,
    ):
        super().__init__(num_members, **kwargs)
        self.units = count_argument(units, "BatchEnsembleDense", "units")
        self.activation = from_keras("activation", activation, keras.activations, "BatchEnsembleDense")
        self.use_bias = flag("use_bias", use_bias, "BatchEnsembleDense")
        self.input_scaling = flag("input_scaling", input_scaling, "BatchEnsembleDense")

    def build(self, input_shape: Any) -> None:
        """Create W, r, s and b."""
        features, members = input_shape[-1], self.num_members
        bound = 1 / math.sqrt(features)

        def same(shape: Sequence[int], dtype: Any) -> Any:
            return ops.broadcast_to(uniform.clone()((1, shape[1]), dtype=dtype), shape)

        uniform = keras.initializers.RandomUniform(-bound, bound)
        self.kernel = self.add_weight(name="kernel", shape=(features, self.units), initializer=uniform)
        self.input_factors = None
        if self.input_scaling:
            self.input_factors = self.add_weight(name="input_factors", shape=(members, features), initializer="ones")
        self.output_factors = self.add_weight(name="output_factors", shape=(members, self.units), initializer="ones")
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(name="bias", shape=(members, self.units), initializer=same)
        super().build(input_shape)

    def call(self, inputs: Any) -> Any:
        """Return the outputs of each member."""
        outputs = self.spread(inputs)
        if self.input_factors is not None:
            outputs = outputs * ops.cast(self.input_factors, outputs.dtype)
        outputs = ops.matmul(outputs, ops.cast(self.kernel, outputs.dtype))
        outputs = outputs * ops.cast(self.output_factors, outputs.dtype)
        if self.bias is not None:
            outputs = outputs + ops.cast(self.bias, outputs.dtype)
        return self.activation(outputs)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the outputs."""
        return (input_shape[0], self.num_members, self.units)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments as plain Python values."""
        own = {
            "units": self.units,
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "input_scaling": self.input_scaling,
        }
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="tfopt")
class SeparateDense(_Ensemble):
    """Dense layer of which each member has its own: the heads of an ensemble, or an ensemble that shares nothing.

    Formula: h_i = activation(x_i W_i + b_i). W and b begin uniform within ±1/√d of d inputs.

    Args:
        units: Int ≥ 1: number of outputs.
        num_members: Int ≥ 1: number of members.
        activation: As in `keras.layers.Dense`.
        use_bias: As in `keras.layers.Dense`.
        **kwargs: Arguments of `keras.layers.Layer`.

    Raises:
        ValueError: A count is below 1.

    Example:
        ```python
        print(tuple(tfopt.layers.SeparateDense(2, num_members=8)(np.ones((5, 8, 3))).shape))  # (5, 8, 2)
        ```

    References:
        - Gorishniy, Kotelnikov, Babenko (2024), "TabM: Advancing Tabular Deep Learning with Parameter-Efficient
          Ensembling", https://arxiv.org/abs/2410.24210
    """

    def __init__(self, units: int, num_members: int = 32, activation: Any = None, use_bias: bool = True, **kwargs: Any):
        super().__init__(num_members, **kwargs)
        self.units = count_argument(units, "SeparateDense", "units")
        self.activation = from_keras("activation", activation, keras.activations, "SeparateDense")
        self.use_bias = flag("use_bias", use_bias, "SeparateDense")

    def build(self, input_shape: Any) -> None:
        """Create the kernels and biases."""
        features, members = input_shape[-1], self.num_members
        uniform = keras.initializers.RandomUniform(-1 / math.sqrt(features), 1 / math.sqrt(features))
        self.kernel = self.add_weight(name="kernel", shape=(members, features, self.units), initializer=uniform)
        self.bias = None
        if self.use_bias:
            shape = (members, self.units)
            self.bias = self.add_weight(name="bias", shape=shape, initializer=uniform.clone())
        super().build(input_shape)

    def call(self, inputs: Any) -> Any:
        """Return the outputs of each member."""
        inputs = ops.broadcast_to(self.spread(inputs), (ops.shape(inputs)[0], self.num_members, inputs.shape[-1]))
        outputs = ops.einsum("nmf,mfu->nmu", inputs, ops.cast(self.kernel, inputs.dtype))
        if self.bias is not None:
            outputs = outputs + ops.cast(self.bias, outputs.dtype)
        return self.activation(outputs)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the outputs."""
        return (input_shape[0], self.num_members, self.units)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments as plain Python values."""
        own = {
            "units": self.units,
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
        }
        return {**super().get_config(), **own}


def _start(scale: str) -> Any:
    if scale == "signs":
        uniform = keras.initializers.RandomUniform(-1.0, 1.0)
        return lambda shape, dtype: ops.where(uniform(shape, dtype=dtype) < 0, -1.0, 1.0)
    return keras.initializers.RandomNormal(0.0, 1.0) if scale == "normal" else keras.initializers.Ones()
