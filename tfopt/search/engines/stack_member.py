"""One fit on its way through a stack."""

import numpy as np

from tfopt.search.engines.follower import Follower
from tfopt.search.engines.request import Engine, FitRequest, FitResult
from tfopt.search.engines.shadow import Shadow


class Member:
    """A fit, where it begins, and what it has done.

    Args:
        index: Its place among the requests.
        request: What was asked.
        shadow: The fresh build of its configuration.
        engine: Holds the rows.
    """

    def __init__(self, index: int, request: FitRequest, shadow: Shadow, engine: Engine):
        self.index, self.request, self.shadow = index, request, shadow
        self.rows = np.arange(len(engine.train)) if request.rows is None else np.asarray(request.rows)
        self.held = None if engine.validation is None else np.arange(len(engine.validation))
        if request.validation is not None:
            self.held = np.asarray(request.validation)
        self.state = [*(shadow.state if request.state is None else request.state), *shadow.extra, shadow.generator]
        self.result = FitResult(engine=engine.name)
        self.follower = Follower(request.monitor, self.result)

    @property
    def generators(self) -> bytes:
        """What tells its random streams from another's: the states of its generators, two integers each."""
        return b"".join(array.tobytes() for array in self.state if array.shape == (2,) and array.dtype.kind in "iu")
