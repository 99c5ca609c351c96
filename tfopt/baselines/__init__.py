"""scikit-learn models and their grids.

Names are loaded at their first use: choosing families does not import scikit-learn, tuning them does.
"""

from typing import Any

from tfopt._names import loaded

_HOMES = {
    "Family": "families",
    "family_names": "families",
    "select_families": "families",
    "left_out_families": "families",
    "unweighted_families": "families",
    "tune": "tuning",
    "train_for_use": "final",
    "TableBaseline": "table_baseline",
}
__all__ = list(_HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)


def __getattr__(name: str) -> Any:
    return loaded(__name__, _HOMES, name)
