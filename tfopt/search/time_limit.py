"""How much of a search's time is left, and how long a number of training steps will take."""

import math
import time


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
