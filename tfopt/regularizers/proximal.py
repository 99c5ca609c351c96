"""Proximal steps: the optimizer that makes zeros exact. Needs TensorFlow."""

import logging
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from tfopt._arguments import as_tensor
from tfopt.regularizers.base import Penalty
from tfopt.regularizers.elementwise import L1, L1L2

logger = logging.getLogger("tfopt")


class _Weights:
    """The weights in the order of the optimizer's slots, out of sight of Keras's tracking: they are the model's own."""

    def __init__(self, weights: list[Any]):
        self.weights = weights

    def index(self, weight: Any) -> int:
        return next(index for index, known in enumerate(self.weights) if known is weight)


@keras.saving.register_keras_serializable(package="tfopt")
class ProximalOptimizer(keras.optimizers.Optimizer):
    """Wraps any optimizer so that penalties with a corner at zero bring weights to exactly zero.

    Use it with L1, group lasso and their kin: under an ordinary optimizer their weights hover around zero, and no
    Keras model gets a zero from L1. Nothing else changes: same layers, same `model.fit`, same loss. In each step the
    penalties' gradients are taken out of what the wrapped optimizer sees, and their exact minimiser is applied after
    its update with the learning rate η of that very step:

    `w ← argmin_u ½‖u − w′‖² + η · penalty(u)`, with w′ the weight after the wrapped optimizer's step.

    It applies to penalties of `tfopt.regularizers` with a proximal step and a corner (L1, L1L2, ElasticNet, L21,
    GroupLasso, SparseGroupLasso, MCP, SCAD, LogSum, Nuclear, TotalVariation) and to Keras's own L1 and L1L2. Smooth
    penalties and those without a closed form stay in the gradient.

    With SGD, momentum and Nesterov momentum the fixed point is the minimiser of loss plus penalty itself: the velocity
    is set to how far the weight really moved. With adaptive optimizers (Adam and its kin) the penalty is decoupled,
    like AdamW's weight decay: η times the strength is taken off every weight, whatever the scale of its gradient.
    What is zero is exactly zero, but strengths mean something else: Adam moves a weight by about η however small its
    gradient, so that only strengths near 1 and above hold a weight at zero, and the solution is not Lasso's. To have
    the latter from Adam, use `tfopt.layers.ProductDense`.

    Args:
        inner_optimizer: The optimizer to wrap, or its Keras name. Schedules, clipping, weight decay, gradient
            accumulation and `loss_scale_factor` stay with it. For float16, wrap this one in a `LossScaleOptimizer`, as
            `model.compile` does by itself.
        name: Name of the optimizer.

    Raises:
        TypeError: `inner_optimizer` is not an optimizer.
        ValueError: It is itself a wrapper that scales the loss, or it averages weights (`use_ema`).

    Example:
        ```python
        layer = keras.layers.Dense(1, kernel_regularizer=tfopt.regularizers.L1(0.2))
        model = keras.Sequential([keras.Input((10,)), layer])
        model.compile(tfopt.regularizers.ProximalOptimizer(keras.optimizers.SGD(0.01)), "mse")
        ```

    References:
        - Parikh, Boyd (2014), "Proximal algorithms", https://doi.org/10.1561/2400000003
        - Ochs, Chen, Brox, Pock (2014), "iPiano: inertial proximal algorithm for non-convex optimization", for
          momentum, https://arxiv.org/abs/1404.4805
        - Beck, Teboulle (2009), "A fast iterative shrinkage-thresholding algorithm for linear inverse problems", for
          momentum, https://doi.org/10.1137/080716542
    """

    def __init__(self, inner_optimizer: Any, name: str | None = None):
        if isinstance(inner_optimizer, str):
            inner_optimizer = keras.optimizers.get(inner_optimizer)
        if not isinstance(inner_optimizer, keras.optimizers.Optimizer):
            raise TypeError(
                "Argument `inner_optimizer` of ProximalOptimizer must be a Keras optimizer. "
                f"Received: inner_optimizer={inner_optimizer!r}."
            )
        if isinstance(inner_optimizer, (keras.optimizers.LossScaleOptimizer, ProximalOptimizer)):
            raise ValueError(
                "Argument `inner_optimizer` of ProximalOptimizer must be the optimizer itself. Received: "
                f"inner_optimizer={type(inner_optimizer).__name__}. Put ProximalOptimizer innermost: "
                "LossScaleOptimizer(ProximalOptimizer(optimizer))."
            )
        if inner_optimizer.use_ema:
            raise ValueError(
                "Argument `inner_optimizer` of ProximalOptimizer must have use_ema=False: an average of weights has "
                "no exact zeros."
            )
        super().__init__(learning_rate=0.0, name=name)
        self.inner_optimizer = inner_optimizer

    def build(self, var_list: list[Any]) -> None:
        """Create the wrapped optimizer's slots."""
        self._weights = _Weights(list(var_list))
        self.inner_optimizer.build(var_list)
        super().build(var_list)
        if not any(_proximal_penalty(weight) for weight in var_list):
            logger.warning(
                "ProximalOptimizer: no weight has a penalty with a proximal step; it trains as %s alone.",
                type(self.inner_optimizer).__name__,
            )

    def apply(self, grads: list[Any], trainable_variables: list[Any] | None = None) -> None:
        """Take the wrapped optimizer's step on the loss without penalties, then the penalties' proximal steps."""
        if not self.built:
            self.build(list(trainable_variables or []))
        weights = self._weights.weights if trainable_variables is None else list(trainable_variables)
        inner = self.inner_optimizer
        penalised = {
            index: (weight, penalty) for index, weight in enumerate(weights) if (penalty := _proximal_penalty(weight))
        }
        # Read now: the wrapped optimizer's step moves the schedule on, and its slots.
        steps = {index: as_tensor(inner.learning_rate, weight.dtype) for index, (weight, _) in penalised.items()}
        updates_before = ops.cast(inner.iterations, "int64")
        before = {index: self._read(weight) for index, (weight, _) in penalised.items()}

        grads = list(grads)
        share = (inner.loss_scale_factor or 1.0) / tf.distribute.get_strategy().num_replicas_in_sync
        for index, (_, penalty) in penalised.items():
            grads[index] = _without_penalty(grads[index], penalty, before[index][0], share)
        inner.apply(grads, weights)

        is_update = ops.cast(inner.iterations, "int64") > updates_before  # not while gradients are accumulated
        for index, (weight, penalty) in penalised.items():
            self._take_step(weight, penalty, steps[index], before[index], is_update)

    def _read(self, weight: Any) -> tuple[Any, Any]:
        """The weight and its velocity as tensors."""
        velocity = self._velocity(weight)
        return tf.identity(weight), None if velocity is None else tf.identity(velocity)

    def _velocity(self, weight: Any) -> Any:
        inner = self.inner_optimizer
        if isinstance(inner, keras.optimizers.SGD) and inner.momentum:
            return inner.momentums[self._weights.index(weight)]
        return None

    def _take_step(self, weight: Any, penalty: Penalty, step: Any, before: tuple[Any, Any], is_update: Any) -> None:
        inner, velocity, moved = self.inner_optimizer, self._velocity(weight), tf.identity(weight)
        if velocity is None:
            new = _constrained(weight, penalty.proximal(moved, step))
        else:
            speed = tf.identity(velocity)
            # Keras's Nesterov keeps the weight one momentum step ahead of the iterate; penalties act on the iterate.
            ahead = ops.cast(inner.momentum, weight.dtype) if inner.nesterov else 0.0
            # The wrapped optimizer has applied the constraint and the weight decay. The former must come last.
            target = before[0] - ahead * before[1] + speed if inner.weight_decay is None else moved - ahead * speed
            landed = _constrained(weight, penalty.proximal(target, step))
            real_speed = speed + landed - target
            new = landed + ahead * real_speed
            if inner.nesterov and getattr(weight, "constraint", None) is not None:
                new = weight.constraint(new)
                real_speed = (new - landed) / ahead
            velocity.assign(ops.where(is_update, real_speed, speed))
        weight.assign(ops.where(is_update, new, moved))

    @property
    def variables(self) -> list[Any]:
        """The wrapped optimizer's variables beside its own."""
        return [*super().variables, *self.inner_optimizer.variables]

    @property
    def learning_rate(self) -> Any:
        """The wrapped optimizer's learning rate."""
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate: Any) -> None:
        self.inner_optimizer.learning_rate = learning_rate

    @property
    def iterations(self) -> Any:
        """The wrapped optimizer's count of updates."""
        return self.inner_optimizer.iterations

    def scale_loss(self, loss: Any) -> Any:
        """Scale the loss as the wrapped optimizer does."""
        return self.inner_optimizer.scale_loss(loss)

    def finalize_variable_values(self, var_list: list[Any]) -> None:
        """Let the wrapped optimizer set the final values."""
        self.inner_optimizer.finalize_variable_values(var_list)

    def get_config(self) -> dict[str, Any]:
        """Return the wrapped optimizer's config and the name."""
        return {"inner_optimizer": keras.optimizers.serialize(self.inner_optimizer), "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> "ProximalOptimizer":
        """Make the optimizer that `get_config` described."""
        inner = keras.optimizers.deserialize(config["inner_optimizer"], custom_objects=custom_objects)
        return cls(inner, name=config.get("name"))


def _proximal_penalty(weight: Any) -> Penalty | None:
    """The penalty of `weight` if a proximal step is to be taken for it."""
    regularizer = getattr(weight, "regularizer", None)
    if isinstance(regularizer, keras.regularizers.L1):
        return L1(**regularizer.get_config())
    if isinstance(regularizer, keras.regularizers.L1L2) and regularizer.get_config()["l1"]:
        return L1L2(**regularizer.get_config())
    if isinstance(regularizer, Penalty) and regularizer.has_proximal and not regularizer.smooth:
        return regularizer
    return None


def _without_penalty(gradient: Any, penalty: Penalty, weight: Any, share: float) -> Any:
    """Take the penalty's own gradient, which the loss put in, out again."""
    if gradient is None:
        return None
    with tf.GradientTape() as tape:
        tape.watch(weight)
        cost = penalty(weight)
    slope = tape.gradient(cost, weight)
    return tf.convert_to_tensor(gradient) - tf.cast(share, gradient.dtype) * tf.cast(slope, gradient.dtype)


def _constrained(weight: Any, value: Any) -> Any:
    return value if getattr(weight, "constraint", None) is None else weight.constraint(value)
