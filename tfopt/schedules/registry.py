"""Schedules by name, by config, and by name for a search."""

import inspect
from collections.abc import Mapping
from typing import Any

import keras

from tfopt._arguments import num_steps, number, text
from tfopt._names import argument_hint, known_as
from tfopt.schedules.composition import AccumulatedSteps, Anneal, Clip, Offset, Product, Scale, Sequence
from tfopt.schedules.constant import Constant
from tfopt.schedules.cosine import CosineDecay, CosineRestarts, CosLog
from tfopt.schedules.cyclical import Cyclical
from tfopt.schedules.dropout import CurriculumDropout, EarlyDropout, LateDropout
from tfopt.schedules.exponential import ExponentialDecay, InverseTimeDecay, MultiStepDecay, StepDecay
from tfopt.schedules.noise import Noise
from tfopt.schedules.one_cycle import OneCycle, OneCycleMomentum
from tfopt.schedules.piecewise import PiecewiseConstant, PiecewiseInterpolation
from tfopt.schedules.polynomial import LinearDecay, PolynomialDecay
from tfopt.schedules.power import InverseSquareRootDecay, NoamDecay, PowerLawDecay
from tfopt.schedules.schedule import Schedule
from tfopt.schedules.shapes import (
    ChebyshevSteps,
    CosineWave,
    FlatThenAnneal,
    RexDecay,
    TanhDecay,
    WarmupStableDecay,
)
from tfopt.schedules.warmup import Warmup

# Every family whose `for_total` makes a learning-rate schedule of a rate and a length.
_FAMILIES: dict[str, type[Schedule]] = {
    "anneal": Anneal,
    "chebyshev": ChebyshevSteps,
    "constant": Constant,
    "cosine": CosineDecay,
    "cosine_restarts": CosineRestarts,
    "cosine_wave": CosineWave,
    "coslog4": CosLog,
    "cyclical": Cyclical,
    "exponential": ExponentialDecay,
    "flat_then_anneal": FlatThenAnneal,
    "inverse_square_root": InverseSquareRootDecay,
    "inverse_time": InverseTimeDecay,
    "linear": LinearDecay,
    "multi_step": MultiStepDecay,
    "noam": NoamDecay,
    "one_cycle": OneCycle,
    "piecewise_constant": PiecewiseConstant,
    "piecewise_interpolation": PiecewiseInterpolation,
    "polynomial": PolynomialDecay,
    "power_law": PowerLawDecay,
    "rex": RexDecay,
    "step": StepDecay,
    "tanh": TanhDecay,
    "warmup_stable_decay": WarmupStableDecay,
}
# What goes around a schedule, and schedules of other hyperparameters: known to `get`, not to `from_name`.
_OTHERS: dict[str, type[Schedule]] = {
    "accumulated_steps": AccumulatedSteps,
    "clip": Clip,
    "curriculum_dropout": CurriculumDropout,
    "early_dropout": EarlyDropout,
    "late_dropout": LateDropout,
    "noise": Noise,
    "offset": Offset,
    "one_cycle_momentum": OneCycleMomentum,
    "product": Product,
    "scale": Scale,
    "sequence": Sequence,
    "warmup": Warmup,
}
_WARMUP = "warmup_"
_WARMUP_FRACTION = 0.1


def names() -> list[str]:
    """Return the names of all families that `tfopt.schedules.from_name` can fit to a rate and a length, sorted.

    Each also works there with the prefix ``warmup_``. `tfopt.schedules.get` knows them too, and beside them what goes
    around a schedule and the schedules of other hyperparameters, such as ``"warmup"`` and ``"curriculum_dropout"``.

    Example:
        ```python
        print("linear" in tfopt.schedules.names())  # True
        ```
    """
    return sorted(_FAMILIES)


def schedule_class(name: str) -> type[Schedule]:
    """Return the class of a name such as ``"linear"``, ``"linear_decay"`` or ``"LinearDecay"``; compositions too."""
    known = _FAMILIES | _OTHERS
    if name in known:
        return known[name]
    for cls in known.values():
        if _flat(cls.__name__) == _flat(name):
            return cls
    raise ValueError(f"Unknown schedule: {name!r}.{known_as(name, known)} Known: {', '.join(sorted(known))}.")


def get(identifier: Any, **arguments: Any) -> Any:
    """Return a schedule from a name and its arguments, a config, or a schedule.

    Args:
        identifier: A name of `tfopt.schedules.names()` or of a class: the schedule with `arguments`, or the class
            itself where there are none (no schedule can be made without a rate). A dict as `serialize` returns it: the
            schedule. A schedule or None: itself.
        **arguments: Arguments of the class, with a name only.

    Raises:
        ValueError: The name or an argument is unknown; the nearest one is named.
        TypeError: `identifier` is none of these, or an argument is missing.

    Example:
        ```python
        schedule = tfopt.schedules.get("linear", initial_learning_rate=0.1, decay_steps=100)
        print(schedule)  # LinearDecay(initial_learning_rate=0.1, decay_steps=100, end_learning_rate=0.0)
        ```
    """
    if isinstance(identifier, str):
        cls = schedule_class(identifier)
        check_argument_names(cls, arguments)
        return cls(**arguments) if arguments else cls
    if arguments:
        raise TypeError(f"Arguments {sorted(arguments)} need a name to go with. Received: identifier={identifier!r}.")
    if identifier is None or isinstance(identifier, keras.optimizers.schedules.LearningRateSchedule):
        return identifier
    if isinstance(identifier, Mapping):
        return deserialize(identifier)
    raise TypeError(f"A schedule must be a name, a config or a schedule. Received: {identifier!r}.")


