"""A worker process of this machine, as the process that hands it calls sees it."""

import contextlib
import os
import signal
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from joblib.externals.loky.backend import get_context

from tfopt.devices import CORES
from tfopt.training.worker_process import Source, WorkerDiedError, serve

if TYPE_CHECKING:
    from tfopt.training.workers import Workers

# Where libraries look for the number of their threads; what the user has set there stays.
_THREADS = ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS")


class LocalWorker:
    """A process that is started when it is first called, and again when it died."""

    def __init__(self, workers: "Workers", index: int, environment: Mapping[str, str]):
        self._workers, self._index = workers, index
        # `import tfopt` there loads no TensorFlow, which takes seconds, before a call needs it.
        self._environment = {"TFOPT_LAZY": "1", CORES: os.environ[CORES], **environment}
        for name in _THREADS:
            self._environment.setdefault(name, os.environ.get(name, os.environ[CORES]))
        self._process: Any = None
        self._connection: Any = None
        self._killed = False
        self._starting = threading.Lock()

    def call(self, call: bytes, key: str | None, source: Source | None) -> bytes:
        """Return what `run` returns in the process."""
        try:
            if self._process is None:
                self._start()
            self._connection.send((call, key, source, self._gpu()))
            return self._connection.recv_bytes()
        except (EOFError, OSError):
            process, self._process = self._process, None
            process.join()
            self._connection.close()
            code = process.exitcode
            raise WorkerDiedError(_ended_by(code)) from None

    def _gpu(self) -> str | None:
        gpus = self._workers.gpus
        return None if not gpus else gpus[self._index] if self._index < len(gpus) else "-1"

    def _start(self) -> None:
        context = get_context("loky")
        self._connection, other = context.Pipe()
        with self._starting:
            if self._killed:
                raise WorkerDiedError("closed")
            self._process = context.Process(target=serve, args=(other, os.getpid()), env=self._environment, daemon=True)
            self._process.start()
        other.close()  # so that the end of the process is the end of the connection
        self._connection.recv_bytes()

    def kill(self) -> None:
        """End the process, and start none any more."""
        with self._starting:
            self._killed = True
            if self._process is not None:
                # loky's processes know `terminate` alone, which one that computes may put off.
                end = getattr(signal, "SIGKILL", signal.SIGTERM)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._process.pid, end)


def _ended_by(code: int | None) -> str:
    if code is None or code >= 0:
        return f"exit code {code}"
    return f"signal {-code}{', as where memory runs out' if code == -9 else ''}"
