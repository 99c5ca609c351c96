"""Decide what each column is, on all its rows."""

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from tfopt.data.column import Column
from tfopt.data.date_formats import (
    COMPACT,
    ISO,
    is_day_first,
    naive,
    order_of_rows,
    other_order,
    parse_dates,
    without_placeholders,
)
from tfopt.data.drafts import DATE_KINDS, Cells, Draft, Habits, Reading
from tfopt.data.guesses import Guesses, cells
from tfopt.data.number_columns import as_numbers, say_missing
from tfopt.data.raw import RawTable
from tfopt.data.readings import NumberBlock, Readings
from tfopt.data.spelling import BOOLEAN_PAIRS, quoted
from tfopt.data.values import checked, is_whole, to_categories, to_truth
from tfopt.errors import UserError

_WORDS = re.compile(r"[^\W\d_]{2,}")
_BLANK = re.compile(r"\S\s+\S")
_LEAST_DATES = 5  # different ones, before whole numbers count as dates
_CHINESE = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af]")


def read_columns(raw: RawTable, frame: pd.DataFrame, told: Mapping[str, str], guesses: Guesses) -> Readings:
    """Decide the kind of every column and return its values.

    What a column leaves open (`5.251`, `01/02/2015`) is decided by what the other columns tell.

    Args:
        raw: The table that the columns are of, for messages and for reading them again as text.
        frame: The columns to be read.
        told: The kinds that the user gave, by name.
        guesses: Receives what is guessed.

    Raises:
        UserError: When a column holds an infinite number or one beyond float32, or is not what it is told to be.
    """
    told = {**_compact_dates(frame, told, guesses), **told}
    blocks = _blocks(frame, told, raw)
    plain = {name for block in blocks for name in block.names}
    if raw.read_text:
        plain -= {
            block.names[place]
            for block in blocks
            for place in np.flatnonzero(block.inexact)
            if block.names[place] not in told
        }
    columns = {name: frame[name] for name in map(str, frame) if name not in plain}
    again = [name for name, values in columns.items() if values.dtype != "str"]
    if raw.read_text and again:
        columns |= {str(name): values for name, values in raw.read_text(again).items()}
    drafts = [Draft(values, told.get(name, "")) for name, values in columns.items()]
    with_decimals = [
        block.names[place] for block in blocks for place in np.flatnonzero(~block.whole) if block.names[place] in plain
    ]
    habits = Habits.of(drafts, raw, len(with_decimals))
    for block in blocks:
        block.check([place for place, name in enumerate(block.names) if name in plain], raw)
    if raw.decimal == ",":
        for name in with_decimals:
            _say_decimal_commas(frame[name], guesses)
    for name, example in raw.padded.items():
        if name in plain:
            guesses.add("read as numbers in spite of leading zeros", name, quoted(example), "category")
    others = {draft.name: _decide(draft, habits, raw, guesses) for draft in drafts}
    return Readings(list(map(str, frame)), others, blocks, habits.decimal())


def _compact_dates(frame: pd.DataFrame, told: Mapping[str, str], guesses: Guesses) -> dict[str, str]:
    """Return the columns of whole numbers all of which are dates, such as 20150131: by chance one in 27 would be."""
    found = {}
    numbers = frame[[name for name, dtype in frame.dtypes.items() if dtype.kind in "iuf"]]
    first = numbers.iloc[:100].to_numpy(np.float64, na_value=np.nan)
    for name in numbers.columns[(((first > 19e6) & (first < 22e6)) | np.isnan(first)).all(axis=0)]:
        if name in told:
            continue
        distinct = pd.Series(numbers[name].dropna().unique()).astype("float64")
        if len(distinct) < _LEAST_DATES or not (distinct.between(19e6, 22e6).all() and is_whole(distinct.to_numpy())):
            continue
        texts = distinct.astype("int64").astype("str")
        dates = parse_dates(texts, COMPACT)
        if dates.notna().all() and dates.dt.year.between(1900, 2199).all():
            found[name] = "date"
            detail = f"{quoted(texts[0])} as {dates.iloc[0]:%Y-%m-%d}"
            guesses.add("read as dates, year first", name, detail, "number")
    return found


def _blocks(frame: pd.DataFrame, told: Mapping[str, str], raw: RawTable) -> list[NumberBlock]:
    """Return the columns that are plain numbers and are to be numbers, those of one type together."""
    names: dict[Any, list[str]] = {}
    for name, dtype in zip(map(str, frame), frame.dtypes, strict=True):
        plain = isinstance(dtype, np.dtype) and dtype.kind in "iuf" and name not in raw.unclear
        if plain and told.get(name, "number") == "number":
            names.setdefault(dtype, []).append(name)
    return [NumberBlock(frame[chosen]) for chosen in names.values()]


def _say_decimal_commas(values: pd.Series, guesses: Guesses) -> None:
    some = next(number for number in values if math.isfinite(number) and number % 1)
    written = quoted(f"{some:.15g}".replace(".", ","))
    detail = f"{cells(int(values.notna().sum()))}, such as {written} as {some:.15g}"
    guesses.add("read as numbers with decimal commas", str(values.name), detail, "category")