def serialize(schedule: keras.optimizers.schedules.LearningRateSchedule) -> dict[str, Any]:
    """Return a schedule as a dict of plain values, nested schedules included.

    Args:
        schedule: A schedule of tfopt's or Keras's.

    Example:
        ```python
        config = tfopt.schedules.serialize(tfopt.schedules.LinearDecay(0.1, 100))
        print(tfopt.schedules.deserialize(config))
        # LinearDecay(initial_learning_rate=0.1, decay_steps=100, end_learning_rate=0.0)
        ```
    """
    return keras.saving.serialize_keras_object(schedule)


def deserialize(config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Any:
    """Return the schedule that `serialize` made `config` of; a short ``class_name`` of tfopt's will do.

    Args:
        config: Dict with ``class_name`` and ``config``.
        custom_objects: Dict from names to classes that are not registered with Keras.

    Raises:
        ValueError: `config` has no `class_name`, or the class is unknown.

    Example:
        ```python
        config = {"class_name": "LinearDecay", "config": {"initial_learning_rate": 0.1, "decay_steps": 100}}
        print(tfopt.schedules.deserialize(config))
        # LinearDecay(initial_learning_rate=0.1, decay_steps=100, end_learning_rate=0.0)
        ```
    """
    config = dict(config)
    if "class_name" not in config:
        raise ValueError(f"A schedule config must have a `class_name`. Received keys: {sorted(config)}.")
    if (
        "module" not in config
        and "registered_name" not in config
        and config["class_name"] not in (custom_objects or {})
    ):
        cls = schedule_class(config["class_name"])
        return cls.from_config(config.get("config", {}), custom_objects=custom_objects)
    return keras.saving.deserialize_keras_object(config, custom_objects=custom_objects)


def from_name(
    name: str, learning_rate: Any, total_steps: int, warmup_fraction: float = 0.0, **arguments: Any
) -> Schedule:
    """Return a schedule that peaks at `learning_rate` and lasts `total_steps` steps, by plain values only.

    For a search: ``hp.Choice("schedule", ["constant", "linear", "warmup_cosine"])`` takes strings, and every family has
    a sensible form for a given length.

    Args:
        name: A name of `tfopt.schedules.names()`; ``"warmup_"`` before it warms up over a tenth of the steps.
        learning_rate: Float ≥ 0, a stack, a tensor or a variable: the highest value.
        total_steps: Int ≥ 1: optimizer steps of the whole training, warm-up included.
        warmup_fraction: Float in [0, 1): share of the steps of a linear warm-up from 0.
        **arguments: Further arguments of the family, such as ``decay_rate`` of ``"step"``.

    Raises:
        ValueError: The name or an argument is unknown (the nearest one is named), or a number is out of bounds.

    Example:
        ```python
        schedule = tfopt.schedules.from_name("warmup_linear", learning_rate=0.1, total_steps=10)
        print(schedule.curve(11).round(3).tolist())
        # [0.0, 0.1, 0.089, 0.078, 0.067, 0.056, 0.044, 0.033, 0.022, 0.011, 0.0]
        ```
    """
    total_steps = num_steps("total_steps", total_steps)
    warmup_fraction = number("warmup_fraction", warmup_fraction, minimum=0)
    if warmup_fraction >= 1:
        raise ValueError(f"Argument `warmup_fraction` must be < 1. Received: warmup_fraction={warmup_fraction}.")
    family = text("name", name)
    if name.startswith(_WARMUP) and name not in _FAMILIES:
        family, warmup_fraction = name.removeprefix(_WARMUP), warmup_fraction or _WARMUP_FRACTION
    if family not in _FAMILIES:
        known = [*_FAMILIES, *(_WARMUP + known for known in _FAMILIES)]
        raise ValueError(f"Unknown schedule: {name!r}.{known_as(name, known)} Known: {', '.join(names())}.")
    cls = _FAMILIES[family]
    check_argument_names(cls, arguments)
    warmup_steps = min(round(warmup_fraction * total_steps), total_steps - 1)
    schedule = cls.for_total(learning_rate, total_steps - warmup_steps, **arguments)
    return Warmup(schedule, warmup_steps) if warmup_steps else schedule


def check_argument_names(cls: type[Schedule], arguments: Mapping[str, Any]) -> None:
    """Refuse an argument that the class does not have, naming the nearest one that it has."""
    known = list(inspect.signature(cls).parameters)
    for name in arguments:
        if name not in known:
            raise ValueError(argument_hint(name, cls.__name__, known))


def _flat(name: str) -> str:
    return name.replace("_", "").lower()
