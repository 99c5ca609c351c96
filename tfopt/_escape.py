"""Text from elsewhere, such as a table's names and labels, so that whatever shows it does not obey it."""

import json
import re
from typing import Any

# Control characters, ends of lines and changes of the writing's direction, and halves of characters.
_COMMAND = "[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
_COMMANDS, _COMMANDS_IN_LINES = re.compile(_COMMAND), re.compile(rf"(?!\n){_COMMAND}")
# A spreadsheet computes what begins so; signed numbers, which may have separators, an exponent or a percent sign, are
# what they seem.
_FORMULA = re.compile(r"[=@].|[-+](?![\d.,'\s]*\d[\d.,'\s]*([eE][-+]?\d+)?\s*%?$).", re.DOTALL)


def printable(text: str, lines: bool = False) -> str:
    """Return a text for a terminal, control characters as `\\x1b`; with `lines` those that end a line are kept."""
    if text.isprintable():
        return text
    commands = _COMMANDS_IN_LINES if lines else _COMMANDS
    return commands.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def json_text(value: Any) -> str:
    """Return a value as indented JSON for a terminal: it reads back as it was, and control characters are escaped."""
    text = json.dumps(value, ensure_ascii=False, indent=2)
    return _COMMANDS_IN_LINES.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def markdown(text: str) -> str:
    """Return a text for a cell or a paragraph of Markdown."""
    return re.sub(r"([\\|`<])", r"\\\1", printable(text))


def docstring(text: str) -> str:
    """Return a text for the docstring of a program."""
    return re.sub(r"([\\\"])", r"\\\1", printable(text))


def csv_cell(text: str) -> str:
    """Return a text for a cell of CSV: with an apostrophe before what a spreadsheet would compute."""
    text = printable(text, lines=True)
    return f"'{text}" if _FORMULA.match(text) else text
