"""The times of a series' rows: that they follow one another, a step apart, and which time comes some steps later."""

import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from tfopt.data.spelling import quoted
from tfopt.errors import UserError

_DAY = 86400.0
_UNITS = ((7 * _DAY, "week"), (_DAY, "day"), (3600.0, "hour"), (60.0, "minute"), (1.0, "second"))
_CALENDAR = {"B": "business day", "M": "month", "Q": "quarter", "Y": "year"}


@dataclass(frozen=True)
class Steps:
    """How the times of rows follow one another.

    Args:
        step: The usual time from one row to the next: seconds of dates, else in the times' own unit.
        frequency: pandas's name of it where every row is there, such as `"MS"` for months; empty otherwise.
        gaps: Rows that are not one step later than the row before.
    """

    step: float = 1.0
    frequency: str = ""
    gaps: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.intp))

    @classmethod
    def of(cls, times: np.ndarray, name: str, source: str) -> "Steps":
        """Return the steps of times, `datetime64` or numbers.

        Raises:
            UserError: They are not in order, or one time stands twice.
        """
        differences = np.diff(times.astype("int64") if times.dtype.kind == "M" else times)
        if (bad := np.flatnonzero(differences <= 0)).size:
            row = int(bad[0]) + 1
            before, here = texts_of(times[[row - 1, row]])
            place = f"{source}: row {row + 1}, {here}, follows {before}"
            if differences[bad[0]] == 0:
                raise UserError(f"two rows are of one time in {quoted(name)} ({place}). Give the rows of one series.")
            raise UserError(
                f"the rows are not in the order of {quoted(name)} ({place}). Sort them by it, or leave it out with "
                "--drop if they are in order."
            )
        step = float(np.median(differences)) if len(differences) else 1.0
        frequency = ""
        if times.dtype.kind == "M" and len(times) > 2:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # pandas 3.1 says that its answer will have another type
                found = pd.infer_freq(pd.DatetimeIndex(times))
            frequency = getattr(found, "freqstr", found) or ""
        far = np.flatnonzero(np.abs(differences / step - 1) >= 0.5) + 1
        return cls(step, frequency, far if not frequency else far[:0])

    def in_words(self, are_dates: bool) -> str:
        """Return the length of a step."""
        if not are_dates:
            return f"{self.step:g}"
        number = self.frequency.rstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-")
        unit = _CALENDAR.get(self.frequency[len(number) : len(number) + 1])
        if unit is not None:
            return f"{number or 1} {unit}{'s' * (int(number or 1) > 1)}"
        length, unit = next(((length, unit) for length, unit in _UNITS if self.step >= length), _UNITS[-1])
        return f"{self.step / length:.3g} {unit}{'s' * (self.step != length)}"

    def later(self, times: np.ndarray, steps: int) -> np.ndarray:
        """Return the times that come so many steps after these."""
        if times.dtype.kind != "M":
            return times + steps * self.step
        if not self.frequency:
            return times + np.timedelta64(round(steps * self.step), "s")
        offset: Any = steps * pd.tseries.frequencies.to_offset(self.frequency)
        return np.array([time + offset for time in pd.DatetimeIndex(times)], dtype="datetime64[s]")


def texts_of(times: np.ndarray) -> list[str]:
    """Return times as text, dates without the hour where none has one."""
    if times.dtype.kind != "M":
        return [f"{time:.15g}" for time in times.tolist()]
    days = times.astype("datetime64[D]")
    written = np.datetime_as_string(days if (days == times).all() else times)
    return np.char.replace(written, "T", " ").tolist()
