"""Settings from flags, environment variables and a TOML file, merged in that order of precedence."""

import argparse
import json
import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tfopt._words import switch
from tfopt.cli.parser import Parser
from tfopt.errors import UserError, nearest
from tfopt.search.options import Option

ENVIRONMENT_PREFIX = "TFOPT_"


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
        elif option.repeats:
            group.add_argument(option.flag, action="extend", type=option.convert, metavar=option.metavar, **common)
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
        option.name: tuple(given[option.name]) if option.repeats else given[option.name]
        for option in options
        if option.name in given
    }


def from_environment(environment: Mapping[str, str], options: Iterable[Option]) -> dict[str, Any]:
    """Return the settings that `TFOPT_*` variables gave; an empty variable counts as none."""
    found = {}
    for option in options:
        variable = ENVIRONMENT_PREFIX + option.name.upper()
        if option.environment and environment.get(variable):
            found[option.name] = option.from_text(environment[variable], variable)
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
        found[name] = known[name].from_value(value, f"{file}: {key}")
    return found


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
