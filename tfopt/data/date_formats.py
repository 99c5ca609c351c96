"""Dates as people write them: one format for a whole column, and whether the day or the month comes first."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

ISO = "ISO8601"
COMPACT = "%Y%m%d"
# Of the cells of a column of dates, this share must be dates; the others then count as missing.
ENOUGH = 0.95
# pandas alone takes more for ISO 8601 than a table's dates should be: 2019, too.
_ISO_PATTERN = r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?( ?(Z|[+-]\d{2}:?\d{2})| UTC)?)?"
_MONTH_FIRST = tuple(f"%m{sign}%d{sign}%{year}" for sign in "/-" for year in "Yy")
_DAYS = (
    *("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y年%m月%d日", "%d.%m.%Y", "%d.%m.%y", *_MONTH_FIRST),
    *("%d-%B-%Y", "%d-%B-%y", "%d %B %Y", "%d. %B %Y", "%d de %B de %Y", "%B %d, %Y", "%B %d %Y", "%d/%B/%Y"),
    COMPACT,
)
_TIMES = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p", " %H:%M:%S %z")
_OF_MACHINES = ("%Y%m%dT%H%M%S", "%B %d %H:%M:%S %Y", "%d/%B/%Y:%H:%M:%S %z")
_WEEKS = ("%G-W%V", "%GW%V", "%G W%V")
_QUARTERS = ("%Y-Q%q", "%YQ%q", "%Y Q%q", "Q%q %Y", "Q%q-%Y", "Q%q/%Y")
_MONTHS = ("%Y-%m", "%B %Y", "%B-%Y", "%B-%y", "%B de %Y", *_WEEKS, *_QUARTERS)
_MONTH_WORDS = """
    january jan januar jänner jän janvier janv enero ene gennaio gen janeiro januari janeiro
    february feb februar feber février févr fév fevrier febrero febbraio fevereiro fev februari
    march mar märz mär maerz mrz mars marzo março marco maart mrt
    april apr avril avr abril abr aprile
    may mai mayo maggio mag maio mei
    june jun juni juin junio giugno giu junho
    july jul juli juillet juil julio luglio lug julho
    august aug août aout agosto ago augustus
    september sep sept septembre septiembre settembre set setembro
    october oct oktober okt octobre octubre ottobre ott outubro out
    november nov novembre noviembre novembro
    december dec dezember dez décembre déc decembre diciembre dic dicembre dezembro
