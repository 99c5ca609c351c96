"""Walks through a compiled model and finds every number that its training step may use, and what its graph depends on.

Configurations do not suffice: custom layers without `get_config`, closures, `Lambda` and custom losses keep numbers
elsewhere. The walk follows the objects themselves: attributes, containers, closures, default arguments, `partial`s and
the code and globals of the user's own functions. Two models with the same signature have the same graph but for the
values of these numbers.
"""

import functools
import hashlib
import types
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfopt._private.keras_models import BOOKKEEPING, layers_of, topology

_LIBRARIES = ("keras", "tensorflow", "numpy", "builtins", "math", "functools", "jax")
_PLAIN = (bool, str, bytes, type, types.ModuleType, tf.DType, types.BuiltinFunctionType)
_Setter = Callable[[Any], None] | None


class ModelWalk:
    """The numbers, variables and structure of one compiled model.

    Attributes:
        numbers: Value of every number found, by its path from the model.
        setters: For each, the function that puts another value in its place; None where there is none.
        variables: Variables found outside `model.variables` and `model.optimizer.variables`, by path.
        signature: Equal for models of the same graph.
    """

    def __init__(self, model: keras.Model):
        self.numbers: dict[str, float | int] = {}
        self.setters: dict[str, _Setter] = {}
        self.variables: dict[str, Any] = {}
        self._lines: list[str] = []
        self._paths: dict[int, str] = {}
        self._aliases: dict[str, str] = {}  # paths of what was visited before, with the path at which
        self._within: dict[int, frozenset[str]] = {}  # what `numbers_of` has found
        self._kept: list[Any] = []  # what was visited stays alive, so that no two objects share an id
        self._known = {id(variable) for variable in (*model.variables, *model.optimizer.variables)}
        self._visit("model", model, None, None)
        self.signature = hashlib.sha256("\n".join(self._lines).encode()).hexdigest()

    def numbers_of(self, thing: Any) -> frozenset[str]:
        """Return the paths of all numbers within an object that was visited."""
        if id(thing) not in self._within:
            paths = [self._paths[id(thing)]]
            for path in paths:  # and within what was found at another place first
                paths += [own for alias, own in self._aliases.items() if _is_within(alias, path) and own not in paths]
            self._within[id(thing)] = frozenset(n for n in self.numbers if any(_is_within(n, path) for path in paths))
        return self._within[id(thing)]

    def _visit(self, path: str, thing: Any, setter: _Setter, owner: Any) -> None:
        if isinstance(thing, keras.KerasTensor):
            return
        if thing is None or isinstance(thing, _PLAIN):
            plain = thing is None or isinstance(thing, (bool, str, bytes))
            self._note(path, thing if plain else getattr(thing, "__name__", thing))
        elif isinstance(thing, (int, float, np.integer, np.floating)):
            self._number(path, thing, setter, owner)
        elif isinstance(thing, tf.Tensor):
            self._tensor(path, thing, setter)
        elif isinstance(thing, np.ndarray):
            self._note(path, f"array {thing.shape} {thing.dtype} {_digest(thing)}")
        elif id(thing) in self._paths:
            self._note(path, f"the same as {self._paths[id(thing)]}")
            self._aliases[path] = self._paths[id(thing)]
        else:
            self._paths[id(thing)] = path
            self._kept.append(thing)
            self._visit_once(path, thing, setter, owner)

    def _visit_once(self, path: str, thing: Any, setter: _Setter, owner: Any) -> None:
        if isinstance(thing, (keras.Variable, tf.Variable)):
            self._variable(path, thing, owner)
        elif isinstance(thing, dict):
            for key in thing:
                self._visit(f"{path}[{key!r}]", thing[key], functools.partial(thing.__setitem__, key), owner)
            self._note(path, f"dict of {len(thing)}")
        elif isinstance(thing, list):
            for index, element in enumerate(thing):
                self._visit(f"{path}[{index}]", element, functools.partial(thing.__setitem__, index), owner)
            self._note(path, f"list of {len(thing)}")
        elif isinstance(thing, tuple):
            self._tuple(path, thing, setter, owner)
        elif isinstance(thing, (set, frozenset)):
            for index, element in enumerate(sorted(thing, key=repr)):
                self._visit(f"{path}{{{index}}}", element, None, owner)
        elif isinstance(thing, types.MethodType):
            self._visit(f"{path}.self", thing.__self__, None, owner)
            self._visit(f"{path}.function", thing.__func__, None, owner)
        elif isinstance(thing, functools.partial):
            self._visit(f"{path}.function", thing.func, None, owner)
            self._visit(f"{path}.keywords", thing.keywords, None, owner)
            for index, argument in enumerate(thing.args):
                self._visit(f"{path}.argument{index}", argument, None, owner)
        elif isinstance(thing, types.FunctionType):
            self._function(path, thing)
        else:
            self._object(path, thing, owner)

    def _note(self, path: str, what: Any) -> None:
        self._lines.append(f"{path} = {what}")

    def _number(self, path: str, number: Any, setter: _Setter, owner: Any) -> None:
        if isinstance(owner, keras.initializers.Initializer):
            return  # used up when the weights were made; every fit copies the weights themselves
        whole = isinstance(number, (int, np.integer))
        if whole and not isinstance(owner, keras.optimizers.schedules.LearningRateSchedule):
            self._note(path, int(number))  # widths, axes, counts: other graphs
            return
        self.numbers[path] = int(number) if whole else float(number)
        self.setters[path] = setter
        self._note(path, "whole number" if whole else "number")

    def _tensor(self, path: str, tensor: tf.Tensor, setter: _Setter) -> None:
        values = tensor.numpy() if hasattr(tensor, "numpy") else None
        if values is not None and tensor.shape.rank == 0 and tensor.dtype.is_floating:
            self.numbers[path], self.setters[path] = float(values), setter
            self._note(path, f"number {tensor.dtype.name}")
        else:
            self._note(path, f"tensor {tensor.shape} {tensor.dtype.name} {'' if values is None else _digest(values)}")

    def _variable(self, path: str, variable: Any, owner: Any) -> None:
        self._note(path, f"variable {variable.shape} {variable.dtype} {getattr(variable, 'trainable', '')}")
        if id(variable) not in self._known:
            self.variables[path] = variable
        if isinstance(variable, keras.Variable):
            for name in ("regularizer", "constraint"):
                if getattr(variable, name, None) is not None:
                    self._visit(f"{path}.{name}", getattr(variable, name), None, owner)

    def _tuple(self, path: str, elements: tuple, setter: _Setter, owner: Any) -> None:
        present = list(elements)

        def put(index: int, value: Any) -> None:
            present[index] = value
            setter(tuple(present))  # type: ignore[misc]

        for index, element in enumerate(elements):
            own = None if setter is None else functools.partial(put, index)
            self._visit(f"{path}[{index}]", element, own, owner)
        self._note(path, f"tuple of {len(elements)}")

    def _function(self, path: str, function: types.FunctionType) -> None:
        module = function.__module__ or ""
        stock = module.split(".")[0] in _LIBRARIES
        self._note(path, f"function {module}.{function.__qualname__}")
        if stock and not function.__closure__:
            return
        code = function.__code__
        constants = [c for c in code.co_consts if isinstance(c, (int, float, str, tuple, type(None)))]
        self._note(path, f"code {hashlib.sha256(code.co_code).hexdigest()} {constants!r}")
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=False):
            try:
                content = cell.cell_contents
            except ValueError:  # not filled yet
                continue
            self._visit(f"{path}<{name}>", content, functools.partial(setattr, cell, "cell_contents"), function)
        for index, default in enumerate(function.__defaults__ or ()):
            self._visit(f"{path}.default{index}", default, functools.partial(_set_default, function, index), function)
        keyword_defaults = function.__kwdefaults__ or {}
        for name, default in keyword_defaults.items():
            setter = functools.partial(keyword_defaults.__setitem__, name)
            self._visit(f"{path}.default {name}", default, setter, function)
        if not stock:
            self._globals(path, function)

    def _globals(self, path: str, function: types.FunctionType) -> None:
        """Note the plain values of the module's names that a user's function uses: they are in the graph for good."""
        for name in function.__code__.co_names:
            value = function.__globals__.get(name)
            if isinstance(value, (int, float, str, tuple)) or (
                isinstance(value, (dict, list, set)) and value is not function.__globals__ and len(value) < 200
            ):
                self._note(f"{path} global {name}", repr(value)[:4000])

    def _object(self, path: str, thing: Any, owner: Any) -> None:
        kind = type(thing)
        library = (kind.__module__ or "").split(".")[0]
        self._note(path, f"{kind.__module__}.{kind.__qualname__}")
        if isinstance(thing, keras.Model):
            for index, layer in enumerate(layers_of(thing)):
                self._visit(f"{path}/{index}", layer, None, layer)
            for link in topology(thing):
                self._note(path, link)
        attributes = getattr(thing, "__dict__", None)
        if attributes is None:
            self._note(path, "opaque")
            return
        if library in {"tensorflow", "numpy", "threading", "_thread", "weakref", "inspect"} and not isinstance(
            thing, keras.layers.Layer
        ):
            return
        self._class(path, kind)
        owner = owner if isinstance(owner, keras.initializers.Initializer) else thing
        for name in sorted(attributes):
            if name not in BOOKKEEPING and not name.startswith(("__", "_self_")):
                # Through the dictionary, as Keras locks the attributes of what is built.
                self._visit(f"{path}.{name}", attributes[name], functools.partial(attributes.__setitem__, name), owner)

    def _class(self, path: str, kind: type) -> None:
        """Note the code, closures and constants of a user's own class and its user-written bases."""
        for base in kind.__mro__:
            if base is object or (base.__module__ or "").split(".")[0] in _LIBRARIES:
                continue
            for name, member in sorted(vars(base).items()):
                member = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
                if isinstance(member, types.FunctionType):
                    self._visit(f"{path}.{name}()", member, None, base)
                elif isinstance(member, (int, float, str)) and not name.startswith("__"):
                    self._note(f"{path}.{name}", repr(member))


def _is_within(path: str, owner: str) -> bool:
    return path.startswith(owner) and path[len(owner) : len(owner) + 1] in {".", "["}


def _digest(values: Any) -> str:
    values = np.asarray(values)  # a tensor that is one text gives bytes
    texts = values.dtype == object
    return hashlib.sha256(
        repr(values.tolist()).encode() if texts else np.ascontiguousarray(values).tobytes()
    ).hexdigest()


def _set_default(function: types.FunctionType, index: int, value: Any) -> None:
    defaults = function.__defaults__ or ()
    function.__defaults__ = (*defaults[:index], value, *defaults[index + 1 :])
