"""What each layer's weights are, at the end of an epoch."""

import os
from typing import Any

import keras
import numpy as np

from tfopt._arguments import flag, number, whole_number
from tfopt._logged import LoggedCallback
from tfopt.callbacks._gradient_steps import layer_columns
from tfopt.callbacks._measured import plot_by_layer, publish

_COLUMNS = ("norm", "mean", "std", "sparsity", "equal_units")


class WeightStats(LoggedCallback):
    """Measures the trainable weights: size, spread, zeros, units that are copies of each other, the penalty they pay.

    Use it to watch a penalty produce zeros, to see weights that shrink to nothing or grow without end, and to catch an
    initialisation that leaves units equal, which then stay equal for ever. It only reads, so training is untouched.

    `logs` get `weight_norm`; `weight_sparsity`, the share of kernel weights with ``|w| <= zero``; `weight_equal_units`,
    the share of units whose incoming weights equal another unit's of the same layer; and `weight_penalty`, the sum of
    the weights' regularization losses. The frame has a row a layer and epoch with `norm`, `mean`, `std`, `sparsity` and
    `equal_units`, of the layer's kernels.

    Logs:
        weight_norm: Size of all measured kernels together: the root of the sum of their squares.
        weight_sparsity: Share of kernel weights that are zero.
        weight_equal_units: Share of units that have the same incoming weights as another unit.
        weight_penalty: What the weights add to the loss by their regularizers.
        weight_norm/<layer>: Size of one layer's kernel, with `log_layers`.
        weight_sparsity/<layer>: Share of its weights that are zero, with `log_layers`.

    Args:
        every: Measure at every so many epochs; the others log NaN.
        zero: What counts as zero.
        log_layers: Also log `weight_norm/<layer>` and `weight_sparsity/<layer>`.

    Raises:
        ValueError: If `every` is less than 1 or `zero` is negative.

    Example:
        ```python
        model = keras.Sequential([keras.layers.Dense(4, name="first"), keras.layers.Dense(1, name="second")])
        model.compile("adam", "mse")
        stats = tfopt.callbacks.WeightStats(zero=1e-3)
        model.fit(np.ones((8, 2)), np.ones(8), epochs=2, callbacks=[stats], verbose=0)
        print(stats.to_frame()["layer"].unique().tolist())  # ['first', 'second']
        ```
    """

    def __init__(self, every: int = 1, zero: float = 0.0, log_layers: bool = False) -> None:
        super().__init__()
        self.every = whole_number("every", every)
        self.zero = number("zero", zero, minimum=0, stacked=False)
        self.log_layers = flag("log_layers", log_layers)
        self.history: list[dict[str, Any]] = []

    def __getstate__(self) -> dict[str, Any]:
        """What copies and pickles keep: the settings and the numbers."""
        return self.__dict__ | {"_model": None, "params": None}

    def on_train_begin(self, logs: Any = None) -> None:
        """Start afresh."""
        self.history = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Measure and log."""
        nan = float("nan")
        names = ("weight_norm", "weight_sparsity", "weight_equal_units", "weight_penalty")
        values = dict.fromkeys(names, nan)
        layers = self.measure() if epoch % self.every == 0 else {}
        self.history += [{"epoch": epoch, "layer": name} | row for name, row in layers.items()]
        if layers:
            weights, units = (np.array([row[key] for row in layers.values()]) for key in ("weights", "units"))
            values |= {
                "weight_norm": float(np.sqrt(sum(row["norm"] ** 2 for row in layers.values()))),
                "weight_sparsity": _share([row["sparsity"] for row in layers.values()], weights),
                "weight_equal_units": _share([row["equal_units"] for row in layers.values()], units),
                "weight_penalty": self._penalty(),
            }
        if self.log_layers:
            for name in dict.fromkeys(row["layer"] for row in self.history):
                values[f"weight_norm/{name}"] = layers.get(name, {}).get("norm", nan)
                values[f"weight_sparsity/{name}"] = layers.get(name, {}).get("sparsity", nan)
        publish(self, epoch, logs, values)

    def measure(self) -> dict[str, dict[str, float]]:
        """Measure the weights as they are, by layer."""
        variables = self.model.trainable_variables
        layers = layer_columns([v.path for v in variables], self.model.name)
        measured = {}
        for name, columns in layers.items():
            values = [keras.ops.convert_to_numpy(variables[column]).astype(np.float64) for column in columns]
            kernels = [value for value in values if value.ndim > 1]
            if kernels:
                measured[name] = self._describe(kernels)
        return measured

    def _describe(self, kernels: list[np.ndarray]) -> dict[str, float]:
        flat = np.concatenate([kernel.ravel() for kernel in kernels])
        incoming = [kernel.reshape(-1, kernel.shape[-1]).T for kernel in kernels]
        copies = sum(_count_copies(units) for units in incoming)
        units = sum(len(kernel) for kernel in incoming)
        return {
            "norm": float(np.linalg.norm(flat)),
            "mean": float(flat.mean()),
            "std": float(flat.std()),
            "sparsity": float((np.abs(flat) <= self.zero).mean()),
            "equal_units": copies / units,
            "weights": float(flat.size),
            "units": float(units),
        }

    def _penalty(self) -> float:
        variables = self.model.trainable_variables
        penalised = [v for v in variables if getattr(v, "regularizer", None) is not None]
        return float(sum(float(keras.ops.convert_to_numpy(v.regularizer(v)).sum()) for v in penalised))

    def to_frame(self) -> Any:
        """A row a layer and epoch, as a pandas frame."""
        import pandas as pd  # not needed to train, and slow to import

        return pd.DataFrame(self.history, columns=["epoch", "layer", *_COLUMNS])

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write `to_frame()` to a file."""
        self.to_frame().to_csv(path, index=False)

    def plot(self, ax: Any = None, quantity: str | None = None) -> Any:
        """Draw what was logged by epoch, or one column of the frame, `quantity`, for each layer; return the axes."""
        return super().plot(ax) if quantity is None else plot_by_layer(self.to_frame(), quantity, ax)


def _count_copies(units: np.ndarray) -> int:
    """Units whose incoming weights equal another unit's; a single unit has no other."""
    _, counts = np.unique(units, axis=0, return_counts=True)
    return int(counts[counts > 1].sum())


def _share(shares: list[float], weights: np.ndarray) -> float:
    return float(np.average(shares, weights=weights))
