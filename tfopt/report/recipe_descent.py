"""Plain gradient descent for a recipe, as the formula says it: θ ← θ − η∇J, an epoch of it one compiled loop."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tfopt.report.recipe_fits import Sample

if TYPE_CHECKING:
    import keras


class Descent:
    """A classifier that is trained by gradient descent from the seed's own weights, again and again in one graph.

    Use it where a recipe is about the steps themselves, such as their size or their noise: there is no optimizer in it.

    Args:
        model: It ends in logits; it need not be compiled.
        initializer: Makes the initializer of a kernel from a seed, as `tfopt.initializers.He` does.
        jit_compile: Whether XLA compiles each loop, which takes a second and makes many steps faster.

    Example:
        ```python
        from sklearn.datasets import load_iris
        from tfopt.report import recipe
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        descent = recipe.Descent(model, tfopt.initializers.Glorot)
        [sample] = recipe.samples(*load_iris(return_X_y=True), [0])
        losses, _, error = descent.train(sample, batch=25, rate=0.5, epochs=5)
        print(len(losses), losses[-1] < losses[0], error < 0.4)  # 6 True True
        ```
    """

    def __init__(self, model: "keras.Model", initializer: Callable[..., Any], jit_compile: bool = True) -> None:
        # Here, so that a recipe's --help does not wait for TensorFlow.
        import keras
        import tensorflow as tf

        self.model, self.initializer = model, initializer
        self._fresh = model.get_weights()
        self.loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

        @tf.function(jit_compile=jit_compile)
        def descend(rows: Any, labels: Any, order: Any, rate: Any) -> None:
            for chosen in order:
                with tf.GradientTape() as tape:
                    loss = self.loss(tf.gather(labels, chosen), model(tf.gather(rows, chosen), training=True))
                weights = model.trainable_variables
                for weight, gradient in zip(weights, tape.gradient(loss, weights), strict=True):
                    weight.assign_sub(rate * gradient)

        @tf.function(jit_compile=jit_compile)
        def look(rows: Any, labels: Any) -> Any:
            logits = model(rows, training=False)
            wrong = tf.not_equal(tf.argmax(logits, axis=1), tf.cast(labels, tf.int64))
            return self.loss(labels, logits), tf.reduce_mean(tf.cast(wrong, tf.float32))

        self._descend, self._look = descend, look

    def begin(self, seed: int) -> None:
        """Give the model its first weights, those of Dense layers drawn anew."""
        import keras

        self.model.set_weights(self._fresh)
        for number, layer in enumerate(self.model.layers):
            if isinstance(layer, keras.layers.Dense):
                layer.kernel.assign(self.initializer(seed=1000 * seed + number)(layer.kernel.shape))

    def steps(self, rows: Any, labels: Any, order: np.ndarray, rate: float) -> None:
        """Descend once for each line of `order`, (steps, batch size) numbers of rows; return when it is done."""
        self._descend(rows, labels, np.asarray(order, dtype="int32"), np.float32(rate))
        self.model.weights[0].numpy()

    def look(self, rows: Any, labels: Any) -> tuple[float, float]:
        """Return loss and share of errors, in inference."""
        loss, error = self._look(rows, labels)
        return float(loss), float(error)

    def train(
        self, sample: Sample, batch: int, rate: float, epochs: int, target: float = 0.0
    ) -> tuple[list[float], float, float]:
        """Train from the sample's seed until the loss on its training rows is at the target, or has diverged.

        Args:
            sample: The rows; in each epoch those that fill no batch are left out.
            batch: Rows of a step.
            rate: The learning rate.
            epochs: At most.
            target: The loss to stop at.

        Returns:
            Losses on the training rows by epoch, the first before training; test loss; share of errors in the test.
        """
        rows, labels = sample.x["train"], sample.y["train"]
        self.begin(sample.seed)
        rng = np.random.default_rng([sample.seed, batch])
        losses = [self.look(rows, labels)[0]]
        while len(losses) <= epochs and losses[-1] > target:  # false too for NaN
            order = rng.permutation(len(labels))[: len(labels) // batch * batch].reshape(-1, batch)
            self.steps(rows, labels, order, rate)
            losses.append(self.look(rows, labels)[0])
        return losses, *self.look(sample.x["test"], sample.y["test"])


def epochs_needed(losses: list[float], target: float, limit: float) -> float:
    """Return after how many epochs the loss was at the target, between two epochs by the straight line of its log.

    Args:
        losses: By epoch, the first before training; the last is the first at the target, if one is.
        target: The loss.
        limit: What to return if it was never reached.

    Example:
        ```python
        from tfopt.report import recipe
        print(f"{recipe.epochs_needed([0.8, 0.2, 0.05], target=0.1, limit=9):.1f}")  # 1.5
        ```
    """
    if not losses[-1] <= target:
        return limit
    if len(losses) == 1:
        return 0.0
    before, after = np.log(losses[-2:])
    return len(losses) - 2 + float((before - np.log(target)) / (before - after))
