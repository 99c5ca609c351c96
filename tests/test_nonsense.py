"""Whatever is given for an argument: it is refused by name, or it means something and gives finite numbers."""

import inspect
import math
import typing
from decimal import Decimal

import keras
import numpy as np
import pytest

from tfopt import callbacks, constraints, initializers, layers, models, regularizers, schedules

PACKAGES = [schedules, regularizers, initializers, constraints, layers, callbacks, models]
# Bases, and what is made of a model, an optimizer or a loss.
LEFT_OUT = {"Schedule", "Penalty", "EnsembleModel", "JacobianModel", "MeanOfNetworks", "ProximalOptimizer"}
LEFT_OUT |= {"SklearnPenalty"}

# What an argument without a default is given while another one is tried, by its name.
GIVEN = {
    **dict.fromkeys(("initial_learning_rate", "maximal_learning_rate", "learning_rate", "end_learning_rate"), 0.25),
    **dict.fromkeys(("rate", "stddev", "factor", "decay_rate", "schedule"), 0.5),
    **dict.fromkeys(("decay_steps", "first_decay_steps", "cutoff_steps", "total_steps", "anneal_steps"), 20),
    **dict.fromkeys(("start_step", "offset_steps", "step_size", "warmup_steps"), 4),
    **dict.fromkeys(("gradient_accumulation_steps", "units"), 3),
    **dict.fromkeys(("boundaries", "milestones"), (4,)),
    **dict.fromkeys(("values", "schedules"), (0.5, 0.25)),
    "steps": [0, 4],
    "columns": [0, 1],
    "levels": [2, 3, 2, 2],
    "probe": (np.ones((2, 3)), np.ones(2)),
    "path": "log.csv",
}
OF_CLASS = {
    "HyperparameterScheduler": {"schedules": {"learning_rate": 0.5}},
    "LearningRateMultipliers": {"multipliers": {"dense": 0.5}},
}

OTHER_KINDS = [1j, math.nan, [], {}, [[]], object(), len, np.array(["a"])]
NO_NUMBER = [*OTHER_KINDS, "0.1", "x", b"1", True, np.True_, math.inf, -math.inf, 10**400, -(10**4000), Decimal("NaN")]
NO_NUMBER += [(), np.array([]), ["a"], [None], [True], [math.nan], [[1], [1, 2]], [10**4000], {"a": 1}, int]
NO_NUMBER += [np.ma.masked, np.ma.masked_array([1.0, 2.0], [0, 1]), np.longdouble("1e4000")]
NO_FLAG = [*OTHER_KINDS, "no", "", b"1", 2, -1, 0.5, [True], np.array([True, False])]
NO_STRING = [*OTHER_KINDS, True, 1, b"cosine", ["a"]]
NO_PIECE = [1j, math.nan, object(), b"1", [[]], {}, {"a": 1}]
EDGES = [0, -1, -0.5, 1, 2, 1e300, -1e300, 2**63, -(2.0**63)]
WEIGHT = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")


def tried_for(parameter):
    """Return values that cannot mean anything for an argument of its type, and numbers that may."""
    kinds = typing.get_args(parameter.annotation) or (parameter.annotation,)
    is_optional = {type(None), typing.Any} & set(kinds) or parameter.default is None
    missing = [] if is_optional else [None]
    if bool in kinds:
        return NO_FLAG + missing, []
    if float in kinds or int in kinds or parameter.name in ("seed", "decay"):
        return NO_NUMBER + missing, EDGES
    if str in kinds and parameter.name != "path":
        return NO_STRING + missing, []
    takes_names = "Mapping" in str(parameter.annotation)
    return [value for value in NO_PIECE if not (takes_names and isinstance(value, dict))], []


def used(piece):
    """What a piece makes of a step, a weight, a shape or an input; None of a callback."""
    if isinstance(piece, schedules.Schedule):
        return piece.curve(30)
    if isinstance(piece, keras.initializers.Initializer):
        return piece({"DeltaOrthogonal": (3, 3, 4, 6), "PriorBias": (4,)}.get(type(piece).__name__, (6, 4)))
    if isinstance(piece, regularizers.Penalty | keras.constraints.Constraint):
        return piece(keras.ops.convert_to_tensor(WEIGHT))
    if isinstance(piece, keras.layers.Layer):
        rank = getattr(piece.input_spec, "ndim", None) or 2
        can_train = "training" in inspect.signature(piece.call).parameters
        return piece(np.ones((2, *(4,) * (rank - 1)), "float32"), **({"training": True} if can_train else {}))
    return None


def fault(cls, given, name, value, may_do):
    """Return what is wrong with how `cls` takes `value` for the argument `name`; None where nothing is."""
    try:
        piece = cls(**{**given, name: value})
    except (TypeError, ValueError) as error:
        message = str(error)
        return None if f"`{name}`" in message and "eceived" in message else f"refused as {message[:90]!r}"
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:90]}"
    if not may_do:
        return "accepted"
    if name == "axis" or name.startswith(("num_", "units")):  # a matter of the weight; large networks take long
        return None
    outputs = used(piece)
    return None if outputs is None or np.isfinite(np.asarray(outputs)).all() else "accepted, and gives no number"


@pytest.mark.parametrize(
    "package",
    [pytest.param(each, marks=[pytest.mark.slow] if each is layers else []) for each in PACKAGES],  # calls them
    ids=lambda package: package.__name__,
)
def test_nonsense_is_refused_by_the_name_of_its_argument(package):
    classes = [getattr(package, name) for name in package.__all__ if name not in LEFT_OUT]
    faults, num_tried = [], 0
    for cls in filter(inspect.isclass, classes):
        own = [p for p in inspect.signature(cls).parameters.values() if p.name not in ("args", "kwargs")]
        given = {p.name: GIVEN[p.name] for p in own if p.default is p.empty and p.name in GIVEN}
        given |= OF_CLASS.get(cls.__name__, {})
        cls(**given)
        for parameter in own:
            nonsense, edges = tried_for(parameter)
            for value, may_do in [(value, False) for value in nonsense] + [(value, True) for value in edges]:
                num_tried += 1
                if found := fault(cls, given, parameter.name, value, may_do):
                    faults.append(f"{cls.__name__}({parameter.name}={type(value)!s} {value!r:.40}): {found}")
    assert not faults, "\n".join(faults)
    assert num_tried > 30
