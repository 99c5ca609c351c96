"""What a table warns of before anything is trained, one sentence each: leaks, rare classes, rows in time."""

import re
import shlex

import numpy as np

from tfopt.data.leaks import leaks
from tfopt.data.table import Table

# Shares under which a class counts as rare; of many classes each has little, so it must also have less than its due.
_RARE, _RARE_OF_EVEN = 0.10, 1 / 2
_FEW, _FEW_OF_EVEN = 0.20, 2 / 3
_TIME_NAME = re.compile(r"(date|time|datetime|timestamp|year|day|t|epoch)s?", re.IGNORECASE)


def cautions(table: Table, objective: str) -> list[str]:
    """Return what should be said aloud about a table that is scored by `objective`."""
    return [*_about_leaks(table), *_about_classes(table, objective), *_about_time(table)]


def _about_leaks(table: Table) -> list[str]:
    target = " and ".join(map(repr, table.target_names))
    return [
        f"{column.name!r} alone gives {target}. If it is not known before the target is, or tells a row's place in a "
        f"sorted file, leave it out: --drop {shlex.quote(column.name)}"
        for column in leaks(table)
    ]


def _about_classes(table: Table, objective: str) -> list[str]:
    if table.task == "regression":
        return []
    counts = np.bincount(table.target, minlength=len(table.classes)).tolist()
    shares = np.array(counts) / sum(counts)
    rarest, commonest = int(shares.argmin()), int(shares.argmax())
    even = 1 / len(shares)
    notes = []
    if shares[rarest] < min(_RARE, _RARE_OF_EVEN * even):
        rows = f"{counts[rarest]} row{'s' * (counts[rarest] > 1)} of {sum(counts)}"
        weigh = "" if table.class_weight != "none" else "; --class-weight balanced makes every class weigh the same"
        notes.append(
            f"rare classes: {table.classes[rarest]!r} of {table.target_names[0]!r} has {_percent(shares[rarest])}, "
            f"{rows}{weigh}"
        )
    if objective == "accuracy" and shares[rarest] < min(_FEW, _FEW_OF_EVEN * even):
        notes.append(
            f"accuracy: always guessing {table.classes[commonest]!r} is right in {_percent(shares[commonest])} of the "
            "rows; --objective balanced_accuracy or roc_auc counts every class alike"
        )
    return notes


def _about_time(table: Table) -> list[str]:
    if table.times is not None:
        return []
    dated = [c.name for c in table.columns if c.kind == "date"]
    dated = dated or [c.name for c in table.columns if c.kind == "numeric" and _TIME_NAME.fullmatch(c.name)]
    if not dated:
        return []
    return [
        f"{dated[0]!r} tells the time of a row. If later rows are to be predicted from earlier ones, --time "
        f"{shlex.quote(dated[0])} makes every fold learn from the past only"
    ]


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"
