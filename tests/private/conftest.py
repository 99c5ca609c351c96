"""Hiding private names of other libraries from tfopt, and from nobody else, as if they had been renamed."""

import builtins
import importlib
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType

import pytest

PRIVATE = ("keras.src", "tensorflow.python", "keras_tuner.src")


def _asked_by_tfopt() -> bool:
    return sys._getframe(2).f_globals.get("__name__", "").startswith("tfopt.")


@contextmanager
def hidden(names: Iterable[str]) -> Iterator[None]:
    """Hide `module:name` and `module:Class.name` from code of tfopt: libraries go on finding what is theirs."""
    of_classes, of_modules = defaultdict(set), defaultdict(set)
    for name in names:
        module, _, path = name.partition(":")
        owner, _, attribute = path.rpartition(".")
        found = importlib.import_module(module)
        if owner:
            of_classes[getattr(found, owner)].add(attribute)
        else:
            assert hasattr(found, attribute), name
            of_modules[found].add(attribute)
    with ExitStack() as stack:
        for cls, attributes in of_classes.items():
            stack.enter_context(_class_guarded(cls, attributes))
        for module, attributes in of_modules.items():
            stack.enter_context(_module_guarded(module, attributes))
        yield


@contextmanager
def _class_guarded(cls: type, attributes: set[str]) -> Iterator[None]:
    own, stock = vars(cls).get("__getattribute__"), cls.__getattribute__

    def guarded(self, name):
        if name in attributes and _asked_by_tfopt():
            raise AttributeError(f"{cls.__name__} has no attribute {name!r}: the test hides it")
        return stock(self, name)

    cls.__getattribute__ = guarded
    try:
        yield
    finally:
        if own is None:
            del cls.__getattribute__
        else:
            cls.__getattribute__ = own


@contextmanager
def _module_guarded(module: ModuleType, attributes: set[str]) -> Iterator[None]:
    class Guarded(ModuleType):
        def __getattribute__(self, name):
            if name in attributes and _asked_by_tfopt():
                raise AttributeError(f"{module.__name__} has no attribute {name!r}: the test hides it")
            return super().__getattribute__(name)

    stock = module.__class__
    module.__class__ = Guarded
    try:
        yield
    finally:
        module.__class__ = stock


@contextmanager
def private_modules_missing() -> Iterator[None]:
    """Let every import of a private module by tfopt fail."""
    stock = builtins.__import__

    def guarded(name, globals=None, locals=None, fromlist=(), level=0):
        if name.startswith(PRIVATE) and (globals or {}).get("__name__", "").startswith("tfopt."):
            raise ImportError(f"No module named {name!r}: the test hides it")
        return stock(name, globals, locals, fromlist, level)

    builtins.__import__ = guarded
    try:
        yield
    finally:
        builtins.__import__ = stock


@pytest.fixture
def hide():
    """Return a function that hides private names for the rest of a test, and forgets what was found out about them."""
    from tfopt._private import needs

    def forget():
        needs.problem.cache_clear()
        needs.available.cache_clear()

    with ExitStack() as stack:
        stack.callback(forget)

        def start(names: Iterable[str]) -> None:
            forget()
            stack.enter_context(hidden(names))

        yield start
