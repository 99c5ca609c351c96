"""Reduce the learning rate on a plateau, also where a schedule runs."""

from typing import Any

from keras.saving import register_keras_serializable

from tfopt._arguments import num_steps, number
from tfopt.callbacks._learning_rate_scale import LearningRateScale


@register_keras_serializable(package="tfopt")
class PlateauScale(LearningRateScale):
    """Multiply the learning rate by a factor when a metric has stopped improving, whatever schedule is running.

    `keras.callbacks.ReduceLROnPlateau` raises a TypeError at its first reduction where the optimizer has a schedule,
    hours into the training. This one multiplies the schedule; warm-up, decay and plateau work together.

    Logs:
        learning_rate_factor: What the learning rate is multiplied by from here on.

    Args:
        monitor: String: the name of the metric in the logs.
        factor: Float in (0, 1): what the rate is multiplied by.
        patience: Int ≥ 0: epochs without improvement until it is, counted as in Keras.
        mode: `"min"`, `"max"` or `"auto"` (max for accuracies, AUC, precision, recall, F1, R², IoU).
        min_delta: Float ≥ 0: improvements that are not greater do not count.
        cooldown: Int ≥ 0: as in Keras, the count begins again in the last of so many epochs after a reduction.
        min_factor: Float ≥ 0: lower bound of all reductions multiplied.

    Raises:
        ValueError: A number is out of bounds; in training: the metric is not in the logs.

    Example:
        ```python
        model = keras.Sequential([keras.layers.Dense(1)])
        model.compile(keras.optimizers.Adam(tfopt.schedules.LinearDecay(0.1, 1000)), "mse")
        plateau = tfopt.callbacks.PlateauScale("loss", factor=0.5, patience=0, min_delta=1e9)
        history = model.fit(np.ones((8, 2)), np.ones(8), epochs=3, verbose=0, callbacks=[plateau])
        print(plateau.factors)  # [1.0, 0.5, 0.25]
        ```
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_factor: float = 0.0,
    ):
        super().__init__(monitor, mode, min_delta)
        self.factor = number("factor", factor, above=0, below=1, stacked=False)
        self.patience = num_steps("patience", patience, minimum=0)
        self.cooldown = num_steps("cooldown", cooldown, minimum=0)
        self.min_factor = number("min_factor", min_factor, minimum=0, maximum=1, stacked=False)

    def restart(self) -> None:
        """Count from 0."""
        self._waited = self._resting = 0

    def decide(self, improved: bool) -> float:
        """Return the factor once the patience is at an end."""
        if self._resting:
            self._resting -= 1
            self._waited = 0
        if improved:
            self._waited = 0
        if improved or self._resting:
            return 1.0
        self._waited += 1
        if self._waited < self.patience:
            return 1.0
        self._waited, self._resting = 0, self.cooldown
        return self.bounded(self.factor, self.min_factor, float("inf"))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        names = ("monitor", "factor", "patience", "mode", "min_delta", "cooldown", "min_factor")
        return {name: getattr(self, name) for name in names}
