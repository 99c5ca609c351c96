"""Jacobian penalty: outputs that move little when the input moves. Needs TensorFlow."""

from typing import Any

import keras
import tensorflow as tf

from tfopt._arguments import Held, Number, Value, as_tensor, config_of, count_argument, seed_argument, value_argument


def jacobian_penalty(model: Any, x: Any, num_projections: int = 1, seed: Any = None, training: bool = False) -> Any:
    """Return an estimate of the batch mean of ‖∂f/∂x‖²_F, half of it as in the paper's loss.

    Use it in a training step of your own, or let `JacobianModel` do it. Random unit vectors v in output space cost one
    backward pass each: with C outputs, `C/(2 P) · Σ_p ‖∂(vᵀ f)/∂x‖²` has the right mean for any number P.

    Args:
        model: Callable on `x`, with outputs (batch, C).
        x: Inputs, a float tensor with the batch first.
        num_projections: P >= 1.
        seed: None, an integer, or a `keras.random.SeedGenerator`, for the vectors.
        training: Passed to the model.

    Returns:
        A scalar tensor.

    Raises:
        ValueError: Fewer than one projection.

    Example:
        ```python
        layer = keras.layers.Dense(1, kernel_initializer="ones")
        print(f"{float(tfopt.regularizers.jacobian_penalty(layer, keras.ops.zeros((8, 3)))):.1f}")  # 1.5
        ```

    References:
        - Hoffman, Roberts, Yaida (2019), "Robust learning with Jacobian regularization",
          https://arxiv.org/abs/1908.02729
    """
    count_argument(num_projections, "jacobian_penalty", "num_projections")
    x = tf.convert_to_tensor(x)
    seed = seed_argument(seed, "jacobian_penalty")
    draws = seed if isinstance(seed, keras.random.SeedGenerator) else keras.random.SeedGenerator(seed)
    total = 0.0
    for _ in range(num_projections):
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = model(x, training=training) if isinstance(model, keras.Model) else model(x)
            direction = keras.random.normal(tf.shape(outputs), dtype=outputs.dtype, seed=draws)
            direction /= tf.norm(direction, axis=-1, keepdims=True)
            projected = tf.reduce_sum(direction * outputs)
        slope = tape.gradient(projected, x)
        rows = tf.cast(tf.shape(x)[0], slope.dtype)
        total += outputs.shape[-1] * tf.reduce_sum(tf.square(slope)) / (2 * rows)
    return total / num_projections


@keras.saving.register_keras_serializable(package="tfopt")
class JacobianModel(keras.Model):
    """Wraps a model so that its training loss includes the Jacobian penalty on every batch.

    Use it for classifiers that should stand noise in their inputs. Evaluation and prediction are those of the wrapped
    model; `model` is the one to deploy.

    Args:
        model: A Keras model with one float input and outputs (batch, C).
        strength: >= 0: a number, a tensor or a variable.
        num_projections: Random directions a batch; 1 is usually enough.
        **kwargs: Those of `keras.Model`: `name`, `dtype` and such.

    Raises:
        ValueError: Negative strength, fewer than one projection.
        TypeError: `model` is no Keras model, or a strength is not numeric.

    Example:
        ```python
        inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        model = tfopt.regularizers.JacobianModel(inner, strength=0.01)
        model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        ```

    References:
        - Hoffman, Roberts, Yaida (2019), "Robust learning with Jacobian regularization",
          https://arxiv.org/abs/1908.02729
    """

    def __init__(self, model: Any, strength: Number = 0.01, num_projections: int = 1, **kwargs: Any):
        if not isinstance(model, keras.layers.Layer):
            raise TypeError(
                f"Argument `model` of JacobianModel must be a Keras model. Received: model={model!r} "
                f"(a {type(model).__name__})."
            )
        super().__init__(**kwargs)
        self.model = model
        self._strength = Held(value_argument(strength, "JacobianModel", "strength"))
        self.num_projections = count_argument(num_projections, "JacobianModel", "num_projections")
        self.seed_generator = keras.random.SeedGenerator()

    @property
    def strength(self) -> Value:
        """The strength of the penalty, as it was given."""
        return self._strength.value

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Return the wrapped model's outputs."""
        return self.model(inputs, training=training)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Return the compiled loss, with the penalty while training."""
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        if not training:
            return loss
        penalty = jacobian_penalty(self.model, x, self.num_projections, self.seed_generator, training=False)
        return loss + as_tensor(self.strength, loss.dtype) * tf.cast(penalty, loss.dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the wrapped model's config and the arguments."""
        own = {name: value for name, value in config_of(self).items() if name != "model"}
        return {**super().get_config(), **own, "model": keras.saving.serialize_keras_object(self.model)}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> "JacobianModel":
        """Make the model that `get_config` described."""
        inner = keras.saving.deserialize_keras_object(config.pop("model"), custom_objects=custom_objects)
        return cls(inner, **config)
