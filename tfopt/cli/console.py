"""What the command line shows: messages and progress on standard error, the result on standard output."""

import argparse
import contextlib
import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TextIO

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.text import Text

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
    """Bars with the time left for the whole, for a terminal.

    Args:
        stream: The terminal.
        watch: Whether the course of the best score, and what is being trained, are shown too.
    """

    def __init__(self, stream: TextIO, watch: bool = False):
        self._console = Console(file=stream, highlight=False)
        self._bars = _Bars(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[text]}", markup=False),
            console=self._console,
        )
        self._bars.below = self._below
        self._tasks: dict[str, Any] = {}
        self._watch, self._begun = watch, time.monotonic()
        self._objective = ""
        self._scores: list[float] = []
        self._seconds_left: Callable[[], float | None] | None = None

    def __enter__(self) -> "TerminalProgress":
        self._bars.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._seconds_left = None
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
        if text:
            self._bars.update(task, text=text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…")

    def finish(self, phase: str) -> None:
        """Leave the bar as it stands."""
        if (task := self._tasks.pop(phase, None)) is not None:
            self._bars.update(task, text="")
            self._bars.stop_task(task)

    def scored(self, objective: str, score: float) -> None:
        """Keep the best score so far."""
        self._objective = objective
        self._scores.append(max([score, *self._scores[-1:]]))

    def follow(self, seconds_left: Callable[[], float | None], at_work: Callable[[], list[tuple[str, float]]]) -> None:
        """Show the time left from now on."""
        self._seconds_left, self._at_work = seconds_left, at_work

    def _below(self) -> Iterator[Text]:
        """Yield the lines below the bars."""
        if self._watch and self._scores:
            yield Text(f"best {self._objective} {self._scores[-1]:.4f}  {sparkline(self._scores)}", no_wrap=True)
        if self._seconds_left is None:
            return
        if self._watch and (busy := self._at_work()):
            said = ", ".join(f"{_AT_WORK.get(kind, kind)} {clock(seconds)}" for kind, seconds in busy if kind)
            yield Text(f"now: {said}", no_wrap=True, overflow="ellipsis")
        left = self._seconds_left()
        said = "not known yet" if left is None else f"about {clock(left)}"
        yield Text(f"{clock(time.monotonic() - self._begun)} so far, time left {said}", style="dim")


_AT_WORK = {"fits": "networks"}  # kinds of calls, in words


class _Bars(Bars):
    """Bars with lines below them."""

    below: Callable[[], Iterable[Text]]

    def get_renderables(self) -> Iterator[RenderableType]:
        """Yield the bars, then the lines."""
        yield from super().get_renderables()
        if hasattr(self, "below"):
            yield from self.below()


def sparkline(values: Sequence[float], width: int = 32) -> str:
    """Return the last `width` numbers as bars of the height of a letter."""
    values = values[-width:]
    low, high = min(values), max(values)
    steps = "▁▂▃▄▅▆▇█"
    return "".join(steps[round((value - low) / (high - low) * 7) if high > low else 0] for value in values)


def progress(arguments: argparse.Namespace, stream: TextIO | None = None) -> QuietProgress:
    """Return the progress display that the user and the terminal call for."""
    stream = stream or sys.stderr
    if arguments.quiet:
        return QuietProgress()
    if arguments.no_progress or not stream.isatty() or os.environ.get("TERM") == "dumb":
        return LineProgress(stream)
    return TerminalProgress(stream, getattr(arguments, "watch", False))


def clock(seconds: float) -> str:
    """Return seconds as `42s`, `3m05s` or `1h02m`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
