"""One table of options for flags, environment variables and a TOML file, merged in that order of precedence."""

import argparse
import json
import os
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfopt.cli.parser import Parser, names, switch
from tfopt.errors import UserError, nearest

ENVIRONMENT_PREFIX = "TFOPT_"


@dataclass(frozen=True)
class Option:
    """One setting.

    Args:
        name: Its key in a config file; the flag is `--name` with dashes, the variable `TFOPT_NAME`.
        help: What it does, with the unit; the default is appended.
        convert: Text to value; raises `argparse.ArgumentTypeError`. `switch` makes a flag without a value, `names` a
            repeatable one.
        metavar: What the help calls the value.
        default_text: What the help shows as the default; None for the value itself.
        constants: Flags without a value, each with the value that it stands for, in place of `--name`.
        environment: Whether a variable may set it.
    """

    name: str
    help: str
    convert: Callable[[str], Any] = str
    metavar: str | None = None
    default_text: str | None = None
    constants: tuple[tuple[str, str], ...] = ()
    environment: bool = True

    @property
    def flag(self) -> str:
        """The option's flag."""
        return "--" + self.name.replace("_", "-")


def add_options(parser: Parser, title: str, options: Iterable[Option], defaults: Mapping[str, Any]) -> None:
    """Add an argument group whose flags stay out of the namespace unless they are given."""
    group = parser.add_argument_group(title)
    for option in options:
        common: dict[str, Any] = {
            "dest": option.name,
            "default": argparse.SUPPRESS,
            "help": _help(option, defaults[option.name]),
        }
        if option.constants:
            for flag, value in option.constants:
                group.add_argument(flag, action="store_const", const=value, **common)
                common["help"] = "the opposite"
        elif option.convert is switch:
            group.add_argument(option.flag, action="store_true", **common)
        elif option.convert is names:
            group.add_argument(option.flag, action="extend", type=names, metavar=option.metavar, **common)
        else:
            group.add_argument(option.flag, type=option.convert, metavar=option.metavar, **common)


def _help(option: Option, default: Any) -> str:
    text = option.default_text
    if text is None and not isinstance(default, bool) and default not in (None, []):
        text = str(default)
    return option.help.replace("%", "%%") + (f" (default: {text})" if text else "")


def from_flags(arguments: argparse.Namespace, options: Iterable[Option]) -> dict[str, Any]:
    """Return the settings that flags gave."""
    given = vars(arguments)
    return {
        option.name: tuple(given[option.name]) if option.convert is names else given[option.name]
        for option in options
        if option.name in given
    }


def from_environment(environment: Mapping[str, str], options: Iterable[Option]) -> dict[str, Any]:
    """Return the settings that `TFOPT_*` variables gave; an empty variable counts as none."""
    found = {}
    for option in options:
        variable = ENVIRONMENT_PREFIX + option.name.upper()
        if option.environment and environment.get(variable):
            found[option.name] = _convert(option, environment[variable], variable)
    return found


def from_toml(path: str | os.PathLike[str], options: Iterable[Option]) -> dict[str, Any]:
    """Return the settings of a TOML file, each converted as its flag would be."""
    file = Path(path)
    known = {option.name: option for option in options}
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        siblings = [str(file.parent / entry.name) for entry in file.parent.glob("*.toml")]
        raise UserError(f"no config file {file}.{nearest(str(file), siblings)}") from None
    except OSError as error:
        raise UserError(f"config file {file} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise UserError(f"config file {file} is not UTF-8 text. Save it as UTF-8.") from None
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"config file {file} is not TOML: {error}.") from None
    found = {}
    for key, value in values.items():
        name = key.replace("-", "_")
        if name not in known:
            raise UserError(
                f"unknown key {key!r} in {file}.{nearest(name, known)} `--print-config` prints every key there is."
            )
        found[name] = _from_toml_value(known[name], value, f"{file}: {key}")
    return found


def _from_toml_value(option: Option, value: Any, place: str) -> Any:
    if isinstance(value, list) and option.convert is names:
        if not all(isinstance(item, str) for item in value):
            raise UserError(f"{place} must be a list of column names in quotes. Received: {value}.")
        return tuple(value)  # not split at commas: here a name may hold one
    if isinstance(value, bool):
        if option.convert is not switch:
            raise UserError(f"{place} takes no true or false. Received: {str(value).lower()}.")
        return value
    if not isinstance(value, str | int | float):
        raise UserError(f"{place} must be a single value. Received: {value}.")
    return _convert(option, str(value), place)


def _convert(option: Option, text: str, place: str) -> Any:
    try:
        return option.convert(text)
    except argparse.ArgumentTypeError as error:
        raise UserError(f"{place}: {error}") from None


def to_toml(values: Mapping[str, Any], groups: Iterable[tuple[str, Iterable[Option]]]) -> str:
    """Return `values` as TOML that `from_toml` reads back; a setting without a value is a comment."""
    lines = []
    for title, options in groups:
        lines.append(f"# {title}")
        for option in options:
            value = values[option.name]
            lines.append(f"# {option.name} =" if value is None else f"{option.name} = {_toml_value(value)}")
        lines.append("")
    return "\n".join(lines)


def _toml_value(value: Any) -> str:
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value)
