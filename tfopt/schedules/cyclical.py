"""Up and down in a zigzag, for ever."""

from typing import Any

from keras import ops
from keras.saving import register_keras_serializable

from tfopt._arguments import Number, choice, num_steps, number
from tfopt.schedules.schedule import Schedule

_SCALES = ("triangular", "triangular2", "exp_range")


@register_keras_serializable(package="tfopt")
class Cyclical(Schedule):
    """Let the learning rate rise and fall between two bounds in straight lines.

    Needs no decay to be tuned; the bounds come from `tfopt.find_learning_rate`. `"triangular2"` halves the height of
    each cycle, `"exp_range"` lets it fall by `gamma` each step.

    Formula: η(t) = η_low + (η_high - η_low)·x·scale; x rises from 0 to 1 over `step_size` steps and falls back over
    `step_size_down`; scale is 1, 2^-(cycle), or gamma^t, cycle counting from 0.

    Args:
        initial_learning_rate: Float ≥ 0: the lower bound η_low, where it starts.
        maximal_learning_rate: Float ≥ 0: the upper bound η_high.
        step_size: Int ≥ 1: the steps of a rise.
        step_size_down: Int ≥ 1 or None: the steps of a fall; as many as of a rise by default.
        scale: `"triangular"`, `"triangular2"` or `"exp_range"`.
        gamma: Float > 0: the factor of `"exp_range"`.
        name: String. Optional name.

    Raises:
        ValueError: A number is out of bounds, or `scale` is unknown.

    Example:
        ```python
        print(tfopt.schedules.Cyclical(0.0, 1.0, step_size=2, scale="triangular2").curve(9).tolist())
        # [0.0, 0.5, 1.0, 0.5, 0.0, 0.25, 0.5, 0.25, 0.0]
        ```

    References:
        - Smith (2017), "Cyclical Learning Rates for Training Neural Networks", https://arxiv.org/abs/1506.01186
    """

    def __init__(
        self,
        initial_learning_rate: Number,
        maximal_learning_rate: Number,
        step_size: Number,
        step_size_down: Number | None = None,
        scale: str = "triangular",
        gamma: Number = 0.9994,
        name: str | None = None,
    ):
        super().__init__(name=name)
        self.initial_learning_rate = number("initial_learning_rate", initial_learning_rate, minimum=0)
        self.maximal_learning_rate = number("maximal_learning_rate", maximal_learning_rate, minimum=0)
        self.step_size = num_steps("step_size", step_size)
        self.step_size_down = None if step_size_down is None else num_steps("step_size_down", step_size_down)
        self.scale = choice("scale", scale, _SCALES)
        self.gamma = number("gamma", gamma, above=0)

    @classmethod
    def for_total(cls, learning_rate: Any, total_steps: int, **arguments: Any) -> "Cyclical":
        """Two cycles up from 0, unless told otherwise."""
        given = {"initial_learning_rate": 0.0, "step_size": max(1, total_steps // 4)} | arguments
        return cls(**{"maximal_learning_rate": learning_rate} | given)

    @staticmethod
    def formula(step, initial_learning_rate, maximal_learning_rate, step_size, step_size_down, scale, gamma):
        """η_low + (η_high - η_low)·x·scale."""
        down = step_size if step_size_down is None else step_size_down
        cycle = ops.floor(step / (step_size + down))
        place = step - cycle * (step_size + down)
        height = ops.where(place <= step_size, place / step_size, 1.0 - (place - step_size) / down)
        if scale == "triangular2":
            height = height * ops.power(0.5 * ops.ones_like(cycle), cycle)
        elif scale == "exp_range":
            height = height * ops.power(gamma, step)
        return initial_learning_rate + (maximal_learning_rate - initial_learning_rate) * height
