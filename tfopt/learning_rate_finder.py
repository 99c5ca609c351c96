"""The learning-rate range test."""

import contextlib
import dataclasses
import math
import random
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from tfopt._arguments import choice, number
from tfopt._arguments import num_steps as _count
from tfopt._layers import innermost_optimizers

_SMOOTHING = 0.98  # of the exponential moving average, as in fastai
_MODES = ("exponential", "linear")


@dataclasses.dataclass(frozen=True)
class LearningRateCurve:
    """What a range test found.

    Attributes:
        learning_rates: The rate of each step.
        losses: The loss of each step's batch before the step.
        smoothed: Its bias-corrected moving average.
        diverged: Whether the test stopped because the loss exploded.
        suggestions: Dict with ``"valley"`` (two thirds into the longest way down), ``"steepest"`` (where the loss falls
            fastest over the logarithm of the rate) and ``"minimum"`` (a tenth of where it is lowest). Empty where the
            loss never fell.
    """

    learning_rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray
    diverged: bool
    suggestions: dict[str, float]

    @property
    def suggestion(self) -> float | None:
        """The valley, or None where the loss never fell."""
        return self.suggestions.get("valley")

    def plot(self, ax: Any = None) -> Any:
        """Draw the loss over the rate, with the suggestions marked, and return the axes."""
        from matplotlib import pyplot as plt  # a second of start-up that only plots need

        ax = plt.figure(figsize=(7, 4), layout="constrained").gca() if ax is None else ax
        ax.plot(self.learning_rates, self.losses, color="#BBBBBB", linewidth=0.8)
        ax.plot(self.learning_rates, self.smoothed, color="#0072B2")
        marks = zip(self.suggestions.items(), ("#D55E00", "#009E73", "#CC79A7"), strict=False)
        for (name, rate), color in marks:
            height = float(np.interp(rate, self.learning_rates, self.smoothed))
            ax.plot([rate], [height], "o", color=color, label=f"{name}: {rate:.2g}")
        finite = self.smoothed[np.isfinite(self.smoothed)]
        low, high = min(float(finite.min()), float(np.nanmin(self.losses))), float(np.percentile(finite, 95))
        ax.set(xscale="log", xlabel="learning rate", ylabel="training loss", title="learning-rate range test")
        ax.set_ylim(low - 0.05 * (high - low or 1), high + 0.3 * (high - low or 1))
        if self.suggestions:
            ax.legend(frameon=False)
        return ax


def find_learning_rate(
    model: keras.Model,
    data: Any,
    minimal_learning_rate: float = 1e-7,
    maximal_learning_rate: float = 10.0,
    num_steps: int = 100,
    mode: str = "exponential",
    stop_factor: float = 4.0,
    batch_size: int = 32,
    seed: int = 0,
) -> LearningRateCurve:
    """Train for some steps at rates that grow from tiny to huge, and suggest one from the course of the loss.

    The model is afterwards what it was before, bit for bit: weights, optimizer, and the random states of its layers, of
    Python and of NumPy. Take ``suggestions["valley"]`` for a constant or decaying rate, and up to ``"minimum"`` for the
    peak of a `tfopt.schedules.OneCycle`.

    Args:
        model: A compiled model. With a schedule in its optimizer, decoupled weight decay keeps the schedule's rate.
        data: ``(x, y)`` or ``(x, y, sample_weight)`` of arrays, or batches of them: a `tf.data.Dataset` or
            `keras.utils.PyDataset`.
        minimal_learning_rate: Float > 0: the first rate.
        maximal_learning_rate: Float > `minimal_learning_rate`: the last rate.
        num_steps: Int ≥ 10: steps from the first to the last.
        mode: `"exponential"` or `"linear"`: how the rate grows.
        stop_factor: Float > 1: the test ends when the smoothed loss is so many times the lowest one, or not finite.
        batch_size: Int ≥ 1: of arrays.
        seed: Int: of the order of arrays.

    Returns:
        The rates, their losses and the `suggestions`, with `plot()`.

    Raises:
        ValueError: A number is out of bounds, or the model is not compiled.

    Example:
        ```python
        x = np.random.default_rng(0).normal(size=(256, 4)).astype("float32")
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        curve = tfopt.find_learning_rate(model, (x, x.sum(1)), num_steps=60)
        print(1e-3 < curve.suggestion < 1)  # True
        ```

    References:
        - Smith (2017), "Cyclical Learning Rates for Training Neural Networks", https://arxiv.org/abs/1506.01186
        - Howard, Gugger (2020), "fastai: A Layered API for Deep Learning", `Learner.lr_find` for the suggestions,
          https://arxiv.org/abs/2002.04688
    """
    low = number("minimal_learning_rate", minimal_learning_rate, above=0)
    high = number("maximal_learning_rate", maximal_learning_rate, above=low)
    steps = _count("num_steps", num_steps, minimum=10)
    stop_factor = number("stop_factor", stop_factor, above=1)
    if getattr(model, "optimizer", None) is None:
        raise ValueError("The model must be compiled: model.compile(optimizer, loss).")
    spread = np.geomspace if choice("mode", mode, _MODES) == "exponential" else np.linspace
    rates = spread(low, high, steps)
    batches = _batches(data, _count("batch_size", batch_size), np.random.default_rng(seed))
    first = next(batches)
    if not model.built:
        model(keras.tree.map_structure(lambda leaf: leaf[:1], first[0]))
    if not model.optimizer.built:  # a LossScaleOptimizer would make its counters a second time
        model.optimizer.build(model.trainable_variables)

    losses: list[float] = []
    smoothed: list[float] = []
    average, diverged = 0.0, False
    with _restoring(model), _driving(model) as set_rate:
        for step, rate in enumerate(rates):
            set_rate(rate)
            model.reset_metrics()
            batch = first if step == 0 else next(batches)
            losses.append(float(model.train_on_batch(*batch, return_dict=True)["loss"]))
            average = _SMOOTHING * average + (1 - _SMOOTHING) * losses[-1]
            smoothed.append(average / (1 - _SMOOTHING ** (step + 1)))
            if not math.isfinite(smoothed[-1]) or (step > 0 and smoothed[-1] > stop_factor * min(smoothed)):
                diverged = True
                break
    learning_rates, losses_, smoothed_ = rates[: len(losses)], np.array(losses), np.array(smoothed)
    return LearningRateCurve(learning_rates, losses_, smoothed_, diverged, _suggest(learning_rates, smoothed_, steps))


