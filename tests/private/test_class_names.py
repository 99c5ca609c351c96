"""Classes of tfopt share no private name with the classes of Keras and KerasTuner that they extend."""

import ast
import inspect
import textwrap
from collections import defaultdict
from functools import cache

import keras
import keras_tuner
import pytest


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


@cache
def names_within(cls: type) -> frozenset[str]:
    """Return the private names that a class defines or takes from `self`."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    except (OSError, TypeError):
        return frozenset(filter(is_private, vars(cls)))
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    names |= {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    return frozenset(filter(is_private, names))


def foreign(cls: type) -> bool:
    return cls.__module__.split(".")[0] in ("keras", "keras_tuner", "tensorflow", "sklearn")


def subclasses(cls: type) -> set[type]:
    return {cls}.union(*map(subclasses, cls.__subclasses__()))


@pytest.mark.parametrize(
    "base", [keras.layers.Layer, keras.callbacks.Callback, keras.optimizers.Optimizer, keras.regularizers.Regularizer,
             keras.initializers.Initializer, keras.optimizers.schedules.LearningRateSchedule, keras_tuner.Tuner,
             keras_tuner.Oracle],
)  # fmt: skip
def test_no_class_shares_a_private_name_with_the_library_it_extends(base):
    """A name of our own that the library has too would be an override, or be overwritten, in silence."""

    clashes = defaultdict(set)
    for cls in subclasses(base):
        if not cls.__module__.startswith("tfopt."):
            continue
        theirs = set().union(*(names_within(one) for one in cls.__mro__ if foreign(one)))
        for one in cls.__mro__:
            if one.__module__.startswith("tfopt.") and not one.__module__.startswith("tfopt._private"):
                clashes[f"{one.__module__}.{one.__name__}"] |= names_within(one) & theirs
    assert not {name: sorted(names) for name, names in clashes.items() if names}
