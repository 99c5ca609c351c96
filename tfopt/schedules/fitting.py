"""From epochs, batch size and data to the length of a schedule."""

import inspect
import math
from typing import Any

import keras

from tfopt._arguments import num_steps, number, text
from tfopt.schedules.composition import AccumulatedSteps
from tfopt.schedules.registry import check_argument_names, schedule_class
from tfopt.schedules.schedule import Schedule
from tfopt.schedules.warmup import Warmup


def num_updates(
    data: Any,
    epochs: int,
    batch_size: int | None = None,
    steps_per_epoch: int | None = None,
    validation_split: float = 0.0,
    gradient_accumulation_steps: int | None = None,
) -> int:
    """Return how often ``model.fit`` will update the weights: the `decay_steps` of a schedule over the whole training.

    Args:
        data: What `fit` is given: arrays (also in tuples or dicts), a `tf.data.Dataset` of batches, a
            `keras.utils.PyDataset`, or the number of samples as an int.
        epochs: Int ≥ 1.
        batch_size: Int ≥ 1: of arrays; 32, as in `fit`, by default. Data in batches have their own.
        steps_per_epoch: Int ≥ 1 or None: the argument of `fit`, for data without end or of unknown length.
        validation_split: Float in [0, 1): the argument of `fit`, for arrays.
        gradient_accumulation_steps: Int ≥ 1 or None: the optimizer's argument; only every so many batches update.

    Raises:
        ValueError: The length of `data` is unknown or endless and `steps_per_epoch` is not given, or there is not a
            single update.
        TypeError: `data` has no length, or batched data are given a `batch_size`.

    Example:
        ```python
        print(tfopt.schedules.num_updates(np.zeros((100, 3)), epochs=2, batch_size=32))  # 8
        ```
    """
    batches = _batches_per_epoch(data, batch_size, steps_per_epoch, validation_split) * num_steps("epochs", epochs)
    updates = batches // _accumulated(gradient_accumulation_steps)
    if updates < 1:
        raise ValueError(
            f"There would be no update at all: {batches} batches, gradient_accumulation_steps="
            f"{gradient_accumulation_steps}. Train for more epochs or accumulate fewer gradients."
        )
    return updates


def for_fit(
    schedule: str | type[Schedule],
    learning_rate: Any,
    data: Any,
    epochs: int,
    batch_size: int | None = None,
    steps_per_epoch: int | None = None,
    validation_split: float = 0.0,
    gradient_accumulation_steps: int | None = None,
    warmup_epochs: float = 0.0,
    **arguments: Any,
) -> Schedule:
    """Return a schedule that is as long as one ``model.fit``, and right under gradient accumulation.

    Args:
        schedule: A name of `tfopt.schedules.names()` or a class.
        learning_rate: Float ≥ 0, a stack, a tensor or a variable: the highest value.
        data: See `tfopt.schedules.num_updates`, as for the five arguments that follow.
        epochs: Int ≥ 1.
        batch_size: Int ≥ 1 or None.
        steps_per_epoch: Int ≥ 1 or None.
        validation_split: Float in [0, 1).
        gradient_accumulation_steps: Int ≥ 1 or None. Where given, the schedule counts updates, not batches.
        warmup_epochs: Float ≥ 0: epochs of a linear warm-up from 0, part of `epochs`.
        **arguments: Further arguments of the class. ``x_epochs`` stands for its argument ``x_steps``.

    Raises:
        ValueError: An argument is unknown (the nearest one is named), or see `tfopt.schedules.num_updates`.

    Example:
        ```python
        x = np.zeros((96, 3))
        print(tfopt.schedules.for_fit("linear", 0.1, x, epochs=10, batch_size=32))
        # LinearDecay(initial_learning_rate=0.1, decay_steps=30, end_learning_rate=0.0)
        ```
    """
    cls = schedule if isinstance(schedule, type) else schedule_class(text("schedule", schedule))
    accumulated = _accumulated(gradient_accumulation_steps)
    total = num_updates(data, epochs, batch_size, steps_per_epoch, validation_split, accumulated)
    per_epoch = total / epochs
    known = inspect.signature(cls).parameters
    in_steps = {}
    for name, value in arguments.items():
        other = name.removesuffix("_epochs") + "_steps"
        if name.endswith("_epochs") and other in known:
            in_steps[other] = round(number(name, value, minimum=0) * per_epoch)
        else:
            in_steps[name] = value
    warmup_steps = round(number("warmup_epochs", warmup_epochs, minimum=0) * per_epoch)
    if warmup_steps >= total:
        raise ValueError(f"Argument `warmup_epochs` must be < `epochs`. Received: {warmup_epochs=}, {epochs=}.")
    if "warmup_steps" in known and warmup_steps:
        in_steps["warmup_steps"], warmup_steps = warmup_steps, 0
    check_argument_names(cls, in_steps)
    result = cls.for_total(learning_rate, total - warmup_steps, **in_steps)
    if warmup_steps:
        result = Warmup(result, warmup_steps)
    return AccumulatedSteps(result, accumulated) if accumulated > 1 else result


def _accumulated(steps: Any) -> int:
    return 1 if steps is None else int(num_steps("gradient_accumulation_steps", steps))


def _batches_per_epoch(data: Any, batch_size: int | None, steps_per_epoch: int | None, validation_split: float) -> int:
    if steps_per_epoch is not None:
        return int(num_steps("steps_per_epoch", steps_per_epoch))
    if hasattr(data, "cardinality"):
        batches = int(data.cardinality())
        if batches < 0:
            what = "has no end" if batches == -1 else "is of unknown length"
            raise ValueError(
                f"The dataset {what}, so no schedule can be fitted to it. Give `steps_per_epoch` (and to `fit`), or "
                "tell TensorFlow: dataset.apply(tf.data.experimental.assert_cardinality(n))."
            )
    elif isinstance(data, keras.utils.PyDataset):
        batches = data.num_batches
        if batches is None:
            raise ValueError("The PyDataset has no end. Give `steps_per_epoch` (and to `fit`).")
    else:
        samples = num_steps("data", data) if isinstance(data, int) else _samples(data)
        size = num_steps("batch_size", 32 if batch_size is None else batch_size)
        number("validation_split", validation_split, minimum=0, below=1, stacked=False)
        train = samples - (samples - math.floor(samples * (1.0 - validation_split)))
        return math.ceil(train / size)
    if batch_size is not None:
        raise TypeError(f"Data in batches have their own batch size. Received: batch_size={batch_size}.")
    return batches


def _samples(data: Any) -> int:
    leaves = [leaf for leaf in keras.tree.flatten(data) if leaf is not None]
    if not leaves or not hasattr(leaves[0], "__len__"):
        raise TypeError(
            "Argument `data` must be arrays, a dataset of known length, or a number of samples. Received an object of "
            f"type {type(data).__name__}. Give `steps_per_epoch`."
        )
    return len(leaves[0])
