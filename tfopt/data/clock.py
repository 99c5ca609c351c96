"""Times of day and durations as seconds (`13:45`, `1:30 pm`, `1h 20m`, `2 years 3 months`), places in degrees."""

import math
import re
from collections.abc import Sequence

import numpy as np

# The "units" of such columns. They tell what the two parts of 58:12 are.
HOURS, MINUTES, DEGREES = "h:m", "m:s", "° ′ ″"
_SIGN = r"(?P<sign>[-+−])?"
_COLONS = re.compile(
    rf"{_SIGN}(?:(?P<d>\d+) ?d(?:ays?)?,? ?)?(?P<one>\d{{1,4}}):(?P<two>[0-5]\d(?:[.,]\d+)?)"
    r"(?::(?P<three>[0-5]\d(?:[.,]\d+)?))?",
    re.ASCII,
)
_HALVES = re.compile(r"(?P<h>1[0-2]|0?\d)(?::(?P<m>[0-5]\d))?(?::(?P<s>[0-5]\d))? ?(?P<half>[ap])\.?m\.?", re.ASCII)
_NUMBER = r"\d+(?:[.,]\d+)?"
_SPAN = re.compile(
    rf"{_SIGN}(?:(?P<y>{_NUMBER}) ?(?:y|yrs?|years?)\.?,? ?)?(?:(?P<mo>{_NUMBER}) ?(?:mos?|mths?|months?)\.?,? ?)?"
    rf"(?:(?P<w>{_NUMBER}) ?(?:w|wks?|weeks?)\.?,? ?)?(?:(?P<d>{_NUMBER}) ?(?:d|days?),? ?)?"
    rf"(?:(?P<h>{_NUMBER}) ?(?:h|hrs?|hours?)\.?,? ?(?P<bare>[0-5]\d)?)?"
    rf"(?:(?P<m>{_NUMBER}) ?(?:m|mins?|minutes?)\.?,? ?)?(?:(?P<s>{_NUMBER}) ?(?:s|secs?|seconds?)\.?)?",
    re.ASCII,
)
_PLACE = re.compile(
    rf"{_SIGN}(?P<d>{_NUMBER}) ?[°º] ?(?:(?P<m>{_NUMBER}) ?['′’] ?)?"
    rf"(?:(?P<s>{_NUMBER}) ?(?:\"|″|”|'') ?)?(?P<side>[nsew])?",
    re.ASCII,
)
_DAY = 86400.0
_SECONDS = {
    "y": 365.25 * _DAY,
    "mo": 365.25 / 12 * _DAY,
    "w": 7 * _DAY,
    "d": _DAY,
    "h": 3600.0,
    "m": 60.0,
    "bare": 60.0,
    "s": 1.0,
}


def clock_unit(texts: Sequence[str], counts: np.ndarray) -> tuple[str, float]:
    """Return what a column's times or places are written in, and the share of the cells that are such."""
    colons = [match for text in texts if (match := _COLONS.fullmatch(text.lower()))]
    short = any(match["three"] or not match["two"].isdigit() for match in colons)
    unit = MINUTES if short and any(match["three"] is None for match in colons) else HOURS
    shares = {
        unit: float(counts[~np.isnan(clock_numbers(texts, unit))].sum() / max(counts.sum(), 1))
        for unit in (unit, DEGREES)
    }
    best = max(shares, key=shares.__getitem__)
    return best, shares[best]


def clock_numbers(texts: Sequence[str], unit: str) -> np.ndarray:
    """Return the seconds, or the degrees, that each text is; NaN where it is none."""
    numbers = (_degrees(text.lower()) if unit == DEGREES else _seconds(text.lower(), unit) for text in texts)
    return np.fromiter(numbers, np.float64, len(texts))


def _degrees(text: str) -> float:
    if not (match := _PLACE.fullmatch(text)):
        return math.nan
    degrees = _number(match["d"]) + _number(match["m"]) / 60.0 + _number(match["s"]) / 3600.0
    return -degrees if (match["sign"] in ("-", "−")) != (match["side"] in ("s", "w")) else degrees


def _seconds(text: str, unit: str) -> float:
    if match := _COLONS.fullmatch(text):
        parts = [_number(part) for part in (match["one"], match["two"], match["three"]) if part is not None]
        parts = [0.0, *parts] if len(parts) == 2 and unit == MINUTES else [*parts, 0.0][:3]
        total = _number(match["d"]) * _DAY + parts[0] * 3600.0 + parts[1] * 60.0 + parts[2]
    elif match := _HALVES.fullmatch(text):
        hours = int(match["h"]) % 12 + 12 * (match["half"] == "p")
        return hours * 3600.0 + _number(match["m"]) * 60.0 + _number(match["s"])
    elif text and (match := _SPAN.fullmatch(text)) and any(match[part] for part in _SECONDS):
        total = sum(_number(match[part]) * seconds for part, seconds in _SECONDS.items())
    else:
        return math.nan
    return -total if match["sign"] in ("-", "−") else total


def _number(text: str | None) -> float:
    return float(text.replace(",", ".")) if text else 0.0
