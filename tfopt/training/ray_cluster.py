"""The workers of a Ray cluster."""

import time
from typing import Any

import ray

from tfopt.training.worker_process import Source, WorkerDiedError, pack, run

_RESTART_SECONDS = 120


class RayCluster:
    """Actors in a Ray cluster: one a GPU where it has any, else one a core."""

    def __init__(self, address: str):
        self._joined = not ray.is_initialized()
        if self._joined:
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")

    def workers(self, number: int | None) -> list["_RayWorker"]:
        """Return so many workers; all of them for None, and no more than there are GPUs or else cores."""
        resources = ray.cluster_resources()
        gpus, cores = int(resources.get("GPU", 0)), int(resources.get("CPU", 1))
        there = gpus or cores
        options = {"num_cpus": 1, "num_gpus": 1 if gpus else 0, "max_restarts": -1}
        return [_RayWorker(options) for _ in range(min(number or there, there))]

    def sent(self, key: str, value: Any) -> Source:
        """Send a value to the cluster, and return what stands for it in a call."""
        return ray.put(pack(value))

    def close(self) -> None:
        """Leave the cluster, if it was not the caller's program that joined it."""
        if self._joined:
            ray.shutdown()


class _Actor:
    def run(self, call: bytes, key: str | None, source: Source | None) -> bytes:
        """Return what `run` returns here."""
        return run(call, key, source)

    def is_there(self) -> bool:
        """Answer."""
        return True


class _RayWorker:
    def __init__(self, options: dict[str, Any]):
        self._actor = ray.remote(_Actor).options(**options).remote()

    def call(self, call: bytes, key: str | None, source: Source | None) -> bytes:
        """Return what `run` returns in the actor."""
        try:
            return ray.get(self._actor.run.remote(call, key, source))
        except ray.exceptions.RayActorError as error:
            if isinstance(error, ray.exceptions.ActorUnavailableError):
                self._wait()
            raise WorkerDiedError(str(error).splitlines()[0]) from None

    def _wait(self) -> None:
        """Wait until the actor has begun anew: until then a call ends as if it had ended its process."""
        deadline = time.monotonic() + _RESTART_SECONDS
        while time.monotonic() < deadline:
            try:
                ray.get(self._actor.is_there.remote())
            except ray.exceptions.ActorUnavailableError:
                time.sleep(0.2)
            except ray.exceptions.RayActorError:  # it was ended for good
                return
            else:
                return

    def kill(self) -> None:
        """End the actor."""
        ray.kill(self._actor)
