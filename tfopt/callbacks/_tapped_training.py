"""One object a fit, standing at ``model.train_function``: it switches the gradient taps on only while a step runs.

Every callback of one fit that looks at gradients shares it. It survives a second fit, a recompile in mid-fit, other
callbacks that wrap the train function too, and a fit that crashed: called outside of a step it puts the original back.
"""

import contextlib
import dataclasses
import threading
import warnings
import weakref
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from tfopt._layers import innermost_optimizers
from tfopt._private.needs import available
from tfopt.callbacks._gradient_tap import OptimizerTap, TapOptions

_CAPACITY = 256
_MOST_REINSTALLS = 3  # an epoch: two callbacks that keep replacing each other would retrace at every batch
_CACHE = "_tfopt_tapped_function"


class Consumer(Protocol):
    """A callback that takes part."""

    model: Any
    params: Any

    def receive(self, tap: OptimizerTap, sections: dict[str, np.ndarray]) -> None:
        """Take the rows of the steps since the last delivery."""


@dataclasses.dataclass(frozen=True)
class _Traced:
    """A train function traced with its taps in; kept on the model, so that the next fit need not trace again."""

    original: Any
    function: Any
    taps: list[OptimizerTap]
    options: TapOptions

    def fits(self, original: Any, optimizers: list[Any], options: TapOptions) -> bool:
        """Whether nothing was recompiled or rebuilt since: Keras makes a new original then."""
        same_optimizers = len(optimizers) == len(self.taps) and all(
            tap.optimizer is optimizer for tap, optimizer in zip(self.taps, optimizers, strict=True)
        )
        return self.original is original and same_optimizers and self.options == options


def find_optimizers(model: Any) -> dict[str, Any]:
    """The optimizers that may train this model, by attribute: its own first, then those of a custom train_step."""
    found: dict[str, Any] = {}
    candidates = [("optimizer", getattr(model, "optimizer", None))]
    candidates += list(vars(model).items())
    candidates += [(layer.name, getattr(layer, "optimizer", None)) for layer in getattr(model, "layers", [])]
    for name, value in candidates:
        is_optimizer = isinstance(value, keras.optimizers.Optimizer)
        if is_optimizer and all(value is not other for other in found.values()):
            found[name.lstrip("_")] = value
    return found


