"""One spelling for each value, so that the same level or truth value reads the same in training and in new rows.

Imports no pandas: the exported models use it.
"""

import re
from typing import Any

MISSING_TEXT = ("", "?", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NAN", "-nan", "NULL", "null")

# What else stands for a missing number or date, in lower case and without brackets.
_MARKS = """
    - -- --- – — . .. ... … * / ? ?? none nil nan -nan null na n/a n.a. n.a nd n.d. n/d ns nv missing unknown unk
    empty blank undefined \\n #n/a #na #null! #div/0! #value! #ref! #num! #name? #error! #n/v k.a. s.o. s/d s.d. tbd tba
    00/00/0000 00.00.0000 0000-00-00
"""
_MISSING_MARKS = frozenset(_MARKS.split()) | {"not available", "not applicable", "not known", "no data", "n / a", ""}

TRUTH_VALUES = {
    "true": 1.0,
    "yes": 1.0,
    "t": 1.0,
    "y": 1.0,
    "on": 1.0,
    "1": 1.0,
    "1.0": 1.0,
    "false": 0.0,
    "no": 0.0,
    "f": 0.0,
    "n": 0.0,
    "off": 0.0,
    "0": 0.0,
    "0.0": 0.0,
}
# A text column is boolean when all its values are of one pair; 0/1 columns stay numeric.
BOOLEAN_PAIRS = ({"true", "false"}, {"yes", "no"}, {"t", "f"}, {"y", "n"}, {"on", "off"})

_MISSING_TEXTS = frozenset(MISSING_TEXT)
_WHOLE = re.compile(r"([+-]?\d+)\.0+")


def level_text(value: Any) -> str:
    """Return the text of one category: `1`, `1.0`, `"1"` and `"1.0"` are the same level `"1"`."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    text = str(value).strip()
    match = _WHOLE.fullmatch(text)
    return match.group(1) if match else text


def is_missing_mark(text: str) -> bool:
    """Whether a text stands for a missing value in a column of numbers or dates: `-`, `n.a.`, `(null)`, `#DIV/0!`."""
    return text.lower().strip("()<>[]{} ") in _MISSING_MARKS


def quoted(text: str, most: int = 80) -> str:
    """Return a text in quotes for a message: at most 80 characters, control characters escaped."""
    return repr(text if len(text) <= most else text[: most - 1] + "…")


def is_missing_text(text: str) -> bool:
    """Whether a category's text stands for a missing value."""
    return text in _MISSING_TEXTS
