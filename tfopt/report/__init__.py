"""Pictures and the HTML report of a run.

Names load on first use: `import tfopt` should not pay for matplotlib.
"""

import importlib
from typing import Any

_HOMES = {
    "SearchRun": "run",
    "best_so_far": "figures",
    "leaderboard": "figures",
    "load_run": "run",
    "house_style": "style",
    "training_curves": "figures",
    "write_report": "write",
}

__all__ = ["SearchRun", "best_so_far", "house_style", "leaderboard", "load_run", "training_curves", "write_report"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"tfopt.report.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'tfopt.report' has no attribute {name!r}")