class TappedTraining:
    """Stands in for `model.train_function` during one fit.

    Args:
        model: The model in training.
        params: The `params` object that Keras hands to every callback of one fit.
    """

    def __init__(self, model: Any, params: Any) -> None:
        self.taps: list[OptimizerTap] = []
        self.starts: list[int] = []  # rows that the taps held before this fit
        self._model, self._params = weakref.ref(model), params
        self._consumers: list[Consumer] = []
        self._options = TapOptions()
        self._warned: set[str] = set()
        self._batch: int | None = None
        self._original: Any = None
        self._function: Any = None
        self._reinstalls = self._calls = 0
        self._armed, self._was_called = False, True
        self._measures = available("gradients at the optimizer")
        self._stand_in()

    @classmethod
    def join(cls, consumer: Consumer, options: TapOptions | None = None) -> "TappedTraining":
        """The object of this fit; the first callback to come makes it."""
        current = consumer.model.train_function
        if not (isinstance(current, cls) and current._params is consumer.params):
            current = cls(consumer.model, consumer.params)
        current._consumers.append(consumer)
        current._options |= options or TapOptions()
        return current

    def leave(self, consumer: Consumer) -> None:
        """Deliver what is outstanding; the last to leave puts the original train function back."""
        self.deliver()
        self._consumers.remove(consumer)
        model = self._model()
        if not self._consumers and model is not None and model.train_function is self:
            model.train_function = self._original

    def _stand_in(self) -> None:
        model: Any = self._model()
        current = model.train_function
        if isinstance(current, TappedTraining):  # left behind by a fit that crashed
            current = current._original
        # Making one costs nothing before it is called, and shows what Keras's own functions look like.
        model.make_train_function(force=True)
        self._plain_code = getattr(model.train_function, "__code__", self)
        self._original, self._function = current or model.train_function, None
        model.train_function = self

    # A step.

    def begin_epoch(self) -> None:
        """Forget the last epoch's count of batches, and how often the train function had to be taken back."""
        self._batch, self._reinstalls = None, 0

    def arm(self, batch: int) -> None:
        """Announce that the next call comes from `fit`; every callback does so as a batch begins."""
        if batch == self._batch:
            return
        model: Any = self._model()
        if model.train_function is not self:
            self._take_back(model.train_function)
        self._batch, self._armed, self._was_called = batch, True, False

    def _take_back(self, current: Any) -> None:
        """Stand in again where the model was recompiled; a wrapper that still calls this object may stay."""
        is_rebuilt = current is None or getattr(current, "__code__", None) is self._plain_code
        if not is_rebuilt and self._was_called:
            return
        if self._reinstalls < _MOST_REINSTALLS:
            self._reinstalls += 1
            self.deliver()
            self._stand_in()
        else:
            self._warn("Something keeps replacing `model.train_function`; the steps it runs are not measured.")

    def __call__(self, iterator: Any) -> Any:
        """Run one execution of the train function, measured if `fit` asked for it."""
        model: Any = self._model()
        if not self._armed:
            if model.train_function is self:
                model.train_function = self._original
            return self._original(iterator)
        self._armed, self._was_called = False, True
        if self._function is None:
            self._prepare(model)
        self._calls += 1
        try:
            for tap in self.taps:
                tap.install()
            return self._function(iterator)
        finally:
            for tap in self.taps:
                tap.uninstall()

    def _prepare(self, model: Any) -> None:
        """Find the function traced by an earlier fit, or have Keras make one whose first call will be traced."""
        optimizers = find_optimizers(model) if self._measures else {}
        traced = vars(model).get(_CACHE)
        if traced is None or not traced.fits(self._original, list(optimizers.values()), self._options):
            capacity = max(_CAPACITY, 2 * int(model.steps_per_execution))
            taps = [
                OptimizerTap(label, optimizer, model.distribute_strategy, capacity, self._options)
                for label, optimizer in optimizers.items()
            ]
            taps = [tap for tap in taps if self._is_ready(tap, model)]
            traced = _Traced(self._original, self._make_function(model, taps), taps, self._options)
            # Past Keras's tracking: the model's variables, saved file and config do not know of it.
            object.__setattr__(model, _CACHE, traced)
        self._function, self.taps = traced.function, traced.taps
        self.starts = [tap.count() for tap in self.taps]
        self._delivered = list(self.starts)
        self._calls, self._calls_allowed = 0, 1

    def _is_ready(self, tap: OptimizerTap, model: Any) -> bool:
        """Several replicas share variables that must exist before any of them is traced."""
        if tap.num_replicas == 1:
            return True
        if tap.optimizer.built or tap.optimizer is model.optimizer:
            tap.build(model.trainable_variables)
            return True
        self._warn(f"The optimizer {tap.label!r} is not built, so its gradients are not measured. Build it before fit.")
        return False

    def _make_function(self, model: Any, taps: list[OptimizerTap]) -> Any:
        """The function to trace with the taps in: a new one of Keras's, but somebody's wrapper must stay."""
        leaves = [leaf for tap in taps for leaf in innermost_optimizers(tap.optimizer)]
        has_parts = any(tap.num_replicas > 1 for tap in taps) or any(
            leaf.gradient_accumulation_steps for leaf in leaves
        )
        if getattr(self._original, "__code__", None) is not self._plain_code:
            return self._original
        current = model.train_function
        with _noting_batch_sizes(model, taps) if has_parts else contextlib.nullcontext():
            model.make_train_function(force=True)
        made, model.train_function = model.train_function, current
        return made

    def _warn(self, message: str) -> None:
        if message not in self._warned:
            self._warned.add(message)
            warnings.warn(message, UserWarning, stacklevel=2)

    # The way to the callbacks.

    def after_batch(self) -> None:
        """Read the rings after the first call, then only as often as they fill: reading costs more than recording."""
        if self._function is not None and self._calls >= self._calls_allowed:
            self.deliver()

    def deliver(self) -> None:
        """Hand every consumer the rows that it has not seen."""
        if self._function is None or not self._calls:
            return
        most = 0
        for i, tap in enumerate(self.taps):
            start, count = self._delivered[i], tap.count()
            self._delivered[i] = count
            if count - start > tap.capacity:
                self._warn("A batch of fit applied far more gradients than those before it; some were not measured.")
                start = count - tap.capacity
            if count > start:
                most = max(most, count - start)
                sections = tap.read(start, count)
                for consumer in self._consumers:
                    consumer.receive(tap, sections)
        if not most and self._measures:
            self._warn(
                "No gradient reached `optimizer.apply` in the first batch, so there is nothing to measure: this "
                "model's train_step changes the weights by other means."
            )
        rows_per_call = max(1.0, most / self._calls)
        self._calls_allowed = max(1, int(min((tap.capacity for tap in self.taps), default=1) / rows_per_call) - 1)
        self._calls = 0


@contextlib.contextmanager
def _noting_batch_sizes(model: Any, taps: list[OptimizerTap]) -> Any:
    """While Keras picks up `model.train_step`, offer it one that also tells the taps how many examples came in."""
    original, own = model.train_step, vars(model).get("train_step")

    def train_step(data: Any) -> Any:
        tensors = [leaf for leaf in keras.tree.flatten(data) if isinstance(leaf, tf.Tensor) and leaf.shape.rank]
        for tap in taps:
            tap.batch_sizes[threading.get_ident()] = tf.shape(tensors[0])[0] if tensors else np.nan
        return original(data)

    object.__setattr__(model, "train_step", train_step)
    try:
        yield
    finally:
        if own is None:
            object.__delattr__(model, "train_step")
        else:
            object.__setattr__(model, "train_step", own)
