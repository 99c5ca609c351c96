"""Dates inside TensorFlow's graph: texts to seconds since 1970, and seconds to cycles, as the encoder has them.

Imports no pandas: `tfopt.data.table_model` uses it, which `import tfopt` imports.
"""

import math
from typing import Any

import tensorflow as tf

from tfopt.data.column import DAYS_PER_YEAR, SECONDS_PER_DAY

_DAYS_BEFORE_MONTH = (0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334)


def parse_dates(values: Any) -> tuple[Any, Any]:
    """Return whole seconds since 1970 (int64) and which are missing, of texts `YYYY-MM-DD[ HH:MM:SS]`."""
    texts = tf.reshape(tf.convert_to_tensor(values, tf.string), [-1])
    missing = tf.equal(texts, "")
    whole = tf.strings.join(
        [tf.where(missing, "1970-01-01", texts), " 00:00:00"]
    )  # the end is cut where there is a time

    def digits(start: int, length: int) -> Any:
        return tf.strings.to_number(tf.strings.substr(whole, start, length), tf.int64)

    days = _days_since_1970(digits(0, 4), digits(5, 2), digits(8, 2))
    seconds = ((days * 24 + digits(11, 2)) * 60 + digits(14, 2)) * 60 + digits(17, 2)
    return seconds, missing


def _is_leap(year: Any) -> Any:
    return (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))


def _days_before_year(year: Any) -> Any:
    """Return the days from 1970-01-01 to January 1 of a year (proleptic Gregorian)."""
    before = year - 1
    return 365 * (year - 1970) + before // 4 - before // 100 + before // 400 - 477


def _days_since_1970(year: Any, month: Any, day: Any) -> Any:
    leap_day = tf.cast(_is_leap(year) & (month > 2), tf.int64)
    before_month = tf.gather(tf.constant(_DAYS_BEFORE_MONTH, tf.int64), month - 1)
    return _days_before_year(year) + before_month + leap_day + day - 1


def year_of(days: Any) -> Any:
    """Return the year that holds a day; the estimate is off by at most one."""
    year = 1970 + tf.cast(tf.floor(tf.cast(days, tf.float64) / 365.2425), tf.int64)
    year = tf.where(_days_before_year(year) > days, year - 1, year)
    return tf.where(_days_before_year(year + 1) <= days, year + 1, year)


def cycles(seconds: Any, missing: Any) -> Any:
    """Return (rows, 6) sines and cosines of the day in the year, the day in the week and the time of the day."""
    days = seconds // SECONDS_PER_DAY
    day_of_year = days - _days_before_year(year_of(days))
    day_of_week = (days + 3) % 7  # 1970-01-01 was a Thursday; Monday is 0
    second_of_day = seconds - days * SECONDS_PER_DAY
    found = []
    for part, whole in ((day_of_year, DAYS_PER_YEAR), (day_of_week, 7.0), (second_of_day, float(SECONDS_PER_DAY))):
        angle = 2.0 * math.pi * tf.cast(part, tf.float64) / whole
        found += [tf.sin(angle), tf.cos(angle)]
    return tf.where(missing[:, None], tf.constant(0.0, tf.float64), tf.stack(found, axis=1))
