"""How a long job says where it is, by default to nobody, and how much of its time is left."""

import math
import sys
import time
from collections.abc import Callable


class Progress:
    """Is told how far a search is. This one is silent; subclass it to show or log the progress yourself.

    A job has named phases, such as `"networks"` and `"baselines"`. Each is started with its total, advanced once a
    finished unit, and finished; phases may overlap.

    Example:
        ```python
        class Lines(tfopt.search.Progress):
            def advance(self, phase, text="", amount=1):
                print(phase, text)

        progress = Lines()
        progress.start("networks", total=2)
        progress.advance("networks", "trial 0: 0.47")  # networks trial 0: 0.47
        progress.finish("networks")
        ```
    """

    def note(self, text: str) -> None:
        """Say something once: what was guessed, dropped, or failed."""

    def start(self, phase: str, total: int | None) -> None:
        """Begin a phase of `total` units; None when their number is not known."""

    def advance(self, phase: str, text: str = "", amount: int = 1) -> None:
        """Report `amount` finished units of a phase; `text` says what the last of them was."""

    def keep(self, phase: str, text: str = "", amount: int = 1) -> None:
        """Report units that an earlier run finished: they say nothing about the pace of this one."""
        self.advance(phase, text, amount)

    def finish(self, phase: str) -> None:
        """End a phase, complete or not."""

    def scored(self, objective: str, score: float) -> None:
        """Report the score of a configuration, higher is better."""

    def follow(self, seconds_left: Callable[[], float | None], at_work: Callable[[], list[tuple[str, float]]]) -> None:
        """Take what says how long the whole will still take, None if that is unknown, and what is being done."""


class Units:
    """Starts a phase of very many units, and reports them by fiftieths of all."""

    def __init__(self, progress: Progress, phase: str, total: int, kept: int = 0):
        self._progress, self._phase, self._total = progress, phase, total
        self._done, self._told = kept, kept
        progress.start(phase, total)
        if kept:
            progress.keep(phase, amount=kept)

    def advance(self, amount: int) -> None:
        """Count finished units."""
        self._done = min(self._done + amount, self._total)
        if self._done > self._told and (self._done - self._told >= self._total / 50 or self._done == self._total):
            self._progress.advance(self._phase, amount=self._done - self._told)
            self._told = self._done


def _in_notebook() -> bool:
    """Whether a notebook's kernel runs this; that its packages are loaded says nothing."""
    interactive = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(interactive, "kernel", None) is not None


class ProgressLine(Progress):
    """One line that is written anew, for a terminal or a notebook; nothing where standard error is a file."""

    def __init__(self) -> None:
        in_notebook = _in_notebook()
        self._stream = sys.stdout if in_notebook else sys.stderr
        self._is_shown = in_notebook or self._stream.isatty()
        self._phases: dict[str, list[int | None]] = {}
        self._begun, self._length = time.monotonic(), 0

    def __enter__(self) -> "ProgressLine":
        self._write("reading the table")
        return self

    def __exit__(self, *exception: object) -> None:
        self._write("")

    def start(self, phase: str, total: int | None) -> None:
        """Show the phase."""
        self._phases[phase] = [0, total]
        self._draw()

    def advance(self, phase: str, text: str = "", amount: int = 1) -> None:
        """Count."""
        done, total = self._phases.get(phase, [0, None])
        self._phases[phase] = [(done or 0) + amount, total]
        self._draw()

    def finish(self, phase: str) -> None:
        """Leave the phase out."""
        self._phases.pop(phase, None)
        self._draw()

    def _draw(self) -> None:
        counts = [f"{phase} {done}{f'/{total}' if total else ''}" for phase, (done, total) in self._phases.items()]
        self._write(" · ".join([*counts, f"{time.monotonic() - self._begun:.0f} s"]))

    def _write(self, text: str) -> None:
        if self._is_shown:
            end = "" if text else "\r"
            print(f"\r{text:<{self._length}}", end=end, file=self._stream, flush=True)
            self._length = len(text)


class TimeLimit:
    """A deadline, and the pace so far: seconds a training step.

    Args:
        seconds: Wall seconds that the whole search may take; None for no limit.
        started: When it began, by `time.monotonic()`.
        num_workers: Fits that are trained side by side.
    """

    def __init__(self, seconds: float | None, started: float, num_workers: int = 1):
        self.seconds = seconds
        self.deadline = math.inf if seconds is None else started + seconds
        self.num_workers = num_workers
        self._steps, self._seconds = 0, 0.0

    def trained(self, steps: int, seconds: float) -> None:
        """Take down training steps, and the seconds that a worker took for them."""
        self._steps += steps
        self._seconds += seconds

    def seconds_for(self, steps: float) -> float:
        """Return about how long so many steps will take; 0 while nothing was trained."""
        return steps * self._seconds / self._steps / self.num_workers if self._steps else 0.0

    def left(self) -> float:
        """Return the seconds until the deadline."""
        return self.deadline - time.monotonic()
