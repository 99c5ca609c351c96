"""Read a column as numbers, if that is what it holds, and say how they are written."""

import re

import numpy as np
import pandas as pd

from tfopt.data.clock import DEGREES, HOURS, MINUTES
from tfopt.data.column import Column
from tfopt.data.date_formats import ENOUGH
from tfopt.data.drafts import NUMBER_KINDS, Cells, Draft, Habits, Reading
from tfopt.data.guesses import Guesses, cells
from tfopt.data.number_formats import MOSTLY, MULTIPLIED, Evidence, is_limit, looks_like_number, to_numbers
from tfopt.data.raw import RawTable
from tfopt.data.spelling import is_missing_mark, quoted
from tfopt.data.values import EXACT, checked

_MOST_MARKS = 5
_FEW_LEVELS = 20
_MOST_SPELLINGS = 100
_PLAIN_NUMBERS = {
    ".": re.compile(r"[-+]?0+(\.0+)?([eE][-+]?0+)?"),
    ",": re.compile(r"[-+]?0+([eE][-+]?0+)?"),
}
_TIME_WORD = re.compile(r"(^|[^a-z])(time|timestamp|ts|epoch|date|ns)([^a-z]|$)", re.IGNORECASE)
_OPEN_RANGE = re.compile(r"0+ ?-")
_PADDED = re.compile(r"[-+]?0\d+")
_SEPARATED = re.compile(r"0([,. '_])(?=000)")
_THOUSANDS = {
    ",": "thousands commas",
    ".": "thousands points",
    " ": "blanks between thousands",
    "'": "apostrophes between thousands",
    "_": "underscores between thousands",
}


def as_numbers(draft: Draft, habits: Habits, raw: RawTable, guesses: Guesses) -> Reading | None:
    """Return a column of text as numbers, or None where it holds something else."""
    found, told = draft.cells, draft.told in NUMBER_KINDS
    if found is None or (known := draft.numbers) is None or not len(found.texts):
        return None
    decimal = NUMBER_KINDS.get(draft.told) or known.decimal or habits.decimal(known.unclear)
    values = to_numbers(found.texts, found.shapes, decimal, known.unit)
    good = ~np.isnan(values)
    limits = np.zeros(len(good), dtype=bool)
    for place in np.flatnonzero(~good):
        limits[place] = is_limit(found.texts[place], found.shapes[place], decimal, known.unit)
    marks = np.zeros(len(good), dtype=bool)
    for place in np.flatnonzero(~good):
        marks[place] = is_missing_mark(found.texts[place])
    if not good.any() or not (told or _enough(found, values, limits, marks)):
        alike = {shape: looks_like_number(shape) for shape in set(found.shapes)}
        looking = np.array([alike[shape] for shape in found.shapes], dtype=bool) | good | limits
        unmarked = found.counts[looking | ~marks].sum()
        if found.counts[looking].sum() * 2 >= unmarked and draft.dates is None:
            stray = _counted(found, good if good.all() else ~good)
            guesses.add(
                "not read as numbers, though most cells look like them",
                draft.name,
                f"none in {stray}",
                "number" if good.any() else "drop",
                always=bool(good.any()),
            )
        return None
    if not told and _is_code(found, values) and not _TIME_WORD.search(draft.name):
        longest = max(found.texts, key=len)
        detail = f"{cells(int(found.counts.sum()))}, such as {quoted(longest)}"
        guesses.add("whole numbers too long for exact arithmetic, compared as text", draft.name, detail, "number")
        return Reading(Column(draft.name, "categorical"), found.categories())
    _say_how_written(draft, found, values, decimal, known, habits, guesses)
    if not told and (padded := next((text for text in found.texts if _PADDED.fullmatch(text)), "")):
        guesses.add("read as numbers in spite of leading zeros", draft.name, quoted(padded), "category")
    missing = say_missing(draft, found, good, limits, "numbers", guesses)
    column = Column(draft.name, "numeric", missing_text=missing, decimal=decimal, unit=known.unit)
    amounts = bool(known.unit) or any(map(_SEPARATED.search, set(found.shapes)))
    return Reading(column, checked(found.spread(pd.Series(values), np.nan), raw), amounts)


