"""Raise the learning rate while things get better, lower it while they do not."""

from typing import Any

from keras.saving import register_keras_serializable

from tfopt._arguments import num_steps, number
from tfopt.callbacks._learning_rate_scale import LearningRateScale


@register_keras_serializable(package="tfopt")
class GreedyScale(LearningRateScale):
    """Divide the learning rate by a factor after epochs that improved, multiply it after epochs that did not.

    A search for the rate during the training itself; on top of whatever schedule is running.

    Logs:
        learning_rate_factor: What the learning rate is multiplied by from here on.

    Args:
        monitor: String: the name of the metric in the logs.
        factor: Float in (0, 1): what the rate is multiplied or divided by.
        patience: Int ≥ 0: epochs of one kind in a row that do not change it yet.
        mode: `"min"`, `"max"` or `"auto"`: see `tfopt.callbacks.PlateauScale`.
        min_delta: Float ≥ 0: improvements that are not greater do not count.
        min_factor: Float > 0: lower bound of the whole factor.
        max_factor: Float ≥ `min_factor`: upper bound of the whole factor.

    Raises:
        ValueError: A number is out of bounds; in training: the metric is not in the logs.

    Example:
        ```python
        model = keras.Sequential([keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(0.01), "mse")
        greedy = tfopt.callbacks.GreedyScale("loss", factor=0.5, max_factor=4.0)
        history = model.fit(np.ones((8, 2)), np.zeros(8), epochs=4, verbose=0, callbacks=[greedy])
        print(greedy.factors)  # [2.0, 4.0, 4.0, 4.0]
        ```

    References:
        - GreedyLR (2025), https://arxiv.org/abs/2512.14527
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.9,
        patience: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        min_factor: float = 1e-3,
        max_factor: float = 10.0,
    ):
        super().__init__(monitor, mode, min_delta)
        self.factor = number("factor", factor, above=0, below=1, stacked=False)
        self.patience = num_steps("patience", patience, minimum=0)
        self.max_factor = number("max_factor", max_factor, above=0, stacked=False)
        self.min_factor = number("min_factor", min_factor, above=0, maximum=self.max_factor, stacked=False)

    def restart(self) -> None:
        """Count from 0."""
        self._good = self._bad = 0

    def decide(self, improved: bool) -> float:
        """Return the change after enough epochs of one kind."""
        self._good, self._bad = (self._good + 1, 0) if improved else (0, self._bad + 1)
        if max(self._good, self._bad) <= self.patience:
            return 1.0
        change = 1.0 / self.factor if self._good else self.factor
        self._good = self._bad = 0
        return self.bounded(change, self.min_factor, self.max_factor)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        names = ("monitor", "factor", "patience", "mode", "min_delta", "min_factor", "max_factor")
        return {name: getattr(self, name) for name in names}
