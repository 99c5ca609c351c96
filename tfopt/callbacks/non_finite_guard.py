"""Stops, or steps back, at the first loss or gradient that is not finite. TensorFlow only."""

import logging
import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfopt._arguments import choice, number, whole_number
from tfopt._layers import innermost_optimizers
from tfopt._logged import LoggedCallback
from tfopt.callbacks._gradient_steps import decode, layer_columns, total_norm
from tfopt.callbacks._gradient_tap import OptimizerTap
from tfopt.callbacks._tapped_training import TappedTraining, find_optimizers

_logger = logging.getLogger("tfopt")
_ACTIONS = ("stop", "raise", "restore")
_SHOWN = 5  # last good norms in the message
_LOOK_EVERY = 200  # batches; a bad gradient shows in the next loss, unless its weights are not used there


class NonFiniteGuard(LoggedCallback):
    """Ends training at the first loss or gradient that is not finite, and says where it was.

    The message names the step, the layers with a bad gradient, the learning rate and the gradient norms of the last
    good steps: norms that grow towards the end speak for clipping or a smaller learning rate, norms that do not for a
    bad row of data or an undefined operation. Unlike `keras.callbacks.TerminateOnNaN` it knows the gradients, and
    unlike `tf.debugging.check_numerics` it works under XLA, where that is silent. It looks at the loss after every
    batch and goes through the gradients when that is bad, every 200 batches, and at the end of each epoch.

    Steps that loss scaling skips in mixed precision are part of its work and pass.

    Args:
        action: `"stop"` ends the fit after the epoch's callbacks; `"raise"` raises `RuntimeError` with the message;
            `"restore"` puts the last good weights and optimizer state back and goes on at a smaller learning rate.
        factor: What `"restore"` multiplies the learning rate by, in (0, 1).
        max_restores: How many times it may do so before it stops.
        snapshot_steps: Batches between two copies of the weights to which `"restore"` can go back.

    Raises:
        ValueError: At construction for a bad argument; as training begins, if `"restore"` meets a learning rate that
            cannot be set.

    Example:
        ```python
        model = keras.Sequential([keras.layers.Dense(1)])
        model.compile("adam", "mse")
        guard = tfopt.callbacks.NonFiniteGuard()
        model.fit(np.ones((8, 2)), np.ones(8), epochs=2, callbacks=[guard], verbose=0)
        print(guard.message or "all finite")  # all finite
        ```
    """

    def __init__(
        self, action: str = "stop", factor: float = 0.5, max_restores: int = 3, snapshot_steps: int = 100
    ) -> None:
        super().__init__()
        self.action = choice("action", action, _ACTIONS)
        self.factor = number("factor", factor, above=0, below=1, stacked=False)
        self.max_restores = whole_number("max_restores", max_restores)
        self.snapshot_steps = whole_number("snapshot_steps", snapshot_steps)
        self.message: str | None = None
        self.num_restores = 0
        self._training: TappedTraining | None = None

    def __getstate__(self) -> dict[str, Any]:
        """What copies and pickles keep: the settings and the message."""
        return self.__dict__ | {"_model": None, "params": None, "_training": None, "_snapshot": None, "_seen": {}}

    def on_train_begin(self, logs: Any = None) -> None:
        """Start afresh."""
        self.message, self.num_restores = None, 0
        self._seen: dict[int, int] = {}
        self._epoch = self._batch = self._batches = 0
        self._snapshot: list[np.ndarray] | None = None
        self._training = TappedTraining.join(self)
        if self.action == "restore":
            self._check_learning_rate()
            if all(optimizer.built for optimizer in self._optimizers()):
                self._take_snapshot()  # else after the first step, which makes the optimizer's variables

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Number the epoch."""
        self._epoch = epoch
        self._running.begin_epoch()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Have the coming step watched."""
        self._running.arm(batch)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Look at the loss; if it is bad, and every so often, at all the gradients since the last look."""
        self._batch = batch
        self._batches += 1
        bad_loss = {name: value for name, value in self._losses(logs).items() if not math.isfinite(value)}
        if bad_loss or self._batches % _LOOK_EVERY == 0:
            self._look(bad_loss)
        is_due = self._snapshot is None or self._batches % self.snapshot_steps == 0
        if self.action == "restore" and is_due:
            self._take_snapshot()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Look at the gradients of the epoch's last steps."""
        self._look({})

    def _look(self, bad_loss: dict[str, float]) -> None:
        found = None
        for tap, start in zip(self._running.taps, self._running.starts, strict=True):
            found = found or self._first_bad(tap, start)
        if found is not None or bad_loss:
            self._act(self._describe(self._batch, bad_loss, found))

    def on_train_end(self, logs: Any = None) -> None:
        """Give the model its own train function back."""
        self._running.leave(self)
        self._training = self._snapshot = None

    def receive(self, tap: OptimizerTap, sections: dict[str, np.ndarray]) -> None:
        """Ignore deliveries: the guard looks itself, after every batch."""

    @property
    def _running(self) -> TappedTraining:
        if self._training is None:
            raise RuntimeError("NonFiniteGuard watches what `model.fit` does; pass it to `fit(callbacks=[...])`.")
        return self._training

    @staticmethod
    def _losses(logs: Any) -> dict[str, float]:
        logs = logs or {}
        return {"loss": logs["loss"]} if "loss" in logs else {k: v for k, v in logs.items() if np.ndim(v) == 0}

    def _first_bad(self, tap: OptimizerTap, start: int) -> dict[str, Any] | None:
        """The first step since the last look with a gradient that is not finite and was not skipped."""
        count = tap.count()
        start = max(self._seen.get(id(tap), start), count - tap.capacity)
        self._seen[id(tap)] = count
        if count <= start:
            return None
        sections = tap.read(start, count)
        if all(np.isfinite(sections[name]).all() for name in ("gradient", "reduced", "applied") if name in sections):
            return None
        steps = decode(tap, sections)
        bad = steps.bad()
        if tap.is_loss_scaled:
            bad &= steps.updated[:, None]
        if not bad.any():
            return None
        first = int(np.argmax(bad.any(axis=1)))
        layers = layer_columns([getattr(v, "path", v.name) for v in tap.variables], self.model.name)
        return {
            "later_steps": count - start - 1 - first,
            "layers": [layer for layer, columns in layers.items() if bad[first, columns].any()],
            "num_layers": len(layers),
            "learning_rate": float(steps.learning_rate[first, 0]),
            "norms": self._norms_before(tap, start + first),
        }

    @staticmethod
    def _norms_before(tap: OptimizerTap, stop: int) -> list[float]:
        start = max(stop - _SHOWN, tap.count() - tap.capacity, 0)
        if start >= stop:
            return []
        norms = total_norm(decode(tap, tap.read(start, stop)).gradient)
        return [float(norm) for norm in norms if np.isfinite(norm)]

    def _describe(self, batch: int, bad_loss: dict[str, float], found: dict[str, Any] | None) -> str:
        if found is None:  # the loss alone: its gradient was cut off, or loss scaling skipped the step
            found = {"later_steps": 0, "layers": [], "learning_rate": self._learning_rate(), "norms": []}
            for tap in self._running.taps:
                found["norms"] = found["norms"] or self._norms_before(tap, tap.count())
        # A loss that went bad after the gradient did is its consequence; within one execution there is no telling.
        is_later = found["later_steps"] > 0 and self.model.steps_per_execution == 1
        what = [] if is_later else [f"{name} is {value}" for name, value in bad_loss.items()]
        if found["layers"]:
            everywhere = len(found["layers"]) == found["num_layers"]
            where = "every layer" if everywhere else "layers " + ", ".join(map(repr, found["layers"]))
            what.append(f"the gradient of {where} is not finite")
        norms = found["norms"]
        shown = ", ".join(f"{norm:.3g}" for norm in norms) if norms else "none"
        grows = len(norms) > 1 and norms[-1] > 10 * norms[0]
        advice = (
            "They grow: clip the gradient (global_clipnorm) or lower the learning rate."
            if grows
            else "They do not grow: look for bad values in the data, or log, sqrt or division at 0 in the loss."
        )
        step = batch - found["later_steps"]
        return (
            f"Epoch {self._epoch}, batch {step}: {' and '.join(what)}; learning rate {found['learning_rate']:.3g}. "
            f"Gradient norms of the steps before: {shown}. {advice if norms else ''}"
        ).rstrip()

    def _act(self, message: str) -> None:
        self.message = message
        if self.action == "raise":
            raise RuntimeError(message)
        if self._snapshot is not None and self.num_restores < self.max_restores:
            self.num_restores += 1
            self._restore(self._snapshot)
            _logger.warning(
                "%s Went back to the last good weights, learning rate %.3g.", message, self._learning_rate()
            )
            return
        _logger.warning("%s Training stops.", message)
        self.model.stop_training = True

    # Going back.

    def _state(self) -> list[Any]:
        """Weights, moving statistics and the optimizer's variables; the seeds run on, for new masks."""
        own = [v for v in self.model.variables if keras.backend.is_float_dtype(v.dtype)]
        return own + [v for optimizer in self._optimizers() for v in optimizer.variables]

    def _optimizers(self) -> list[Any]:
        return list(find_optimizers(self.model).values())

    def _leaves(self) -> list[Any]:
        return [leaf for optimizer in self._optimizers() for leaf in innermost_optimizers(optimizer)]

    def _take_snapshot(self) -> None:
        values = [np.array(tf.convert_to_tensor(v).numpy()) for v in self._state()]
        if all(np.isfinite(value).all() for value in values):
            self._snapshot = values

    def _restore(self, snapshot: list[np.ndarray]) -> None:
        rates = [(leaf, float(leaf.learning_rate)) for leaf in self._leaves()]
        for variable, value in zip(self._state(), snapshot, strict=True):
            variable.assign(value)
        for leaf, rate in rates:
            leaf.learning_rate = rate * self.factor
        self.model.reset_metrics()  # the running means of this epoch are not finite any more

    def _check_learning_rate(self) -> None:
        for leaf in self._leaves():
            try:
                leaf.learning_rate = float(leaf.learning_rate)
            except (TypeError, AttributeError) as error:
                raise ValueError(
                    "Argument `action='restore'` lowers the learning rate, which a schedule does not allow. "
                    f"Received a model whose {leaf.name!r} optimizer has one. "
                    "Compile with a number, or use action='stop'."
                ) from error

    def _learning_rate(self) -> float:
        return float(self._leaves()[0].learning_rate)
