"""Many fits of Keras models at once: a plain one after another, on one shared graph, or together as a population.

`engine_for` chooses between them; `Population` is for whoever wants many fits and nothing else. Names are loaded at
their first use: the names of the engines are known without importing TensorFlow.
"""

from typing import Any

from tfopt._names import loaded

ENGINES = ("auto", "population", "shared", "plain")
BACKENDS = ("loky", "ray", "dask")  # whose processes are workers

_HOMES = {
    "Population": "population",
    "PopulationMember": "population",
    "PopulationResult": "population",
    "Workers": "workers",
}
__all__ = ["BACKENDS", "ENGINES", *_HOMES]


def __dir__() -> list[str]:
    return sorted(__all__)


def __getattr__(name: str) -> Any:
    return loaded(__name__, _HOMES, name)
