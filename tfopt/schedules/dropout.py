"""Schedules of a dropout rate; drive them by `tfopt.callbacks.HyperparameterScheduler`."""

from keras import ops
from keras.saving import register_keras_serializable

from tfopt._arguments import Number, flag, num_steps, number
from tfopt.schedules.schedule import Schedule


@register_keras_serializable(package="tfopt")
class CurriculumDropout(Schedule):
    """Begin without dropout and let it grow to its full rate, as the network gets good enough to need it.

    Formula: r(t) = r̄·(1 - exp(-γ·t/T)).

    Args:
        rate: Float in [0, 1): the rate r̄ that it grows to.
        total_steps: Int ≥ 1: the number T of optimizer steps of the training.
        gamma: Float > 0: the speed γ; with 10, the authors' choice, half of r̄ is reached after 7 % of the training.
        name: String. Optional name.

    Raises:
        ValueError: A number is out of bounds.

    Example:
        ```python
        print(tfopt.schedules.CurriculumDropout(0.5, total_steps=100).curve([0, 7, 100]).round(2).tolist())
        # [0.0, 0.25, 0.5]
        ```

    References:
        - Morerio, Cavazza, Volpi, Vidal, Murino (2017), "Curriculum Dropout", https://arxiv.org/abs/1703.06229
    """

    def __init__(self, rate: Number, total_steps: Number, gamma: Number = 10.0, name: str | None = None):
        super().__init__(name=name)
        self.rate = number("rate", rate, minimum=0, below=1)
        self.total_steps = num_steps("total_steps", total_steps)
        self.gamma = number("gamma", gamma, above=0)

    @staticmethod
    def formula(step, rate, total_steps, gamma):
        """r̄·(1 - exp(-γ·t/T))."""
        return -rate * ops.expm1(-gamma * step / total_steps)


@register_keras_serializable(package="tfopt")
class EarlyDropout(Schedule):
    """Drop out at the start of the training only: it helps a network that underfits.

    Formula: r(t) = r₀·(1 - t/b) for t < b, then 0; r₀ for t < b where `decay` is off.

    Args:
        rate: Float in [0, 1): the rate r₀ at step 0.
        cutoff_steps: Int ≥ 1: the step b from which nothing is dropped.
        decay: Bool: fall in a straight line rather than all at once.
        name: String. Optional name.

    Raises:
        ValueError: A number is out of bounds.

    Example:
        ```python
        print(tfopt.schedules.EarlyDropout(0.4, cutoff_steps=4).curve(6).round(3).tolist())
        # [0.4, 0.3, 0.2, 0.1, 0.0, 0.0]
        ```

    References:
        - Liu, Xu, Jin, Shen, Darrell (2023), "Dropout Reduces Underfitting", https://arxiv.org/abs/2303.01500
    """

    length_argument = "cutoff_steps"

    def __init__(self, rate: Number, cutoff_steps: Number, decay: bool = True, name: str | None = None):
        super().__init__(name=name)
        self.rate = number("rate", rate, minimum=0, below=1)
        self.cutoff_steps = num_steps("cutoff_steps", cutoff_steps)
        self.decay = flag("decay", decay)

    @staticmethod
    def formula(progress, rate, decay):
        """r₀·(1 - p), or r₀ until the cutoff."""
        return rate * ((1.0 - progress) if decay else ops.where(progress < 1.0, ops.ones_like(progress), 0.0))


@register_keras_serializable(package="tfopt")
class LateDropout(Schedule):
    """Drop out only after a while: a regulariser that lets a network that overfits learn first.

    Formula: r(t) = 0 for t < b, then r̄.

    Args:
        rate: Float in [0, 1): the rate r̄ after the start.
        cutoff_steps: Int ≥ 1: the step b from which units are dropped.
        name: String. Optional name.

    Raises:
        ValueError: A number is out of bounds.

    Example:
        ```python
        print(tfopt.schedules.LateDropout(0.4, cutoff_steps=2).curve(4).tolist())  # [0.0, 0.0, 0.4, 0.4]
        ```

    References:
        - Liu, Xu, Jin, Shen, Darrell (2023), "Dropout Reduces Underfitting", https://arxiv.org/abs/2303.01500
    """

    length_argument = "cutoff_steps"

    def __init__(self, rate: Number, cutoff_steps: Number, name: str | None = None):
        super().__init__(name=name)
        self.rate = number("rate", rate, minimum=0, below=1)
        self.cutoff_steps = num_steps("cutoff_steps", cutoff_steps)

    @staticmethod
    def formula(progress, rate):
        """0, then r̄."""
        return rate * ops.where(progress < 1.0, ops.zeros_like(progress), 1.0)
