"""What runs in a worker process: one call after another, on values that are sent once and kept.

This module is loaded by every worker and imports nothing heavy: scikit-learn or TensorFlow is loaded by the call that
needs it.
"""

import ctypes
import importlib
import logging
import mmap
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np

from tfopt._private.tensorflow_messages import quiet_stderr

# A value as it is sent: a file, or a pickle and the arrays that belong to it.
Source = str | tuple[bytes, list[np.ndarray]]

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_ALIGNMENT = 64

received: dict[str, Source] = {}  # ahead of the calls that need them
_values: dict[str, Any] = {}
_one_at_a_time = threading.Lock()  # engines keep Keras's random streams for themselves while they train


class CannotTravelError(Exception):
    """What a call needs cannot be sent to another process."""


class WorkerDiedError(Exception):
    """A worker process ended in the middle of a call."""


def pack(value: Any) -> tuple[bytes, list[np.ndarray]]:
    """Return the pickle of a value, functions and classes of the main program included, and its arrays' bytes.

    Raises:
        CannotTravelError: It holds something that cannot be pickled.
    """
    buffers: list[pickle.PickleBuffer] = []
    packed = dumps(value, buffers)
    return packed, [np.frombuffer(buffer.raw(), np.uint8) for buffer in buffers]


def dumps(value: Any, buffers: list[pickle.PickleBuffer] | None = None) -> bytes:
    """Return the pickle of a value; large arrays go into `buffers` where it is given."""
    try:
        return cloudpickle.dumps(value, 5, buffer_callback=None if buffers is None else buffers.append)
    except Exception as error:  # whatever a foreign object's own pickling raises
        raise CannotTravelError(f"{type(error).__name__}: {error}") from error


def write(path: Path, value: Any) -> None:
    """Write a value so that `unpack` maps its arrays into memory instead of reading them.

    Raises:
        CannotTravelError: It holds something that cannot be pickled.
    """
    packed, arrays = pack(value)
    parts = [memoryview(packed), *(array.data for array in arrays)]
    with path.open("wb") as file:
        pickle.dump([part.nbytes for part in parts], file)
        for part in parts:
            file.write(b"\0" * (-file.tell() % _ALIGNMENT))
            file.write(part)


def unpack(source: Source) -> Any:
    """Return a value that was packed or written. Arrays of a file are private to the process where it changes them."""
    if not isinstance(source, str):
        packed, arrays = source
        # Ray's arrays cannot be written to, which not all code that reads them bears.
        return pickle.loads(packed, buffers=[a if a.flags.writeable else a.copy() for a in arrays])
    with open(source, "rb") as file:
        sizes = pickle.load(file)
        start, parts = file.tell(), []
        mapped = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
    for size in sizes:
        start += -start % _ALIGNMENT
        parts.append(mapped[start : start + size])
        start += size
    return pickle.loads(parts[0], buffers=parts[1:])


class _Records(logging.Handler):
    """Keeps log records, to be handled by the parent."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record as plain text."""
        if record.exc_info:
            record.exc_text = "".join(traceback.format_exception(*record.exc_info)).rstrip()
        record.msg, record.args, record.exc_info = record.getMessage(), None, None
        self.records.append(record)


def is_worker() -> bool:
    """Return whether this process is at a call that another one sent."""
    return _one_at_a_time.locked()


def run(call: bytes, key: str | None = None, source: Source | None = None) -> bytes:
    """Do one call, and return its value, its exception and its log records, pickled.

    Args:
        call: Pickled function, arguments and log level of the parent.
        key: Names the value that the function gets before its other arguments.
        source: Where that value is, if this process does not have it yet.
    """
    with _one_at_a_time:
        handler, value, error = _Records(), None, None
        logger = logging.getLogger("tfopt")
        logger.addHandler(handler)
        logger.propagate = False
        try:
            try:
                with quiet_stderr():  # what is unpickled may import TensorFlow
                    function, arguments, level = pickle.loads(call)
                    if key is not None and key not in _values:
                        source = received.pop(key) if key in received else source
                        assert source is not None
                        _values[key] = unpack(source)
            except Exception as missing:  # a module that is not installed here, for example
                raise CannotTravelError(f"{type(missing).__name__}: {missing}") from missing
            logger.setLevel(level)
            value = function(*arguments) if key is None else function(_values[key], *arguments)
        except Exception as raised:
            error = portable(raised)
            error.add_note(f"In a worker process:\n{''.join(traceback.format_exception(raised)).rstrip()}")
        finally:
            logger.removeHandler(handler)
        try:
            return dumps((value, error, handler.records))
        except CannotTravelError as unsendable:
            return dumps((None, unsendable, handler.records))


def portable(error: Exception) -> Exception:
    """Return an exception that can be sent: itself if it can be."""
    try:
        pickle.loads(cloudpickle.dumps(error))
    except Exception:  # a class whose constructor wants more than a message, say
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def load_training() -> None:
    """Have this process ready to train, which takes seconds: TensorFlow is imported."""
    with quiet_stderr():
        importlib.import_module("tfopt.training.distribution").load()


def serve(connection: Any, parent: int) -> None:
    """Answer calls until the parent closes the connection or ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches workers too; the parent ends them
    end_with(parent)
    connection.send_bytes(b"ready")
    while True:
        try:
            *arguments, gpu = connection.recv()
        except (EOFError, OSError):
            os._exit(0)
        if gpu is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = gpu  # read when TensorFlow starts
        connection.send_bytes(run(*arguments))


def end_with(parent: int) -> None:
    """See to it that this process ends when the parent does, however that ends and whatever this one is doing."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)
        return
    threading.Thread(target=_end_after, args=(parent,), daemon=True).start()


def _end_after(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)  # polled: only Linux can signal a parent's death
    os._exit(1)
