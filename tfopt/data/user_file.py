"""What a Python file of the user's own holds, by `PATH.py:name`."""

import importlib.util
import inspect
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tfopt.errors import UserError, nearest


def names_python(source: str) -> bool:
    """Whether a text is `PATH.py:name`."""
    path, _, name = source.rpartition(":")
    return path.endswith(".py") and bool(name)


def absolute_name(source: str) -> str:
    """Return `PATH.py:name` with the whole path."""
    path, _, name = source.rpartition(":")
    return f"{os.path.abspath(path)}:{name}"


def check_file(path: Path, option: str) -> None:
    """Complain where there is no such file; `option` is what named it, for the message: `--space`."""
    if not path.is_file():
        siblings = [sibling.name for sibling in path.parent.glob("*.py")] if path.parent.is_dir() else []
        raise UserError(f"no file {path}.{nearest(path.name, siblings)} {option} takes PATH.py:function.")


def import_file(path: Path, option: str, kind: str) -> Any:
    """Return the module of a file that the user named.

    Args:
        path: The file.
        option: What named it, for messages: `--space`.
        kind: Begins the module's name: what pickles its classes looks the module up by name.

    Raises:
        UserError: There is no such file, or it cannot be imported.
    """
    check_file(path, option)
    name = f"tfopt_{kind}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path} is not a Python file. {option} takes PATH.py:function.")
    module = importlib.util.module_from_spec(spec)
    # The file may import its neighbours.
    sys.modules[name] = module
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UserError(f"{path} could not be imported: {type(error).__name__}: {error}. Mend the file.") from error
    finally:
        sys.path.remove(str(path.parent.resolve()))
    return module


def held(source: str, option: str, kind: str, may_be_meant: Callable[[Any, Any], bool], write: str) -> Any:
    """Return what `PATH.py:name` names.

    Args:
        source: The text.
        option: What named it, for messages.
        kind: Begins the module's name.
        may_be_meant: Whether something that the module holds, given with the module, is worth listing.
        write: What to write in a file that holds nothing such.

    Raises:
        UserError: There is no such file or name.
    """
    path, _, attribute = source.rpartition(":")
    module = import_file(Path(path), option, kind)
    if not hasattr(module, attribute):
        public = [key for key, value in vars(module).items() if not key.startswith("_") and may_be_meant(value, module)]
        listed = f" It has: {', '.join(public)}." if public else f" Write {write} in it."
        raise UserError(f"{path} has no {attribute!r}.{nearest(attribute, public)}{listed}")
    return getattr(module, attribute)


def is_own(value: Any, module: Any) -> bool:
    """Whether a module itself defines a value."""
    return getattr(value, "__module__", None) == module.__name__


def is_own_function(value: Any, module: Any) -> bool:
    """Whether a value is a function that the module itself defines."""
    return is_own(value, module) and inspect.isfunction(value)
