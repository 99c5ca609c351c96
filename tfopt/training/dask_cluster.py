"""The workers of a Dask cluster."""

import threading
import time
from typing import Any

import distributed
from distributed.client import FutureCancelledError
from distributed.scheduler import KilledWorker

from tfopt.training.worker_process import Source, WorkerDiedError, pack, received, run

_SECONDS_BETWEEN_LOOKS = 0.5  # at which workers there are


class DaskCluster:
    """The workers of a Dask cluster: one call at a time for each of its worker processes.

    Start its workers with one thread each (`dask worker ADDRESS --nworkers 8 --nthreads 1`): a process trains one
    group of fits at a time.
    """

    def __init__(self, address: str):
        self.client = distributed.Client(address, set_as_default=False)
        self._plugins: list[str] = []
        self._taken: set[str] = set()
        self._choice = threading.Lock()

    def workers(self, number: int | None) -> list["_DaskWorker"]:
        """Return so many workers; all of them for None, and no more than there are."""
        self.client.wait_for_workers(1)
        there = len(self.addresses())
        return [_DaskWorker(self) for _ in range(min(number or there, there))]

    def addresses(self) -> list[str]:
        """Return where the workers are that the cluster has now."""
        return list(self.client.scheduler_info(n_workers=-1)["workers"])

    def take(self, left: str | None) -> str | None:
        """Return the address of a worker that nobody else calls, in place of the one that is left; None if all are."""
        with self._choice:
            self._taken.discard(left or "")
            free = [address for address in self.addresses() if address not in self._taken]
            self._taken |= set(free[:1])
            return free[0] if free else None

    def sent(self, key: str, value: Any) -> Source:
        """Send a value to the cluster, and return what stands for it in a call.

        As a plugin each worker has it, also one that is started in place of one that died.
        """
        plugin = _Value(key, pack(value))
        self.client.register_plugin(plugin)
        self._plugins.append(plugin.name)
        return ""

    def close(self) -> None:
        """Leave the cluster."""
        for name in self._plugins:
            self.client.unregister_worker_plugin(name)
        self.client.close()


class _Value(distributed.WorkerPlugin):
    """A plugin of Dask's that gives a worker a value."""

    def __init__(self, key: str, source: Source):
        self.name, self._key, self._source = f"tfopt-{key}", key, source

    def setup(self, worker: Any) -> None:
        """Take the value in, in the worker."""
        received[self._key] = self._source

    def teardown(self, worker: Any) -> None:
        """Forget it."""
        received.pop(self._key, None)


class _DaskWorker:
    def __init__(self, cluster: DaskCluster):
        self._cluster = cluster
        self._address: str | None = None
        self._future: Any = None
        self._killed = False

    def call(self, call: bytes, key: str | None, source: Source | None) -> bytes:
        """Return what `run` returns in one worker of the cluster."""
        while self._address is None or self._address not in self._cluster.addresses():
            self._address = self._cluster.take(self._address)
            if self._killed:
                raise WorkerDiedError("closed")
            if self._address is None:
                time.sleep(_SECONDS_BETWEEN_LOOKS)
        # Nobody but this worker: Dask would have others die of the same call, and blame the calls that wait there.
        self._future = self._cluster.client.submit(run, call, key, source, pure=False, workers=[self._address])
        while True:
            try:
                return self._future.result(timeout=_SECONDS_BETWEEN_LOOKS)
            except TimeoutError:
                if self._address in self._cluster.addresses():
                    continue
                self._future.cancel()
            except (KilledWorker, FutureCancelledError):
                pass
            raise WorkerDiedError(f"Dask's worker at {self._address} is gone")

    def kill(self) -> None:
        """Give up the call."""
        self._killed = True
        if self._future is not None:
            self._future.cancel(force=True)
