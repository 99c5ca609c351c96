"""Standard output and standard error as a command needs them: neither can end work that is under way."""

import os
import sys
from collections.abc import Callable, Iterable
from typing import Any, TextIO


def protect() -> None:
    """Make both streams safe to write to, whatever whoever started the program has done to them.

    A stream that was closed (`2>&-`) is nobody's: what is written to it is dropped, and its number is not given to the
    next file that is opened. A character that a stream's encoding lacks is written as `?`. Messages that standard error
    cannot take, because its disk is full or its reader has left, are dropped too; standard output, which carries
    results, says so at its end.
    """
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is None:
            _occupy(descriptor)
            setattr(sys, name, open(descriptor, "w", encoding="utf-8", closefd=False))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    sys.stderr = Forgiving(sys.stderr)
    sys.stdout = Forgiving(sys.stdout, raised=BrokenPipeError)


def _occupy(descriptor: int) -> None:
    try:
        os.fstat(descriptor)
    except OSError:
        opened = os.open(os.devnull, os.O_WRONLY)
        if opened != descriptor:
            os.dup2(opened, descriptor)
            os.close(opened)


class Forgiving:
    """A text stream that drops what it cannot write, and remembers why.

    Args:
        stream: Where to write.
        raised: An error that is raised all the same.

    Attributes:
        failure: The first error; None if all has been written.
    """

    def __init__(self, stream: TextIO, raised: type[OSError] | tuple[()] = ()):
        self._stream, self._raised = stream, raised
        self.failure: Exception | None = None

    def write(self, text: str) -> int:
        """Write, or drop."""
        self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Flush, or drop."""
        self._try(self._stream.flush)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each line."""
        for line in lines:
            self.write(line)

    def _try(self, act: Callable[[], Any]) -> None:
        if self.failure is not None:
            return
        try:
            act()
        except self._raised:
            raise
        except (OSError, ValueError) as error:  # full, gone, or closed
            self.failure = error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
