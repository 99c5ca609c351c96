"""Optimizers' steps on the weights of a stack, stored as (members, size): the formulas of Keras 3.15."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import keras
import numpy as np

from tfopt._private.keras_optimizers import exempts_from_decay, moments_of
from tfopt.errors import CannotStack
from tfopt.training.numpy_stack.numbers import Column, MemberNumbers

Array = np.ndarray


class Update(ABC):
    """What an optimizer does to the weights.

    Attributes:
        slots: Variables of the optimizer, a list as long as the weights for each kind.
    """

    slots: dict[str, Sequence[keras.Variable]]
    largest_norm: Column | None = None  # `global_clipnorm`
    weight_decay: Column | None = None

    def __init__(self, optimizer: keras.optimizers.Optimizer, numbers: MemberNumbers):
        self._numbers: dict[str, Column] = {}

    def load(self) -> None:
        """Look up the members' numbers."""
        for name, column in self._numbers.items():
            value = column()[:, None]
            setattr(self, name, value.astype("float32"))
            setattr(self, f"{name}_rest", (1 - value).astype("float32"))
        self._largest = None if self.largest_norm is None else self.largest_norm().astype("float32")
        self._decay = None if self.weight_decay is None else self.weight_decay()[:, None].astype("float32")

    def clip(self, gradients: Array) -> None:
        """Shorten each member's gradient, (members, size), to the largest norm that the optimizer lets through."""
        if self._largest is not None:
            norm = np.sqrt(np.vecdot(gradients, gradients))
            gradients *= (self._largest * np.minimum(1 / norm, 1 / self._largest))[:, None]

    def decay(self, weights: Array, rate: Array) -> None:
        """Take off (members, size) weights what Keras does before the step (Loshchilov & Hutter, 2019)."""
        if self._decay is not None:
            weights -= weights * (self._decay * rate)

    @abstractmethod
    def step(self, weights: Array, gradients: Array, slots: dict[str, Array], rate: Array, number: int) -> None:
        """Change weights and slots in place; the gradients are used up.

        Args:
            weights: (members, size).
            gradients: Likewise.
            slots: Likewise, by name.
            rate: (members, 1) learning rates, or (members, size).
            number: Of the step, from 1.
        """


class _SGD(Update):
    momentum: Array

    def __init__(self, optimizer: keras.optimizers.SGD, numbers: MemberNumbers):
        has_momentum = numbers.decide(optimizer.momentum, lambda value: value != 0)
        self._nesterov = has_momentum and optimizer.nesterov
        self._numbers = {"momentum": numbers.column(optimizer.momentum)}
        self.slots = {"momentum": optimizer.momentums} if has_momentum else {}

    def step(self, weights: Array, gradients: Array, slots: dict[str, Array], rate: Array, number: int) -> None:
        gradients *= rate
        if not self.slots:
            weights -= gradients
            return
        velocity = slots["momentum"]
        velocity *= self.momentum
        velocity -= gradients
        if self._nesterov:
            weights += velocity * self.momentum
            weights -= gradients
        else:
            weights += velocity


class _Adam(Update):
    """Kingma & Ba, 2015."""

    beta_1: Array
    beta_2: Array
    epsilon: Array
    beta_1_rest: Array
    beta_2_rest: Array

    def __init__(self, optimizer: keras.optimizers.Adam, numbers: MemberNumbers):
        if optimizer.amsgrad:
            raise CannotStack("its Adam is an AMSGrad")
        self._numbers = {name: numbers.column(getattr(optimizer, name)) for name in ("beta_1", "beta_2", "epsilon")}
        self.slots = moments_of(optimizer)
        self._work = np.empty((0, 0), "float32")

    def step(self, weights: Array, gradients: Array, slots: dict[str, Array], rate: Array, number: int) -> None:
        if self._work.shape != weights.shape:
            self._work = np.empty_like(weights)
        work, momentum, velocity = self._work, slots["momentum"], slots["velocity"]
        # In single precision, as Keras computes them: 1 - 0.999 loses digits there.
        power_1, power_2 = (np.power(beta, np.float32(number)) for beta in (self.beta_1, self.beta_2))
        rate = rate * np.sqrt(1 - power_2) / (1 - power_1)
        np.subtract(gradients, momentum, out=work)
        work *= self.beta_1_rest
        momentum += work
        gradients *= gradients
        gradients -= velocity
        gradients *= self.beta_2_rest
        velocity += gradients
        np.sqrt(velocity, out=work)
        work += self.epsilon
        np.divide(momentum, work, out=work)
        work *= rate
        weights -= work


class _RMSprop(Update):
    rho: Array
    rho_rest: Array
    momentum: Array
    epsilon: Array

    def __init__(self, optimizer: keras.optimizers.RMSprop, numbers: MemberNumbers):
        if optimizer.centered:
            raise CannotStack("its RMSprop is centered")
        numbers.decide(optimizer.momentum, lambda value: value > 0)  # whether there are slots for it
        self._numbers = {name: numbers.column(getattr(optimizer, name)) for name in ("rho", "momentum", "epsilon")}
        self.slots = moments_of(optimizer)

    def step(self, weights: Array, gradients: Array, slots: dict[str, Array], rate: Array, number: int) -> None:
        velocity = slots["velocity"]
        velocity *= self.rho
        velocity += self.rho_rest * (gradients * gradients)
        gradients *= rate
        gradients /= np.sqrt(velocity + self.epsilon)
        if "momentum" in self.slots:
            slots["momentum"] *= self.momentum
            slots["momentum"] += gradients
            gradients = slots["momentum"]
        weights -= gradients


_KINDS: dict[type, type[Update]] = {
    keras.optimizers.SGD: _SGD,
    keras.optimizers.Adam: _Adam,
    keras.optimizers.AdamW: _Adam,
    keras.optimizers.RMSprop: _RMSprop,
}


def update_of(optimizer: keras.optimizers.Optimizer, numbers: MemberNumbers) -> Update:
    """Return what a built optimizer does.

    Raises:
        CannotStack: It is not known here.
    """
    kind = _KINDS.get(type(optimizer))
    if kind is None:
        raise CannotStack(f"{type(optimizer).__name__} has no form in NumPy here")
    for option in ("clipnorm", "clipvalue", "use_ema", "gradient_accumulation_steps"):
        if getattr(optimizer, option):
            raise CannotStack(f"its optimizer has {option}")
    if getattr(optimizer, "loss_scale_factor", None) is not None:
        raise CannotStack("its optimizer scales the loss")
    update = kind(optimizer, numbers)
    if optimizer.global_clipnorm is not None:
        update.largest_norm = numbers.column(optimizer.global_clipnorm)
    if exempts_from_decay(optimizer):
        raise CannotStack("its optimizer exempts some weights from decay")
    if optimizer.weight_decay is not None:
        update.weight_decay = numbers.column(optimizer.weight_decay)
    return update
