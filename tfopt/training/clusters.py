"""Workers of a Ray or Dask cluster, for more than one machine."""

import importlib
from typing import Any

from tfopt.errors import UserError
from tfopt.training.worker_process import Source, WorkerDiedError, pack, run

_PACKAGES = {"ray": "ray", "dask": "distributed"}


def cluster_at(backend: str, address: str | None) -> "DaskCluster | RayCluster":
    """Return a connection to a running cluster.

    Args:
        backend: `"ray"` or `"dask"`.
        address: Where its scheduler (Dask, such as `tcp://10.0.0.1:8786`) or head (Ray, such as `10.0.0.1:6379`) is.

    Raises:
        UserError: The package is not installed, there is no address, or no cluster answers there.
    """
    if not address:
        raise UserError(f"backend {backend} needs the address of a running cluster. Give --address, such as HOST:PORT.")
    try:
        package = importlib.import_module(_PACKAGES[backend])
    except ImportError as error:
        raise UserError(f"backend {backend} is not installed ({error}). Install tfopt[cluster].") from error
    try:
        return (DaskCluster if backend == "dask" else RayCluster)(package, address)
    except (OSError, ValueError, RuntimeError) as error:  # what the two packages raise where nobody answers
        raise UserError(f"no {backend} cluster answers at {address} ({type(error).__name__}: {error}).") from error


class DaskCluster:
    """The workers of a Dask cluster: as many calls at once as it has worker processes.

    Start its workers with one thread each (`dask worker ADDRESS --nworkers 8 --nthreads 1`): a process trains one
    group of fits at a time. Dask itself hands out again what a worker that died was at, three times by its default.
    """

    def __init__(self, distributed: Any, address: str):
        self._distributed = distributed
        self._client = distributed.Client(address, set_as_default=False)

    def workers(self, number: int | None) -> list["_DaskWorker"]:
        """Return so many workers; all of them for None, and no more than there are."""
        self._client.wait_for_workers(1)
        there = len(self._client.scheduler_info(n_workers=-1)["workers"])
        return [_DaskWorker(self._distributed, self._client) for _ in range(min(number or there, there))]

    def sent(self, value: Any) -> Source:
        """Send a value to the cluster, and return what stands for it in a call."""
        return self._client.scatter(pack(value), hash=False, broadcast=True)

    def close(self) -> None:
        """Leave the cluster."""
        self._client.close()


class _DaskWorker:
    def __init__(self, distributed: Any, client: Any):
        self._distributed, self._client = distributed, client
        self._future: Any = None

    def call(self, call: bytes, key: str | None, source: Source | None) -> bytes:
        """Return what `run` returns in a worker of the cluster."""
        self._future = self._client.submit(run, call, key, source, pure=False)
        try:
            return self._future.result()
        except self._distributed.scheduler.KilledWorker as error:
            raise WorkerDiedError(str(error), final=True) from None
        except self._distributed.client.FutureCancelledError as error:  # its worker died with the value it was sent
            raise WorkerDiedError(str(error)) from None

    def kill(self) -> None:
        """Give up the call."""
        if self._future is not None:
            self._future.cancel(force=True)


class RayCluster:
    """Actors in a Ray cluster: one a GPU where it has any, else one a core."""

    def __init__(self, ray: Any, address: str):
        self._ray = ray
        self._joined = not ray.is_initialized()
        if self._joined:
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")

    def workers(self, number: int | None) -> list["_RayWorker"]:
        """Return so many workers; all of them for None, and no more than there are GPUs or else cores."""
        resources = self._ray.cluster_resources()
        gpus, cores = int(resources.get("GPU", 0)), int(resources.get("CPU", 1))
        there = gpus or cores
        options = {"num_cpus": 1, "num_gpus": 1 if gpus else 0, "max_restarts": -1}
        return [_RayWorker(self._ray, options) for _ in range(min(number or there, there))]

    def sent(self, value: Any) -> Source:
        """Send a value to the cluster, and return what stands for it in a call."""
        return self._ray.put(pack(value))

    def close(self) -> None:
        """Leave the cluster, if it was not the caller's program that joined it."""
        if self._joined:
            self._ray.shutdown()


class _Actor:
    def run(self, call: bytes, key: str | None, source: Source | None) -> bytes:
        """Return what `run` returns here."""
        return run(call, key, source)


class _RayWorker:
    def __init__(self, ray: Any, options: dict[str, Any]):
        self._ray = ray
        self._actor = ray.remote(_Actor).options(**options).remote()

    def call(self, call: bytes, key: str | None, source: Source | None) -> bytes:
        """Return what `run` returns in the actor."""
        try:
            return self._ray.get(self._actor.run.remote(call, key, source))
        except self._ray.exceptions.RayActorError as error:
            raise WorkerDiedError(str(error).splitlines()[0]) from None

    def kill(self) -> None:
        """End the actor."""
        self._ray.kill(self._actor)