def _decide(draft: Draft, habits: Habits, raw: RawTable, guesses: Guesses) -> Reading:
    name, values = draft.name, draft.values
    if draft.cells is None:
        if draft.told == "text":
            return Reading(Column(name, "text"), Cells(values).strings())
        if draft.told == "category" or isinstance(values.dtype, pd.CategoricalDtype):
            return Reading(Column(name, "categorical"), to_categories(values))
        if pd.api.types.is_datetime64_any_dtype(values.dtype):
            dates = without_placeholders(naive(values))
            if num_placeholders := int(dates.isna().sum() - values.isna().sum()):
                detail = f"{cells(num_placeholders)} of the years 1 or 9999"
                guesses.add("read as missing among dates", name, detail, "category")
            return Reading(Column(name, "date", date_format=ISO), dates)
        if values.dtype in ("bool", "boolean"):
            return Reading(Column(name, "boolean"), values.astype("Float64").astype("float64"))
        if pd.api.types.is_timedelta64_dtype(values.dtype):
            values = values.dt.total_seconds()
        return Reading(Column(name, "numeric", decimal=habits.decimal()), checked(values, raw))
    truth = _as_truth(draft)
    if truth is not None:
        return Reading(Column(name, "boolean"), truth)
    for read in (as_numbers, _as_dates):
        if (reading := read(draft, habits, raw, guesses)) is not None:
            return reading
    if draft.told:
        what = "date" if draft.told in DATE_KINDS else "number"
        shown = ", ".join(map(quoted, draft.cells.texts[:3])) or "nothing"
        raise UserError(
            f"no {what} in column {quoted(name)} ({raw.source}: {shown}), though --column {name}={draft.told} "
            "was given. Leave it out, or write category or text."
        )
    if is_text(draft.cells):
        detail = f"{len(draft.cells.texts):,} different texts, such as {quoted(draft.cells.texts[0], 40)}"
        guesses.add("read as text of several words", name, detail, "category")
        return Reading(Column(name, "text"), Cells(values).strings())
    return Reading(Column(name, "categorical"), draft.cells.categories())


def _as_truth(draft: Draft) -> pd.Series | None:
    if draft.told or draft.cells is None or len(draft.cells.texts) > 6:
        return None
    words = {text.lower() for text in draft.cells.texts}
    return to_truth(draft.values) if words in BOOLEAN_PAIRS else None


def is_text(found: "Cells") -> bool:
    """Whether most rows differ and most of the texts have several words."""
    texts, num_cells = found.texts, int(found.counts.sum())
    if num_cells < 10 or len(texts) <= 0.5 * num_cells:
        return False
    sample = texts[:: max(1, len(texts) // 1000)]
    several = sum(
        (len(_WORDS.findall(text)) >= 2 and _BLANK.search(text) is not None)  # no address such as ann@example.com
        or len(_CHINESE.findall(text)) >= 6
        for text in sample
    )
    return several > 0.5 * len(sample)


def _as_dates(draft: Draft, habits: Habits, raw: RawTable, guesses: Guesses) -> Reading | None:
    found, guess, told = draft.cells, draft.dates, draft.told
    if found is None or guess is None:
        return None
    date_format, why, texts = guess.date_format, "", pd.Series(found.texts, dtype="str")
    if other := other_order(date_format):
        if told in ("day-first", "month-first"):
            date_format = date_format if is_day_first(date_format) == (told == "day-first") else other
        elif guess.in_doubt:  # the guess is month first, and both fit
            order = order_of_rows(
                *(found.spread(parse_dates(texts, order), np.datetime64("NaT", "s")) for order in (date_format, other))
            )
            order_of_file = habits.day_first - habits.month_first or (habits.decimal() == ",")
            swap = order == "swapped" or (not order and order_of_file > 0)
            date_format = other if swap else date_format
            why = (
                "which makes them a series"
                if order
                else "as elsewhere in the file"
                if order_of_file
                else "though the day may come first"
            )
    dates = without_placeholders(parse_dates(texts, date_format))
    if date_format not in (guess.date_format, ISO) and why == "" and not dates.notna().any():
        return None
    good = dates.notna().to_numpy()
    if not told and re.match(r"%[dm][^ ]%[dm]", date_format):
        place = np.flatnonzero(good)[0]
        first = "day" if is_day_first(date_format) else "month"
        detail = f"{quoted(found.texts[place])} as {dates.iloc[place]:%Y-%m-%d}"
        otherwise = ("month-first" if first == "day" else "day-first") if why else "category"
        guesses.add(f"read as dates, {first} first{', ' + why if why else ''}", draft.name, detail, otherwise)
    missing = say_missing(draft, found, good, np.zeros(len(good), dtype=bool), "dates", guesses)
    column = Column(draft.name, "date", date_format=date_format, missing_text=missing)
    return Reading(column, found.spread(dates, np.datetime64("NaT", "s")))
