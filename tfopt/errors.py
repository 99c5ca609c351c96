"""The one error that means "what you asked for cannot be done": its text says what, where, and what to do."""

import difflib
from collections.abc import Iterable

from tfopt._escape import printable


class UserError(ValueError):
    """A mistake in the user's input; the command line prints it as one line and exits with 2."""

    def __str__(self) -> str:
        return printable(" ".join(super().__str__().split("\n")))


class CannotStack(ValueError):
    """A model or request that cannot be trained in a stack of members; the message says why, in one line."""


def nearest(name: str, choices: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the choice most like `name`, or ``""`` when none is close."""
    names = list(choices)
    matches = [choice for choice in names if choice.lower() == name.lower()]
    matches = matches or difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f" Did you mean {matches[0]!r}?" if matches else ""


def one_line(failure: Exception | str) -> str:
    """Return what went wrong in one line: of a long message its beginning and its end, where TensorFlow says why.

    Of a traceback that is its last line.
    """
    text = failure if isinstance(failure, str) else f"{type(failure).__name__}: {failure}"
    lines = [line.strip() for line in text.splitlines() if line.strip()] or ["no reason was recorded"]
    if lines[0].startswith("Traceback "):
        return lines[-1]
    return lines[0] if len(lines) == 1 else f"{lines[0]} … {lines[-1]}"
