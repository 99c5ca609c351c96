"""Search spaces by name, and the user's own from `PATH.py:function`."""

import hashlib
import inspect
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import keras_tuner

from tfopt.data.user_file import held, import_file, is_own
from tfopt.errors import UserError, one_line
from tfopt.search.config import GIVEN_SPACE
from tfopt.search.problem import Problem
from tfopt.search.spaces import SPACES, Space


def load_space(name: str) -> Space:
    """Return the space of a name of tfopt's, or the hypermodel that `PATH.py:name` holds.

    The name may be a function `build(hp)` or `build(hp, problem)`, a `keras_tuner.HyperModel` class, or an instance of
    one.

    Raises:
        UserError: There is no such file or name, or it is not a hypermodel.
    """
    if name in SPACES:
        return Space(name, SPACES[name])
    if name.startswith(GIVEN_SPACE):
        raise UserError(
            f"the space of this run is {name}, given in Python, which the run folder does not hold. Go on from Python: "
            "tfopt.search.run(resume=RUN, space=…)."
        )
    space = _space_of(name, held(name, "--space", "space", _may_build, "a function `build(hp)`"))
    return FileSpace(space.name, space.build, space.fit, Path(name.rpartition(":")[0]).read_bytes())


@dataclass(frozen=True)
class FileSpace(Space):
    """A space that a file holds; another process is sent the file, as nothing can import it by a name."""

    content: bytes = b""

    def __reduce__(self) -> tuple[Any, ...]:
        return _load_content, (self.name, self.content)


def _load_content(name: str, content: bytes) -> Space:
    """Return the space of a file, or of a copy of it where the file is not there: on another machine."""
    path = Path(name.rpartition(":")[0])
    if path.is_file() and path.read_bytes() == content:
        return load_space(name)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, path.name)
        path.write_bytes(content)
        return load_space(f"{path}:{name.rpartition(':')[2]}")


def from_object(hypermodel: Any) -> Space:
    """Return the space of a function or a HyperModel that Python holds, named with a hash of its source.

    Raises:
        UserError: It is not a hypermodel.
    """
    kind = hypermodel if inspect.isclass(hypermodel) or inspect.isroutine(hypermodel) else type(hypermodel)
    try:
        digest = " " + hashlib.sha256(inspect.getsource(kind).encode()).hexdigest()[:12]
    except (OSError, TypeError):  # typed at a prompt: a resumed search cannot tell whether it has changed
        digest = ""
    return _space_of(f"{GIVEN_SPACE}{kind.__name__}{digest}>", hypermodel)


def _space_of(name: str, hypermodel: Any) -> Space:
    if inspect.isclass(hypermodel) and issubclass(hypermodel, keras_tuner.HyperModel):
        try:
            hypermodel = hypermodel()
        except TypeError as error:
            raise UserError(f"{name}: the class needs arguments ({error}). Name an instance instead.") from error
    if isinstance(hypermodel, keras_tuner.HyperModel):
        overrides_fit = type(hypermodel).fit is not keras_tuner.HyperModel.fit
        return Space(name, _with_problem(hypermodel.build), hypermodel.fit if overrides_fit else None)
    if not callable(hypermodel) or inspect.isclass(hypermodel):
        raise UserError(
            f"{name} is no hypermodel ({type(hypermodel).__name__}). Name a function `build(hp)` that returns a "
            "compiled Keras model, or a keras_tuner.HyperModel."
        )
    return Space(name, _with_problem(hypermodel))


def check_reloads(model: Any, space: str) -> None:
    """Complain about a network that could be trained and compared, but not loaded again from `best.keras`.

    Keras saves a lambda as Python bytecode, and no longer runs that when it loads a file.

    Raises:
        UserError: It holds a lambda, or a layer without a configuration.
    """
    if not isinstance(model, keras.Model):
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Keras's, about the lambdas that are said below
            config = model.get_config()
    except NotImplementedError as error:
        raise UserError(
            f"the network of {space} cannot be saved ({one_line(error)[:200]}). Give its layers a `get_config`."
        ) from error
    if (layer := _lambda_in(config, model.name)) is not None:
        raise UserError(
            f"layer {layer!r} of the network of {space} holds a lambda, which is saved as bytecode, and so best.keras "
            "could not be loaded safely. Write a layer class with @keras.saving.register_keras_serializable(), or give "
            "the layer a function that has a name."
        )


def _lambda_in(config: Any, layer: str) -> str | None:
    """Return the name of a layer whose configuration holds a lambda's bytecode; None if there is none."""
    if isinstance(config, Mapping):
        match dict(config):
            case {"class_name": "__lambda__"}:
                return layer
            case {"value": [str(), _, _], **others} if not others:  # an activation's
                return layer
        layer = config["name"] if isinstance(config.get("name"), str) else layer
        # Losses and metrics are not loaded with a network.
        config = [part for key, part in config.items() if key != "compile_config"]
    parts = config if isinstance(config, list | tuple) else []
    return next((found for part in parts if (found := _lambda_in(part, layer)) is not None), None)


def own_classes(space: str) -> dict[str, Any]:
    """Return the classes and functions that the file of a space defines, for `load_model`'s `custom_objects`.

    Args:
        space: `PATH.py`, or `PATH.py:name`. The file is imported, so it must be one that the user named, never one that
            a run folder names.
    """
    module = import_file(Path(space if space.endswith(".py") else space.rpartition(":")[0]), "--space", "space")
    return {
        name: value
        for name, value in vars(module).items()
        if is_own(value, module) and (inspect.isclass(value) or inspect.isfunction(value))
    }


def _may_build(value: Any, module: Any) -> bool:
    """Whether what a file holds may be meant as its hypermodel: its own functions, and HyperModels."""
    if isinstance(value, keras_tuner.HyperModel):
        return True
    return is_own(value, module) and (
        inspect.isfunction(value) or (inspect.isclass(value) and issubclass(value, keras_tuner.HyperModel))
    )


def _with_problem(build):
    """Return `build(hp, problem)`, whichever of the two forms `build` has."""
    required = [
        parameter
        for parameter in inspect.signature(build).parameters.values()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        and parameter.default is parameter.empty
    ]
    if len(required) >= 2:
        return build

    def build_without_problem(hp: keras_tuner.HyperParameters, problem: Problem):
        return build(hp)

    return build_without_problem
