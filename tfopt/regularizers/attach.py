"""Penalties for models that are already built, and what the penalties and zeros of a model are."""

import warnings
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from tfopt._arguments import number_argument
from tfopt._layers import path_in_model, sublayers
from tfopt._logged import LoggedCallback
from tfopt.errors import nearest
from tfopt.regularizers.reference import L2SP

if TYPE_CHECKING:
    import pandas as pd

# Arguments of Keras layers that end in `_regularizer`, and so the weights that have one.
_WEIGHTS = ("kernel", "bias", "recurrent_kernel", "depthwise_kernel", "pointwise_kernel", "embeddings", "gamma", "beta")


def attach(
    model: keras.Model,
    regularizer: Any,
    layers: Iterable[str | keras.Layer] | None = None,
    weights: Sequence[str] = ("kernel",),
) -> list[str]:
    """Give the weights of a built or loaded model a penalty that works at once and is saved with the model.

    Use it to fine-tune a model that was trained without penalties, or to change them. Keras reads
    `layer.kernel_regularizer` only when it builds the layer; set later, it does nothing. A penalty that was there
    is replaced; None removes it. A compiled model is traced anew at the next `fit`.

    Args:
        model: Any Keras model, also a subclassed one; layers inside of layers are found.
        regularizer: A penalty, or its name; None for none.
        layers: Names or objects of the layers; None for all that have such a weight.
        weights: Names of the weights: `"kernel"`, `"bias"`, `"recurrent_kernel"`, `"depthwise_kernel"`,
            `"pointwise_kernel"`, `"embeddings"`, `"gamma"`, `"beta"`.

    Returns:
        Paths of the weights that now have the penalty.

    Raises:
        ValueError: A layer or weight that the model does not have.

    Warns:
        UserWarning: A layer does not tell its penalties in its config (a layer of a subclassed model, multi-head
            attention): the penalty works but is not saved. Attach it again after loading.

    Example:
        ```python
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="hidden"), keras.layers.Dense(1)])
        print(tfopt.regularizers.attach(model, tfopt.regularizers.L2(0.1), layers=["hidden"]))  # ['hidden/kernel']
        ```
    """
    from tfopt.regularizers import get  # the package's list of names, complete only once it is imported

    penalty = get(regularizer)
    return _attach(model, lambda weight: penalty, layers, weights)


def attach_l2sp(
    model: keras.Model,
    strength: Any,
    layers: Iterable[str | keras.Layer] | None = None,
    weights: Sequence[str] = ("kernel", "bias"),
) -> list[str]:
    """Pull every weight towards the value it has now: an `L2SP` penalty with its own reference for each.

    Use it right after loading a pretrained model, before fine-tuning it. See `attach` for the other arguments, what
    it returns, raises and warns of.

    Args:
        model: A built model.
        strength: Strength of the penalty: a number, a tensor or a variable.
        layers: Names or objects of the layers; None for all.
        weights: Names of the weights.

    Returns:
        Paths of the weights that now have the penalty.

    Example:
        ```python
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
        tfopt.regularizers.attach_l2sp(model, 0.01)
        print(f"{float(sum(model.losses)):.1f}")  # 0.0
        ```
    """
    return _attach(model, lambda weight: L2SP(strength, weight.numpy()), layers, weights)


def penalties(model: keras.Model) -> dict[str, float]:
    """Return what each layer's weight penalties cost now, by the layer's path.

    Use it to see how much of a loss is penalty, and whose. Activity penalties, which depend on the data, are left out.

    Args:
        model: A built model.

    Returns:
        Cost by layer, for the layers that have a penalty; their sum is the penalty in `loss` and `val_loss`.

    Example:
        ```python
        penalty = tfopt.regularizers.L2(0.1)
        layer = keras.layers.Dense(1, kernel_initializer="ones", kernel_regularizer=penalty, name="out")
        print(f"{tfopt.regularizers.penalties(keras.Sequential([keras.Input((4,)), layer]))['out']:.1f}")  # 0.4
        ```
    """
    costs: dict[str, float] = {}
    for weight in model.trainable_weights:
        if weight.regularizer is not None:
            path = path_in_model(model, weight).rpartition("/")[0]
            costs[path] = costs.get(path, 0.0) + float(weight.regularizer(weight))
    return costs


