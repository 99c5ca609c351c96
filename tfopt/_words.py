"""Converters of a setting's text to its value; what they raise names the text and what was expected."""

import argparse
import re
from collections.abc import Callable

from tfopt.errors import nearest


def choice(*choices: str) -> Callable[[str], str]:
    """Return a converter that takes one of `choices`."""

    def convert(text: str) -> str:
        if text not in choices:
            raise argparse.ArgumentTypeError(f"{text!r} is not one of {', '.join(choices)}.{nearest(text, choices)}")
        return text

    convert.choices = choices  # type: ignore[attr-defined]  # for completion
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


def share(text: str) -> float:
    """Convert a number between 0 and 1, such as `0.9`, or `90%`."""
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share such as 0.9 or 90%")
    return value


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
    """Convert comma-separated names; one that holds a comma stands in double quotes, as in a CSV file."""
    parts = re.findall(r'\s*(?:"((?:[^"]|"")*)"\s*|([^,]*))(?:,|$)', text)
    found = tuple(name for quoted, plain in parts if (name := quoted.replace('""', '"') or plain.strip()))
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} holds no name")
    return found


def whole(text: str) -> tuple[str, ...]:
    """Convert one of several texts of an option that is given again and again."""
    return (text,)


def switch(text: str) -> bool:
    """Convert the value of an on/off setting in a file or the environment."""
    known = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    try:
        return known[text.lower()]
    except KeyError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false") from None
