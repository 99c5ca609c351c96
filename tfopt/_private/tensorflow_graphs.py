"""The inside of TensorFlow's graphs, as read in TensorFlow 2.21, and of Keras 3.15 where it hands numbers to C."""

import functools
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

from tfopt._private.needs import Need, available, expect


@contextmanager
def variables_alike() -> Iterator[None]:
    """Make TensorFlow's variables under one name, for models that are soon thrown away; Keras's keep theirs.

    TensorFlow keeps a kernel for every name for good: half a millisecond and 0.04 MB for each variable.
    """

    def create(following: Any, **arguments: Any) -> Any:
        with tf.name_scope("short_lived/"):
            return following(**{**arguments, "name": "variable"})

    with tf.variable_creator_scope(create):
        yield


@contextmanager
def kernels_forgotten() -> Iterator[None]:
    """Forget TensorFlow's kernels afterwards: it keeps those of every variable's name for good, 10 MB a search."""
    try:
        yield
    finally:
        if available("cache of kernels"):
            _context().clear_kernel_cache()


def _context() -> Any:
    from tensorflow.python.eager import context

    return context.context()


def _check_kernels() -> None:
    _context().clear_kernel_cache()
    expect(float(tf.Variable(1.0) + 1.0) == 2.0, "Context.clear_kernel_cache")


@contextmanager
def gradients_forgotten() -> Iterator[None]:
    """Forget the custom gradients that a trace registers: for good, they would keep every graph traced alive."""
    if not available("custom gradients"):
        yield
        return
    registry = _gradient_registry()
    before = set(registry)
    try:
        yield
    finally:
        for name in set(registry) - before:
            if name.startswith(_CUSTOM):
                del registry[name]


_CUSTOM = "CustomGradient-"


def _gradient_registry() -> dict[str, Any]:
    from tensorflow.python.framework import ops

    return ops.gradient_registry._registry


def _check_gradient_registry() -> None:
    registry = _gradient_registry()
    before = set(registry)

    @tf.custom_gradient
    def same(x: Any) -> Any:
        return x, lambda upstream: upstream

    tf.function(same, autograph=False).get_concrete_function(tf.TensorSpec((), tf.float32))
    new = set(registry) - before
    expect(bool(new) and all(name.startswith(_CUSTOM) for name in new), "Registry._registry")
    for name in new:
        del registry[name]


@functools.cache
def register_rules(names: Iterable[str], rule: Callable[[Any], list | None]) -> None:
    """Let `tf.vectorized_map` batch operations that TensorFlow has no rule for, once a process.

    `Bitcast`, in which Keras's cross-entropy looks at its logits, gets one as well.
    """
    from tensorflow.python.ops.parallel_for import pfor

    def convert(operation: Any) -> list:
        outputs = rule(operation)
        if outputs is None:
            raise pfor.ConversionNotImplementedError(f"No vectorized version of {operation.op_type} here.")
        return outputs

    def bitcast(operation: Any) -> list:
        return wrapped([tf.bitcast(operation.stacked_input(0), operation.get_attr("type"))], stacked=True)

    for name, converter in {"Bitcast": bitcast, **dict.fromkeys(names, convert)}.items():
        if name not in pfor._pfor_converter_registry:
            pfor.RegisterPFor(name)(converter)


def run_again(operation: Any, inputs: Sequence[Any]) -> list:
    """Return the outputs of an operation like this one on other inputs."""
    from tensorflow.python.ops.parallel_for import pfor

    dtypes = [output.dtype for output in operation.outputs]
    return pfor._create_op(operation.op_type, list(inputs), dtypes, operation.op.node_def.attr).outputs


def wrapped(outputs: Sequence[Any], stacked: bool) -> list:
    """Return outputs as rules give them: with an axis of members in front, or the same for all."""
    from tensorflow.python.ops.parallel_for import pfor

    return [pfor.wrap(output, stacked) for output in outputs]


