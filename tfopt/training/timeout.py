"""An end to code that takes too long, whoever wrote it: a build that waits for a server, a loop without an end."""

import contextlib
import faulthandler
import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

from tfopt.training.worker_process import is_worker

# What a library's call may take, beyond its time, to come back to Python before the worker process is ended.
_GRACE = 5.0
_AGAIN = 1.0  # seconds after which it is raised again, where something has swallowed it

_deadlines: list[float] = []  # of the calls of `limited` that are open, the outermost first
_nobody: list[Any] = []  # where tracebacks of processes that are ended go


class TookTooLong(Exception):
    """A fit took longer than it may."""


class _Alarm(BaseException):
    """Raised wherever the code is, past its handlers of ordinary exceptions."""


def took_too_long(seconds: float) -> TookTooLong:
    """Return the failure of a fit that took longer than so many seconds."""
    return TookTooLong(f"building and training took longer than {seconds:g} s, which is all that a fit may take")


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise `TookTooLong` in code that takes longer, as soon as it runs a line of Python or sleeps.

    A library's call that does not come back to Python is ended with the process, in a worker process alone. Only the
    main thread of a process is limited, and nothing is on Windows, which has no signals for it.
    """
    main = threading.current_thread() is threading.main_thread()
    if math.isinf(seconds) or not main or not hasattr(signal, "setitimer"):
        yield
        return
    deadline, depth = time.monotonic() + seconds, len(_deadlines)
    before = signal.signal(signal.SIGALRM, _ring)
    try:
        try:
            _deadlines.append(deadline)
            _set_alarm()
            yield
        finally:
            del _deadlines[depth:]
            _set_alarm()
            signal.signal(signal.SIGALRM, before)
    except _Alarm:
        del _deadlines[depth:]  # it may have come in the middle of the lines above
        _set_alarm()
        signal.signal(signal.SIGALRM, before)
        if time.monotonic() < deadline:
            raise  # an outer one's
        raise took_too_long(seconds) from None


def _set_alarm() -> None:
    left = max(min(_deadlines) - time.monotonic(), 1e-3) if _deadlines else 0.0
    signal.setitimer(signal.ITIMER_REAL, left, _AGAIN if _deadlines else 0.0)
    if not is_worker():
        return
    if _deadlines:
        if not _nobody:
            _nobody.append(open(os.devnull, "w"))  # noqa: SIM115 - for as long as the process lives
        faulthandler.dump_traceback_later(left + _GRACE, exit=True, file=_nobody[0])
    else:
        faulthandler.cancel_dump_traceback_later()


def _ring(number: int, frame: Any) -> None:
    if _deadlines and time.monotonic() >= min(_deadlines):
        raise _Alarm
