"""Networks with scikit-learn's contract: in pipelines, `cross_val_score`, `GridSearchCV`, and pickled.

Names are loaded at their first use: `import tfopt` does without scikit-learn.
"""

import importlib
from typing import Any

_HOMES = {
    "NetworkClassifier": "network",
    "NetworkRegressor": "network",
    "TunedNetworkClassifier": "tuned",
    "TunedNetworkRegressor": "tuned",
    "cross_validate": "cross_validation",
}
__all__ = [
    "NetworkClassifier",
    "NetworkRegressor",
    "TunedNetworkClassifier",
    "TunedNetworkRegressor",
    "cross_validate",
]


def __dir__() -> list[str]:
    return sorted(__all__)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