class PenaltyMonitor(LoggedCallback):
    """Logs the penalty apart from the loss: in all and by layer, at the end of every epoch.

    Use it to see what a falling loss is made of.

    Logs:
        penalty: What all regularizers add to the loss.
        penalty_<layer>: What those of one layer add.
        val_loss_without_penalty: The validation loss, which includes the penalty, without it.

    Example:
        ```python
        layer = keras.layers.Dense(1, kernel_regularizer="l2", name="out")
        model = keras.Sequential([keras.Input((2,)), layer])
        model.compile("sgd", "mse")
        x, y = keras.ops.ones((8, 2)), keras.ops.ones((8, 1))
        history = model.fit(x, y, verbose=0, callbacks=[tfopt.regularizers.PenaltyMonitor()])
        print(sorted(history.history))  # ['loss', 'penalty', 'penalty_out']
        ```
    """

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Add the penalties to the logs."""
        if logs is None:
            return
        costs = penalties(self.model)
        logs["penalty"] = sum(costs.values())
        for path, cost in costs.items():
            logs[f"penalty_{path.replace('/', '_')}"] = cost
        if "val_loss" in logs:
            logs["val_loss_without_penalty"] = logs["val_loss"] - logs["penalty"]


def sparsity(model: keras.Model, tolerance: float = 0.0) -> "pd.DataFrame":
    """Return how many weights are zero, by layer.

    Use it after training with a proximal optimizer: which weights, inputs and units have gone.

    Args:
        model: A built model.
        tolerance: Largest size that still counts as zero; 0 counts exact zeros only.

    Returns:
        A row for every trainable weight and a last one for their total, indexed by path, with the columns `size`,
        `zeros`, `fraction`, `inputs` and `units` (how many there are), `zero_inputs` and `zero_units` (how many have
        only zeros; of matrices and convolution kernels).

    Raises:
        ValueError: The tolerance is negative or not finite.

    Example:
        ```python
        layer = keras.layers.Dense(3, kernel_initializer="zeros", use_bias=False, name="out")
        report = tfopt.regularizers.sparsity(keras.Sequential([keras.Input((2,)), layer]))
        print(report.loc["out/kernel", "zeros"])  # 6
        ```
    """
    import pandas as pd  # `import tfopt` should not pay for it

    number_argument(tolerance, "sparsity", "tolerance", minimum=0)
    rows = {}
    for weight in model.trainable_weights:
        zero = np.abs(weight.numpy()) <= tolerance
        row = {"size": zero.size, "zeros": int(zero.sum()), "fraction": zero.mean() if zero.size else 0.0}
        if zero.ndim >= 2:
            inputs, units = (np.moveaxis(zero, axis, 0).reshape(zero.shape[axis], -1).all(axis=1) for axis in (-2, -1))
            row |= {"inputs": len(inputs), "zero_inputs": int(inputs.sum())}
            row |= {"units": len(units), "zero_units": int(units.sum())}
        rows[path_in_model(model, weight)] = row
    size, zeros = (sum(row[name] for row in rows.values()) for name in ("size", "zeros"))
    rows["total"] = {"size": size, "zeros": zeros, "fraction": zeros / size if size else 0.0}
    columns = ["size", "zeros", "fraction", "inputs", "zero_inputs", "units", "zero_units"]
    frame = pd.DataFrame.from_dict(rows, orient="index").reindex(columns=columns)
    return frame.astype(dict.fromkeys(columns[3:], "Int64"))


def _attach(model: keras.Model, make: Any, layers: Iterable[Any] | None, weights: Sequence[str]) -> list[str]:
    unknown = [name for name in weights if name not in _WEIGHTS]
    if unknown:
        raise ValueError(
            f"Argument `weights` of attach must be among {list(_WEIGHTS)}. "
            f"Received: {unknown[0]!r}.{nearest(unknown[0], _WEIGHTS)}"
        )
    every = [model, *sublayers(model)]
    chosen = every if layers is None else [_find(each, every) for each in layers]
    attached = []
    for layer in chosen:
        for name in weights:
            weight = getattr(layer, name, None)
            if not isinstance(weight, keras.Variable):
                continue
            weight.regularizer = make(weight)
            if hasattr(layer, f"{name}_regularizer"):
                setattr(layer, f"{name}_regularizer", weight.regularizer)
            attached.append((layer, weight))
    if layers is not None and not attached:
        names = ", ".join(layer.name for layer in chosen)
        raise ValueError(f"None of the layers {names} has a built weight named {' or '.join(weights)}.")
    containers = {layer.name for layer in every if isinstance(layer, keras.Model)}
    for _, weight in attached:
        owners = set(weight.path.split("/")[:-1]) - containers
        if weight.regularizer is not None and not _is_saved(model, owners, weight.regularizer):
            warnings.warn(
                f"The penalty on {weight.path} works now but is not part of the model's config: attach it again after "
                "loading.",
                stacklevel=3,
            )
    if model.compiled:
        model.make_train_function(force=True)
        model.make_test_function(force=True)
    return [path_in_model(model, weight) for _, weight in attached]


def _find(wanted: Any, every: list[keras.Layer]) -> keras.Layer:
    for layer in every:
        if layer is wanted or layer.name == wanted:
            return layer
    names = [layer.name for layer in every[1:]]
    raise ValueError(f"The model has no layer {wanted!r}.{nearest(str(wanted), names)} It has: {', '.join(names)}.")


def _is_saved(model: keras.Model, names: set[str], regularizer: Any) -> bool:
    """Whether the model's config holds one of the named layers with this penalty."""
    try:
        config = model.get_config()
    except NotImplementedError:
        return False
    wanted = keras.saving.serialize_keras_object(regularizer)["config"]

    def holds(node: Any, inside: bool) -> bool:
        if isinstance(node, dict):
            here = inside or node.get("name") in names
            return (here and node.get("config") == wanted) or any(holds(value, here) for value in node.values())
        return isinstance(node, (list, tuple)) and any(holds(value, inside) for value in node)

    return holds(config, False)
