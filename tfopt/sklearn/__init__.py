"""Networks with scikit-learn's contract: in pipelines, `cross_val_score`, `GridSearchCV`, and pickled.

Names are loaded at their first use: `import tfopt` does without scikit-learn.
"""

from typing import Any

from tfopt._names import loaded

_HOMES = {
    "NetworkClassifier": "network",
    "NetworkRegressor": "network",
    "TunedNetworkClassifier": "tuned",
    "TunedNetworkRegressor": "tuned",
    "cross_validate": "cross_validation",
}
__all__ = list(_HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)


def __getattr__(name: str) -> Any:
    return loaded(__name__, _HOMES, name)
