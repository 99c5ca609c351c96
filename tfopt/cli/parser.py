"""argparse with one-line errors that name the nearest choice, and the converters of option values."""

import argparse
import re
import shutil
import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

from tfopt.errors import UserError, nearest


class Parser(argparse.ArgumentParser):
    """An argument parser that raises `UserError` where argparse would print its usage and exit."""

    def __init__(self, **settings: Any):
        super().__init__(**settings, formatter_class=_Formatter, allow_abbrev=False, add_help=False)

    def flags(self) -> list[str]:
        """Every option string that this parser knows."""
        return [flag for action in self._actions for flag in action.option_strings]

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        """Parse all of `words`; what is left over is an error with the nearest option."""
        arguments, unknown = self.parse_known_args(words)
        for word in unknown:
            if word.startswith("-") and word != "-":
                flag = word.split("=")[0]
                raise UserError(f"unknown option {flag}.{nearest(flag, self.flags())} `{self.prog} --help` lists them.")
        if unknown:
            raise UserError(f"unexpected argument {unknown[0]!r}. `{self.prog} --help` shows what it takes.")
        return arguments

    def error(self, message: str) -> NoReturn:
        """Raise what argparse complains about as a `UserError`."""
        message = re.sub(r"^argument (\S+/)?(-\S+|\w+): ", r"\2: ", message)
        message = re.sub(r"^the following arguments are required: (.*)", r"\1 is missing", message)
        stop = "" if message.endswith((".", "?")) else "."
        raise UserError(f"{message}{stop} `{self.prog} --help` shows what it takes.")


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str):
        width = min(shutil.get_terminal_size((100, 24)).columns, 110)
        super().__init__(prog, max_help_position=30, width=max(width - 2, 50))

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text.startswith((" ", "examples:", "commands:")):
            return super()._fill_text(text, width, indent)  # columns that are laid out already
        return textwrap.fill(" ".join(text.split()), width, initial_indent=indent, subsequent_indent=indent)


def epilog(examples: str) -> str:
    """Return the examples of a command as its epilog."""
    return "examples:\n" + textwrap.indent(textwrap.dedent(examples).strip("\n"), "  ") if examples else ""


def choice(*choices: str) -> Callable[[str], str]:
    """Return a converter that takes one of `choices`."""

    def convert(text: str) -> str:
        if text not in choices:
            raise argparse.ArgumentTypeError(f"{text!r} is not one of {', '.join(choices)}.{nearest(text, choices)}")
        return text

    return convert


def integer(text: str) -> int:
    """Convert a whole number."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def number(text: str) -> float:
    """Convert a number."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None


def duration(text: str) -> float:
    """Convert `90`, `90s`, `10m`, `1h` or `1h30m` to seconds."""
    match = re.fullmatch(r"(?:([\d.]+)h)?(?:([\d.]+)m)?(?:([\d.]+)s?)?", text.strip().lower())
    try:
        if not match or not any(match.groups()):
            raise ValueError
        return sum(float(part) * unit for part, unit in zip(match.groups(), (3600, 60, 1), strict=True) if part)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 90s, 10m or 1h") from None


def size(text: str) -> int:
    """Convert `500MB`, `2GB` or a number of bytes to bytes."""
    match = re.fullmatch(r"([\d.]+)\s*(kb|mb|gb|tb|b|)", text.strip().lower())
    try:
        if not match:
            raise ValueError
        return int(float(match[1]) * 10 ** {"b": 0, "": 0, "kb": 3, "mb": 6, "gb": 9, "tb": 12}[match[2]])
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 500MB or 2GB") from None


def names(text: str) -> tuple[str, ...]:
    """Convert comma-separated names."""
    found = tuple(name.strip() for name in text.split(",") if name.strip())
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} holds no name")
    return found


def switch(text: str) -> bool:
    """Convert the value of an on/off setting in a file or the environment."""
    known = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    try:
        return known[text.lower()]
    except KeyError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false") from None


def flatten(groups: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """Join what a repeatable option of `names` collected."""
    return tuple(name for group in groups for name in group)
