"""What the command line shows: messages and progress on standard error, the result on standard output."""

import argparse
import contextlib
import logging
import os
import sys
import time
from collections.abc import Iterator
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from tfopt._escape import printable
from tfopt.search.progress import Progress

_LONGEST = 36


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record), lines=True)


@contextlib.contextmanager
def messages(arguments: argparse.Namespace) -> Iterator[None]:
    """Send log records and Python warnings to standard error, as many as the user asked for."""
    if arguments.debug:
        level = logging.DEBUG
    elif arguments.quiet:
        level = logging.ERROR
    else:
        level = logging.WARNING if not arguments.verbose else logging.INFO
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter("%(levelname)s: %(message)s"))
    # Other libraries' warnings are for whoever asks for more; a result that they touch is reported in words of ours.
    warned = handler if arguments.verbose or arguments.debug else logging.NullHandler()
    loggers = {"tfopt": handler, "py.warnings": warned, "matplotlib": warned}
    for name, where in loggers.items():
        logger = logging.getLogger(name)
        logger.handlers[:] = [where]
        logger.propagate = False
    logging.getLogger("tfopt").setLevel(level)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        for name in loggers:
            logger = logging.getLogger(name)
            logger.handlers.clear()
            logger.propagate = True
        logging.getLogger("tfopt").setLevel(logging.NOTSET)


def say(text: str) -> None:
    """Write a line to standard error."""
    print(printable(text, lines=True), file=sys.stderr, flush=True)


class QuietProgress(Progress):
    """Says nothing."""

    def __enter__(self) -> "QuietProgress":
        return self

    def __exit__(self, *exception: object) -> None:
        pass


class LineProgress(QuietProgress):
    """A line a finished unit, for files and pipes."""

    def __init__(self, stream: TextIO):
        self._stream = stream
        self._phases: dict[str, _Phase] = {}

    def note(self, text: str) -> None:
        """Write the note."""
        print(f"note: {printable(text)}", file=self._stream, flush=True)

    def start(self, phase: str, total: int | None) -> None:
        """Begin a phase."""
        self._phases[phase] = _Phase(total)

    def advance(self, phase: str, text: str = "", amount: int = 1) -> None:
        """Write what was finished and how long the rest of the phase will take."""
        if phase not in self._phases:
            self.start(phase, None)
        state = self._phases[phase]
        state.done += amount
        count = f"{state.done}/{state.total}" if state.total else f"{state.done}"
        left = state.seconds_left()
        print(
            f"{phase} {count}{'  ' + printable(text) if text else ''}{f'  ({clock(left)} left)' if left else ''}",
            file=self._stream,
            flush=True,
        )

    def keep(self, phase: str, text: str = "", amount: int = 1) -> None:
        """Write what an earlier run finished, which took none of this one's time."""
        if phase not in self._phases:
            self.start(phase, None)
        self._phases[phase].kept += amount
        self.advance(phase, text, amount)

    def finish(self, phase: str) -> None:
        """End a phase."""
        self._phases.pop(phase, None)


class _Phase:
    def __init__(self, total: int | None):
        self.total = total
        self.done = self.kept = 0
        self._begun = time.monotonic()

    def seconds_left(self) -> float:
        if not self.total or self.done == self.kept or self.done >= self.total:
            return 0.0
        return (time.monotonic() - self._begun) / (self.done - self.kept) * (self.total - self.done)


class TerminalProgress(QuietProgress):
    """Bars with the time left, for a terminal."""

    def __init__(self, stream: TextIO):
        self._console = Console(file=stream, highlight=False)
        self._bars = Bars(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[text]}", markup=False),
            console=self._console,
        )
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> "TerminalProgress":
        self._bars.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bars.stop()

    def note(self, text: str) -> None:
        """Print the note above the bars."""
        self._console.print(f"note: {printable(text)}", markup=False)

    def start(self, phase: str, total: int | None) -> None:
        """Show a bar for the phase."""
        self._tasks[phase] = self._bars.add_task(phase, total=total, text="")

    def advance(self, phase: str, text: str = "", amount: int = 1) -> None:
        """Move the bar; `text` stands at its right."""
        if phase not in self._tasks:
            self.start(phase, None)
        task = self._tasks[phase]
        self._bars.advance(task, amount)
        text = printable(text)
        if text:
            self._bars.update(task, text=text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…")

    def finish(self, phase: str) -> None:
        """Leave the bar as it stands."""
        if (task := self._tasks.pop(phase, None)) is not None:
            self._bars.update(task, text="")
            self._bars.stop_task(task)


def progress(arguments: argparse.Namespace, stream: TextIO | None = None) -> QuietProgress:
    """Return the progress display that the user and the terminal call for."""
    stream = stream or sys.stderr
    if arguments.quiet:
        return QuietProgress()
    if arguments.no_progress or not stream.isatty() or os.environ.get("TERM") == "dumb":
        return LineProgress(stream)
    return TerminalProgress(stream)


def clock(seconds: float) -> str:
    """Return seconds as `42s`, `3m05s` or `1h02m`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
