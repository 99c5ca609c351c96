"""What dropout does to a model while it trains, measured beside the training. TensorFlow only."""

import itertools
import logging
import os
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfopt._arguments import flag, whole_number
from tfopt._logged import LoggedCallback
from tfopt.callbacks._dropout_probe import DropoutProbe, effects_of_layer
from tfopt.callbacks._measured import plot_by_layer, publish

_logger = logging.getLogger("tfopt")
_KEYS = ("gap", "flip_rate", "mutual_info")


class DropoutEffects(LoggedCallback):
    """Measures what each dropout layer does on a probe batch, without touching the training.

    Use it to see whether dropout has any effect, is too strong, or explains that the training loss lies above the
    validation loss: the gap *is* that difference. All layers that drop are found: Dropout, spatial, Gaussian and alpha
    dropout, tfopt's changing ones, dropout and recurrent dropout of RNNs, attention's, shared and nested layers, and
    custom layers with a `seed_generator`. Everything else runs in inference mode, and training's random streams,
    moving statistics and weights stay bit-identical. The same masks come back at each epoch, so curves are comparable.

    Per epoch, in `logs` and in the frame, with f₀ the model without and f₁ … f_R with dropout:

    ```
    dropout_gap          mean loss(f_r) − loss(f₀)
    dropout_flip_rate    share of examples and draws whose predicted class changes
    dropout_mutual_info  H[p̄] − mean H[p_r] in nats: how much the draws disagree (Gal and Ghahramani, 2016)
    ```

    The frame adds `entropy` (H[p̄]), `loss_off` and `loss_on`. A regression has no classes, so its flip rate, entropy
    and mutual information are NaN and `dropout_variance`, the mean variance over the draws, joins the logs.

    By layer, from its input a and output d (not for dropout inside RNNs and attention): `rate`; `drop_fraction` of the
    units that were not zero; `mean_shift` in standard deviations; `variance_ratio` Var d / Var a and
    `variance_ratio_theory` = ((c² + v)/(1 − p) − c²)/v with mean c and variance v of a, the shift that upsets a
    normalisation placed after dropout (Li et al., 2019, https://arxiv.org/abs/1801.05134); `sparsity` and
    `dead_units` of a; `coadaptation`, the mean absolute correlation between units (at most 256), beside
    `coadaptation_floor`, what independent units show by chance (Srivastava et al., 2014,
    https://jmlr.org/papers/v15/srivastava14a.html).

    Logs:
        dropout_gap: How much dropout raises the loss on the probe.
        dropout_flip_rate: How often dropout changes the predicted class.
        dropout_mutual_info: How much predictions under different masks disagree, in nats.
        dropout_variance: Variance of a regression's predictions over the masks.

    Args:
        probe: Tuple `(x, y)` or `(x, y, sample_weight)`: some 100 examples, best of the validation data.
        draws: Random masks per measurement.
        every: Measure at every so many epochs; the others log NaN.
        each_layer: Also measure `gap_only` (the gap with only this layer dropping) and `gap_without` (all others).
        gradient_directions: Also measure how dropout turns the gradients of eighths of the probe: `direction_spread`,
            mean (1 − cos(gᵢ, gⱼ))/2, and `direction_error`, mean (1 − cos(gᵢ, ĝ))/2 against the gradient ĝ of the whole
            probe without dropout, each `_on` and `_off` (Liu et al., 2023, https://arxiv.org/abs/2303.01500).
        from_logits: Whether the model's (first) output is logits; None to read it off the loss.
        seed: Seed of the masks.

    Raises:
        ValueError: If `probe` is no such tuple or `draws` or `every` is less than 1.

    Example:
        ```python
        x, y = np.eye(8), np.arange(8.0)
        model = keras.Sequential([keras.Input((8,)), keras.layers.Dropout(0.5, name="drop"), keras.layers.Dense(1)])
        model.compile("adam", "mse")
        effects = tfopt.callbacks.DropoutEffects((x, y))
        history = model.fit(x, y, epochs=2, callbacks=[effects], verbose=0)
        print(len(history.history["dropout_gap"]))  # 2, the loss that dropout adds in each epoch
        print(effects.to_frame(by="layer")["layer"].unique().tolist())  # ['drop']
        ```
    """

    def __init__(
        self,
        probe: Sequence[Any],
        draws: int = 8,
        every: int = 1,
        each_layer: bool = False,
        gradient_directions: bool = False,
        from_logits: bool | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not isinstance(probe, list | tuple) or len(probe) not in (2, 3):
            raise ValueError(
                f"Argument `probe` must be a tuple (x, y) or (x, y, sample_weight). Received: {type(probe).__name__}"
                f"{f' of length {len(probe)}' if isinstance(probe, list | tuple) else ''}."
            )
        self.probe, self.seed = tuple(probe), whole_number("seed", seed, minimum=-(2**63))
        self.draws, self.every = whole_number("draws", draws), whole_number("every", every)
        self.each_layer = flag("each_layer", each_layer)
        self.gradient_directions = flag("gradient_directions", gradient_directions)
        self.from_logits = None if from_logits is None else flag("from_logits", from_logits)
        self.history: list[dict[str, Any]] = []
        self._forget()

    def _forget(self) -> None:
        self._probe: DropoutProbe | None = None
        self._forward: Any = None
        self._statistics: Any = None
        self._gradients: Any = None

    def __getstate__(self) -> dict[str, Any]:
        """What copies and pickles keep: the settings, the probe batch and the numbers."""
        runtime = ("_model", "params", "_probe", "_forward", "_statistics", "_gradients")
        return self.__dict__ | dict.fromkeys(runtime)

    def on_train_begin(self, logs: Any = None) -> None:
        """Start afresh."""
        self.history = []
        self._forget()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Measure and log."""
        if epoch % self.every == 0:
            measured = self.measure()
            self.history.append({"epoch": epoch} | measured)
        else:
            measured = {}
        keys = [*_KEYS, *(["variance"] if self.history and not self._is_classification() else [])]
        publish(self, epoch, logs, {f"dropout_{key}": measured.get(key, float("nan")) for key in keys})

    def on_train_end(self, logs: Any = None) -> None:
        """Let the traced functions go."""
        self._forget()

    # Measuring.

    def measure(self) -> dict[str, Any]:
        """Measure the model as it is: the quantities of an epoch, with one dict a layer under `layers`."""
        if self._probe is None:
            self._build()
        probe: Any = self._probe
        probe.rewind()
        # The loss of a model with several outputs keeps running means; they are training's.
        running = [(variable, tf.identity(variable)) for variable in self.model.metrics_variables]
        try:
            return self._measure(probe)
        finally:
            for variable, value in running:
                variable.assign(value)

    def _measure(self, probe: DropoutProbe) -> dict[str, Any]:
        loss_off, plain = self._forward(probe.flags(False))
        runs = [self._forward(probe.flags(True)) for _ in range(self.draws)]
        loss_on = float(np.mean([float(loss) for loss, _ in runs]))
        measured: dict[str, Any] = {"loss_off": float(loss_off), "loss_on": loss_on, "gap": loss_on - float(loss_off)}
        measured |= self._disagreement(plain.numpy(), np.stack([output.numpy() for _, output in runs]))
        layers: dict[str, dict[str, Any]] = {name: {} for name in probe.names}
        for name, effects in self._statistics(probe.flags(True)).items():
            layers[name] |= {key: float(value) for key, value in effects.items()}
        for name in probe.names:
            layers[name]["always_on"] = name in probe.always_on
        if self.each_layer:
            self._ablate(probe, float(loss_off), layers)
        if self.gradient_directions:
            measured |= self._directions(probe)
        return measured | {"layers": layers}

    def _build(self) -> None:
        model = self.model
        probe = self._probe = DropoutProbe(model, self.seed)
        if not probe.layers:
            _logger.warning("DropoutEffects: no layer of %r drops, so every effect is 0.", model.name)
        x, y, weight = (*self.probe, None)[:3]
        x, y, weight = (
            None if part is None else keras.tree.map_structure(tf.convert_to_tensor, part) for part in (x, y, weight)
        )

        def forward_on(x: Any, y: Any, weight: Any) -> tuple[Any, Any]:
            output = model(x, training=False)
            return output, tf.cast(model.compute_loss(x=x, y=y, y_pred=output, sample_weight=weight), tf.float32)

        def forward(flags: Any) -> Any:
            with probe.live(flags):
                output, loss = forward_on(x, y, weight)
            return loss, self._probabilities(keras.tree.flatten(output)[0])

        def statistics(flags: Any) -> Any:
            found: dict[str, list[dict[str, Any]]] = {}

            def capture(index: int, inputs: Any, dropped: Any) -> None:
                found.setdefault(probe.names[index], []).append(effects_of_layer(probe.layers[index], inputs, dropped))

            with probe.live(flags, capture):
                model(x, training=False)
            # A shared layer is called several times: the mean over its calls.
            return {
                name: {key: tf.add_n([call[key] for call in calls]) / len(calls) for key in calls[0]}
                for name, calls in found.items()
            }

        @tf.function(reduce_retracing=True)
        def gradients(flags: Any, x: Any, y: Any, weight: Any) -> Any:
            variables = [v.value for v in model.trainable_variables]
            with probe.live(flags), tf.GradientTape() as tape:
                _, loss = forward_on(x, y, weight)
            slopes = tape.gradient(loss, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
            return tf.concat([tf.reshape(tf.cast(slope, tf.float32), [-1]) for slope in slopes], axis=0)

        # Concrete functions: TensorFlow counts the tracings of one piece of code over all models, and warns.
        flag = tf.TensorSpec([len(probe.layers)], tf.bool)
        self._forward, self._statistics = (tf.function(f).get_concrete_function(flag) for f in (forward, statistics))
        size = len(keras.tree.flatten(x)[0])
        bounds = np.unique(np.linspace(0, size, 9).astype(int))
        parts = [
            tuple(
                None if part is None else keras.tree.map_structure(lambda t, a=a, b=b: t[a:b], part)
                for part in (x, y, weight)
            )
            for a, b in itertools.pairwise(bounds)
        ]
        self._gradients = lambda flags: (gradients(flags, x, y, weight), [gradients(flags, *part) for part in parts])

    def _is_classification(self) -> bool:
        return bool(self.history) and np.isfinite(self.history[-1]["entropy"])

    def _probabilities(self, output: Any) -> Any:
        """Class probabilities of a classifier's output; a regression's output as it is."""
        output = tf.cast(output, tf.float32)
        kind, from_logits = _read_loss(self.model.loss)
        if self.from_logits is not None:
            kind, from_logits = kind or "classes", self.from_logits
        self._kind = kind
        if kind is None:
            return output
        if output.shape[-1] == 1 or kind == "labels":
            positive = tf.sigmoid(output) if from_logits else output
            if output.shape[-1] == 1:
                return tf.concat([1.0 - positive, positive], axis=-1)
            return tf.stack([1.0 - positive, positive], axis=-1)  # each label for itself
        return tf.nn.softmax(output) if from_logits else output

    def _disagreement(self, plain: np.ndarray, drawn: np.ndarray) -> dict[str, float]:
        if self._kind is None:
            nothing = dict.fromkeys(("flip_rate", "entropy", "mutual_info"), float("nan"))
            return nothing | {"variance": float(drawn.var(axis=0).mean())}
        entropy, mutual = entropy_and_information(drawn)
        flips = (drawn.argmax(axis=-1) != plain.argmax(axis=-1)[None]).mean()
        return {"flip_rate": float(flips), "entropy": float(entropy.mean()), "mutual_info": float(mutual.mean())}

    def _ablate(self, probe: DropoutProbe, loss_off: float, layers: dict[str, dict[str, Any]]) -> None:
        for index, name in enumerate(probe.names):
            only = [other == index for other in range(len(probe.names))]
            for key, flags in (("gap_only", only), ("gap_without", [not is_on for is_on in only])):
                losses = [float(self._forward(probe.flags(flags))[0]) for _ in range(self.draws)]
                layers[name][key] = float(np.mean(losses)) - loss_off

    def _directions(self, probe: DropoutProbe) -> dict[str, float]:
        whole, off = self._gradients(probe.flags(False))
        _, on = self._gradients(probe.flags(True))
        measured = {}
        for name, slopes in (("on", on), ("off", off)):
            units = _directions_of(np.stack([slope.numpy() for slope in slopes]))
            cosines = (units @ units.T)[np.triu_indices(len(units), 1)]
            measured[f"direction_spread_{name}"] = float(np.mean((1 - cosines) / 2)) if cosines.size else float("nan")
            measured[f"direction_error_{name}"] = float(np.mean((1 - units @ _directions_of(whole.numpy())) / 2))
        return measured

    # The user's side.

    def to_frame(self, by: str = "epoch") -> Any:
        """A row an epoch, or with `by="layer"` a row a layer and epoch, as a pandas frame."""
        import pandas as pd  # not needed to train, and slow to import

        if by not in ("epoch", "layer"):
            raise ValueError(f"Argument `by` must be 'epoch' or 'layer'. Received: by={by!r}.")
        if by == "epoch":
            return pd.DataFrame([{key: value for key, value in row.items() if key != "layers"} for row in self.history])
        rows = [
            {"epoch": row["epoch"], "layer": name} | effects
            for row in self.history
            for name, effects in row["layers"].items()
        ]
        return pd.DataFrame(rows)

    def to_csv(self, path: str | os.PathLike[str], by: str = "epoch") -> None:
        """Write `to_frame(by)` to a file."""
        self.to_frame(by).to_csv(path, index=False)

    def plot(self, ax: Any = None, quantity: str | None = None) -> Any:
        """Draw what was logged by epoch, or one quantity of each layer.

        Args:
            ax: Axes to draw into; new ones if None.
            quantity: A column of `to_frame(by="layer")`, such as `"coadaptation"` or `"drop_fraction"`.

        Returns:
            The axes: an array of several panels.
        """
        if quantity is None:
            return super().plot(ax)
        floor = "coadaptation_floor" if quantity == "coadaptation" else None
        return plot_by_layer(self.to_frame(by="layer"), quantity, ax, floor=floor)


def _read_loss(loss: Any) -> tuple[str | None, bool]:
    """Whether a compiled loss tells classes apart (`"classes"`), single labels (`"labels"`) or neither; and logits."""
    first = keras.tree.flatten(loss)[0] if isinstance(loss, list | tuple | dict) else loss
    if isinstance(first, str):
        first = keras.losses.get(first)
    name = type(first).__name__ if isinstance(first, keras.losses.Loss) else getattr(first, "__name__", "")
    flat = name.replace("_", "").lower()
    config = first.get_config() if isinstance(first, keras.losses.Loss) else {}
    from_logits = bool(config.get("from_logits", False))
    if "categorical" in flat and ("crossentropy" in flat or "focal" in flat):
        return "classes", from_logits
    if "binary" in flat and ("crossentropy" in flat or "focal" in flat):
        return "labels", from_logits
    return None, False


def entropy_and_information(drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Entropy of the mean prediction, and the draws' mutual information with it, in nats.

    Args:
        drawn: Probabilities ``[draws, …, classes]``.
    """

    def entropy(p: np.ndarray) -> np.ndarray:
        return -np.sum(p * np.log(np.clip(p, 1e-12, None)), axis=-1)

    total = entropy(drawn.mean(axis=0))
    return total, np.clip(total - entropy(drawn).mean(axis=0), 0.0, None)


def _directions_of(slopes: np.ndarray) -> np.ndarray:
    return slopes / np.maximum(np.linalg.norm(slopes, axis=-1, keepdims=True), 1e-30)
