"""What a search space holds: its values in order, random configurations, all configurations, active values.

KerasTuner's own functions for this leave out the end of a stepped float, hand out a float's grid in the order of a
set, and drop a hyperparameter that is declared under one name in two conditional scopes.
"""

import copy
import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras_tuner
from keras_tuner.engine.hyperparameters import Boolean, Choice, Fixed, Float, HyperParameter, Int

from tfopt._files import as_json
from tfopt.errors import nearest

Values = dict[str, Any]
Key = tuple[tuple[str, str], ...]
GRID_POINTS = 10
LARGEST_ENUMERATION = 200_000


def key(values: Values) -> Key:
    """Return what makes two configurations the same; what a tuner adds (`tuner/epochs` …) does not count."""
    return tuple(sorted((name, repr(value)) for name, value in values.items() if not name.startswith("tuner/")))


def steps(parameter: HyperParameter) -> int | None:
    """Return how many values a hyperparameter can take; None for a float without a step."""
    if (values := _listed(parameter)) is not None:
        return len(values)
    low, high = parameter.min_value, parameter.max_value
    if parameter.step is None:
        return high - low + 1 if isinstance(parameter, Int) else (1 if low == high else None)
    # The tolerance keeps the end point: (1 - 0) // 0.2 is 4 in floating point.
    if parameter.sampling == "linear":
        return math.floor((high - low) / parameter.step + 1e-9) + 1
    return math.floor(math.log(high / low, parameter.step) + 1e-9) + 1


def nth(parameter: HyperParameter, index: int) -> Any:
    """Return the value of this index, from 0, of a hyperparameter with finitely many, in ascending order."""
    if (values := _listed(parameter)) is not None:
        return values[index]
    low, high, step = parameter.min_value, parameter.max_value, parameter.step
    if step is None:
        return low + index
    if parameter.sampling == "linear":
        value = low + index * step
    elif parameter.sampling == "log":
        value = low * step**index
    else:
        value = high + low - low * step ** ((steps(parameter) or 1) - 1 - index)
    # 3 * 0.1 is 0.30000000000000004; nobody asked for that.
    return round(value) if isinstance(parameter, Int) else min(float(f"{value:.12g}"), high)


def _listed(parameter: HyperParameter) -> list[Any] | None:
    """Return the values of a hyperparameter that is no range; None of a range."""
    if isinstance(parameter, Fixed):
        return [parameter.value]
    if isinstance(parameter, Boolean):
        return [False, True]
    return list(parameter.values) if isinstance(parameter, Choice) else None


def at(parameter: HyperParameter, fraction: float) -> Any:
    """Return the value at a fraction, 0 to 1, of the range; equal fractions of it are equally likely draws."""
    count = steps(parameter)
    if count is not None and not (isinstance(parameter, Int) and parameter.step is None):
        return nth(parameter, min(int(fraction * count), count - 1))
    low, high = parameter.min_value, parameter.max_value
    if isinstance(parameter, Int):  # every integer owns the interval up to the next
        value = math.floor(_scaled(parameter.sampling, low, high + 1, fraction) + 1e-12)
        return min(max(value, low), high)
    return float(min(max(_scaled(parameter.sampling, low, high, fraction), low), high))


def grid(parameter: HyperParameter, points: int = GRID_POINTS) -> list[Any]:
    """Return the values that a grid search tries, the default first and the others ascending.

    A range too fine to be tried whole (a float without a step, an integer sampled by its logarithm without one) gives
    `points` values, its two ends among them.
    """
    count = steps(parameter)
    if count is None or (isinstance(parameter, Int) and parameter.step is None and count > points):
        low, high = parameter.min_value, parameter.max_value
        spread = [_scaled(parameter.sampling, low, high, index / (points - 1)) for index in range(points)]
        values = [low, *spread[1:-1], high]
        values = [round(value) if isinstance(parameter, Int) else float(f"{value:.12g}") for value in values]
    else:
        values = [nth(parameter, index) for index in range(count)]
    default = parameter.default
    return list(dict.fromkeys([default, *values]))


def draw(space: list[HyperParameter], fractions: Callable[[], float]) -> Values:
    """Return a configuration: a value for every active hyperparameter, the parents first."""
    return walk(space, lambda parameter: at(parameter, fractions()))


def read(space: list[HyperParameter], texts: Mapping[str, str]) -> Values:
    """Return the configuration that texts name; an active hyperparameter that they do not name has its default.

    Raises:
        ValueError: A text is no value that its hyperparameter can take.
    """

    def value(parameter: HyperParameter) -> Any:
        return typed(parameter, texts[parameter.name]) if parameter.name in texts else parameter.default

    return walk(space, value)


