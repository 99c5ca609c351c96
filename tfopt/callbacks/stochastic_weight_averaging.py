"""Weights averaged over the last part of training, with the statistics of batch normalisation to match."""

import logging
import math
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from tfopt._arguments import count_argument, number
from tfopt._layers import sublayers
from tfopt._logged import LoggedCallback

_logger = logging.getLogger("tfopt")
_OWNER = "StochasticWeightAveraging"


class StochasticWeightAveraging(LoggedCallback):
    """Give the model, when training ends, the mean of its weights after each of the last epochs.

    Where to use it: with a constant or cyclical learning rate that is still high at the end: the weights wander about a
    wide minimum, whose middle often generalises better than any of them. While it trains the model is as it always is,
    its validation scores are those of the single epochs; the mean is what `fit` leaves behind. Callbacks that put
    weights back at the end, such as `EarlyStopping(restore_best_weights=True)`, stand before it in the list.

    The moving mean and variance of a `BatchNormalization` belong to other weights than these, so they are measured
    anew: the mean, over batches of `data`, of what each batch has under the averaged weights. A frozen layer keeps its.

    For a mean that is updated at every step Keras has `keras.optimizers.Adam(use_ema=True)`.

    Args:
        start: Number >= 0 and < 1: the part of training after which averaging begins. The last epoch always counts.
        data: Inputs for batch normalisation, usually those of training: an array, several in a list or dict, a
            `tf.data.Dataset` or a `keras.utils.PyDataset`, whose targets are left aside.
        batch_size: Integer >= 1: rows of such a batch, where `data` is arrays.

    Attributes:
        num_averaged: Epochs whose weights the mean holds.

    Raises:
        TypeError: An argument is no number.
        TypeError: `data` is no inputs.
        ValueError: An argument is out of bounds; at the start of training: `data` is missing.

    Example:
        ```python
        x, y = np.random.rand(64, 3), np.random.rand(64)
        model = keras.Sequential([keras.layers.Dense(8), keras.layers.BatchNormalization(), keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(0.05), "mse")
        averaging = tfopt.callbacks.StochasticWeightAveraging(start=0.5, data=x)
        history = model.fit(x, y, epochs=4, verbose=0, callbacks=[averaging])
        print(averaging.num_averaged)  # 2
        ```

    References:
        - Izmailov, Podoprikhin, Garipov, Vetrov, Wilson (2018), "Averaging weights leads to wider optima and better
          generalization", https://arxiv.org/abs/1803.05407
    """

    def __init__(self, start: float = 0.75, data: Any = None, batch_size: int = 32):
        super().__init__()
        self.start = number("start", start, minimum=0, below=1, owner=_OWNER, stacked=False)
        count_argument(batch_size, _OWNER, "batch_size")
        self.data, self.batch_size = _checked(data), batch_size
        self.num_averaged = 0
        self._sums: list[np.ndarray] = []

    def on_train_begin(self, logs: Any = None) -> None:
        """Begin anew."""
        self.num_averaged, self._sums = 0, []
        self._normalizations()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Add the weights as they are."""
        epochs = self.params["epochs"]
        if epoch < min(math.floor(self.start * epochs), epochs - 1):
            return
        values = [keras.ops.convert_to_numpy(v.value).astype("float64") for v in self.model.trainable_variables]
        self._sums = [a + b for a, b in zip(self._sums, values, strict=True)] if self._sums else values
        self.num_averaged += 1

    def on_train_end(self, logs: Any = None) -> None:
        """Give the model the mean, and batch normalisation the statistics that belong to it."""
        if not self.num_averaged:
            _logger.warning("No weights were averaged: training ended before %g of its epochs.", self.start)
            return
        for variable, total in zip(self.model.trainable_variables, self._sums, strict=True):
            variable.assign(total / self.num_averaged)
        self._sums = []
        if normalizations := self._normalizations():
            self._refresh(normalizations)

    def _normalizations(self) -> list[keras.layers.BatchNormalization]:
        """Return the layers of batch normalisation whose statistics training changes."""
        kind = keras.layers.BatchNormalization
        found = [layer for layer in sublayers(self.model) if isinstance(layer, kind) and layer.trainable]
        if found and self.data is None:
            raise ValueError(
                f"Argument `data` must be given for a model with BatchNormalization. Received: data=None, and layer "
                f"{found[0].name!r}. Pass the training inputs: StochasticWeightAveraging(data=x)."
            )
        return found

    def _refresh(self, layers: list[keras.layers.BatchNormalization]) -> None:
        momenta, seen = [layer.momentum for layer in layers], 0
        try:
            for inputs in self._batches():
                size = keras.tree.flatten(inputs)[0].shape[0]
                for layer in layers:
                    layer.momentum = seen / (seen + size)  # 0 forgets what was there; then a mean over rows
                self.model(inputs, training=True)
                seen += size
        finally:
            for layer, momentum in zip(layers, momenta, strict=True):
                layer.momentum = momentum

    def _batches(self) -> Iterator[Any]:
        """Yield the inputs of each batch."""
        if isinstance(self.data, keras.utils.PyDataset):
            batches: Any = (self.data[index] for index in range(self.data.num_batches))
        elif isinstance(self.data, list | tuple | dict) or hasattr(self.data, "shape"):
            arrays = keras.tree.map_structure(np.asarray, self.data)
            rows = len(keras.tree.flatten(arrays)[0])
            for first in range(0, rows, self.batch_size):
                rest = slice(first, first + self.batch_size)
                yield keras.tree.map_structure(lambda array, rest=rest: array[rest], arrays)
            return
        else:
            batches = self.data
        for batch in batches:
            yield keras.utils.unpack_x_y_sample_weight(batch)[0]


def _checked(data: Any) -> Any:
    """Return inputs if they are arrays, or what gives batches."""
    if data is None:
        return data
    if isinstance(data, list | tuple | dict) or hasattr(data, "shape"):
        leaves = keras.tree.flatten(data)
        if leaves and all(len(getattr(leaf, "shape", ())) for leaf in leaves):
            return data
    elif isinstance(data, keras.utils.PyDataset) or (hasattr(data, "__iter__") and not isinstance(data, str | bytes)):
        return data
    raise TypeError(
        "Argument `data` must be an array, several in a list or dict, a `tf.data.Dataset` or a "
        f"`keras.utils.PyDataset`. Received: data={data!r:.80}."
    )
