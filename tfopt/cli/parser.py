"""argparse with one-line errors that name the nearest choice."""

import argparse
import re
import shutil
import textwrap
from collections.abc import Sequence
from typing import Any, NoReturn

from tfopt.errors import UserError, nearest

_EXAMPLES = "\n\nexamples:\n"


class Parser(argparse.ArgumentParser):
    """An argument parser that raises `UserError` where argparse would print its usage and exit.

    Args:
        description: What the command does.
        examples: Lines that the help shows before the options.
        **settings: `ArgumentParser`'s.
    """

    def __init__(self, description: str = "", examples: str = "", **settings: Any):
        if examples:
            description += _EXAMPLES + textwrap.indent(textwrap.dedent(examples).strip("\n"), "  ")
        super().__init__(
            description=description, **settings, formatter_class=_Formatter, allow_abbrev=False, add_help=False
        )

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
        if text.startswith("commands:"):
            return text  # columns that are laid out already, as the examples are
        words, heading, examples = text.partition(_EXAMPLES)
        return textwrap.fill(" ".join(words.split()), width) + heading + examples