def typed(parameter: HyperParameter, text: str) -> Any:
    """Return the value of a hyperparameter that a text stands for.

    Raises:
        ValueError: It can take no such value.
    """
    if isinstance(parameter, Int | Float):
        number = _number(text)
        if number is None or (isinstance(parameter, Int) and number != round(number)):
            kind = "a whole number" if isinstance(parameter, Int) else "a number"
            raise ValueError(f"{parameter.name!r} must be {kind}. Received: {text}.")
        low, high = parameter.min_value, parameter.max_value
        if not low <= number <= high:
            raise ValueError(f"{parameter.name!r} must be between {low:g} and {high:g}. Received: {text}.")
        return round(number) if isinstance(parameter, Int) else number
    values = [nth(parameter, index) for index in range(steps(parameter) or 0)]
    for value in values:
        if text.lower() == str(value).lower() or (_number(text) == value and not isinstance(value, bool)):
            return value
    known = [str(value) for value in values]
    raise ValueError(f"{parameter.name!r} must be one of {', '.join(known)}. Received: {text}.{nearest(text, known)}")


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def configurations(
    space: list[HyperParameter], choices: Callable[[HyperParameter], list[Any]] | None = None
) -> Iterator[Values]:
    """Yield every configuration of a finite space once, the last hyperparameter changing fastest."""
    listed = [choices(p) if choices else [nth(p, i) for i in range(steps(p) or 0)] for p in space]

    def extend(index: int, values: Values) -> Iterator[Values]:
        while index < len(space) and not is_active(space[index], values):
            index += 1
        if index == len(space):
            yield values
            return
        for value in listed[index]:
            yield from extend(index + 1, {**values, space[index].name: value})

    return extend(0, {})


def finite(space: list[HyperParameter]) -> bool:
    """Return whether every hyperparameter has finitely many values."""
    return all(steps(parameter) is not None for parameter in space)


def untried(space: list[HyperParameter], tried: set[Key]) -> list[Values]:
    """Return the configurations of a finite space that were not tried, of its first 200 000."""
    first = itertools.islice(configurations(space), LARGEST_ENUMERATION)
    return [values for values in first if key(values) not in tried]


def is_active(parameter: HyperParameter, values: Values) -> bool:
    """Return whether all conditions of a hyperparameter hold."""
    return all(condition.is_active(values) for condition in parameter.conditions)


def complete(hp: keras_tuner.HyperParameters) -> None:
    """Give `hp` a value for every active hyperparameter, the default where it has none, and for no other."""
    tuned = {parameter.name for parameter in hp.space}
    active = walk(hp.space, lambda parameter: hp.values.get(parameter.name, parameter.default))
    others = {name: value for name, value in hp.values.items() if name not in tuned}
    hp.values = as_json(active | others, non_finite=float)


def explore(hp: keras_tuner.HyperParameters, build: Callable[[keras_tuner.HyperParameters], Any]) -> None:
    """Run `build` until every conditional scope was entered, and leave in `hp` the space that it declares."""
    seen: list[Any] = []
    trial = hp.copy()
    while True:
        build(trial)
        declared = [(p.name, p.conditions) for p in hp.space]
        hp.merge([p for p in trial.space if (p.name, p.conditions) not in declared])
        seen += [scope for scope in copy.deepcopy(trial.active_scopes) if scope not in seen]
        waiting = [scope for scope in trial.inactive_scopes if scope not in seen]
        if not waiting:
            return
        seen.append(copy.deepcopy(waiting[0]))  # whether or not it can ever hold
        trial = hp.copy()
        for condition in waiting[0]:
            trial.values[condition.name] = condition.values[0]
        complete(trial)


def walk(space: list[HyperParameter], value: Callable[[HyperParameter], Any]) -> Values:
    """Return a value for every active hyperparameter, the parents first."""
    values: Values = {}
    for parameter in space:
        if parameter.name not in values and is_active(parameter, values):
            values[parameter.name] = value(parameter)
    return values


def _scaled(sampling: str, low: float, high: float, fraction: float) -> float:
    if sampling == "linear":
        return low + fraction * (high - low)
    if sampling == "log":
        return low * (high / low) ** fraction
    return high + low - low * (high / low) ** (1 - fraction)


def is_ordered(parameter: HyperParameter) -> bool:
    """Return whether the values of a hyperparameter lie on a line."""
    return isinstance(parameter, Int | Float | Boolean) or (isinstance(parameter, Choice) and parameter.ordered)