"""
_MONTH_OF = {word: line.split()[0] for line in _MONTH_WORDS.strip().splitlines() for word in line.split()}
# Whatever is not ASCII counts as a letter: where Arrow matches for pandas 3.0, `\w` is ASCII alone, without `Jän`.
_LETTERS = re.compile(r"[^\x00-@\[-`{-\x7f]{3,10}\.?")
_CODES = {
    "%Y": r"\d{4}",
    **dict.fromkeys(("%m", "%d", "%H", "%I"), r"\d{1,2}"),
    **dict.fromkeys(("%y", "%M", "%S"), r"\d{2}"),
    **{"%p": "[AaPp][Mm]", **dict.fromkeys(("%b", "%B"), _LETTERS.pattern)},
    **{"%G": r"\d{4}", "%V": r"\d{2}", "%q": r"\d", "%z": r"(?:GMT|UTC|Z|[+-]\d{2}:?\d{2})"},
}
# In front of a date: English, German, French, Spanish, Italian, Portuguese, Dutch; not `mar`, which is March too.
_WEEKDAY = (
    r"(?i:(?:mon|tues?|wed|wednes|thu|thurs?|fri|satur|sat|sun)(?:day)?|m[oi]|d[io]|fr|s[ao]|(?:mon|diens|donners|frei|"
    r"sams|sonn)tag|mittwoch|sonnabend|(?:lun|mar|mercre|jeu|vendre|same)di|dimanche|lun|mer|jeu|ven|sam|dim|"
    r"lunes|martes|mi[eé]rcoles|jueves|viernes|s[aá]bado|domingo|mi[eé]|jue|vie|s[aá]b|dom|(?:lune|marte|mercole|giove|"
    r"vener)d[iì]|domenica|gio|(?:segunda|ter[cç]a|quarta|quinta|sexta)(?:-feira)?|seg|ter|qua|qui|sex|"
    r"(?:maan|dins|woens|donder|vrij|zater|zon)dag|ma|wo|vr|z[ao])\.?,? +"
)


def _pattern(date_format: str) -> re.Pattern[str]:
    if date_format == ISO:
        return re.compile(_ISO_PATTERN)
    escaped = date_format.replace(".", r"\.").replace(" ", " +")
    pattern = re.sub(
        "%[A-Za-z]", lambda code: _CODES[code[0]], escaped.replace(COMPACT, r"\d{8}").replace("T%H", "T%M")
    )
    return re.compile(rf"(?:{_WEEKDAY})?{pattern}" if "%d" in date_format else pattern)


_FORMATS = {
    date_format: _pattern(date_format)
    for date_format in (ISO, *(day + time for time in _TIMES for day in _DAYS), *_OF_MACHINES, *_MONTHS)
}


@dataclass(frozen=True)
class DateGuess:
    """The format that fits a column.

    Args:
        date_format: `strptime` codes, or `"ISO8601"`.
        in_doubt: Whether as many texts are dates with day and month exchanged.
    """

    date_format: str
    in_doubt: bool = False


def guess_dates(
    texts: Sequence[str], cell_shapes: Sequence[str], counts: np.ndarray, share: float = ENOUGH
) -> DateGuess | None:
    """Return the format of a column's distinct texts, or None; `counts` tells how often each text occurs.

    At least `share` of the cells must be dates.
    """
    weights: Counter[str] = Counter()
    for shape, count in zip(cell_shapes, counts.tolist(), strict=True):
        weights[shape] += count
    common = weights.most_common(20)
    enough = max(share * sum(weights.values()), 1)
    series = pd.Series(texts, dtype="str")
    for date_format, pattern in _FORMATS.items():
        if not any(pattern.fullmatch(shape) for shape, _ in common):
            continue
        if sum(weight for shape, weight in weights.items() if pattern.fullmatch(shape)) < enough:
            continue
        valid = counts[parse_dates(series, date_format).notna().to_numpy()].sum()
        if not (other := other_order(date_format)):
            if valid >= enough:
                return DateGuess(date_format)
            continue
        swapped_valid = counts[parse_dates(series, other).notna().to_numpy()].sum()
        if max(valid, swapped_valid) < enough:
            continue
        return DateGuess(date_format if valid >= swapped_valid else other, in_doubt=valid == swapped_valid)
    return None


def parse_dates(texts: pd.Series, date_format: str) -> pd.Series:
    """Return naive UTC times, NaT where a text does not fit the format."""
    pattern = _FORMATS.get(date_format) or _pattern(date_format)
    fitting = texts.where(texts.str.fullmatch(pattern.pattern))
    if date_format == ISO:
        fitting = fitting.str.removesuffix(" UTC")
    if "%d" in date_format:
        fitting = fitting.str.replace(f"^{_WEEKDAY}", "", regex=True)
    if "%z" in date_format:
        fitting = fitting.str.replace(r"(?:GMT|UTC|Z)$", "+0000", regex=True)
    if "%b" in date_format or "%B" in date_format:  # names of any language, short ones too
        date_format = date_format.replace("%b", "%B")
        fitting = fitting.map(_in_english, na_action="ignore")
    elif "%V" in date_format:  # the Monday of the week
        date_format, fitting = date_format + " %u", fitting + " 1"
    elif "%q" in date_format:  # the first month of the quarter
        date_format = date_format.replace("Q%q", "%m")
        fitting = fitting.str.replace(r"Q(\d)", lambda found: f"{3 * int(found[1]) - 2:02d}", regex=True)
    return naive(pd.to_datetime(fitting, format=date_format, errors="coerce", utc=True))


def _in_english(text: str) -> str:
    return _LETTERS.sub(lambda word: _MONTH_OF.get(word[0].lower().rstrip("."), word[0]), text)


def naive(dates: pd.Series) -> pd.Series:
    """Return times in UTC, without a zone and to the second."""
    if dates.dt.tz is not None:
        dates = dates.dt.tz_convert("UTC").dt.tz_localize(None)
    return dates.astype("datetime64[s]")


def without_placeholders(dates: pd.Series) -> pd.Series:
    """Return the dates with NaT for those of the years 1 and 9999, which databases write where there is no date."""
    return dates.mask(dates.dt.year.isin((1, 9999)))


def other_order(date_format: str) -> str:
    """Return the format with day and month exchanged, `""` for one that does not leave their order in doubt."""
    if not re.match(r"%[md][/-]%[md]", date_format):
        return ""
    return date_format.translate({ord("m"): "d", ord("d"): "m"})


def is_day_first(date_format: str) -> bool:
    """Whether the format writes the day before the month."""
    return date_format.startswith("%d")


def order_of_rows(dates: pd.Series, swapped: pd.Series) -> str:
    """Return which of two readings of the rows' dates is that of a series: `"as read"`, `"swapped"`, or `""`.

    A series is evenly spaced (in days, or in months on one day of the month), or else in order down the file.
    """
    one, other = _evenness(dates), _evenness(swapped)
    if max(one, other) >= 0.9 and abs(one - other) > 0.02:
        return "as read" if one > other else "swapped"
    ordered, swapped_ordered = _is_ordered(dates), _is_ordered(swapped)
    if ordered != swapped_ordered:
        return "as read" if ordered else "swapped"
    return ""


def _evenness(dates: pd.Series) -> float:
    """Return the share of the commonest step between consecutive dates."""
    days = np.unique(dates.dropna().to_numpy(dtype="datetime64[D]"))
    if len(days) < 4:
        return 0.0
    months = days.astype("datetime64[M]")
    steps = [np.diff(days.astype(np.int64))]
    if len(np.unique((days - months.astype("datetime64[D]")).astype(np.int64))) == 1:
        steps.append(np.diff(months.astype(np.int64)))
    return max(float(np.unique(step, return_counts=True)[1].max() / len(step)) for step in steps)


def _is_ordered(dates: pd.Series) -> bool:
    present = dates.dropna()
    return len(present) >= 8 and (present.is_monotonic_increasing or present.is_monotonic_decreasing)
