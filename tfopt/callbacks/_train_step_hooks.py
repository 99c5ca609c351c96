"""Work to be done inside the compiled graph before each training step.

``model.train_step`` is the one place that every mode passes through: eager, compiled, XLA, several steps an execution,
several replicas. The hooks of all callbacks share one wrapper around it, so that they can come and go in any order.
"""

from collections.abc import Callable
from typing import Any

DRIVE, RECORD = 0, 1  # values are set before any of them is written down


class _Hooked:
    def __init__(self, train_step: Callable[..., Any]):
        self.train_step = train_step
        self.hooks: list[tuple[int, Callable[[], None]]] = []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        for _, hook in sorted(self.hooks, key=lambda item: item[0]):
            hook()
        return self.train_step(*args, **kwargs)


def install(model: Any, hook: Callable[[], None], order: int) -> None:
    """Run `hook` before each step from now on; the train function is traced anew."""
    hooked = vars(model).get("train_step")
    if not isinstance(hooked, _Hooked):
        hooked = _Hooked(model.train_step)
        object.__setattr__(model, "train_step", hooked)  # past Keras's tracking of attributes
    hooked.hooks.append((order, hook))
    model.make_train_function(force=True)


def remove(model: Any, hook: Callable[[], None]) -> None:
    """Undo `install`; the model's own train step comes back with the last hook."""
    hooked = vars(model).get("train_step")
    if not isinstance(hooked, _Hooked):
        return
    hooked.hooks = [item for item in hooked.hooks if item[1] != hook]
    if not hooked.hooks:
        own: Any = hooked.train_step
        if getattr(own, "__self__", None) is model and getattr(own, "__func__", None) is getattr(
            type(model), "train_step", None
        ):
            object.__delattr__(model, "train_step")
        else:
            object.__setattr__(model, "train_step", own)
    model.make_train_function(force=True)
