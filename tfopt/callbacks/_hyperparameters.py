"""Where a model keeps its hyperparameters, by the names that users write."""

import numbers
from collections.abc import Iterator
from typing import Any

import keras
from keras import ops

from tfopt._layers import innermost_optimizers, sublayers
from tfopt.callbacks._live_number import LiveNumber
from tfopt.errors import nearest
from tfopt.layers._changing import ChangingLayer

_REGULARIZED = ("kernel", "bias", "recurrent", "embeddings", "gamma", "beta", "depthwise", "pointwise", "activity")
_COUNTS = ("gradient_accumulation_steps", "ema_overwrite_frequency", "loss_scale_factor")


class Slot:
    """One attribute of one object, driven through a variable for the time of a fit."""

    def __init__(self, owner: Any, attribute: str, where: str):
        self.owner, self.attribute, self.where = owner, attribute, where
        self._before = getattr(owner, attribute)
        self.is_variable = isinstance(self._before, keras.Variable)

    def attach(self) -> keras.Variable:
        """Put a live number in place of the plain one and return the variable to drive.

        The owner's config goes on reporting the plain number, so that what is saved in mid-fit can be reloaded.
        """
        driven = isinstance(self.owner, ChangingLayer) and self.owner.schedule is not None
        if driven or isinstance(self._before, keras.optimizers.schedules.LearningRateSchedule):
            raise ValueError(f"{self.where} is a schedule already. Put the other schedule in its place.")
        if self.is_variable:
            return self._before
        plain = 0.0 if self._before is None else float(ops.convert_to_numpy(self._before))
        variable = keras.Variable(
            plain, dtype="float64", trainable=False, name=self.attribute, aggregation="only_first_replica"
        )
        config_of_class = self.owner.get_config

        def get_config() -> dict[str, Any]:
            live = getattr(self.owner, self.attribute)
            object.__setattr__(self.owner, self.attribute, self._before)
            try:
                return config_of_class()
            finally:
                object.__setattr__(self.owner, self.attribute, live)

        self._had_config = "get_config" in vars(self.owner)
        self._config_before = config_of_class
        object.__setattr__(self.owner, self.attribute, LiveNumber(variable))
        object.__setattr__(self.owner, "get_config", get_config)
        return variable

    def detach(self) -> None:
        """Put the plain number back."""
        if self.is_variable:
            return
        object.__setattr__(self.owner, self.attribute, self._before)
        if self._had_config:
            object.__setattr__(self.owner, "get_config", self._config_before)
        else:
            object.__delattr__(self.owner, "get_config")


def find(model: Any, name: str) -> list[Slot]:
    """Return every attribute that `name` stands for in `model`; at least one."""
    known = dict(_all(model))
    slots = known.get(name)
    if not slots:
        raise ValueError(
            f"The model has no hyperparameter {name!r} that can change while training.{nearest(name, known)} It has: "
            f"{', '.join(sorted(known))}."
        )
    return slots


def _all(model: Any) -> Iterator[tuple[str, list[Slot]]]:
    grouped: dict[str, list[Slot]] = {}
    for name, slot in _each(model):
        if all(slot.owner is not other.owner for other in grouped.setdefault(name, [])):
            grouped[name].append(slot)
    yield from grouped.items()


def _each(model: Any) -> Iterator[tuple[str, Slot]]:
    for optimizer in innermost_optimizers(model.optimizer):
        for attribute, value in optimizer.get_config().items():
            if attribute == "learning_rate":
                if isinstance(optimizer.learning_rate, keras.Variable):
                    yield attribute, Slot(optimizer, attribute, "The learning rate")
            elif attribute == "weight_decay" or (_is_number(value) and attribute not in _COUNTS):
                yield attribute, Slot(optimizer, attribute, f"The optimizer's {attribute}")
    for layer in sublayers(model):
        if isinstance(layer, ChangingLayer) and isinstance(layer.strength, keras.Variable):
            strength = layer.strength_name
            slot = Slot(layer, strength, f"The {strength} of layer {layer.name!r}")
            yield ("dropout" if strength == "rate" else "noise"), slot
            yield f"{layer.name}.{strength}", slot
        for role in (f"{part}_regularizer" for part in _REGULARIZED):
            regularizer = getattr(layer, role, None)
            if regularizer is not None and hasattr(regularizer, "get_config"):
                for attribute, value in regularizer.get_config().items():
                    if _is_number(value) and hasattr(regularizer, attribute):
                        slot = Slot(regularizer, attribute, f"{attribute} of {layer.name}.{role}")
                        yield attribute, slot
                        yield f"{layer.name}.{role}.{attribute}", slot
    loss = getattr(model, "loss", None)
    for one in keras.tree.flatten(loss):
        smoothing = getattr(one, "label_smoothing", None)
        if isinstance(smoothing, keras.Variable):
            yield "label_smoothing", Slot(one, "label_smoothing", "The loss's label smoothing")


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)