def _suggest(rates: np.ndarray, losses: np.ndarray, steps: int) -> dict[str, float]:
    """Return fastai's suggestions, without the unsteady first tenth and the exploding last points."""
    keep = slice(steps // 10, max(len(rates) - 5, steps // 10))
    rates, losses = rates[keep], losses[keep]
    finite = np.isfinite(losses)
    rates, losses = rates[finite], losses[finite]
    if len(rates) < 5 or losses.min() >= losses[0] * (1 - 1e-3 * np.sign(losses[0])):
        return {}
    longest = np.ones(len(losses), dtype=int)  # falling subsequence that ends here
    for i in range(1, len(losses)):
        before = longest[:i][losses[:i] > losses[i]]
        longest[i] = 1 + (before.max() if len(before) else 0)
    end = int(longest.argmax())
    start = max(0, end - int(longest[end]))
    third = (end - start) / 3
    lowest = int(losses.argmin())
    slope = np.gradient(losses[: lowest + 1], np.log(rates[: lowest + 1])) if lowest > 0 else np.zeros(1)
    return {
        "valley": float(rates[start + int(third) + int(third / 2)]),
        "steepest": float(rates[int(slope.argmin())]),
        "minimum": float(rates[lowest] / 10),
    }


def _batches(data: Any, batch_size: int, order: np.random.Generator) -> Iterator[tuple[Any, ...]]:
    """Yield batches for ever."""
    if isinstance(data, tuple) and not hasattr(data, "cardinality"):
        arrays = tuple(keras.tree.map_structure(np.asarray, part) for part in data)
        count = len(keras.tree.flatten(arrays)[0])
        while True:
            shuffled = order.permutation(count)
            for start in range(0, count, batch_size):
                chosen = shuffled[start : start + batch_size]
                yield tuple(keras.tree.map_structure(lambda leaf: leaf[chosen], part) for part in arrays)  # noqa: B023
    if isinstance(data, keras.utils.PyDataset):
        while True:
            for index in range(data.num_batches or 2**31):
                yield data[index]
    if not hasattr(data, "cardinality"):
        raise TypeError(
            "Argument `data` must be a tuple (x, y), a tf.data.Dataset or a PyDataset. Received an object of type "
            f"{type(data).__name__}."
        )
    while True:
        yield from data


@contextlib.contextmanager
def _restoring(model: keras.Model) -> Iterator[None]:
    """Put every variable, both random states and the number of steps per execution back at the end."""
    variables = [*model.variables, *model.optimizer.variables]
    values = [ops.convert_to_numpy(ops.convert_to_tensor(variable)) for variable in variables]
    python_state, numpy_state = random.getstate(), np.random.get_state()
    steps_per_execution, model.steps_per_execution = model.steps_per_execution, 1
    try:
        yield
    finally:
        model.steps_per_execution = steps_per_execution
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        random.setstate(python_state)
        np.random.set_state(numpy_state)
        model.make_train_function(force=True)
        model.reset_metrics()


@contextlib.contextmanager
def _driving(model: keras.Model) -> Iterator[Callable[[float], None]]:
    """Hand every update the value of one variable in place of the optimizer's own rate."""
    rate = keras.Variable(0.0, trainable=False, dtype="float32", name="learning_rate_range_test")
    optimizers = innermost_optimizers(model.optimizer)
    driven_too = [one.learning_rate for one in optimizers if isinstance(one.learning_rate, keras.Variable)]

    def assign(value: float) -> None:
        for variable in [rate, *driven_too]:
            variable.assign(value)

    def driven(update_step: Any) -> Any:
        return lambda gradient, variable, _: update_step(gradient, variable, ops.convert_to_tensor(rate))

    for optimizer in optimizers:
        object.__setattr__(optimizer, "update_step", driven(optimizer.update_step))
    model.make_train_function(force=True)
    try:
        yield assign
    finally:
        for optimizer in optimizers:
            object.__delattr__(optimizer, "update_step")
