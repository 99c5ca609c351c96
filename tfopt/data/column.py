"""One feature column, apart from the table so that an exported model can name its columns without pandas."""

from dataclasses import dataclass
from typing import Literal

# What a user can say that a column is.
TOLD_KINDS = (
    *("number", "decimal-comma", "decimal-point", "category", "date", "day-first", "month-first", "text", "drop"),
)
Kind = Literal["numeric", "categorical", "boolean", "date", "text"]

# Numbers that stand for one text column, whatever its words, so that every fold trains the same graph.
NUM_TOPICS = 16

# How dates and numbers are encoded, by `TableEncoder` and by the exported model alike.
DAYS_PER_YEAR = 365.25
SECONDS_PER_DAY = 86400
FLOAT32_MAX = 3.4028234663852886e38
LARGEST = 1e150  # larger values count as this one, so that squares and their sums do not overflow


@dataclass(frozen=True)
class Column:
    """One feature column.

    Args:
        name: The column's name in the table.
        kind: How it is encoded.
        num_levels: Distinct values in the whole table (categorical only). It fixes the width of the encoding so that
            every fold trains the same graph; which level goes where is learned on the training part of a fold.
        has_missing: Whether any value is missing in the whole table; adds a missing-value indicator.
        date_format: How the dates were written (`strptime` codes, or `"ISO8601"`; dates only), so that new rows are
            read as the training rows were.
        missing_text: What was read as a missing number or date, such as `("unknown",)`.
        decimal: The decimal sign of numbers that are written as text, `"."` or `","`.
        unit: What stands before or after each number, such as `"€"` or `"kg"`.

    Example:
        ```python
        column = tfopt.data.Column("size", "numeric", has_missing=True, unit="kg")
        print(column.kind, column.unit)  # numeric kg
        ```
    """

    name: str
    kind: Kind
    num_levels: int = 0
    has_missing: bool = False
    date_format: str = ""
    missing_text: tuple[str, ...] = ()
    decimal: str = "."
    unit: str = ""
