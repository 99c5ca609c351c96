"""Losses and metrics of a stack: per row (members, rows), with the gradient of each row's loss by its output."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from tfopt._private.keras_models import function_of
from tfopt.errors import CannotStack
from tfopt.losses import QuantileLoss
from tfopt.training.label_crossentropy import LabelCrossentropy
from tfopt.training.numpy_stack.activations import highest, softmax
from tfopt.training.numpy_stack.numbers import Column, MemberNumbers
from tfopt.training.stack import Logs

Array = np.ndarray
# Of outputs (members, rows, units) and targets (members, rows, units): each row's loss, and its gradient.
Rows = tuple[Array, Array]


def _squared(out: Array, y: Array) -> Rows:
    error = out - y
    return np.mean(error * error, axis=-1), error * np.float32(2 / out.shape[-1])


def _absolute(out: Array, y: Array) -> Rows:
    error = out - y
    return np.mean(np.abs(error), axis=-1), np.sign(error) / np.float32(out.shape[-1])


def _sparse(z: Array, y: Array) -> Rows:
    shifted = z - highest(z)
    gradient = np.exp(shifted)
    total = gradient.sum(axis=-1, keepdims=True)
    gradient /= total
    flat, number = gradient.reshape(-1, z.shape[-1]), np.arange(y.size)
    picked = y.reshape(-1).astype("intp")
    likelihood = shifted.reshape(flat.shape)[number, picked].reshape(z.shape[:-1])
    flat[number, picked] -= 1
    return np.log(total[..., 0]) - likelihood, gradient


def _categorical(z: Array, y: Array) -> Rows:
    probabilities = softmax(z)
    shifted = z - highest(z)
    logarithms = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    # TensorFlow's gradient, which takes targets for probabilities even where they do not add up to one.
    return -np.sum(y * logarithms, axis=-1), probabilities - y


def _binary(z: Array, y: Array) -> Rows:
    losses = np.maximum(z, 0) - z * y + np.log1p(np.exp(-np.abs(z)))
    gradient = (1 / (1 + np.exp(-z)) - y) / np.float32(z.shape[-1])
    return losses.mean(axis=-1), gradient


def _pinball(quantiles: Sequence[float]) -> Callable[[Array, Array], Rows]:
    """Return the function of the rows for these quantiles; all columns of the output have the one target."""
    shares = np.array(quantiles, "float32")

    def rows(out: Array, y: Array) -> Rows:
        error = y - out
        slopes = np.where(error >= 0, shares, shares - 1)  # at 0 as TensorFlow's gradient
        return np.mean(slopes * error, axis=-1), slopes * np.float32(-1 / len(shares))

    return rows


_LOSSES: dict[Any, Callable[[Array, Array], Rows]] = {
    keras.losses.mean_squared_error: _squared,
    keras.losses.mean_absolute_error: _absolute,
    keras.losses.sparse_categorical_crossentropy: _sparse,
    keras.losses.categorical_crossentropy: _categorical,
    keras.losses.binary_crossentropy: _binary,
}
_OF_LOGITS = {
    keras.losses.sparse_categorical_crossentropy: keras.activations.softmax,
    keras.losses.categorical_crossentropy: keras.activations.softmax,
    keras.losses.binary_crossentropy: keras.activations.sigmoid,
}
_METRICS: dict[Any, Callable[[Array, Array], Array]] = {
    keras.metrics.mean_squared_error: lambda out, y: _squared(out, y)[0],
    keras.metrics.mean_absolute_error: lambda out, y: _absolute(out, y)[0],
    keras.metrics.sparse_categorical_accuracy: lambda out, y: out.argmax(axis=-1) == y[..., 0],
    keras.metrics.categorical_accuracy: lambda out, y: out.argmax(axis=-1) == y.argmax(axis=-1),
    keras.metrics.binary_accuracy: lambda out, y: np.mean((out > 0.5) == y, axis=-1),
}


class Loss:
    """A model's one loss.

    Args:
        loss: The compiled loss.
        last: Activation of the model's output layer.
        units: Width of the output.
        numbers: The model's numbers.

    Attributes:
        takes_logits: Whether the output layer's activation is part of the loss: it is computed from the logits, as
            Keras does in a graph.
        sparse: Whether a target is the number of its class.
        takes_codes: Whether it may be, for a loss that makes it one-hot.
        one_target: Whether all outputs have one target.

    Raises:
        CannotStack: It is not known here.
    """

    def __init__(self, loss: Any, last: Any, units: int, numbers: MemberNumbers):
        function, options = function_of(loss)
        own = type(loss) is LabelCrossentropy
        self.one_target = type(loss) is QuantileLoss
        known = (own or type(loss).__module__.startswith("keras.")) and function in _LOSSES
        if not (known or self.one_target) or loss.reduction != "sum_over_batch_size":
            raise CannotStack(f"the loss {getattr(loss, 'name', loss)} is not known here")
        self._rows = _pinball(loss.quantiles) if self.one_target else _LOSSES[function]
        self._smoothing: Column | None = None
        self.sparse = function is keras.losses.sparse_categorical_crossentropy
        self.takes_logits, self.takes_codes = False, own
        if function in _OF_LOGITS:
            logits = options.pop("from_logits", False)
            self.takes_logits = not logits and last is _OF_LOGITS[function]
            if not logits and not self.takes_logits:
                raise CannotStack("its cross-entropy is given neither logits nor a softmax or sigmoid")
            smoothing = options.pop("label_smoothing", 0.0)
            axis, ignored = options.pop("axis", -1), options.pop("ignore_class", None)
            if axis != -1 or ignored is not None:
                raise CannotStack("its cross-entropy ignores a class or has another axis")
            if smoothing != 0:
                self._smoothing = numbers.column(smoothing)
                numbers.column(loss.label_smoothing)  # for the configuration; no step looks at it
                self._pulled_to = 0.5 if function is keras.losses.binary_crossentropy else 1 / units
        if options:
            raise CannotStack(f"the loss has {', '.join(options)}")

    def load(self) -> None:
        """Look up the members' smoothing."""
        self._smooth = None if self._smoothing is None else self._smoothing()[:, None, None].astype("float32")

    def rows(self, output: Array, targets: Array) -> Rows:
        """Return each row's loss (members, rows), and its gradient by the output (members, rows, units).

        Outputs (members, rows, members of a model, units) have a loss each, whose mean is the row's.
        """
        if output.ndim > targets.ndim:
            number = output.shape[2]
            losses, gradient = self.rows(
                output.reshape(len(output), -1, output.shape[-1]), np.repeat(targets, number, axis=1)
            )
            gradient *= np.float32(1 / number)
            return losses.reshape(*output.shape[:3]).mean(axis=2), gradient.reshape(output.shape)
        if self.takes_codes and targets.shape[-1] == 1 < output.shape[-1]:
            targets = np.eye(output.shape[-1], dtype="float32")[targets[..., 0].astype("intp")]
        if self._smooth is not None:
            targets = targets * (1 - self._smooth) + self._smooth * np.float32(self._pulled_to)
        return self._rows(output, targets)


