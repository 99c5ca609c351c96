"""Workers of a Ray or Dask cluster, for more than one machine."""

import importlib
from typing import Any

from tfopt.errors import UserError

_CLASSES = {"ray": ("tfopt.training.ray_cluster", "RayCluster"), "dask": ("tfopt.training.dask_cluster", "DaskCluster")}


def cluster_at(backend: str, address: str | None) -> Any:
    """Return a connection to a running cluster: `workers(number)`, `sent(key, value)` and `close()`.

    Raises:
        UserError: The package is not installed, there is no address, or no cluster answers there.
    """
    if not address:
        raise UserError(f"backend {backend} needs the address of a running cluster. Give --address, such as HOST:PORT.")
    module, name = _CLASSES[backend]
    try:
        cluster = getattr(importlib.import_module(module), name)
    except ImportError as error:
        raise UserError(f"backend {backend} is not installed ({error}). Install tfopt[cluster].") from error
    try:
        return cluster(address)
    except (OSError, ValueError, RuntimeError) as error:  # what the two packages raise where nobody answers
        raise UserError(f"no {backend} cluster answers at {address} ({type(error).__name__}: {error}).") from error
