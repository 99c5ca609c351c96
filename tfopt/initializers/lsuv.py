"""Layer-sequential unit variance: initialisation that looks at the data."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from tfopt._arguments import count_argument, flag, number_argument
from tfopt._layers import sublayers
from tfopt.errors import nearest

if TYPE_CHECKING:
    import pandas as pd


class _Measured(Exception):
    """Ends a forward pass once the layer in question has been measured."""


def lsuv(
    model: keras.Model,
    x: Any,
    target: float = 1.0,
    tolerance: float = 0.02,
    max_iterations: int = 10,
    layers: Iterable[str | keras.Layer] | None = None,
    orthogonal: bool = True,
    seed: int = 0,
) -> "pd.DataFrame":
    """Scale every layer's kernel, first to last, until its output on a batch has a standard deviation of one.

    Use it once, before training, where no rule knows the network: odd activations, skip connections, mixtures of
    layers. Works on Sequential, functional and subclassed models, with dense, convolution and attention kernels; what
    is measured is the sum before the activation, in inference mode. Kernels change, and nothing else: biases,
    normalisation statistics and all random states stay as they are.

    Args:
        model: The model; it is built by `x` if it is not yet.
        x: A batch of inputs, as the model takes them; a few hundred rows.
        target: Standard deviation to reach.
        tolerance: How near, relative to `target`.
        max_iterations: Times a layer is measured and scaled at most.
        layers: Names or objects of the layers; None for all that have a kernel.
        orthogonal: Whether the kernels are first filled with orthonormal columns, as in the paper; False scales what
            is there.
        seed: Seed of the orthonormal columns.

    Returns:
        A row a layer in the order of the forward pass: `layer`, `before` and `after` (standard deviations of the
        output), `iterations`.

    Raises:
        ValueError: A layer whose output is constant or not finite, or one that the forward pass does not reach.

    Example:
        ```python
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(8)])
        x = keras.random.normal((256, 4), stddev=5.0, seed=0)
        print(tfopt.initializers.lsuv(model, x)["after"].round(1).tolist())  # [1.0, 1.0]
        ```

    References:
        - Mishkin, Matas (2016), "All you need is a good init", https://arxiv.org/abs/1511.06422
    """
    import pandas as pd  # `import tfopt` should not pay for it

    number_argument(target, "lsuv", "target", minimum=0, exclusive=True)
    number_argument(tolerance, "lsuv", "tolerance", minimum=0, exclusive=True)
    count_argument(max_iterations, "lsuv", "max_iterations")
    orthogonal, seed = flag("orthogonal", orthogonal, "lsuv"), count_argument(seed, "lsuv", "seed", 0)
    if not model.built:
        model(x, training=False)
    wanted = None if layers is None else _names(layers, [layer.name for layer in [model, *sublayers(model)]])
    scalable = [layer for layer in [model, *sublayers(model)] if _kernel(layer) is not None]
    if wanted is not None:
        scalable = [layer for layer in scalable if layer.name in wanted]
    state = [(variable, variable.numpy()) for variable in model.non_trainable_variables]
    rng = np.random.default_rng(seed)
    rows = []
    try:
        for layer in _forward_order(model, x, scalable):
            kernel = _kernel(layer)
            before = _spread(model, x, layer)
            if orthogonal:
                kernel.assign(_orthonormal(kernel.shape, rng))
            spread, iterations = (_spread(model, x, layer) if orthogonal else before), 0
            while abs(spread / target - 1) > tolerance and iterations < max_iterations:
                kernel.assign(kernel.numpy() * (target / spread))
                spread, iterations = _spread(model, x, layer), iterations + 1
            rows.append({"layer": layer.name, "before": before, "after": spread, "iterations": iterations})
    finally:
        for variable, value in state:
            variable.assign(value)
    return pd.DataFrame(rows, columns=["layer", "before", "after", "iterations"])


def _kernel(layer: keras.Layer) -> Any:
    """The kernel whose scale is that of the layer's output before the activation."""
    if not hasattr(layer, "activation"):
        return None
    for name in ("pointwise_kernel", "kernel"):
        kernel = getattr(layer, name, None)
        if hasattr(kernel, "assign"):  # a variable, or a weight of the layer's own learning rate
            return kernel
    return None


def _watched(layer: keras.Layer, watch: Callable[[Any], None]) -> Callable[[], None]:
    """Show every output of `layer` before the activation to `watch`; returns what undoes it."""
    activation = layer.activation

    def shown(values: Any) -> Any:
        watch(values)
        return values if activation is None else activation(values)

    layer.activation = shown

    def undo() -> None:
        layer.activation = activation

    return undo


def _forward_order(model: keras.Model, x: Any, layers: list[keras.Layer]) -> list[keras.Layer]:
    """`layers` in the order in which a forward pass comes to them."""
    order: list[keras.Layer] = []

    def remember(layer: keras.Layer) -> Callable[[Any], None]:
        return lambda values: None if layer in order else order.append(layer)

    undo = [_watched(layer, remember(layer)) for layer in layers]
    try:
        model(x, training=False)
    finally:
        for each in undo:
            each()
    missed = [layer.name for layer in layers if layer not in order]
    if missed:
        raise ValueError(f"The forward pass does not reach the layers {', '.join(missed)}. Leave them out of `layers`.")
    return order


def _spread(model: keras.Model, x: Any, layer: keras.Layer) -> float:
    seen: list[float] = []

    def measure(values: Any) -> None:
        seen.append(float(np.std(ops.convert_to_numpy(values).astype(np.float64))))
        raise _Measured

    undo = _watched(layer, measure)
    try:
        model(x, training=False)
    except _Measured:
        pass
    finally:
        undo()
    if not np.isfinite(seen[0]) or seen[0] < 1e-30:
        what = "a constant" if np.isfinite(seen[0]) else "non-finite values"
        raise ValueError(
            f"Layer {layer.name!r} gives {what} on this batch: there is no scale to set. Look at its inputs and kernel."
        )
    return seen[0]


def _orthonormal(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    rows, columns = int(np.prod(shape[:-1])), shape[-1]
    q, r = np.linalg.qr(rng.normal(size=(max(rows, columns), min(rows, columns))))
    q *= np.sign(np.diag(r))
    return (q if rows >= columns else q.T).reshape(shape)


def _names(layers: Any, known: list[str]) -> set[str]:
    listed = [layers] if isinstance(layers, str) or not isinstance(layers, Iterable) else list(layers)
    for each in listed:
        if not isinstance(each, str | keras.Layer):
            raise TypeError(f"Argument `layers` of lsuv must be layers or their names. Received: {each!r}.")
        name = each if isinstance(each, str) else each.name
        if name not in known:
            raise ValueError(
                f"Argument `layers` of lsuv must name the model's. Received: {name}.{nearest(name, known)}"
            )
    return {each if isinstance(each, str) else each.name for each in listed}
