"""Another learning rate for each layer, with any optimizer."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from keras import ops
from keras.saving import register_keras_serializable

from tfopt._arguments import number
from tfopt._layers import innermost_optimizers
from tfopt._logged import LoggedCallback
from tfopt.schedules import deserialize, serialize
from tfopt.schedules.constant import inner_schedule, inner_value


@register_keras_serializable(package="tfopt")
class LearningRateMultipliers(LoggedCallback):
    """Multiply the learning rate of some variables: small steps in a pretrained body, full ones in a new head.

    Works with every optimizer, schedule and compile mode, and leaves the optimizer as it was when training ends. The
    decoupled weight decay of AdamW goes on using the undivided rate.

    Args:
        multipliers: Dict from regular expressions to numbers ≥ 0 or schedules (thawing a body: a schedule from 0). A
            variable takes that of the first expression found in its path, such as ``"encoder/dense/kernel"``; others
            keep their rate. 0 freezes.
        depth_decay: Float > 0 or None: besides, multiply by its power of the number of layers with weights above.

    Raises:
        ValueError: Neither is given, a number is out of bounds; at the start of training: an expression fits no
            variable.

    Example:
        ```python
        model = keras.Sequential([keras.layers.Dense(3, name="body"), keras.layers.Dense(1, name="head")])
        model.compile("adam", "mse")
        slow_body = tfopt.callbacks.LearningRateMultipliers({"body": 0.1})
        history = model.fit(np.ones((8, 2)), np.ones(8), verbose=0, callbacks=[slow_body])
        ```

    References:
        - Howard, Ruder (2018), "Universal Language Model Fine-tuning for Text Classification",
          https://arxiv.org/abs/1801.06146
        - Bao, Dong, Piao, Wei (2022), "BEiT: BERT Pre-Training of Image Transformers", for the decay by depth,
          https://arxiv.org/abs/2106.08254
    """

    def __init__(self, multipliers: Mapping[str, Any] | None = None, depth_decay: float | None = None):
        super().__init__()
        if not multipliers and depth_decay is None:
            raise ValueError("Give `multipliers`, such as {'encoder': 0.1}, or `depth_decay`, such as 0.75, or both.")
        if not isinstance(multipliers, Mapping | None):
            raise TypeError(
                "Argument `multipliers` must be a dict from patterns of names to numbers or schedules. Received: "
                f"multipliers={multipliers!r}."
            )
        self.multipliers = {
            pattern: inner_schedule("multipliers", deserialize(value) if isinstance(value, Mapping) else value)
            for pattern, value in (multipliers or {}).items()
        }
        self.depth_decay = None if depth_decay is None else number("depth_decay", depth_decay, above=0, stacked=False)
        self._patched: list[Any] = []

    def on_train_begin(self, logs: Any = None) -> None:
        """Scale the rate that each variable's update is given."""
        self._release()  # after a training that crashed
        self._by_variable: dict[int, list[Any]] = {}
        if self.model.built:
            self._resolve()
        for optimizer in innermost_optimizers(self.model.optimizer):
            self._patch(optimizer)
        self.model.make_train_function(force=True)

    def on_train_end(self, logs: Any = None) -> None:
        """Put the optimizer's own update back."""
        self._release()

    def factors(self, variables: Sequence[Any]) -> list[list[Any]]:
        """Return the schedules whose values multiply the rate of each of a model's trainable variables.

        Raises:
            ValueError: An expression fits no variable.
        """
        for pattern in self.multipliers:
            if not any(re.search(pattern, variable.path) for variable in variables):
                raise ValueError(
                    f"The expression {pattern!r} fits no trainable variable. There are: "
                    f"{', '.join(variable.path for variable in variables)}."
                )
        layers = list(dict.fromkeys(variable.path.rpartition("/")[0] for variable in variables))
        found = []
        for variable in variables:
            own = [value for pattern, value in self.multipliers.items() if re.search(pattern, variable.path)][:1]
            if self.depth_decay is not None:
                above = len(layers) - 1 - layers.index(variable.path.rpartition("/")[0])
                own.append(inner_schedule("depth_decay", self.depth_decay**above))
            found.append(own)
        return found

    def _resolve(self) -> None:
        """Find the factors of every variable; a model without input shape has its variables with the first batch."""
        variables = self.model.trainable_variables
        for variable, factors in zip(variables, self.factors(variables), strict=True):
            # An optimizer updates TensorFlow's variable within Keras's, and with several replicas each one's own part.
            for part in [variable.value, *self.model.distribute_strategy.experimental_local_results(variable.value)]:
                self._by_variable[id(part)] = factors

    def _patch(self, optimizer: Any) -> None:
        update_step = optimizer.update_step

        def scaled_update_step(gradient: Any, variable: Any, learning_rate: Any) -> Any:
            if not self._by_variable:
                self._resolve()
            step = ops.cast(optimizer.iterations, "float64")
            for factor in self._by_variable.get(id(variable), []):
                learning_rate = ops.multiply(learning_rate, ops.cast(inner_value(factor, step), learning_rate.dtype))
            return update_step(gradient, variable, learning_rate)

        object.__setattr__(optimizer, "update_step", scaled_update_step)
        self._patched.append(optimizer)

    def _release(self) -> None:
        for optimizer in self._patched:
            object.__delattr__(optimizer, "update_step")
        if self._patched:
            self.model.make_train_function(force=True)
        self._patched = []

    def get_config(self) -> dict[str, Any]:
        """Return the arguments as plain values."""
        multipliers = {pattern: serialize(value) for pattern, value in self.multipliers.items()}
        return {"multipliers": multipliers, "depth_decay": self.depth_decay}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "LearningRateMultipliers":
        """Rebuild the callback with its schedules."""
        return cls(**config)
