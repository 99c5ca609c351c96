"""Python's and NumPy's random streams, which what happens inside tfopt must not move."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


@contextmanager
def random_streams_kept() -> Iterator[None]:
    """Put Python's and NumPy's random streams back afterwards."""
    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
