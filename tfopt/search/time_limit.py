"""How much of a search's time is left, and how long a number of training steps will take."""

import math
import time


class TimeLimit:
    """A deadline, and the pace so far: wall seconds a training step.

    Args:
        seconds: Wall seconds that the whole search may take; None for no limit.
        started: When it began, by `time.monotonic()`.
    """

    def __init__(self, seconds: float | None, started: float):
        self.seconds = seconds
        self.deadline = math.inf if seconds is None else started + seconds
        self._begun, self._steps = time.monotonic(), 0

    def begin(self) -> None:
        """Begin to measure the pace."""
        self._begun, self._steps = time.monotonic(), 0

    def trained(self, steps: int) -> None:
        """Take down training steps that have been done."""
        self._steps += steps

    def seconds_for(self, steps: float) -> float:
        """Return about how long so many steps will take; 0 while nothing was trained."""
        return steps * (time.monotonic() - self._begun) / self._steps if self._steps else 0.0

    def left(self) -> float:
        """Return the seconds until the deadline."""
        return self.deadline - time.monotonic()