def _enough(found: Cells, values: np.ndarray, limits: np.ndarray, marks: np.ndarray) -> bool:
    """Whether the cells that are no numbers are few enough, or words and signs that recur, to count as missing."""
    counts, good = found.counts, ~np.isnan(values)
    others = ~good & ~limits & ~marks
    numbers, stray, marked = (int(counts[chosen].sum()) for chosen in (good, others, marks))
    if numbers * 2 < counts.sum() - marked or numbers * 10 < counts.sum():
        return False
    strange = [found.texts[place] for place in np.flatnonzero(others)]
    with_digits = [any(map(str.isdigit, text)) for text in strange]
    if len(np.unique(values[good])) <= _FEW_LEVELS:
        if any(with_digits) and (counts[others] > 1).any():
            return False  # levels such as 0, 1, 2, 3+
        if all(_OPEN_RANGE.fullmatch(found.shapes[place]) for place in np.flatnonzero(good)):
            return False  # levels such as 50- and 55-, each up to the next
    share = 1.0 - stray / max(numbers + counts[limits].sum() + stray, 1)
    recurring = len(strange) <= _MOST_MARKS and stray >= 2 * len(strange) and not any(with_digits)
    return bool(share >= (MOSTLY if recurring else ENOUGH))


def _is_code(found: Cells, values: np.ndarray) -> bool:
    """Whether most cells are whole numbers beyond those that float64 tells apart."""
    if not (np.abs(values) >= EXACT).any():
        return False
    long = np.array([set(shape) == {"0"} and len(shape) >= 16 for shape in found.shapes]) & (np.abs(values) >= EXACT)
    return bool(found.counts[long].sum() * 2 > found.counts.sum())


def _say_how_written(
    draft: Draft, found: Cells, values: np.ndarray, decimal: str, known: Evidence, habits: Habits, guesses: Guesses
) -> None:
    plain = {shape for shape in set(found.shapes) if _PLAIN_NUMBERS[decimal].fullmatch(shape)}
    odd_texts = [
        shape not in plain or not text.isascii() for text, shape in zip(found.texts, found.shapes, strict=True)
    ]
    odd = np.flatnonzero(~np.isnan(values) & np.array(odd_texts, dtype=bool))
    if not len(odd):
        if decimal == "." and (habits.comma or (known.unclear and habits.separator == ";")):
            text = max(found.texts, key=len)
            guesses.add("read as numbers with decimal points", draft.name, f"such as {quoted(text)}", "decimal-comma")
        return
    written = {found.shapes[place] for place in odd}
    signs = {sign for shape in written for sign in _SEPARATED.findall(shape)} - {decimal}
    ways = ["decimal commas"] if decimal == "," and any("," in shape for shape in written) else []
    ways += [_THOUSANDS[sign] for sign in sorted(signs)]
    ways += _unit_in_words(known.unit)
    ways += ["brackets for minus"] if any("(" in shape for shape in written) else []
    place = max(odd[:1000], key=lambda place: len(found.texts[place]))
    if not ways and any("-" in found.shapes[k] and "-" not in found.texts[k] for k in odd):
        ways = ["other minus signs"]
    what = "read as seconds" if known.unit in (HOURS, MINUTES) else "read as numbers"
    what += " with " + " and ".join(ways) if ways else ""
    detail = f"{cells(int(found.counts[odd].sum()))}, such as {quoted(found.texts[place])} as {values[place]:.15g}"
    otherwise = ("decimal-point" if decimal == "," else "decimal-comma") if known.unclear else "category"
    guesses.add(what, draft.name, detail, otherwise)


def _unit_in_words(unit: str) -> list[str]:
    if unit in ("", HOURS):
        return []
    if unit == DEGREES:
        return ["degrees, minutes and seconds, south and west below zero"]
    if unit == MINUTES:
        return ["minutes first where there are two parts"]
    base = unit.removesuffix(MULTIPLIED).strip()
    factors = ["suffixes such as k and M multiplied"] if base != unit else []
    return [*factors, *([f"the unit {base}"] if base else [])]


def say_missing(
    draft: Draft, found: Cells, good: np.ndarray, limits: np.ndarray, what: str, guesses: Guesses
) -> tuple[str, ...]:
    """Say which texts count as missing, and return them."""
    if (words := ~good & ~limits).any():
        guesses.add(f"read as missing among {what}", draft.name, _counted(found, words), "category")
    if limits.any():
        guesses.add(
            "bounds read as missing (write a number, such as half the bound, to use them)",
            draft.name,
            _counted(found, limits),
            "category",
        )
    return tuple(sorted(found.texts[place] for place in np.flatnonzero(~good)))[:_MOST_SPELLINGS]


def _counted(found: Cells, chosen: np.ndarray) -> str:
    """Return `12 cells: '-' in 8, 'n.a.' in 4`, the commonest texts first."""
    places = sorted(np.flatnonzero(chosen), key=lambda place: -found.counts[place])
    listed = ", ".join(f"{quoted(found.texts[place], 40)} in {found.counts[place]}" for place in places[:3])
    return f"{cells(int(found.counts[chosen].sum()))}: {listed}" + (", …" if len(places) > 3 else "")
