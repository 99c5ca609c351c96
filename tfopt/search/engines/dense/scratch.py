"""Arrays that are used again at every step: where the memory of fresh ones is new to the process, it costs most."""

import numpy as np


class Scratch:
    """Uninitialised single-precision arrays by name and shape."""

    def __init__(self) -> None:
        self._arrays: dict[tuple[str, tuple[int, ...]], np.ndarray] = {}

    def __call__(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """Return the array of this name and shape, with whatever it held last."""
        array = self._arrays.get((name, shape))
        if array is None:
            array = self._arrays[name, shape] = np.empty(shape, "float32")
        return array
