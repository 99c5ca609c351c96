"""scikit-learn models and their grids.

Names are loaded at their first use: choosing families does not import scikit-learn, tuning them does.
"""

import importlib
from typing import Any

_HOMES = {
    "Family": "families",
    "family_names": "families",
    "select_families": "families",
    "left_out_families": "families",
    "unweighted_families": "families",
    "tune": "tuning",
    "tune_in_worker": "tuning",
    "train_for_use": "final",
    "train_in_worker": "final",
    "importance_in_worker": "final",
    "TableBaseline": "table_baseline",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
