"""The true gradient norms of training, from a callback alone. TensorFlow only."""

import dataclasses
import os
from typing import Any

import numpy as np

from tfopt._arguments import flag
from tfopt._logged import LoggedCallback
from tfopt.callbacks._gradient_plot import plot_gradient_norms
from tfopt.callbacks._gradient_steps import GradientSteps, decode, layer_columns, noise_scale, total_norm
from tfopt.callbacks._gradient_tap import MISSING, OptimizerTap, TapOptions
from tfopt.callbacks._measured import publish
from tfopt.callbacks._tapped_training import TappedTraining


@dataclasses.dataclass
class _Block:
    """Consecutive steps of one optimizer within one epoch; its variables change when the model is compiled anew."""

    label: str
    epoch: int
    first_step: int
    steps: GradientSteps
    paths: list[str]
    layers: dict[str, list[int]]
    optimizer_names: list[str]


class GradientNorms(LoggedCallback):
    """Measures the gradient of every training step, by layer, without changing the training.

    The norms are those of the very steps that were taken, read inside the training graph after loss unscaling, before
    and after clipping; nothing is computed twice and the trained weights are bit-identical with and without it. Use it
    to see vanishing or exploding gradients and the layers they start in, to choose a clipping threshold, or to stop on
    the norm. List `EarlyStopping` and other callbacks that monitor its keys after it.

    ```
    grad_norm = ‖g‖ = √Σⱼ‖gⱼ‖²        over the variables j, before clipping
    ```

    With gradient accumulation the step's gradient is the average over its micro-batches; with several replicas it is
    the sum over them, as if one device had seen the whole batch, and `grad_norm_clipped` speaks of the first replica,
    since Keras clips before it sums. Steps that loss scaling skipped count as non-finite, not as steps.

    Each epoch's `logs` (and `History`, CSV files, TensorBoard, KerasTuner objectives) get the mean `grad_norm` over
    finite steps, `grad_norm_max` and the count `grad_norm_nonfinite`; when the optimizer clips, the mean
    `grad_norm_applied` and the fraction `grad_norm_clipped` of steps that clipping changed; with accumulation or
    several replicas `grad_noise_scale`, the batch size in examples below which noise dominates (McCandlish et al.,
    2018, https://arxiv.org/abs/1812.06162), beside `grad_batch_size`, the examples behind each full step. A model
    with several optimizers gets these over all of them, and each with the optimizer's attribute name appended.

    Norms below 1e-19 read as 0 and above 1.8e19 as non-finite, since their squares leave float32. A fit with this
    callback traces the train step once more, the next fit of the same compiled model reuses it.

    Logs:
        grad_norm: Mean size of the epoch's gradients, before clipping.
        grad_norm_max: The largest of them.
        grad_norm_nonfinite: Number of steps whose gradient was infinite or not a number.
        grad_norm_applied: Mean size after clipping, where the optimizer clips.
        grad_norm_clipped: Share of steps that clipping changed.
        grad_noise_scale: Batch size below which noise dominates the gradient.
        grad_batch_size: Examples behind each step.
        grad_norm/<layer>: Mean size of one layer's gradient, with `log_layers`.
        update_ratio: Size of a step relative to the weights, with `update_ratio`.
        grad_cosine: Cosine between each gradient and the one before, with `cosine`.

    Args:
        log_layers: Also log `grad_norm/<layer>` for every layer.
        update_ratio: Also record `update_ratio`, the size of each step relative to the weights, ``‖Δw‖/‖w‖``.
        cosine: Also record `grad_cosine`, the cosine between each gradient and the one before. Keeps a copy of the
            gradient; not with several replicas.
        prefix: What the keys begin with.

    Raises:
        ValueError: If `prefix` is empty, or if `cosine` meets several replicas.

    Example:
        ```python
        model = keras.Sequential([keras.layers.Dense(1, kernel_initializer="zeros")])
        model.compile(keras.optimizers.SGD(0.1), "mse")
        norms = tfopt.callbacks.GradientNorms()
        history = model.fit(np.ones((8, 1)), np.ones(8), epochs=3, callbacks=[norms], verbose=0)
        print([f"{value:.2f}" for value in history.history["grad_norm"]])  # ['2.83', '1.70', '1.02']
        print(norms.to_frame()["step"].tolist())  # [0, 1, 2]
        norms.plot().figure.savefig("norms.svg")
        ```
    """

    def __init__(
        self, log_layers: bool = False, update_ratio: bool = False, cosine: bool = False, prefix: str = "grad_norm"
    ) -> None:
        super().__init__()
        if not isinstance(prefix, str) or not prefix:
            raise ValueError(f"Argument `prefix` must be a non-empty string. Received: prefix={prefix!r}.")
        self.prefix = prefix
        self.log_layers, self.cosine = flag("log_layers", log_layers), flag("cosine", cosine)
        self.update_ratio = flag("update_ratio", update_ratio)
        self._blocks: list[_Block] = []
        self._training: TappedTraining | None = None
        self._epoch = 0

    def __getstate__(self) -> dict[str, Any]:
        """What copies and pickles keep: the settings and the numbers, not the model and its graph."""
        return self.__dict__ | {"_model": None, "params": None, "_training": None}

    # Keras's side.

    def on_train_begin(self, logs: Any = None) -> None:
        """Start afresh."""
        self._blocks = []
        self._training = TappedTraining.join(self, TapOptions(self.update_ratio, self.cosine))

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Number the epoch."""
        self._epoch = epoch
        self._running.begin_epoch()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Have the coming step measured."""
        self._running.arm(batch)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Collect the numbers if the buffer is nearly full."""
        self._running.after_batch()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Put the epoch's numbers into `logs`."""
        self._running.deliver()
        publish(self, epoch, logs, self._epoch_logs(epoch))

    def on_train_end(self, logs: Any = None) -> None:
        """Give the model its own train function back."""
        self._running.leave(self)
        self._training = None

    @property
    def _running(self) -> TappedTraining:
        if self._training is None:
            raise RuntimeError("GradientNorms measures what `model.fit` does; pass it to `fit(callbacks=[...])`.")
        return self._training

    def receive(self, tap: OptimizerTap, sections: dict[str, np.ndarray]) -> None:
        """Keep the steps of one optimizer (called by the training it has joined)."""
        paths = [getattr(v, "path", v.name) for v in tap.variables]
        self._blocks.append(
            _Block(
                label=tap.label,
                epoch=self._epoch,
                first_step=sum(len(block.steps) for block in self._blocks if block.label == tap.label),
                steps=decode(tap, sections),
                paths=paths,
                layers=layer_columns(paths, self.model.name),
                optimizer_names=[leaf.optimizer.name for leaf in tap.leaves],
            )
        )

    def _epoch_logs(self, epoch: int) -> dict[str, float]:
        now = [block for block in self._blocks if block.epoch == epoch]
        logs = self._summary([block.steps for block in now])
        labels = self._labels()
        for label in labels if len(labels) > 1 else ():
            own = self._summary([block.steps for block in now if block.label == label])
            logs |= {f"{key}_{label}": value for key, value in own.items()}
        for layer in self.layers if self.log_layers else ():
            norms = [total_norm(b.steps.gradient[:, b.layers[layer]]) for b in now if layer in b.layers]
            logs[f"{self.prefix}/{layer}"] = _finite_mean(np.concatenate(norms or [np.empty(0)]))
        return logs

    def _labels(self) -> list[str]:
        return list(dict.fromkeys(block.label for block in self._blocks))

    def _summary(self, blocks: list[GradientSteps]) -> dict[str, float]:
        norms = np.concatenate([total_norm(block.gradient) for block in blocks] or [np.empty(0)])
        finite = norms[np.isfinite(norms)]
        logs = {
            self.prefix: _finite_mean(norms),
            f"{self.prefix}_max": float(finite.max()) if finite.size else float("nan"),
            f"{self.prefix}_nonfinite": float(sum(block.bad().any(axis=1).sum() for block in blocks))
            if blocks
            else np.nan,
        }
        if any(block.applied is not None for block in blocks):
            applied = [total_norm(block.applied) for block in blocks if block.applied is not None]
            clipped = [block.clipped[block.updated] for block in blocks if block.clipped is not None]
            logs[f"{self.prefix}_applied"] = _finite_mean(np.concatenate(applied))
            logs[f"{self.prefix}_clipped"] = _finite_mean(np.concatenate(clipped).astype(float))
        if any(block.micro is not None for block in blocks):
            logs["grad_noise_scale"] = _noise_scale(blocks)
            logs["grad_batch_size"] = _batch_size(blocks)
        if self.update_ratio:
            logs["update_ratio"] = _finite_mean(np.concatenate([_ratio(block) for block in blocks] or [np.empty(0)]))
        if self.cosine:
            cosines = [block.cosine for block in blocks if block.cosine is not None]
            logs["grad_cosine"] = _finite_mean(np.concatenate(cosines or [np.empty(0)]))
        return logs

    # The user's side.

    @property
    def layers(self) -> list[str]:
        """The layers with gradients, in the model's order."""
        return list(dict.fromkeys(layer for block in self._blocks for layer in block.layers))

    @property
    def history(self) -> dict[str, np.ndarray]:
        """One array a quantity with a value a step: `step`, `epoch`, `grad_norm`, …, `grad_norm/<layer>`, ….

        Where the model has several optimizers their steps follow one another, told apart by `optimizer`. A value that
        does not exist for a step is NaN: the norm of a step that is still accumulating, for one.
        """
        tables = [self._table(block) for label in self._labels() for block in self._blocks if block.label == label]
        keys = list(dict.fromkeys(key for table in tables for key in table))
        if len(self._labels()) < 2:
            keys = [key for key in keys if key != "optimizer"]
        return {
            key: np.concatenate([table.get(key, np.full(len(table["step"]), np.nan)) for table in tables])
            for key in keys
        }

    def _table(self, block: _Block) -> dict[str, np.ndarray]:
        prefix, steps, count = self.prefix, block.steps, len(block.steps)
        table = {
            "step": block.first_step + np.arange(count),
            "epoch": np.full(count, block.epoch),
            "optimizer": np.full(count, block.label),
            prefix: total_norm(steps.gradient),
            f"{prefix}_nonfinite": steps.bad().any(axis=1).astype(float),
        }
        if steps.micro is not None:
            table[f"{prefix}_micro"] = total_norm(steps.micro)
        if steps.applied is not None and steps.clipped is not None:
            table[f"{prefix}_applied"] = total_norm(steps.applied)
            table[f"{prefix}_clipped"] = np.where(steps.updated, steps.clipped, np.nan)
        single = len(block.optimizer_names) == 1
        for i, name in enumerate(block.optimizer_names):
            table["learning_rate" if single else f"learning_rate_{name}"] = steps.learning_rate[:, i]
        if self.update_ratio:
            table["update_ratio"] = _ratio(steps)
        if self.cosine and steps.cosine is not None:
            table["grad_cosine"] = steps.cosine
        for layer, columns in block.layers.items():
            table[f"{prefix}/{layer}"] = total_norm(steps.gradient[:, columns])
            if self.update_ratio:
                table[f"update_ratio/{layer}"] = _ratio(steps, columns)
        return table

    @property
    def nonfinite(self) -> list[dict[str, Any]]:
        """The steps with inf or NaN in a gradient: `step`, `epoch`, the `layers` it was in, and whether `skipped`.

        Backpropagation spreads such values towards the input, so the last of the layers is the nearest to the cause.
        """
        found = []
        for block in self._blocks:
            bad = block.steps.bad()
            for i in np.flatnonzero(bad.any(axis=1)):
                found.append(
                    {
                        "step": block.first_step + int(i),
                        "epoch": block.epoch,
                        "layers": [layer for layer, columns in block.layers.items() if bad[i, columns].any()],
                        "skipped": not bool(block.steps.updated[i]),
                    }
                )
        return found

    @property
    def noise_scale(self) -> float:
        """The gradient noise scale over the whole fit, in examples; NaN without accumulation or replicas."""
        return _noise_scale([block.steps for block in self._blocks])

    def to_frame(self, by: str = "layer") -> Any:
        """`history` as a pandas frame, or with `by="variable"` the norm of each variable's gradient."""
        import pandas as pd  # not needed to train, and slow to import

        if by not in ("layer", "variable"):
            raise ValueError(f"Argument `by` must be 'layer' or 'variable'. Received: by={by!r}.")
        if by == "layer":
            return pd.DataFrame(self.history)
        frames = []
        for block in self._blocks:
            squares = np.where(block.steps.gradient == MISSING, np.nan, block.steps.gradient)
            frame = pd.DataFrame(np.sqrt(squares), columns=block.paths)
            frame.insert(0, "step", block.first_step + np.arange(len(frame)))
            frames.append(frame)
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write `to_frame()` to a file."""
        self.to_frame().to_csv(path, index=False)

    def plot(self, ax: Any = None) -> Any:
        """Draw layer by step as a heat map, the global norm above it and the learning rate below.

        A row that fades to dark names the layer where gradients vanish; a column that flashes, the step that exploded.

        Args:
            ax: The axes for the heat map; the two strips take their room from it. A new figure if None.

        Returns:
            The axes of the heat map.
        """
        return plot_gradient_norms(self.history, self.layers, self.prefix, ax)


def _finite_mean(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else float("nan")


def _ratio(steps: GradientSteps, columns: Any = slice(None)) -> np.ndarray:
    """``‖Δw‖/‖w‖``; NaN for steps that did not move the weights, and for weights that are all zero."""
    if steps.update is None or steps.parameter is None:
        return np.full(len(steps), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = total_norm(steps.update[:, columns]) / total_norm(steps.parameter[:, columns])
    return np.where(steps.updated & np.isfinite(ratio), ratio, np.nan)


def _noise_scale(blocks: list[GradientSteps]) -> float:
    parts = [block for block in blocks if block.micro is not None]
    if not parts:
        return float("nan")
    return noise_scale(
        np.concatenate([total_norm(block.micro) ** 2 for block in parts if block.micro is not None]),
        np.concatenate([total_norm(block.gradient) ** 2 for block in parts]),
        np.concatenate([block.batch_size for block in parts]),
        np.concatenate([block.updated for block in parts]),
        parts[0].num_parts,
    )


def _batch_size(blocks: list[GradientSteps]) -> float:
    sizes = np.concatenate([block.batch_size for block in blocks if block.micro is not None])
    return float(np.nanmax(sizes, initial=-np.inf)) * max(block.num_parts for block in blocks)