def _check_rules() -> None:
    from tensorflow.python.ops.parallel_for import pfor

    [one] = wrapped([tf.constant(1.0)], stacked=False)
    expect(not one.is_stacked and float(one.t) == 1.0, "pfor.wrap")
    for function in (pfor.RegisterPFor, pfor._create_op):
        expect(callable(function), "pfor.RegisterPFor or pfor._create_op")
    expect(issubclass(pfor.ConversionNotImplementedError, Exception), "pfor.ConversionNotImplementedError")
    expect(callable(getattr(pfor._pfor_converter_registry, "__contains__", None)), "pfor._pfor_converter_registry")


_lock = threading.Lock()
_replaced: list[tuple[Any, Any]] = []  # what stood in Keras, once for each thread that is tracing


@contextmanager
def numbers_kept_from_c(leaky_relu: Callable[..., Any], math: Any) -> Iterator[None]:
    """While a graph is traced, put these in place of Keras's leaky ReLU and Gaussian dropout's module `math`."""
    if not available("numbers handed to C"):
        yield
        return
    nn, dropout = _modules_of_numbers()
    with _lock:
        stock = _replaced[0] if _replaced else (nn.leaky_relu, dropout.math)
        _replaced.append(stock)
        nn.leaky_relu, dropout.math = functools.partial(leaky_relu, stock[0]), math
    try:
        yield
    finally:
        with _lock:
            _replaced.pop()
            if not _replaced:
                nn.leaky_relu, dropout.math = stock


def _modules_of_numbers() -> tuple[Any, Any]:
    from keras.src.backend.tensorflow import nn
    from keras.src.layers.regularization import gaussian_dropout

    return nn, gaussian_dropout


def _check_numbers() -> None:
    nn, dropout = _modules_of_numbers()
    stock = nn.leaky_relu, dropout.math
    asked: list[str] = []

    class Math:
        def sqrt(self, value: float) -> float:
            asked.append("sqrt")
            return stock[1].sqrt(value)

    def leaky_relu(*arguments: Any, **keywords: Any) -> Any:
        asked.append("leaky_relu")
        return stock[0](*arguments, **keywords)

    layer = keras.layers.GaussianDropout(0.5, seed=1, name="tfopt_check", dtype="float32")
    with _lock:
        nn.leaky_relu, dropout.math = leaky_relu, Math()
        try:
            keras.ops.leaky_relu(tf.constant([1.0]), negative_slope=0.1)
            layer(tf.constant([[1.0]]), training=True)
        finally:
            nn.leaky_relu, dropout.math = stock
    expect(asked == ["leaky_relu", "sqrt"], "backend.nn.leaky_relu or gaussian_dropout.math")


_PFOR = "tensorflow.python.ops.parallel_for.pfor:"

NEEDS = (
    Need(
        "custom gradients",
        (
            "tensorflow.python.framework.ops:gradient_registry",
            "tensorflow.python.framework.registry:Registry._registry",
        ),
        "the shared graph and populations",
        "Traced graphs stay in memory until the process ends",
        _check_gradient_registry,
    ),
    Need(
        "cache of kernels",
        (
            "tensorflow.python.eager.context:context",
            "tensorflow.python.eager.context:Context.clear_kernel_cache",
        ),
        "many searches in one process",
        "Kernels of each search stay in memory until the process ends, some 10 MB",
        _check_kernels,
    ),
    Need(
        "batching rules",
        (
            f"{_PFOR}RegisterPFor",
            f"{_PFOR}_create_op",
            f"{_PFOR}_pfor_converter_registry",
            f"{_PFOR}wrap",
            f"{_PFOR}ConversionNotImplementedError",
        ),
        "populations in a graph",
        "Fits are trained one after another on a shared graph",
        _check_rules,
    ),
    Need(
        "numbers handed to C",
        ("keras.src.backend.tensorflow.nn:leaky_relu", "keras.src.layers.regularization.gaussian_dropout:math"),
        "the shared graph",
        "Slopes of leaky ReLUs and rates of Gaussian dropout get a graph for each value",
        _check_numbers,
    ),
)