def metric_of(metric: keras.metrics.Metric) -> Callable[[Array, Array], Array]:
    """Return the function of outputs and targets whose mean over rows a metric is.

    Raises:
        CannotStack: It is not known here.
    """
    function, options = function_of(metric)
    if options.pop("threshold", 0.5) != 0.5 or options or function not in _METRICS:
        raise CannotStack(f"the metric {metric.name} is not known here")
    if not type(metric).__module__.startswith("keras."):
        raise CannotStack(f"the metric {metric.name} is not Keras's")
    return _METRICS[function]


class EpochMeans:
    """Means over rows of the loss and the metrics, for each member.

    Args:
        metrics: Functions of outputs and targets by name.
        unpenalized: Names under which the loss is logged without its penalties.
        members: Their number.
    """

    def __init__(self, metrics: Mapping[str, Any], unpenalized: Sequence[str], members: int):
        self._metrics, self._unpenalized, self._rows = metrics, unpenalized, np.zeros(members)
        self._sums = {name: np.zeros(members) for name in ("loss", *metrics, *unpenalized)}

    def add(
        self, rows: int, loss: Array, penalty: Array, out: Array, y: Array, run: slice, unpenalized: Array | None = None
    ) -> None:
        """Add a batch of so many rows for a run of members: their mean losses, penalties, outputs and targets.

        The loss that is logged without penalties is `unpenalized` where it is given: that of an ensemble's prediction.
        """
        self._rows[run] += rows
        self._sums["loss"][run] += rows * (loss + penalty)
        for name in self._unpenalized:
            self._sums[name][run] += rows * (loss if unpenalized is None else unpenalized)
        for name, metric in self._metrics.items():
            self._sums[name][run] += metric(out, y).sum(axis=1)

    def means(self) -> Logs:
        """Return the mean of each."""
        return {name: total / self._rows for name, total in self._sums.items()}
