"""Pictures and the HTML report of a run.

Names load on first use: `import tfopt` should not pay for matplotlib.
"""

from typing import Any

from tfopt._names import loaded

_HOMES = {
    "SearchRun": "run",
    "best_so_far": "figures",
    "leaderboard": "figures",
    "load_run": "run",
    "house_style": "style",
    "training_curves": "figures",
    "write_report": "write",
}

__all__ = list(_HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)


def __getattr__(name: str) -> Any:
    return loaded(__name__, _HOMES, name)
