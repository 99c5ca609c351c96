"""What each layer puts out, on a probe batch. TensorFlow only."""

import os
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfopt._arguments import flag, number, whole_number
from tfopt._layers import distinct_paths, sublayers
from tfopt._logged import LoggedCallback
from tfopt.callbacks._measured import plot_by_layer, publish

_COLUMNS = ("mean", "std", "near_zero", "dead_units")


class ActivationStats(LoggedCallback):
    """Measures every layer's output on a probe batch: mean, spread, share near zero, dead units.

    Use it to see activations that shrink or grow with depth (a wrong initialisation) and ReLU units that no example
    switches on any more (a learning rate or negative bias too large; Lu et al., 2019,
    https://arxiv.org/abs/1903.06733). The model runs in inference mode and training stays bit-identical.

    `logs` get `dead_units`, the share over all units of the measured layers; the frame has a row a layer and epoch with
    `mean`, `std`, `near_zero` (share with ``|a| <= near_zero``) and `dead_units` (share of units that are 0 for the
    whole batch). Layers with weights and activation layers are measured; the steps of an RNN's cell are not, only its
    output.

    Logs:
        dead_units: Share of the measured layers' units that are 0 for the whole probe batch.
        dead_units/<layer>: The same of one layer, with `log_layers`.
        activation_std/<layer>: Standard deviation of what a layer puts out, with `log_layers`.

    Args:
        probe: Inputs, as for `model.predict`: an array, or a list or dict of arrays. Some 100 examples.
        every: Measure at every so many epochs; the others log NaN.
        near_zero: What counts as near zero.
        log_layers: Also log `dead_units/<layer>` and `activation_std/<layer>`.

    Raises:
        ValueError: If `every` is less than 1 or `near_zero` is negative.
        TypeError: If an argument is of another type.

    Example:
        ```python
        x, y = np.eye(8), np.arange(8.0)
        model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, "relu"), keras.layers.Dense(1)])
        model.compile("adam", "mse")
        stats = tfopt.callbacks.ActivationStats(x)
        model.fit(x, y, epochs=3, callbacks=[stats], verbose=0)
        print(stats.to_frame().query("epoch == 2")["units"].tolist())  # [4.0, 1.0]
        ```
    """

    def __init__(self, probe: Any, every: int = 1, near_zero: float = 0.05, log_layers: bool = False) -> None:
        super().__init__()
        arrays = keras.tree.flatten(probe)
        if not arrays or not all(map(np.ndim, arrays)):
            raise TypeError(
                "Argument `probe` must be an array, or a list or dict of arrays, with an example a row. Received: "
                f"probe={probe!r}."
            )
        self.probe, self.every = probe, whole_number("every", every)
        self.near_zero = number("near_zero", near_zero, minimum=0, stacked=False)
        self.log_layers = flag("log_layers", log_layers)
        self.history: list[dict[str, Any]] = []
        self._statistics: Any = None

    def __getstate__(self) -> dict[str, Any]:
        """What copies and pickles keep: the settings, the probe batch and the numbers."""
        return self.__dict__ | {"_model": None, "params": None, "_statistics": None}

    def on_train_begin(self, logs: Any = None) -> None:
        """Start afresh."""
        self.history, self._statistics = [], None

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Measure and log."""
        measured = self.measure() if epoch % self.every == 0 else {}
        self.history += [{"epoch": epoch, "layer": name} | row for name, row in measured.items()]
        units = sum(row["units"] for row in measured.values())
        dead = sum(row["dead_units"] * row["units"] for row in measured.values())
        values = {"dead_units": dead / units if units else float("nan")}
        if self.log_layers:
            for name in dict.fromkeys(row["layer"] for row in self.history):
                row = measured.get(name, {})
                values[f"dead_units/{name}"] = row.get("dead_units", float("nan"))
                values[f"activation_std/{name}"] = row.get("std", float("nan"))
        publish(self, epoch, logs, values)

    def on_train_end(self, logs: Any = None) -> None:
        """Let the traced function go."""
        self._statistics = None

    def measure(self) -> dict[str, dict[str, float]]:
        """Measure the model as it is, by layer."""
        if self._statistics is None:
            self._build()
        return {name: {key: float(v) for key, v in row.items()} for name, row in self._statistics().items()}

    def _build(self) -> None:
        model = self.model
        layers = [layer for layer in sublayers(model) if _is_measured(layer)]
        names = distinct_paths(model, layers)
        inputs = keras.tree.map_structure(tf.convert_to_tensor, self.probe)

        def statistics() -> dict[str, dict[str, tf.Tensor]]:
            found: dict[str, list[dict[str, tf.Tensor]]] = {}
            graph = tf.compat.v1.get_default_graph()

            def watched(name: str, call: Any) -> Any:
                def run(*arguments: Any, **keywords: Any) -> Any:
                    result = call(*arguments, **keywords)
                    first = keras.tree.flatten(result)[0]
                    # Tensors of a loop's body cannot leave it.
                    if tf.compat.v1.get_default_graph() is graph:
                        found.setdefault(name, []).append(self._describe(first))
                    return result

                return run

            wrapped = []
            try:
                for name, layer in zip(names, layers, strict=True):
                    object.__setattr__(layer, "call", watched(name, layer.call))
                    wrapped.append(layer)
                model(inputs, training=False)
            finally:
                for layer in wrapped:
                    object.__delattr__(layer, "call")
            return {
                name: {key: tf.add_n([call[key] for call in calls]) / len(calls) for key in calls[0]}
                for name, calls in found.items()
            }

        # A concrete function: TensorFlow counts the tracings of one piece of code over all models, and warns.
        self._statistics = tf.function(statistics).get_concrete_function()

    def _describe(self, output: Any) -> dict[str, tf.Tensor]:
        a = tf.cast(output, tf.float32)
        units = tf.reshape(a, [-1, a.shape[-1]]) if a.shape.rank else tf.reshape(a, [1, 1])
        return {
            "mean": tf.reduce_mean(a),
            "std": tf.math.reduce_std(a),
            "near_zero": tf.reduce_mean(tf.cast(tf.abs(a) <= self.near_zero, tf.float32)),
            "dead_units": tf.reduce_mean(tf.cast(tf.reduce_max(tf.abs(units), axis=0) <= 0.0, tf.float32)),
            "units": tf.cast(tf.shape(units)[1], tf.float32),
        }

    def to_frame(self) -> Any:
        """A row a layer and epoch, as a pandas frame."""
        import pandas as pd  # not needed to train, and slow to import

        return pd.DataFrame(self.history, columns=["epoch", "layer", *_COLUMNS, "units"])

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write `to_frame()` to a file."""
        self.to_frame().to_csv(path, index=False)

    def plot(self, ax: Any = None, quantity: str | None = None) -> Any:
        """Draw what was logged by epoch, or one column of the frame, `quantity`, for each layer; return the axes."""
        return super().plot(ax) if quantity is None else plot_by_layer(self.to_frame(), quantity, ax)


def _is_measured(layer: Any) -> bool:
    if isinstance(layer, keras.Model | keras.layers.InputLayer) or "call" in vars(layer):
        return False
    is_activation = ".activations." in type(layer).__module__ or isinstance(layer, keras.layers.Activation)
    return is_activation or bool(layer.weights)
