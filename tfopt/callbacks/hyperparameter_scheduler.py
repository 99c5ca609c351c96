"""A schedule for any hyperparameter, live inside the compiled graph."""

from collections.abc import Mapping
from typing import Any

from keras import ops
from keras.saving import register_keras_serializable

from tfopt._arguments import flag
from tfopt._logged import LoggedCallback
from tfopt.callbacks import _train_step_hooks
from tfopt.callbacks._hyperparameters import Slot, find
from tfopt.schedules import deserialize, serialize
from tfopt.schedules.constant import inner_schedule, inner_value


@register_keras_serializable(package="tfopt")
class HyperparameterScheduler(LoggedCallback):
    """Drive weight decay, momentum, penalties, dropout, … by a schedule each while ``fit`` runs.

    Keras bakes most hyperparameters into the compiled training graph, where later changes do nothing. This callback
    puts variables in their place and sets them inside the graph before each step, so that they are right under
    `jit_compile`, `steps_per_execution` and gradient accumulation (where a schedule counts updates). The step is the
    optimizer's, which is saved with the model: a resumed run goes on where it stopped. When training ends the plain
    numbers are back in the optimizer, and what a checkpoint saves in mid-training has them in its config too.

    Names of hyperparameters:

    - any number of the optimizer: ``"weight_decay"``, ``"momentum"``, ``"beta_1"``, ``"beta_2"``, ``"rho"``,
      ``"ema_momentum"``, ``"learning_rate"`` …;
    - ``"dropout"``: the rate of every dropout layer of `tfopt.layers`; ``"noise"``: the spread of `GaussianNoise`;
    - ``"l1"``, ``"l2"`` or another number of a regularizer: the strength in every layer that has one;
    - ``"dense.kernel_regularizer.l2"``, ``"dropout_1.rate"``: the same in one layer, by its name;
    - ``"label_smoothing"``: of a loss of your own that holds it in a Keras variable. Keras's losses bake it in.

    Logs:
        <name of the hyperparameter>: Its value in the last step of the epoch.

    Args:
        schedules: Dict from names to schedules or numbers.
        log: Bool: put each value, as used by the last step of an epoch, into the logs and the history.

    Raises:
        ValueError: `schedules` is empty; at the start of training: the model has no such hyperparameter.

    Example:
        ```python
        decay = tfopt.schedules.LinearDecay(1e-2, decay_steps=8)
        model = keras.Sequential([keras.layers.Dense(1)])
        model.compile(keras.optimizers.AdamW(weight_decay=1e-2), "mse")
        scheduler = tfopt.callbacks.HyperparameterScheduler({"weight_decay": decay})
        history = model.fit(np.ones((8, 2)), np.ones(8), batch_size=2, epochs=2, verbose=0, callbacks=[scheduler])
        print([round(value, 5) for value in history.history["weight_decay"]])  # [0.00625, 0.00125]
        ```
    """

    def __init__(self, schedules: Mapping[str, Any], log: bool = True):
        super().__init__()
        if not isinstance(schedules, Mapping) or not schedules:
            raise ValueError(
                "Argument `schedules` must be a dict from names of hyperparameters to schedules, such as "
                f"{{'weight_decay': tfopt.schedules.LinearDecay(0.01, 1000)}}. Received: {schedules!r}."
            )
        self.schedules = {
            name: inner_schedule("schedules", deserialize(value) if isinstance(value, Mapping) else value)
            for name, value in schedules.items()
        }
        self.log = flag("log", log)
        self._slots: list[Slot] = []
        self._driven: list[tuple[str, Any]] = []
        self._hooked: Any = None  # the model that is trained, until its training ends

    def on_train_begin(self, logs: Any = None) -> None:
        """Put the variables in place; the next step traces the graph anew."""
        self._release()  # after a training that crashed
        found = {name: find(self.model, name) for name in self.schedules}
        with self.model.distribute_strategy.scope():
            for name, slots in found.items():
                for slot in slots:
                    self._driven.append((name, slot.attach()))
                    self._slots.append(slot)
        self._set_all()
        _train_step_hooks.install(self.model, self._set_all, _train_step_hooks.DRIVE)
        self._hooked = self.model

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Publish the values that the last step used."""
        if self.log and logs is not None:
            for name, variable in reversed(self._driven):
                logs[name] = float(ops.convert_to_numpy(ops.convert_to_tensor(variable)))

    def on_train_end(self, logs: Any = None) -> None:
        """Put the plain numbers back."""
        self._release()

    def _set_all(self) -> None:
        step = ops.cast(self.model.optimizer.iterations, "float64")
        for name, variable in self._driven:
            variable.assign(ops.cast(inner_value(self.schedules[name], step), variable.dtype))

    def _release(self) -> None:
        if self._hooked is not None:
            _train_step_hooks.remove(self._hooked, self._set_all)
        for slot in reversed(self._slots):
            slot.detach()
        self._slots, self._driven, self._hooked = [], [], None

    def get_config(self) -> dict[str, Any]:
        """Return the arguments as plain values."""
        return {"schedules": {name: serialize(value) for name, value in self.schedules.items()}, "log": self.log}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "HyperparameterScheduler":
        """Rebuild the callback with its schedules."""
        return cls(**config)
